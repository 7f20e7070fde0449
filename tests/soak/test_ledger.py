"""What the soak makes of its numbers."""

from __future__ import annotations

import pytest
from tests.soak.ledger import growth, quantile


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 51, 100, 100]
    assert quantile([], 0.5) == 0


@pytest.mark.parametrize(
    ("series", "grown"),
    [
        ([], 0),
        ([1.0] * 4, 0),
        ([100.0] * 100, 0),
        # It warms up, and stays.
        ([*range(40), *[40.0] * 60], 0),
        # It leaks.
        ([float(number) for number in range(100)], 40),
        # One moment counts for nothing.
        ([*[50.0] * 95, 900.0, *[50.0] * 4], 0),
    ],
)
def test_growth_is_what_comes_when_it_is_warm(series: list[float], grown: float) -> None:
    assert growth(series) == grown
