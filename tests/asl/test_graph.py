"""A machine as a Mermaid flowchart: each state a node, each way to go an edge."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from tests.properties.machines import machines

from stepout.asl.graph import mermaid
from stepout.asl.parse import parse

LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:work"
PASS: dict[str, Any] = {"Type": "Pass", "End": True}
TASK: dict[str, Any] = {"Type": "Task", "Resource": LAMBDA, "End": True}


def drawn(states: dict[str, Any], **more: Any) -> str:
    """The flowchart of a machine that begins with the first of these states."""
    definition = {"StartAt": next(iter(states)), "States": states, **more}
    parse(json.dumps(definition))
    return mermaid(definition)


def graph(**states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


@pytest.mark.parametrize(
    ("state", "node"),
    [
        (PASS, 's0["A<br/><i>Pass</i>"]'),
        (TASK, 's0["A<br/><i>Task</i>"]'),
        ({"Type": "Wait", "Seconds": 1, "End": True}, 's0[/"A<br/><i>Wait</i>"/]'),
        ({"Type": "Succeed"}, 's0(["A<br/><i>Succeed</i>"])'),
        ({"Type": "Fail"}, 's0(["A<br/><i>Fail</i>"])'),
    ],
)
def test_the_form_of_a_node_tells_the_type_of_its_state(state: dict[str, Any], node: str) -> None:
    assert drawn({"A": state}) == f"flowchart TD\n    {node}\n    start((start)) --> s0\n"


def test_states_are_numbered_in_their_order_and_the_start_is_marked() -> None:
    states = {"B": PASS, "A": {"Type": "Pass", "Next": "B"}}
    assert mermaid({"StartAt": "A", "States": states}) == (
        "flowchart TD\n"
        '    s0["B<br/><i>Pass</i>"]\n'
        '    s1["A<br/><i>Pass</i>"]\n'
        "    start((start)) --> s1\n"
        "    s1 --> s0\n"
    )


def test_a_loop_is_drawn() -> None:
    rule = {"Variable": "$.again", "BooleanEquals": True, "Next": "A"}
    states = {
        "A": {"Type": "Pass", "Next": "C"},
        "C": {"Type": "Choice", "Choices": [rule], "Default": "S"},
        "S": {"Type": "Succeed"},
    }
    assert drawn(states) == (
        "flowchart TD\n"
        '    s0["A<br/><i>Pass</i>"]\n'
        '    s1{{"C<br/><i>Choice</i>"}}\n'
        '    s2(["S<br/><i>Succeed</i>"])\n'
        "    start((start)) --> s0\n"
        "    s0 --> s1\n"
        '    s1 -->|"$.again BooleanEquals true"| s0\n'
        '    s1 -->|"default"| s2\n'
    )


def test_each_catcher_is_a_dotted_edge_with_the_errors_that_it_catches() -> None:
    catch = [
        {"ErrorEquals": ["Busy", "States.Timeout"], "Next": "A"},
        {"ErrorEquals": ["States.ALL"], "Next": "S"},
    ]
    task = {"Type": "Task", "Resource": LAMBDA, "Next": "S", "Catch": catch}
    assert drawn({"A": task, "S": {"Type": "Succeed"}}) == (
        "flowchart TD\n"
        '    s0["A<br/><i>Task</i>"]\n'
        '    s1(["S<br/><i>Succeed</i>"])\n'
        "    start((start)) --> s0\n"
        "    s0 --> s1\n"
        '    s0 -.->|"Busy, States.Timeout"| s0\n'
        '    s0 -.->|"States.ALL"| s1\n'
    )


def test_branches_and_item_processors_are_drawn_inside_their_state() -> None:
    branches = [
        graph(X={"Type": "Wait", "Seconds": 1, "Next": "Y"}, Y=PASS),
        graph(Z={"Type": "Fail"}),
    ]
    both = {"Type": "Parallel", "Branches": branches, "End": True}
    each = {
        "Type": "Map",
        "ItemProcessor": graph(Both=both),
        "Catch": [{"ErrorEquals": ["E"], "Next": "S"}],
        "Next": "S",
    }
    assert drawn({"Each": each, "S": {"Type": "Succeed"}}) == (
        "flowchart TD\n"
        '    subgraph s0["Each · Map"]\n'
        '        subgraph s1["Both · Parallel"]\n'
        '            s2[/"X<br/><i>Wait</i>"/]\n'
        '            s3["Y<br/><i>Pass</i>"]\n'
        "            s1_0((start)) --> s2\n"
        "            s2 --> s3\n"
        '            s4(["Z<br/><i>Fail</i>"])\n'
        "            s1_1((start)) --> s4\n"
        "        end\n"
        "        s0_0((start)) --> s1\n"
        "    end\n"
        '    s5(["S<br/><i>Succeed</i>"])\n'
        "    start((start)) --> s0\n"
        "    s0 --> s5\n"
        '    s0 -.->|"E"| s5\n'
    )


def test_an_iterator_is_drawn_as_an_item_processor() -> None:
    new = {"Type": "Map", "ItemProcessor": graph(X=PASS), "End": True}
    old = {"Type": "Map", "Iterator": graph(X=PASS), "End": True}
    assert drawn({"M": old}) == drawn({"M": new})
    assert 's1["X<br/><i>Pass</i>"]' in drawn({"M": old})


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        ({"Variable": "$.a", "IsNull": False}, "$.a IsNull false"),
        ({"StringEquals": "x y", "Variable": "$.a"}, "$.a StringEquals #quot;x y#quot;"),
        ({"Comment": "why", "Variable": "$.a", "NumericEquals": 1.5}, "$.a NumericEquals 1.5"),
        ({"Variable": "$.a", "NumericEqualsPath": "$.b"}, "$.a NumericEqualsPath #quot;$.b#quot;"),
        ({"Assign": {"v": 1}, "Variable": "$$.a[0]", "IsPresent": True}, "$$.a[0] IsPresent true"),
        ({"Not": {"Variable": "$.a", "IsString": True}}, "not $.a IsString true"),
        (
            {"And": [{"Variable": "$.a", "IsNull": True}, {"Variable": "$.b", "IsNull": True}]},
            "$.a IsNull true and $.b IsNull true",
        ),
        (
            {
                "Or": [
                    {"Variable": "$.a", "IsNull": True},
                    {"Not": {"Variable": "$.b", "IsNull": True}},
                ]
            },
            "$.a IsNull true or not $.b IsNull true",
        ),
    ],
)
def test_the_edge_of_a_rule_says_when_it_is_gone(rule: dict[str, Any], label: str) -> None:
    choice = {"Type": "Choice", "Choices": [{**rule, "Next": "S"}]}
    lines = drawn({"C": choice, "S": {"Type": "Succeed"}}).splitlines()
    assert lines[-1] == f'    s0 -->|"{label}"| s1'


@pytest.mark.parametrize(
    ("condition", "label"),
    [
        ("{% $states.input.n > 1 %}", "$states.input.n > 1"),
        ('{%$n = "x" and $n < "y"%}', "$n = #quot;x#quot; and $n #lt; #quot;y#quot;"),
    ],
)
def test_a_condition_of_jsonata_is_shown_without_its_marks(condition: str, label: str) -> None:
    choice = {"Type": "Choice", "Choices": [{"Condition": condition, "Next": "S"}]}
    states = {"C": choice, "S": {"Type": "Succeed"}}
    lines = drawn(states, QueryLanguage="JSONata").splitlines()
    assert lines[-1] == f'    s0 -->|"{label}"| s1'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two words", "two words"),
        ("Größe 😀 大", "Größe 😀 大"),
        ('say "hi"', "say #quot;hi#quot;"),
        ("#1", "#35;1"),
        ("#quot;", "#35;quot;"),
        ("<b>x</b>", "#lt;b>x#lt;/b>"),
        ("a]b)c}d|e", "a]b)c}d|e"),
        ("end", "end"),
        ("a --> b", "a --> b"),
        ("it's; \\ /", "it's; \\ /"),
    ],
)
def test_a_name_is_shown_as_it_is(name: str, shown: str) -> None:
    inner = {"Type": "Parallel", "Branches": [graph(X=PASS)], "Next": "S"}
    assert drawn({name: PASS}).splitlines()[1] == f'    s0["{shown}<br/><i>Pass</i>"]'
    lines = drawn({name: inner, "S": {"Type": "Succeed"}}).splitlines()
    assert lines[1] == f'    subgraph s0["{shown} · Parallel"]'
    # Only numbers stand outside of quotes: no name can end a node or begin an edge.
    assert lines[-1] == "    s0 --> s2"


@pytest.mark.parametrize(
    ("length", "shown"), [(60, "é" * 60), (61, "é" * 59 + "…"), (80, "é" * 59 + "…")]
)
def test_a_long_text_is_cut(length: int, shown: str) -> None:
    catch = [{"ErrorEquals": ["é" * length], "Next": "S"}]
    task = {"Type": "Task", "Resource": LAMBDA, "Next": "S", "Catch": catch}
    lines = drawn({"A": task, "S": {"Type": "Succeed"}}).splitlines()
    assert lines[-1] == f'    s0 -.->|"{shown}"| s1'


def test_a_text_is_cut_before_it_is_escaped() -> None:
    catch = [{"ErrorEquals": ['"' * 61], "Next": "S"}]
    task = {"Type": "Task", "Resource": LAMBDA, "Next": "S", "Catch": catch}
    lines = drawn({"A": task, "S": {"Type": "Succeed"}}).splitlines()
    assert lines[-1] == f'    s0 -.->|"{"#quot;" * 59}…"| s1'


LINE = re.compile(
    r'subgraph (?P<outer>s\d+)\["[^"]*"\]'
    r'|(?P<node>s\d+)(\[|\{\{|\(\[)/?"[^"]*"/?(\]|\}\}|\]\))'
    r"|(s\d+_\d+|start)\(\(start\)\) --> (?P<first>s\d+)"
    r'|(?P<source>s\d+) (-->|(-->|-\.->)\|"[^"]*"\|) (?P<target>s\d+)'
    r"|end"
)


@given(machines())
def test_every_state_is_drawn_once_and_every_edge_joins_drawn_states(text: str) -> None:
    first, *lines = mermaid(json.loads(text)).splitlines()
    assert first == "flowchart TD"
    found = [LINE.fullmatch(line.strip()) for line in lines]
    assert all(found), lines
    parts = [match.groupdict() for match in found if match]
    nodes = [part["outer"] or part["node"] for part in parts if part["outer"] or part["node"]]
    assert nodes == [f"s{number}" for number in range(len(parse(text).states))]
    ends = {part[end] for part in parts for end in ("first", "source", "target") if part[end]}
    assert ends <= set(nodes)
    opened = sum(part["outer"] is not None for part in parts)
    assert [line.strip() for line in lines].count("end") == opened
