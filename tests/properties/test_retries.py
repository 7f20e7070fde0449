"""Bounds of back-off and jitter."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stepout.asl.machine import Retrier
from stepout.engine.entropy import Entropy
from stepout.engine.retries import delay_ms

LONGEST_MS = 99_999_999 * 1_000

RETRIERS = st.builds(
    Retrier,
    errors=st.just(("States.ALL",)),
    interval=st.integers(0, 99_999_999),
    max_attempts=st.integers(0, 99_999_999),
    backoff_rate=st.floats(1.0, 1e300),
    max_delay=st.none() | st.integers(1, 31_622_400),
    has_full_jitter=st.just(False),
)
ATTEMPTS = st.integers(0, 99_999_999)
SEEDS = st.binary(min_size=32, max_size=32)


@given(RETRIERS, ATTEMPTS, SEEDS)
def test_a_delay_is_at_most_the_cap_and_never_shrinks(
    retrier: Retrier, attempt: int, seed: bytes
) -> None:
    first = delay_ms(retrier, 0, Entropy(seed))
    this, following = (delay_ms(retrier, attempt + more, Entropy(seed)) for more in (0, 1))
    cap = LONGEST_MS if retrier.max_delay is None else retrier.max_delay * 1_000
    assert 0 <= first <= this <= following <= cap
    assert first == min(retrier.interval * 1_000, cap)


@given(RETRIERS, ATTEMPTS, SEEDS)
def test_full_jitter_lies_between_zero_and_the_delay(
    retrier: Retrier, attempt: int, seed: bytes
) -> None:
    whole = delay_ms(retrier, attempt, Entropy(seed))
    drawn = delay_ms(replace(retrier, has_full_jitter=True), attempt, Entropy(seed))
    assert 0 <= drawn <= whole
    assert drawn == delay_ms(replace(retrier, has_full_jitter=True), attempt, Entropy(seed))
