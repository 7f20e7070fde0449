"""JSONPath as Step Functions reads it: the dialect of Jayway JsonPath, without its functions.

A path is compiled once, to steps that each take a list of nodes to a list of nodes. A *definite*
path (members and single indices only) reads one value in a plain loop; any other gives a list. A
*Reference Path* is a definite one that may be written to.

- `$` is the input, `$$` the context object, `$name` a variable.
- `.length()` and its like are members of that name, as on AWS; regular expressions and the set
  operators of Jayway are no part of the dialect.
- What a compiled path does with a document is in `selectors`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeGuard, TypeVar

from stepout.asl import selectors
from stepout.asl.allowance import Allowance
from stepout.asl.selectors import OPERATORS, Key, Operand, PathMiss, Reading, Step, Test
from stepout.asl.values import Json
from stepout.errors import PathError

__all__ = ["Path", "PathMiss", "compile", "compile_reference"]

MAX_NESTING: Final = 32
"""Parentheses and filters inside each other; ours."""

MAX_TEXT: Final = 65_536
"""Characters of a path; ours."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path."""

    text: str
    root: str
    """`$`, `$$`, or `$` and the name of a variable."""
    keys: tuple[Key, ...] | None
    """The steps of a definite path; None for any other."""
    steps: tuple[Step, ...] = field(repr=False)

    @property
    def is_reference(self) -> bool:
        """Whether the path names one place, so that it may be written to."""
        return self.keys is not None and not any(isinstance(key, tuple) for key in self.keys)

    def read(self, document: Json, allowance: Allowance | None = None) -> Json:
        """The value, or the list of values of an indefinite path, which is paid for.

        Raises `PathMiss` and `NeedsTime`.
        """
        if self.keys is None:
            payer = Allowance(is_inline=False) if allowance is None else allowance
            return Reading(document, payer).run(self.steps, document)
        return selectors.read(document, self.keys)

    def write(self, document: Json, value: Json) -> Json:
        """A copy of the document with the value at a Reference Path; raises `PathMiss`.

        Missing members are made, missing items of arrays are not.
        """
        if self.keys is None or not self.is_reference:
            raise TypeError(f"{self.text} is not a Reference Path.")
        return selectors.write(document, self.keys, value)


@lru_cache(4_096)
def compile(text: str) -> Path:  # noqa: A001 — as in `re`, always used as `jsonpath.compile`
    """Compile a path; raises `PathError`."""
    if len(text) > MAX_TEXT:
        raise PathError(f"The path has {len(text)} characters; it may have {MAX_TEXT}.")
    return _Parser(text).path()


def compile_reference(text: str) -> Path:
    """Compile a Reference Path; raises `PathError`, worded as AWS words it."""
    if not text.startswith("$"):
        raise PathError("Value is not a Reference Path: Reference path didn't start with '$'")
    try:
        path = compile(text)
    except PathError:
        raise PathError("Value is not a Reference Path") from None
    if not path.is_reference:
        raise PathError("Value is not a Reference Path")
    return path


# --- The parser -----------------------------------------------------------------------------------

