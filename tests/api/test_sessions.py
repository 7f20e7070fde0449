"""Sessions are bounded, and nobody takes the places of all."""

from __future__ import annotations

import pytest

from stepout.api import sessions as module
from stepout.api.identities import machine_role
from stepout.api.sessions import Session, Sessions
from stepout.errors import ServiceError

EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
ROLE = machine_role("r", "123456789012", "us-east-1", EVERYTHING)


def begin(sessions: Sessions, holder: str, now: int = 0) -> Session:
    return sessions.begin(ROLE, "s", holder=holder, now=now, seconds=900, policies=(), tags={})


def fill(sessions: Sessions, holder: str) -> int:
    """Begin as many sessions as one may."""
    for count in range(1_000):
        try:
            begin(sessions, holder)
        except ServiceError:
            return count
    raise AssertionError("There is no end.")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    monkeypatch.setattr(module, "MAX_SESSIONS", 100)
    return Sessions()


def test_however_many_one_begins_another_finds_a_place(sessions: Sessions) -> None:
    assert [fill(sessions, holder) for holder in ("a", "b", "c")] == [80, 16, 4]
    assert fill(sessions, "a") == 0


def test_those_that_have_expired_give_their_places_back(sessions: Sessions) -> None:
    first = begin(sessions, "a")
    fill(sessions, "a")
    assert sessions.find(first.access_key_id) is first
    begin(sessions, "a", now=900_000)
    assert sessions.find(first.access_key_id) is None
    assert fill(sessions, "a") == 79
