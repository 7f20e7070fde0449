"""The identities of the measured server: one caller under 100 policies of 20 statements each."""

from __future__ import annotations

import json
from typing import Any

from stepout.api.identities import MACHINE_TRUST

__all__ = ["ROLE", "identities"]

ROLE = "arn:aws:iam::123456789012:role/bench"

POLICIES = 100
STATEMENTS = 20


def identities(access_key_id: str, secret: str) -> str:
    """The text of an identities file."""
    names = [f"policy-{number}" for number in range(POLICIES)]
    documents = {name: _document(number) for number, name in enumerate(names)}
    documents["everything"] = _policy([{"Effect": "Allow", "Action": "*", "Resource": "*"}])
    written = "".join(
        f"[policy.{name}]\ndocument = '''{json.dumps(document)}'''\n"
        for name, document in documents.items()
    )
    return f"""
[user.bench]
access_key_id = "{access_key_id}"
secret_access_key = "{secret}"
policies = {json.dumps([*names, "everything"])}

[role.bench]
policies = ["everything"]
trust = '''{json.dumps(MACHINE_TRUST)}'''

{written}"""


def _document(number: int) -> dict[str, Any]:
    return _policy([_statement(number, at) for at in range(STATEMENTS)])


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(number: int, at: int) -> dict[str, Any]:
    """A statement about a machine of its own; every fifth denies."""
    return {
        "Effect": "Deny" if at % 5 == 0 else "Allow",
        "Action": ["states:StartSyncExecution", "states:Describe*"],
        "Resource": f"arn:aws:states:*:123456789012:stateMachine:team-{number}-{at}-*",
        "Condition": {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}},
    }
