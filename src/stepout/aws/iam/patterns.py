"""Texts with wildcards and variables: read once, matched in linear time.

`*` stands for any characters, `?` for one; neither minds colons or slashes (IAM user guide, "IAM
JSON policy elements: Resource"). `${aws:username}` stands for a value of the request, `${aws:x,
'y'}` for `y` where the request has none, and `${*}`, `${?}`, `${$}` for the character. What is put
in for a variable is never a wildcard.

A text without `?` is matched by finding its pieces from left to right, where the first place is
always as good as any later one. A text with `?` runs all its positions at once, as the bits of an
integer. Neither ever goes back, so that no pattern is dear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from operator import eq
from typing import Final, TypeAlias

from stepout.aws.iam.request import Context

__all__ = [
    "MANY",
    "ONE",
    "Known",
    "Part",
    "Pattern",
    "Variable",
    "Wild",
    "matcher",
    "pieces",
    "read",
]


class Wild(Enum):
    """A wildcard."""

    MANY = "*"
    ONE = "?"


MANY: Final = Wild.MANY
ONE: Final = Wild.ONE


@dataclass(frozen=True, slots=True)
class Variable:
    """A value of the request; `key` is in lower case, `default` what stands where there is none."""

    key: str
    default: str | None


Known: TypeAlias = str | Wild
Part: TypeAlias = Known | Variable
Matcher: TypeAlias = Callable[[str], bool]

_VARIABLE: Final = r"\$\{(?:([^{}]*)\})?"
_TOKENS: Final = {
    # (wildcards, variables): what is more than text
    (False, False): re.compile(r"(?!)"),
    (True, False): re.compile(r"[*?]"),
    (False, True): re.compile(_VARIABLE),
    (True, True): re.compile(rf"{_VARIABLE}|[*?]"),
}
_SPECIAL: Final = frozenset("*?$")
_NOT_IN_KEYS: Final = frozenset("*?$'\"")


def read(text: str, *, wildcards: bool, variables: bool) -> tuple[Part, ...]:
    """The parts of a text; raises `ValueError` for a variable that is none."""
    return tuple(_merged(_parts(text, wildcards=wildcards, variables=variables)))


def _parts(text: str, *, wildcards: bool, variables: bool) -> Iterator[Part]:
    end = 0
    for found in _TOKENS[wildcards, variables].finditer(text):
        yield text[end : found.start()]
        yield _variable(found) if found[0].startswith("$") else Wild(found[0])
        end = found.end()
    yield text[end:]


def _variable(found: re.Match[str]) -> str | Variable:
    """The variable; of one of the three that stand for a character, the character."""
    inside: str | None = found[1]
    if inside is not None:
        if inside in _SPECIAL:
            return inside
        name, comma, default = inside.partition(",")
        key, default = name.strip().lower(), default.strip()
        if ":" in key and not _NOT_IN_KEYS & set(key):
            if not comma:
                return Variable(key, None)
            if len(default) > 1 and default[0] == default[-1] == "'" and default.count("'") == 2:
                return Variable(key, default[1:-1])
    raise ValueError(
        "expected a variable such as ${aws:username} or ${aws:username, 'default'}, "
        f"found '{found[0][:60]}'"
    )


def _merged(parts: Iterable[Part]) -> Iterator[Part]:
    """Texts that touch become one; so does a row of `*`."""
    held = ""
    last: Part | None = None
    for part in parts:
        if isinstance(part, str):
            held += part
            continue
        if held:
            yield held
            held, last = "", None
        if part is MANY and last is MANY:
            continue
        yield part
        last = part
    if held:
        yield held


class Pattern:
    """A text of a policy that a text of a request is held against."""

    __slots__ = ("_matches", "is_exact", "is_open", "parts", "prefix", "text")

    def __init__(self, text: str, parts: tuple[Part, ...]) -> None:
        self.text = text
        self.parts = parts
        first = parts[0] if parts else ""
        self.prefix = first if isinstance(first, str) else ""
        """What a text that matches begins with; of an exact pattern, all of it."""
        self.is_exact = all(isinstance(part, str) for part in parts)
        self.is_open = any(isinstance(part, Variable) for part in parts)
        """Whether it has variables, so that each request has its own pattern."""
        self._matches = None if self.is_open else matcher(self.known())

    @classmethod
    def read(cls, text: str, *, wildcards: bool = True, variables: bool = True) -> Pattern:
        """Compile a text; raises `ValueError` for a variable that is none."""
        return cls(text, read(text, wildcards=wildcards, variables=variables))

    def matches(self, text: str, context: Context) -> bool:
        """Whether a text of the request is one that this stands for.

        A pattern with a variable that has no value matches nothing (IAM user guide, "Policy
        variables with no value").
        """
        if self._matches is not None:
            return self._matches(text)
        parts = self.resolved(context)
        return parts is not None and matcher(parts)(text)

    def covers(self, text: str) -> bool:
        """Whether a pattern without variables matches."""
        return self._matches is not None and self._matches(text)

    def resolved(self, context: Context) -> tuple[Known, ...] | None:
        """The parts with values in place of variables; None where one has no value."""
        found: list[Known] = []
        for part in self.parts:
            if isinstance(part, Variable):
                value = context.single(part.key)
                if value is None:
                    value = part.default
                if value is None:
                    return None
                found.append(value)
            else:
                found.append(part)
        return tuple(found)

    def known(self) -> list[Known]:
        """The parts that are not variables: of a pattern that is not open, all."""
        return [part for part in self.parts if not isinstance(part, Variable)]

    def variables(self) -> list[str]:
        """The keys of the variables, in lower case."""
        return [part.key for part in self.parts if isinstance(part, Variable)]

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def pieces(parts: Iterable[Known], separator: str, count: int) -> list[list[Known]]:
    """The parts cut at the first `count - 1` separators that stand in texts."""
    found: list[list[Known]] = [[]]
    for part in parts:
        if isinstance(part, Wild):
            found[-1].append(part)
            continue
        first, *rest = part.split(separator, count - len(found))
        found[-1].append(first)
        found += [[text] for text in rest]
    return found


def matcher(parts: Sequence[Known]) -> Matcher:
    """A function that tells whether a text is one of those that the parts stand for."""
    if ONE in parts:
        return partial(_simulate, _Machine.of(parts))
    texts = [""]
    for part in parts:
        if isinstance(part, Wild):
            texts.append("")
        else:
            texts[-1] += part
    if len(texts) == 1:
        return partial(eq, texts[0])
    head, *middle, tail = texts
    return _between(head, [text for text in middle if text], tail)


def _between(head: str, middle: list[str], tail: str) -> Matcher:
    """What begins with `head`, ends with `tail` and holds the others in their order."""
    if not (head or middle or tail):
        return _anything
    if not (middle or tail):
        return lambda text: text.startswith(head)
    shortest = len(head) + len(tail)
    if not middle:
        return lambda text: len(text) >= shortest and text.startswith(head) and text.endswith(tail)
    return partial(_holds, head, middle, tail)


def _anything(_text: str) -> bool:
    return True


def _holds(head: str, middle: list[str], tail: str, text: str) -> bool:
    if not text.startswith(head) or not text.endswith(tail):
        return False
    # Where beginning and end overlap nothing is found between them.
    start, stop = len(head), len(text) - len(tail)
    for wanted in middle:
        start = text.find(wanted, start, stop)
        if start < 0:
            return False
        start += len(wanted)
    return True


@dataclass(frozen=True, slots=True)
class _Machine:
    """Position i is bit i; `steps` are the positions that a character leads on from."""

    steps: dict[str, int]
    any_step: int
    stays: int
    accepts: int

    @classmethod
    def of(cls, parts: Iterable[Known]) -> _Machine:
        steps: dict[str, int] = {}
        any_step = stays = 0
        bit = 1
        for part in parts:
            if part is MANY:
                stays |= bit
            elif part is ONE:
                any_step |= bit
                bit <<= 1
            else:
                for character in str(part):
                    steps[character] = steps.get(character, 0) | bit
                    bit <<= 1
        merged = {character: step | any_step for character, step in steps.items()}
        return cls(merged, any_step, stays, bit)


def _simulate(machine: _Machine, text: str) -> bool:
    steps, any_step, stays = machine.steps, machine.any_step, machine.stays
    state = 1
    for character in text:
        state = (state & steps.get(character, any_step)) << 1 | state & stays
        if not state:
            return False
    return bool(state & machine.accepts)
