"""What a month costs: a NAT gateway, and Step Functions behind an interface endpoint.

    NAT gateway      gateways × 730 h × (gateway + address) + GB × processing + GB out × transfer
    Step Functions   endpoints × zones × 730 h + GB × endpoint + calls × request + GB-s by tiers

All is reckoned in fractions: a tier ends and a break-even lies where it does, whatever the order of
sums. Money is rounded where it is shown. A GB has 1,048,576 KB, and 1,024 MB of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final, Literal, TypeAlias

from stepout.deploy.prices import Prices

__all__ = [
    "ENDPOINTS",
    "GATEWAY_ENDPOINTS",
    "MAX_KB",
    "MAX_SECONDS",
    "NOT_COUNTED",
    "QUOTA",
    "TIERS",
    "Api",
    "Bill",
    "Comparison",
    "Compute",
    "Duration",
    "Endpoint",
    "Item",
    "Span",
    "Usage",
    "Volume",
    "Way",
]

HOURS: Final = 730
"""Of a month, as AWS's own calculator has it."""

MAX_SECONDS: Final = 60
"""Of one HTTP Task (developer guide)."""

MAX_KB: Final = 256
"""Of a body: that of an execution's input or output (AWS service quotas)."""

QUOTA: Final = 300 * HOURS * 3_600
"""Calls a month at 300 HTTP Tasks a second, what an account may do unasked (AWS service quotas)."""

RETRY_WAIT: Final = Fraction(1)
"""Seconds before the machine repeats a call: the most that its first retry waits."""

BLOCK_MB: Final = 64
"""Memory is charged in blocks (AWS pricing page, Express Workflows)."""

TICKS: Final = 10
"""Durations are charged in tenths of a second, begun ones whole (the same page)."""

TIERS: Final[tuple[tuple[int, str], ...]] = (
    (0, "express_gb_s_1"),
    (3_600_000, "express_gb_s_2"),
    (18_000_000, "express_gb_s_3"),
)
"""From how many GB-seconds a month on which price is charged."""

_KB_OF_GB: Final = 1_048_576
_MB_OF_GB: Final = 1_024
_EGRESS_TIER_GB: Final = 10_240

Way: TypeAlias = Literal["nat", "step-functions"]
Compute: TypeAlias = Literal["lambda", "fargate", "ec2"]

NOT_COUNTED: Final = (
    "tax, free tiers and private prices",
    "data transfer for the part from Step Functions to the API: AWS names no price for it",
    "CloudWatch Logs, KMS keys, secrets",
    "traffic between zones",
    "the caller's own time: it waits some milliseconds longer with Step Functions",
    "other Express machines of the account, which use up the dearer tiers of duration",
    "cheaper ways out: an own NAT instance, an egress-only gateway where an API has IPv6",
)
"""What a bill leaves out."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service that the subnet reaches by an endpoint, and what for."""

    service: str
    reason: str


GATEWAY_ENDPOINTS: Final = frozenset({"dynamodb", "s3"})
"""What has gateway endpoints, which cost nothing."""

_LOGS: Final = Endpoint("logs", "the awslogs driver or the CloudWatch agent writes to it")

ENDPOINTS: Final[Mapping[Compute, tuple[Endpoint, ...]]] = {
    # Lambda takes code, logs and credentials by its own network, not by the function's.
    "lambda": (),
    "fargate": (
        Endpoint("ecr.api", "a task asks it for leave to pull its image"),
        Endpoint("ecr.dkr", "a task pulls its image's manifest from it"),
        Endpoint("s3", "holds the layers of images; a gateway endpoint, free"),
        _LOGS,
    ),
    "ec2": (
        Endpoint("ssm", "an instance that nobody reaches from outside is managed by it"),
        Endpoint("ssmmessages", "Session Manager's shell goes by it"),
        _LOGS,
    ),
}
"""What a subnet without a way out needs besides `sync-states`, by what runs in it."""


