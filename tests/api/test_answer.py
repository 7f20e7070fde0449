"""Answers on the wire: how each tells its end, and what an app may not do."""

from __future__ import annotations

import json

import pytest

from stepout.api import faults
from stepout.api.http.answer import Answer, error_answer

DATE = b"date: now\r\n"


def written(answer: Answer, *parts: bytes, status: int = 200, length: int | None = None) -> bytes:
    """All bytes of an answer with these parts."""
    answer.begin(status, [] if length is None else [(b"content-length", b"%d" % length)])
    last = len(parts) - 1
    return b"".join(answer.part(part, number == last, DATE) for number, part in enumerate(parts))


@pytest.mark.parametrize(
    ("method", "version", "status", "length", "parts", "rest"),
    [
        ("GET", "1.1", 200, 2, [b"ab"], b"content-length: 2\r\n\r\nab"),
        ("GET", "1.1", 200, 2, [b"a", b"", b"b"], b"content-length: 2\r\n\r\nab"),
        ("GET", "1.1", 200, None, [b"ab"], b"content-length: 2\r\n\r\nab"),
        ("GET", "1.1", 200, None, [b""], b"content-length: 0\r\n\r\n"),
        ("GET", "1.1", 200, None, [b"ab", b"", b"c"], b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        ("GET", "1.0", 200, 2, [b"ab"], b"content-length: 2\r\nconnection: keep-alive\r\n\r\nab"),
        ("GET", "1.0", 200, None, [b"ab", b"c"], b"connection: close\r\n\r\nabc"),
        ("HEAD", "1.1", 200, 2, [b"ab"], b"content-length: 2\r\n\r\n"),
        ("HEAD", "1.1", 200, None, [b"ab", b"c"], b"\r\n"),
        ("GET", "1.1", 204, None, [b""], b"\r\n"),
        ("GET", "1.1", 304, None, [b""], b"\r\n"),
    ],
)  # fmt: skip
def test_an_answer_tells_where_it_ends(
    method: str, version: str, status: int, length: int | None, parts: list[bytes], rest: bytes
) -> None:
    answer = Answer(method, version, closes=False)
    found = written(answer, *parts, status=status, length=length)
    line, _, behind = found.partition(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert behind == DATE + rest
    assert answer.state == "ended"
    assert answer.closes is (b"connection: close" in rest)


@pytest.mark.parametrize("parts", [[b"abc"], [b"a"], [b"ab", b"c"], [b"", b"a"]])
def test_an_app_is_held_to_its_content_length(parts: list[bytes]) -> None:
    with pytest.raises(RuntimeError, match="not the length that its head says"):
        written(Answer("GET", "1.1", closes=False), *parts, length=2)


@pytest.mark.parametrize("field", [(b"a", b"b\r\nset-cookie: c"), (b"a\nb", b"c")])
def test_an_app_cannot_write_a_line_of_its_own(field: tuple[bytes, bytes]) -> None:
    answer = Answer("GET", "1.1", closes=False)
    answer.begin(200, [field])
    with pytest.raises(RuntimeError, match="line break"):
        answer.part(b"", is_last=True, date=DATE)


def test_an_app_begins_once_and_ends_once() -> None:
    answer = Answer("GET", "1.1", closes=False)
    with pytest.raises(RuntimeError, match="when its answer was before"):
        answer.part(b"", is_last=True, date=DATE)
    answer.begin(200, [])
    with pytest.raises(RuntimeError, match="twice"):
        answer.begin(200, [])
    answer.part(b"", is_last=True, date=DATE)
    with pytest.raises(RuntimeError, match="when its answer was ended"):
        answer.part(b"", is_last=True, date=DATE)


def test_an_app_may_end_the_connection() -> None:
    answer = Answer("GET", "1.1", closes=False)
    answer.begin(200, [(b"connection", b"Close")])
    head = answer.part(b"", is_last=True, date=DATE)
    assert answer.closes
    assert head.lower().count(b"connection:") == 1


def test_an_error_has_awss_shape() -> None:
    error = faults.too_large(10)
    data = error_answer(error, "POST", DATE)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    for line in (b"connection: close", b"x-amzn-errortype: RequestEntityTooLargeException"):
        assert line in head.split(b"\r\n")
    assert b"x-amzn-requestid: " in head
    assert json.loads(body) == {"__type": error.code, "message": error.message}
    assert error_answer(error, "HEAD", DATE).endswith(b"\r\n\r\n")
