"""httpx below which a gateway is: what is httpx's own stays so."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from typing import Any

import httpx
import pytest
from tests.client.faces import straight_httpx
from tests.client.world import OPEN, World, opened

import stepout
from stepout.client.exchange import Timeout
from stepout.client.gateway import Call
from stepout.client.httpx import _ERRORS, AsyncTransport, Transport
from stepout.errors import BodyNotCarried, GatewayError, NotCarried, UnknownUpstream
from stepout.gateway import messages
from stepout.origin import Answer, Received


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.origin._routes.clear()


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    with world.gateway() as gateway, httpx.Client(transport=Transport(gateway)) as found:
        yield found


def test_one_host_goes_through_the_gateway_and_the_others_as_before(world: World) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="by the gateway")
    elsewhere = httpx.MockTransport(lambda _request: httpx.Response(200, text="elsewhere"))
    with world.gateway() as gateway:
        mounts = {OPEN: Transport(gateway)}
        with httpx.Client(mounts=mounts, transport=elsewhere) as client:
            assert client.get(f"{OPEN}/x").text == "by the gateway"
            assert client.get("https://other.example.com/x").text == "elsewhere"


def test_a_transport_without_a_gateway_takes_that_of_the_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
    with httpx.Client(transport=Transport()) as client:
        assert client.get(f"{OPEN}/x").text == "x"

    async def call() -> str:
        async with httpx.AsyncClient(transport=AsyncTransport()) as client:
            return (await client.get(f"{OPEN}/x")).text

    assert asyncio.run(call()) == "x"


def test_the_response_knows_what_the_gateway_knows(world: World, client: httpx.Client) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    response = client.get(f"{OPEN}/x")
    told = response.extensions["stepout"]
    assert (told["upstream"], told["body"]) == ("open", "exact")
    assert set(told["dropped"]) == {"accept-encoding", "connection", "host", "user-agent"}
    assert (response.http_version, str(response.url)) == ("HTTP/1.1", f"{OPEN}/x")
    assert response.elapsed.total_seconds() > 0


def test_an_error_has_our_message_the_request_and_our_error(client: httpx.Client) -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="No upstream has the URL") as caught:
        client.get("https://nowhere.example.com/x")
    assert isinstance(caught.value.__cause__, UnknownUpstream)
    assert str(caught.value) == str(caught.value.__cause__)
    assert str(caught.value.request.url) == "https://nowhere.example.com/x"


def test_an_endpoint_that_is_not_there_is_a_connect_error(world: World) -> None:
    with world.gateway(endpoint_url="http://127.0.0.1:9/") as gateway:
        gateway._policy = stepout.client.exchange.Policy(throttled=1)
        with (
            httpx.Client(transport=Transport(gateway)) as client,
            pytest.raises(httpx.ConnectError, match="cannot be reached"),
        ):
            client.get(f"{OPEN}/x")


def test_a_wrong_machine_is_a_proxy_error(world: World) -> None:
    arn = world.machine.replace("stepout-gateway", "other")
    with (
        stepout.Gateway(arn, **world.options()) as gateway,
        httpx.Client(transport=Transport(gateway)) as client,
        pytest.raises(httpx.ProxyError, match="There is no such machine"),
    ):
        client.get(f"{OPEN}/x")


def test_every_error_of_a_call_has_one_of_httpx() -> None:
    mapped = {ours for ours, _, _ in _ERRORS}
    unmapped = {"BodyNotCarried", "AnswerFailed"}
    for error in GatewayError.__subclasses__():
        assert error in mapped or error.__name__ in unmapped


def test_the_json_of_a_dropped_body_is_no_json_for_httpx_either(
    world: World, client: httpx.Client
) -> None:
    world.origin.get(f"{OPEN}/x").respond(404, json={"why": "gone"})
    response = client.get(f"{OPEN}/x")
    assert (response.text, response.reason_phrase) == ("", "Not Found")
    with pytest.raises(BodyNotCarried, match="drops the bodies") as caught:
        response.json()
    assert isinstance(caught.value, json.JSONDecodeError)
    with pytest.raises(httpx.HTTPStatusError, match="404 Not Found"):
        response.raise_for_status()


def test_a_server_that_keeps_error_bodies_hands_them_on_and_redirects_are_followed() -> None:
    with opened(error_bodies=True) as world, world.gateway() as gateway:
        world.origin.get(f"{OPEN}/x").respond(404, json={"why": "gone"})
        packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        world.origin.get(f"{OPEN}/packed").respond(500, body=gzip.compress(b"{}"), headers=packed)
        world.origin.get(f"{OPEN}/old").respond(302, headers={"Location": "/new"})
        world.origin.get(f"{OPEN}/new").respond(200, text="new")
        with httpx.Client(transport=Transport(gateway), follow_redirects=True) as client:
            assert client.get(f"{OPEN}/x").json() == {"why": "gone"}
            lost = client.get(f"{OPEN}/packed")
            assert (lost.content, lost.extensions["stepout"]["body"]) == (b"", "not carried")
            with pytest.raises(BodyNotCarried):
                lost.json()
            response = client.get(f"{OPEN}/old")
    assert (response.text, [each.status_code for each in response.history]) == ("new", [302])


def test_a_streamed_body_is_read_no_further_than_the_limit(world: World) -> None:
    pieces = repeat(b"x" * 65_536)
    with (
        world.gateway() as gateway,
        httpx.Client(transport=Transport(gateway)) as client,
        pytest.raises(httpx.UnsupportedProtocol, match="more than 262,144 bytes"),
    ):
        client.post(f"{OPEN}/x", content=pieces)


async def test_an_asynchronous_body_is_read_no_further_than_the_limit(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async with (
        world.async_gateway() as gateway,
        httpx.AsyncClient(transport=AsyncTransport(gateway)) as client,
    ):
        with pytest.raises(httpx.UnsupportedProtocol, match="more than 262,144 bytes") as caught:
            await client.post(f"{OPEN}/x", content=pieces())
    assert isinstance(caught.value.__cause__, NotCarried)


def test_a_response_can_be_streamed(world: World, client: httpx.Client) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="one\ntwo\n")
    with client.stream("GET", f"{OPEN}/x") as response:
        assert [*response.iter_lines()] == ["one", "two"]
    with client.stream("GET", f"{OPEN}/x") as response:
        assert [*response.iter_bytes(3)] == [b"one", b"\ntw", b"o\n"]


def test_headers_with_several_values_are_sent_as_one(world: World, client: httpx.Client) -> None:
    route = world.origin.get(f"{OPEN}/x").respond(200)
    client.get(f"{OPEN}/x", headers=[("X-A", "1"), ("X-A", "2")])
    assert route.requests[0].header("x-a") == "1, 2"


def test_an_upload_of_text_files_goes_out_as_httpx_writes_it(
    world: World, client: httpx.Client
) -> None:
    route = world.origin.post(f"{OPEN}/x").respond(200)
    client.post(f"{OPEN}/x", files={"a": ("a.txt", "grüße".encode(), "text/plain")})
    with straight_httpx(world.origin) as straight:
        straight.post(f"{OPEN}/x", files={"a": ("a.txt", "grüße".encode(), "text/plain")})
    parts = [request.body.split(b"\r\n")[1:-2] for request in route.requests]
    assert parts[0] == parts[1]


LIMITS: list[tuple[Any, Timeout]] = [
    (None, Timeout(5.0, 305.0)),
    (2.0, Timeout(2.0, 2.0)),
    (httpx.Timeout(1.0, connect=3.0), Timeout(3.0, 1.0)),
    (httpx.Timeout(None, read=7.0), Timeout(5.0, 7.0)),
]


@pytest.mark.parametrize(("given", "expected"), LIMITS)
def test_the_limits_of_httpx_hold(
    given: Any, expected: Timeout, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def send(_request: messages.Request, timeout: Timeout) -> messages.Response:
        found.append(timeout)
        return messages.Response(
            200, "OK", messages.Headers(), b"", OPEN, extensions={"body": "exact"}
        )

    with world.gateway() as gateway:
        monkeypatch.setattr(gateway, "send", send)
        with httpx.Client(transport=Transport(gateway)) as client:
            client.get(f"{OPEN}/x", timeout=given)
    assert found == [expected]


@pytest.mark.parametrize("given", [0, -1.5, float("nan"), httpx.Timeout(1.0, connect=0)])
async def test_a_time_out_that_is_none_is_refused(world: World, given: Any) -> None:
    match = "Expected a timeout of seconds above 0, found"
    with (
        world.gateway() as gateway,
        httpx.Client(transport=Transport(gateway)) as client,
        pytest.raises(ValueError, match=match),
    ):
        client.get(f"{OPEN}/x", timeout=given)
    async with (
        world.async_gateway() as calls,
        httpx.AsyncClient(transport=AsyncTransport(calls)) as asynchronous,
    ):
        with pytest.raises(ValueError, match=match):
            await asynchronous.get(f"{OPEN}/x", timeout=given)


async def test_cancelling_a_call_ends_it_and_the_next_one_works(world: World) -> None:
    arrived = threading.Event()

    def late(_request: Received) -> Answer:
        arrived.set()
        return Answer(200, body=b"late", delay=0.5)

    world.origin.get(f"{OPEN}/late").handle(late)
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    calls: list[Call] = []
    async with (
        world.async_gateway(hooks=[calls.append]) as gateway,
        httpx.AsyncClient(transport=AsyncTransport(gateway)) as client,
    ):
        task = asyncio.create_task(client.get(f"{OPEN}/late"))
        await asyncio.to_thread(arrived.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(f"{OPEN}/x")).text == "x"
    assert [call.error for call in calls] == ["CancelledError", None]


async def test_five_hundred_calls_at_once(world: World) -> None:
    def echo(request: Received) -> Answer:
        return Answer(200, headers=(("Content-Type", "text/plain"),), body=request.body)

    world.origin.post(f"{OPEN}/echo").handle(echo)
    async with (
        world.async_gateway() as gateway,
        httpx.AsyncClient(transport=AsyncTransport(gateway), timeout=60) as client,
    ):
        headers = {"Content-Type": "text/plain"}
        calls = [client.post(f"{OPEN}/echo", content=str(n), headers=headers) for n in range(500)]
        responses = await asyncio.gather(*calls)
    assert [response.text for response in responses] == [str(n) for n in range(500)]
