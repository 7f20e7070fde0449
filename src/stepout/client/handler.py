"""A Lambda handler that calls an API: `stepout.client.handler.handler`.

    {"method": "POST", "url": "https://api.example.com/v1/items", "json": {"name": "pear"}}

becomes

    {"status": 201, "reason": "Created", "headers": {"Content-Type": ["application/json"]},
     "json": {"id": 7}, "stepout": {"body": "rewritten", …}}

The gateway is that of the settings (`STEPOUT_STATE_MACHINE_ARN` and others), made with the first
event of a process. A status that is not 2xx is an answer like any other; what brings no answer
raises, and Lambda reports the name of the exception.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from stepout.client.gateway import default_gateway
from stepout.gateway.messages import Headers, Pair, Response

__all__ = ["handler"]

Json: TypeAlias = Any


def handler(event: Json, context: object) -> dict[str, Json]:
    """Call the API of an event and give its answer; raises `ValueError` for an event that is none.

    `context` is Lambda's and not looked at. Members of the event that are null count as absent.
    """
    del context
    given = _given(event)
    response = default_gateway().request(
        given.get("method", "GET"),
        given["url"],
        params=[*_pairs(given.get("params", {}))],
        headers=[*_pairs(given.get("headers", {}))],
        json=given.get("json"),
        data=given.get("body"),
        timeout=given.get("timeout"),
    )
    return _answer(response)


# --- The event ------------------------------------------------------------------------------------


def _given(event: Json) -> Mapping[str, Json]:
    """The members of an event; raises `ValueError` with all that is wrong with it."""
    if not isinstance(event, dict):
        text = f"Expected an event that is an object with a url, found {_shown(event)}."
        raise ValueError(text)  # noqa: TRY004 — a wrong event is one kind of error, whatever is wrong
    given = {name: value for name, value in event.items() if value is not None}
    problems = [*_problems(given)]
    if problems:
        raise ValueError(" ".join(problems))
    return given


def _problems(given: Mapping[str, Json]) -> Iterator[str]:
    if "url" not in given:
        yield "Expected 'url', such as https://api.example.com/v1/items, found none."
    if "json" in given and "body" in given:
        yield "Expected one of 'json' and 'body', found both."
    for name, value in given.items():
        if name not in _MEMBERS:
            yield f"Expected {', '.join(_MEMBERS)}, found '{name}'."
            continue
        is_right, what = _MEMBERS[name]
        if not is_right(value):
            yield f"Expected '{name}' to be {what}, found {_shown(value)}."


def _shown(value: Json) -> str:
    """The kind of a value and its beginning."""
    text = jsonlib.dumps(value, ensure_ascii=False, default=repr)
    shown = f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text
    return f"{_KINDS.get(type(value), '')} {shown}".lstrip()


_SHOWN: Final = 60
"""Characters of a value in a message."""


_KINDS: Final[Mapping[type, str]] = {
    str: "the text",
    bool: "the boolean",
    int: "the number",
    float: "the number",
    list: "the array",
    dict: "the object",
}


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_seconds(value: Json) -> bool:
    return _is_number(value) and value > 0


def _has_texts(value: Json) -> bool:
    return isinstance(value, dict) and all(map(_is_text, _values(value)))


def _has_texts_or_numbers(value: Json) -> bool:
    return isinstance(value, dict) and all(
        _is_text(item) or _is_number(item) for item in _values(value)
    )


_MEMBERS: Final[Mapping[str, tuple[Callable[[Json], bool], str]]] = {
    "method": (_is_text, "a text"),
    "url": (_is_text, "a text"),
    "headers": (_has_texts, "an object of texts or arrays of texts"),
    "params": (_has_texts_or_numbers, "an object of texts and numbers, or arrays of these"),
    "json": (lambda _value: True, "any JSON"),
    "body": (_is_text, "a text"),
    "timeout": (_is_seconds, "a number of seconds above 0"),
}
"""Member of an event → whether a value will do, and what will."""


def _pairs(members: Mapping[str, Json]) -> Iterator[Pair]:
    for name, value in members.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, str(item)


def _values(members: Mapping[str, Json]) -> Iterator[Json]:
    for value in members.values():
        yield from value if isinstance(value, list) else [value]


# --- The answer -----------------------------------------------------------------------------------


def _answer(response: Response) -> dict[str, Json]:
    extensions = dict(response.extensions)
    times = extensions.pop("times")
    return {
        "status": response.status_code,
        "reason": response.reason,
        "headers": _grouped(response.headers),
        **_body(response),
        "stepout": {**extensions, "dropped": [*extensions["dropped"]], "times": asdict(times)},
    }


def _grouped(headers: Headers) -> dict[str, list[str]]:
    return {name: headers.get_all(name) for name in headers}


def _body(response: Response) -> dict[str, Json]:
    """As JSON where it came as JSON; else the text, which is empty where AWS dropped it."""
    if response.extensions["body"] == "rewritten":
        return {"json": response.json()}
    return {"body": response.text}
