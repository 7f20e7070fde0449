"""Tables of a file: what can be read is, and everything else is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepout import tables
from stepout.errors import SettingsError
from stepout.tables import Unexpected, members

READERS = {
    "name": tables.matching("[a-z]+", "a name of small letters"),
    "kind": tables.one_of("one", "two"),
    "count": tables.number(1, 9),
    "on": tables.boolean,
    "many": tables.each(tables.number(1, 9)),
    "any": tables.each(tables.text, may_be_empty=True),
    "text": tables.text,
}


def read(at: str, **table: Any) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    return members(at, table, READERS, problems), problems


def test_what_can_be_read_is() -> None:
    given = {"name": "abc", "kind": "two", "count": 3, "on": False, "many": [1, 2, 1], "any": []}
    found, problems = read("", **given)
    assert problems == []
    assert found == {**given, "many": (1, 2), "any": ()}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"name": "A"}, "x.name: expected a name of small letters, found 'A'."),
        ({"name": 1}, "x.name: expected a name of small letters, found 1."),
        ({"kind": "three"}, "x.kind: expected 'one' or 'two', found 'three'."),
        ({"kind": []}, "x.kind: expected 'one' or 'two', found []."),
        ({"count": True}, "x.count: expected a whole number from 1 to 9, found True."),
        ({"count": 1.0}, "x.count: expected a whole number from 1 to 9, found 1.0."),
        ({"on": 1}, "x.on: expected true or false, found 1."),
        ({"many": []}, "x.many: expected a list with at least one member, found []."),
        ({"any": "a"}, "x.any: expected a list, found 'a'."),
        ({"text": "a\nb"}, "x.text: expected a text, found 'a\\nb'."),
        ({"text": ""}, "x.text: expected a text, found ''."),
        ({"nmae": "a"}, "x.nmae: there is no such key; did you mean 'name'?"),
        ({"a b": 1}, "x.'a b': there is no such key; there are: name, kind, count, on, many, any"),
    ],
)
def test_what_cannot_is_told_with_its_place(table: dict[str, Any], problem: str) -> None:
    found, (told,) = read("x.", **table)
    assert found == {}
    assert told.startswith(problem)


def test_every_member_of_a_list_is_told() -> None:
    _, problems = read("[x]: ", many=[0, 1, "a"])
    assert problems == [
        "[x]: many[0]: expected a whole number from 1 to 9, found 0.",
        "[x]: many[2]: expected a whole number from 1 to 9, found 'a'.",
    ]


def test_what_is_no_table_is_told() -> None:
    problems: list[str] = []
    assert members("[x]: ", [1], READERS, problems) == {}
    assert problems == ["[x]: expected a table, found [1]."]


def test_words_of_others_lead_to_ours() -> None:
    assert tables.unknown("", {"title": 1}, READERS, {"title": "name"}) == [
        "title: there is no such key; did you mean 'name'?"
    ]


def test_a_long_value_is_shown_in_part() -> None:
    assert len(str(Unexpected("a text", "x" * 10_000))) < 300


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"a = 1\n" + b"[x]\n" * 2])
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"is not TOML|cannot be read"):
        tables.load(path, "The file")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"The file .*none\.toml cannot be read"):
        tables.load(tmp_path / "none.toml", "The file")


def test_a_text_that_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_FILE", 5)
    with pytest.raises(SettingsError, match="expected at most 5 characters, found 6"):
        tables.parse("a = 10", "The text")
