"""A comparison of costs as people read it, 80 columns wide, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import floor, log10
from textwrap import wrap
from typing import Any, Final

from stepout.cli.chart import BOTH, chart
from stepout.deploy.cost import (
    HOURS,
    NOT_COUNTED,
    QUOTA,
    TIERS,
    Api,
    Bill,
    Comparison,
    Item,
    Span,
    Usage,
    Way,
)
from stepout.deploy.prices import UNITS, Prices

__all__ = ["as_json", "as_text", "money", "verdict"]

COLUMNS: Final = 80
MILLION: Final = 1_000_000
FARTHEST: Final = 10**12
"""Calls a month beyond which nothing is drawn."""

NAMES: Final[Mapping[Way, str]] = {"nat": "NAT gateway", "step-functions": "Step Functions"}
MARKS: Final[Mapping[Way, str]] = {"nat": "o", "step-functions": "*"}

# --- As text --------------------------------------------------------------------------------------


def as_text(comparison: Comparison, *, has_chart: bool = True, has_sources: bool = False) -> str:
    """Table, break-even, chart, notes and what is not counted."""
    return "\n\n".join(_parts(comparison, has_chart=has_chart, has_sources=has_sources))


def _parts(comparison: Comparison, *, has_chart: bool, has_sources: bool) -> Iterator[str]:
    usage = comparison.usage
    yield _heading(comparison)
    yield _table(comparison.bills(), usage.calls)
    if usage.endpoints:
        yield _endpoints(usage)
    if len(usage.apis) > 1:
        yield _by_api(comparison)
    yield _wrapped(verdict(comparison))
    if has_chart:
        yield _chart(comparison)
    if comparison.notes:
        yield "\n".join(map(_listed, comparison.notes))
    yield "\n".join(["Not counted:", *map(_listed, NOT_COUNTED)])
    if has_sources:
        yield _sources(comparison.prices)


def _wrapped(text: str) -> str:
    return "\n".join(wrap(text, COLUMNS, break_on_hyphens=False))


def _listed(text: str) -> str:
    lines = wrap(text, COLUMNS, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _heading(comparison: Comparison) -> str:
    usage, prices = comparison.usage, comparison.prices
    zones = "1 zone" if usage.zones == 1 else f"{usage.zones} zones"
    dates = [price.published for price in prices.items.values() if price.published]
    read = f"; prices of {min(dates)[:4]} to {max(dates)[:4]}" if dates else ""
    return _wrapped(
        f"{prices.region}, {zones}; {usage.calls:,} calls a month, "
        f"{_number(usage.mean.gb_seconds)} GB-seconds each{read}"
    )


def _table(bills: Mapping[Way, Bill], calls: int) -> str:
    lines = [_row("USD a month", *NAMES.values())]
    for is_fixed, title in ((True, "without any call"), (False, "for the calls")):
        rows: dict[str, dict[Way, Item]] = {}
        for way, bill in bills.items():
            for item in bill.items:
                if item.is_fixed is is_fixed:
                    rows.setdefault(item.what, {})[way] = item
        lines += [_item_row(items) for items in rows.values()]
        sums = [bill.fixed if is_fixed else bill.of_calls for bill in bills.values()]
        lines += [_row(title, *map(money, sums)), ""]
    lines.append(_row("total", *(money(bill.total) for bill in bills.values())))
    if calls:
        each = [money(bill.of_calls / calls * MILLION) for bill in bills.values()]
        lines.append(_row("a million calls, on average", *each))
    return "\n".join(lines)


def _item_row(items: Mapping[Way, Item]) -> str:
    item = next(iter(items.values()))
    unit = " h" if item.price.endswith("_hour") else ""
    amount = f"{_number(item.quantity)}{unit}" if item.quantity or not item.is_fixed else "free"
    shown = [money(items[way].usd) if way in items else "-" for way in NAMES]
    return _row(f"  {item.what}, {amount}", *shown)


def _row(label: str, *cells: str) -> str:
    return f"{label:48}" + "".join(f"{cell:>16}" for cell in cells)


def money(usd: Fraction) -> str:
    """To the cent, halves up."""
    cents = floor(usd * 100 + Fraction(1, 2))
    return f"{cents // 100:,}.{cents % 100:02}"


def _number(number: Fraction) -> str:
    """Four digits at least: whole numbers whole."""
    return f"{floor(number):,}" if number >= 1_000 or not number % 1 else f"{float(number):.4g}"


def _endpoints(usage: Usage) -> str:
    width = max(len(endpoint.service) for endpoint in usage.endpoints)
    lines = [f"  {endpoint.service:{width}}  {endpoint.reason}" for endpoint in usage.endpoints]
    return "\n".join(["Endpoints besides sync-states:", *lines])


def _by_api(comparison: Comparison) -> str:
    lines = [_row("USD a month, for the calls of", *NAMES.values())]
    for api in comparison.usage.apis:
        costs = comparison.of_api(api)
        label = f"  {api.name}, {api.calls:,} calls"
        lines.append(_row(label, *(money(costs[way]) for way in NAMES)))
    return "\n".join(lines)


def _sources(prices: Prices) -> str:
    lines = [f"Prices of {prices.region}, in USD:"]
    for name, price in prices.items.items():
        known = "" if prices.is_sure(name) else "; not seen for this region"
        published = f", {price.published}" if price.published else ""
        lines.append(f"  {name:15}{_usd(price.usd):>11}  {UNITS[name]}")
        text = f"{price.source}{published}{known}"
        lines += wrap(text, COLUMNS, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _usd(usd: Fraction) -> str:
    return f"{float(usd):.10f}".rstrip("0").removesuffix(".")


# --- The break-even -------------------------------------------------------------------------------


def verdict(comparison: Comparison) -> str:
    """Which way is cheaper up to how many calls, or why one of them always is."""
    spans = comparison.spans
    if len(spans) == 1:
        return f"No break-even: {_only(comparison, spans[0])}"
    found = [_span(span, is_first=span is spans[0]) for span in spans]
    sentence = f"Break-even: {', '.join(found)}."
    if len(spans) > 2:
        sentence += f" Duration gets cheaper from {TIERS[1][0]:,} GB-seconds on, and again later."
    if spans[0].end is not None and spans[0].end > QUOTA:
        sentence += f" An account's quota, 300 HTTP Tasks a second, makes {QUOTA:,} at most."
    return sentence


def _span(span: Span, *, is_first: bool) -> str:
    way = "both cost the same" if span.cheaper is None else f"{_the(span.cheaper)}"
    cheaper = " is cheaper" if is_first and span.cheaper else ""
    if span.end is None:
        return f"{way}{cheaper} beyond"
    return f"{way}{cheaper} up to {floor(span.end):,} calls a month ({_rate(span.end)} a second)"


def _the(way: Way) -> str:
    return "the NAT gateway" if way == "nat" else "Step Functions"


def _rate(calls: Fraction) -> str:
    return f"{float(calls / (HOURS * 3_600)):.3g}"


def _only(comparison: Comparison, span: Span) -> str:
    if span.cheaper is None:
        return "both ways cost the same, however many calls."
    if span.cheaper == "nat":
        return f"the NAT gateway is cheaper at any number of calls: {_why_nat(comparison)}"
    first = comparison.bills(Fraction(1))
    if first["step-functions"].of_calls <= first["nat"].of_calls:
        why = "a call costs no more than its bytes through the NAT gateway."
    else:
        why = "its duration gets cheaper before the difference of the fixed costs is spent."
    return f"Step Functions is cheaper at any number of calls: {why}"


def _why_nat(comparison: Comparison) -> str:
    if comparison.usage.keeps_nat:
        return "it is there for other traffic anyway, and endpoint and calls come on top."
    return "the endpoints alone cost as much as it does."


# --- The chart ------------------------------------------------------------------------------------


def _chart(comparison: Comparison) -> str:
    calls = comparison.usage.calls
    edges = [span.end for span in comparison.spans if span.end]
    seen = [x for x in (Fraction(calls), *edges) if 1 <= x <= FARTHEST] or [Fraction(MILLION)]
    decades = (max(floor(log10(min(seen))) - 1, 0), floor(log10(max(seen))) + 2)
    curves = {MARKS[way]: _curve(comparison, way) for way in NAMES}
    marks = [("your calls", float(calls)), *(("break-even", float(edge)) for edge in edges)]
    legend = ", ".join(f"{MARKS[way]} {name}" for way, name in NAMES.items())
    drawn = chart(curves, decades, [mark for mark in marks if mark[1] >= 1])
    return f"USD a month by calls a month: {legend}, {BOTH} both\n{drawn}"


def _curve(comparison: Comparison, way: Way) -> Any:
    return lambda calls: float(comparison.bills(Fraction(calls))[way].total)


# --- As JSON --------------------------------------------------------------------------------------


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, money in US dollars to the millionth."""
    usage, prices = comparison.usage, comparison.prices
    bills = comparison.bills()
    return {
        "region": prices.region,
        "currency": "USD",
        "usage": {
            "calls": usage.calls,
            "gb_seconds_each": float(usage.mean.gb_seconds),
            "zones": usage.zones,
            "nat_gateways": usage.nat_gateways,
            "keeps_nat": usage.keeps_nat,
            "nat_gb": float(usage.nat_gb),
            "aws_gb": float(usage.aws_gb),
            "endpoints": [
                {"service": one.service, "reason": one.reason} for one in usage.endpoints
            ],
        },
        "ways": {way: _bill_json(bill, usage.calls) for way, bill in bills.items()},
        "apis": [_api_json(comparison, api) for api in usage.apis],
        "cheaper": [
            {
                "from": floor(span.start),
                "to": None if span.end is None else floor(span.end),
                "way": span.cheaper,
            }
            for span in comparison.spans
        ],
        "verdict": verdict(comparison),
        "notes": list(comparison.notes),
        "not_counted": list(NOT_COUNTED),
        "prices": {
            name: {
                "usd": float(price.usd),
                "unit": UNITS[name],
                "source": price.source,
                "published": price.published or None,
                "is_sure": prices.is_sure(name),
            }
            for name, price in prices.items.items()
        },
    }


def _bill_json(bill: Bill, calls: int) -> dict[str, Any]:
    return {
        "fixed": _rounded(bill.fixed),
        "of_calls": _rounded(bill.of_calls),
        "total": _rounded(bill.total),
        "per_million_calls": _rounded(bill.of_calls / calls * MILLION) if calls else None,
        "items": [
            {
                "what": item.what,
                "quantity": float(item.quantity),
                "price": item.price,
                "usd": _rounded(item.usd),
                "is_fixed": item.is_fixed,
            }
            for item in bill.items
        ],
    }


def _api_json(comparison: Comparison, api: Api) -> dict[str, Any]:
    costs = comparison.of_api(api)
    return {"name": api.name, "calls": api.calls} | {way: _rounded(costs[way]) for way in NAMES}


def _rounded(usd: Fraction) -> float:
    return float(round(usd, 6))
