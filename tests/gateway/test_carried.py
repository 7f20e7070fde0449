"""What becomes of each header of a request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.errors import NotCarried
from stepout.gateway.carried import Carried, carry
from stepout.gateway.messages import Headers, Pair
from stepout.gateway.upstreams import CallerAuth

LEFT_OUT = (
    *("accept-charset", "accept-encoding", "connection", "content-length", "expect", "forwarded"),
    *("host", "http2-settings", "keep-alive", "max-forwards", "proxy-authorization"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-"),
)
REFUSED = (
    *("a-im", "accept-datetime", "cache-control", "content-encoding", "content-md5", "date"),
    *("from", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    *("origin", "pragma", "range", "referer", "server", "warning", "x-amz-date", "x-amz-", "x-amzn-x"),
)  # fmt: skip

AWS = """A-IM, Accept-Charset, Accept-Datetime, Accept-Encoding, Authorization, Cache-Control,
Connection, Content-Encoding, Content-MD5, Date, Expect, Forwarded, From, Host, HTTP2-Settings,
If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Max-Forwards, Origin,
Pragma, Proxy-Authorization, Referer, Server, TE, Trailer, Transfer-Encoding, Upgrade, Via,
Warning, x-forwarded-for, x-amz-meta, x-amzn-meta"""
"""What a Task may not set (developer guide, HTTP Task), its patterns by one name each."""


def carried(*pairs: Pair, own: str | None = None, caller_auth: CallerAuth = "refuse") -> Carried:
    return carry(Headers(pairs), own, caller_auth)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_of_one_connection_is_left_out_and_told(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert carried((spelled, "x"), ("X-A", "1")) == Carried({"X-A": "1"}, (name,), None)


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_meaning_is_refused(name: str) -> None:
    for spelled in (name, name.upper()):
        with pytest.raises(NotCarried, match="cannot be carried; nothing was sent: ") as caught:
            carried((spelled, "the value"))
        assert spelled in str(caught.value)
        assert "the value" not in str(caught.value)


@pytest.mark.parametrize("name", re.split(r",\s+", AWS))
def test_no_header_that_a_task_may_not_set_reaches_it(name: str) -> None:
    for spelled in (name, name.lower(), name.upper()):
        try:
            assert carried((spelled, "x"), caller_auth="drop").headers == {}
        except NotCarried:
            continue


@pytest.mark.parametrize(
    "name", ["Accept", "Content-Type", "Cookie", "X-Api-Key", "Idempotency-Key", "DNT", "ETag", "Link",
             "Traceparent", "Prefer", "X-Amazon-Thing", "X-Forward", "Sec-Fetch-Mode"]
)  # fmt: skip
def test_all_others_are_carried_as_they_are_spelled(name: str) -> None:
    assert carried((name, "a; b, c")).headers == {name: "a; b, c"}


def test_several_values_are_joined_under_the_first_spelling() -> None:
    found = carried(("X-A", "1"), ("cookie", "a=1"), ("x-a", "2"), ("Cookie", "b=2"), ("X-a", ""))
    assert found.headers == {"X-A": "1, 2, ", "cookie": "a=1; b=2"}


def test_two_types_of_a_body_are_refused() -> None:
    with pytest.raises(NotCarried, match="The header content-type stands twice"):
        carried(("Content-Type", "application/json"), ("content-type", "text/html"))


def test_a_name_that_is_left_out_twice_is_told_once_in_order() -> None:
    found = carried(("Via", "a"), ("Host", "b"), ("via", "c"), ("HOST", "d"))
    assert found.dropped == ("via", "host")


# --- Credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "own"),
    [("Authorization", None), ("AUTHORIZATION", "x-key"), ("X-Key", "x-key"), ("x-KEY", "x-key")],
)
def test_a_credential_is_refused_without_its_value_or_dropped(name: str, own: str | None) -> None:
    with pytest.raises(NotCarried, match="nothing was sent") as caught:
        carried((name, "Bearer sk_live_4711"), own=own)
    assert "4711" not in str(caught.value)
    found = carried((name, "Bearer sk_live_4711"), own=own, caller_auth="drop")
    assert found == Carried({}, (name.lower(),), None)


def test_the_header_of_another_upstream_is_carried() -> None:
    assert carried(("X-Other-Key", "1"), own="x-key").headers == {"X-Other-Key": "1"}


@pytest.mark.parametrize(
    "name",
    ["Authorization ", " Authorization", "Authorization\t", "Authorization\x00", "Authorization:", "", "X A",
     "X\r\nAuthorization", "X-Ä", "\ud800", "Authori\u017fation", "\u212aeep-Alive", "(x)", "x/y", "{}"],
)  # fmt: skip
def test_what_is_no_name_of_a_header_is_refused(name: str) -> None:
    """A blank more, and it would be another header here and the same one for the API."""
    with pytest.raises(NotCarried, match="A header cannot have the name .*; nothing was sent") as caught:  # fmt: skip
        carried((name, "secret 4711"), caller_auth="drop")
    assert "4711" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\r\nX: y", "\x00", "\x1f", "\x7f", "\x0b", "\ud800"]
)
@pytest.mark.parametrize("name", ["X-A", "Host", "X-Amzn-Trace-Id", "Cookie"])
def test_a_value_with_control_characters_is_refused(name: str, value: str) -> None:
    with pytest.raises(NotCarried, match=f"The value of the header {name} has control") as caught:
        carried((name, f"4711{value}"))
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("value", ["", " ", "\t", "a\tb", "~!@#$%^&*()", '"'])
def test_a_value_may_be_any_line_of_ascii(value: str) -> None:
    assert carried(("X-A", value)).headers == {"X-A": value}


@pytest.mark.parametrize("value", ["ä", "€", "😀", "\x80", "\xa0", "Ã¤"])
def test_a_value_that_is_not_ascii_is_refused(value: str) -> None:
    """httpx refuses it as a text, requests sends it in Latin-1, our server in UTF-8, AWS unknown."""
    for name in ("X-A", "Cookie", "X-Amzn-Trace-Id"):
        with pytest.raises(NotCarried, match=f"The value of the header {name} is not ASCII"):
            carried((name, f"4711{value}"))
    # What does not go out anyway may be what it likes.
    assert carried(("User-Agent", value), ("X-Key", value), own="x-key", caller_auth="drop").dropped


# --- The trace header -----------------------------------------------------------------------------


def test_the_trace_header_goes_with_the_call_and_not_to_the_api() -> None:
    found = carried(("x-amzn-TRACE-id", "Root=1-5759e988-bd862e3fe1be46a994272793"))
    assert found == Carried({}, (), "Root=1-5759e988-bd862e3fe1be46a994272793")


# --- The page -------------------------------------------------------------------------------------


def test_the_page_of_the_client_names_every_header() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    table = page.partition("## Headers of a request")[2].partition("## ")[0]
    named = [set(re.findall(r"`([a-z0-9-]+\*?)`", row)) for row in table.splitlines()]
    (left_out,) = [names for names in named if "via" in names]
    (refused,) = [names for names in named if "pragma" in names]
    plain = {name for name in LEFT_OUT if not name.startswith("x-")}
    assert plain | {"x-forwarded-*", "dropped"} == left_out
    plain = {name for name in REFUSED if not name.startswith("x-")}
    assert plain | {"x-amz-*", "x-amzn-*"} == refused


# --- Any headers ----------------------------------------------------------------------------------

names = st.sampled_from(
    [*LEFT_OUT, *REFUSED, "authorization", "x-key", "x-a", "X-A", "cookie", "x b"]
)


@given(
    st.lists(st.tuples(names, st.text(max_size=5)), max_size=6), st.sampled_from(["refuse", "drop"])
)
def test_every_header_is_carried_told_or_refused(
    pairs: list[Pair], caller_auth: CallerAuth
) -> None:
    try:
        found = carried(*pairs, own="x-key", caller_auth=caller_auth)
    except NotCarried:
        return
    kept = {name.lower() for name in found.headers}
    assert kept | set(found.dropped) == {name.lower() for name, _ in pairs}
    assert not kept & set(found.dropped)
    assert kept <= {"x-a", "cookie"}
