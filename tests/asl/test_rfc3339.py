"""Timestamps of the States Language: RFC 3339, and nothing looser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.asl.rfc3339 import nanoseconds

FIRST = datetime(2, 1, 1)  # noqa: DTZ001 — hypothesis wants its bounds without a zone
LAST = datetime(9998, 1, 1)  # noqa: DTZ001 — the same


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
        ("0001-01-01T00:00:00+18:00", -62_135_661_600_000_000_000),
    ],
)
def test_a_timestamp_is_nanoseconds_since_the_epoch(text: str, found: int) -> None:
    assert nanoseconds(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-01",
        "2024-01-01t00:00:00z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.0000000001Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T00:00:00+19:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T00:00:00+0100",
        " 2024-01-01T00:00:00Z",
        "２０２４-01-01T00:00:00Z",
    ],
)
def test_what_is_no_timestamp(text: str) -> None:
    assert nanoseconds(text) is None


@given(
    st.datetimes(FIRST, LAST),
    st.integers(-18 * 60, 18 * 60),
)
def test_offsets_agree_with_the_standard_library(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = zoned.isoformat()
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
    assert nanoseconds(text) == expected
