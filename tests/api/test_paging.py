"""Pages: nothing is shown twice or left out while items come and go."""

from __future__ import annotations

import pytest

from stepout.api.paging import page
from stepout.errors import ServiceError


def keys(items: list[str], token: str | None, limit: int = 2) -> tuple[list[str], str | None]:
    shown, following = page(items, lambda item: item, token, limit)
    return list(shown), following


def test_pages_follow_each_other_to_the_end() -> None:
    items = ["a", "b", "c", "d", "e"]
    found, token = keys(items, None)
    while token is not None:
        more, token = keys(items, token)
        found += more
    assert found == items


def test_a_full_last_page_has_no_token() -> None:
    assert keys(["a", "b"], None) == (["a", "b"], None)
    assert keys([], None) == ([], None)


def test_items_that_come_or_go_between_pages_move_nothing() -> None:
    _, token = keys(["a", "b", "c"], None)
    assert keys(["b", "c", "d"], token)[0] == ["c", "d"]
    assert keys(["0", "a", "b", "c"], token)[0] == ["c"]


@pytest.mark.parametrize("token", ["", "nonsense", "é", "AAAA", "YQ=", "eA=="])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="^InvalidToken: Invalid Token: 'Invalid token'"):
        keys(["a", "b", "c"], token)


def ranked(items: list[str], token: str | None, limit: int = 2) -> tuple[list[str], str | None]:
    shown, following = page(items, lambda item: item, token, limit, rank=lambda key: -int(key))
    return list(shown), following


def test_with_a_rank_a_token_leads_on_when_its_item_has_gone() -> None:
    shown, token = ranked(["10", "9", "8", "3", "1"], None)
    assert shown == ["10", "9"]
    assert ranked(["8", "3", "1"], token) == (["8", "3"], ranked(["8", "3", "1"], None)[1])
    assert ranked(["12", "11", "10", "9", "8"], token) == (["8"], None)
    assert ranked([], token) == ([], None)


@pytest.mark.parametrize("token", ["", "nonsense", "YQ==", "MS4w"])
def test_with_a_rank_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="^InvalidToken: Invalid Token: 'Invalid token'"):
        ranked(["2", "1"], token)
