"""Times as AWS writes them; inside stepout they are integers since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["iso_8601", "milliseconds", "seconds"]


def milliseconds(epoch_ms: int) -> float:
    """A timestamp of Step Functions' API: epoch seconds with three digits, as a JSON number."""
    return epoch_ms / 1_000


def seconds(epoch_s: int) -> int:
    """A timestamp of EventBridge's API: whole epoch seconds, as a JSON number."""
    return epoch_s


def iso_8601(epoch_ms: int) -> str:
    """A timestamp of the context object, as `2026-09-24T06:34:08.662Z` (RFC 3339, UTC)."""
    whole, rest = divmod(epoch_ms, 1_000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03}Z" if rest else f"{text}Z"
