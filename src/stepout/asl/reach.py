"""Which nodes of a graph reach which: in linear time, however large the graph and its loops are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

__all__ = ["reaching"]

Graph = Mapping[str, Sequence[str]]
"""Node → where its edges lead; every target is a node, too."""


def reaching(graph: Graph, marks: Mapping[str, int]) -> dict[str, int]:
    """For each node the marks, bits of an integer, of all nodes that it can be reached from.

    Kosaraju's algorithm: loops are found as components, in an order in which what leads into one
    comes before it. All nodes of a loop are reached from each other.
    """
    sources: dict[str, list[str]] = {node: [] for node in graph}
    for node, targets in graph.items():
        for target in targets:
            sources[target].append(node)
    found: dict[str, int] = {}
    seen: set[str] = set()
    for start in reversed([*_postorder(graph)]):
        if start in seen:
            continue
        component = {*_unseen(start, sources, seen)}
        mask = 0
        for node in component:
            for source in sources[node]:
                # Of the component itself, the marks alone; of those before it, all that is known.
                mask |= marks.get(source, 0) | found.get(source, 0)
        found |= dict.fromkeys(component, mask)
    return found


def _postorder(graph: Graph) -> Iterator[str]:
    """Every node after those that it leads to, but for loops; without recursion."""
    seen: set[str] = set()
    for start in graph:
        ahead = [] if start in seen else [(start, iter(graph[start]))]
        seen.add(start)
        while ahead:
            node, targets = ahead[-1]
            target = next((name for name in targets if name not in seen), None)
            if target is not None:
                seen.add(target)
                ahead.append((target, iter(graph[target])))
            else:
                ahead.pop()
                yield node


def _unseen(start: str, graph: Graph, seen: set[str]) -> Iterator[str]:
    """What can be reached from a node and was not seen before; it is now."""
    seen.add(start)
    ahead = [start]
    while ahead:
        node = ahead.pop()
        yield node
        for target in graph[node]:
            if target not in seen:
                seen.add(target)
                ahead.append(target)
