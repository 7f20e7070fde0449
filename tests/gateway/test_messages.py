"""Requests, responses and headers as programs hold them."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.errors import AnswerFailed, BodyNotCarried, StepoutError
from stepout.gateway.messages import (
    Headers,
    Request,
    Response,
    charset_of,
    codec_of,
    media_type_of,
)

URL = "https://a.example.com/x"


def response(
    content: bytes = b"", content_type: str | None = None, status: int = 200, **more: Any
) -> Response:
    headers = Headers({} if content_type is None else {"Content-Type": content_type})
    return Response(status, "Reason", headers, content, URL, **more)


# --- Headers --------------------------------------------------------------------------------------


def test_headers_are_found_in_any_case_and_keep_their_order_and_spelling() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2")])
    assert headers["SET-COOKIE"] == headers.get("set-cookie") == "a=1, b=2"
    assert headers.get_all("Set-cookie") == ["a=1", "b=2"]
    assert headers.pairs == (("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2"))
    assert (list(headers), len(headers)) == (["Set-Cookie", "X-A", "set-cookie"], 3)
    assert "x-a" in headers
    assert repr(headers).startswith("Headers([('Set-Cookie', 'a=1')")


def test_a_header_that_is_not_there_is_nothing_or_what_is_asked_for() -> None:
    headers = Headers({"X-A": ""})
    assert headers.get("x-b") is None
    assert headers.get("x-b", "else") == "else"
    assert headers.get_all("x-b") == []
    assert headers.get("x-a", "else") == ""
    assert "x-b" not in headers
    assert 5 not in headers
    with pytest.raises(KeyError):
        headers["x-b"]


def test_headers_come_from_a_mapping_from_pairs_or_from_an_iterator() -> None:
    pairs = [("A", "1"), ("B", "2")]
    assert Headers(dict(pairs)).pairs == Headers(pairs).pairs == Headers(iter(pairs)).pairs
    assert Headers().pairs == ()


@pytest.mark.parametrize(
    "pair", [("X-A", b"4711"), ("X-A", None), ("X-A", ["4711"]), ("X-A", 4711), (b"X-A", "4711")]
)
def test_what_is_no_text_is_no_header(pair: Any) -> None:
    """Rather than `b'4711'` or `None` at the API."""
    with pytest.raises(
        TypeError, match="Expected texts as a header's name and value, found"
    ) as caught:
        Headers([pair])
    assert "4711" not in str(caught.value)


# --- Responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("ä€".encode(), None, "ä€"),
        ("ä€".encode(), "text/plain", "ä€"),
        (b"\xe4", "text/plain; charset=ISO-8859-1", "ä"),
        (b"\xe4", 'text/plain; charset="latin-1"', "ä"),
        ("ä€".encode(), "text/plain; charset=no-such", "ä€"),
        ("ä€".encode(), "text/plain; charset=undefined", "ä€"),
        (b"a\\q", "text/plain; charset=unicode_escape", "a\\q"),
        (b"abc", "text/plain; charset=hex", "abc"),
        (b"a\xffb", "text/plain", "a\ufffdb"),
        (b"\xff\xfea\x00", "text/plain; charset=utf-16", "a"),
        (b"", None, ""),
    ],
)
def test_a_text_is_read_in_its_charset_and_never_fails(
    content: bytes, content_type: str | None, text: str
) -> None:
    assert response(content, content_type).text == text


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ('{"a":"ä"}'.encode(), "application/json"),
        ('\ufeff{"a":"ä"}'.encode(), "application/json"),
        ('{"a":"ä"}'.encode("utf-16"), "application/json; charset=utf-16"),
        ('{"a":"ä"}'.encode("latin-1"), "application/json; charset=iso-8859-1"),
        ('{"a":"ä"}'.encode(), "application/json; charset=no-such"),
        ('{"a":"ä"}'.encode(), None),
    ],
)
def test_json_is_read_in_its_charset(content: bytes, content_type: str | None) -> None:
    assert response(content, content_type).json() == {"a": "ä"}


@pytest.mark.parametrize("content", [b"", b"{", b"not JSON", b"\xff", b"[" * 10])
def test_what_is_no_json_is_a_value_error_as_in_other_libraries(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — json and codecs have their own
        response(content, "application/json").json()


def test_a_body_that_was_not_carried_is_not_taken_for_an_empty_one() -> None:
    lost = response(status=402, is_body_carried=False)
    assert (lost.content, lost.text) == (b"", "")
    with pytest.raises(BodyNotCarried, match="--error-bodies") as caught:
        lost.json()
    assert (caught.value.status, caught.value.url) == (402, URL)
    assert isinstance(caught.value, StepoutError)


@pytest.mark.parametrize(("status", "is_ok"), [(200, True), (204, True), (302, True), (399, True), (400, False), (599, False)])  # fmt: skip
def test_a_status_below_400_is_fine(status: int, is_ok: bool) -> None:
    found = response(status=status)
    assert found.ok is is_ok
    if is_ok:
        assert found.raise_for_status() is found
        return
    with pytest.raises(AnswerFailed, match=f"^{URL} answered {status} Reason.$") as caught:
        found.raise_for_status()
    assert caught.value.status == status


def test_messages_are_not_changed_and_do_not_print_their_bodies() -> None:
    assert repr(response(b"secret")) == "<Response [200 Reason]>"
    with pytest.raises(FrozenInstanceError):
        response().status_code = 500  # type: ignore[misc]  # that is the test
    assert Request("GET", URL).headers.pairs == ()


# --- Content types --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "media_type", "charset"),
    [
        (None, "", None),
        ("", "", None),
        ("TEXT/Plain", "text/plain", None),
        (" text/plain ; charset=UTF-8", "text/plain", "utf-8"),
        ('text/plain; a="b;c"; charset="utf-8"', "text/plain", "utf-8"),
        ("text/plain; charset=", "text/plain", ""),
        ("text/plain; charset=ä", "text/plain", "?"),
        ("; charset=x", "", "x"),
        ("text/plain; charset=a; charset=b", "text/plain", "a"),
        ("text/plain; charset*=utf-8''latin-1", "text/plain", "latin-1"),
    ],
)
def test_a_content_type_is_taken_apart(
    content_type: str | None, media_type: str, charset: str | None
) -> None:
    assert media_type_of(content_type) == media_type
    assert charset_of(content_type) == charset


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF8", "latin1", "cp1252", "Shift_JIS", "gb18030", "koi8-r", "us-ascii"]
)
def test_charsets_of_the_web_are_known(charset: str) -> None:
    assert "x".encode(codec_of(charset)) == b"x"


@pytest.mark.parametrize(
    "charset",
    ["idna", "IDNA", "punycode", "unicode_escape", "unicode-escape", "Raw_Unicode_Escape", "undefined", "mbcs", "oem",
     "no-such", "", "a\x00b", "\ud800", "../../etc/passwd"],
)  # fmt: skip
def test_what_is_no_charset_of_a_text_is_not_looked_up(charset: str) -> None:
    with pytest.raises(LookupError):
        codec_of(charset)


@given(st.text(), st.binary())
def test_no_content_type_makes_reading_fail(content_type: str, content: bytes) -> None:
    for kind in (
        content_type,
        f"text/plain; charset={content_type}",
        f"a/b; charset*={content_type}",
    ):
        found = response(content, kind)
        assert isinstance(found.text, str)
        try:
            found.json()
        except (ValueError, RecursionError):
            continue


@given(st.from_type(type(None)) | st.integers() | st.text(st.characters(exclude_categories=["Cs"])))
def test_json_in_any_unicode_charset_is_read(value: Any) -> None:
    for charset in ("utf-8", "utf-16", "utf-32"):
        content = json.dumps(value, ensure_ascii=False).encode(charset)
        assert response(content, f"application/json; charset={charset}").json() == value
