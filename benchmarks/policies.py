"""Decisions by IAM policies in this process: 100 of 20 statements, and what is asked of them.

A tenth of the statements deny, a third has two conditions; a VPC endpoint has a policy, too. The
best of several rounds counts.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from stepout.aws.iam import Grants, Kind, Policy, Principal, Request

ACCOUNT = "123456789012"
POLICIES, STATEMENTS = 100, 20
CALLS = 5_000
ACTIONS = (
    *("states:StartSyncExecution", "states:StartExecution", "states:Describe*", "states:*"),
    *("states:List*", "states:InvokeHTTPEndpoint", "iam:PassRole", "events:*Connection"),
)
ASKED = "states:StartSyncExecution"
ALICE = Principal(f"arn:aws:iam::{ACCOUNT}:user/alice", ACCOUNT, "User", "AIDAALICEALICEALICE1")
CONTEXT = {
    "aws:CurrentTime": "2026-01-01T00:00:00Z",
    "aws:RequestedRegion": "us-east-1",
    "aws:SecureTransport": "true",
    "aws:SourceIp": "10.1.2.3",
    "aws:SourceVpce": "vpce-1",
    "aws:UserAgent": "Boto3/1.44",
}
CONDITION = {
    "StringEquals": {"aws:RequestedRegion": "us-east-1"},
    "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
}


def run(rounds: int) -> None:
    """Print the rows of policies."""
    documents = _documents()
    compiled = _best(rounds, 1, lambda: _compiled(documents)) / (POLICIES * STATEMENTS)
    endpoint = Policy.parse("endpoint", _endpoint(), kind=Kind.ENDPOINT)
    policies = _compiled(documents)
    first = _best(rounds, 1, lambda: Grants(policies, endpoint=endpoint).decide(_asks("m0")))
    grants = Grants(policies, endpoint=endpoint)
    print(f"\na decision by {POLICIES * STATEMENTS:,} statements{'µs':>12}")
    for name, requests in _requests(grants).items():
        asked = cycle(requests)
        each = _best(rounds, CALLS, lambda asked=asked: grants.decide(next(asked)))  # type: ignore[misc]
        print(f"  {name:32}{each * 1e6:>7.2f}")
    hosts = Grants([Policy.parse("hosts", _hosts(), kind=Kind.IDENTITY)])
    last = _calls("https://api49.example.com/")
    print(f"  {'the last of 50 statements by URL':32}", end="")
    print(f"{_best(rounds, CALLS, lambda: hosts.decide(last)) * 1e6:>7.2f}")
    print(f"  {'the first one for an action':32}{first * 1e6:>7.0f}")
    print(f"  {'reading a statement':32}{compiled * 1e6:>7.0f}")


def _machine(name: str) -> str:
    return f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{name}"


def _asks(name: str) -> Request:
    return Request(ALICE, ASKED, _machine(name), CONTEXT)


def _calls(url: str) -> Request:
    context = {**CONTEXT, "states:HTTPEndpoint": url}
    return Request(ALICE, "states:InvokeHTTPEndpoint", _machine("m"), context)


def _documents() -> list[str]:
    choice = random.Random(1)  # Ever the same.
    statements = (_statement(number, choice) for number in range(POLICIES * STATEMENTS))
    return [
        json.dumps(
            {"Version": "2012-10-17", "Statement": [next(statements) for _ in range(STATEMENTS)]}
        )
        for _ in range(POLICIES)
    ]


def _statement(number: int, choice: random.Random) -> dict[str, Any]:
    return {
        "Sid": f"S{number}",
        "Effect": "Deny" if number % 10 == 9 else "Allow",
        "Action": choice.sample(ACTIONS, 2),
        "Resource": [_machine(f"team{number % 97}-{number}-*"), _machine(f"m{number}")],
        **({"Condition": CONDITION} if number % 3 == 0 else {}),
    }


def _endpoint() -> dict[str, Any]:
    condition = {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}
    one = {"Effect": "Allow", "Principal": "*", "Action": "states:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": {**one, "Condition": condition}}


def _hosts() -> dict[str, Any]:
    def one(number: int) -> dict[str, Any]:
        url = f"https://api{number}.example.com/*"
        return {
            "Effect": "Allow",
            "Action": "states:InvokeHTTPEndpoint",
            "Resource": "*",
            "Condition": {"StringLike": {"states:HTTPEndpoint": url}},
        }

    return {"Version": "2012-10-17", "Statement": [one(number) for number in range(50)]}


def _compiled(documents: list[str]) -> list[Policy]:
    return [
        Policy.parse(f"p{number}", document, kind=Kind.IDENTITY)
        for number, document in enumerate(documents)
    ]


def _requests(grants: Grants) -> dict[str, list[Request]]:
    """Requests by what is decided and how."""
    exact = [_asks(f"m{n}") for n in range(POLICIES * STATEMENTS)]
    begun = [_asks(f"team{n % 97}-{n}-x") for n in range(POLICIES * STATEMENTS)]
    with_conditions, without = exact[::3], exact[1::3] + exact[2::3]
    return {
        "allowed": [*_decided(grants, without, "allowed")],
        "allowed by two conditions": [*_decided(grants, with_conditions, "allowed")],
        "allowed by a beginning": [*_decided(grants, begun, "allowed")],
        "denied by a statement": [*_decided(grants, exact, "explicit-deny")],
        "denied, as none allows": [_asks(f"other{n}") for n in range(500)],
    }


def _decided(grants: Grants, requests: list[Request], reason: str) -> Iterator[Request]:
    return (request for request in requests if grants.decide(request).reason == reason)


def _best(rounds: int, calls: int, measured: Callable[[], object]) -> float:
    """Seconds of one call."""
    best = float("inf")
    for _ in range(rounds + 2):
        started = time.perf_counter()
        for _ in range(calls):
            measured()
        best = min(best, (time.perf_counter() - started) / calls)
    return best
