"""Tags: what may be one, how many there may be, and in which order they stay."""

from __future__ import annotations

from typing import Any

import pytest

from stepout.api.tagging import MAX_TAGS, shown, tagged, untagged
from stepout.errors import ServiceError

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:m"


def tag(key: str, value: str = "v") -> dict[str, Any]:
    return {"key": key, "value": value}


def test_tags_are_added_in_order_and_take_the_place_of_those_of_their_keys() -> None:
    tags = tagged((("a", "1"), ("b", "2")), [tag("c", "3"), tag("a", "4")], ARN)
    assert tags == (("a", "4"), ("b", "2"), ("c", "3"))
    assert shown(tags) == [tag("a", "4"), tag("b", "2"), tag("c", "3")]


def test_tags_are_removed_and_keys_that_are_not_there_count_for_nothing() -> None:
    assert untagged((("a", "1"), ("b", "2")), ["b", "b", "x"]) == (("a", "1"),)


def test_keys_differ_by_case() -> None:
    assert untagged((("a", "1"), ("A", "2")), ["A"]) == (("a", "1"),)


def test_a_tag_without_a_value_has_an_empty_one() -> None:
    for absent in ({"key": "a"}, {"key": "a", "value": None}):
        assert tagged((), [absent], ARN) == (("a", ""),)


def test_more_tags_than_there_may_be_are_refused_but_not_a_change_of_one() -> None:
    full = tagged((), [tag(f"k{number}") for number in range(MAX_TAGS)], ARN)
    assert len(tagged(full, [tag("k7", "changed")], ARN)) == MAX_TAGS
    with pytest.raises(ServiceError, match="limit of 50") as caught:
        tagged(full, [tag("another")], ARN)
    assert caught.value.code == "TooManyTags"
    assert caught.value.members == {"resourceName": ARN}


@pytest.mark.parametrize("text", ["a", "Ünïcode", "日本", "a b", "_.:/=+-@", "x" * 128])
def test_letters_digits_spaces_and_some_signs_may_stand_in_tags(text: str) -> None:
    assert tagged((), [tag(text, text)], ARN) == ((text, text),)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (tag("a*"), "tags.2.member.key"),
        (tag("a", "<b>"), "tags.2.member.value"),
        (tag("a", "1,2"), "tags.2.member.value"),
        ({"value": "v"}, "tags.2.member.key"),
        ({"key": None, "value": "v"}, "tags.2.member.key"),
        (tag("aws:x"), "aws:"),
        (tag("AWS:x"), "aws:"),
    ],
)
def test_what_is_no_tag_is_refused_with_its_place(given: dict[str, Any], where: str) -> None:
    with pytest.raises(ServiceError, match=f"^ValidationException: .*{where}"):
        tagged((), [tag("fine"), given], ARN)
