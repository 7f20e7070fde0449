"""The egress's decision in this process: what a policy costs a request, besides DNS and the call.

No URL is judged twice. The rules are for one host each, or all for one host and told apart by who
asks. Rounds of all rows alternate, the best of each counts; times are of the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_network
from itertools import count

from stepout.egress.message import Request
from stepout.egress.policy import Policy, Rule

RULES = 200
ASKERS = 50
REQUESTS = 5_000
ROLE = "arn:aws:iam::123456789012:role/team-{}"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:gateway"

_numbers = count()


def run(rounds: int) -> None:
    """Print the rows of the egress."""
    best = dict.fromkeys(_ROWS, float("inf"))
    for _ in range(rounds + 1):
        for name, measured in _ROWS.items():
            best[name] = min(best[name], measured())
    print(f"\na decision of the egress{'µs':>27}")
    for name, seconds in best.items():
        print(f"  {name:41}{seconds * 1e6:>8.1f}")


def _judging(policy: Policy, hosts: int, askers: int) -> Callable[[], float]:
    """Seconds of a judgement."""

    def measured() -> float:
        requests = [*_requests(hosts, askers)]
        started = time.thread_time()
        for request in requests:
            policy.judge(request)
        return (time.thread_time() - started) / len(requests)

    return measured


def _requests(hosts: int, askers: int) -> Iterator[Request]:
    for at in range(REQUESTS):
        yield Request(
            "GET",
            f"https://api{at % hosts}.example.com/v1/items/{next(_numbers)}?page=1",
            role=ROLE.format(at % askers),
            machine=MACHINE,
        )


def _addresses() -> float:
    reach = _ONE_EACH.judge(next(_requests(1, 1))).reach
    addresses = [ip_address((8 << 24) + next(_numbers)) for _ in range(REQUESTS)]
    started = time.thread_time()
    for address in addresses:
        reach.judge(address)
    return (time.thread_time() - started) / REQUESTS


def _closed(rules: Iterable[Rule]) -> Policy:
    return Policy(rules=tuple(rules), default="deny")


def _rule(at: int, host: str) -> Rule:
    return Rule(
        name=f"rule {at}",
        effect="allow" if at % 10 else "deny",
        hosts=(host,),
        ports=(443,),
        methods=("GET", "POST"),
        paths=("/v1/",) if at % 10 else ("/v1/admin/",),
        roles=(ROLE.format(at), ROLE.format(f"{at}-*")),
        networks=(ip_network(f"10.{at}.0.0/16"),) if at % 10 == 1 else (),
    )


_ONE_EACH = _closed(_rule(at, f"api{at}.example.com") for at in range(RULES))
_ONE_HOST = _closed(_rule(at, "*.example.com") for at in range(RULES))

_ROWS: dict[str, Callable[[], float]] = {
    "no rules": _judging(Policy(), 1, 1),
    f"{RULES} rules, one a host": _judging(_ONE_EACH, RULES, ASKERS),
    f"{RULES} rules for one host, {ASKERS} askers": _judging(_ONE_HOST, 1, ASKERS),
    f"{RULES} rules for 2,000 hosts, {ASKERS} askers": _judging(_ONE_HOST, 2_000, ASKERS),
    f"{RULES} rules for one host, all askers new": _judging(_ONE_HOST, 1, REQUESTS),
    "an address": _addresses,
}
