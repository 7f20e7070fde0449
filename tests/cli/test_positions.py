"""Where values stand: line and column of each, and which one a problem's location means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.cli.positions import Node, Unreadable, find, read_json, read_yaml
from stepout.errors import JsonError

Tree: TypeAlias = "tuple[int, int, dict[str, Tree]]"


def tree_of(node: Node) -> Tree:
    return node.line, node.column, {name: tree_of(child) for name, child in node.children.items()}


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", (1, 1, {})),
        (' "a"', (1, 2, {})),
        ("\n\n  null\n", (3, 3, {})),
        ("{}", (1, 1, {})),
        (" []", (1, 2, {})),
        ('{"a": 1}', (1, 1, {"a": (1, 2, {})})),
        ('{"a":\n  1}', (1, 1, {"a": (1, 2, {})})),
        ('{"": {"": 1}}', (1, 1, {"": (1, 2, {"": (1, 7, {})})})),
        ("[1, 2]", (1, 1, {"[0]": (1, 2, {}), "[1]": (1, 5, {})})),
        ("[[], {}, 3]", (1, 1, {"[0]": (1, 2, {}), "[1]": (1, 6, {}), "[2]": (1, 10, {})})),
        (
            '{"a": [{"b": 1}, {"b": 2}], "c": 3}',
            (
                1,
                1,
                {
                    "a": (
                        1,
                        2,
                        {"[0]": (1, 8, {"b": (1, 9, {})}), "[1]": (1, 18, {"b": (1, 19, {})})},
                    ),
                    "c": (1, 29, {}),
                },
            ),
        ),
    ],
)
def test_a_member_stands_where_its_key_does_and_an_item_where_it_begins(
    text: str, tree: Tree
) -> None:
    assert tree_of(read_json(text)) == tree


def test_a_key_is_known_by_what_its_escapes_mean() -> None:
    text = r'{"\u0041": 1, "say \"{,}\"": 2, "\ud83d\ude00": 3, "\\": 4}'
    assert tree_of(read_json(text)) == (
        1,
        1,
        {"A": (1, 2, {}), 'say "{,}"': (1, 15, {}), "😀": (1, 33, {}), "\\": (1, 52, {})},
    )


def test_columns_count_characters_not_bytes() -> None:
    assert tree_of(read_json('{"é": "😀", "b": 1}')) == (1, 1, {"é": (1, 2, {}), "b": (1, 12, {})})


def test_what_stands_in_a_text_is_no_structure() -> None:
    text = r'{"a": "{\"x\": [1, 2]}\n\\", "b": 1}'
    assert tree_of(read_json(text)) == (1, 1, {"a": (1, 2, {}), "b": (1, 30, {})})


def test_of_a_key_given_twice_the_last_counts_as_in_the_value() -> None:
    text = '{"a": {"x": 1},\n "a": {"y": 2}}'
    assert json.loads(text) == {"a": {"y": 2}}
    assert tree_of(read_json(text)) == (1, 1, {"a": (2, 2, {"y": (2, 8, {})})})


def test_thousands_of_levels_are_read_without_recursion() -> None:
    node = read_json("[" * 5_000 + "]" * 5_000)
    for column in range(1, 5_000):
        assert (node.line, node.column) == (1, column)
        node = node.children["[0]"]
    assert node.children == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


class Writer:
    """Writes JSON with white space drawn anywhere, and keeps where it puts each value."""

    def __init__(self, space: Callable[[], str]) -> None:
        self.text = ""
        self._space = space

    def value(self, value: Any) -> Tree:
        self._put("")
        return (*self._place(), self._inside(value))

    def _inside(self, value: Any) -> dict[str, Tree]:
        if isinstance(value, dict):
            return self._members(value)
        if isinstance(value, list):
            return self._items(value)
        self._put(json.dumps(value))
        return {}

    def _members(self, value: dict[str, Any]) -> dict[str, Tree]:
        children: dict[str, Tree] = {}
        self._put("{")
        for index, (key, member) in enumerate(value.items()):
            self._put("," if index else "")
            place = self._place()
            self._put(json.dumps(key, ensure_ascii=index % 2 == 0))
            self._put(":")
            children[key] = (*place, self._inside(member))
        self._put("}")
        return children

    def _items(self, value: list[Any]) -> dict[str, Tree]:
        children: dict[str, Tree] = {}
        self._put("[")
        for index, item in enumerate(value):
            self._put("," if index else "")
            children[f"[{index}]"] = (*self._place(), self._inside(item))
        self._put("]")
        return children

    def _put(self, piece: str) -> None:
        self.text += piece + self._space()

    def _place(self) -> tuple[int, int]:
        lines = self.text.split("\n")
        return len(lines), len(lines[-1]) + 1


@given(JSON, st.data())
def test_every_value_is_found_where_it_was_written(value: Any, data: st.DataObject) -> None:
    writer = Writer(lambda: data.draw(st.text(" \t\r\n", max_size=2)))
    tree = writer.value(value)
    assert tree_of(read_json(writer.text)) == tree


# --- YAML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "tree"),
    [
        ("", None, (1, 1, {})),
        ("# nothing\n", None, (1, 1, {})),
        ("\n  x", "x", (2, 3, {})),
        (
            "a: 1\nb:\n  - x\n  - y: 2\n    z: 3\n",
            {"a": 1, "b": ["x", {"y": 2, "z": 3}]},
            (
                1,
                1,
                {
                    "a": (1, 1, {}),
                    "b": (
                        2,
                        1,
                        {
                            "[0]": (3, 5, {}),
                            "[1]": (4, 5, {"y": (4, 5, {}), "z": (5, 5, {})}),
                        },
                    ),
                },
            ),
        ),
        (
            "{a: 1,\n b: [x, {y: 2}]}",
            {"a": 1, "b": ["x", {"y": 2}]},
            (
                1,
                1,
                {
                    "a": (1, 2, {}),
                    "b": (2, 2, {"[0]": (2, 6, {}), "[1]": (2, 9, {"y": (2, 10, {})})}),
                },
            ),
        ),
        (
            "'q': 1\n\"\\u00e9\": 2\n? long\n: 3\n",
            {"q": 1, "é": 2, "long": 3},
            (1, 1, {"q": (1, 1, {}), "é": (2, 1, {}), "long": (3, 3, {})}),
        ),
        (
            "---\n# first\na: |\n  b: no key\nb: >-\n  x\n\n  y\n😀: {c: 1}\n",
            {"a": "b: no key\n", "b": "x\ny", "😀": {"c": 1}},
            (3, 1, {"a": (3, 1, {}), "b": (5, 1, {}), "😀": (9, 1, {"c": (9, 5, {})})}),
        ),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}, (1, 1, {"a": (1, 1, {}), "b": (2, 1, {})})),
        ("\ufeffa: 1", {"a": 1}, (1, 1, {"a": (1, 1, {})})),
        ("a: 1\na: 2\n", {"a": 2}, (1, 1, {"a": (2, 1, {})})),
    ],
)
def test_yaml_gives_the_value_and_its_places(text: str, value: Any, tree: Tree) -> None:
    found, places = read_yaml(text)
    assert (found, tree_of(places)) == (value, tree)


def test_what_an_alias_repeats_stands_at_its_anchor() -> None:
    found, places = read_yaml("a: &x\n  p: 1\nb: *x\n")
    assert found == {"a": {"p": 1}, "b": {"p": 1}}
    assert tree_of(places) == (
        1,
        1,
        {"a": (1, 1, {"p": (2, 3, {})}), "b": (3, 1, {"p": (2, 3, {})})},
    )


def test_what_is_merged_stands_where_it_comes_from_unless_it_is_given_anew() -> None:
    found, places = read_yaml("a: &x\n  p: 1\n  q: 2\nb:\n  q: 3\n  <<: *x\n")
    assert found == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}
    assert tree_of(places.children["b"]) == (4, 1, {"p": (2, 3, {}), "q": (5, 3, {})})


def test_a_timestamp_is_the_text_that_it_stands_as() -> None:
    text = "- 2026-11-23\n- 2026-11-23T12:34:56Z\n- 2026-11-23 12:34:56.7 +01:00\n"
    assert read_yaml(text)[0] == [
        "2026-11-23",
        "2026-11-23T12:34:56Z",
        "2026-11-23 12:34:56.7 +01:00",
    ]


def test_pyyamls_own_loader_still_reads_timestamps() -> None:
    import yaml

    assert yaml.safe_load("2026-11-23") != "2026-11-23"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "expected the node content, but found '<stream end>'"),
        ("a: b: c", "mapping values are not allowed here"),
        ("\ta: 1", "found character '\\t' that cannot start any token"),
        ("*a", "found undefined alias 'a'"),
        ("a: !Ref b", "could not determine a constructor for the tag '!Ref'"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("a: 1\n---\nb: 1", "expected a single document in the stream"),
        ("? [a]\n: 1", "Expected a text as a key"),
        ("&a [*a]", "more than 200,000 values"),
        ("[" * 5_000, "recursion"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_yaml(text)
    assert isinstance(caught.value, Unreadable)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- Locations ------------------------------------------------------------------------------------

PLACES = read_json(
    """{
    "StartAt": "A",
    "States": {
        "A": {"Retry": [{"Next": 1}, {"Next": 2}], "Parameters": {"a": {"b": [[0, 1]]}}},
        "AB": {"Next": 1},
        "A/B": {"Next": 1},
        "A[0]": {"Next": 1},
        "a b~1": {"Next": 1},
        "é": {"Next": 1}
    }
}"""
)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (None, (1, 1)),
        ("", (1, 1)),
        ("/", (1, 1)),
        ("/StartAt", (2, 5)),
        ("/States", (3, 5)),
        ("/States/A", (4, 9)),
        ("/States/A/Retry", (4, 15)),
        ("/States/A/Retry[0]", (4, 25)),
        ("/States/A/Retry[0]/Next", (4, 26)),
        ("/States/A/Retry[1]/Next", (4, 39)),
        ("/States/A/Parameters/a/b[0][1]", (4, 83)),
        ("/States/AB/Next", (5, 16)),
        ("/States/A/B/Next", (6, 17)),
        ("/States/A[0]/Next", (7, 18)),
        ("/States/a b~1/Next", (8, 19)),
        ("/States/é/Next", (9, 15)),
    ],
)
def test_a_location_is_found_names_unescaped(location: str | None, place: tuple[int, int]) -> None:
    node = find(PLACES, location)
    assert (node.line, node.column) == place


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/Version", (1, 1)),
        ("/States/ABC", (3, 5)),
        ("/States/A/Type", (4, 9)),
        ("/States/A/Retry[2]/Next", (4, 15)),
        ("/States/A/Retry[0]/ErrorEquals[0]", (4, 25)),
        ('[Source: (String)"x"; line: 1, column: 2]', (1, 1)),
    ],
)
def test_what_is_nowhere_is_the_nearest_around_it(location: str, place: tuple[int, int]) -> None:
    node = find(PLACES, location)
    assert (node.line, node.column) == place
