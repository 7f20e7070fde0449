"""Intrinsic functions: what each gives, what each refuses, and what is no call."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepout.asl.intrinsics import _FUNCTIONS, compile_call
from stepout.asl.jsonpath import Path
from stepout.asl.states_error import Failure
from stepout.asl.values import dumps, loads
from stepout.errors import PathError

SOURCE: dict[str, Any] = {
    "text": "a'b{}",
    "template": "{}-{}",
    "list": [1, 2, 3, 4, 5],
    "object": {"Arg1": 1, "Arg2": [], "deep": {"a": "x", "n": None}},
    "null": None,
    "half": 1.5,
    "duplicates": [1, 1.0, "1", True, {"a": 1, "b": 2}, {"b": 2, "a": 1.0}, None, None],
}


class Draws:
    def __init__(self) -> None:
        self.drawn = 0

    def draw(self) -> bytes:
        self.drawn += 1
        return bytes([self.drawn]) * 32


def read(path: Path) -> Any:
    return path.read(SOURCE)


def call(text: str) -> Any:
    return compile_call(text).evaluate(read, Draws())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("States.Format('Hello')", "Hello"),
        ("States.Format('{} and {}', 'a', $.list[0])", "a and 1"),
        ("States.Format('{}', $.object)", "{Arg1=1, Arg2=[], deep={a=x, n=null}}"),
        ("States.Format('{} {} {}', null, true, 1.5)", "null true 1.5"),
        (r"States.Format('\{\} is \\ not {} it\'s', 1)", r"{} is \ not 1 it's"),
        ("States.Format($.template, 1, 2)", "1-2"),
        ("States.Format('{}', States.Format('[{}]', 'x'))", "[x]"),
        ("States.StringToJson('{\"a\": [1]}')", {"a": [1]}),
        ("States.StringToJson('')", None),
        ("States.StringToJson('  ')", None),
        ("States.JsonToString($.object)", '{"Arg1":1,"Arg2":[],"deep":{"a":"x","n":null}}'),
        ("States.JsonToString('x')", '"x"'),
        ("States.Array()", []),
        ("States.Array(1, 'a', null, $.list, States.Array())", [1, "a", None, [1, 2, 3, 4, 5], []]),
        ("States.ArrayPartition($.list, 2)", [[1, 2], [3, 4], [5]]),
        ("States.ArrayPartition($.list, 2.4)", [[1, 2], [3, 4], [5]]),
        ("States.ArrayPartition(States.Array(), 2)", []),
        ("States.ArrayContains($.list, 3)", True),
        ("States.ArrayContains($.list, 3.0)", True),
        ("States.ArrayContains($.list, '3')", False),
        ("States.ArrayContains(States.Array($.object), $.object)", True),
        ("States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
        ("States.ArrayRange(3, 1, -1)", [3, 2, 1]),
        ("States.ArrayRange(1, 0, 1)", []),
        ("States.ArrayGetItem($.list, 4)", 5),
        ("States.ArrayLength($.list)", 5),
        ("States.ArrayUnique($.duplicates)", [1, "1", True, {"a": 1, "b": 2}, None]),
        ("States.Base64Encode('é')", "w6k="),
        ("States.Base64Decode('w6k=')", "é"),
        ("States.Hash('x', 'MD5')", "9dd4e461268c8034f5c8564e155c67a6"),
        ("States.Hash('x', 'SHA-1')", "11f6ad8ec52a2984abaafd7c3b516503785c2072"),
        ("States.JsonMerge($.object, States.StringToJson('{\"Arg1\": 2}'), false)", {"Arg1": 2, "Arg2": [], "deep": {"a": "x", "n": None}}),
        ("States.MathAdd(1, -3)", -2),
        ("States.MathAdd($.half, 0)", 2),
        ("States.MathAdd(-1.5, 0)", -1),
        ("States.MathAdd(-1.51, 0)", -2),
        ("States.StringSplit('1,2;3', ',;')", ["1", "2", "3"]),
        ("States.StringSplit(',,,,', ',')", []),
        ("States.StringSplit('a.b]c^d', '.]^')", ["a", "b", "c", "d"]),
        ("States.UUID()", "01010101-0101-4101-8101-010101010101"),
        ("  States.MathAdd ( 1 , 2 )  ", 3),
        ("States.ArrayLength($['list'])", 5),
        ("States.ArrayLength($.list[?(@.a == ')' && (@.b > 1))])", 0),
    ],
)  # fmt: skip
def test_what_functions_give(text: str, result: Any) -> None:
    found = call(text)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    "text",
    [
        "States.Format('{}')",
        "States.Format('x', 1)",
        "States.Format($.text)",
        "States.Format($.list)",
        "States.StringToJson('{')",
        "States.StringToJson(1)",
        "States.ArrayPartition($.list, 0)",
        "States.ArrayPartition('x', 1)",
        "States.ArrayPartition($.list, '1')",
        "States.ArrayContains('x', 1)",
        "States.ArrayRange(1, 2, 0)",
        "States.ArrayRange(0, 1000, 1)",
        "States.ArrayRange(0, 99999999999999999999, 1)",
        "States.ArrayGetItem($.list, 5)",
        "States.ArrayGetItem($.list, -1)",
        "States.ArrayLength($.object)",
        "States.ArrayUnique('x')",
        "States.Base64Decode('w6k')",
        "States.Base64Decode('/w==')",
        "States.Hash('x', 'sha-1')",
        "States.JsonMerge($.object, $.object, true)",
        "States.JsonMerge($.list, $.object, false)",
        "States.MathRandom(2, 2)",
        "States.MathAdd(2147483648, 1)",
        "States.MathAdd('1', 1)",
        "States.MathAdd(true, 1)",
        "States.StringSplit($.list, ',')",
    ],
)
def test_bad_arguments_are_an_error_that_can_be_caught(text: str) -> None:
    with pytest.raises(Failure) as caught:
        call(text)
    assert caught.value.error.error == "States.IntrinsicFailure"
    assert caught.value.error.cause


def test_long_texts_are_refused() -> None:
    for name in ("Base64Encode", "Base64Decode"):
        with pytest.raises(Failure, match="States.IntrinsicFailure"):
            call(f"States.{name}('{'x' * 10_001}')")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "States.",
        "States.Nope()",
        "States.Format",
        "States.Format(",
        "States.Format()",
        "States.Format('x'",
        "States.Format('x",
        "States.Format('x') y",
        "States.Format('{')",
        r"States.StringToJson('{\"a\": 1}')",
        r"States.Array('\n')",
        "States.Format('}')",
        "States.UUID(1)",
        "States.MathAdd(1)",
        "States.MathAdd(1, 2, 3)",
        "States.MathAdd(1 2)",
        "States.Array(00)",
        "States.Array(1e999)",
        "States.Array(,)",
        "States.Array(x)",
        "States.Array($.)",
        "States.Array(1,)",
        "states.Array()",
        "States.Array(" * 11 + ")" * 11,
    ],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        compile_call(text)


def test_ten_levels_are_a_call() -> None:
    assert call("States.Array(" * 10 + ")" * 10) == [[[[[[[[[[]]]]]]]]]]


def test_random_numbers_come_from_the_draws_and_stay_within_their_bounds() -> None:
    draws = Draws()
    once = compile_call("States.MathRandom(1, 7)")
    found = {once.evaluate(read, draws) for _ in range(200)}
    assert found == {1, 2, 3, 4, 5, 6}
    seeded = compile_call("States.MathRandom(1, 1000, 42)")
    assert seeded.evaluate(read, draws) == seeded.evaluate(read, Draws())


def test_the_paths_of_a_call_are_known() -> None:
    paths = compile_call("States.Format('{}{}', $.a, States.Array($$.b, $c.d))").paths
    assert [(path.root, path.text) for path in paths] == [
        ("$", "$.a"),
        ("$$", "$$.b"),
        ("$c", "$c.d"),
    ]


def test_data_that_nests_without_end_is_a_bad_argument() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    for text in ("States.Format('{}', $.x)", "States.ArrayUnique($.x)"):
        with pytest.raises(Failure, match="States.IntrinsicFailure"):
            compile_call(text).evaluate(lambda _path: [deep], Draws())


def test_every_function_of_the_language_is_there() -> None:
    assert len(_FUNCTIONS) == 18


@given(st.text("States.FormatArray()$,' {}\\[]0", max_size=40))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    for candidate in (text, f"States.Array({text})", f"States.Format('{text}')"):
        try:
            compiled = compile_call(candidate)
        except PathError:
            continue
        assert compiled.paths is not None


@given(st.lists(st.text(max_size=5), max_size=5), st.text(max_size=10))
def test_format_is_the_inverse_of_cutting(values: list[str], between: str) -> None:
    escaped = re.sub(r"([\\{}'])", r"\\\1", between)
    text = escaped + "".join("{}" + escaped for _ in values)
    arguments = ", ".join("'" + re.sub(r"([\\{}'])", r"\\\1", value) + "'" for value in values)
    made = call(f"States.Format('{text}'{', ' if values else ''}{arguments})")
    assert made == between + "".join(value + between for value in values)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["MD5", "SHA-256", "{}", '{"a": [1]}', "YQ==", "a.b"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=600)
@given(st.sampled_from(sorted(_FUNCTIONS)), st.lists(ANYTHING, min_size=3, max_size=3))
def test_any_arguments_give_json_or_a_failure_of_the_language(
    name: str, arguments: list[Any]
) -> None:
    function = _FUNCTIONS[name]
    count = 3 if function.most is None else function.most
    paths = ", ".join(f"$[{index}]" for index in range(count))
    compiled = compile_call(f"{name}({paths})")
    try:
        result = compiled.evaluate(lambda path: path.read(arguments), Draws())
    except Failure as failure:
        result = failure.error.error
        expected = "States.IntrinsicFailure"
    else:
        expected = loads(dumps(result))
    assert result == expected


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_quote_without_an_end_costs_no_more_than_the_text(quote: str) -> None:
    """Tried anew from each quote, this text took minutes of the event loop or of a worker."""
    with pytest.raises(PathError):
        compile_call(f"States.Format($[{quote}{(chr(92) + quote) * 200_000})")
