"""Where the values of a JSON or YAML text stand: line and column for each location of a problem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from stepout.asl.values import Json
from stepout.errors import JsonError

__all__ = ["Node", "find", "read_json", "read_yaml"]


@dataclass(slots=True)
class Node:
    """A value's place, and the places of its members or items."""

    line: int
    column: int
    """Both from 1; of a member the place of its key."""
    children: dict[str, Node] = field(default_factory=dict)


def find(root: Node, location: str | None) -> Node:
    """The node of a location such as `/States/A/Retry[0]/Next`, or the nearest around it."""
    node, rest = root, location or ""
    while rest:
        step = _step(node, rest)
        if step is None:
            return node
        name, rest = step
        node = node.children[name]
    return node


def _step(node: Node, rest: str) -> tuple[str, str] | None:
    """The child that a location goes on to: names are not escaped, so the longest that fits."""
    fitting = [name for name in node.children if _goes_on(rest, name)]
    if not fitting:
        return None
    name = max(fitting, key=len)
    return name, rest[len(name) + 1 :] if rest.startswith("/") else rest[len(name) :]


def _goes_on(rest: str, name: str) -> bool:
    after = rest.removeprefix(f"/{name}" if rest.startswith("/") else name)
    return after != rest and (not after or after[0] in "/[")


# --- JSON -----------------------------------------------------------------------------------------

_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)


def read_json(text: str) -> Node:
    """The places of a JSON text that `json` reads."""
    root = node = Node(1, 1)
    key: str | None = "root"
    is_list = False
    around: list[tuple[Node, bool, str | None]] = []
    for piece, line, column in _pieces(text):
        match piece:
            case "{" | "[":
                inner = node.children.setdefault(key or "", Node(line, column))
                around.append((node, is_list, key))
                node, is_list = inner, piece == "["
                key = "[0]" if is_list else None
            case "}" | "]":
                node, is_list, key = around.pop()
            case ",":
                key = f"[{len(node.children)}]" if is_list else None
            case ":":
                pass
            case _ if key is None:
                key = json.loads(piece)
                node.children[key] = Node(line, column)
            case _:
                node.children.setdefault(key, Node(line, column))
    return root.children.get("root", root)


def _pieces(text: str) -> Iterator[tuple[str, int, int]]:
    line, start = 1, 0
    at = 0
    for match in _PIECE.finditer(text):
        newlines = text.count("\n", at, match.start())
        if newlines:
            line, start = line + newlines, text.rfind("\n", at, match.start()) + 1
        yield match[0], line, match.start() - start + 1
        at = match.start()


# --- YAML -----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML as JSON values: a timestamp is the text that it stands as."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> tuple[Json, Node]:
    """The value of a YAML text and the places in it; raises `JsonError`."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, Node(1, 1)
        return loader.construct_document(root), _node(root, root.start_mark)
    except (yaml.YAMLError, RecursionError) as error:
        raise JsonError(f"The YAML text cannot be read: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _node(node: Any, mark: Any) -> Node:
    found = Node(mark.line + 1, mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found.children[str(key.value)] = _node(value, key.start_mark)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found.children[f"[{index}]"] = _node(item, item.start_mark)
    return found
