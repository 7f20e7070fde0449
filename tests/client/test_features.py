"""The table of docs/client.md: each feature tried through each face, and what came of it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from tests.client.faces import Answer, Ask, Face, opened_faces
from tests.client.world import OPEN, World

import stepout
from stepout.client.httpx import Transport
from stepout.client.requests import Adapter
from stepout.errors import StepoutError
from stepout.origin import Route

PAGE = Path(__file__).parents[2] / "docs" / "client.md"

COLUMNS = {
    "Gateway": "`Gateway`",
    "AsyncGateway": "`AsyncGateway`",
    "httpx Transport": "httpx `Transport`",
    "httpx AsyncTransport": "httpx `AsyncTransport`",
    "requests Adapter": "requests `Adapter`",
    "Lambda handler": "handler",
}
OWN_TEXT = ("Gateway", "AsyncGateway", "Lambda handler")
HANDLER = ("Lambda handler",)


def works(answer: Answer, route: Route) -> str:
    return "works" if answer.status < 300 and route.requests else "no"


def sees(field: str, value: object) -> Callable[[Answer, Route], str]:
    """The API saw this."""

    def check(_answer: Answer, route: Route) -> str:
        (request,) = route.requests
        found = request.header(field) if field[0].isupper() else getattr(request, field)
        return "works" if found == value else f"no: {found!r}"

    return check


def gets(value: object) -> Callable[[Answer, Route], str]:
    """The program got this text."""
    return lambda answer, _route: "works" if answer.text == value else "no"


def gets_json(value: object) -> Callable[[Answer, Route], str]:
    return lambda answer, _route: "works" if answer.json() == value else "no"


def _counts_cookies(answer: Answer, _route: Route) -> str:
    found = [value for name, value in answer.headers if name.lower() == "set-cookie"]
    return "works" if found == ["a=1", "b=2"] else "no"


def _leaves_out(answer: Answer, route: Route) -> str:
    (request,) = route.requests
    is_gone = (
        request.header("user-agent") != "mine" and "user-agent" in answer.extensions["dropped"]
    )
    return "left out" if is_gone else "no"


def _has_reached_the_end(answer: Answer, _route: Route) -> str:
    return "works" if answer.status == 200 else "no"


def _has_whole_206(answer: Answer, _route: Route) -> str:
    is_told = answer.extensions.get("status") == 206
    return "works" if (answer.status, answer.text) == (200, "whole") and is_told else "no"


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of the table."""

    name: str
    ask: Ask
    check: Callable[[Answer, Route], str] = works
    answer: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    without: tuple[str, ...] = ()
    """Faces that have no such thing."""


def at(path: str, **given: Any) -> Ask:
    return Ask(f"{OPEN}/{path}", **given)


PLAIN = (("Content-Type", "text/plain; charset=utf-8"),)
FORM = {"a": ["1", "2"], "b": "x y"}

