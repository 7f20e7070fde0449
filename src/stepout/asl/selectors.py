"""What the parts of a JSONPath do with a document.

A definite path is a row of keys, read in a plain loop. Any other is a row of steps, each from a
list of nodes to a list of nodes. Nothing recurses over the document; a reading is paid for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from stepout.asl.allowance import APART, Allowance
from stepout.asl.values import MISSING, Json, Missing, equals

__all__ = [
    "OPERATORS",
    "Key",
    "Operand",
    "PathMiss",
    "Reading",
    "Step",
    "Test",
    "comparison",
    "descend",
    "exists",
    "filtered",
    "items",
    "leading",
    "member",
    "members",
    "read",
    "relative",
    "sliced",
    "wildcard",
    "write",
]


class PathMiss(Exception):
    """A definite path leads nowhere in a document; the message is worded as Jayway words it."""

    def __init__(self, message: str, *, index_out_of_range: bool = False) -> None:
        self.index_out_of_range = index_out_of_range
        super().__init__(message)


Key: TypeAlias = str | int | tuple[str, ...]
"""A member of an object; an index of an array, from its end where negative; at the end of a path
also several members, which pick a part of an object."""


# --- Definite paths -------------------------------------------------------------------------------


def read(document: Json, keys: tuple[Key, ...]) -> Json:
    """The value that the keys lead to; raises `PathMiss`."""
    value = document
    for position, key in enumerate(keys):
        value = _child(value, key, keys, position)
    return value


def write(document: Json, keys: tuple[Key, ...], value: Json) -> Json:
    """A copy of the document with a value where the keys lead; raises `PathMiss`.

    Missing members are made, missing items of arrays are not.
    """
    if not keys:
        return value
    copy = _copied(document, keys, 0)
    place = copy
    for position, key in enumerate(keys[:-1]):
        if isinstance(key, str) and place.get(key) is None:
            place[key] = {}
        child = _child(place, key, keys, position)
        place[key] = child = _copied(child, keys, position + 1)
        place = child
    last = keys[-1]
    if isinstance(last, int):
        _child(place, last, keys, len(keys) - 1)
    place[last] = value
    return copy


def _child(value: Json, key: Key, keys: tuple[Key, ...], position: int) -> Json:
    if isinstance(key, str):
        if isinstance(value, dict) and key in value:
            return value[key]
        raise _missing_member(value, keys, position)
    if isinstance(key, tuple):
        if isinstance(value, dict):
            return {name: value[name] for name in key if name in value}
        raise _missing_member(value, keys, position)
    if not isinstance(value, list):
        raise PathMiss(
            f"Filter: [{key}] can only be applied to arrays. Current context is: "
            f"{_bracketed(keys[:position])}"
        )
    if not -len(value) <= key < len(value):
        raise PathMiss(
            f"Index out of bounds when evaluating path {_bracketed(keys[: position + 1])}",
            index_out_of_range=True,
        )
    return value[key]


def _missing_member(value: Json, keys: tuple[Key, ...], position: int) -> PathMiss:
    here = _bracketed(keys[: position + 1])
    if not isinstance(value, dict):
        above = _bracketed(keys[:position])
        return PathMiss(
            f"Expected to find an object with property {_bracketed(keys[position:][:1])[1:]} in "
            f"{above}"
        )
    is_leaf = position + 1 == len(keys)
    return PathMiss(f"{'No results for path:' if is_leaf else 'Missing property in path'} {here}")


def _bracketed(keys: tuple[Key, ...]) -> str:
    return "$" + "".join(map(_shown, keys))


def _shown(key: Key) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f"['{key}']" if isinstance(key, str) else f"[{','.join(map(repr, key))}]"


def _copied(value: Json, keys: tuple[Key, ...], position: int) -> Json:
    """A copy of the container that the key at `position` is about to be written to."""
    expected = list if isinstance(keys[position], int) else dict
    if isinstance(value, expected):
        return value.copy()
    kind = "an object" if expected is dict else "an array"
    raise PathMiss(f"Expected {kind} at {_bracketed(keys[:position])}")


# --- Indefinite paths -----------------------------------------------------------------------------

Nodes: TypeAlias = list[Json]
Step: TypeAlias = "Callable[[Reading, Nodes], Nodes]"
Operand: TypeAlias = "Callable[[Reading, Json], Json | Missing]"
Test: TypeAlias = "Callable[[Reading, Json], bool]"


class Reading:
    """One read of a document, paid for by the node."""

    __slots__ = ("_allowance", "document")

    def __init__(self, document: Json, allowance: Allowance) -> None:
        self.document = document
        self._allowance = allowance

    def run(self, steps: tuple[Step, ...], start: Json) -> Nodes:
        nodes = [start]
        for step in steps:
            nodes = step(self, nodes)
            self.spend(len(nodes))
        return nodes

    def spend(self, nodes: int) -> None:
        if not self._allowance.pay_nodes(nodes + 1):
            raise PathMiss(f"The paths look at more than {APART.nodes} nodes of their documents.")


def member(name: str) -> Step:
    return lambda _reading, nodes: [
        node[name] for node in nodes if isinstance(node, dict) and name in node
    ]


def members(names: tuple[str, ...]) -> Step:
    """Several members of an object, as a part of it."""
    return lambda _reading, nodes: [
        {name: node[name] for name in names if name in node}
        for node in nodes
        if isinstance(node, dict)
    ]


def items(indices: tuple[int, ...]) -> Step:
    return lambda _reading, nodes: [
        node[index]
        for node in nodes
        if isinstance(node, list)
        for index in indices
        if -len(node) <= index < len(node)
    ]


def sliced(part: slice) -> Step:
    return lambda _reading, nodes: [
        item for node in nodes if isinstance(node, list) for item in node[part]
    ]


def wildcard(reading: Reading, nodes: Nodes) -> Nodes:
    reading.spend(len(nodes))
    return [child for node in nodes for child in _children(node)]


def descend(reading: Reading, nodes: Nodes) -> Nodes:
    """Each node and all that is below it, in the document's order."""
    found: Nodes = []
    ahead = nodes[::-1]
    while ahead:
        node = ahead.pop()
        reading.spend(0)
        found.append(node)
        ahead += reversed(_children(node))
    return found


