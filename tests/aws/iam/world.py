"""Principals, resources and policies of these tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepout.aws.iam import Kind, Policy, Principal, Request
from stepout.aws.iam.request import Context, Values

ACCOUNT = "123456789012"
OTHER = "999999999999"

ALICE = Principal(
    f"arn:aws:iam::{ACCOUNT}:user/staff/alice",
    ACCOUNT,
    "User",
    "AIDAALICEALICEALICE1",
    tags={"Team": "blue", "Odd": "a*"},
)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SESSION = Principal(
    f"arn:aws:sts::{ACCOUNT}:assumed-role/app/i-1",
    ACCOUNT,
    "AssumedRole",
    "AROAAPPAPPAPPAPPAPP1:i-1",
    role_arn=ROLE,
)
ROOT = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "Root", ACCOUNT)
STATES = Principal.service("states", "us-east-1")
STRANGER = Principal(f"arn:aws:iam::{OTHER}:user/mallory", OTHER, "User", "AIDAMALLORYMALLORY12")

START = "states:StartExecution"
ASSUME = "sts:AssumeRole"


def machine(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:states:us-east-1:{account}:stateMachine:{name}"


def statement(effect: str = "Allow", **members: Any) -> dict[str, Any]:
    """A statement about every action on everything, where its members do not say otherwise."""
    if not {"Action", "NotAction"} & set(members):
        members["Action"] = "*"
    if not {"Resource", "NotResource"} & set(members):
        members["Resource"] = "*"
    return {"Effect": effect, **members}


def policy(
    *statements: dict[str, Any],
    kind: Kind = Kind.IDENTITY,
    name: str = "p",
    version: str = "2012-10-17",
) -> Policy:
    return Policy.parse(name, {"Version": version, "Statement": [*statements]}, kind=kind)


def trust(effect: str = "Allow", **members: Any) -> Policy:
    """A trust policy of one statement."""
    return policy({"Effect": effect, "Action": ASSUME, **members}, kind=Kind.TRUST, name="trust")


def request(
    principal: Principal = ALICE,
    action: str = START,
    resource: str | None = None,
    **context: Values,
) -> Request:
    """Keyword `aws_SourceIp` is the key `aws:SourceIp`."""
    keys = {name.replace("_", ":", 1): value for name, value in context.items()}
    return Request(principal, action, machine("m") if resource is None else resource, keys)


def context_of(values: Mapping[str, Values], principal: Principal = ALICE) -> Context:
    return Context(Request(principal, START, "*", values))
