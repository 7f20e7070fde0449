"""The proxy against raw sockets: what it takes, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3
from tests.client.world import OPEN, World

from stepout.certificates import Authority
from stepout.client.leaves import HOSTS, RENEWED_AFTER, Leaves
from stepout.client.proxy import MARGIN, Limits, Proxy
from stepout.client.replies import reply_to, reply_with
from stepout.errors import (
    CallFailed,
    CallRefused,
    CallTimedOut,
    NotCarried,
    SettingsError,
    StepoutError,
    TruncatedResponse,
    UnknownUpstream,
)
from stepout.gateway.messages import Headers, Response
from stepout.testing import Answer as OriginAnswer
from stepout.testing import Received

AUTHORITY = Authority.create("stepout proxy test")
HOST = "open.example.com"


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.origin._routes.clear()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def get(self, path: str, *lines: str, method: str = "GET") -> None:
        self.write(f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines)

    async def answer(self, *, has_body: bool = True) -> Answer:
        first = (await self.reader.readline()).decode()
        assert first, "the proxy closed the connection"
        _, status, reason = first.rstrip("\r\n").split(" ", 2)
        headers = []
        while (line := (await self.reader.readline()).decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = line.partition(": ")
            headers.append((name, value))
        answer = Answer(int(status), reason, headers, b"")
        length = int(answer.header("content-length") or 0) if has_body else 0
        return Answer(int(status), reason, headers, await self.reader.readexactly(length))

    async def ask(self, path: str, *lines: str, method: str = "GET") -> Answer:
        self.get(path, *lines, method=method)
        return await self.answer(has_body=method != "HEAD")

    async def is_hung_up(self) -> bool:
        """Waits for the end, with nothing more before it."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def connect(self, target: str = f"{HOST}:443") -> Answer:
        self.write(f"CONNECT {target} HTTP/1.1", f"Host: {target}")
        return await self.answer()

    async def secure(self, name: str = HOST, authority: Authority = AUTHORITY) -> None:
        await self.writer.start_tls(trusting(authority), server_hostname=name)

    async def leave(self) -> None:
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@asynccontextmanager
async def proxying(
    world: World, limits: Limits | None = None, **options: Any
) -> AsyncIterator[Proxy]:
    """A proxy to the world's gateway; when it has stopped, nothing of it is left."""
    before = asyncio.all_tasks()
    async with world.async_gateway(**options) as gateway:
        proxy = Proxy(gateway, AUTHORITY, limits)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop(5)
    assert asyncio.all_tasks() == before


@asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2])))
    try:
        yield client
    finally:
        await client.leave()


@asynccontextmanager
async def tunnel_of(proxy: Proxy) -> AsyncIterator[Client]:
    async with client_of(proxy) as client:
        assert (await client.connect()).status == 200
        await client.secure()
        yield client


@asynccontextmanager
async def tunnel(
    world: World, limits: Limits | None = None, **options: Any
) -> AsyncIterator[Client]:
    async with proxying(world, limits, **options) as proxy, tunnel_of(proxy) as client:
        yield client


# --- What goes through ----------------------------------------------------------------------------


async def test_a_request_goes_out_and_its_answer_comes_back(world: World) -> None:
    route = world.origin.post(f"{OPEN}/orders").respond(201, text="made", headers={"X-Id": "7"})
    async with tunnel(world) as client:
        client.get("/orders?q=a%20b", "Content-Length: 2", "X-Mine: 1", method="POST")
        client.writer.write(b"{}")
        answer = await client.answer()
    assert (answer.status, answer.reason, answer.text) == (201, "Created", "made")
    assert answer.header("x-id") == "7"
    (request,) = route.requests
    assert (request.target, request.body) == ("/orders?q=a%20b", b"{}")
    assert request.header("x-mine") == "1"


async def test_only_http_1_1_is_offered(world: World) -> None:
    async with tunnel(world) as client:
        found = client.writer.get_extra_info("ssl_object")
        assert found.selected_alpn_protocol() == "http/1.1"