FEATURES = (
    Feature("GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD", at("x", method="PATCH")),
    Feature("other methods", at("x", method="TRACE"), why="an HTTP Task has seven methods"),
    Feature("body: JSON", at("x", method="POST", json={"a": "€"}), sees("json", {"a": "€"})),
    Feature(
        "body: form, keys repeated",
        at("x", method="POST", form=FORM),
        sees("body", b"a=1&a=2&b=x+y"),
        without=HANDLER,
    ),
    Feature(
        "body: text in UTF-8",
        at("x", method="POST", text="grüße", headers=PLAIN),
        sees("body", "grüße".encode()),
    ),
    Feature(
        "body: streamed",
        at("x", method="POST", pieces=[b"a", b"b"], headers=PLAIN),
        sees("body", b"ab"),
        why="read whole before it is sent",
        without=OWN_TEXT,
    ),
    Feature(
        "body: binary, or in another charset",
        at("x", method="POST", body=b"\xff\xfe"),
        why="an HTTP Task carries texts in UTF-8",
        without=HANDLER,
    ),
    Feature(
        "body: over 256 KiB",
        at("x", method="POST", text="x" * 262_144, headers=PLAIN),
        why="the most that an execution's input may have",
    ),
    Feature("query: names repeated", at("x?a=1&a=2&b"), sees("target", "/x?a=1&a=2&b")),
    Feature(
        "`User-Agent`, `Accept-Encoding`, `Host` and the like",
        at("x", headers=[("User-Agent", "mine")]),
        _leaves_out,
        why="of one connection, or set by the service",
    ),
    Feature(
        "`Authorization`, and the connection has the credential",
        Ask("https://bearer.example.com/x", headers=[("Authorization", "Bearer placeholder")]),
        sees("Authorization", "Bearer real-token"),
        why="the connection's takes its place",
    ),
    Feature(
        "`Authorization`, and the connection has none",
        at("x", headers=[("Authorization", "Bearer secret")]),
        why="an HTTP Task takes none from the request",
    ),
    Feature(
        "`If-None-Match`, `Range`, `Cache-Control`, `Origin`, …",
        at("x", headers=[("If-None-Match", '"1"')]),
        why="an HTTP Task takes none of them, and without them the request means something else",
    ),
    Feature("`Cookie`", at("x", headers=[("Cookie", "a=1; b=2")]), sees("Cookie", "a=1; b=2")),
    Feature(
        "answer: two `Set-Cookie`",
        at("x"),
        _counts_cookies,
        {"headers": [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]},
    ),
    Feature("answer: JSON", at("x"), gets_json({"a": 1.5}), {"json": {"a": 1.5}}),
    Feature("answer: text", at("x"), gets("grüße"), {"text": "grüße"}),
    Feature(
        "answer: text in its own charset",
        at("x"),
        gets("café"),
        {"body": b"caf\xe9", "headers": {"Content-Type": "text/plain; charset=iso-8859-1"}},
    ),
    Feature(
        "answer: 206 that holds the whole",
        at("x"),
        _has_whole_206,
        {"status": 206, "text": "whole", "headers": [("Content-Range", "bytes 0-4/5")]},
        "an HTTP Task always asks for a range; the program sees 200",
    ),
    Feature(
        "answer: 206 with a part",
        at("x"),
        answer={"status": 206, "text": "part", "headers": [("Content-Range", "bytes 0-3/9")]},
        why="the API cut it at 262,145 bytes",
    ),
    Feature(
        "answer: over 256 KiB",
        at("x"),
        answer={"text": "x" * 262_144},
        why="the most that an execution's output may have",
    ),
    Feature(
        "answer: binary",
        at("x"),
        answer={"body": b"\x89PNG", "headers": {"Content-Type": "image/png"}},
        why="an HTTP Task carries texts",
    ),
    Feature(
        "answer: compressed though nobody asked",
        at("x"),
        answer={"body": gzip.compress(b"x"), "headers": {"Content-Encoding": "gzip"}},
        why="an HTTP Task does not decompress",
    ),
    Feature(
        "answer: 4xx and 5xx with status and reason",
        at("x"),
        lambda answer, _: (
            "works" if (answer.status, answer.reason) == (402, "Payment Required") else "no"
        ),
        {"status": 402, "json": {"why": "x"}},
    ),
    Feature(
        "… with headers and body",
        at("x"),
        lambda answer, _: "works" if answer.content or answer.headers else "no",
        {"status": 402, "json": {"why": "x"}},
        "AWS drops them; a stepout server with `--error-bodies` does not",
    ),
    Feature(
        "… `.json()`",
        at("x"),
        gets_json({}),
        {"status": 402, "json": {"why": "x"}},
        "so that nobody takes an empty body for an answer",
        HANDLER,
    ),
    Feature(
        "redirect followed",
        at("x", follows=True),
        _has_reached_the_end,
        {"status": 302, "headers": {"Location": f"{OPEN}/end"}},
        "AWS drops `Location`; the program gets the 3xx",
        OWN_TEXT,
    ),
    Feature(
        "time-out of the call",
        at("x", timeout=0.2),
        answer={"delay": 0.6},
        why="the execution goes on, for 60 s at most",
    ),
    Feature(
        "host that no upstream has",
        Ask("https://nowhere.example.com/x"),
        why="refused before the call",
    ),
    Feature("`http://`", Ask("http://open.example.com/x"), why="an HTTP Task calls https"),
)


