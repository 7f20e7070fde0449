"""Which retrier answers an error, and how long it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stepout.asl.machine import Retrier
from stepout.asl.states_error import StatesError, matches
from stepout.engine.entropy import Entropy

__all__ = ["choose", "delay_ms"]

_LONGEST_S: Final = 99_999_999
"""No delay grows beyond the largest IntervalSeconds (also keeps the power finite)."""


def choose(retriers: Sequence[Retrier], attempts: Sequence[int], error: StatesError) -> int | None:
    """The index of the first retrier that names the error, if it has attempts left.

    Only the first that matches is asked; when it is exhausted, catchers are next
    (States Language, "Retrying after error").
    """
    for index, retrier in enumerate(retriers):
        if matches(retrier.errors, error):
            return index if attempts[index] < retrier.max_attempts else None
    return None


def delay_ms(retrier: Retrier, attempt: int, entropy: Entropy) -> int:
    """Milliseconds to wait before the attempt, counted from 0.

    IntervalSeconds × BackoffRate^attempt, capped by MaxDelaySeconds; with full jitter drawn evenly
    between 0 and that.
    """
    seconds = min(_grown(retrier, attempt), retrier.max_delay or _LONGEST_S)
    if retrier.has_full_jitter:
        seconds *= entropy.uniform()
    return round(seconds * 1_000)


def _grown(retrier: Retrier, attempt: int) -> float:
    if retrier.interval == 0:
        return 0.0
    try:
        return min(retrier.interval * retrier.backoff_rate**attempt, float(_LONGEST_S))
    except OverflowError:
        return float(_LONGEST_S)
