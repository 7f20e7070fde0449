"""A secret shows itself to `reveal()` alone, and a process that has some leaves no core file."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import os
import pickle
import pprint
import signal
import string
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.secret import Secret

SESAME = "open-sesame-4711"


@dataclasses.dataclass(frozen=True)
class Holder:
    name: str
    secret: Secret


SECRET = Secret(SESAME)
HOLDER = Holder("h", SECRET)


def log_line(message: str, *arguments: object) -> str:
    record = logging.LogRecord("n", logging.INFO, "", 0, message, arguments, None)
    return logging.Formatter().format(record)


def trace_with_locals() -> str:
    secret = SECRET
    try:
        raise ValueError(secret)
    except ValueError as error:
        return "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )


@pytest.mark.parametrize(
    "show",
    [
        lambda: repr(SECRET),
        lambda: str(SECRET),
        lambda: ascii(SECRET),
        lambda: format(SECRET),
        lambda: format(SECRET, ">40"),
        lambda: f"{SECRET} {SECRET!r} {SECRET!s} {SECRET!a} {SECRET:s} {SECRET=}",
        lambda: "%s %r %a" % (SECRET, SECRET, SECRET),  # noqa: UP031 — this form is the test
        lambda: f"{SECRET} {SECRET!r} {SECRET:10}",
        lambda: string.Template("$it").substitute(it=SECRET),
        lambda: repr([SECRET, {"a": SECRET}, HOLDER]),
        lambda: pprint.pformat([HOLDER, {"a": SECRET}]),
        lambda: repr(dataclasses.asdict(HOLDER)),
        lambda: repr(dataclasses.astuple(HOLDER)),
        lambda: repr(dataclasses.replace(HOLDER, name="other")),
        lambda: repr((copy.copy(SECRET), copy.deepcopy(SECRET), copy.deepcopy(HOLDER))),
        lambda: log_line("%s %r", SECRET, HOLDER),
        lambda: repr(ValueError(SECRET)),
        trace_with_locals,
        lambda: orjson.dumps({"a": SECRET}, default=str).decode(),
        lambda: json.dumps({"a": SECRET}, default=repr),
        lambda: str([getattr(SECRET, "__dict__", None), dir(SECRET), Secret.__doc__]),
    ],
)
def test_nothing_that_shows_an_object_shows_a_secret(show: Callable[[], str]) -> None:
    assert SESAME not in show()


@pytest.mark.parametrize(
    "take",
    [
        *(lambda number=number: pickle.dumps(SECRET, number) for number in range(6)),
        SECRET.__reduce__,
        lambda: SECRET.__reduce_ex__(4),
        SECRET.__getstate__,
        lambda: pickle.dumps(HOLDER),
        lambda: json.dumps(HOLDER.secret),
        lambda: orjson.dumps(SECRET),
    ],
)
def test_what_would_carry_a_secret_away_is_refused_without_it(take: Callable[[], object]) -> None:
    with pytest.raises(TypeError) as caught:
        take()
    assert SESAME not in f"{caught.value!r} {caught.value}"


def test_copies_are_the_secret_itself() -> None:
    assert copy.copy(SECRET) is SECRET
    assert copy.deepcopy(HOLDER).secret is SECRET
    assert dataclasses.asdict(HOLDER) == {"name": "h", "secret": SECRET}


@given(st.text(), st.text())
def test_secrets_are_equal_as_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one


def test_halves_of_characters_are_compared_and_not_told() -> None:
    assert Secret("\ud800") == Secret("\ud800")
    assert Secret("\ud800") != Secret("\ud801")


# --- Core files -----------------------------------------------------------------------------------

DIE = """
import os, resource, signal, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
from stepout.secret import keep_memory_private
if sys.argv[1] == "private":
    keep_memory_private()
os.kill(os.getpid(), signal.SIGABRT)
"""


def dumps_core(how: str, directory: Path) -> bool:
    """Whether a process that dies of SIGABRT leaves a core, by the word of the kernel."""
    child = subprocess.Popen([sys.executable, "-c", DIE, how], cwd=directory)
    _, status = os.waitpid(child.pid, 0)
    child.returncode = status
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


@pytest.mark.skipif(sys.platform != "linux", reason="Other systems have other cores.")
def test_a_process_with_secrets_leaves_no_core_file(tmp_path: Path) -> None:
    if not dumps_core("open", tmp_path):
        pytest.skip("This system writes no core files at all.")
    assert not dumps_core("private", tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's.")
def test_the_memory_of_a_process_with_secrets_is_closed_to_the_user_s_others() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ctypes, resource; from stepout.secret import keep_memory_private;"
            "keep_memory_private(); PR_GET_DUMPABLE = 3;"
            "print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE), "
            "resource.getrlimit(resource.RLIMIT_CORE)[0])",
        ],
        capture_output=True,
        text=True,
    )
    assert told.stdout.split() == ["0", "0"]
