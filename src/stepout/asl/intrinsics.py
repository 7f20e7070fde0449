"""Intrinsic functions: parsing calls, and what each function does.

A call is compiled once, to an evaluator. Bad arguments are States.IntrinsicFailure, which can be
caught; a call that is none is no definition (States Language, "Intrinsic Functions").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, TypeAlias, TypeVar
from uuid import UUID

from stepout.asl import jsonpath
from stepout.asl.jsonpath import Path
from stepout.asl.states_error import Failure, StatesError
from stepout.asl.values import Json, dumps, equals, loads
from stepout.errors import JsonError, PathError

__all__ = ["Draws", "FunctionCall", "compile_call"]

MAX_NESTING: Final = 10
"""Calls inside each other (developer guide, intrinsic functions)."""

MAX_CHARACTERS: Final = 10_000
"""Of what Base64Encode, Base64Decode and Hash take (developer guide)."""

MAX_TEXT: Final = 1_048_576
"""Characters of a text that Format and JsonToString make: four times what any state may hand on.

Calls inside each other would double it again and again. Ours: AWS's limit is not known.
"""

MAX_RANGE: Final = 1_000
"""Items of an ArrayRange (developer guide)."""


class Draws(Protocol):
    """Where randomness comes from."""

    def draw(self) -> bytes:
        """The next 32 random bytes."""


Read: TypeAlias = Callable[[Path], Json]
Evaluate: TypeAlias = Callable[[Read, Draws], Json]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A compiled call, and the paths that it reads."""

    text: str
    evaluate: Evaluate
    paths: tuple[Path, ...]


@lru_cache(4_096)
def compile_call(text: str) -> FunctionCall:
    """Compile a call; raises `PathError`."""
    return _Parser(text).whole()


# --- The functions --------------------------------------------------------------------------------

Function: TypeAlias = Callable[[Sequence[Json], Draws], Json]
_F = TypeVar("_F", bound=Function)


@dataclass(frozen=True, slots=True)
class Intrinsic:
    function: Function
    least: int
    most: int | None
    """Arguments; None for any number."""


_FUNCTIONS: dict[str, Intrinsic] = {}


def _intrinsic(name: str, least: int, most: int | None = None) -> Callable[[_F], _F]:
    """Register `States.<name>`; without `most` it takes exactly `least` arguments."""

    def register(function: _F) -> _F:
        limit = least if most is None else most
        _FUNCTIONS[f"States.{name}"] = Intrinsic(function, least, None if limit < 0 else limit)
        return function

    return register


_ANY: Final = -1
"""Any number of arguments."""


@_intrinsic("Format", 1, _ANY)
def _format(arguments: Sequence[Json], _draws: Draws) -> Json:
    template, *values = arguments
    parts = template if isinstance(template, _Template) else _Template.of(_text(template))
    if len(parts.pieces) - 1 != len(values):
        raise _failed(
            f"States.Format has {len(parts.pieces) - 1} placeholders and {len(values)} values"
        )
    shown = [*map(_shown, values), ""]
    return _bounded(
        "".join(piece + value for piece, value in zip(parts.pieces, shown, strict=True))
    )


@_intrinsic("StringToJson", 1)
def _string_to_json(arguments: Sequence[Json], _draws: Draws) -> Json:
    text = _text(arguments[0])
    try:
        return loads(text) if text.strip() else None
    except JsonError as error:
        raise _failed(f"States.StringToJson expects JSON: {error}") from None


@_intrinsic("JsonToString", 1)
def _json_to_string(arguments: Sequence[Json], _draws: Draws) -> Json:
    return _bounded(dumps(arguments[0]).decode())


@_intrinsic("Array", 0, _ANY)
def _array(arguments: Sequence[Json], _draws: Draws) -> Json:
    return list(arguments)


@_intrinsic("ArrayPartition", 2)
def _array_partition(arguments: Sequence[Json], _draws: Draws) -> Json:
    items, size = _list(arguments[0]), _rounded(arguments[1])
    if size < 1:
        raise _failed("States.ArrayPartition expects a size of 1 or more")
    return [items[start : start + size] for start in range(0, len(items), size)]


@_intrinsic("ArrayContains", 2)
def _array_contains(arguments: Sequence[Json], _draws: Draws) -> Json:
    return any(equals(item, arguments[1]) for item in _list(arguments[0]))


@_intrinsic("ArrayRange", 3)
def _array_range(arguments: Sequence[Json], _draws: Draws) -> Json:
    first, last, step = map(_rounded, arguments)
    if step == 0:
        raise _failed("States.ArrayRange expects a step other than 0")
    found = range(first, last + (1 if step > 0 else -1), step)
    # Not len(): it takes no range of more than 2⁶³ items.
    if (last - first) // step >= MAX_RANGE:
        raise _failed(f"States.ArrayRange gives at most {MAX_RANGE} items")
    return list(found)


