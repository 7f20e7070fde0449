"""The gateway client against a real server and a real origin."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.world import OPEN, World

from stepout.errors import BodyNotCarried, NotCarried, UnknownUpstream


def test_a_request_goes_out_and_its_answer_comes_back(world: World) -> None:
    route = world.origin.post(f"{OPEN}/orders").respond(201, text="made", headers={"X-Id": "7"})
    with world.gateway() as gateway:
        response = gateway.request("POST", f"{OPEN}/orders", params={"q": "a b"}, json={"n": 1.50})
    assert (response.status_code, response.reason, response.text) == (201, "Created", "made")
    assert response.headers["x-id"] == "7"
    assert response.extensions["upstream"] == "open"
    (request,) = route.requests
    assert (request.target, request.body) == ("/orders?q=a%20b", b'{"n":1.5}')
    assert request.header("content-type") == "application/json"


def test_a_callers_credential_gives_way_to_that_of_the_connection(world: World) -> None:
    route = world.origin.get("https://bearer.example.com/me").respond(200, json={})
    headers = {"Authorization": "Bearer placeholder", "User-Agent": "x", "X-Mine": "1"}
    with world.gateway() as gateway:
        response = gateway.request("GET", "https://bearer.example.com/me", headers=headers)
        with pytest.raises(NotCarried, match="Put this credential in the connection"):
            gateway.request("GET", f"{OPEN}/me", headers=headers)
    (request,) = route.requests
    assert request.header("authorization") == "Bearer real-token"
    assert request.header("x-mine") == "1"
    assert response.extensions["dropped"] == ("authorization", "user-agent")


def test_a_status_that_is_not_2xx_is_a_response_without_its_body(world: World) -> None:
    world.origin.get(f"{OPEN}/gone").respond(410, json={"why": "old"})
    with world.gateway() as gateway:
        response = gateway.request("GET", f"{OPEN}/gone")
    assert (response.status_code, response.reason, response.text) == (410, "Gone", "")
    with pytest.raises(BodyNotCarried, match="drops the bodies"):
        response.json()


def test_an_unknown_host_is_refused_before_the_call(world: World) -> None:
    gateway = world.gateway(endpoint_url="http://127.0.0.1:9/")
    with pytest.raises(UnknownUpstream) as caught:
        gateway.request("GET", "https://nowhere.example.com/x")
    assert caught.value.known["open"] == "https://open.example.com/"


async def test_five_hundred_calls_at_once(world: World) -> None:
    world.origin.get(f"{OPEN}/many").respond(200, text="one of many")
    async with world.async_gateway() as gateway:
        calls = [gateway.request("GET", f"{OPEN}/many") for _ in range(500)]
        responses = await asyncio.gather(*calls)
    assert {response.text for response in responses} == {"one of many"}
