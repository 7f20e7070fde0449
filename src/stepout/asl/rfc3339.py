"""Timestamps in the form that the States Language takes: RFC 3339 with capital `T` and `Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["nanoseconds"]

_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_OFFSET_HOURS: Final = 18
"""Of Java's ZoneOffset."""


def nanoseconds(text: str) -> int | None:
    """Nanoseconds since the epoch, or None for a text that is no timestamp."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    moment, fraction, sign, hours, minutes = match.groups()
    try:
        local = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset > timedelta(hours=_MAX_OFFSET_HOURS) or int(minutes or 0) > 59:
        return None
    # Counted in integers from here: a datetime would overflow at its ends.
    seconds = (local - _EPOCH) // timedelta(seconds=1)
    seconds -= (-1 if sign == "-" else 1) * (offset // timedelta(seconds=1))
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
