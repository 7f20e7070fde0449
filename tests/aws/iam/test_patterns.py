"""Wildcards and variables."""

from __future__ import annotations

import time

import pytest
from tests.aws.iam.world import SESSION, context_of

from stepout.aws.iam.patterns import MANY, ONE, Pattern, Variable, pieces, read

NOTHING = context_of({})


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("abc", "abc", True),
        ("abc", "ABC", False),
        ("abc", "abcd", False),
        ("*", "", True),
        ("*", "any:thing/at\nall", True),
        ("a*", "a", True),
        ("a*", "ab:c/d", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*bc*d", "abcbcd", True),
        ("a*bc*d", "abccd", True),
        ("a*bc*d", "abd", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("a*b*b", "ab", False),
        ("a*b*b", "abb", True),
        ("ab*x*bc", "abc", False),
        ("a**b", "ab", True),
        ("?", "a", True),
        ("?", "", False),
        ("?", "\n", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a?*c", "abc", True),
        ("a?*c", "ac", False),
        ("*?b*", "ab", True),
        ("*?b*", "b", False),
        ("arn:aws:*:b", "arn:aws:x:y:b", True),
        ("[a-z]", "b", False),
        ("a.c", "abc", False),
        ("*é?", "é!", True),
    ],
)
def test_wildcards_stand_for_any_characters_and_for_one(
    pattern: str, text: str, matches: bool
) -> None:
    assert Pattern.read(pattern).matches(text, NOTHING) is matches


@pytest.mark.parametrize(
    "pattern", ["*a*a*a*a*b", "*a" * 500 + "b", "*a?" * 300 + "b", "a?" * 500 + "b*c"]
)
def test_no_pattern_is_dear(pattern: str) -> None:
    """Backtracking would take longer than the universe has had; half a minute is generous."""
    compiled = Pattern.read(pattern)
    started = time.process_time()
    for text in ("a" * 20_000, "a" * 20_000 + "c", "ab" * 10_000 + "c"):
        assert not compiled.matches(text, NOTHING)
    assert time.process_time() - started < 30


def test_a_value_is_put_in_for_a_variable() -> None:
    pattern = Pattern.read("home/${aws:username}/*")
    assert pattern.matches("home/alice/x", NOTHING)
    assert not pattern.matches("home/bob/x", NOTHING)


@pytest.mark.parametrize("text", ["home/a*/x", "home/a*/"])  # The tag Odd of the user is `a*`.
def test_a_value_is_no_wildcard(text: str) -> None:
    pattern = Pattern.read("home/${aws:PrincipalTag/Odd}/*")
    assert pattern.matches(text, NOTHING)
    assert not pattern.matches("home/ab/x", NOTHING)


def test_a_default_stands_where_there_is_no_value() -> None:
    pattern = Pattern.read("home/${aws:username, 'no*body'}")
    assert pattern.matches("home/alice", NOTHING)
    assert pattern.matches("home/no*body", context_of({}, SESSION))
    assert not pattern.matches("home/nonebody", context_of({}, SESSION))


def test_an_empty_value_is_a_value() -> None:
    assert Pattern.read("a${x:y, 'z'}b").matches("ab", context_of({"x:y": ""}))


def test_an_empty_default_is_a_default() -> None:
    assert Pattern.read("a${aws:username,''}b").matches("ab", context_of({}, SESSION))


def test_a_variable_without_value_matches_nothing() -> None:
    pattern = Pattern.read("*${aws:username}*")
    context = context_of({}, SESSION)
    assert pattern.resolved(context) is None
    assert not pattern.matches("", context)
    assert not pattern.matches("${aws:username}", context)


def test_a_key_with_several_values_is_no_variable() -> None:
    pattern = Pattern.read("x-${aws:TagKeys}")
    assert pattern.matches("x-a", context_of({"aws:TagKeys": ["a"]}))
    assert not pattern.matches("x-a", context_of({"aws:TagKeys": ["a", "b"]}))


def test_three_characters_can_be_written_as_variables() -> None:
    pattern = Pattern.read("a${*}b${?}c${$}*")
    assert pattern.matches("a*b?c$", NOTHING)
    assert not pattern.matches("axb?c$", NOTHING)
    assert not pattern.matches("a*bxc$", NOTHING)


def test_the_old_version_knows_no_variables() -> None:
    pattern = Pattern.read("a${aws:username}${*}", variables=False)
    assert pattern.matches("a${aws:username}${anything}", NOTHING)
    assert not pattern.matches("aalice*", NOTHING)


def test_equality_knows_no_wildcards() -> None:
    pattern = Pattern.read("a*?", wildcards=False)
    assert pattern.is_exact
    assert pattern.matches("a*?", NOTHING)
    assert not pattern.matches("abc", NOTHING)


@pytest.mark.parametrize(
    "text",
    [
        *("${", "a${aws:username", "${}", "${username}", "${ }", "${a:b, c}", "${a:b, 'c}"),
        *("${a:b,}", "${a:b 'c'}", "${a:'b'}", "${a:b, 'c' 'd'}", "${${a:b}}", "${**}", "${a:*}"),
    ],
)
def test_what_is_no_variable_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected a variable such as"):
        Pattern.read(text)


@pytest.mark.parametrize("text", ["$", "$a", "a}", "{a}", "$ {a:b}", "$$"])
def test_dollars_and_braces_alone_are_text(text: str) -> None:
    assert Pattern.read(text).matches(text, NOTHING)


def test_the_parts_of_a_text() -> None:
    assert read("a**?${ A:B , 'c,d' }${*}", wildcards=True, variables=True) == (
        "a",
        MANY,
        ONE,
        Variable("a:b", "c,d"),
        "*",
    )


def test_pieces_are_cut_at_separators_in_texts() -> None:
    assert pieces(["a:b", MANY, "c:d:e", ONE], ":", 3) == [["a"], ["b", MANY, "c"], ["d:e", ONE]]
