"""Sessions of roles: how many there are, and whose."""

from __future__ import annotations

import pytest

from stepout.api import sessions
from stepout.api.identities import machine_role
from stepout.api.sessions import Session, Sessions
from stepout.errors import ServiceError

NOTHING = {"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
ROLE = machine_role("r", "123456789012", "us-east-1", NOTHING)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 20)


def begin(known: Sessions, holder: str, now: int = 0, seconds: int = 900) -> Session:
    return known.begin(ROLE, "name", holder=holder, now=now, seconds=seconds, policies=(), tags={})


def fill(known: Sessions, holder: str) -> int:
    """How many sessions somebody gets who takes all there are."""
    begun = 0
    with pytest.raises(ServiceError, match="Rate exceeded"):  # noqa: PT012 — until the bound
        for _ in range(100):
            begin(known, holder)
            begun += 1
    return begun


def test_one_caller_leaves_sessions_to_the_others() -> None:
    known = Sessions()
    assert fill(known, "greedy") == 16
    assert begin(known, "modest").holder == "modest"
    assert begin(known, "other").holder == "other"


def test_sessions_that_have_ended_make_room() -> None:
    known = Sessions()
    first = begin(known, "greedy")
    fill(known, "greedy")
    again = begin(known, "greedy", now=900_000)
    assert known.find(first.access_key_id) is None
    assert known.find(again.access_key_id) is again
    assert fill(known, "greedy") == 15
