"""A file of lines: whole lines or none, whatever the disk takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stepout.runtime.lines import Lines


class Disk:
    """Takes so many bytes more, by pieces of 4 at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, file: int, text: bytes) -> int:
        size = min(self.room, 4, len(text))
        if not size:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= size
        return self._write(file, text[:size])


def test_lines_are_appended_to_a_file_of_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for line in (b"one\n", b"two\n"):
        lines = Lines(path, mode=0o600)
        lines.write(line)
        lines.close()
        lines.close()
    assert path.read_bytes() == b"one\ntwo\n"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_does_not_fit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    lines, disk = Lines(path), Disk(monkeypatch, 20)
    lines.write(b"the first\n")
    with pytest.raises(OSError, match="No space left"):
        lines.write(b"this does not fit in\n")
    assert path.read_bytes() == b"the first\n"
    disk.room = 100
    lines.write(b"the last\n")
    lines.close()
    assert path.read_bytes() == b"the first\nthe last\n"


def test_a_file_that_was_cut_off_meanwhile_is_not_made_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation copies it and cuts it off, in any moment."""
    path = tmp_path / "lines"
    lines, disk = Lines(path), Disk(monkeypatch, 8)

    def write(file: int, text: bytes) -> int:
        os.truncate(path, 0)
        return disk.write(file, text)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        lines.write(b"this does not fit in\n")
    lines.close()
    assert path.read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="The system has no /dev/full.")
def test_a_full_disk_does_not_keep_the_file_from_being_closed() -> None:
    lines = Lines(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        lines.write(b"line\n")
    lines.close()
