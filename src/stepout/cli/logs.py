"""Log lines on standard error: one canonical line per event, as text or JSON."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from stepout.runtime.lines import Lines

__all__ = ["configure"]

Fields: TypeAlias = Mapping[str, Any]


def configure(log_format: str) -> None:
    """Send what stepout logs to standard error."""
    # Nothing below prints where in the code a line was logged, nor by which thread: not looking
    # for it halves the cost of a line (Python's logging guide, "Optimization").
    logging._srcfile = None  # noqa: SLF001 — documented there
    logging.setLogRecordFactory(_Record)
    handler = _handler()
    handler.setFormatter(_Formatter(_FORMATS[log_format]))
    # What libraries have to say is rare, and has the same form.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("stepout").setLevel(logging.INFO)


def _handler() -> logging.Handler:
    try:
        return _Handler(sys.stderr.fileno())
    except (AttributeError, OSError):
        # It is no file, or there is none.
        return logging.StreamHandler(sys.stderr)


class _Handler(logging.Handler):
    """Writes to a descriptor, each line whole or not at all."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._lines = Lines(descriptor)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 — as every handler of the standard library
            self.handleError(record)
            return
        # What a full disk does not take cannot be told anywhere else.
        with suppress(OSError):
            self._lines.write(f"{text}\n".encode("utf-8", "backslashreplace"))


class _Record(logging.LogRecord):
    """What a line needs; the full record of the standard library costs three times as much."""

    def __init__(
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
        **_more: object,
    ) -> None:
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.msg, self.args = str(msg), args
        self.exc_info, self.exc_text, self.stack_info = exc_info, None, sinfo
        self.created = time.time()
        self.msecs = int(self.created * 1_000) % 1_000
        self.pathname, self.lineno, self.funcName = pathname, lineno, func or ""


class _Formatter(logging.Formatter):
    """Time, event and fields, in one of the forms below."""

    def __init__(self, write: Callable[[str, logging.LogRecord, Fields], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{_second(int(record.created))}.{int(record.msecs):03}Z"
        given: Fields = getattr(record, "fields", {})
        fields = {key: value for key, value in given.items() if value is not None and value != ""}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._write(moment, record, fields)


def _as_text(moment: str, record: logging.LogRecord, fields: Fields) -> str:
    """`2026-11-23T12:34:56.789Z request operation=StartSyncExecution status=200 …`"""
    pairs = [f"{key}={_shown(value)}" for key, value in fields.items()]
    event = record.getMessage()
    return " ".join([moment, event if event.isprintable() else json.dumps(event), *pairs])


def _as_json(moment: str, record: logging.LogRecord, fields: Fields) -> str:
    """One JSON object a line."""
    members = {
        "time": moment,
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **fields,
    }
    try:
        line = orjson.dumps(members, default=str).decode()
    except TypeError:
        # Half a character, or an integer over 64 bits.
        line = ""
    return line if line and line.isprintable() else json.dumps(members, default=str)


_FORMATS: Final = {"text": _as_text, "json": _as_json}

_WORD: Final = re.compile(r'[^\s"=]+')


def _shown(value: object) -> str:
    """A value as it is, or as JSON where it would not be one word.

    orjson escapes of the controls those below U+0020 only; U+009B, for one, steers a terminal.
    """
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    return text if _WORD.fullmatch(text) else orjson.dumps(text).decode()


@lru_cache(4)
def _second(epoch: int) -> str:
    """A second, written once for all lines in it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))
