"""The audit log: one JSON line for each request, who asked for what and why it was allowed or not.

No payloads, no secrets: of a request only its operation and the ARN that it is about.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Final

from stepout.api.exchange import Answer, Exchange
from stepout.asl.values import Json, dumps
from stepout.errors import SettingsError
from stepout.runtime.lines import Lines, Printed

__all__ = ["STDOUT", "Audit"]

_log = logging.getLogger("stepout.audit")

STDOUT: Final = "-"

_MAX_AGENT: Final = 256
"""Characters of a User-Agent, which the caller makes up; ours."""


class Audit:
    """Writes lines to a file or to standard output; without a target, nowhere.

    A line that cannot be written is told in the log, and the request is served all the same: who
    wants no request without its line must watch the log, and the disk.
    """

    def __init__(self, target: str | None) -> None:
        """Raises `SettingsError` where the file cannot be opened."""
        self._file: Lines | Printed | None = None
        if target == STDOUT:
            self._file = Printed()
        elif target is not None:
            try:
                self._file = Lines(Path(target), mode=0o600)
            except OSError as error:
                raise SettingsError(f"The audit log {target} cannot be opened: {error}.") from None

    def write(self, exchange: Exchange, answer: Answer) -> None:
        """Write the line of a request that was answered."""
        if self._file is None:
            return
        try:
            self._file.write(f"{_line(_record(exchange, answer))}\n".encode())
        except (OSError, ValueError) as error:
            _log.error("audit line lost", extra={"fields": {"error": str(error)}})

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _line(record: dict[str, Json]) -> str:
    """JSON without a character that would steer a terminal: a caller makes up its User-Agent."""
    line = dumps(record).decode()
    return line if line.isprintable() else json.dumps(record, separators=(",", ":"))


def _record(exchange: Exchange, answer: Answer) -> dict[str, Json]:
    caller, judgement, arrival = exchange.caller, exchange.judgement, exchange.arrival
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    record: dict[str, Json] = {
        "time": f"{moment}.{int(now * 1_000) % 1_000:03}Z",
        "request_id": exchange.request_id,
        "source_ip": arrival.source_ip,
        "user_agent": arrival.user_agent[:_MAX_AGENT],
        "principal": None if caller is None else caller.principal.arn,
        "access_key_id": None if caller is None else caller.access_key_id,
        "operation": exchange.operation,
        "action": None if judgement is None else judgement.action,
        "resource": None if judgement is None else judgement.resource,
        "decision": _decision(exchange),
        "reason": None if judgement is None else judgement.reason,
        "status": answer.status,
        "error": answer.error,
        "duration_ms": round(exchange.seconds * 1_000, 3),
    }
    return {name: value for name, value in record.items() if value not in (None, "")}


def _decision(exchange: Exchange) -> str:
    """How far the request came."""
    if exchange.caller is None:
        return "unidentified"
    if exchange.judgement is None:
        return "unreadable"
    return "allowed" if exchange.judgement.refusal is None else "denied"
