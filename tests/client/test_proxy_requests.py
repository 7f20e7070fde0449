"""The proxy's door against well and ill formed requests, by hand and from a published suite."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.raw import FINE, MACHINE, RawServer, serving
from tests.client.test_proxy import AUTHORITY, HOST, Client, client_of
from tests.security import SECURITY, needs_security

from stepout.client import AsyncGateway
from stepout.client.intake import chunks_problem, head_problem
from stepout.client.proxy import Proxy

SUITE = SECURITY / "http1"
INVALID = sorted(SUITE.glob("invalid/*.http"))
VALID = sorted(path for path in SUITE.glob("valid/*.http") if path.stem != "099")
"""All but one that is shorter than its Content-Length says, once its real line ends are dropped."""

LIMITS = {
    **dict.fromkeys(("006", "017", "limit_header_default_01"), "4 and 8 KiB; ours are 64"),
    **dict.fromkeys(("010", "011", "012"), "fewer headers than these have"),
    "019": "two X-Forwarded headers that contradict each other: none of them goes on",
}
"""What is invalid only by settings of the server that the suite was written for."""

STRICTER = {
    **dict.fromkeys(("025", "025_line", "rfc9112_smuggle_gzip_chunked_01"), "bodies that are packed"),
    **dict.fromkeys(("009", "029", "030", "rfc9112_smuggle_te_identity_chunked_01"), "identity is no coding any more"),
    **dict.fromkeys(("compat_obs_fold", "compat_obs_fold_huge"), "folded headers (RFC 9112, 5.2)"),
    **dict.fromkeys(("040", "040_compat"), "Content_Length"),
    "028": "a blank before a colon (RFC 9112, 5.1)",
    **dict.fromkeys(("031", "031compat", "031compat2"), "a method that an HTTP Task has not"),
    **dict.fromkeys(("001", "017"), "a header that an HTTP Task does not take"),
    "rfc9110_field_value_obs_text_01": "a value that is not ASCII",
    "027": "a target that is not ASCII",
    **dict.fromkeys(("pp_01", "pp_02", "pp_04", "pp_05"), "the PROXY protocol, which nobody asked for"),
    **dict.fromkeys(("rfc9112_target_authority_connect_01", "rfc9112_target_authority_ipv6_01"), "CONNECT, in a tunnel"),
    "rfc9112_target_asterisk_options_01": "OPTIONS of a server as a whole has no URL",
}  # fmt: skip
"""What is valid and refused all the same."""


def suite_bytes(path: Path) -> bytes:
    """In the files line ends and other controls stand as text, and real line ends are to go."""
    text = path.read_bytes().decode("latin-1").replace("\n", "")
    for written, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0")):
        text = text.replace(written, meant)
    text = re.sub(r"\\x([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)
    return text.encode("latin-1")


def to_our_host(request: bytes) -> bytes:
    """With the tunnel's host, so that nothing is refused for another one."""
    request = re.sub(
        rb"(?<= )https?://(\[::1\]|[a-z.:@]+?)(:\d+)?(?=/)", f"https://{HOST}".encode(), request
    )
    if re.search(rb"(?i)\r\nhost:", request):
        return re.sub(rb"(?i)(\r\nhost:)[^\r\n]*", rb"\1 " + HOST.encode(), request, count=1)
    line, end, rest = request.partition(b"\r\n")
    return b"".join([line, end, b"Host: ", HOST.encode(), b"\r\n", rest])


@asynccontextmanager
async def door(*, is_tunnel: bool = True) -> AsyncIterator[tuple[Client, RawServer]]:
    """A client at the proxy's door, and an endpoint that takes all that comes through."""
    with RawServer(serving(FINE)) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            proxy = Proxy(gateway, AUTHORITY)
            await proxy.start()
            async with client_of(proxy) as client:
                if is_tunnel:
                    assert (await client.connect()).status == 200
                    await client.secure()
                yield client, server
            await proxy.stop(5)


async def statuses(client: Client, request: bytes) -> list[int]:
    """Those of all answers, after a last request that has an end for sure."""
    client.writer.write(request)
    found = []
    try:
        while True:
            answer = await client.answer()
            found.append(answer.status)
            if answer.header("connection") == "close":
                break
    except (AssertionError, ConnectionError):
        pass  # hung up on
    return found


@needs_security
@pytest.mark.parametrize(
    "path", [path for path in INVALID if path.stem not in LIMITS], ids=lambda path: path.stem
)
async def test_an_invalid_request_is_never_passed_on(path: Path) -> None:
    request = to_our_host(suite_bytes(path))
    async with door() as (client, server):
        # What waits for more of its body ends with this, or takes it for the body.
        last = f"GET /last HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        found = await statuses(client, request + last)
    passed = [entry["url"] for entry in server.inputs()]
    assert not [url for url in passed if not url.endswith("/last")]
    assert found[0] >= 400
    async with door(is_tunnel=False) as (client, server):
        found = await statuses(client, suite_bytes(path) + last)
    assert (server.requests, found[0] >= 400) == ([], True)


