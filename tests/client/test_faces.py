"""The same call through each face and straight to the API: what differs is named here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import requests
from tests.client.faces import FACES, TWINS, Answer, Ask, Face, opened_faces
from tests.client.world import OPEN, World

from stepout.errors import NotCarried
from stepout.gateway.messages import Headers
from stepout.origin import Received

ANSWER_FRAMING = {"connection", "content-length", "transfer-encoding"}
"""Headers of an answer that are of the connection between the API and the HTTP Task."""

REQUEST_OWN = {
    *("accept-encoding", "connection", "content-length", "host", "range", "transfer-encoding"),
    *("user-agent", "x-no-auth"),
}
"""Headers of a request that the HTTP Task or its connection sets, or that are of one connection."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call, what the origin answers, and what may differ."""

    name: str
    ask: Ask
    answer: Mapping[str, Any] = field(default_factory=dict)
    but: frozenset[str] = frozenset()
    """Fields of `Seen` that differ; docs/client.md says each."""


def at(path: str, **given: Any) -> Ask:
    return Ask(f"{OPEN}/{path}", **given)


LOST = frozenset({"headers", "content", "text"})
"""AWS hands on neither headers nor body of what is not 2xx."""

LATIN = "text/plain; charset=iso-8859-1"

METHODS = [
    *(Case(method, at("m", method=method)) for method in ("GET", "DELETE", "OPTIONS", "HEAD")),
    *(Case(f"{m} with a body", at("m", method=m, json={"a": 1})) for m in ("POST", "PUT", "PATCH")),
    Case("DELETE with a body", at("m", method="DELETE", json=[])),
    Case("HEAD with what GET would say", at("h", method="HEAD"), {"text": "hello"}),
]
BODIES = [
    Case("JSON", at("b", method="POST", json={"ä": ["€", 1.5, None, True, {"": "😀"}]})),
    Case("JSON that is a text", at("b", method="POST", json="text")),
    Case("JSON that is false", at("b", method="POST", json=False)),
    Case("a form with repeated keys", at("b", method="POST", form={"a": ["1", "2"], "b": "x y&z"})),
    Case("a form of blanks", at("b", method="POST", form={"a": "", "b": "+%"})),
    Case(
        "a text",
        at("b", method="POST", text="line\r\nline\t€", headers=[("Content-Type", "text/plain")]),
    ),
    Case(
        "a text that looks like JSON",
        at("b", method="POST", text='{"a" : 1}', headers=[("Content-Type", "text/plain")]),
    ),
    Case(
        "JSON written by hand",
        at(
            "b",
            method="PUT",
            text='{"a" : 1.0,\n"a": 2}',
            headers=[("Content-Type", "application/json")],
        ),
    ),
    Case("XML", at("b", method="POST", text="<a>ä</a>", headers=[("Content-Type", "text/xml")])),
    Case("bytes without a type", at("b", method="POST", body=b"abc"), but=frozenset({"type"})),
    Case("nothing", at("b", method="POST")),
    Case(
        "pieces",
        at(
            "b",
            method="POST",
            pieces=[b"one ", b"", b"\xc3", b"\xa9"],
            headers=[("Content-Type", "text/plain")],
        ),
    ),
]
QUERIES = [
    *(
        Case(f"?{query}", at(f"q?{query}"))
        for query in (
            *(
                "a=1&a=2",
                "a=",
                "a",
                "a&b=1",
                "a=b+c",
                "a=b%20c",
                "a=b%2Bc",
                "a=%26%3D%23",
                "a=1;b=2",
            ),
            *(
                "a=%C3%A4&b=%E2%82%AC",
                "a=%FF",
                "a=100%25",
                "=1",
                "&&a=1",
                "a[]=1&a[]=2",
                "a=x=y",
                "a=?/:@",
            ),
        )
    ),
    Case("params", at("q", params={"a": ["1", "2"], "b": "x y+z&", "c": "é"})),
    Case("a path with blanks and signs", at("p/a%20b/c+d/%2F/é;v=1/~x")),
    Case("a fragment", at("f?a=1#part")),
]
HEADERS = [
    Case(
        "headers",
        at("h", headers=[("X-One", "1"), ("x-two", 'a, b; c="d"'), ("Accept", "text/csv")]),
    ),
    Case("a cookie", at("h", headers=[("Cookie", "a=1; b=2")])),
    Case("an empty header", at("h", headers=[("X-Empty", "")])),
    Case(
        "an answer with a header twice",
        at("h"),
        {
            "headers": [
                ("X-A", "1"),
                ("X-A", "2"),
                ("Set-Cookie", "a=1; Path=/"),
                ("Set-Cookie", "b=2"),
                ("Link", "<x>; rel=next"),
            ]
        },
    ),
]
ANSWERS = [
    Case("text", at("a"), {"text": "grüße €\n"}),
    Case("JSON", at("a"), {"json": {"b": [1, 2.5, None], "a": "ä"}}),
    Case(
        "JSON without end",
        at("a"),
        {"body": b"1" * 40, "headers": {"Content-Type": "application/json"}},
    ),
    Case(
        "problem+json",
        at("a"),
        {"body": b'{"a":1}', "headers": {"Content-Type": "application/problem+json"}},
    ),
    Case(
        "HTML",
        at("a"),
        {"body": "<p>ä</p>".encode(), "headers": {"Content-Type": "text/html; charset=utf-8"}},
    ),
    Case(
        "HTML without a charset",
        at("a"),
        {"body": "<p>ä</p>".encode(), "headers": {"Content-Type": "text/html"}},
    ),
    Case("no type", at("a"), {"body": b"abc"}),
    Case("Latin-1", at("a"), {"body": b"caf\xe9", "headers": {"Content-Type": LATIN}}),
    Case(
        "UTF-16",
        at("a"),
        {"body": "né".encode("utf-16"), "headers": {"Content-Type": "text/plain; charset=utf-16"}},
    ),
    Case(
        "a BOM",
        at("a"),
        {"body": b"\xef\xbb\xbfabc", "headers": {"Content-Type": "text/plain; charset=utf-8"}},
    ),
    Case(
        "JSON in Latin-1",
        at("a"),
        {
            "body": b'{"a":"\xe9\\u20ac"}',
            "headers": {"Content-Type": "application/json; charset=iso-8859-1"},
        },
    ),
    Case("chunks", at("a"), {"text": "abcdef", "framing": "chunked"}),
    Case("until the end", at("a"), {"text": "abcdef", "framing": "close"}),
    Case("204", at("a"), {"status": 204}),
    Case("201 with nothing", at("a", method="POST"), {"status": 201}),
    Case("202 with a reason", at("a"), {"status": 202, "text": "x"}),
    Case("controls", at("a"), {"text": "\x00\x01\x1f\x7f\u2028"}),
    Case("a long text", at("a"), {"text": "0123456789" * 20_000}),
]
ERRORS = [
    *(
        Case(str(status), at("e"), {"status": status, "json": {"why": "x"}}, but=LOST)
        for status in (400, 401, 403, 404, 409, 422, 429, 500, 502, 503)
    ),
    Case("a status nobody knows", at("e"), {"status": 418, "text": "tea"}, but=LOST | {"reason"}),
    *(
        Case(str(status), at("e"), {"status": status, "headers": {"Location": "/else"}}, but=LOST)
        for status in (301, 302, 303, 307, 308)
    ),
    Case("304", at("e"), {"status": 304}, but=LOST),
    Case("413, which has two names", at("e"), {"status": 413}, but=LOST | {"reason"}),
]
CASES = [*METHODS, *BODIES, *QUERIES, *HEADERS, *ANSWERS, *ERRORS]


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.origin._routes.clear()