def outcome(feature: Feature, name: str, face: Face, world: World) -> str:
    """A cell of the table: how it went, or the exception that the program sees."""
    if name in feature.without:
        return "–"
    world.origin._routes.clear()
    url = feature.ask.url.replace("http:", "https:")
    route = world.origin.route(feature.ask.method, url).respond(**feature.answer)
    world.origin.get(f"{OPEN}/end").respond(200, text="end")
    try:
        return feature.check(face(feature.ask), route)
    except (StepoutError, httpx.HTTPError, requests.RequestException) as error:
        is_ours = isinstance(error.__cause__ or error, StepoutError)
        return f"`{type(error).__name__.lstrip('_')}`" if is_ours else f"no: {error!r}"


def test_the_table_of_the_page_is_what_happens(world: World, tmp_path: Path) -> None:
    head = ["feature", *COLUMNS.values(), "why"]
    rows = [head, ["---"] * len(head)]
    with opened_faces(world, tmp_path) as faces:
        for feature in FEATURES:
            cells = [outcome(feature, name, faces[name], world) for name in COLUMNS]
            rows.append([feature.name, *cells, feature.why])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("  |", " |")
    assert table in PAGE.read_text(), f"docs/client.md should have this table:\n\n{table}"


def test_the_page_names_what_the_window_shows_of_the_client() -> None:
    page = PAGE.read_text() + (PAGE.parent / "library.md").read_text()
    for name in stepout.__all__:
        if name not in ("__version__", "DefinitionError", "Problem"):
            assert re.search(rf"`(stepout\.)?{name}\b", page), name


def test_the_page_names_each_header_that_is_left_out_or_refused() -> None:
    from stepout.gateway import carried

    page = PAGE.read_text().lower()
    for name in (*carried._TRANSPORT, *carried._REFUSED, carried.TRACE):
        assert f"`{name}`" in page, name


@pytest.mark.parametrize("table", ["httpx", "requests"])
def test_the_page_has_the_errors_of_each_library(table: str) -> None:
    import stepout.client.httpx as of_httpx
    import stepout.client.requests as of_requests

    rows: Any = {"httpx": of_httpx._ERRORS, "requests": of_requests._ERRORS}[table]
    page = PAGE.read_text()
    for ours, _, theirs in rows[:-1]:
        lines = [line for line in page.splitlines() if line.startswith(f"| `{ours.__name__}`")]
        assert any(f"`{theirs.__name__}`" in line for line in lines), (ours, theirs)


def test_the_page_names_each_key_of_extensions(world: World) -> None:
    world.origin._routes.clear()
    whole = [("Content-Range", "bytes 0-4/5")]
    world.origin.get(f"{OPEN}/x").respond(206, text="whole", headers=whole)
    with world.gateway() as gateway:
        for key in gateway.request("GET", f"{OPEN}/x").extensions:
            assert f"| `{key}`" in PAGE.read_text()


def test_cookies_are_kept_between_calls_where_the_library_keeps_them(world: World) -> None:
    world.origin._routes.clear()
    route = world.origin.get(f"{OPEN}/x").respond(
        200, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")]
    )
    with world.gateway() as gateway:
        with httpx.Client(transport=Transport(gateway)) as client:
            client.get(f"{OPEN}/x")
            client.get(f"{OPEN}/x")
        with requests.Session() as session:
            session.mount("https://", Adapter(gateway))
            session.get(f"{OPEN}/x")
            session.get(f"{OPEN}/x")
            assert session.cookies.get_dict() == {"a": "1", "b": "2"}
    sent = [request.header("cookie") for request in route.requests]
    assert sent == [None, "a=1; b=2", None, "a=1; b=2"]
