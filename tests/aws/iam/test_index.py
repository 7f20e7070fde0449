"""The index gives all that may match, and little else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.aws.iam.world import context_of

from stepout.aws.iam.index import Index
from stepout.aws.iam.patterns import Pattern

TEXTS = st.text("ab:*?", max_size=6)
NOTHING = context_of({})


@given(st.lists(TEXTS, max_size=12), TEXTS)
def test_every_pattern_that_matches_is_a_candidate(patterns: list[str], text: str) -> None:
    compiled = [Pattern.read(pattern) for pattern in patterns]
    candidates = [
        place for _, place in Index(zip(compiled, range(99), strict=False)).candidates(text)
    ]
    matching = [n for n, pattern in enumerate(compiled) if pattern.matches(text, NOTHING)]
    assert set(matching) <= set(candidates)
    assert len(candidates) == len(set(candidates))


@given(st.lists(TEXTS, max_size=12), TEXTS)
def test_a_candidate_shares_its_beginning(patterns: list[str], text: str) -> None:
    index = Index((Pattern.read(pattern), None) for pattern in patterns)
    for pattern, _ in index.candidates(text):
        assert text.startswith(pattern.prefix)
        assert not pattern.is_exact or pattern.prefix == text


def test_patterns_of_other_beginnings_are_left_out() -> None:
    index = Index((Pattern.read(f"arn:{n}:*"), n) for n in range(1_000))
    assert [n for _, n in index.candidates("arn:77:x")] == [77]


def test_longer_beginnings_come_first() -> None:
    index = Index((Pattern.read(text), text) for text in ("*", "a*", "ab*", "abd*", "b*", "abc"))
    assert [text for _, text in index.candidates("abc")] == ["abc", "ab*", "a*", "*"]


def test_what_matches_is_remembered_but_for_patterns_that_ask_the_request() -> None:
    index = Index([(Pattern.read("arn:*:m"), "fixed"), (Pattern.read("arn:*:${test:x}"), "asking")])
    found = [
        sorted(index.matching("arn:x:m", context_of({"test:x": name}))) for name in ("m", "n", "m")
    ]
    assert found == [["asking", "fixed"], ["fixed"], ["asking", "fixed"]]


def test_what_is_remembered_is_bounded() -> None:
    index = Index([(Pattern.read("*"), 1)])
    for number in range(2_000):
        assert list(index.matching(f"text {number}", NOTHING)) == [1]
    assert len(index._remembered) <= 256
