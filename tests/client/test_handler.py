"""The Lambda handler: events in, answers out, wrong events told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.world import OPEN, World

from stepout.client.gateway import default_gateway
from stepout.client.handler import handler
from stepout.errors import SettingsError, UnknownUpstream


@pytest.fixture(autouse=True)
def _settings(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    world.origin._routes.clear()
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
    default_gateway.cache_clear()
    yield
    default_gateway.cache_clear()


def call(event: Any) -> Any:
    """As Lambda does: JSON in, JSON out."""
    return json.loads(json.dumps(handler(json.loads(json.dumps(event)), None), allow_nan=False))


def test_an_event_becomes_a_call_and_its_answer_json(world: World) -> None:
    headers = [("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    route = world.origin.post(f"{OPEN}/items").respond(201, body=b'{"id": 7}', headers=headers)
    answer = call(
        {
            "method": "post",
            "url": f"{OPEN}/items",
            "headers": {"X-One": "1", "X-Two": ["a", "b"]},
            "params": {"q": ["x", "y"], "n": 1.5},
            "json": {"name": "grün"},
            "timeout": 70,
        }
    )
    told = answer.pop("stepout")
    assert answer == {
        "status": 201,
        "reason": "Created",
        "headers": {"Content-Type": ["application/json"], "Set-Cookie": ["a=1", "b=2"]},
        "json": {"id": 7},
    }
    assert (told["body"], told["dropped"], told["times"]["attempts"]) == ("rewritten", [], 1)
    (request,) = route.requests
    assert (request.target, request.json) == ("/items?q=x&q=y&n=1.5", {"name": "grün"})
    assert (request.header("x-one"), request.header("x-two")) == ("1", "a, b")


def test_a_text_is_sent_and_comes_back_as_body(world: World) -> None:
    route = world.origin.put(f"{OPEN}/x").respond(200, text="grüße")
    answer = call({"method": "PUT", "url": f"{OPEN}/x", "body": "hello", "json": None})
    assert (answer["body"], "json" in answer) == ("grüße", False)
    assert route.requests[0].body == b"hello"


def test_json_is_sent_that_python_holds_for_nothing(world: World) -> None:
    route = world.origin.post(f"{OPEN}/x").respond(200, json=[])
    values: list[Any] = [0, False, "", [], {}]
    for value in values:
        assert call({"method": "POST", "url": f"{OPEN}/x", "json": value})["json"] == []
    assert [request.json for request in route.requests] == values


def test_a_status_that_is_not_2xx_is_an_answer(world: World) -> None:
    world.origin.get(f"{OPEN}/x").respond(404, json={"why": "gone"})
    answer = call({"url": f"{OPEN}/x"})
    assert (answer["status"], answer["reason"], answer["body"]) == (404, "Not Found", "")
    assert answer["stepout"]["body"] == "not carried"


def test_the_gateway_is_made_once(world: World) -> None:
    world.origin.get(f"{OPEN}/x").respond(200)
    for _ in range(2):
        call({"url": f"{OPEN}/x"})
    assert (default_gateway.cache_info().misses, default_gateway.cache_info().hits) == (1, 1)


def test_errors_of_the_gateway_are_raised_by_their_own_name(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "upstreams.toml").write_text('[upstream.a]\nurl = "https://a.example.com/"\n')
    monkeypatch.setenv("STEPOUT_UPSTREAMS", str(tmp_path / "upstreams.toml"))
    with pytest.raises(UnknownUpstream):
        call({"url": f"{OPEN}/x"})
    default_gateway.cache_clear()
    monkeypatch.delenv("STEPOUT_STATE_MACHINE_ARN")
    with pytest.raises(SettingsError, match="Set STEPOUT_STATE_MACHINE_ARN"):
        call({"url": f"{OPEN}/x"})


WRONG: list[tuple[Any, str]] = [
    ([1], "Expected an event that is an object with a url, found the array [1]."),
    (None, "Expected an event that is an object with a url, found null."),
    ({}, "Expected 'url', such as https://api.example.com/v1/items, found none."),
    ({"url": None}, "Expected 'url', such as https://api.example.com/v1/items, found none."),
    ({"url": 7}, "Expected 'url' to be a text, found the number 7."),
    (
        {"url": OPEN, "json": 1, "body": "x"},
        "Expected one of 'json' and 'body', found both.",
    ),
    ({"url": OPEN, "body": {}}, "Expected 'body' to be a text, found the object {}."),
    (
        {"url": OPEN, "uri": "x"},
        "Expected method, url, headers, params, json, body, timeout, found 'uri'.",
    ),
    (
        {"url": OPEN, "headers": {"A": 1}},
        "Expected 'headers' to be an object of texts or arrays of texts, found the object {\"A\": 1}.",
    ),
    (
        {"url": OPEN, "params": "a=1"},
        "Expected 'params' to be an object of texts and numbers, or arrays of these, found the text "
        '"a=1".',
    ),
    (
        {"url": OPEN, "params": {"a": True}},
        "Expected 'params' to be an object of texts and numbers, or arrays of these, found the "
        'object {"a": true}.',
    ),
    (
        {"url": OPEN, "timeout": 0},
        "Expected 'timeout' to be a number of seconds above 0, found the number 0.",
    ),
    (
        {"url": OPEN, "timeout": True},
        "Expected 'timeout' to be a number of seconds above 0, found the boolean true.",
    ),
    (
        {"url": 1, "method": 2},
        "Expected 'url' to be a text, found the number 1. Expected 'method' to be a text, found the "
        "number 2.",
    ),
]


@pytest.mark.parametrize(("event", "message"), WRONG)
def test_a_wrong_event_is_told_apart(event: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^Expected") as caught:
        call(event)
    assert str(caught.value) == message
