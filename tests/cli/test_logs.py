"""Log lines: one per event, as text or JSON, and libraries in the same form."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepout.cli import logs

PROGRAM = """
import logging, sys
from stepout.cli import logs

logs.configure(sys.argv[1])
log = logging.getLogger("stepout.request")
log.info("request", extra={"fields": {"operation": "X", "text": 'a "b" c', "none": None, "n": 1}})
log.debug("not shown")
logging.getLogger("library").warning("said %s", "this")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("request failed", extra={"fields": {"operation": "X"}})
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


LATER = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = __import__("os").fstat(2).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, resource.RLIM_INFINITY))
log.info("does not fit")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("fits")
"""


@pytest.mark.skipif(os.name != "posix", reason="The limit of a file's size is POSIX's.")
@pytest.mark.parametrize("mode", ["w", "a"])
def test_a_line_that_the_disk_does_not_take_tears_no_other(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "log"
    with path.open(mode) as stderr:
        command = [sys.executable, "-c", PROGRAM + LATER, "json"]
        subprocess.run(command, stderr=stderr, check=True)
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["request", "said this", "request failed", "fits"]


def test_text_has_keys_and_quotes_what_is_not_one_word() -> None:
    first, second, third = lines("text")
    time, rest = first.split(" ", 1)
    assert len(time) == len("2026-11-23T12:34:56.789Z")
    assert rest == 'request operation=X text="a \\"b\\" c" n=1'
    assert second.endswith("said this")
    assert "request failed operation=X exception=" in third
    assert "ZeroDivisionError" in third


def test_json_is_one_object_a_line() -> None:
    first, second, third = (json.loads(line) for line in lines("json"))
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "event": "request",
        "operation": "X",
        "text": 'a "b" c',
        "n": 1,
    }
    assert (second["level"], second["event"]) == ("warning", "said this")
    assert (third["level"], third["event"]) == ("error", "request failed")
    assert "ZeroDivisionError" in third["exception"]


def test_a_value_with_a_line_break_stays_in_its_line() -> None:
    record = logging.makeLogRecord({"msg": "event"})
    written = logs._as_text("now", record, {"a": "x\nforged event=1", "b": "\x1b[31m"})
    assert written == 'now event a="x\\nforged event=1" b="\\u001b[31m"'


HOSTILE = "a\x9b31m\x7f\u2028\u202e\ud800\nforged event=1"


@pytest.mark.parametrize("write", [logs._as_text, logs._as_json])
def test_nothing_in_a_line_ends_it_or_steers_a_terminal(
    write: Callable[[str, logging.LogRecord, Mapping[str, Any]], str],
) -> None:
    written = write("now", logging.makeLogRecord({"msg": HOSTILE}), {"a": HOSTILE, "b": 1 << 70})
    assert written.isprintable()
    assert "forged" in written