@_intrinsic("ArrayGetItem", 2)
def _array_get_item(arguments: Sequence[Json], _draws: Draws) -> Json:
    items, index = _list(arguments[0]), _rounded(arguments[1])
    if not 0 <= index < len(items):
        raise _failed(f"States.ArrayGetItem found no item {index} in {len(items)} items")
    return items[index]


@_intrinsic("ArrayLength", 1)
def _array_length(arguments: Sequence[Json], _draws: Draws) -> Json:
    return len(_list(arguments[0]))


@_intrinsic("ArrayUnique", 1)
def _array_unique(arguments: Sequence[Json], _draws: Draws) -> Json:
    seen: set[bytes] = set()
    found = []
    for item in _list(arguments[0]):
        key = dumps(_canonical(item))
        if key not in seen:
            seen.add(key)
            found.append(item)
    return found


@_intrinsic("Base64Encode", 1)
def _base64_encode(arguments: Sequence[Json], _draws: Draws) -> Json:
    return base64.b64encode(_short(arguments[0]).encode()).decode()


@_intrinsic("Base64Decode", 1)
def _base64_decode(arguments: Sequence[Json], _draws: Draws) -> Json:
    try:
        return base64.b64decode(_short(arguments[0]), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _failed("States.Base64Decode expects Base64 of UTF-8 text") from None


_HASHES: Final[Mapping[str, str]] = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
}


@_intrinsic("Hash", 2)
def _hash(arguments: Sequence[Json], _draws: Draws) -> Json:
    data = arguments[0] if isinstance(arguments[0], str) else dumps(arguments[0]).decode()
    algorithm = _HASHES.get(_text(arguments[1]))
    if algorithm is None:
        raise _failed(f"States.Hash expects one of {', '.join(_HASHES)}")
    return hashlib.new(algorithm, _short(data).encode(), usedforsecurity=False).hexdigest()


@_intrinsic("JsonMerge", 3)
def _json_merge(arguments: Sequence[Json], _draws: Draws) -> Json:
    one, other, is_deep = arguments
    if not (isinstance(one, dict) and isinstance(other, dict)):
        raise _failed("States.JsonMerge expects two objects")
    if is_deep is not False:
        raise _failed("States.JsonMerge expects false: AWS merges one level only")
    return {**one, **other}


@_intrinsic("MathRandom", 2, 3)
def _math_random(arguments: Sequence[Json], draws: Draws) -> Json:
    start, end = _rounded(arguments[0]), _rounded(arguments[1])
    if start >= end:
        raise _failed("States.MathRandom expects a start below its end")
    seeded = len(arguments) > 2
    seed = hashlib.sha256(str(_rounded(arguments[2])).encode()).digest() if seeded else draws.draw()
    return start + int.from_bytes(seed[:16], "big") % (end - start)


_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


@_intrinsic("MathAdd", 2)
def _math_add(arguments: Sequence[Json], _draws: Draws) -> Json:
    one, other = map(_rounded, arguments)
    if not (_INT_MIN <= one <= _INT_MAX and _INT_MIN <= other <= _INT_MAX):
        raise _failed(f"States.MathAdd expects numbers from {_INT_MIN} to {_INT_MAX}")
    return one + other


@_intrinsic("StringSplit", 2)
def _string_split(arguments: Sequence[Json], _draws: Draws) -> Json:
    """The delimiter is a set of characters, and empty tokens are dropped (recorded on AWS)."""
    text, delimiters = map(_text, arguments)
    if not delimiters:
        return [text] if text else []
    return [token for token in re.split(f"[{re.escape(delimiters)}]", text) if token]


@_intrinsic("UUID", 0)
def _uuid(_arguments: Sequence[Json], draws: Draws) -> Json:
    return str(UUID(bytes=draws.draw()[:16], version=4))


# --- Arguments ------------------------------------------------------------------------------------


def _failed(cause: str) -> Failure:
    return Failure(StatesError("States.IntrinsicFailure", cause))


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise _failed(f"An intrinsic function gave a text of more than {MAX_TEXT} characters")
    return text


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise _failed(f"An intrinsic function expects a string, found {dumps(value).decode()}")
    return value


def _short(value: Json) -> str:
    text = _text(value)
    if len(text) > MAX_CHARACTERS:
        raise _failed(f"An intrinsic function takes at most {MAX_CHARACTERS} characters")
    return text


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise _failed(f"An intrinsic function expects an array, found {dumps(value).decode()}")
    return value


def _rounded(value: Json) -> int:
    """A number as Java's Math.round makes it an integer: halves go up (recorded on AWS)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _failed(f"An intrinsic function expects a number, found {dumps(value).decode()}")
    return value if isinstance(value, int) else math.floor(value + 0.5)


def _canonical(value: Json) -> Json:
    """Equal values alike: keys in one order, whole numbers as integers."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


