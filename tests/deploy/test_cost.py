"""What a month costs: exactly, by AWS's rules of rounding and tiers, and where the ways meet."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.deploy.cost import (
    ENDPOINTS,
    QUOTA,
    Api,
    Comparison,
    Duration,
    Endpoint,
    Span,
    Usage,
    Volume,
)
from stepout.deploy.prices import PriceFile, Prices
from stepout.gateway.definition import gateway_machine
from stepout.gateway.upstreams import Upstreams


def prices(region: str = "us-east-1", **given: str) -> Prices:
    usd = {name: Fraction(text) for name, text in given.items()}
    return Prices.of(region, [PriceFile.of_package()], usd)


def api(calls: int = 1_000_000, seconds: str = "0.2", **more: Any) -> Api:
    return Api(calls=calls, durations=(Duration(Fraction(seconds)),), **more)


def usage(*apis: Api, **more: Any) -> Usage:
    return Usage(apis=apis or (api(),), **more)


def compared(*apis: Api, costs: Prices | None = None, **more: Any) -> Comparison:
    return Comparison(usage(*apis, **more), costs or prices())


def totals(
    comparison: Comparison, calls: int | Fraction | None = None
) -> tuple[Fraction, Fraction]:
    bills = comparison.bills(None if calls is None else Fraction(calls))
    return bills["nat"].total, bills["step-functions"].total


def cents(usd: Fraction) -> str:
    return f"{float(usd):.2f}"


# --- Figures that others have reckoned ------------------------------------------------------------


def test_the_example_of_the_pricing_page_comes_out() -> None:
    """AWS's example: 100 million executions of 10 seconds at 64 MB cost 482.97 USD.

    It reckons with prices of a GB-hour, which are rounded otherwise than those of a GB-second.
    """
    hourly = prices(
        express_gb_s_1="6/360000",
        express_gb_s_2="3/360000",
        express_gb_s_3="1642/360000000",
    )
    bill = compared(api(100_000_000, "10"), costs=hourly).bills()["step-functions"]
    assert cents(bill.of_calls) == "482.97"
    assert [float(item.quantity) for item in bill.items if "GB-seconds" in item.what] == [
        3_600_000,
        14_400_000,
        44_500_000,
    ]


@pytest.mark.parametrize(
    ("region", "nat", "endpoint", "millions"),
    [("us-east-1", "36.50", "7.30", 24.2), ("ap-northeast-1", "48.91", "10.22", 32.0)],
)
def test_a_month_without_traffic(region: str, nat: str, endpoint: str, millions: float) -> None:
    comparison = compared(costs=prices(region))
    bills = comparison.bills()
    assert (cents(bills["nat"].fixed), cents(bills["step-functions"].fixed)) == (nat, endpoint)
    first, second = comparison.spans
    assert first.end is not None
    assert round(float(first.end) / 1e6, 1) == millions
    assert (first.cheaper, second) == ("step-functions", Span(first.end, None, "nat"))


@pytest.mark.parametrize(
    ("seconds", "usd"),
    [
        # 1e-6 and tenths of a second, begun ones whole, of 64 MB at 1.667e-5.
        ("0.001", "0.0000011041875"),
        ("0.1", "0.0000011041875"),
        ("0.1000001", "0.000001208375"),
        ("0.2", "0.000001208375"),
        ("0.3", "0.0000013125625"),
        ("1", "0.000002041875"),
        ("10", "0.00001141875"),
    ],
)
def test_a_call_costs_a_request_and_its_duration_in_begun_tenths(seconds: str, usd: str) -> None:
    assert compared(api(1, seconds)).bills()["step-functions"].of_calls == Fraction(usd)


@pytest.mark.parametrize(
    ("memory_mb", "gb"), [(1, "0.0625"), (64, "0.0625"), (65, "0.125"), (128, "0.125")]
)
def test_memory_is_charged_in_blocks_of_64_mb(memory_mb: int, gb: str) -> None:
    assert api(1, "1").one(memory_mb).gb_seconds == Fraction(gb)


def test_a_gateway_machine_stays_in_the_first_block() -> None:
    """Memory is 50 MB, the definition and the data (pricing page): a call brings 256 KiB and takes
    them; the definition is at most 1 MiB."""
    lines = [f'[upstream.u{at}]\nurl = "https://u{at}.example.com/"\n' for at in range(50)]
    upstreams = Upstreams.parse("".join(lines))
    machine = gateway_machine(upstreams, dict.fromkeys(upstreams.names, "arn:" + "x" * 200))
    definition_mb = len(json.dumps(machine)) / 2**20
    assert definition_mb < 1
    assert 50 + definition_mb + 4 * 0.25 < 64


# --- Tiers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gb_seconds", "usd"),
    [
        (0, "0"),
        (3_600_000, "60.012"),
        (3_600_001, "60.01200833"),
        (18_000_000, "179.964"),
        (18_000_001, "179.96400456"),
    ],
)
def test_duration_gets_cheaper_from_exactly_there(gb_seconds: int, usd: str) -> None:
    # A call of 16 seconds at 64 MB is one GB-second.
    comparison = compared(api(gb_seconds, "16"), costs=prices(express_request="0"))
    assert comparison.bills()["step-functions"].of_calls == Fraction(usd)


# --- Bytes, repeats, other traffic ----------------------------------------------------------------


def test_bytes_cost_both_directions_at_the_gateway_and_the_endpoint_and_only_out_at_the_border() -> (
    None
):
    gb = Fraction(2**20)  # KB
    one = api(1, request_kb=gb, response_kb=3 * gb)
    bills = compared(one, costs=prices(express_request="0", express_gb_s_1="0")).bills()
    assert bills["nat"].of_calls == 4 * Fraction("0.045") + Fraction("0.09")
    assert bills["step-functions"].of_calls == 4 * Fraction("0.01")


def test_a_repeat_costs_duration_inside_an_execution_and_bytes_through_a_gateway() -> None:
    plain = api(1, request_kb=Fraction(10), response_kb=Fraction(30)).one(64)
    retried = api(
        1, request_kb=Fraction(10), response_kb=Fraction(30), retried=Fraction(1, 10)
    ).one(64)
    assert retried.calls == 1
    assert retried.gb == plain.gb
    assert retried.nat_gb == plain.nat_gb * Fraction(11, 10)
    assert retried.nat_gb_out == plain.nat_gb_out * Fraction(11, 10)
    # 0.2 s, or 0.2 + 1 + 0.2 s for a tenth.
    assert retried.gb_seconds * 16 == Fraction("0.2") * Fraction(9, 10) + Fraction("1.4") / 10


def test_parts_of_the_calls_are_rounded_each_by_itself() -> None:
    spread = Api(
        calls=1,
        durations=(
            Duration(Fraction("0.11"), Fraction(9, 10)),
            Duration(Fraction("1.51"), Fraction(1, 10)),
        ),
    )
    assert spread.one(64).gb_seconds * 16 == Fraction("0.2") * 9 / 10 + Fraction("1.6") / 10


def test_zones_count_for_endpoints_and_gateways_are_counted_by_themselves() -> None:
    bills = compared(zones=3, nat_gateways=2).bills()
    assert bills["nat"].fixed == 2 * Fraction("36.50")
    assert bills["step-functions"].fixed == 3 * Fraction("7.30")


def test_further_endpoints_cost_as_much_each_and_those_of_s3_and_dynamodb_nothing() -> None:
    fargate = compared(endpoints=ENDPOINTS["fargate"]).bills()["step-functions"]
    assert [item.what for item in fargate.items if item.is_fixed] == [
        *("endpoint sync-states", "endpoint ecr.api", "endpoint ecr.dkr"),
        *("endpoint s3", "endpoint logs"),
    ]
    assert fargate.fixed == 4 * Fraction("7.30")
    free = compared(endpoints=(Endpoint("dynamodb", "x"),)).bills()["step-functions"]
    assert free.fixed == Fraction("7.30")


def test_traffic_to_aws_goes_through_the_endpoints_or_the_gateway() -> None:
    bills = compared(aws_gb=Fraction(100), endpoints=ENDPOINTS["fargate"]).bills()
    assert bills["nat"].fixed == Fraction("36.50") + Fraction("4.5")
    assert bills["step-functions"].fixed == 4 * Fraction("7.30") + 1


def test_a_gateway_that_stays_is_on_both_bills_with_all_its_traffic() -> None:
    comparison = compared(keeps_nat=True, nat_gb=Fraction(100), aws_gb=Fraction(10))
    bills = comparison.bills()
    assert bills["nat"].fixed == Fraction("36.50") + 110 * Fraction("0.045")
    assert bills["step-functions"].fixed == bills["nat"].fixed + Fraction("7.30")
    assert comparison.spans == (Span(Fraction(0), None, "nat"),)


# --- Several APIs ---------------------------------------------------------------------------------


def test_several_apis_cost_what_they_cost_together() -> None:
    quick = api(3_000_000, "0.1", name="quick", request_kb=Fraction(5))
    slow = api(7_000_000, "20", name="slow", response_kb=Fraction(50))
    comparison = compared(quick, slow)
    bills = comparison.bills()
    for way in ("nat", "step-functions"):
        of_apis = [comparison.of_api(one)[way] for one in (quick, slow)]
        assert sum(of_apis) == bills[way].of_calls
    # 18,750 and 8,750,000 GB-seconds: the tiers are those of both.
    shown = [item.quantity for item in bills["step-functions"].items if "GB-s" in item.what]
    assert shown == [3_600_000, 18_750 + 8_750_000 - 3_600_000]


def test_apis_without_calls_are_weighed_alike() -> None:
    comparison = compared(api(0, "0.1"), api(0, "0.3"))
    assert comparison.usage.mean.gb_seconds * 16 == Fraction("0.2")
    assert totals(comparison) == (Fraction("36.50"), Fraction("7.30"))
    assert len(comparison.spans) == 2


# --- Where the ways meet --------------------------------------------------------------------------


def ways(comparison: Comparison) -> list[str | None]:
    return [span.cheaper for span in comparison.spans]


def test_large_bodies_cost_more_through_a_gateway_than_any_number_of_calls() -> None:
    large = api(request_kb=Fraction(100), response_kb=Fraction(200))
    assert ways(compared(large)) == ["step-functions"]
    # So an endpoint pays even beside a gateway that stays, from some number of calls on.
    assert ways(compared(large, keeps_nat=True)) == ["nat", "step-functions"]


def test_more_endpoints_than_a_gateway_costs_never_pay() -> None:
    many = tuple(Endpoint(f"service{at}", "x") for at in range(5))
    assert ways(compared(endpoints=many)) == ["nat"]


def test_long_calls_with_bodies_pay_again_in_the_last_tier() -> None:
    long = api(seconds="10", response_kb=Fraction(130))
    comparison = compared(long)
    assert ways(comparison) == ["step-functions", "nat", "step-functions"]
    first, _, last = comparison.spans
    assert first.end is not None
    for meeting in (first.end, last.start):
        nat, steps = totals(comparison, meeting)
        assert nat == steps
    # In the last tier: beyond 18 million GB-seconds.
    assert last.start * comparison.usage.mean.gb_seconds > 18_000_000


def test_ways_that_cost_the_same_have_no_winner() -> None:
    free = dict.fromkeys(
        ["express_request", "express_gb_s_1", "express_gb_s_2", "express_gb_s_3"], "0"
    )
    same = prices(nat_hour="0.01", ipv4_hour="0", endpoint_hour="0.01", **free)
    assert compared(costs=same).spans == (Span(Fraction(0), None, None),)
    # The same up to a tier's end, and not beyond.
    dearer = prices(nat_hour="0.01", ipv4_hour="0", **free | {"express_gb_s_2": "1"})
    spans = compared(costs=dearer).spans
    assert [span.cheaper for span in spans] == [None, "nat"]
    assert spans[0].end == 3_600_000 / Fraction("0.0125")


@given(
    seconds=st.integers(1, 600),
    kb=st.integers(0, 256),
    zones=st.integers(1, 3),
    more=st.integers(0, 6),
    keeps_nat=st.booleans(),
    points=st.lists(st.integers(1, 10**11), min_size=1, max_size=8),
)
def test_in_a_span_its_way_is_the_cheaper_one(
    seconds: int, kb: int, zones: int, more: int, keeps_nat: bool, points: list[int]
) -> None:
    comparison = compared(
        api(seconds=f"{seconds}/10", response_kb=Fraction(kb)),
        zones=zones,
        endpoints=tuple(Endpoint(f"s{at}", "x") for at in range(more)),
        keeps_nat=keeps_nat,
    )
    spans = comparison.spans
    assert spans[0].start == 0
    assert [span.end for span in spans] == [*(span.start for span in spans[1:]), None]
    for before, after in pairwise(spans):
        assert before.cheaper != after.cheaper
    for point in points:
        nat, steps = totals(comparison, point)
        (span,) = (s for s in spans if s.start < point and (s.end is None or point <= s.end))
        if point == span.end:
            assert nat == steps
        else:
            assert span.cheaper == ("nat" if nat < steps else "step-functions")


@given(st.integers(0, 10**10), st.integers(1, 600))
def test_a_call_more_never_costs_less(calls: int, seconds: int) -> None:
    comparison = compared(api(calls, f"{seconds}/10", request_kb=Fraction(3)))
    for before, after in zip(totals(comparison, calls), totals(comparison, calls + 1), strict=True):
        assert before < after


def test_volumes_add_up() -> None:
    one = Volume(*map(Fraction, (1, 2, 3, 4, 5)))
    assert one.times(Fraction(2)).plus(one) == Volume(*map(Fraction, (3, 6, 9, 12, 15)))


# --- Notes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (compared(), "The bytes of the calls are left out"),
        (compared(api(retried=Fraction(1, 100))), "A repeated call takes twice its time"),
        (compared(api(QUOTA + 1)), "788,400,001 calls are more than the 788,400,000"),
        (compared(api(50_000_000, request_kb=Fraction(256))), "More than 10 TB leave"),
        (compared(zones=2, nat_gateways=2), "--nat-gateways 1"),
        (compared(keeps_nat=True), "The NAT gateway stays for other traffic"),
        (compared(costs=prices("ap-northeast-1")), "Not seen for ap-northeast-1"),
    ],
)
def test_what_is_particular_is_said(comparison: Comparison, words: str) -> None:
    assert [note for note in comparison.notes if words in note]


def test_what_is_not_particular_is_not_said() -> None:
    assert compared(api(QUOTA, request_kb=Fraction(1, 1_000))).notes == ()
    assert len(compared().notes) == 1


def test_the_readme_tells_what_comes_out() -> None:
    readme = " ".join((Path(__file__).parents[2] / "README.md").read_text().split())
    comparison = compared()
    bills = comparison.bills()
    nat, endpoint = bills["nat"].fixed, bills["step-functions"].fixed
    end = comparison.spans[0].end
    assert end is not None
    assert (
        f"In us-east-1 a NAT gateway with its address costs {cents(nat)} USD a month before the "
        f"first byte; an interface endpoint costs {cents(endpoint)}, and {cents(nat - endpoint)} "
        f"USD buy {int(end / 1_000_000)} million calls of 200 ms (prices of 2026, one zone, "
        "traffic left out)."
    ) in readme
