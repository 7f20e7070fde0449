"""Marks of all that leads to a node: against a plain walk, and in graphs without end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from stepout.asl.reach import reaching

NODES = "abcdefg"
graphs = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(NODES), max_size=3) for name in NODES}
)


def walked(graph: Mapping[str, Sequence[str]], start: str) -> set[str]:
    """What can be reached from a node by one edge or more."""
    seen: set[str] = set()
    ahead = [*graph[start]]
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += graph[node]
    return seen


@given(graphs)
def test_a_node_has_the_marks_of_all_that_reach_it(graph: dict[str, list[str]]) -> None:
    marks = {name: 1 << index for index, name in enumerate(NODES)}
    expected = {
        node: sum(marks[source] for source in NODES if node in walked(graph, source))
        for node in NODES
    }
    assert reaching(graph, marks) == expected


def test_long_chains_and_loops_are_no_matter() -> None:
    count = 20_000
    chain = {str(n): [str(n + 1)] for n in range(count)} | {str(count): []}
    assert reaching(chain, {"0": 1, str(count): 2})[str(count)] == 1
    loop = {**chain, str(count): ["0"]}
    assert set(reaching(loop, {"0": 1, str(count): 2}).values()) == {3}