async def test_a_connection_serves_requests_one_after_the_other(world: World) -> None:
    world.origin.get(f"{OPEN}/one").respond(200, text="one")
    async with tunnel(world) as client:
        assert [(await client.ask("/one")).text for _ in range(3)] == ["one"] * 3


async def test_pipelined_requests_are_answered_in_their_order(world: World) -> None:
    for number in range(5):
        world.origin.get(f"{OPEN}/{number}").respond(200, text=f"answer {number}")
    async with tunnel(world) as client:
        for number in range(5):
            client.get(f"/{number}")
        answers = [(await client.answer()).text for _ in range(5)]
    assert answers == [f"answer {number}" for number in range(5)]


async def test_a_chunked_body_arrives_whole(world: World) -> None:
    route = world.origin.put(f"{OPEN}/chunks").respond(200, text="taken")
    async with tunnel(world) as client:
        client.get("/chunks", "Transfer-Encoding: chunked", method="PUT")
        client.writer.write(b"5\r\nhello\r\n")
        await client.writer.drain()
        client.writer.write(b"6; x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert (await client.answer()).status == 200
        assert (await client.ask("/chunks")).status != 400
    assert route.requests[0].body == b"hello world"


async def test_a_client_that_asks_is_told_to_go_on(world: World) -> None:
    route = world.origin.post(f"{OPEN}/wait").respond(200, text="taken")
    async with tunnel(world) as client:
        client.get("/wait", "Content-Length: 4", "Expect: 100-continue", method="POST")
        assert (await client.answer()).status == 100
        client.writer.write(b"body")
        assert (await client.answer()).text == "taken"
    assert route.requests[0].body == b"body"


async def test_an_answer_to_head_has_a_length_and_no_body(world: World) -> None:
    world.origin.head(f"{OPEN}/head").respond(200, text="unseen")
    world.origin.get(f"{OPEN}/after").respond(200, text="after")
    async with tunnel(world) as client:
        answer = await client.ask("/head", method="HEAD")
        assert (answer.status, answer.header("content-length")) == (200, "6")
        assert (await client.ask("/after")).text == "after"


async def test_an_error_for_head_has_no_body_either(world: World) -> None:
    world.origin.get(f"{OPEN}/after").respond(200, text="after")
    async with tunnel(world) as client:
        answer = await client.ask("/head", "Range: bytes=0-1", method="HEAD")
        assert (answer.status, answer.header("stepout-error")) == (501, "NotCarried")
        assert (await client.ask("/after")).text == "after"


async def test_what_is_no_http_after_a_head_is_answered_with_a_body(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        await client.ask("/_stepout/health", method="HEAD")
        client.write("no http")
        answer = await client.answer()
    assert answer.status == 400
    assert "no HTTP" in answer.text


async def test_no_content_has_neither_body_nor_length(world: World) -> None:
    world.origin.delete(f"{OPEN}/gone").respond(204)
    async with tunnel(world) as client:
        answer = await client.ask("/gone", method="DELETE")
        assert (answer.status, answer.header("content-length")) == (204, None)
        assert answer.header("transfer-encoding") is None
        assert (await client.ask("/gone", method="DELETE")).status == 204


async def test_headers_with_several_values_stay_apart(world: World) -> None:
    cookies = [("Set-Cookie", "a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT"), ("Set-Cookie", "b=2")]
    world.origin.get(f"{OPEN}/cookies").respond(200, text="x", headers=cookies)
    async with tunnel(world) as client:
        answer = await client.ask("/cookies")
    found = [(name.title(), value) for name, value in answer.headers if "cookie" in name.lower()]
    assert found == cookies


async def test_headers_of_the_hop_go_no_further(world: World) -> None:
    route = world.origin.get(f"{OPEN}/hop").respond(200, text="x")
    async with tunnel(world) as client:
        answer = await client.ask(
            "/hop", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Proxy-Authorization: Basic eDp5"
        )
    assert answer.status == 200
    assert route.requests[0].header("x-hop") is None
    assert route.requests[0].header("proxy-authorization") is None


async def test_an_error_whose_body_aws_dropped_says_so(world: World) -> None:
    world.origin.get(f"{OPEN}/teapot").respond(418, json={"why": "short and stout"})
    async with tunnel(world) as client:
        answer = await client.ask("/teapot")
        assert (answer.status, answer.header("content-length")) == (418, "0")
        assert answer.header("stepout-body") == "not-carried"
        assert answer.header("stepout-error") is None
        assert (await client.ask("/teapot")).status == 418


async def test_a_target_may_be_the_whole_url(world: World) -> None:
    world.origin.get(f"{OPEN}/whole").respond(200, text="whole")
    async with tunnel(world) as client:
        assert (await client.ask(f"HTTPS://{HOST.upper()}:443/whole")).text == "whole"


async def test_http_1_0_is_answered_and_closed(world: World) -> None:
    world.origin.get(f"{OPEN}/old").respond(200, text="old")
    async with tunnel(world) as client:
        client.write("GET /old HTTP/1.0")
        answer = await client.answer()
        assert (answer.text, answer.header("connection")) == ("old", "close")
        assert await client.is_hung_up()


# --- Headers that say nothing here ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "left_out"),
    [
        (["Cache-Control: max-age=0"], "cache-control"),
        (["cache-control: No-Cache, no-store"], "cache-control"),
        (["Cache-Control: no-cache", "Cache-Control: max-age=0,", "Pragma: no-cache"], "cache-control, pragma"),
        (["Pragma: no-cache"], "pragma"),
        (['If-None-Match: "abc", W/"d"'], "if-none-match"),
        (["If-Modified-Since: Wed, 09 Jun 2021 10:18:14 GMT", "Cache-Control: max-age=0"], "cache-control, if-modified-since"),
    ],
)  # fmt: skip
async def test_what_is_asked_of_caches_is_left_out_and_told_where_there_are_none(
    world: World, caplog: pytest.LogCaptureFixture, lines: list[str], left_out: str
) -> None:
    """pip and browsers send it by habit."""
    caplog.set_level(logging.INFO, "stepout.proxy")
    route = world.origin.get(f"{OPEN}/fresh").respond(200, text="fresh")
    async with tunnel(world) as client:
        answer = await client.ask("/fresh", *lines)
    assert (answer.status, answer.text) == (200, "fresh")
    assert answer.header("stepout-left-out") == left_out
    (request,) = route.requests
    for name in ("cache-control", "pragma", "if-none-match", "if-modified-since"):
        assert request.header(name) is None
    assert f"left_out={left_out.replace(' ', '')}" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "Cache-Control: max-age=10",
        "Cache-Control: only-if-cached",
        "Cache-Control: no-cache, only-if-cached",
        "Cache-Control: no-transform",
        "Cache-Control: max-stale",
        'Cache-Control: no-cache="x"',
        "Cache-Control: x-of-the-api=1",
        "Pragma: x-of-the-api",
        "Range: bytes=0-1",
        "If-Match: *",
        "If-None-Match: *",
        "If-Range: x",
        "If-Unmodified-Since: x",
    ],
)
async def test_what_means_more_is_refused_as_everywhere(world: World, line: str) -> None:
    async with tunnel(world) as client:
        answer = await client.ask("/x", line)
    assert (answer.status, answer.header("stepout-error")) == (501, "NotCarried")
    assert f"The header {line.partition(':')[0]} cannot be carried" in answer.text


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_a_condition_on_what_writes_is_refused(world: World, method: str) -> None:
    """Without it, the request would do what its sender does not want."""
    async with tunnel(world) as client:
        answer = await client.ask("/x", 'If-None-Match: "abc"', method=method)
    assert (answer.status, answer.header("stepout-error")) == (501, "NotCarried")


