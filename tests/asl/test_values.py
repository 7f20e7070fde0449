from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.asl.values import MAX_DEPTH, MISSING, Document, Json, depth_of, dumps, equals, loads
from stepout.errors import JsonError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children, max_size=4)
    ),
)


@given(JSON)
def test_what_is_written_reads_back_equal(value: Json) -> None:
    assert equals(loads(dumps(value)), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0", 1.0),
        ("12345678901234567890123", 12345678901234567890123),
        ('{"a":12345678901234567890123,"b":1.5}', {"a": 12345678901234567890123, "b": 1.5}),
        ('"12345678901234567890123"', "12345678901234567890123"),
        ('{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_numbers_and_duplicates_are_read_as_jackson_reads_them(text: str, value: Json) -> None:
    read = loads(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "-Infinity",
        "1E400",
        "[12345678901234567890123, 1E400]",
        "[12345678901234567890123, NaN]",
        '"\\ud800"',
        "\ufeff{}",
        "[1,]",
        "{'a':1}",
        "1" * 5_000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        loads(text)


def test_a_token_is_refused_in_the_words_recorded_on_aws() -> None:
    with pytest.raises(JsonError, match=r"^Unrecognized token 'not': was expecting \(JSON String"):
        loads("not json")


@pytest.mark.parametrize("end", ['"', "", "\\"])
def test_a_string_without_an_end_costs_no_more_than_its_length(end: str) -> None:
    """Anybody may send a text, and it is read before it is known who does.

    Tried anew from each quote, a megabyte took half an hour.
    """
    with pytest.raises(JsonError):
        loads("[" * (MAX_DEPTH + 1) + '"' + '\\"' * 500_000 + end)


@given(
    st.recursive(
        st.text('"\\[]{}a', max_size=4),
        lambda one: st.lists(one) | st.dictionaries(st.text('"\\[{'), one),
    )
)
def test_the_depth_of_a_text_is_that_of_its_value(value: Json) -> None:
    def depth(item: Json) -> int:
        if not isinstance(item, list | dict):
            return 0
        inner = item.values() if isinstance(item, dict) else item
        return 1 + max(map(depth, inner), default=0)

    assert depth_of(dumps(value)) == depth(value)


@pytest.mark.parametrize("depth", [254, 255, MAX_DEPTH])
def test_depth_up_to_the_limit_is_read_and_written(depth: int) -> None:
    text = b"[" * depth + b"1" + b"]" * depth
    assert dumps(loads(text)) == text


def test_equality_of_deep_values_needs_no_recursion() -> None:
    one: Json = 1
    other: Json = 1.0
    for _ in range(5_000):
        one, other = {"a": [one]}, {"a": [other]}
    assert equals(one, other)
    assert not equals(one, {"a": [other]})


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    text = '["' + "[" * 2_000 + '"]'
    assert loads(text) == ["[" * 2_000]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        (None, False, False),
        ([1, {"a": True}], [1, {"a": True}], True),
        ([1, {"a": True}], [1, {"a": 1}], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ("1", 1, False),
    ],
)
def test_values_are_equal_as_json_values_are(left: Json, right: Json, *, expected: bool) -> None:
    assert equals(left, right) is expected


def test_big_integers_and_deep_values_are_written_exactly() -> None:
    value: Json = {"a": [2**80, -1, True, None, "é", 0.5, {}, []]}
    for _ in range(300):
        value = [value]
    assert dumps(value).startswith(b"[" * 300 + b'{"a":[1208925819614629174706176,-1,true,null,')
    assert equals(loads(dumps(value)), value)


def test_missing_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError):
        bool(MISSING)


def test_a_document_writes_its_value_once() -> None:
    document = Document({"é": math.pi})
    assert document.encoded is document.encoded
    assert document.size == len('{"é":3.141592653589793}'.encode())
    assert "3.14" not in repr(document)
