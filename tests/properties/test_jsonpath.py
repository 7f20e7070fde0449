"""Paths select what a plain walk over all nodes selects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepout.asl import jsonpath
from stepout.asl.selectors import PathMiss

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner)
    ),
    max_leaves=15,
)
STEPS = st.one_of(
    st.sampled_from([("key", "a"), ("key", "b"), ("key", "c d"), ("any", None), ("deep", "a")]),
    st.tuples(st.just("index"), st.integers(0, 4)),
    st.tuples(
        st.just("slice"), st.tuples(st.none() | st.integers(-4, 4), st.none() | st.integers(-4, 4))
    ),
    st.tuples(st.just("equal"), st.sampled_from([0, 1, 2])),
)
DEFINITE = ("key", "index")


def spelled(kind: str, what: Any) -> str:
    match kind:
        case "key":
            return f"['{what}']" if " " in what else f".{what}"
        case "index":
            return f"[{what}]"
        case "slice":
            return "[{}:{}]".format(*("" if end is None else end for end in what))
        case "deep":
            return f"..{what}"
        case "equal":
            return f"[?(@.a == {what})]"
    return "[*]"


def children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def below(node: Any) -> Iterator[Any]:
    yield node
    for child in children(node):
        yield from below(child)


def walked(node: Any, kind: str, what: Any) -> list[Any]:
    match kind:
        case "key":
            return [node[what]] if isinstance(node, dict) and what in node else []
        case "index":
            return [node[what]] if isinstance(node, list) and what < len(node) else []
        case "slice":
            return node[slice(*what)] if isinstance(node, list) else []
        case "deep":
            return [one[what] for one in below(node) if isinstance(one, dict) and what in one]
        case "equal":
            return [one for one in _tested(node) if _number(one.get("a")) == what]
    return children(node)


def _tested(node: Any) -> list[dict[str, Any]]:
    """A filter asks the items of an array, or an object itself."""
    asked = node if isinstance(node, list) else [node]
    return [one for one in asked if isinstance(one, dict)]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@settings(max_examples=1_000)
@given(JSON, st.lists(STEPS, min_size=1, max_size=4))
def test_a_path_selects_what_a_walk_selects(document: Any, steps: list[tuple[str, Any]]) -> None:
    path = jsonpath.compile("$" + "".join(spelled(*step) for step in steps))
    nodes = [document]
    for step in steps:
        nodes = [found for node in nodes for found in walked(node, *step)]
    if any(kind not in DEFINITE for kind, _ in steps):
        assert _read(path, document) == nodes
    elif nodes:
        assert path.read(document) == nodes[0]
    else:
        with pytest.raises(PathMiss):
            path.read(document)


def _read(path: jsonpath.Path, document: Any) -> Any:
    """A path of several nodes whose beginning leads nowhere is a miss: nothing is selected."""
    try:
        return path.read(document)
    except PathMiss:
        return []


@given(JSON, st.lists(STEPS, min_size=1, max_size=4), JSON)
def test_a_write_changes_nothing_else(
    document: Any, steps: list[tuple[str, Any]], value: Any
) -> None:
    path = jsonpath.compile("$" + "".join(spelled(*step) for step in steps))
    if not path.is_reference:
        return
    before = repr(document)
    try:
        written = path.write(document, value)
    except PathMiss:
        return
    finally:
        assert repr(document) == before, "the raw input is changed"
    assert path.read(written) == value
    first = steps[0][1]
    for key, member in document.items() if isinstance(document, dict) else ():
        if key != first:
            assert written[key] == member
