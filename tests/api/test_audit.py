"""The audit log on a disk that is full: the request is served, the server ends as it should."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stepout.api.audit import Audit
from stepout.api.caller import Arrival
from stepout.api.exchange import Answer, Exchange

needs_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="The system has no /dev/full."
)


@needs_full
def test_a_line_that_is_lost_is_told_and_nothing_is_left_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    audit = Audit("/dev/full")
    for _ in range(2):
        audit.write(Exchange(Arrival("127.0.0.1", False, "agent")), Answer(200, b"", b""))
    audit.close()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    fields = [vars(record)["fields"] for record in caplog.records]
    assert all("No space left on device" in found["error"] for found in fields)
