"""Our front beside uvicorn's protocol: the same bytes, the same calls of the app, the same answers.

Both stand on llhttp; what differs is meant, and stands in a table below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.twins import Came, Recorder, Seen, own, talk, twin

HOST = b"Host: states.example\r\n"

SCRIPTS = {
    "a signed call": [
        b"POST / HTTP/1.1\r\n" + HOST + b"X-Amz-Target: AWSStepFunctions.StartSyncExecution\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: 17\r\n\r\n"
        b'{"input": "a\\nb"}'
    ],
    "no body": [b"GET /x/y%20z?a=1&b=%2F HTTP/1.1\r\n" + HOST + b"\r\n"],
    "chunks": [
        b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n"
        b"5\r\nhello\r\n00C\r\n\r\n\r\n world\r\n\r\n0\r\n\r\n"
    ],
    "an answer in parts": [b"POST /parts HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nxyz"],
    "no content": [b"DELETE /empty HTTP/1.1\r\n" + HOST + b"\r\n"],
    "only a head": [b"HEAD /x HTTP/1.1\r\n" + HOST + b"\r\n"],
    "HTTP/1.0": [b"GET /old HTTP/1.0\r\n\r\n"],
    "the client's last": [b"GET /x HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"],
    "the app's last": [b"GET /last HTTP/1.1\r\n" + HOST + b"\r\n"],
    "bytes of any kind": [
        b"PUT / HTTP/1.1\r\n" + HOST + b"x_y: \xe9\xff\r\nEmpty:\r\nContent-Length: 6\r\n\r\n\0\r\n\r\n\xff"
    ],
    "one after another": [
        b"POST /1 HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n\r\n\r\n",
        b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /3 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HEAD /4 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /5 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    ],
    "a trailer": [
        b"POST /t HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        b"1;a=b\r\nx\r\n0\r\n\r\n"
    ],
}  # fmt: skip
"""Requests that are sent on one connection."""


def methods(script: Sequence[bytes]) -> list[str]:
    return [request.split()[0].decode() for request in script]


async def both(pieces: Sequence[bytes]) -> tuple[tuple[list[Seen], Came], tuple[list[Seen], Came]]:
    ours, theirs = Recorder(), Recorder()
    return (ours.seen, await talk(own(ours), pieces)), (
        theirs.seen,
        await talk(twin(theirs), pieces),
    )


async def compare(script: Sequence[bytes], pieces: Sequence[bytes]) -> None:
    (our_seen, our_came), (their_seen, their_came) = await both(pieces)
    assert len(our_seen) == len(script)
    assert our_seen == their_seen
    asked = methods(script)
    assert our_came.answers(asked) == their_came.answers(asked)
    assert len(our_came.answers(asked)) == len(script)
    assert our_came.is_closed == their_came.is_closed


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_both_serve_the_same_however_the_bytes_are_cut(script: Sequence[bytes]) -> None:
    """In two pieces at every byte, byte by byte, and whole."""
    data = b"".join(script)
    await compare(script, [data])
    await compare(script, [data[at : at + 1] for at in range(len(data))])
    for at in range(1, len(data)):
        await compare(script, [data[:at], data[at:]])


TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=8)
VALUE = st.binary(max_size=12).map(
    lambda raw: bytes(byte for byte in raw if byte >= 0x21 and byte != 0x7F)
)
TARGET = st.text("abc/?&=%20~-._!$'()*+,;:@", max_size=12).map(lambda text: "/" + text)


@st.composite
def request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]))
    lines = [f"{method} {draw(TARGET)} HTTP/1.1".encode(), HOST.strip()]
    for name, value in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=4)):
        # Random names do not hit on those that mean something.
        lines.append(b"X%b: %b" % (name.encode(), value))
    body = draw(
        st.binary(max_size=40) | st.lists(st.sampled_from([b"\r\n", b"0", b"a"])).map(b"".join)
    )
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=3))})
        chunks = [body[start:end] for start, end in pairwise(cuts)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    else:
        body = b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@given(st.lists(request(), min_size=1, max_size=4), st.lists(st.integers(0, 600), max_size=6))
@settings(max_examples=150)
def test_both_serve_the_same_of_any_requests(script: list[bytes], cuts: list[int]) -> None:
    data = b"".join(script)
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(at)]
    asyncio.run(compare(script, pieces))


@dataclass(frozen=True, slots=True)
class Told:
    """What a front did: calls of the app, statuses, and whether it closed."""

    calls: list[str]
    statuses: list[int]
    is_closed: bool


def told(seen: list[Seen], came: Came) -> Told:
    answers = came.answers(["GET"] * 5)
    return Told(
        [f"{call.path} {len(call.body)}" for call in seen],
        [answer[0] for answer in answers],
        came.is_closed,
    )


INNER = b"GET /inner HTTP/1.1\r\nHost: y\r\n\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: h2c\r\n"

DIFFERENT = {
    "HTTP/1.0 with keep-alive is kept alive": (
        b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
        Told(["/1 0", "/2 0"], [200, 200], is_closed=True),
        Told(["/1 0"], [200], is_closed=True),
    ),
    "a body behind Upgrade is a body, not the next request": (
        b"POST /outer HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
        Told(["/outer 32"], [200], is_closed=False),
        Told(["/outer 0"], [200], is_closed=False),
    ),
    "what came before is answered before what follows is refused": (
        b"GET /first HTTP/1.1\r\n" + HOST + b"\r\nnonsense\r\n\r\n",
        Told(["/first 0"], [200, 400], is_closed=True),
        Told(["/first 0"], [400], is_closed=True),
    ),
    "HTTP/1.1 needs a Host": (
        b"GET / HTTP/1.1\r\n\r\n",
        Told([], [400], is_closed=True),
        Told(["/ 0"], [200], is_closed=False),
    ),
    "one Host, not two": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n",
        Told([], [400], is_closed=True),
        Told(["/ 0"], [200], is_closed=False),
    ),
    "an asterisk is for OPTIONS": (
        b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
        Told([], [400], is_closed=True),
        Told(["* 0"], [200], is_closed=False),
    ),
    "CONNECT is for proxies": (
        b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        Told([], [405], is_closed=True),
        Told([], [400], is_closed=True),
    ),
    "other transfer codings are refused, as nobody here undoes them": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Told([], [400], is_closed=True),
        Told(["/ 0"], [200], is_closed=False),
    ),
    "an expectation that nobody knows is not met": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\n\r\n",
        Told([], [417], is_closed=True),
        Told(["/ 0"], [200], is_closed=False),
    ),
    "a trailer cannot change the head": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: z\r\n\r\n",
        Told([], [400], is_closed=True),
        Told(["/ 0"], [200], is_closed=False),
    ),
}  # fmt: skip
"""Why we differ → bytes, what our front does, what uvicorn does."""


@pytest.mark.parametrize(("data", "ours", "theirs"), DIFFERENT.values(), ids=DIFFERENT)
async def test_where_we_differ_it_is_meant(data: bytes, ours: Told, theirs: Told) -> None:
    (our_seen, our_came), (their_seen, their_came) = await both([data])
    assert ours != theirs
    assert told(our_seen, our_came) == ours
    assert told(their_seen, their_came) == theirs


async def test_a_body_behind_upgrade_in_a_packet_of_its_own_is_no_request_either() -> None:
    """What a proxy in front passes on as a body, uvicorn serves as a request: smuggling."""
    head = b"POST /outer HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(INNER)
    (ours, _), (theirs, _) = await both([head, INNER])
    assert [(seen.path, seen.body) for seen in ours] == [("/outer", INNER)]
    assert [seen.path for seen in theirs] == ["/outer", "/inner"]


async def test_we_cut_blanks_behind_a_value_which_are_no_part_of_it() -> None:
    """RFC 9112, 5.1."""
    (ours, _), (theirs, _) = await both([b"GET / HTTP/1.1\r\nHost: x\r\nA: b \t\r\n\r\n"])
    assert (ours[0].fields[1], theirs[0].fields[1]) == ((b"a", b"b"), (b"a", b"b \t"))


async def test_we_tell_the_length_of_an_answer_that_is_known() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc"})

    asked = [b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"]
    ours, theirs = await talk(own(app), asked), await talk(twin(app), asked)
    assert b"content-length: 3\r\n" in ours.data
    assert b"transfer-encoding: chunked\r\n" in theirs.data
