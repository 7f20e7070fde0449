"""The log records of executions, as AWS writes them to CloudWatch Logs.

One JSON object a line for each history event that the machine's level asks for, in one file per log
group below a directory, or all on standard output.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from stepout.asl.values import Json, dumps
from stepout.engine.history import Event
from stepout.engine.turn import Run
from stepout.errors import SettingsError
from stepout.runtime.driver import Observe

__all__ = ["STDOUT", "ExecutionLogs", "record_of"]

_log = logging.getLogger("stepout.execution")

STDOUT: Final = "-"

MAX_DATA: Final = 248 * 1024
"""Bytes of input and output that a record shows (developer guide, cw-logs)."""

_DATA: Final = ("input", "output", "parameters")
"""Members of an event's details that hold data of the execution."""

_FATAL: Final = frozenset(["ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"])
_ERROR: Final = re.compile(r".*(Failed|Aborted|TimedOut)|FailStateEntered")

_LEVELS: Final[Mapping[str, Callable[[str], bool]]] = {
    "ALL": lambda _type: True,
    "ERROR": lambda event_type: _ERROR.fullmatch(event_type) is not None,
    "FATAL": lambda event_type: event_type in _FATAL,
}
"""Level → whether it shows an event type (developer guide, cw-logs)."""

_GROUP: Final = re.compile(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:([A-Za-z0-9_/.#-]{1,512})(:\*)?")


class ExecutionLogs:
    """Writes records to a directory or to standard output; without a target, nowhere."""

    def __init__(self, target: str | None) -> None:
        """Raises `SettingsError` where the directory cannot be made."""
        if target not in (None, STDOUT):
            try:
                Path(str(target)).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                message = f"The directory {target} of the execution log cannot be made: {error}."
                raise SettingsError(message) from None
        self._target = target
        self._files: dict[str, TextIO] = {}

    def observer(self, configuration: Mapping[str, Json] | None, run: Run) -> Observe | None:
        """What writes the events of a run down, or None where nobody asks for them."""
        level = (configuration or {}).get("level", "OFF")
        if configuration is None or self._target is None or level not in _LEVELS:
            return None
        shows, file = _LEVELS[level], self._file(_group(configuration))
        if file is None:
            return None
        has_data = configuration.get("includeExecutionData", False)

        def write(events: Sequence[Event]) -> None:
            shown = [event for event in events if shows(event.type)]
            records = [record_of(event, run, has_data=has_data) for event in shown]
            _write(file, "".join(f"{dumps(record).decode()}\n" for record in records))

        return write

    def close(self) -> None:
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                _report(file.name, error)
        self._files.clear()

    def _file(self, group: str) -> TextIO | None:
        if self._target == STDOUT:
            return sys.stdout
        if group not in self._files:
            # Dots that would lead out of the directory are no part of a file's name.
            parts = [part for part in group.split("/") if part.strip(".")]
            path = Path(str(self._target), *parts[:-1], f"{parts[-1] if parts else 'group'}.jsonl")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[group] = path.open("a", encoding="utf-8")
            except OSError as error:
                _report(path, error)
                return None
        return self._files[group]


def _write(file: TextIO, text: str) -> None:
    """Delivery is best effort, as on AWS: a log that cannot be written stops no execution."""
    try:
        file.write(text)
        file.flush()
    except (OSError, UnicodeError) as error:
        _report(file.name, error)


def _report(file: object, error: OSError | UnicodeError) -> None:
    _log.error("execution log", extra={"fields": {"file": str(file), "error": str(error)}})


def record_of(event: Event, run: Run, *, has_data: bool) -> dict[str, Json]:
    """The record of an event; ids, timestamp and count are texts (recorded on AWS)."""
    details: dict[str, Json] = {}
    for member, given in event.details.items():
        for name, value in _shown(member, given, has_data=has_data):
            # What was cut says so itself, before the event's own word that nothing was.
            details.setdefault(name, value)
    return {
        "id": str(event.id),
        "type": event.type,
        "details": details,
        "previous_event_id": str(event.previous_id),
        "event_timestamp": str(event.timestamp),
        "execution_arn": run.arn,
        "redrive_count": "0",
    }


def _shown(member: str, value: Json, *, has_data: bool) -> list[tuple[str, Json]]:
    """A member of the details as the record has it, data cut to what a record may show."""
    if not has_data and member.removesuffix("Details") in (*_DATA, "assignedVariables"):
        return []
    if member not in _DATA or len(value.encode()) <= MAX_DATA:
        return [(member, value)]
    cut = value.encode()[:MAX_DATA].decode("utf-8", "ignore")
    # Parameters have no details in the service model.
    details = [] if member == "parameters" else [(f"{member}Details", {"truncated": True})]
    return [(member, cut), *details]


def _group(configuration: Mapping[str, Json]) -> str:
    """The name of the log group of a logging configuration."""
    for destination in configuration.get("destinations", ()):
        arn = destination.get("cloudWatchLogsLogGroup", {}).get("logGroupArn", "")
        match = _GROUP.fullmatch(arn)
        if match is not None:
            return match[1]
    return "unnamed"
