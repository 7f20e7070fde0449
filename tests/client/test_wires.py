"""Both wires against endpoints that refuse, break off, dawdle and lie."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from tests.client.raw import (
    API,
    FINE,
    MACHINE,
    PATIENCE,
    AsyncCaller,
    AwakeCaller,
    Caller,
    LoopFactory,
    Outcome,
    Peer,
    RawServer,
    Script,
    answer,
    once,
    serving,
    success,
)

from stepout.certificates import Authority
from stepout.cli.event_loop import new_event_loop
from stepout.client import AsyncGateway, Gateway, Request
from stepout.client import exchange as exchanges
from stepout.client.exchange import Timeout
from stepout.client.streams import Wire
from stepout.errors import CallFailed, CallRefused, CallTimedOut, SettingsError
from stepout.gateway.messages import Response

AUTHORITY = Authority.create("tests")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "_pause", lambda _attempts: 0.0)
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


CALLERS: dict[str, Caller] = {
    "blocking": Caller(),
    "async": AsyncCaller(),
    "awake": AwakeCaller(),
    "uvloop": AsyncCaller(new_event_loop()),
    "awake uvloop": AwakeCaller(new_event_loop()),
}


@pytest.fixture(params=CALLERS.values(), ids=[*CALLERS])
def call(request: pytest.FixtureRequest) -> Caller:
    return cast("Caller", request.param)


@pytest.fixture
def _trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate_pem)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))


def texts(outcomes: list[Outcome]) -> list[str]:
    for outcome in outcomes:
        if not isinstance(outcome, Response):
            raise outcome
    return [outcome.text for outcome in outcomes if isinstance(outcome, Response)]


def error_of(outcomes: list[Outcome]) -> CallFailed | CallRefused:
    (error,) = outcomes
    assert isinstance(error, CallFailed | CallRefused), error
    return error


# --- No connection --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_port_where_nobody_listens_is_tried_four_times(call: Caller, method: str) -> None:
    calls: list[Any] = []
    url = "http://127.0.0.1:9/"
    error = error_of(call(url, [method], hooks=[calls.append]))
    assert (type(error), error.error) == (CallFailed, "Unreachable")
    assert f"{url} cannot be reached (" in str(error)
    assert "nothing was sent" in str(error)
    assert calls[0].times.attempts == 4


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 64 + ".invalid"])
def test_a_host_that_is_not_there_is_told(call: Caller, host: str) -> None:
    error = error_of(call(f"http://{host}/"))
    assert type(error) is CallFailed
    assert host in str(error)


# --- It breaks off --------------------------------------------------------------------------------


def reset_at_once(peer: Peer) -> None:
    peer.reset()


def reset_after_the_request(peer: Peer) -> None:
    peer.request()
    peer.reset()


BROKEN: dict[str, Script] = {
    "reset after the request": reset_after_the_request,
    "closed after the request": once(),
    "closed in the head": once(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "closed in the body": once(FINE[:-5]),
    "closed in a chunk": once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"),
    "closed before the last chunk": once(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ),
    "garbage": once(b"\x00\xffSSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "garbage for a length": once(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "two lengths": once(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "garbage for a chunk": once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc"),
    "an endless head": once(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_breaks_off_is_told_and_not_sent_again(call: Caller, method: str, name: str) -> None:
    with RawServer(BROKEN[name], serving(FINE)) as server:
        error = error_of(call(server, [method]))
    assert type(error) is CallFailed
    assert len(server.requests) <= 1
    assert server.connections == 1


@pytest.mark.parametrize("script", [reset_at_once, lambda _peer: None])
def test_a_connection_that_ends_at_once_brings_no_call_twice(call: Caller, script: Script) -> None:
    """It may have failed before the request went out, and may then be tried again."""
    with RawServer(script, serving(FINE)) as server:
        (outcome,) = call(server, ["POST"])
    assert isinstance(outcome, CallFailed) or server.connections == 2
    assert len(server.requests) <= 1


@pytest.mark.parametrize("name", ["reset after the request", "closed in the body", "garbage"])
def test_what_breaks_off_is_sent_again_where_that_is_asked_for_and_harmless(
    call: Caller, name: str
) -> None:
    with RawServer(BROKEN[name], serving(FINE)) as server:
        assert texts(call(server, ["PUT"], retries=1)) == ["fine"]
        assert len(server.requests) == 2
    with RawServer(BROKEN[name], serving(FINE)) as server:
        error_of(call(server, ["POST"], retries=1))
        assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_failure_of_the_service_is_not_sent_again(call: Caller, method: str) -> None:
    failing = serving(answer(b'{"__type":"InternalFailure"}', "500 Internal Server Error"))
    with RawServer(failing) as server:
        error = error_of(call(server, [method], retries=3))
    assert (error.error, len(server.requests)) == ("InternalFailure", 1)


def test_a_connection_that_broke_is_not_used_again(call: Caller) -> None:
    with RawServer(once(FINE[:-5]), serving(FINE)) as server:
        first, second = call(server, ["POST", "POST"])
    assert isinstance(first, CallFailed)
    assert texts([second]) == ["fine"]


# --- It dawdles -----------------------------------------------------------------------------------


def silent(peer: Peer) -> None:
    peer.request()
    peer.wait_for_end()


def begun(peer: Peer) -> None:
    peer.request()
    peer.send(FINE[:-5])
    peer.wait_for_end()


@pytest.mark.parametrize("script", [silent, begun])
def test_an_answer_that_does_not_come_is_late_and_its_connection_dropped(
    call: Caller, script: Script
) -> None:
    with RawServer(script, serving(FINE)) as server:
        late, fine = call(server, ["POST", "POST"], timeout=0.3, between=lambda: None)
        assert type(late) is CallTimedOut
        assert "0.3 seconds are over" in str(late)
        assert texts([fine]) == ["fine"]
        assert server.ended.wait(PATIENCE)
    assert len(server.requests) == 2


def dripping(begun: bytes) -> Script:
    """Begin an answer, and then always a byte more before anybody could lose patience."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(begun)
        peer.drip()

    return script


