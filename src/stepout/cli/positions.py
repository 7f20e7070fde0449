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

__all__ = ["Node", "Unreadable", "find", "read_json", "read_yaml"]


@dataclass(slots=True)
class Node:
    """A value's place, and the places of its members or items."""

    line: int
    column: int
    """Both from 1; of a member the place of its key."""
    children: dict[str, Node] = field(default_factory=dict)


def find(root: Node, location: str | None) -> Node:
    """The node of a location such as `/States/A/Retry[0]/Next`, or the nearest around it."""
    return _find(root, location or "")[0]


def _find(node: Node, rest: str) -> tuple[Node, int]:
    """The node, and how much of the location is left: names are not escaped, so all that fit are
    tried, the longest first."""
    best, left = node, len(rest)
    for name in sorted(node.children, key=len, reverse=True) if rest else ():
        if _goes_on(rest, name):
            after = rest[len(name) + 1 :] if rest.startswith("/") else rest[len(name) :]
            found, remains = _find(node.children[name], after)
            if remains < left:
                best, left = found, remains
    return best, left


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
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, Node(1, 1)
        _check(root)
        return loader.construct_document(root), _node(root, root.start_mark)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = " ".join(filter(None, (error.context, error.problem)))
        raise Unreadable(f"The YAML text cannot be read: {told}", *_at(mark)) from None
    except Unreadable:
        raise
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(f"The YAML text cannot be read: {' '.join(str(error).split())}") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        # A tag that its value does not fit.
        raise Unreadable(
            f"The YAML text holds a value that does not fit its tag: {error}"
        ) from None


class Unreadable(JsonError):
    """A text that is neither JSON nor YAML, and the place where that shows."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        self.line = line
        self.column = column
        super().__init__(message)


def _at(mark: Any) -> tuple[int, int]:
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _check(root: Any) -> None:
    """Refuse what JSON has not, and aliases of aliases, which would be values without number."""
    count = 0
    ahead = [root]
    while ahead:
        node = ahead.pop()
        count += 1
        if count > _MAX_VALUES:
            raise Unreadable(
                f"The YAML text has more than {_MAX_VALUES:,} values with its aliases."
            )
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.tag not in _KEY_TAGS:
                    message = "Expected a text as a key; put what is none in quotes."
                    raise Unreadable(message, *_at(key.start_mark))
                ahead.append(value)
        elif isinstance(node, yaml.SequenceNode):
            ahead += node.value
        elif node.tag == _FLOAT_TAG and node.value.lower().lstrip("+-") in (".nan", ".inf"):
            raise Unreadable(f"JSON has no number {node.value}.", *_at(node.start_mark))


_MAX_VALUES: Final = 200_000
_FLOAT_TAG: Final = "tag:yaml.org,2002:float"
_KEY_TAGS: Final = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


def _node(node: Any, mark: Any) -> Node:
    found = Node(*_at(mark))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found.children[key.value] = _node(value, key.start_mark)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found.children[f"[{index}]"] = _node(item, item.start_mark)
    return found