def _shown(value: Json) -> str:
    """A value as Java prints it: objects and arrays as its maps and lists do (recorded on AWS)."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return dumps(value).decode()


# --- The parser -----------------------------------------------------------------------------------

_CALL: Final = re.compile(r"\s*(States\.[A-Za-z0-9]+)\s*\(")
_CLOSE: Final = re.compile(r"\s*\)\s*")
_COMMA: Final = re.compile(r"\s*,")
_LITERAL: Final = re.compile(r"\s*'((?:[^'\\]|\\['{}\\])*)'")
"""Only quotes, braces and backslashes can be escaped; AWS refuses others (recorded)."""
_NUMBER: Final = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)(?=\s*[,)])", re.ASCII)
_WORD: Final = re.compile(r"\s*(true|false|null)(?=\s*[,)])")
_WORDS: Final[Mapping[str, Json]] = {"true": True, "false": False, "null": None}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_PIECE: Final = re.compile(r"\\(.)|(\{\})|([^\\{}]+)", re.DOTALL)

Argument: TypeAlias = Evaluate


@dataclass(frozen=True, slots=True)
class _Template:
    """The text of States.Format, cut at its placeholders."""

    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Template:
        """Cut a text in which `\\{`, `\\}` and `\\\\` stand for themselves."""
        pieces = [""]
        at = 0
        while at < len(text):
            match = _PIECE.match(text, at)
            if match is None:
                raise _failed(f"States.Format found a lone '{text[at]}' in its text")
            escaped, placeholder, plain = match.groups()
            if placeholder:
                pieces.append("")
            else:
                pieces[-1] += escaped or plain
            at = match.end()
        return cls(tuple(pieces))


class _Parser:
    """Recursive descent over a call, ten levels at most."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._paths: list[Path] = []

    def whole(self) -> FunctionCall:
        evaluate = self._call(1)
        if self._at < len(self._text):
            raise self._error("its end")
        return FunctionCall(self._text, _guarded(evaluate), tuple(self._paths))

    def _call(self, level: int) -> Evaluate:
        if level > MAX_NESTING:
            raise PathError(f"Intrinsic functions nest at most {MAX_NESTING} levels.")
        match = self._match(_CALL)
        found = None if match is None else _FUNCTIONS.get(match[1])
        if found is None:
            raise self._error("an intrinsic function such as States.Format(")
        arguments = self._arguments(level, is_format=found.function is _format)
        if len(arguments) < found.least or (found.most is not None and len(arguments) > found.most):
            raise self._error(f"another number of arguments than {len(arguments)}")
        function = found.function
        return lambda read, draws: function(
            [argument(read, draws) for argument in arguments], draws
        )

    def _arguments(self, level: int, *, is_format: bool) -> list[Argument]:
        if self._match(_CLOSE):
            return []
        arguments = [self._argument(level, is_template=is_format)]
        while self._match(_COMMA):
            arguments.append(self._argument(level, is_template=False))
        if self._match(_CLOSE) is None:
            raise self._error("',' or ')'")
        return arguments

    def _argument(self, level: int, *, is_template: bool) -> Argument:
        literal = self._match(_LITERAL)
        if literal is not None:
            return _constant(_literal(literal[1], is_template=is_template))
        word = self._match(_WORD)
        if word is not None:
            return _constant(_WORDS[word[1]])
        number = self._match(_NUMBER)
        if number is not None:
            return _constant(self._number(number[1]))
        if _CALL.match(self._text, self._at):
            return self._call(level + 1)
        return self._path()

    def _number(self, text: str) -> Json:
        try:
            return loads(text)
        except JsonError:
            raise self._error(f"a number other than {text}") from None

    def _path(self) -> Argument:
        """A path ends at the comma or parenthesis outside of its own brackets and quotes."""
        start = self._at + len(self._text[self._at :]) - len(self._text[self._at :].lstrip())
        end = _end_of_path(self._text, start)
        path = jsonpath.compile(self._text[start:end].rstrip())
        self._at = end
        self._paths.append(path)
        return lambda read, _draws: read(path)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _error(self, expected: str) -> PathError:
        return PathError(f"The intrinsic function expects {expected} at character {self._at + 1}.")


# A string without an end is one token: tried anew from each of its quotes it would cost the square.
_TOKEN: Final = re.compile(r"'(?:[^'\\]++|\\.)*+'?|\"(?:[^\"\\]++|\\.)*+\"?|.", re.DOTALL)


def _end_of_path(text: str, start: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if depth == 0 and token[0] in (",", ")"):
            return token.start()
        depth += (token[0] in ("[", "(")) - (token[0] in ("]", ")"))
    return len(text)


def _literal(raw: str, *, is_template: bool) -> Json:
    if not is_template:
        return _ESCAPE.sub(r"\1", raw)
    try:
        return _Template.of(raw)
    except Failure as failure:
        raise PathError(str(failure.error.cause)) from None


def _constant(value: Json) -> Evaluate:
    return lambda _read, _draws: value


def _guarded(evaluate: Evaluate) -> Evaluate:
    """Data that nests deeper than Python recurses is a bad argument."""

    def guarded(read: Read, draws: Draws) -> Json:
        try:
            return evaluate(read, draws)
        except RecursionError:
            raise _failed("An intrinsic function found data that nests too deeply") from None

    return guarded