DRIPS: dict[str, bytes] = {
    "status": b"HTTP/1.1 200 ",
    "head": b"HTTP/1.1 200 OK\r\nX-A: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "body until the end": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", DRIPS)
@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.usefixtures("_trust")
def test_an_answer_that_drips_for_ever_is_late(call: Caller, name: str, is_tls: bool) -> None:
    context = AUTHORITY.server_context("127.0.0.1") if is_tls else None
    with RawServer(dripping(DRIPS[name]), serving(FINE), context=context) as server:
        late, fine = call(server, ["POST", "POST"], timeout=0.3)
        assert type(late) is CallTimedOut
        assert "0.3 seconds are over" in str(late)
        assert texts([fine]) == ["fine"]
        assert server.ended.wait(PATIENCE)
    assert len(server.requests) == 2


def test_a_request_that_nobody_reads_is_late(call: Caller) -> None:
    is_over = threading.Event()

    def script(_peer: Peer) -> None:
        is_over.wait(PATIENCE)

    with RawServer(script) as server:
        data = "x" * 16_000_000
        error = error_of(
            call(server, ["POST"], data=data, timeout=0.3, payload_limit=len(data) * 2)
        )
        is_over.set()
    assert type(error) is CallTimedOut


def test_an_answer_that_comes_byte_by_byte_is_an_answer(call: Caller) -> None:
    with RawServer(serving(*[FINE[i : i + 1] for i in range(len(FINE))])) as server:
        assert texts(call(server, ["GET"] * 2)) == ["fine"] * 2
    assert server.connections == 1


# --- All that an answer may be --------------------------------------------------------------------

BODY = success()
HALF = len(BODY) // 2
CHUNKS = b"%x\r\n%b\r\n%x;ext=1\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (HALF, BODY[:HALF], len(BODY) - HALF, BODY[HALF:])  # fmt: skip


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS),
        (b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY),
    ],
    ids=["chunks", "100 before", "no reason"],
)  # fmt: skip
def test_an_answer_in_any_framing_keeps_its_connection(
    call: Caller, head: bytes, body: bytes
) -> None:
    with RawServer(serving(head + body)) as server:
        assert texts(call(server, ["GET"] * 3)) == ["fine"] * 3
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY),
    ],
    ids=["until the end", "1.0", "close"],
)
def test_an_answer_that_ends_its_connection_is_an_answer(call: Caller, head: bytes) -> None:
    with RawServer(once(head, BODY)) as server:
        assert texts(call(server, ["GET"] * 3)) == ["fine"] * 3
    assert (server.connections, len(server.requests)) == (3, 3)


