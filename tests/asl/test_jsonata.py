"""JSONata: AWS's functions, refusals and limits, and what does not fit the event loop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asl.around import Around

from stepout.asl import allowance, jsonata
from stepout.asl.allowance import APART, NeedsTime
from stepout.asl.jsonata import QueryError, SyntaxProblem
from stepout.asl.values import MISSING, Document, Json, Missing


class Roots:
    def __init__(self, source: Json, **variables: Json) -> None:
        self._source = Document(source)
        self._variables = {name: Document(value) for name, value in variables.items()}

    def member(self, name: str) -> Document | None:
        return {"input": self._source, "context": Document({"State": {"Name": "S"}})}.get(name)

    def variable(self, name: str) -> Document | None:
        return self._variables.get(name)


SOURCE = {"a": 1, "b": {"c": [1]}, "l": [{"v": 1}, {"v": 2}], "n": None, "a b": 5, "e": []}


def evaluate(text: str, source: Json = SOURCE, **variables: Json) -> Json | Missing:
    """The value, which is the same on the event loop and apart from it."""
    query = jsonata.compile(text)
    inline = query.evaluate(Roots(source, **variables), Around())
    apart = query.evaluate(Roots(source, **variables), Around(is_inline=False))
    assert inline == apart or (inline is MISSING and apart is MISSING)
    return inline


def fails(text: str, source: Json = SOURCE, **variables: Json) -> tuple[str | None, str]:
    with pytest.raises(QueryError) as caught:
        jsonata.compile(text).evaluate(Roots(source, **variables), Around())
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$states.input", SOURCE),
        ("$states.input.a", 1),
        (" $states.input.b.c ", [1]),
        ("$states.input.l.v", [1, 2]),
        ("$states.input.`a b`", 5),
        ("$states.input.n", None),
        ("$states.input.e", []),
        ("$states.context.State.Name", "S"),
        ("$states.input.a + $x", 8),
        ("$x", 7),
        ("$states.input.l[v = 2].v", 2),
        ("{'k': $states.input.a, 'gone': $states.input.nope}", {"k": 1}),
        ("null", None),
        ("10 / 4", 2.5),
        ("10 / 2", 5),
        ("$string(1e20)", "100000000000000000000"),
        ("$string(1e21)", "1e+21"),
        ("$now()", "2023-11-14T22:13:20.000Z"),
        ("$millis()", 1_700_000_000_000),
        ("/ab+/.match", "ignored"),
    ][:-1],
)
def test_values(text: str, value: Json) -> None:
    assert evaluate(text, SOURCE, x=7) == value


@pytest.mark.parametrize(
    "text", ["$states.input.nope", "$nope", "$states.input.nope.deep", "$nope.a", "()"]
)
def test_what_is_nowhere_is_undefined_and_not_null(text: str) -> None:
    assert evaluate(text) is MISSING


def test_a_plain_path_keeps_numbers_as_they_are() -> None:
    source = {"large": 2**80, "double": 1.0}
    assert evaluate("$states.input.large", source) == 2**80
    assert isinstance(evaluate("$states.input.double", source), float)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$partition([1,2,3,4], 3)", [[1, 2, 3], [4]]),
        ("$partition([1,2,3], 1.9)", [[1], [2], [3]]),
        ("$range(1, 9, 9)", 1),
        ("$range(0, 4, 2)", [0, 2, 4]),
        ("$range(3, 1, -1)", [3, 2, 1]),
        ("$range(0, 1, 0.5)", [0, 0.5, 1]),
        ("$hash('a', 'MD5')", "0cc175b9c0f1b6a831c399e269772661"),
        ("$hash('a', 'SHA-1')", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        ("$random(42)", 0.7275636800328681),
        ("$uuid()", "00010203-0405-4607-8809-0a0b0c0d0e0f"),
        ("$parse('{\"a\": [1, null]}')", {"a": [1, None]}),
        ("$parse('-0')", 0),
        ("$map([1,2], function($v) { $hash($string($v), 'MD5') })[0]", "c4ca4238a0b923820dcc509a6f75849b"),
    ],
)  # fmt: skip
def test_the_functions_that_aws_adds(text: str, value: Json) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    ["$partition([1], 0)", "$partition([], 2)", "$range(1, 2)", "$range(1, 2, -1)", "$range(1, 2, 0)",
     "$hash($states.input.nope, 'MD5')", "$parse($states.input.nope)"],
)  # fmt: skip
def test_where_the_added_functions_give_nothing(text: str) -> None:
    assert evaluate(text) is MISSING


def test_a_random_number_lies_in_its_bounds() -> None:
    value = evaluate("$random()")
    assert isinstance(value, float)
    assert 0 <= value < 1


@given(st.integers(-(2**63), 2**63))
def test_a_seeded_random_number_is_the_same_again(seed: int) -> None:
    value = evaluate(f"$random({seed})")
    assert isinstance(value, float)
    assert 0 <= value < 1
    assert evaluate(f"$random({seed})") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[$x, function($x){ $x }(5)]", [1, 5]),
        ("($x := $x + 1; $x)", 2),
        ("($g := function($x){ $x }; $g($x))", 1),
        ("{'x': $x, 'm': $map([7], function($x){ $x })}", {"x": 1, "m": 7}),
        ("$exists($nowhere) and $count($map([1, 2], function($nowhere){ $nowhere })) > 0", False),
        ("$count", 42),
        ("{'c': $count}", {"c": 42}),
        ("$count < 3", False),
        ("$sum([1, 2])", 3),
        ("$ä.b", 9),
    ],
)
def test_a_variable_is_seen_whatever_else_has_its_name(text: str, value: Json) -> None:
    """A parameter or a name that the expression binds, and the functions of the engine."""
    assert evaluate(text, SOURCE, x=1, count=42, ä={"b": 9}) == value


def test_few_sets_of_variables_are_kept_compiled() -> None:
    names = [f"v{index}" for index in range(8)]
    query = jsonata.compile("[" + ", ".join(f"${name}" for name in names) + "]")
    for chosen in range(2 ** len(names)):
        given_names = {name: 1 for index, name in enumerate(names) if chosen >> index & 1}
        assert query.evaluate(Roots({}, **given_names), Around()) == [1] * len(given_names)
    assert len(query._compiled) <= 16


@pytest.mark.parametrize("text", ["$sum", "$uuid", "function($x){ $x }"])
def test_a_function_is_no_value(text: str) -> None:
    assert fails(text) == (None, "returned an unsupported result type.")


def test_a_variable_hides_an_added_function() -> None:
    assert evaluate("$hash.a", hash={"a": 5}) == 5


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("$eval('1')", "T1006", "Attempted to invoke a non-function"),
        ("$nosuch(1)", "T1006", "Attempted to invoke a non-function"),
        ("$sum('a')", "T0412", 'Argument 1 of function "sum" must be an array of "numbers"'),
        ("$hash(1, 'MD5')", "T0410", 'Argument 1 of function "hash" does not match function signature'),
        ("$hash('a', 'md5')", "T0410", 'Argument 2 of function "hash" does not match function signature'),
        ("function($x) { $x }", None, "returned an unsupported result type."),
        ("$range(1, 400000, 1)", None, "Expression evaluation memory limit exceeded"),
        ("$f := function($n) { 1 + $f($n + 1) }; $f(1)", None, "Stack overflow error"),
    ],
)  # fmt: skip
def test_failures(text: str, code: str | None, message: str) -> None:
    found = fails(f"({text})")
    assert found[0] == code
    assert message in found[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", 'Expected "]" before end of expression'),
        ("'abc", "String literal must be terminated by a matching quote"),
        ("1 +", "Unexpected end of expression"),
        ("}", 'The symbol "}" cannot be used as a unary operator'),
        ("/abc", "No terminating / in regular expression"),
        ("", "Unexpected end of expression"),
    ],
)
def test_what_is_no_expression_is_refused_in_the_words_of_jsonata(text: str, message: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        jsonata.compile(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("phone", ("phone",)),
        ("{'a': phone, 'b': address.city}", ("address", "phone")),
        ("$", ("$",)),
        ("$$.a", ("$$",)),
        ("'$$'", ()),
        (r"$contains($states.input.s, /foo\$\$/)", ()),
        (r"$states.input.n / $$ / 2", ("$$",)),
        ("$states.input.l[v = 1]", ()),
        ("$states.input.l[$.v = 1]", ()),
        ("$states.input.{'k': v}", ()),
        ("$filter($states.input.l, function($i) { $i.v > 1 })", ()),
        ("$nosuch($states.input)", ()),
        ("$eval('a')", ()),
    ],
)
def test_names_outside_of_paths_are_found(text: str, names: tuple[str, ...]) -> None:
    assert tuple(sorted(jsonata.compile(text).unsupported)) == names


def test_what_may_take_long_is_not_begun_on_the_event_loop() -> None:
    query = jsonata.compile("$count($distinct($states.input))")
    roots = Roots([*range(5_000)])
    with pytest.raises(NeedsTime):
        query.evaluate(roots, Around())
    assert query.evaluate(roots, Around(is_inline=False)) == 5_000


def test_what_takes_long_is_given_up_on_the_event_loop() -> None:
    with pytest.raises(NeedsTime):
        jsonata.compile("($f := function() { $f() }; $f())").evaluate(Roots(1), Around())


def test_an_endless_expression_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "APART", replace(APART, seconds=0.05))
    query, around = jsonata.compile("($f := function() { $f() }; $f())"), Around(is_inline=False)
    for _ in range(2):
        # What another expression of the state has used up is gone for this one.
        with pytest.raises(QueryError) as caught:
            query.evaluate(Roots(1), around)
        assert caught.value.message == "Expression evaluation timeout: Check for infinite loop"
    around.allowance.renew()
    assert around.allowance.seconds == 0.05


@pytest.mark.parametrize(
    "text", ["[1..10000000]", "$count($distinct([1..9999]))", "$length($pad('x', 100000))"]
)
def test_what_makes_much_of_nothing_is_given_up_on_the_event_loop(text: str) -> None:
    with pytest.raises(NeedsTime):
        jsonata.compile(text).evaluate(Roots(1), Around())


def test_many_expressions_of_a_turn_share_its_time() -> None:
    query, around = jsonata.compile("$count($distinct([1..999]))"), Around()
    while not around.allowance.is_low:
        query.evaluate(Roots(1), around)
    around.allowance.pay_seconds(1)
    with pytest.raises(NeedsTime):
        query.evaluate(Roots(1), around)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from("abc"), json_values),
    st.lists(st.sampled_from("abc"), max_size=3),
)
def test_a_plain_path_gives_what_the_engine_gives(source: Json, keys: list[str]) -> None:
    """Own code serves plain paths; JSONata itself is the oracle."""
    path = ".".join(("$states.input", *keys))
    plain = jsonata.compile(path)
    oracle = jsonata.compile(f"({path})")
    assert plain.path is not None
    assert oracle.path is None
    assert _shown(plain, source) == _shown(oracle, source)


def _shown(query: Any, source: Json) -> str:
    value = query.evaluate(Roots(source), Around())
    return "undefined" if value is MISSING else json.dumps(value)


@pytest.mark.parametrize("end", ["", "\\", "a"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_quote_without_an_end_costs_no_more_than_the_text_and_hides_nothing(
    quote: str, end: str
) -> None:
    """Tried anew from each quote, this text took minutes of the event loop or of a worker."""
    text = f"$$ {quote}{(chr(92) + quote) * 200_000}{end}"
    assert jsonata._bare(text) == text
    assert jsonata._bare(f"a {quote}$${quote} /it's/ & $$") == "a  /it's/ & $$"