# --- What is refused, in a tunnel -----------------------------------------------------------------


async def test_a_connection_goes_on_after_what_cannot_be_carried(world: World) -> None:
    world.origin.get(f"{OPEN}/fine").respond(200, text="fine")
    async with tunnel(world) as client:
        answer = await client.ask("/fine", "If-Match: x")
        assert (answer.status, answer.header("stepout-error")) == (501, "NotCarried")
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert "If-Match cannot be carried; nothing was sent" in answer.text
        assert (await client.ask("/fine")).text == "fine"


async def test_a_path_that_no_upstream_has_is_forbidden(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        await client.connect("api.example.com:443")
        await client.secure("api.example.com")
        client.write("GET /v2/x HTTP/1.1", "Host: api.example.com")
        answer = await client.answer()
    assert (answer.status, answer.header("stepout-error")) == (403, "UnknownUpstream")
    assert "keyed: https://api.example.com/v1/" in answer.text


async def test_an_endpoint_that_cannot_be_reached_is_a_bad_gateway(world: World) -> None:
    async with tunnel(world, endpoint_url="http://127.0.0.1:9/") as client:
        answer = await client.ask("/x")
    assert (answer.status, answer.header("stepout-error")) == (502, "CallFailed")
    assert "cannot be reached" in answer.text


async def test_an_api_that_takes_too_long_is_a_gateway_time_out(world: World) -> None:
    world.origin.get(f"{OPEN}/slow").hang()
    async with tunnel(world, timeout=0.05) as client:
        answer = await client.ask("/slow")
    assert (answer.status, answer.header("stepout-error")) == (504, "CallTimedOut")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownUpstream("https://x/", {"a": "https://a/"}), 403),
        (NotCarried("no"), 501),
        (CallRefused("no", "AccessDenied"), 502),
        (CallFailed("no", "Broken"), 502),
        (CallTimedOut("no", "Timeout"), 504),
        (TruncatedResponse("https://a/", "bytes 0-1/9"), 502),
        (SettingsError("No AWS credentials were found."), 502),
    ],
)
def test_every_error_has_a_status_and_names_its_class(error: StepoutError, status: int) -> None:
    reply = reply_to(error)
    assert reply.status == status
    assert (b"Stepout-Error", type(error).__name__.encode()) in reply.headers
    assert str(error) in reply.body.decode()


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), OSError("a file is missing")])
async def test_a_fault_of_the_proxy_is_answered_and_logged_and_the_connection_goes_on(
    world: World, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    world.origin.get(f"{OPEN}/fine").respond(200, text="fine")
    async with proxying(world) as proxy, tunnel_of(proxy) as client:
        send = proxy.gateway.send
        proxy.gateway.send = failing(error)  # type: ignore[method-assign]  # a fault that has yet to be made
        answer = await client.ask("/x")
        proxy.gateway.send = send  # type: ignore[method-assign]
        assert (answer.status, answer.header("stepout-error")) == (500, "InternalError")
        assert f"The proxy is broken ({type(error).__name__})" in answer.text
        assert (await client.ask("/fine")).text == "fine"
    assert "path=/x status=500" in caplog.text
    assert str(error) in caplog.text


def failing(error: Exception) -> Any:
    async def fail(*_: Any) -> None:
        raise error

    return fail


async def test_a_fault_before_the_tunnel_is_answered_too(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_host: str) -> None:
        raise RuntimeError("a fault of ours")

    async with proxying(world) as proxy, client_of(proxy) as client:
        monkeypatch.setattr(proxy.leaves, "context", fail)
        answer = await client.connect()
        assert (answer.status, answer.header("connection")) == (500, "close")
        assert await client.is_hung_up()
    assert "a fault of ours" in caplog.text


def test_a_reason_that_would_break_the_status_line_is_replaced() -> None:
    response = Response(200, "OK\r\nX-Evil: 1", Headers(), b"x", "https://a/")
    assert reply_with(response, "GET").reason == b"OK"


async def test_headers_that_are_not_ascii_come_as_they_are_and_do_not_go(world: World) -> None:
    value = "Grüße".encode().decode("latin-1")
    world.origin.get(f"{OPEN}/x").respond(200, text="x", headers={"X-Name": value})
    async with tunnel(world) as client:
        assert (await client.ask("/x")).header("x-name") == value
        refused = await client.ask("/x", f"X-Name: {value}")
    assert (refused.status, refused.header("stepout-error")) == (501, "NotCarried")
    assert "The value of the header X-Name is not ASCII" in refused.text


def test_a_header_that_the_service_decoded_goes_out_in_utf8() -> None:
    response = Response(200, "OK", Headers({"X-Name": "€"}), b"x", "https://a/")
    assert (b"X-Name", "€".encode()) in reply_with(response, "GET").headers


def test_a_status_that_ends_no_request_is_not_written() -> None:
    with pytest.raises(ValueError, match="101"):
        reply_with(Response(101, "", Headers(), b"", "https://a/"), "GET")


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        (["GET /x HTTP/1.1", "Host: other.example.com"], 421, "other.example.com"),
        (["GET https://other.example.com/x HTTP/1.1", f"Host: {HOST}"], 421, "other.example.com"),
        (["GET /x HTTP/1.1"], 400, "Host"),
        (["GET x HTTP/1.1", f"Host: {HOST}"], 400, "begins with a slash"),
        (["OPTIONS * HTTP/1.1", f"Host: {HOST}"], 400, "begins with a slash"),
        (["CONNECT x:1 HTTP/1.1", f"Host: {HOST}"], 501, "another CONNECT"),
        (["GET /x HTTP/1.1", f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade"], 501, "Websockets"),
        (["POST /x HTTP/1.1", f"Host: {HOST}", "Content-Length: 3", "Transfer-Encoding: chunked"], 400, "both"),
        (["POST /x HTTP/1.1", f"Host: {HOST}", "Content-Length: 3", "Content-Length: 4"], 400, "no HTTP"),
        (["POST /x HTTP/1.1", f"Host: {HOST}", "Content-Length: -1"], 400, "no HTTP"),
        (["POST /x HTTP/1.1", f"Host: {HOST}", "Transfer-Encoding: gzip, chunked"], 501, "no HTTP"),
        (["GET /x HTTP/1.1", f"Host: {HOST}", "X Y: 1"], 400, "no HTTP"),
        (["GET /x HTTP/1.1", f"Host: {HOST}", "X: 1", " folded: 2", "\x00: 1"], 400, "no HTTP"),
        (["PRI * HTTP/2.0", "", "SM"], 505, "found HTTP/2.0"),
        (["GET /x HTTP/1.1", f"Host: {HOST}", "X: " + "x" * 200_000], 431, "no HTTP"),
    ],
)  # fmt: skip
async def test_what_is_no_plain_request_is_refused_and_hung_up_on(
    world: World, lines: list[str], status: int, said: str
) -> None:
    async with tunnel(world) as client:
        client.write(*lines)
        answer = await client.answer()
        assert (answer.status, answer.header("connection")) == (status, "close")
        assert said in answer.text
        client.writer.write_eof() if client.writer.can_write_eof() else client.writer.close()
        assert await client.is_hung_up()


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(world: World) -> None:
    async with tunnel(world) as client:
        client.get("/big", "Content-Length: 99999999999", "Expect: 100-continue", method="POST")
        answer = await client.answer()
    assert (answer.status, answer.header("stepout-error")) == (413, "NotCarried")
    assert "99,999,999,999 bytes" in answer.text


async def test_a_chunked_body_that_grows_too_large_is_refused_midway(world: World) -> None:
    async with tunnel(world, payload_limit=10_000) as client:
        client.get("/big", "Transfer-Encoding: chunked", method="POST")
        for _ in range((10_000 + MARGIN) // 16_384 + 1):
            client.writer.write(b"4000\r\n" + b"x" * 16_384 + b"\r\n")
        answer = await client.answer()
    assert answer.status == 413


async def test_a_body_a_little_too_large_is_explained_by_the_gateway(world: World) -> None:
    async with tunnel(world) as client:
        client.get("/big", "Content-Length: 263000", method="POST")
        client.writer.write(b"x" * 263_000)
        answer = await client.answer()
        assert (answer.status, answer.header("stepout-error")) == (501, "NotCarried")
        assert "263,0" in answer.text
        assert (await client.ask("/x", "Range: x")).status == 501


# --- What is refused, before the tunnel -----------------------------------------------------------


async def test_a_host_that_no_upstream_has_is_refused_at_connect(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        answer = await client.connect("nowhere.example.com:443")
        assert (answer.status, answer.header("stepout-error")) == (403, "UnknownUpstream")
        assert answer.reason == "No upstream has the URL https://nowhere.example.com/"
        assert "open: https://open.example.com/" in answer.text
        assert "NO_PROXY" in answer.text
        assert await client.is_hung_up()


async def test_without_upstreams_the_machine_judges_hosts(world: World) -> None:
    async with proxying(world, upstreams=None) as proxy, client_of(proxy) as client:
        assert (await client.connect("nowhere.example.com:443")).status == 200
        await client.secure("nowhere.example.com")
        client.write("GET / HTTP/1.1", "Host: nowhere.example.com")
        answer = await client.answer()
    assert (answer.status, answer.header("stepout-error")) == (502, "CallRefused")
    assert "no upstream with this URL" in answer.text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("OPEN.example.com.:443", 200),
        ("open.example.com:8443", 403),
        ("open.example.com:80", 403),
        ("[::1]:443", 403),
        ("127.0.0.1:443", 403),
        ("open.example.com@evil.example.com:443", 400),
        ("open.example.com", 400),
        ("open.example.com:", 400),
        (":443", 400),
        ("...:443", 400),
        ("open.example.com:0", 400),
        ("open.example.com:65536", 400),
        ("open.example.com:443/", 400),
        ("https://open.example.com:443", 400),
        ("/", 400),
        ("*", 400),
        ("open.example.com:443443443443", 400),
        ("x" * 300 + ":443", 400),
        ("\xf6pen.example.com:443", 400),
    ],
)
async def test_connect_takes_a_host_and_a_port_alone(
    world: World, target: str, status: int
) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.write(f"CONNECT {target} HTTP/1.1", "Host: x")
        assert (await client.answer()).status == status


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("http://open.example.com/", 501, "an HTTP Task calls HTTPS alone"),
        ("HTTP://open.example.com/", 501, "an HTTP Task calls HTTPS alone"),
        ("ftp://open.example.com/", 501, "an HTTP Task calls HTTPS alone"),
        ("https://open.example.com/", 501, "Expected CONNECT"),
        ("/", 404, "this is a proxy for HTTPS"),
        ("/_stepout/healthy", 404, "this is a proxy for HTTPS"),
    ],
)
async def test_requests_outside_a_tunnel_are_refused_with_a_reason(
    world: World, target: str, status: int, said: str
) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.get(target)
        answer = await client.answer()
    assert answer.status == status
    assert said in answer.text