def test_a_large_answer_comes_whole(call: Caller) -> None:
    with RawServer(serving(answer(success("ä" * 10_000_000)))) as server:
        (text,) = texts(call(server, payload_limit=20_000_000))
    assert len(text) == 10_000_000


def test_an_answer_that_json_makes_six_times_as_large_is_within_the_limit(call: Caller) -> None:
    """AWS counts the output, not what it takes to write it into the answer."""
    output = json.dumps({"ResponseBody": "\x00" * 43_000, "StatusCode": 200})
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in output)
    with RawServer(
        serving(
            answer(
                b'{"status":"SUCCEEDED","output":"%b","input":"%b"}'
                % (escaped.encode(), escaped.encode())
            )
        )
    ) as server:
        (text,) = texts(call(server))
    assert len(output) < 262_144
    assert text == "\x00" * 43_000


LARGE = b"a" * 65_536


def endless(begun: bytes, more: bytes = LARGE) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(begun)
        with suppress(ConnectionError):
            while True:
                peer.send(more)

    return script


@pytest.mark.parametrize(
    "script",
    [
        endless(b"HTTP/1.1 200 OK\r\n\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n%b\r\n" % LARGE),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 9999),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n"),
    ],
    ids=["until the end", "a length", "chunks", "small chunks", "a chunk"],
)  # fmt: skip
def test_an_answer_without_end_is_too_large_and_not_asked_for_again(
    call: Caller, script: Script
) -> None:
    with RawServer(script, serving(FINE)) as server:
        large, fine = call(server, ["GET", "GET"], retries=3)
    assert isinstance(large, CallFailed)
    assert (type(large), large.error) == (CallFailed, "AnswerTooLarge")
    assert "more than 3,276,800 bytes" in str(large)
    assert "payload_limit" in str(large)
    assert texts([fine]) == ["fine"]
    assert server.connections == 2


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"HTTP/1.1 200 OK\r\nX: "])  # fmt: skip
def test_a_line_without_end_is_given_up(call: Caller, begun: bytes) -> None:
    with RawServer(endless(begun)) as server:
        error_of(call(server, ["POST"]))
    assert server.connections == 1


def test_a_packed_answer_is_not_unpacked(call: Caller) -> None:
    """Nobody asked for it, and a little may become very much."""
    bomb = gzip.compress(bytes(10_000_000))
    with RawServer(serving(answer(bomb, "200 OK", "Content-Encoding: gzip"))) as server:
        error = error_of(call(server, ["POST"]))
    assert "What answered is not Step Functions" in str(error)


def test_a_redirect_is_not_followed(call: Caller) -> None:
    with RawServer(
        serving(answer(b"", "307 Temporary Redirect", "Location: /elsewhere"))
    ) as server:
        error = error_of(call(server, ["POST"]))
    assert (error.error, len(server.requests)) == ("HTTP 307", 1)


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway", "200 OK"])  # fmt: skip
def test_the_page_of_a_proxy_is_told_as_one(call: Caller, status: str) -> None:
    page = answer(b"<html><title>Blocked</title>", status, "Content-Type: text/html")
    with RawServer(serving(page)) as server:
        error = error_of(call(server, ["POST"]))
    assert "What answered is not Step Functions" in str(error)
    assert "<title>Blocked" in str(error)
    assert len(server.requests) == 1


# --- Connections that are kept --------------------------------------------------------------------


def test_calls_one_after_the_other_share_a_connection(call: Caller) -> None:
    with RawServer(serving(FINE)) as server:
        assert texts(call(server, ["GET", "POST", "PUT", "HEAD", "DELETE"])) == ["fine"] * 5
    assert server.connections == 1


