"""Whom Principal and NotPrincipal name."""

from __future__ import annotations

import pytest
from tests.aws.iam.world import ACCOUNT, ALICE, OTHER, ROLE, ROOT, SESSION, STATES, STRANGER

from stepout.aws.iam import Principal
from stepout.aws.iam.principals import Naming, Principals, classify

ACCOUNT_ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def named(*texts: str, type_: str = "AWS") -> Principals:
    return Principals.of(found for text in texts if (found := classify(type_, text)) is not None)


@pytest.mark.parametrize(
    ("text", "principal", "naming"),
    [
        ("*", ALICE, Naming.ITSELF),
        ("*", STRANGER, Naming.ITSELF),
        ("*", STATES, Naming.ITSELF),
        (ACCOUNT, ALICE, Naming.ACCOUNT),
        (ACCOUNT, SESSION, Naming.ACCOUNT),
        (ACCOUNT, ROOT, Naming.ACCOUNT),
        (ACCOUNT, STRANGER, None),
        (ACCOUNT, STATES, None),
        (ACCOUNT_ROOT, ALICE, Naming.ACCOUNT),
        (ACCOUNT_ROOT, ROOT, Naming.ACCOUNT),
        (f"arn:aws:iam::{OTHER}:root", ALICE, None),
        (ALICE.arn, ALICE, Naming.ITSELF),
        (ALICE.arn, SESSION, None),
        (ALICE.arn.upper().replace("ARN:AWS:IAM", "arn:aws:iam").replace("USER", "user"), ALICE, None),
        (f"arn:aws:iam::{ACCOUNT}:user/alice", ALICE, None),
        (ROLE, SESSION, Naming.ROLE),
        (ROLE, ALICE, None),
        (SESSION.arn, SESSION, Naming.ITSELF),
        (f"{SESSION.arn}2", SESSION, None),
        ("AIDAALICEALICEALICE1", ALICE, Naming.ITSELF),
        ("AROAAPPAPPAPPAPPAPP1", SESSION, Naming.ROLE),
        ("AROAAPPAPPAPPAPPAPP1", ALICE, None),
    ],
)  # fmt: skip
def test_a_principal_is_named_by_itself_its_role_or_its_account(
    text: str, principal: Principal, naming: Naming | None
) -> None:
    assert named(text).naming(principal) is naming


def test_the_most_direct_naming_counts() -> None:
    assert named(ACCOUNT, ROLE, SESSION.arn).naming(SESSION) is Naming.ITSELF
    assert named(ACCOUNT, ROLE).naming(SESSION) is Naming.ROLE


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("states.amazonaws.com", True),
        ("states.us-east-1.amazonaws.com", True),
        ("states.eu-west-1.amazonaws.com", False),
        ("events.amazonaws.com", False),
        ("lambda.amazonaws.com", False),
    ],
)
def test_a_service_is_named_by_any_of_its_names(text: str, is_named: bool) -> None:
    found = named(text, type_="Service")
    assert found.naming(STATES) is (Naming.ITSELF if is_named else None)
    assert found.naming(ALICE) is None


def test_a_user_that_is_called_like_a_service_is_none() -> None:
    user = Principal("states.amazonaws.com", ACCOUNT, "User")
    assert named("states.amazonaws.com", type_="Service").naming(user) is None


@pytest.mark.parametrize("type_", ["Federated", "CanonicalUser"])
def test_nobody_here_is_federated(type_: str) -> None:
    assert classify(type_, "accounts.google.com") is None


@pytest.mark.parametrize(
    ("texts", "principal", "spared"),
    [
        ([ALICE.arn], ALICE, False),
        ([ALICE.arn, ACCOUNT], ALICE, True),
        ([ACCOUNT], ALICE, False),
        ([ACCOUNT], ROOT, True),
        ([SESSION.arn, ACCOUNT], SESSION, False),
        ([ROLE, ACCOUNT], SESSION, False),
        ([SESSION.arn, ROLE, ACCOUNT], SESSION, True),
        (["*"], STRANGER, True),
        ([ACCOUNT], STATES, False),
    ],
)
def test_not_principal_spares_whom_it_names_in_full(
    texts: list[str], principal: Principal, spared: bool
) -> None:
    assert named(*texts).spares(principal) is spared


def test_not_principal_spares_a_service() -> None:
    assert named("states.amazonaws.com", type_="Service").spares(STATES)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        *[("AWS", text) for text in ("", "12345678901", "1234567890123", "alice", "a*", "**", "root")],
        *[("AWS", f"arn:aws:iam::{ACCOUNT}:{rest}") for rest in ("user/*", "user/", "role/a?", "group/x", "")],
        *[("AWS", f"arn:aws:iam::{account}:root") for account in ("*", "1", "")],
        ("AWS", f"{ACCOUNT}:root"),
        ("AWS", f"arn:aws:iam::{ACCOUNT}"),
        ("AWS", "arn:aws:states:us-east-1:123456789012:stateMachine:m"),
        *[("Service", text) for text in ("*", "states", "", "*.amazonaws.com", "STATES.amazonaws.com")],
    ],
)  # fmt: skip
def test_a_principal_is_named_in_full(type_: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, found '"):
        classify(type_, text)


def test_a_session_knows_its_role() -> None:
    with pytest.raises(ValueError, match="Expected the ARN of the role"):
        Principal(SESSION.arn, ACCOUNT, "AssumedRole")