@needs_security
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
async def test_a_valid_request_goes_through_once_or_is_refused_for_a_reason(path: Path) -> None:
    request = to_our_host(suite_bytes(path))
    async with door() as (client, server):
        last = f"GET /last HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        found = await statuses(client, request + last)
    first = [entry for entry in server.inputs() if not entry["url"].endswith("/last")]
    if path.stem in STRICTER:
        assert (first, found[0] >= 400) == ([], True)
        return
    assert found[0] == 200
    method, target = request.split(b" ", 2)[:2]
    assert first[0]["method"].encode() == method
    named = target.removeprefix(f"https://{HOST}".encode()).partition(b"?")[0]
    assert first[0]["url"].removeprefix(f"https://{HOST}").replace("%22", '"').encode() == named


@needs_security
def test_every_exception_is_a_case_of_the_suite() -> None:
    assert set(LIMITS) <= {path.stem for path in INVALID}
    assert set(STRICTER) <= {path.stem for path in VALID}


# --- By hand --------------------------------------------------------------------------------------

GET = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n".encode()
CHUNKED = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET + b"X: 1\r\n folded\r\n\r\n",
        GET + b"X: 1\r\n\tfolded\r\n\r\n",
        GET + b"X: 1\nY: 2\r\n\r\n",
        GET.replace(b"\r\n", b"\n") + b"\n",
        GET + b"X: a\rb\r\n\r\n",
        GET + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        GET + b"Content-Length: 0, 0\r\n\r\n",
        GET + b"Content_Length: 5\r\n\r\n",
        GET + b"transfer_encoding: chunked\r\n\r\n",
        GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: 0x3\r\n\r\nabc",
        GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        GET + f"Host: {HOST}\r\n\r\n".encode(),
        GET.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello0\r\n\r\n",
        CHUNKED + b"5\nhello\n0\n\n",
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
        CHUNKED + b"0\r\nHost: evil.example.com\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_can_be_read_in_two_ways_is_refused(request_bytes: bytes) -> None:
    """And nothing that follows is taken for a request."""
    async with door() as (client, server):
        found = await statuses(client, request_bytes + GET + b"Connection: close\r\n\r\n")
    assert (found, server.requests) in (([400], []), ([501], []), ([413], []))


async def test_chunks_with_endless_extensions_are_given_up() -> None:
    async with door() as (client, server):
        piece = b"1;" + b"x" * 30_000 + b"\r\na\r\n"
        found = await statuses(client, CHUNKED + piece * 100)
    assert (found, server.requests) == ([400], [])


async def test_a_tunnel_shows_the_certificate_of_its_host_whatever_name_tls_asks_for() -> None:
    """And what is said inside is of that host, or refused."""
    async with door(is_tunnel=False) as (client, server):
        assert (await client.connect()).status == 200
        with pytest.raises(Exception, match="certificate"):
            await client.secure("other.example.com")
    assert server.requests == []


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        ("GET /x HTTP/1.1", f"{HOST}:443", 200),
        ("GET /x HTTP/1.1", f"{HOST}.", 200),
        ("GET /x HTTP/1.1", f"{HOST}:8443", 421),
        ("GET /x HTTP/1.1", f"me@{HOST}", 421),
        ("GET /x HTTP/1.1", f"{HOST}/..", 421),
        ("GET /x HTTP/1.1", f"{HOST}, other.example.com", 421),
        ("GET /x HTTP/1.1", "", 421),
        (f"GET https://{HOST}/x HTTP/1.1", "other.example.com", 421),
        (f"GET https://me:pw@{HOST}/x HTTP/1.1", HOST, 421),
        (f"GET https://{HOST}?x HTTP/1.1", HOST, 421),
        (f"GET https://{HOST}\\@other.example.com/x HTTP/1.1", HOST, 421),
        (f"GET http://{HOST}/x HTTP/1.1", HOST, 400),
        ("GET //other.example.com/x HTTP/1.1", HOST, 200),
        ("GET /../x HTTP/1.1", HOST, 501),
        ("GET /%2e%2e/x HTTP/1.1", HOST, 501),
        ("GET /\\other.example.com/x HTTP/1.1", HOST, 501),
    ],
)  # fmt: skip
async def test_a_request_goes_to_the_host_of_its_tunnel_or_nowhere(
    line: str, host: str, status: int
) -> None:
    async with door() as (client, server):
        client.write(line, f"Host: {host}", "Connection: close")
        assert (await client.answer()).status == status
    assert [entry["url"].startswith(f"https://{HOST}/") for entry in server.inputs()] == (
        [True] if status == 200 else []
    )


# --- Any bytes ------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=30)), st.sampled_from([b"", b";a=b", b" ; x"]))
def test_chunks_as_they_should_be_are_taken(pieces: list[bytes], extension: bytes) -> None:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    assert chunks_problem(body + b"0\r\n\r\n") is None
    assert chunks_problem(body + b"0\r\nX-Sum: 1\r\n\r\n") is None
    assert chunks_problem(body) is not None


@given(st.binary())
def test_any_bytes_are_judged(data: bytes) -> None:
    found: Any = (head_problem(data), chunks_problem(data))
    assert all(each is None or each.startswith("Expected ") for each in found)