# --- What is used ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Volume:
    """What a number of calls comes to in a month."""

    calls: Fraction
    gb_seconds: Fraction
    gb: Fraction
    """Requests and answers, once each."""
    nat_gb: Fraction
    """The same, with those that the caller repeats itself."""
    nat_gb_out: Fraction
    """Requests alone, repeated ones too."""

    def times(self, factor: Fraction) -> Volume:
        return Volume(*(getattr(self, name) * factor for name in self.__slots__))

    def plus(self, other: Volume) -> Volume:
        return Volume(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


_NOTHING: Final = Volume(*[Fraction(0)] * 5)


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a part of the executions takes; `share` is of 1."""

    seconds: Fraction
    share: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The calls of one API in a month."""

    name: str = ""
    calls: int
    durations: tuple[Duration, ...]
    """Of one attempt; the shares sum up to 1."""
    request_kb: Fraction = Fraction(0)
    response_kb: Fraction = Fraction(0)
    retried: Fraction = Fraction(0)
    """The share of calls that are repeated once. In an execution that costs duration alone."""

    def one(self, memory_mb: int) -> Volume:
        """The average call."""
        billed_gb = Fraction(ceil(Fraction(memory_mb, BLOCK_MB)) * BLOCK_MB, _MB_OF_GB)
        seconds = sum(
            (part.share * _billed_seconds(part.seconds) for part in self._executions()), Fraction(0)
        )
        gb = (self.request_kb + self.response_kb) / _KB_OF_GB
        attempts = 1 + self.retried
        return Volume(
            calls=Fraction(1),
            gb_seconds=seconds * billed_gb,
            gb=gb,
            nat_gb=gb * attempts,
            nat_gb_out=self.request_kb / _KB_OF_GB * attempts,
        )

    def _executions(self) -> Iterator[Duration]:
        for part in self.durations:
            yield Duration(part.seconds, part.share * (1 - self.retried))
            yield Duration(2 * part.seconds + RETRY_WAIT, part.share * self.retried)


def _billed_seconds(seconds: Fraction) -> Fraction:
    return Fraction(ceil(seconds * TICKS), TICKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A subnet and what it calls in a month."""

    apis: tuple[Api, ...]
    zones: int = 1
    nat_gateways: int = 1
    keeps_nat: bool = False
    """The NAT gateway is needed for other traffic, whichever way these calls go."""
    nat_gb: Fraction = Fraction(0)
    """That other traffic."""
    aws_gb: Fraction = Fraction(0)
    """Traffic to AWS services: through the endpoints where there are some, else the NAT gateway."""
    endpoints: tuple[Endpoint, ...] = ()
    """Besides `sync-states`."""
    memory_mb: int = BLOCK_MB

    @property
    def calls(self) -> int:
        return sum(api.calls for api in self.apis)

    @property
    def mean(self) -> Volume:
        """The average call of all APIs; without calls, of each API one."""
        weights = [api.calls for api in self.apis] if self.calls else [1] * len(self.apis)
        total = _NOTHING
        for api, weight in zip(self.apis, weights, strict=True):
            total = total.plus(api.one(self.memory_mb).times(Fraction(weight)))
        return total.times(Fraction(1, sum(weights)))


# --- What it costs --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a bill: `quantity` units at the price of that name, in US dollars."""

    what: str
    quantity: Fraction
    price: str
    usd: Fraction
    is_fixed: bool
    """Whether it is charged without any call, too."""


@dataclass(frozen=True, slots=True)
class Bill:
    """One way's month."""

    items: tuple[Item, ...]

    @property
    def fixed(self) -> Fraction:
        return sum((item.usd for item in self.items if item.is_fixed), Fraction(0))

    @property
    def of_calls(self) -> Fraction:
        return sum((item.usd for item in self.items if not item.is_fixed), Fraction(0))

    @property
    def total(self) -> Fraction:
        return self.fixed + self.of_calls


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers of calls a month for which one way is cheaper; `cheaper` is none where both cost
    the same, `end` where there is none."""

    start: Fraction
    end: Fraction | None
    cheaper: Way | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both ways for one usage and its prices."""

    usage: Usage
    prices: Prices

    def bills(self, calls: Fraction | None = None) -> Mapping[Way, Bill]:
        """Of a number of calls in the proportions of the usage, or of its own."""
        volume = self.usage.mean.times(Fraction(self.usage.calls) if calls is None else calls)
        return {
            "nat": Bill(tuple(_of_nat(self.usage, self.prices, volume))),
            "step-functions": Bill(tuple(_of_step_functions(self.usage, self.prices, volume))),
        }

    def of_api(self, api: Api) -> Mapping[Way, Fraction]:
        """What an API's calls have of the costs of all; duration is shared by GB-seconds."""
        volume = api.one(self.usage.memory_mb).times(Fraction(api.calls))
        whole = self.usage.mean.times(Fraction(self.usage.calls))
        duration = sum((item.usd for item in _duration(self.prices, whole)), Fraction(0))
        share = volume.gb_seconds / whole.gb_seconds if whole.gb_seconds else Fraction(0)
        return {
            "nat": sum((item.usd for item in _through_nat(self.prices, volume)), Fraction(0)),
            "step-functions": sum(
                (item.usd for item in _entering(self.prices, volume)), Fraction(0)
            )
            + duration * share,
        }

    @property
    def spans(self) -> tuple[Span, ...]:
        """Which way is cheaper for which numbers of calls, from 0 on."""
        seconds = self.usage.mean.gb_seconds
        return _spans(self._difference, [Fraction(start) / seconds for start, _ in TIERS])

    def _difference(self, calls: Fraction) -> Fraction:
        bills = self.bills(calls)
        return bills["step-functions"].total - bills["nat"].total

    @property
    def notes(self) -> tuple[str, ...]:
        """What is particular to this usage."""
        return tuple(_notes(self))


def _item(prices: Prices, what: str, quantity: Fraction, price: str, *, is_fixed: bool) -> Item:
    return Item(what, quantity, price, quantity * prices[price], is_fixed)


def _of_nat(usage: Usage, prices: Prices, volume: Volume) -> Iterator[Item]:
    yield from _nat_itself(usage, prices)
    if usage.aws_gb:
        yield _item(prices, "GB to AWS services", usage.aws_gb, "nat_gb", is_fixed=True)
    yield from _through_nat(prices, volume)


def _nat_itself(usage: Usage, prices: Prices) -> Iterator[Item]:
    hours = Fraction(usage.nat_gateways * HOURS)
    yield _item(prices, "NAT gateway", hours, "nat_hour", is_fixed=True)
    yield _item(prices, "its public address", hours, "ipv4_hour", is_fixed=True)
    if usage.nat_gb:
        yield _item(prices, "GB of other traffic", usage.nat_gb, "nat_gb", is_fixed=True)


def _through_nat(prices: Prices, volume: Volume) -> Iterator[Item]:
    yield _item(prices, "GB through the gateway", volume.nat_gb, "nat_gb", is_fixed=False)
    yield _item(prices, "GB out to the internet", volume.nat_gb_out, "egress_gb", is_fixed=False)


def _of_step_functions(usage: Usage, prices: Prices, volume: Volume) -> Iterator[Item]:
    hours = Fraction(usage.zones * HOURS)
    if usage.keeps_nat:
        yield from _nat_itself(usage, prices)
    for service in ("sync-states", *(endpoint.service for endpoint in usage.endpoints)):
        charged = Fraction(0) if service in GATEWAY_ENDPOINTS else hours
        yield _item(prices, f"endpoint {service}", charged, "endpoint_hour", is_fixed=True)
    if usage.aws_gb:
        price = "nat_gb" if usage.keeps_nat else "endpoint_gb"
        yield _item(prices, "GB to AWS services", usage.aws_gb, price, is_fixed=True)
    yield from _entering(prices, volume)
    yield from _duration(prices, volume)


def _entering(prices: Prices, volume: Volume) -> Iterator[Item]:
    yield _item(prices, "GB through the endpoint", volume.gb, "endpoint_gb", is_fixed=False)
    yield _item(prices, "executions", volume.calls, "express_request", is_fixed=False)


def _duration(prices: Prices, volume: Volume) -> Iterator[Item]:
    """GB-seconds in the tiers that they reach; the first stands there in any case."""
    ends = [Fraction(start) for start, _ in TIERS[1:]] + [volume.gb_seconds]
    for (start, price), end in zip(TIERS, ends, strict=True):
        within = min(volume.gb_seconds, end) - start
        if within > 0 or start == 0:
            what = f"GB-seconds above {start:,}" if start else "GB-seconds"
            yield _item(prices, what, within, price, is_fixed=False)


# --- Where they meet ------------------------------------------------------------------------------


def _spans(
    difference: Callable[[Fraction], Fraction], bends: Sequence[Fraction]
) -> tuple[Span, ...]:
    """Signs of a line that is straight between its bends, of which the first is 0.

    It may cross zero more than once: duration gets cheaper with every tier.
    """
    edges = sorted({*bends, *_roots(difference, bends)})
    spans: list[Span] = []
    for start, end in zip(edges, [*edges[1:], None], strict=True):
        inside = start + 1 if end is None else (start + end) / 2
        cheaper = _cheaper(difference(inside))
        if spans and spans[-1].cheaper == cheaper:
            start = spans.pop().start
        spans.append(Span(start, end, cheaper))
    return tuple(spans)


def _roots(
    difference: Callable[[Fraction], Fraction], bends: Sequence[Fraction]
) -> Iterator[Fraction]:
    for start, end in zip(bends, [*bends[1:], None], strict=True):
        value = difference(start)
        step = Fraction(1) if end is None else end - start
        slope = (difference(start + step) - value) / step
        if slope:
            root = start - value / slope
            if root > start and (end is None or root < end):
                yield root


def _cheaper(difference: Fraction) -> Way | None:
    if not difference:
        return None
    return "step-functions" if difference < 0 else "nat"


def _notes(comparison: Comparison) -> Iterator[str]:
    usage, prices = comparison.usage, comparison.prices
    if not usage.mean.gb:
        yield (
            "The bytes of the calls are left out, which favours the NAT gateway; count them with "
            "--request-kb and --response-kb."
        )
    if usage.keeps_nat:
        yield "The NAT gateway stays for other traffic, and is on both bills."
    elif usage.nat_gateways > 1:
        yield "One NAT gateway for all zones is cheaper and fails with its zone: --nat-gateways 1."
    if any(api.retried for api in usage.apis):
        yield (
            f"A repeated call takes twice its time and {RETRY_WAIT} second between. Its bytes go "
            "through a NAT gateway twice, through the endpoint once."
        )
    if usage.calls > QUOTA:
        yield (
            f"{usage.calls:,} calls are more than the {QUOTA:,} that 300 HTTP Tasks a second make, "
            "the quota of an account that has not asked for more."
        )
    if usage.mean.nat_gb_out * usage.calls > _EGRESS_TIER_GB:
        yield "More than 10 TB leave by the internet; above them a GB is cheaper than counted here."
    if prices.unsure:
        yield f"Not seen for {prices.region}, but for other regions: {', '.join(prices.unsure)}."