def reset_when_idle(peer: Peer) -> None:
    peer.request()
    peer.send(FINE)
    peer.reset()


def says_more(peer: Peer) -> None:
    """What nobody asked for, and then the end."""
    peer.request()
    peer.send(FINE)
    peer.send(answer(b"", "408 Request Timeout", "Connection: close"))


@pytest.mark.parametrize("script", [once(FINE), reset_when_idle, says_more])
def test_a_connection_that_was_closed_while_idle_fails_no_call(
    call: Caller, script: Script
) -> None:
    with RawServer(script) as server:
        outcomes = call(server, ["POST"] * 4, between=server.wait_until_closed)
        assert texts(outcomes) == ["fine"] * 4
    # Each was sent once.
    assert (len(server.requests), server.connections) == (4, 4)


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(call: Caller) -> None:
    with RawServer(serving(FINE + answer(success("of another call")))) as server:
        assert texts(call(server, ["POST"] * 3)) == ["fine"] * 3
    assert len(server.requests) == 3


def test_an_answer_that_comes_between_two_calls_is_not_taken_for_the_next(call: Caller) -> None:
    ready, said = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(FINE)
        ready.wait(PATIENCE)
        peer.send(answer(success("of another call")))
        said.set()
        peer.wait_for_end()

    def between() -> None:
        ready.set()
        assert said.wait(PATIENCE)

    with RawServer(script, serving(FINE)) as server:
        assert texts(call(server, ["POST"] * 2, between=between)) == ["fine"] * 2
    assert server.connections == 2


# --- TLS ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_trust")
def test_calls_go_through_tls_and_keep_their_connection(call: Caller) -> None:
    context = AUTHORITY.server_context("127.0.0.1")
    with RawServer(serving(FINE), context=context) as server:
        assert texts(call(server, ["GET"] * 3)) == ["fine"] * 3
    assert server.connections == 1


@pytest.mark.usefixtures("_trust")
def test_a_tls_connection_that_was_closed_while_idle_fails_no_call(call: Caller) -> None:
    context = AUTHORITY.server_context("127.0.0.1")
    with RawServer(once(FINE), context=context) as server:
        outcomes = call(server, ["POST"] * 3, between=server.wait_until_closed)
        assert texts(outcomes) == ["fine"] * 3
    assert len(server.requests) == 3


@pytest.mark.usefixtures("_trust")
@pytest.mark.parametrize("who", ["another name", "another authority", "no TLS", "garbage"])
def test_an_endpoint_that_cannot_be_believed_is_sent_nothing(call: Caller, who: str) -> None:
    context = {
        "another name": AUTHORITY.server_context("sync-states.example.com"),
        "another authority": Authority.create("other").server_context("127.0.0.1"),
    }.get(who)
    script: Script = serving(FINE)
    if who == "garbage":

        def script(peer: Peer) -> None:
            peer.socket.recv(1)
            peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    if who == "no TLS":

        def script(peer: Peer) -> None:
            assert b"stateMachine" not in peer.socket.recv(65_536)

    with RawServer(script, context=context) as server:
        error = error_of(call(f"https://127.0.0.1:{server.port}/", ["POST"]))
    assert (error.error, server.requests) == ("Unreachable", [])
    assert "nothing was sent" in str(error)


