"""A machine drawn as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stepout.asl.parse import nested_graphs
from stepout.asl.queries import expression
from stepout.asl.values import Json, dumps

__all__ = ["mermaid"]

Fields = dict[str, Json]

_MAX_LABEL: Final = 60
"""Characters of a node's or an edge's label."""

_FORMS: Final = {
    "Choice": ('{{"', '"}}'),
    "Succeed": ('(["', '"])'),
    "Fail": ('(["', '"])'),
    "Wait": ('[/"', '"/]'),
}
"""Type → the brackets of its node; the others are boxes."""


def mermaid(definition: Fields) -> str:
    """The flowchart of a definition that the checks have passed."""
    names: dict[str, str] = {}
    lines = ["flowchart TD", *_graph(definition, names, "    ", "start")]
    return "\n".join(lines) + "\n"


def _graph(graph: Fields, names: dict[str, str], indent: str, start: str) -> Iterator[str]:
    """The nodes and edges of a machine, a branch or an item processor."""
    for name, state in graph["States"].items():
        names[name] = f"s{len(names)}"
        yield from _node(name, state, names, indent)
    yield f"{indent}{start}((start)) --> {names[graph['StartAt']]}"
    for name, state in graph["States"].items():
        for target, arrow in _edges(state):
            yield f"{indent}{names[name]} {arrow} {names[target]}"


def _node(name: str, state: Fields, names: dict[str, str], indent: str) -> Iterator[str]:
    node = names[name]
    inner = nested_graphs(state)
    if not inner:
        opening, closing = _FORMS.get(state["Type"], ('["', '"]'))
        yield f"{indent}{node}{opening}{_text(name)}<br/><i>{state['Type']}</i>{closing}"
        return
    yield f'{indent}subgraph {node}["{_text(name)} · {state["Type"]}"]'
    for index, graph in enumerate(inner):
        yield from _graph(graph, names, indent + "    ", f"{node}_{index}")
    yield f"{indent}end"


def _edges(state: Fields) -> Iterator[tuple[str, str]]:
    """Where a state may go, and the arrow there."""
    if "Next" in state:
        yield state["Next"], "-->"
    for rule in state.get("Choices", ()):
        yield rule["Next"], f'-->|"{_text(_condition(rule))}"|'
    if "Default" in state:
        yield state["Default"], '-->|"default"|'
    for catcher in state.get("Catch", ()):
        yield catcher["Next"], f'-.->|"{_text(", ".join(catcher["ErrorEquals"]))}"|'


def _condition(rule: Fields) -> str:
    """A rule of Choice in few words."""
    if "Condition" in rule:
        condition = rule["Condition"]
        text = expression(condition)
        return dumps(condition).decode() if text is None else text
    for name, word in (("And", " and "), ("Or", " or ")):
        if name in rule:
            return word.join(map(_inner, rule[name]))
    if "Not" in rule:
        return f"not {_inner(rule['Not'])}"
    operator = next(key for key in rule if key not in ("Variable", "Next", "Assign", "Comment"))
    return f"{rule['Variable']} {operator} {dumps(rule[operator]).decode()}"


def _inner(rule: Fields) -> str:
    """A rule inside another, in brackets where it joins several."""
    shown = _condition(rule)
    return f"({shown})" if rule.keys() & {"And", "Or"} else shown


_ESCAPES: Final = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", "`": "#96;", "&": "#amp;"}
)


def _text(text: str) -> str:
    """A text as Mermaid shows it, cut where it is long; it takes none that is empty, and reads
    `%%` as a comment."""
    shown = text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 1]}…"
    return shown.translate(_ESCAPES).replace("%%", "%#37;") or "#8203;"