_SPACE: Final = re.compile(r"\s*")
_NAME: Final = re.compile(r"[^\s.\[\](),'\"?@*$=!<>&|]+(\(\))?")
_VARIABLE: Final = re.compile(r"\$\$|\$[^\W\d]\w*|\$")
_INDEX: Final = re.compile(r"-?\d{1,9}(?!\d)", re.ASCII)
_SLICE: Final = re.compile(r"(-?\d{1,9})?\s*:\s*(-?\d{1,9})?(?:\s*:\s*([1-9]\d{0,8}))?", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_OPERATOR: Final = re.compile("|".join(sorted(OPERATORS, key=len, reverse=True)))
_CONSTANT: Final = re.compile(r"(true|false|null)\b")
_BARE: Final = re.compile(r"[^\W\d][\w-]*")
_CONSTANTS: Final[Mapping[str, Json]] = {"true": True, "false": False, "null": None}
_ESCAPES: Final = (re.compile(r"\\(['\\])"), re.compile(r"\\([\"\\])"))
"""In single and in double quotes: the quote itself and the backslash; before anything else a
backslash is one (recorded on AWS)."""


class _Parser:
    """Recursive descent over a path's text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nesting = 0

    def path(self) -> Path:
        """The whole text as a path."""
        root = self._match(_VARIABLE)
        if root is None:
            raise self._error("'$'")
        path = self._steps(self._text, root[0])
        if self._at < len(self._text):
            raise self._error("'.' or '['")
        return path

    def _steps(self, text: str, root: str) -> Path:
        """Everything that follows a root."""
        keys: list[Key] = []
        steps: list[Step] = []
        while self._at < len(self._text) and self._text[self._at] in ".[":
            if self._take(".."):
                steps += (*self._definite(keys, steps), selectors.descend)
                found = self._bracket() if self._peek("[") else self._dotted()
            elif self._take(".") and not self._peek("["):
                found = self._dotted()
            else:
                found = self._bracket()
            if not steps and (isinstance(found, str | int) or self._ends_with(found)):
                keys.append(found)
                continue
            steps += self._definite(keys, steps)
            steps.append(_step_of(found))
        if not steps:
            return Path(text, root, tuple(keys), ())
        return Path(text, root, None, tuple(steps))

    def _ends_with(self, found: Key | Step) -> TypeGuard[tuple[str, ...]]:
        """Whether several members were the last of a path."""
        is_end = self._at == len(self._text) or self._text[self._at] not in ".["
        return isinstance(found, tuple) and is_end

    def _definite(self, keys: list[Key], steps: list[Step]) -> list[Step]:
        return [selectors.leading(tuple(keys))] if keys and not steps else []

    def _dotted(self) -> Key | Step:
        if self._take("*"):
            return selectors.wildcard
        name = self._match(_NAME)
        if name is None:
            raise self._error("a name or '*'")
        return name[0]

    def _bracket(self) -> Key | Step:
        self._expect("[")
        found = self._selector()
        self._expect("]")
        return found

    def _selector(self) -> Key | Step:
        self._skip()
        if self._take("*"):
            return selectors.wildcard
        if self._take("?"):
            self._expect("(")
            test = self._nested(self._either)
            self._expect(")")
            return selectors.filtered(test)
        if self._peek("'") or self._peek('"'):
            names = self._listed(self._quoted)
            return names[0] if len(names) == 1 else tuple(names)
        part = self._match(_SLICE)
        if part is not None:
            return selectors.sliced(
                slice(*(None if bound is None else int(bound) for bound in part.groups()))
            )
        indices = self._listed(self._index)
        return indices[0] if len(indices) == 1 else selectors.items(tuple(indices))

    def _either(self) -> Test:
        tests = [self._both()]
        while self._comes("||"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda r, node: any(test(r, node) for test in tests)

    def _both(self) -> Test:
        tests = [self._condition()]
        while self._comes("&&"):
            tests.append(self._condition())
        return tests[0] if len(tests) == 1 else lambda r, node: all(test(r, node) for test in tests)

    def _condition(self) -> Test:
        self._skip()
        if self._take("!"):
            test = self._nested(self._condition)
            return lambda reading, node: not test(reading, node)
        if self._take("("):
            test = self._nested(self._either)
            self._expect(")")
            return test
        left, is_path = self._operand()
        sign = self._match(_OPERATOR)
        if sign is not None:
            return selectors.comparison(sign[0], left, self._operand()[0])
        if not is_path:
            raise self._error("an operator")
        return selectors.exists(left)

    def _operand(self) -> tuple[Operand, bool]:
        """A path or a constant, and whether it is a path."""
        self._skip()
        start = self._at
        if self._take("@") or self._take("$"):
            path = self._nested(lambda: self._steps("", self._text[start]))
            self._skip()
            return selectors.relative(path.root, path.keys, path.steps), True
        value = self._constant()
        self._skip()
        return lambda _reading, _node: value, False

    def _constant(self) -> Json:
        if self._peek("'") or self._peek('"'):
            return self._quoted()
        word = self._match(_CONSTANT)
        if word is not None:
            return _CONSTANTS[word[0]]
        number = self._match(_NUMBER)
        if number is None:
            return self._bare()
        return float(number[0]) if number[1] or number[2] else int(number[0][:400])

    def _bare(self) -> str:
        """A word without quotes is a text; deployed machines have them."""
        word = self._match(_BARE)
        if word is None:
            raise self._error("a path or a constant")
        return word[0]

    def _quoted(self) -> str:
        self._skip()
        match = self._match(_QUOTED)
        if match is None:
            raise self._error("a quoted name")
        is_double = match[1] is None
        return _ESCAPES[is_double].sub(r"\1", match[2] if is_double else match[1])

    def _index(self) -> int:
        self._skip()
        match = self._match(_INDEX)
        if match is None:
            raise self._error("an index, a quoted name, '*', ':' or '?'")
        return int(match[0])

    def _listed(self, read: Callable[[], _T]) -> list[_T]:
        items = [read()]
        while self._comes(","):
            items.append(read())
        return items

    def _nested(self, read: Callable[[], _T]) -> _T:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise PathError(f"The path nests deeper than {MAX_NESTING} levels.")
        found = read()
        self._nesting -= 1
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _skip(self) -> None:
        self._match(_SPACE)

    def _peek(self, token: str) -> bool:
        return self._text.startswith(token, self._at)

    def _take(self, token: str) -> bool:
        found = self._peek(token)
        self._at += len(token) * found
        return found

    def _comes(self, token: str) -> bool:
        self._skip()
        return self._take(token)

    def _expect(self, token: str) -> None:
        if not self._comes(token):
            raise self._error(f"'{token}'")

    def _error(self, expected: str) -> PathError:
        rest = self._text[self._at : self._at + 20]
        found = f"'{rest}'" if rest else "its end"
        return PathError(f"The path expects {expected} at character {self._at + 1}, found {found}.")


def _step_of(found: Key | Step) -> Step:
    match found:
        case str():
            return selectors.member(found)
        case int():
            return selectors.items((found,))
        case tuple():
            return selectors.members(found)
    return found
