"""Times are written as each API writes them."""

from __future__ import annotations

import pytest

from stepout.aws.timestamps import iso_8601, milliseconds, seconds


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_790_231_648_662, "2026-09-24T06:34:08.662Z"),
        (1_790_231_648_005, "2026-09-24T06:34:08.005Z"),
    ],
)
def test_the_context_object_has_milliseconds_where_there_are_any(epoch_ms: int, text: str) -> None:
    assert iso_8601(epoch_ms) == text


def test_step_functions_counts_milliseconds_and_eventbridge_seconds() -> None:
    assert milliseconds(1_790_231_648_662) == 1790231648.662
    assert seconds(1_790_231_648) == 1790231648