@pytest.fixture(scope="module")
def faces(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Face]]:
    with opened_faces(world, tmp_path_factory.mktemp("faces")) as found:
        yield found


def seen(answer: Answer, received: Received) -> dict[str, Any]:
    """What the program and the API saw, by field."""
    query = urlsplit(received.target).query
    headers = _named(received.headers, REQUEST_OWN)
    if headers.get("accept") == ["*/*"]:
        # httpx and requests say so by themselves; it is what no header says (RFC 9110, 12.5.1).
        del headers["accept"]
    return {
        "status": answer.status,
        "reason": answer.reason,
        "headers": _named(answer.headers, ANSWER_FRAMING),
        "content": _content(answer),
        "text": _text(answer),
        "method": received.method,
        "path": urlsplit(received.target).path,
        "query": parse_qsl(query, keep_blank_values=True),
        "type": headers.pop("content-type", None),
        "sent headers": headers,
        "body": received.body,
    }


def _named(pairs: Any, without: set[str]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for name, value in pairs:
        if name.lower() not in without:
            named.setdefault(name.lower(), []).append(value)
    return named


def _is_json(answer: Answer) -> bool:
    return "json" in _named(answer.headers, set()).get("content-type", [""])[0]


def _content(answer: Answer) -> Any:
    """Bytes; of JSON, which was parsed on the way, the value."""
    return json.loads(answer.text) if _is_json(answer) and answer.content else answer.content


def _text(answer: Answer) -> Any:
    return None if _is_json(answer) else answer.text


@pytest.mark.parametrize("face", TWINS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_is_the_same_as_straight(
    case: Case, face: str, faces: Mapping[str, Face], world: World
) -> None:
    url = str(httpx.URL(case.ask.url))
    route = world.origin.route(case.ask.method, url).respond(**case.answer)
    both = [faces[name](case.ask) for name in (TWINS[face], face)]
    assert len(route.requests) == 2
    straight, through = (seen(*pair) for pair in zip(both, route.requests, strict=True))
    differing = {name for name in straight if straight[name] != through[name]}
    assert differing <= case.but, {name: (straight[name], through[name]) for name in differing}


def test_json_in_another_charset_is_read_by_the_gateway(world: World) -> None:
    kind = {"Content-Type": "application/json; charset=iso-8859-1"}
    world.origin.get(f"{OPEN}/x").respond(200, body=b'{"a":"\xe9\\u20ac"}', headers=kind)
    with world.gateway() as gateway:
        response = gateway.request("GET", f"{OPEN}/x")
    assert response.json() == json.loads(response.text) == {"a": "é€"}


def test_parameters_and_fields_that_are_none_are_left_out_as_requests_does(world: World) -> None:
    route = world.origin.post(f"{OPEN}/x").respond(200)
    with world.gateway() as gateway:
        gateway.request("POST", f"{OPEN}/x", params={"a": None, "b": 1}, data={"c": None, "d": ""})
        gateway.request("POST", f"{OPEN}/x", params={"a": None})
    assert [request.target for request in route.requests] == ["/x?b=1", "/x"]
    assert route.requests[0].body == b"d="


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", ["X-Name", "Cookie"])
def test_a_header_that_is_not_ascii_is_refused_by_every_face(
    face: str, name: str, faces: Mapping[str, Face], world: World
) -> None:
    """Straight, httpx refuses it too, and requests sends Latin-1: the bytes would be others."""
    route = world.origin.get(f"{OPEN}/x").respond(200)
    with pytest.raises((NotCarried, httpx.UnsupportedProtocol, requests.exceptions.InvalidSchema, UnicodeEncodeError)):  # fmt: skip
        faces[face](at("x", headers=[(name, "Müller")]))
    assert not route.requests


@pytest.mark.parametrize("face", TWINS)
def test_headers_of_answers_keep_the_bytes_that_are_not_ascii(
    face: str, faces: Mapping[str, Face], world: World
) -> None:
    """As straight: httpx shows bytes as UTF-8 where they are, requests always as Latin-1."""
    value = "Grüße €".encode().decode("latin-1")
    world.origin.get(f"{OPEN}/x").respond(200, headers=[("X-Name", value)])
    both = [faces[name](at("x")) for name in (TWINS[face], face)]
    straight, through = (Headers(answer.headers)["x-name"] for answer in both)
    assert straight.encode() in (value.encode(), "Grüße €".encode())
    assert through in (straight, value)
