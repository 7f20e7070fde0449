"""JSONPath: what each form reads, what misses, what is no path, what may be written."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.asl import allowance, jsonpath
from stepout.asl.allowance import APART, Allowance, NeedsTime
from stepout.asl.jsonpath import PathMiss
from stepout.errors import PathError

FILMS = [
    {"title": "Alien", "year": 1979, "tags": ["space", "fear"], "seen": True},
    {"title": "Brazil", "year": 1985, "tags": [], "note": None},
    {"title": "Clue", "year": 1985.5, "cut": {"title": "Clue II"}},
]
DOCUMENT: dict[str, Any] = {
    "films": FILMS,
    "grid": [[1, 2], [3, 4]],
    "list": [0, 1, 2, 3, 4],
    "empty": [],
    "nothing": None,
    "text": "abc",
    "a b": 1,
    "a.b": 2,
    "a'b": 3,
    "schön": 4,
    "semi-final": 5,
    "7": 6,
    "length": 7,
    "limit": 1980,
    'back\\"slash': 9,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.limit", 1980),
        ("$['limit']", 1980),
        ('$["limit"]', 1980),
        ("$[ 'films' ][ 1 ].title", "Brazil"),
        ("$.films[0].tags[1]", "fear"),
        ("$.list[-1]", 4),
        ("$.grid[1][0]", 3),
        ("$.nothing", None),
        ("$['a b']", 1),
        ("$['a.b']", 2),
        ("$['a\\'b']", 3),
        ("$['back\\\"slash']", 9),
        ('$["back\\\\\\"slash"]', 9),
        ("$.['a b']", 1),
        ("$.schön", 4),
        ("$.semi-final", 5),
        ("$.7", 6),
        ("$.length", 7),
        ("$['text','limit','nope']", {"text": "abc", "limit": 1980}),
    ],
)
def test_a_definite_path_reads_one_value(path: str, value: Any) -> None:
    assert jsonpath.compile(path).read(DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.films[*].title", ["Alien", "Brazil", "Clue"]),
        ("$.grid[*][0]", [1, 3]),
        ("$.nope[*].x", []),
        ("$.nope.deeper[1:5]", []),
        ("$.text[0][*]", []),
        ("$.nope[?(@.x)]", []),
        ("$.films[0].*", ["Alien", 1979, ["space", "fear"], True]),
        ("$.text[*]", []),
        ("$.list[1:3]", [1, 2]),
        ("$.list[:2]", [0, 1]),
        ("$.list[-2:]", [3, 4]),
        ("$.list[0:5:2]", [0, 2, 4]),
        ("$.list[3:1]", []),
        ("$.list[0,2,9]", [0, 2]),
        ("$..title", ["Alien", "Brazil", "Clue", "Clue II"]),
        ("$.films..title", ["Alien", "Brazil", "Clue", "Clue II"]),
        ("$..tags[0]", ["space"]),
        ("$..nope", []),
        ("$.films[*]['title','year']", [{"title": f["title"], "year": f["year"]} for f in FILMS]),
        ("$.films[?(@.year > 1980)].title", ["Brazil", "Clue"]),
        ("$.films[?(@.year >= 1985 && @.year <= 1985)].title", ["Brazil"]),
        ("$.films[?(@.title == 'Alien' || @['year'] == 1985.5)].title", ["Alien", "Clue"]),
        ("$.films[?(@.seen)].title", ["Alien"]),
        ("$.films[?(!@.seen)].title", ["Brazil", "Clue"]),
        ("$.films[?(@.seen == true)].title", ["Alien"]),
        ("$.films[?(@.seen == 1)].title", []),
        ("$.films[?(@.note == null)].title", ["Brazil"]),
        ("$.films[?(!@.note)].title", ["Alien", "Brazil", "Clue"]),
        ("$.films[?(@.note != null)].title", ["Alien", "Clue"]),
        ("$.films[?(@.year < $.limit)].title", ["Alien"]),
        ("$.films[?(@.title < 'B')].title", ["Alien"]),
        ("$.films[?(@.title > 1)].title", []),
        ("$.films[?(@.cut[?(@.title)])].title", ["Clue"]),
        ("$.films[?( (@.year == 1985) && !(@.tags[0]) )].title", ["Brazil"]),
        ("$.films[2].cut[?(@.title == 'Clue II')]", [{"title": "Clue II"}]),
        ("$.list[?(@ > 2)]", []),
        ("$..films[?(@.year == 1979)].title", ["Alien"]),
    ],
)
def test_an_indefinite_path_reads_a_list(path: str, values: list[Any]) -> None:
    assert jsonpath.compile(path).read(DOCUMENT) == values


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.X", "No results for path: $['X']"),
        ("$.no.such", "Missing property in path $['no']"),
        ("$.films[1].nope", "No results for path: $['films'][1]['nope']"),
        ("$.text.x", "Expected to find an object with property ['x'] in $['text']"),
        ("$.films.title", "Expected to find an object with property ['title'] in $['films']"),
        ("$.text['a','b']", "Expected to find an object with property ['a','b'] in $['text']"),
        ("$.list.length()", "Expected to find an object with property ['length()'] in $['list']"),
        ("$.nothing[0]", "can only be applied to arrays. Current context is: $['nothing']"),
    ],
)
def test_a_definite_part_that_leads_nowhere_is_missed_in_jayways_words(
    path: str, message: str
) -> None:
    with pytest.raises(PathMiss) as caught:
        jsonpath.compile(path).read(DOCUMENT)
    assert message in str(caught.value)
    assert not caught.value.index_out_of_range


@pytest.mark.parametrize("path", ["$.list[5]", "$.list[-6]", "$.empty[0]", "$.grid[0][2]"])
def test_an_index_out_of_range_is_told_apart(path: str) -> None:
    with pytest.raises(PathMiss, match="Index out of bounds when evaluating path") as caught:
        jsonpath.compile(path).read(DOCUMENT)
    assert caught.value.index_out_of_range


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "expects '$' at character 1, found its end"),
        ("films", "expects '$' at character 1, found 'films'"),
        ("$.", "expects a name or '*' at character 3"),
        ("$..", "expects a name or '*' at character 4"),
        ("$x y", "expects '.' or '[' at character 3"),
        ("$.a b", "expects '.' or '[' at character 4, found ' b'"),
        ("$.list[", "expects an index, a quoted name, '*', ':' or '?' at character 8"),
        ("$.list[a]", "expects an index"),
        ("$.list[0", "expects ']' at character 9"),
        ("$['a", "expects a quoted name"),
        ("$.a[?(@.x", "expects ')'"),
        ("$.a[?(1)]", "expects an operator"),
        ("$.a[?(@.x =~ /a+/)]", "expects ')'"),
        ("$.a[?(@.x == )]", "expects a path or a constant"),
        ("$.a[99999999999]", "expects an index"),
        ("$.a" + "[?(@" * 40, "nests deeper than 32 levels"),
        ("$.a[?(" + "(" * 40, "nests deeper than 32 levels"),
        ("$." + "a" * 70_000, "it may have 65536"),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(path: str, message: str) -> None:
    with pytest.raises(PathError) as caught:
        jsonpath.compile(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "root"), [("$.a", "$"), ("$$.Execution.Id", "$$"), ("$order.id", "$order")]
)
def test_the_root_says_what_is_read(path: str, root: str) -> None:
    assert jsonpath.compile(path).root == root


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("$", 9),
        ("$.a", {"a": 9, "b": {"c": [1, 2]}}),
        ("$.b", {"b": 9}),
        ("$.b.d.e", {"b": {"c": [1, 2], "d": {"e": 9}}}),
        ("$.b.c[1]", {"b": {"c": [1, 9]}}),
        ("$.b['x y']", {"b": {"c": [1, 2], "x y": 9}}),
    ],
)
def test_a_reference_path_is_written_into_a_copy(path: str, result: Any) -> None:
    document = {"b": {"c": [1, 2]}}
    before = copy.deepcopy(document)
    assert jsonpath.compile_reference(path).write(document, 9) == result
    assert document == before


def test_a_null_on_the_way_becomes_an_object() -> None:
    assert jsonpath.compile("$.a.b").write({"a": None}, 9) == {"a": {"b": 9}}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("text", "$.a"),
        ([], "$.a"),
        ({"a": 1}, "$.a.b"),
        ({"a": []}, "$.a[0]"),
        ({"a": {}}, "$.a[0]"),
        ({}, "$.a[0]"),
    ],
)
def test_what_cannot_be_written_to_is_missed(document: Any, path: str) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(PathMiss):
        jsonpath.compile(path).write(document, 9)
    assert document == before


@pytest.mark.parametrize(
    "path", ["$.a[*]", "$..a", "$.a[0,1]", "$.a[0:1]", "$.a[?(@.b)]", "$['a','b']", "$.", "$.a b"]
)
def test_a_reference_path_names_one_place(path: str) -> None:
    with pytest.raises(PathError, match=r"^Value is not a Reference Path$"):
        jsonpath.compile_reference(path)


def test_a_reference_path_starts_with_a_dollar() -> None:
    with pytest.raises(PathError, match=r"Reference path didn't start with '\$'"):
        jsonpath.compile_reference("a")


def test_a_deep_document_is_read_without_recursion() -> None:
    deep: Any = {"leaf": 1}
    for _ in range(5_000):
        deep = {"a": deep}
    assert jsonpath.compile("$..leaf").read(deep) == [1]
    assert jsonpath.compile("$" + ".a" * 5_000 + ".leaf").read(deep) == 1


def test_a_path_that_multiplies_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "APART", replace(APART, nodes=100_000))
    wide = {"a": [[0] * 300] * 300}
    for text in ("$..*..*..*", "$.a[?(@..x == $..x)]"):
        with pytest.raises(PathMiss, match="nodes of their documents"):
            jsonpath.compile(text).read(wide)
        with pytest.raises(NeedsTime):
            jsonpath.compile(text).read(wide, Allowance())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)
PATHS = st.lists(
    st.sampled_from([".a", ".b", "['c']", "[0]", "[-1]", "[*]", "..a", "[1:]", "[?(@.a)]", ".*"]),
    max_size=5,
).map(lambda parts: "$" + "".join(parts))


@given(JSON, PATHS)
def test_reading_gives_a_value_or_a_miss_and_nothing_else(document: Any, path: str) -> None:
    try:
        jsonpath.compile(path).read(document)
    except PathMiss:
        return


@given(JSON, PATHS, JSON)
def test_what_is_written_is_read_back(document: Any, path: str, value: Any) -> None:
    compiled = jsonpath.compile(path)
    if not compiled.is_reference:
        return
    try:
        written = compiled.write(document, value)
    except PathMiss:
        return
    assert compiled.read(written) == value


@given(st.text("$.[]()'\"?@*:,&|!=<>ab01- ", max_size=30))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    for path in (text, f"${text}", f"$.a[?({text})]"):
        try:
            jsonpath.compile(path)
        except PathError:
            continue
