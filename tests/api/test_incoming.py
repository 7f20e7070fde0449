"""Requests out of bytes: what is let in, what is refused, and that nothing is read ahead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security import http1, needs_security, request_of

from stepout.api.http.bounds import Bounds
from stepout.api.http.head import Request
from stepout.api.http.incoming import BODY, HEAD, IDLE, WHOLE, Incoming
from stepout.errors import ServiceError

LIMITS = Bounds(head=300, fields=8, body=40)


def read(data: bytes, step: int = 0, bounds: Bounds = LIMITS) -> tuple[list[Request], str]:
    """The requests in some bytes, given `step` at a time; and the phase behind, or the refusal."""
    incoming, found = Incoming(bounds), []
    step = step or len(data)
    try:
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            while piece:
                piece = piece[incoming.feed(piece) :]
                if incoming.phase is WHOLE:
                    found.append(incoming.take())
                    if not found[-1].keeps_alive:
                        return found, "closed"
    except ServiceError as error:
        return found, f"{error.status}: {error.message}"
    return found, incoming.phase


def post(fields: bytes = b"", body: bytes = b"", target: bytes = b"/") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# --- The suite ------------------------------------------------------------------------------------

GUNICORN = "gunicorn refuses it by a setting of its own; HTTP does not"
LONGER = "longer than gunicorn's limit, not than ours"
NAMES = "a name with an underscore is a name of its own: ASGI maps names to nothing else"

LET_IN = {
    "006": LONGER,
    "007": LONGER,
    "008": LONGER,
    "010": GUNICORN,
    "011": GUNICORN,
    "012": GUNICORN,
    "017": GUNICORN,
    "019": GUNICORN,
    "040": NAMES,
    "chunked_07": NAMES,
    "limit_header_default_01": LONGER,
}
"""What the suite calls invalid and we serve, once it has a Host where HTTP/1.1 needs one."""

CODINGS = "nobody here undoes another transfer coding than chunked"
PROXIES = "the PROXY protocol is not spoken here"
LENIENT = "valid by a lenient setting of gunicorn alone"

REFUSED = {
    "009": "Content-Length beside Transfer-Encoding",
    "013": "llhttp takes no blanks in a chunk's extension, which nobody sends",
    "025": CODINGS,
    "025_line": CODINGS,
    "027": "a target has ASCII characters alone",
    "028": LENIENT,
    "029": CODINGS,
    "030": CODINGS,
    "031": "a method that nobody defined",
    "031compat": "a method that nobody defined",
    "031compat2": "a method that nobody defined",
    "099": "its body is shorter than it says: the rest is waited for",
    "compat_obs_fold": LENIENT,
    "compat_obs_fold_huge": LENIENT,
    "pp_01": PROXIES,
    "pp_02": PROXIES,
    "pp_04": PROXIES,
    "pp_05": PROXIES,
    "rfc9112_smuggle_gzip_chunked_01": CODINGS,
    "rfc9112_smuggle_te_identity_chunked_01": CODINGS,
    "rfc9112_target_absolute_userinfo_01": "RFC 9110, 4.2.4: user information is there to deceive",
    "rfc9112_target_authority_connect_01": "this server is no proxy",
    "rfc9112_target_authority_ipv6_01": "this server is no proxy",
}
"""What the suite calls valid and we refuse."""


def with_host(data: bytes) -> bytes:
    """With a Host in each request of HTTP/1.1: most of the suite leaves it out."""
    if b"host:" in data.lower():
        return data
    return re.sub(rb"( HTTP/1\.1\r\n)", rb"\1Host: a\r\n", data)


@needs_security
def test_the_suite_is_all_there() -> None:
    assert (len(http1("invalid")), len(http1("valid"))) == (74, 63)
    names = {path.stem for kind in ("invalid", "valid") for path in http1(kind)}
    assert {*LET_IN, *REFUSED} <= names


@needs_security
@pytest.mark.parametrize("path", http1("invalid"), ids=lambda path: path.stem)
def test_what_is_invalid_is_refused_or_never_whole(path: Path) -> None:
    data = request_of(path)
    for variant in (data, with_host(data)):
        found, end = read(variant, bounds=Bounds())
        assert [seen.body for seen in read(variant, 1, Bounds())[0]] == [r.body for r in found]
        assert read(variant, 1, Bounds())[1] == end
    if path.stem in LET_IN:
        assert len(found) == 1, LET_IN[path.stem]
    else:
        assert found == []
        assert end[:1] in {"4", "5"} or end in (HEAD, BODY)


@needs_security
@pytest.mark.parametrize("path", http1("valid"), ids=lambda path: path.stem)
def test_what_is_valid_is_served(path: Path) -> None:
    data = with_host(request_of(path))
    found, end = read(data, bounds=Bounds())
    assert read(data, 1, Bounds()) == (found, end)
    if path.stem in REFUSED:
        assert found == [], REFUSED[path.stem]
    else:
        assert found
        assert end in (IDLE, "closed")


# --- Our own --------------------------------------------------------------------------------------

REFUSALS = {
    b"\x16\x03\x01\x02\x00\x01\x00": "400: This port speaks HTTP, not HTTPS.",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "505: Expected HTTP/1.1 or HTTP/1.0, found the preface of HTTP/2.",
    b"GET / HTTP/0.9\r\n\r\n": "505: Expected HTTP/1.1 or HTTP/1.0, found HTTP/0.9.",
    b"GET / HTTP/1.1\nHost: a\n\n": "400: The request is not HTTP/1.1: Expected CRLF after version.",
    b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n": "400: The request is not HTTP/1.1: Missing expected CR after header value.",
    b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n": "400: The request is not HTTP/1.1: Missing expected LF after header value.",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n": "400: The request is not HTTP/1.1: Invalid header token.",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n": "400: The request is not HTTP/1.1: Unexpected space after start line.",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n": "400: The Host header is not a host with or without a port.",
    b"GET / HTTP/1.1\r\nHost: u@b\r\n\r\n": "400: The Host header is not a host with or without a port.",
    b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n": "400: The Host header is not a host with or without a port.",
    post(b"X: a\0b\r\n"): "400: The request is not HTTP/1.1: Invalid header value char.",
    post(b"X: a\x01b\r\n"): "400: The request is not HTTP/1.1: Invalid header value char.",
    post(b"X: a\r\n b\r\n"): "400: The request is not HTTP/1.1: Unexpected whitespace after header value.",
    post(b": x\r\n"): "400: The request is not HTTP/1.1: Invalid header token.",
    post(b"host: b\r\n"): "400: The request has several header fields 'host'.",
    post(b"X-Amz-Target: a\r\nx-amz-target: b\r\n"): "400: The request has several header fields 'x-amz-target'.",
    post(b"Content-Length: +5\r\n"): "400: The request is not HTTP/1.1: Invalid character in Content-Length.",
    post(b"Content-Length: 1\r\nContent-Length: 1\r\n"): "400: The request is not HTTP/1.1: Duplicate Content-Length.",
    post(b"Content-Length: 41\r\n"): "413: The request's body is larger than 40 bytes.",
    post(b"Content-Length: 99999999999999999999\r\n"): "400: The request is not HTTP/1.1: Content-Length overflow.",
    post(b"Content-Length: 1\r\n" + CHUNKED): "400: The request is not HTTP/1.1: Transfer-Encoding can't be present with Content-Length.",
    post(b"Transfer-Encoding: ,chunked\r\n"): "400: Expected Transfer-Encoding to be chunked, and nothing else.",
    post(b"Transfer-Encoding: xchunked\r\n"): "400: The request is not HTTP/1.1: Request has invalid `Transfer-Encoding`.",
    post(CHUNKED, b"0x1\r\nx\r\n0\r\n\r\n"): "400: The request is not HTTP/1.1: Invalid character in chunk size.",
    post(CHUNKED, b"1\nx\r\n0\r\n\r\n"): "400: The request is not HTTP/1.1: Missing expected CR after chunk size.",
    post(CHUNKED, b"1\r\nxyz0\r\n\r\n"): "400: The request is not HTTP/1.1: Expected LF after chunk data.",
    post(CHUNKED, b"FFFFFFFFFFFFFFFFF\r\n"): "400: The request is not HTTP/1.1: Chunk size overflow.",
    post(CHUNKED, b"29\r\n" + b"x" * 41): "413: The request's body is larger than 40 bytes.",
    post(CHUNKED, b"1;" + b"a" * 400): "400: The body's chunks hold more framing than content.",
    post(CHUNKED, b"0\r\nX: " + b"a" * 400): "400: The body's chunks hold more framing than content.",
    post(CHUNKED, b"0\r\nAuthorization: x\r\n\r\n"): "400: The trailer has a field that may only be in the head.",
    post(CHUNKED + b"Connection: upgrade\r\nUpgrade: x\r\n"): "400: Expected a request with Upgrade to tell the length of its body.",
    post(b"Expect: 200-ok\r\n"): "417: Expected the Expect header to be 100-continue.",
    post(b"A:\r\n" * 8): "400: The request has more than 8 header fields.",
    post(b"A: " + b"x" * 300): "400: The head of the request is larger than 300 bytes.",
    post(target=b"*"): "400: Expected the target of POST to be a path or an http URL.",
    post(target=b"ftp://a/"): "400: Expected the target of POST to be a path or an http URL.",
    post(target=b"http:///x"): "400: Expected the target of POST to be a path or an http URL.",
    post(target=b"http://u:p@a/"): "400: The authority of the request's target is not a host with or without port.",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n": "405: This server is not a proxy: it does not serve CONNECT.",
}  # fmt: skip
"""Bytes → status and message."""


@pytest.mark.parametrize(("data", "why"), REFUSALS.items())
def test_what_is_not_right_is_refused_in_words(data: bytes, why: str) -> None:
    assert read(data) == ([], why)


@pytest.mark.parametrize("data", REFUSALS)
def test_a_refusal_does_not_hang_on_how_the_bytes_come(data: bytes) -> None:
    """The words may: a request can be wrong in two ways."""
    assert read(data, 1)[0] == []
    assert read(data, 1)[1][:3] == read(data)[1][:3]


def test_a_target_has_four_forms_of_which_three_are_served() -> None:
    forms = {
        b"/": (b"/", "/", b"", None),
        b"//a/./b": (b"//a/./b", "//a/./b", b"", None),
        b"/a%20b%2Fc?d=%20&e#f": (b"/a%20b%2Fc", "/a b/c", b"d=%20&e", None),
        b"http://A.b:80": (b"/", "/", b"", b"A.b:80"),
        b"HTTPS://[::1]:8080/x?y?z": (b"/x", "/x", b"y?z", b"[::1]:8080"),
        b"http://a?q": (b"/", "/", b"q", b"a"),
    }
    for target, place in forms.items():
        (request,), _ = read(post(target=target))
        assert request.place == place
    (request,), _ = read(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert request.place == (b"*", "*", b"", None)


def test_nothing_is_read_ahead_of_a_request() -> None:
    first = post(b"Content-Length: 4\r\n", b"\r\n\r\n", b"/1")
    second = post(CHUNKED, b"6\r\n\r\n\r\nab\r\n0\r\nA: b\r\n\r\n", b"/2")
    third = post(target=b"/3")
    data = first + second + third
    incoming, ends = Incoming(LIMITS), []
    while data:
        end = incoming.feed(data)
        assert incoming.feed(data[end:]) == 0
        ends.append((end, incoming.take().body))
        data = data[end:]
    assert ends == [(len(first), b"\r\n\r\n"), (len(second), b"\r\n\r\nab"), (len(third), b"")]


def test_a_body_behind_upgrade_is_read_by_its_length() -> None:
    inner = post(target=b"/inner")
    fields = b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n" % len(inner)
    for step in (0, 1):
        found, end = read(post(fields, inner, b"/outer") + post(target=b"/next"), step)
        assert [(r.place.path, r.body) for r in found] == [("/outer", inner), ("/next", b"")]
        assert end == IDLE


def test_http_1_0_ends_unless_it_asks() -> None:
    assert read(b"GET / HTTP/1.0\r\n\r\n")[1] == "closed"
    assert read(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[1] == IDLE
    assert read(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")[0][0].expects is False


def test_empty_lines_before_a_request_count_for_its_head() -> None:
    assert read(b"\r\n\r\n" + post())[1] == IDLE
    assert read(b"\r\n" * 200)[1].startswith("400: The head of the request is larger")


def test_nothing_is_taken_that_is_not_whole() -> None:
    incoming = Incoming(LIMITS)
    incoming.feed(post(b"Content-Length: 2\r\n", b"x"))
    incoming.request = None
    with pytest.raises(RuntimeError, match="no request to take"):
        incoming.take()


@given(st.binary(max_size=60), st.integers(1, 9))
def test_no_bytes_break_it(tail: bytes, step: int) -> None:
    """Random bytes at three places: a request, a refusal or more to wait for, the same either way."""
    for data in (tail, b"POST / HTTP/1.1\r\nHost: a\r\n" + tail, post(CHUNKED, tail)):
        whole, cut = read(data + b"\r\n\r\n"), read(data + b"\r\n\r\n", step)
        assert [(r.place, r.fields, r.body) for r in whole[0]] == [
            (r.place, r.fields, r.body) for r in cut[0]
        ]
        assert whole[1][:3] == cut[1][:3]