def breaking_tls(begun: bytes) -> Script:
    """Begin an answer, then send a record that cannot be deciphered."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(begun)
        os.write(peer.socket.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        peer.wait_for_end()

    return script


@pytest.mark.usefixtures("_trust")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200", FINE[:-5]])
def test_tls_that_breaks_after_the_request_is_not_sent_again(
    call: Caller, method: str, begun: bytes
) -> None:
    """It may have reached the API, unlike what breaks in the handshake."""
    context = AUTHORITY.server_context("127.0.0.1")
    with RawServer(breaking_tls(begun), serving(FINE), context=context) as server:
        error = error_of(call(server, [method]))
    assert (error.error, len(server.requests)) == ("Broken", 1)


@pytest.mark.usefixtures("_trust")
def test_a_handshake_that_does_not_end_is_no_connection(call: Caller) -> None:
    limits = Timeout(connect=0.2, read=30)

    def script(peer: Peer) -> None:
        peer.wait_for_end()

    with RawServer(script) as server:
        url = f"https://127.0.0.1:{server.port}/"
        send = _send_async if call.is_async else _send
        with pytest.raises(CallFailed) as caught:
            send(url, limits)
    assert (type(caught.value), caught.value.error) == (CallFailed, "Unreachable")
    assert server.connections == 4


def _send(url: str, limits: Timeout) -> Response:
    with Gateway(MACHINE, endpoint_url=url) as gateway:
        return gateway.send(Request("POST", API), limits)


def _send_async(url: str, limits: Timeout) -> Response:
    async def send() -> Response:
        async with AsyncGateway(MACHINE, endpoint_url=url) as gateway:
            return await gateway.send(Request("POST", API), limits)

    return asyncio.run(send())


# --- Cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.usefixtures("_trust")
async def test_cancelling_ends_the_connection_and_leaves_nothing(is_tls: bool) -> None:
    started = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        started.set()
        peer.wait_for_end()

    context = AUTHORITY.server_context("127.0.0.1") if is_tls else None
    before = asyncio.all_tasks()
    with RawServer(script, context=context) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            task = asyncio.create_task(gateway.request("POST", API))
            assert await asyncio.to_thread(started.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.ended.wait, PATIENCE)
            assert not _wire(gateway)._idle
    assert asyncio.all_tasks() == before
    assert len(server.requests) == 1


@pytest.mark.usefixtures("_trust")
async def test_cancelling_in_the_handshake_leaves_nothing() -> None:
    started = threading.Event()

    def script(peer: Peer) -> None:
        peer.socket.recv(1)
        started.set()
        peer.wait_for_end()

    with RawServer(script) as server:
        url = f"https://127.0.0.1:{server.port}/"
        async with AsyncGateway(MACHINE, endpoint_url=url) as gateway:
            task = asyncio.create_task(gateway.request("POST", API))
            assert await asyncio.to_thread(started.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.ended.wait, PATIENCE)


async def test_a_thousand_calls_cancelled_leave_no_connection() -> None:
    with RawServer(silent) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            for _ in range(50):
                tasks = [asyncio.create_task(gateway.request("POST", API)) for _ in range(20)]
                await asyncio.wait(tasks, timeout=0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert not _wire(gateway)._idle


async def test_no_more_connections_are_kept_than_are_of_use() -> None:
    with RawServer(serving(FINE)) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            await asyncio.gather(*[gateway.request("GET", API) for _ in range(150)])
            assert len(_wire(gateway)._idle) <= 64


def _wire(gateway: AsyncGateway) -> Wire:
    return gateway._wire


# --- Threads --------------------------------------------------------------------------------------


def echo(peer: Peer) -> None:
    """Answer with the path that was asked for."""
    while (request := peer.request()) is not None:
        path = request.partition(b"a.example.com/")[2].partition(b'\\"')[0].decode()
        peer.send(answer(success(path)))


def test_threads_that_share_a_gateway_get_their_own_answers() -> None:
    def ask(number: int) -> str:
        return gateway.request("POST", f"https://a.example.com/{number}").text

    with (
        RawServer(echo) as server,
        Gateway(MACHINE, endpoint_url=server.url) as gateway,
        ThreadPoolExecutor(16) as threads,
    ):
        assert list(threads.map(ask, range(320))) == [str(number) for number in range(320)]
    assert len(server.requests) == 320
    assert server.connections <= 16


async def test_tasks_that_share_a_gateway_get_their_own_answers() -> None:
    with RawServer(echo) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            calls = [gateway.request("POST", f"https://a.example.com/{n}") for n in range(200)]
            answers = await asyncio.gather(*calls)
    assert [found.text for found in answers] == [str(number) for number in range(200)]


# --- Processes and event loops --------------------------------------------------------------------


def test_a_forked_process_has_connections_of_its_own() -> None:
    """On one that both have, one would get the answer of the other."""
    program = f"""
