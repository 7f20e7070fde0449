"""What ValidateStateMachineDefinition warns of: a definition that may not mean what it says.

The codes are AWS's; their texts are not recorded and follow its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from stepout.asl.parse import nested_graphs
from stepout.asl.problems import NO_DOLLAR, PASS_RESULT_IS_STATIC, Problem
from stepout.asl.templates import is_expression
from stepout.asl.values import Json

__all__ = ["warnings"]

Fields = dict[str, Json]

_TEMPLATES: Final = ("Parameters", "ResultSelector", "ItemSelector", "Assign")


def warnings(graph: Fields, language: str = "JSONPath", location: str = "") -> Iterator[Problem]:
    """Of a definition that the checks have passed."""
    language = graph.get("QueryLanguage", language)
    for name, state in graph["States"].items():
        where = f"{location}/States/{name}"
        if state.get("QueryLanguage", language) == "JSONPath":
            yield from _state(state, where)
        for index, inner in enumerate(nested_graphs(state)):
            step = next(field for field in _NESTED if field in state)
            at = f"{where}/{step}[{index}]" if step == "Branches" else f"{where}/{step}"
            yield from warnings(inner, language, at)


_NESTED: Final = ("Branches", "ItemProcessor", "Iterator")


def _state(state: Fields, location: str) -> Iterator[Problem]:
    for field in _TEMPLATES:
        yield from _template(state.get(field), f"{location}/{field}")
    for index, holder in enumerate(state.get("Choices", ())):
        yield from _assigned(holder, f"{location}/Choices[{index}]")
    for index, holder in enumerate(state.get("Catch", ())):
        yield from _assigned(holder, f"{location}/Catch[{index}]")
    if state["Type"] == "Pass" and any(_paths(state.get("Result"))):
        message = "The Result of a Pass state is static: its paths are not evaluated."
        yield Problem(PASS_RESULT_IS_STATIC, message, f"{location}/Result")


def _assigned(holder: Fields, location: str) -> Iterator[Problem]:
    yield from _template(holder.get("Assign"), f"{location}/Assign")


def _template(value: Json, location: str) -> Iterator[Problem]:
    for path in _without_dollar(value, location):
        message = "A field whose value is a JSONPath or an intrinsic function has no '.$'."
        yield Problem(NO_DOLLAR, message, path)


def _without_dollar(value: Json, location: str) -> Iterator[str]:
    """Locations of values that look like expressions under keys that do not say so."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _without_dollar(item, f"{location}[{index}]")
    elif isinstance(value, dict):
        for key, member in value.items():
            if isinstance(member, str) and not key.endswith(".$"):
                if _looks_like_one(member):
                    yield f"{location}/{key}"
            else:
                yield from _without_dollar(member, f"{location}/{key}")


def _paths(value: Json) -> Iterator[str]:
    """Keys and texts in a static value that look as if they were evaluated."""
    if isinstance(value, list):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key.endswith(".$"):
                yield key
            yield from _paths(member)
    elif isinstance(value, str) and _looks_like_one(value):
        yield value


_LIKE_ONE: Final = re.compile(r"\$\$?[.\[]|\$[^\W\d]\w*[.\[]|States\.")


def _looks_like_one(text: str) -> bool:
    return _LIKE_ONE.match(text) is not None and is_expression(text)