async def test_the_proxy_tells_its_health_and_its_authority(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        assert (await client.ask("/_stepout/health")).text == "ok\n"
        assert (await client.ask("/_stepout/health", method="HEAD")).status == 200
        assert (await client.ask("/_stepout/ca.pem")).body == AUTHORITY.certificate_pem
        assert (await client.ask("/_stepout/health", method="POST")).status == 404


async def test_a_client_may_have_said_all_before_it_reads(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.get("/_stepout/health")
        client.writer.write_eof()
        assert (await client.answer()).text == "ok\n"
        assert await client.is_hung_up()


# --- Hostile and broken clients -------------------------------------------------------------------


async def test_half_a_head_and_then_the_end_is_no_request(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.writer.write(b"CONNECT open.example")
        client.writer.write_eof()
        assert (await client.answer()).status == 400
        assert await client.is_hung_up()


async def test_a_head_that_does_not_end_in_time_is_given_up(world: World) -> None:
    async with proxying(world, Limits(head_seconds=0.05)) as proxy, client_of(proxy) as client:
        client.writer.write(b"CONNECT open.example")
        assert (await client.answer()).status == 408
        assert await client.is_hung_up()


async def test_a_body_that_does_not_end_in_time_is_given_up(world: World) -> None:
    async with tunnel(world, Limits(body_seconds=0.05)) as client:
        client.get("/slow", "Content-Length: 10", method="POST")
        client.writer.write(b"12345")
        assert (await client.answer()).status == 408
        assert await client.is_hung_up()


async def test_a_connection_on_which_nothing_is_said_is_closed(world: World) -> None:
    async with tunnel(world, Limits(idle_seconds=0.2)) as client:
        assert await client.is_hung_up()


async def test_a_tunnel_without_a_handshake_is_closed(world: World) -> None:
    limits = Limits(handshake_seconds=0.05)
    async with proxying(world, limits) as proxy, client_of(proxy) as client:
        assert (await client.connect()).status == 200
        assert await client.is_hung_up()


async def test_what_is_no_tls_in_a_tunnel_is_hung_up_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        assert (await client.connect()).status == 200
        client.get("/plain")
        await client.is_hung_up()
        await ended(proxy)
    assert "connect host=open.example.com:443 status=200 error=SSLError" in caplog.text


async def test_a_client_that_does_not_believe_the_authority_is_told_of_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def call(url: str) -> None:
        with urllib3.ProxyManager(url, ssl_context=trusting(Authority.create("another"))) as http:
            http.request("GET", f"{OPEN}/x", retries=False)

    async with proxying(world) as proxy:
        with pytest.raises(urllib3.exceptions.SSLError):
            await asyncio.to_thread(call, proxy.url)
        await ended(proxy)
    assert "error=SSLError reason=" in caplog.text
    assert "alert unknown ca" in caplog.text.lower()


async def test_bytes_before_tls_are_not_taken_for_what_is_inside(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.write(f"CONNECT {HOST}:443 HTTP/1.1", f"Host: {HOST}", body=b"GET /smuggled")
        answer = await client.answer()
    assert answer.status == 400
    assert "Expected TLS to begin after the answer" in answer.text


async def test_a_huge_head_is_refused_however_it_comes(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        client.writer.write(b"GET /" + b"x" * 1_000_000)
        assert (await client.answer()).status == 431


async def test_one_connection_too_many_is_turned_away(world: World) -> None:
    async with proxying(world, Limits(connections=1)) as proxy, client_of(proxy) as client:
        assert (await client.ask("/_stepout/health")).status == 200
        async with client_of(proxy) as second:
            answer = await second.answer()
            assert answer.status == 503
            assert "1 connections" in answer.text
            assert await second.is_hung_up()


async def test_a_slow_client_gets_the_whole_of_a_last_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS's farewell may not take long, what comes before it may."""
    monkeypatch.setattr("stepout.client.channel.CLOSE_SECONDS", 0.2)
    route = world.origin.get(f"{OPEN}/large").respond(200, text="x" * 250_000)
    async with proxying(world) as proxy, narrow_tunnel(proxy) as there:
        there.sendall(f"GET /large HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        await until(lambda: route.requests)
        await asyncio.sleep(0.5)
        answer = await asyncio.to_thread(there.makefile("rb").read)
    assert answer.partition(b"\r\n\r\n")[2] == b"x" * 250_000


async def test_a_client_that_takes_nothing_is_given_up(world: World) -> None:
    world.origin.get(f"{OPEN}/large").respond(200, text="x" * 250_000)
    async with (
        proxying(world, Limits(write_seconds=0.1)) as proxy,
        narrow_tunnel(proxy) as there,
    ):
        there.sendall(f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        await until(lambda: proxy._served)
        await ended(proxy)


@asynccontextmanager
async def narrow_tunnel(proxy: Proxy) -> AsyncIterator[ssl.SSLSocket]:
    """One that the system keeps little for, on either side; reading it blocks."""
    assert proxy._server is not None
    proxy._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    port = int(proxy.url.rpartition(":")[2])

    def opened() -> ssl.SSLSocket:
        narrow = socket.socket()
        narrow.settimeout(20)
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.connect(("127.0.0.1", port))
        narrow.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert narrow.recv(1_000).startswith(b"HTTP/1.1 200 ")
        return trusting(AUTHORITY).wrap_socket(narrow, server_hostname=HOST)

    with await asyncio.to_thread(opened) as there:
        yield there


async def test_a_flood_of_pipelined_requests_is_held_up_and_served(world: World) -> None:
    async with proxying(world) as proxy, client_of(proxy) as client:
        padding = "X: " + "x" * 10_000
        for _ in range(100):
            client.get("/_stepout/health", padding)
        answers = [(await client.answer()).status for _ in range(100)]
    assert answers == [200] * 100


async def test_a_client_that_goes_away_cancels_its_call(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stepout.proxy")
    route = world.origin.get(f"{OPEN}/hanging").hang()
    async with proxying(world) as proxy:
        async with tunnel_of(proxy) as client:
            client.get("/hanging")
            await until(lambda: route.requests)
        await ended(proxy)
    assert "path=/hanging status=None upstream=None" in caplog.text
    assert "error=CancelledError" in caplog.text


# --- Ending ---------------------------------------------------------------------------------------


async def test_a_call_in_flight_may_finish_when_the_proxy_stops(world: World) -> None:
    may_answer = threading.Event()

    def wait(_: Received) -> OriginAnswer:
        may_answer.wait(10)
        return OriginAnswer(200, body=b"done")

    route = world.origin.get(f"{OPEN}/last").handle(wait)
    async with proxying(world) as proxy, tunnel_of(proxy) as client, tunnel_of(proxy) as idle:
        client.get("/last")
        await until(lambda: route.requests)
        stopping = asyncio.create_task(proxy.stop(5))
        assert await idle.is_hung_up()
        assert not stopping.done()
        may_answer.set()
        answer = await client.answer()
        assert (answer.text, answer.header("connection")) == ("done", "close")
        await stopping


async def test_a_call_that_does_not_finish_is_cancelled_when_the_proxy_stops(world: World) -> None:
    route = world.origin.get(f"{OPEN}/never").hang()
    async with proxying(world) as proxy, tunnel_of(proxy) as client:
        client.get("/never")
        await until(lambda: route.requests)
        await proxy.stop(0.01)
        assert await client.is_hung_up()


async def until(is_so: Any) -> None:
    while not is_so():  # noqa: ASYNC110 — what is waited for is in another thread
        await asyncio.sleep(0.001)


async def ended(proxy: Proxy) -> None:
    """All conversations are over."""
    await until(lambda: not proxy._served)


# --- The log --------------------------------------------------------------------------------------


async def test_the_log_has_one_line_a_request_without_query_and_headers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stepout.proxy")
    world.origin.get(f"{OPEN}/seen").respond(200, text="x")
    async with tunnel(world) as client:
        await client.ask("/seen?token=hidden", "X-Secret: hidden")
        await client.ask("/seen?token=hidden", "Range: hidden")
    first, second = [record for record in caplog.records if record.name == "stepout.proxy"]
    assert "hidden" not in first.getMessage() + second.getMessage()
    assert first.getMessage().startswith(
        "request method=GET host=open.example.com path=/seen status=200 upstream=open duration_ms="
    )
    assert "execution=arn:aws:states:" in first.getMessage()
    assert (second.levelname, "error=NotCarried" in second.getMessage()) == ("WARNING", True)


# --- Leaves ---------------------------------------------------------------------------------------


def test_a_host_has_one_context_until_its_leaf_is_old() -> None:
    now = [0.0]
    leaves = Leaves(AUTHORITY, clock=lambda: now[0])
    first = leaves.context("a.example.com")
    assert leaves.context("a.example.com") is first
    now[0] = RENEWED_AFTER + 1
    assert leaves.context("a.example.com") is not first


def test_the_context_that_was_used_longest_ago_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepout.client.leaves.HOSTS", 2)
    assert HOSTS > 2
    leaves = Leaves(AUTHORITY)
    first, second = leaves.context("a.example.com"), leaves.context("b.example.com")
    assert leaves.context("a.example.com") is first
    leaves.context("c.example.com")
    assert leaves.context("a.example.com") is first
    assert leaves.context("b.example.com") is not second
