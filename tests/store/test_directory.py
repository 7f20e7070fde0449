"""The data directory is closed to others, or refused where closing it would break other things."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from stepout.errors import StoreError
from stepout.store.directory import DATABASE_FILE, prepare

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes.")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_directory_that_is_made_is_its_user_s_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        prepare(tmp_path / "made" / "here")
    finally:
        os.umask(before)
    assert mode(tmp_path / "made" / "here") == 0o700


@pytest.mark.parametrize("names", [[], [DATABASE_FILE], [DATABASE_FILE, "secret.key", "notes"]])
@pytest.mark.parametrize("found", [0o755, 0o775, 0o711, 0o2770])
def test_a_directory_for_this_is_closed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], found: int
) -> None:
    for name in names:
        (tmp_path / name).touch()
    tmp_path.chmod(found)
    with caplog.at_level(logging.WARNING, "stepout.store"):
        prepare(tmp_path)
    assert mode(tmp_path) & 0o777 == 0o700
    (record,) = caplog.records
    assert record.getMessage() == "data directory closed to others"
    assert vars(record)["fields"]["found"] == f"{found:04o}"
    caplog.clear()
    prepare(tmp_path)
    assert caplog.records == []


def test_a_directory_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "homework").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(StoreError, match="found mode 0755 and other files in it. Name a directory"):
        prepare(tmp_path)
    assert mode(tmp_path) == 0o755
    tmp_path.chmod(0o700)
    prepare(tmp_path)


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(StoreError, match=f"found the user {owner}. Run as that user, or name a"):
        prepare(tmp_path)
