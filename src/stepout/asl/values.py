"""JSON values: reading, writing, comparing and measuring them. The one place for Python's traps.

Absent is `MISSING`, never a falsy value: `0`, `""`, `false`, `null` and `[]` are values.
Booleans are not numbers. Integers keep any size; floats are IEEE doubles, as in Jackson, which AWS
uses. Depth is limited to 1,000 (Jackson's default `StreamReadConstraints`).
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, TypeAlias

import orjson

from stepout.errors import JsonError

__all__ = [
    "MAX_DEPTH",
    "MISSING",
    "PAYLOAD_LIMIT",
    "Document",
    "Json",
    "Missing",
    "depth_of",
    "dumps",
    "equals",
    "is_too_deep",
    "loads",
]

Json: TypeAlias = Any
"""A user's JSON value: dict, list, str, int, float, bool or None."""

MAX_DEPTH: Final = 1_000
"""How deep arrays and objects may nest."""

PAYLOAD_LIMIT: Final = 262_144
"""Bytes of UTF-8 for an input or output of a task, state or execution (AWS service quotas)."""

# orjson reads an integer of more than 64 bits as a float; 19 digits are the least that can matter.
# Marking the digits and looking for a run of marks is ten times as fast as a regular expression.
_LONG: Final = b"9" * 19
_MARKED: Final = bytes(
    0x39 if chr(byte).isascii() and chr(byte).isdigit() else 0 for byte in range(256)
)


class Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        raise TypeError("Ask `is MISSING`; a missing value is neither true nor false.")


MISSING: Final = Missing()


def loads(text: str | bytes) -> Json:
    """Read one JSON text; raises `JsonError`."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and depth_of(data) > MAX_DEPTH:
        raise JsonError(f"The JSON text nests deeper than {MAX_DEPTH} levels.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonError(_explain(data, error)) from None
    if len(data) >= len(_LONG) and _LONG in data.translate(_MARKED):
        return _loads_exactly(data)
    return value


def dumps(value: Json) -> bytes:
    """Write a value as compact JSON in UTF-8, keys in their order."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers over 64 bits, or deeper than orjson's 254 levels.
        return "".join(_pieces(value)).encode()


def equals(left: Json, right: Json) -> bool:
    """Deep equality of JSON values: 1 equals 1.0, true does not equal 1."""
    ahead = [(left, right)]
    while ahead:
        one, other = ahead.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            ahead += [(value, other[key]) for key, value in one.items()]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            ahead += zip(one, other, strict=True)
        elif isinstance(one, bool) != isinstance(other, bool) or one != other:
            return False
    return True


class Document:
    """A JSON value with its text, written at most once.

    States hand the same document on as long as the value is the same, so that measuring it against
    the payload limit, recording it in the history and answering with it cost one serialisation.
    """

    __slots__ = ("_encoded", "value")

    def __init__(self, value: Json, encoded: bytes | None = None) -> None:
        self.value = value
        self._encoded = encoded

    @property
    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = dumps(self.value)
        return self._encoded

    @property
    def text(self) -> str:
        return self.encoded.decode()

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.encoded)

    def __repr__(self) -> str:
        return f"Document({self.size} bytes)"


def _loads_exactly(data: bytes) -> Json:
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        # ValueError: more digits than Python converts (4,300), which Jackson limits to 1,000.
        raise JsonError(f"The JSON text cannot be read: {error}") from None
    return value


def _refuse_constant(name: str) -> float:
    raise JsonError(f"The JSON text holds {name}, which is not JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonError("The JSON text holds a number that does not fit a double.")
    return number


def depth_of(data: bytes) -> int:
    """How deep a JSON text nests, brackets inside strings left out; in linear time for any text."""
    steps = _STRING.sub(b"", data).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(array("b", steps)), default=0)


# Without the question mark each quote of a string that has no end would be tried to the text's end.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

_BRACKETS: Final = b"[{]}"
_STEPS: Final = bytes.maketrans(_BRACKETS, b"\x01\x01\xff\xff")
"""Brackets → a signed byte: one level down, or one up."""
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)


_TOKEN: Final = re.compile(r"[\w$]+")


def _explain(data: bytes, error: orjson.JSONDecodeError) -> str:
    """Word a parse error as Jackson does where that was recorded on AWS, else as orjson does."""
    text = data.decode("utf-8", "replace").lstrip()
    token = _TOKEN.match(text)
    if token and not re.match(r"-?\d|(true|false|null)\b", text):
        return (
            f"Unrecognized token '{token[0]}': was expecting (JSON String, Number, Array, Object "
            "or token 'null', 'true' or 'false')"
        )
    if error.pos < len(error.doc) and error.doc[error.pos] == "'":
        return (
            "Unexpected character (''' (code 39)): was expecting double-quote to start field name"
        )
    return f"{error.msg} (line {error.lineno}, column {error.colno})"


def is_too_deep(value: Json) -> bool:
    """Whether a value nests deeper than `MAX_DEPTH`; one that holds itself does."""
    ahead = [(value, 1)]
    while ahead:
        item, depth = ahead.pop()
        if isinstance(item, dict | list | tuple):
            if depth > MAX_DEPTH:
                return True
            inner = item.values() if isinstance(item, dict) else item
            ahead += [(member, depth + 1) for member in inner]
    return False


def _pieces(value: Json) -> Iterator[str]:
    """Write a value of any depth and with integers of any size, without recursion."""
    stack: list[Json | _Raw] = [value]
    while stack:
        item = stack.pop()
        match item:
            case _Raw():
                yield item.text
            case dict():
                stack.append(_Raw("}"))
                for index, (key, member) in enumerate(reversed(item.items())):
                    if not isinstance(key, str):
                        raise TypeError(f"a key must be a text, found {key!r}")
                    comma = "," if index + 1 < len(item) else ""
                    stack += (member, _Raw(f"{comma}{orjson.dumps(key).decode()}:"))
                stack.append(_Raw("{"))
            case list() | tuple():
                stack.append(_Raw("]"))
                for index, member in enumerate(reversed(item)):
                    stack.append(member)
                    if index + 1 < len(item):
                        stack.append(_Raw(","))
                stack.append(_Raw("["))
            case int() if not isinstance(item, bool):
                yield str(item)
            case _:
                yield orjson.dumps(item).decode()


class _Raw:
    """A piece of JSON text that is already written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
