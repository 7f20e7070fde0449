"""What evaluations may cost: a little on the event loop, more apart, and each kind for itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepout.asl import jsonpath
from stepout.asl.allowance import APART, INLINE, Allowance, NeedsTime


def pay_nodes(allowance: Allowance, count: int) -> bool:
    return allowance.pay_nodes(count)


def pay_bytes(allowance: Allowance, count: int) -> bool:
    return allowance.pay_bytes(count)


Pay = Callable[[Allowance, int], bool]
COUNTED = [(pay_nodes, INLINE.nodes, APART.nodes), (pay_bytes, INLINE.bytes, APART.bytes)]


# --- On the event loop ----------------------------------------------------------------------------


@pytest.mark.parametrize(("pay", "inline", "apart"), COUNTED)
def test_the_event_loop_bears_what_is_inline_and_not_one_more(
    pay: Pay, inline: int, apart: int
) -> None:
    allowance = Allowance()
    assert pay(allowance, inline)
    assert pay(allowance, 0)
    with pytest.raises(NeedsTime):
        pay(allowance, 1)


@pytest.mark.parametrize(("pay", "inline", "apart"), COUNTED)
def test_a_cost_that_is_too_high_at_once_needs_time(pay: Pay, inline: int, apart: int) -> None:
    with pytest.raises(NeedsTime):
        pay(Allowance(), inline + 1)


@pytest.mark.parametrize(("pay", "inline", "apart"), COUNTED)
def test_who_has_paid_all_stays_without(pay: Pay, inline: int, apart: int) -> None:
    allowance = Allowance()
    for _ in range(2):
        with pytest.raises(NeedsTime):
            pay(allowance, inline + 1)
    with pytest.raises(NeedsTime):
        pay(allowance, 0)


def test_nodes_bytes_and_seconds_are_paid_for_themselves() -> None:
    allowance = Allowance()
    assert allowance.pay_nodes(INLINE.nodes)
    assert allowance.pay_bytes(INLINE.bytes)
    assert allowance.seconds == INLINE.seconds


def test_the_time_of_an_expression_is_what_others_have_left() -> None:
    allowance = Allowance()
    assert allowance.seconds == INLINE.seconds
    allowance.pay_seconds(INLINE.seconds / 4)
    assert allowance.seconds == pytest.approx(INLINE.seconds * 3 / 4)


@pytest.mark.parametrize("paid", [INLINE.seconds, INLINE.seconds * 10])
def test_without_time_on_the_event_loop_an_expression_is_not_begun(paid: float) -> None:
    allowance = Allowance()
    allowance.pay_seconds(paid)
    with pytest.raises(NeedsTime):
        allowance.seconds  # noqa: B018 — asking is what raises


def test_a_turn_on_the_event_loop_has_one_allowance_for_all_its_states() -> None:
    allowance = Allowance()
    allowance.pay_nodes(INLINE.nodes)
    allowance.renew()
    with pytest.raises(NeedsTime):
        allowance.pay_nodes(1)


# --- Apart ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pay", "inline", "apart"), COUNTED)
def test_apart_the_last_is_told_apart_from_one_too_many(pay: Pay, inline: int, apart: int) -> None:
    allowance = Allowance(is_inline=False)
    assert pay(allowance, inline + 1)
    assert pay(allowance, apart - inline - 1)
    assert not pay(allowance, 1)
    assert not pay(allowance, 0)


def test_apart_an_expression_without_time_is_begun_and_ends_at_once() -> None:
    """It fails in the words of the States Language, which asking for time cannot."""
    allowance = Allowance(is_inline=False)
    assert allowance.seconds == APART.seconds
    allowance.pay_seconds(APART.seconds + 1)
    assert allowance.seconds == 0.001


def test_apart_each_state_pays_for_itself() -> None:
    allowance = Allowance(is_inline=False)
    for _ in range(3):
        assert allowance.pay_nodes(APART.nodes)
        assert allowance.pay_bytes(APART.bytes)
        allowance.pay_seconds(APART.seconds)
        assert not allowance.pay_nodes(1)
        allowance.renew()
        assert allowance.seconds == APART.seconds


# --- Turns of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_inline", [True, False])
@pytest.mark.parametrize(
    ("nodes", "size", "seconds"),
    [
        (INLINE.nodes // 2, 0, 0.0),
        (0, INLINE.bytes // 2, 0.0),
        (0, 0, INLINE.seconds / 4),
        (INLINE.nodes // 2, INLINE.bytes // 2, INLINE.seconds / 4),
    ],
)
def test_up_to_half_of_what_is_inline_a_turn_goes_on(
    nodes: int, size: int, seconds: float, is_inline: bool
) -> None:
    allowance = Allowance(is_inline=is_inline)
    assert not allowance.is_low
    allowance.pay_nodes(nodes)
    allowance.pay_bytes(size)
    allowance.pay_seconds(seconds)
    assert not allowance.is_low


@pytest.mark.parametrize("is_inline", [True, False])
@pytest.mark.parametrize(
    ("nodes", "size", "seconds"),
    [
        (INLINE.nodes // 2 + 1, 0, 0.0),
        (0, INLINE.bytes // 2 + 1, 0.0),
        (0, 0, INLINE.seconds * 3 / 4),
    ],
)
def test_beyond_half_of_what_is_inline_others_have_their_turn(
    nodes: int, size: int, seconds: float, is_inline: bool
) -> None:
    allowance = Allowance(is_inline=is_inline)
    allowance.pay_nodes(nodes)
    allowance.pay_bytes(size)
    allowance.pay_seconds(seconds)
    assert allowance.is_low


def test_what_an_earlier_state_has_paid_is_not_forgotten_apart() -> None:
    allowance = Allowance(is_inline=False)
    allowance.pay_nodes(INLINE.nodes)
    for _ in range(2):
        allowance.renew()
        assert allowance.is_low


def test_many_cheap_states_apart_are_not_low() -> None:
    allowance = Allowance(is_inline=False)
    for _ in range(1_000):
        allowance.renew()
        allowance.pay_nodes(INLINE.nodes // 4)
    assert not allowance.is_low


# --- Who pays -------------------------------------------------------------------------------------


def order_of(items: int) -> dict[str, list[dict[str, int]]]:
    return {"items": [{"price": number} for number in range(items)]}


def test_a_path_that_looks_everywhere_pays_for_what_it_sees() -> None:
    path = jsonpath.compile("$..price")
    assert path.read(order_of(100), Allowance()) == list(range(100))
    with pytest.raises(NeedsTime):
        path.read(order_of(INLINE.nodes), Allowance())
    apart = Allowance(is_inline=False)
    assert path.read(order_of(INLINE.nodes), apart) == list(range(INLINE.nodes))
    assert apart.is_low


def test_readings_add_up() -> None:
    path = jsonpath.compile("$..price")
    allowance = Allowance()
    allowance.pay_nodes(INLINE.nodes - 100)
    with pytest.raises(NeedsTime):
        path.read(order_of(100), allowance)


def test_a_path_to_one_place_costs_nothing() -> None:
    allowance = Allowance()
    allowance.pay_nodes(INLINE.nodes)
    assert jsonpath.compile("$.items[1].price").read(order_of(2), allowance) == 1