def filtered(test: Test) -> Step:
    """Items of arrays that pass, and objects that pass themselves; never scalars: AWS documents
    that `@` matches objects only, where Jayway takes any item."""

    def step(reading: Reading, nodes: Nodes) -> Nodes:
        candidates = [
            item
            for node in nodes
            for item in (node if isinstance(node, list) else [node])
            if isinstance(item, dict | list)
        ]
        reading.spend(len(candidates))
        return [item for item in candidates if test(reading, item)]

    return step


def leading(keys: tuple[Key, ...]) -> Step:
    """The definite beginning of an indefinite path; what is not there selects nothing (recorded on
    AWS: `$.items[*]` of `{}` is `[]`)."""

    def step(_reading: Reading, nodes: Nodes) -> Nodes:
        try:
            return [read(nodes[0], keys)]
        except PathMiss:
            return []

    return step


def _children(node: Json) -> Nodes:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


# --- Filters --------------------------------------------------------------------------------------


def _ordered(compare: Callable[[Json, Json], bool]) -> Callable[[Json, Json], bool]:
    """Numbers with numbers, texts with texts; anything else is in no order."""

    def ordered(left: Json, right: Json) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return compare(left, right)
        return _is_number(left) and _is_number(right) and compare(left, right)

    return ordered


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(left: Json | Missing, right: Json | Missing) -> bool:
    return left is not MISSING and right is not MISSING and equals(left, right)


OPERATORS: Final[Mapping[str, Callable[[Json, Json], bool]]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}


def exists(operand: Operand) -> Test:
    """A value that is there; an explicit null is not (observed on Step Functions Local)."""

    def test(reading: Reading, node: Json) -> bool:
        value = operand(reading, node)
        return value is not MISSING and value is not None

    return test


def comparison(sign: str, left: Operand, right: Operand) -> Test:
    compare = OPERATORS[sign]
    return lambda reading, node: compare(left(reading, node), right(reading, node))


def relative(root: str, keys: tuple[Key, ...] | None, steps: tuple[Step, ...]) -> Operand:
    """A path inside a filter: `@` starts at the node, `$` at the document. Nothing found is
    MISSING."""

    def operand(reading: Reading, node: Json) -> Json | Missing:
        start = node if root == "@" else reading.document
        try:
            if keys is None:
                return reading.run(steps, start) or MISSING
            return read(start, keys)
        except PathMiss:
            # A filter is not stopped by what one node lacks, but by an empty budget it is.
            reading.spend(0)
            return MISSING

    return operand
