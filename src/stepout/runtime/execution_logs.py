"""The log records of executions, as AWS writes them to CloudWatch Logs.

One JSON object a line for each history event that the machine's level asks for, in one file per log
group below a directory, or all on standard output.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from stepout.asl.values import Json, dumps
from stepout.engine.history import Event
from stepout.engine.turn import Run
from stepout.errors import SettingsError
from stepout.runtime.driver import Observe
from stepout.runtime.lines import Lines, Printed

__all__ = ["STDOUT", "ExecutionLogs", "record_of"]

_log = logging.getLogger("stepout.execution")

STDOUT: Final = "-"

MAX_DATA: Final = 248 * 1024
"""Bytes of input and output that a record shows (developer guide, cw-logs)."""

MAX_OPEN: Final = 64
"""Log groups whose files are open; a caller may name as many groups as it likes. Ours."""

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
        self._printed = Printed()
        self._files: OrderedDict[str, Lines] = OrderedDict()
        """Those that are open, the last used at the end."""

    def observer(self, configuration: Mapping[str, Json] | None, run: Run) -> Observe | None:
        """What writes the events of a run down, or None where nobody asks for them."""
        level = (configuration or {}).get("level", "OFF")
        if configuration is None or self._target is None or level not in _LEVELS:
            return None
        shows, group = _LEVELS[level], _group(configuration)
        has_data = configuration.get("includeExecutionData", False)

        def write(events: Sequence[Event]) -> None:
            shown = [event for event in events if shows(event.type)]
            records = [record_of(event, run, has_data=has_data) for event in shown]
            self._write(group, b"".join(b"%b\n" % dumps(record) for record in records))

        return write

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _write(self, group: str, text: bytes) -> None:
        """Delivery is best effort, as on AWS: a log that cannot be written stops no execution."""
        if not text:
            return
        try:
            self._file(group).write(text)
        except (OSError, ValueError) as error:
            file = STDOUT if self._target == STDOUT else str(self._path(group))
            fields = {"file": file, "error": str(error)}
            _log.error("execution log", extra={"fields": fields})

    def _file(self, group: str) -> Lines | Printed:
        if self._target == STDOUT:
            return self._printed
        if group not in self._files:
            path = self._path(group)
            path.parent.mkdir(parents=True, exist_ok=True)
            while len(self._files) >= MAX_OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[group] = Lines(path)
        self._files.move_to_end(group)
        return self._files[group]

    def _path(self, group: str) -> Path:
        # Dots that would lead out of the directory are no part of a file's name.
        parts = [part for part in group.split("/") if part.strip(".")]
        return Path(str(self._target), *parts[:-1], f"{parts[-1] if parts else 'group'}.jsonl")


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