import os, sys
from stepout.client import Gateway
gateway = Gateway({MACHINE!r}, endpoint_url=sys.argv[1])
call = lambda path: gateway.request("POST", "https://a.example.com/" + path).text
call("first")
pid = os.fork()
if pid == 0:
    os._exit(0 if call("child") == "child" else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), call("parent"))
"""
    with RawServer(echo) as server:
        done = subprocess.run(
            [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=60
        )
    assert (done.stdout, done.stderr) == ("0 parent\n", "")
    # The parent goes on with that which it had.
    assert server.connections == 2


@pytest.mark.parametrize("loop_factory", [None, new_event_loop()], ids=["asyncio", "uvloop"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_event_loop_has_connections_of_its_own(loop_factory: LoopFactory | None) -> None:
    """As in a function whose every invocation runs a loop, with a gateway that stays."""

    async def call(gateway: AsyncGateway, number: int) -> str:
        answers = [await gateway.request("POST", f"https://a.example.com/{number}") for _ in "ab"]
        return answers[-1].text

    with RawServer(echo) as server:
        gateway = AsyncGateway(MACHINE, endpoint_url=server.url)
        for number in range(3):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                assert runner.run(call(gateway, number)) == str(number)
        asyncio.run(gateway.close())
        gc.collect()
    assert (len(server.requests), server.connections) == (6, 3)
    assert not _wire(gateway)._idles


def test_event_loops_of_several_threads_may_share_a_gateway() -> None:
    async def call(gateway: AsyncGateway, number: int) -> list[str]:
        calls = [gateway.request("POST", f"https://a.example.com/{number}") for _ in range(20)]
        return [found.text for found in await asyncio.gather(*calls)]

    async def close(gateway: AsyncGateway) -> None:
        await gateway.close()

    with RawServer(echo) as server:
        gateway = AsyncGateway(MACHINE, endpoint_url=server.url)

        def work(number: int) -> list[str]:
            with asyncio.Runner() as runner:
                found = runner.run(call(gateway, number))
                for connection in _wire(gateway)._idles.pop(runner.get_loop()):
                    connection.drop()
                runner.run(asyncio.sleep(0))
            return found

        with ThreadPoolExecutor(4) as pool:
            for number, found in enumerate(pool.map(work, range(12))):
                assert found == [str(number)] * 20


# --- Proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["http://me:s3cr3t@127.0.0.1:{}", "me:s3cr3t@127.0.0.1:{}"])
def test_the_blocking_wire_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    with RawServer(serving(FINE)) as server:
        monkeypatch.setenv("http_proxy", spelled.format(server.port))
        assert texts(Caller()("http://sync-states.example.com/")) == ["fine"]
    (request,) = server.requests
    assert request.startswith(b"POST http://sync-states.example.com/ HTTP/1.1\r\n")
    assert b"Basic bWU6czNjcjN0" in request


def test_a_proxy_that_refuses_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = once(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with RawServer(refusing) as server:
        monkeypatch.setenv("https_proxy", f"http://me:s3cr3t@127.0.0.1:{server.port}")
        error = error_of(Caller()("https://sync-states.example.com/", ["POST"]))
    assert error.error == "Unreachable"
    assert "407" in str(error)
    assert "s3cr3t" not in str(error)
    assert server.requests[0].startswith(b"CONNECT sync-states.example.com:443 HTTP/1.")
    assert not any(b"stateMachine" in request for request in server.requests)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_no_proxy_is_asked_for_this_machine(
    call: Caller, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with RawServer(serving(FINE)) as server:
        assert texts(call(server)) == ["fine"]
        assert texts(call(server.url.replace("127.0.0.1", "localhost"))) == ["fine"]


def test_no_proxy_is_asked_where_the_environment_says_so(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", ".invalid")
    error = error_of(call("http://endpoint.invalid/"))
    assert "endpoint.invalid" in str(error)
    assert "proxy" not in str(error).lower()


def test_the_asynchronous_wire_says_that_it_has_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:s3cr3t@proxy.example.com:3128")
    with pytest.raises(SettingsError, match=r"the proxy proxy\.example\.com:3128 for") as caught:
        AsyncGateway(MACHINE, endpoint_url="http://sync-states.example.com/")
    assert "NO_PROXY" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
