"""Log lines on standard error: one canonical line per event, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["configure"]


def configure(log_format: str) -> None:
    """Send what stepout logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATS[log_format]())
    root = logging.getLogger("stepout")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


class _TextFormatter(logging.Formatter):
    """`12:34:56.789 request operation=StartSyncExecution status=200 …`"""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        pairs = [f"{key}={_shown(value)}" for key, value in _fields(record).items()]
        line = " ".join([time, record.getMessage(), *pairs])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        members = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, ensure_ascii=False, default=str)


_FORMATS: Final[Mapping[str, type[logging.Formatter]]] = {
    "text": _TextFormatter,
    "json": _JsonFormatter,
}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _shown(value: object) -> str:
    """A value as it is, in quotes where it would not be one word."""
    text = str(value)
    plain = text.isprintable() and not any(character in ' "=' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
