"""JSONata: the adapter of the engine `jlens`, with AWS's additions, refusals and limits.

A query is compiled once, with the machine. Its roots (`$states` and the variables it reads) are
members of one input object that the engine reads lazily, so that a large document costs only what
the expression touches. Plain paths (`$states.input.order.id`) do not need the engine at all.

An evaluation on the event loop is bounded by what it may read (some builtins, `$distinct` for one,
take quadratic time inside one step) and by time. What does not fit raises `NeedsTime`; apart, the
engine works on text and lets other threads run.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import jlens

from stepout.asl.allowance import Allowance, NeedsTime
from stepout.asl.values import MISSING, Document, Json, Missing, depth_of, dumps, loads
from stepout.errors import JsonError

__all__ = ["Draws", "Query", "QueryError", "Roots", "SyntaxProblem", "compile"]

INLINE_BYTES: Final = 8_192
"""JSON that an evaluation on the event loop may read; `$distinct` over that takes some 5 ms."""

TEXT_DEPTH: Final = 120
"""Levels of JSON text that the engine reads; what nests deeper is handed over as Python values,
while which no other thread runs."""

DEEP_SECONDS: Final = 0.25

MAX_DEPTH: Final = 500
"""Nested evaluations: some 100 calls inside each other, which is AWS's measured limit."""

MAX_VALUE_BYTES: Final = 6_990_256
MAX_ITEMS: Final = 873_782
MAX_RANGE: Final = 360_145
"""Sizes of a value, an array and a `$range` (measured on AWS)."""

INLINE_LIMITS: Final[Mapping[str, Any]] = {
    "max_depth": MAX_DEPTH,
    "max_string_length": 65_536,
    "max_array_length": 2_000,
}
LIMITS: Final[Mapping[str, Any]] = {
    "max_depth": MAX_DEPTH,
    "max_string_length": MAX_VALUE_BYTES,
    "max_array_length": MAX_ITEMS,
}
"""What an expression may make, on the event loop and apart: what is long takes long to go through,
and the engine looks at the clock between steps only."""


class QueryError(Exception):
    """An evaluation failed: a JSONata code, or None for a limit of the service, and a message."""

    def __init__(self, code: str | None, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class SyntaxProblem(Exception):
    """A text is no JSONata expression; worded as jsonata-js words it."""


class Draws(Protocol):
    """What an evaluation may ask for besides its roots."""

    @property
    def allowance(self) -> Allowance:
        """What the evaluation pays with."""

    @property
    def now(self) -> int:
        """Milliseconds since the epoch."""

    def draw(self) -> bytes:
        """The next 32 random bytes."""


class Roots(Protocol):
    """The documents that an expression may read."""

    def member(self, name: str) -> Document | None:
        """`input`, `context`, `result` or `errorOutput` of `$states`, where there is one."""

    def variable(self, name: str) -> Document | None:
        """The value of a variable, where it is assigned."""


Key: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled expression."""

    text: str
    members: tuple[str, ...]
    """Members of `$states` that it reads."""
    variables: tuple[str, ...]
    """Names behind a `$`: variables of the execution where those are assigned, else the engine's
    own functions or what the expression binds itself."""
    functions: tuple[str, ...]
    """AWS's own functions that it calls."""
    unsupported: tuple[str, ...]
    """Names that it reads outside of any path; AWS refuses them when a machine is created."""
    path: tuple[Key, ...] | None
    """The steps of a plain path, its root first."""
    has_range: bool
    """It holds a range that is not known to be short: the engine lays all of it out at once."""
    _compiled: dict[tuple[tuple[str, ...], str], jlens.Expression] = field(
        default_factory=dict, compare=False, repr=False
    )
    """By the variables that are assigned and what is around; mostly one."""

    def evaluate(self, roots: Roots, draws: Draws) -> Json | Missing:
        """The value, or MISSING for undefined; raises `QueryError`, `NeedsTime`."""
        if self.path is not None:
            value = _walk(self.path, roots)
            if value is not _ASK:
                return value
        allowance = draws.allowance
        source, size = self._source(roots)
        if allowance.is_inline and (self.has_range or size > INLINE_BYTES):
            raise NeedsTime
        started = perf_counter()
        try:
            value = self._run(source, draws)
            return self._undefined(source, draws) if value is None else value
        except jlens.JlensError as error:
            if allowance.is_inline and error.code in _TIGHTER_INLINE:
                raise NeedsTime from None
            raise _failed(error) from None
        except JsonError as error:
            raise QueryError(None, f"The value cannot be written as JSON: {error}") from None
        finally:
            allowance.pay_seconds(perf_counter() - started)

    def _run(self, source: dict[str, Json], draws: Draws) -> Json:
        """The value, or None for null, undefined and functions."""
        if draws.allowance.is_inline:
            expression = self._expression(source)
            return expression.evaluate(source, self._bindings(draws), **_limits(draws))
        return self._run_apart(source, draws)

    def _expression(self, source: dict[str, Json], around: str = "{}") -> jlens.Expression:
        """The engine's expression for the variables that are assigned, compiled once."""
        key = (_assigned(source), around)
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= _KEPT:
                self._compiled.clear()
            found = self._compiled[key] = _wrapped(self.text, *key)
        return found

    def _run_apart(self, source: dict[str, Json], draws: Draws, around: str = "{}") -> Json:
        """Text in, text out: other threads run meanwhile."""
        expression = self._expression(source, around)
        bindings, limits = self._bindings(draws), _limits(draws)
        encoded = dumps(source)
        if (
            encoded.count(b"[") + encoded.count(b"{") > TEXT_DEPTH
            and depth_of(encoded) > TEXT_DEPTH
        ):
            return expression.evaluate(source, bindings, **{**limits, "timeout": DEEP_SECONDS})
        text = expression.evaluate_json(encoded.decode(), bindings, **limits)
        return None if text is None else loads(text)

    def _undefined(self, source: dict[str, Json], draws: Draws) -> Json | Missing:
        """Tell null, undefined and a function apart, which the engine answers alike."""
        kind = self._run_apart(source, draws, "$type({})")
        if kind == "function":
            raise QueryError(None, UNSUPPORTED_RESULT)
        return None if kind == "null" else MISSING

    def _source(self, roots: Roots) -> tuple[dict[str, Json], int]:
        """The object of all roots, and the size of what the user's documents hold."""
        states: dict[str, Json] = {}
        source: dict[str, Json] = {"states": states}
        size = 0
        for name in self.members:
            document = roots.member(name)
            if document is not None:
                states[name] = document.value
                size += document.size
        for name in self.variables:
            document = roots.variable(name)
            if document is not None:
                source[name] = document.value
                size += document.size
        return source, size

    def _bindings(self, draws: Draws) -> dict[str, Any] | None:
        """AWS's functions; a variable of the same name hides one."""
        if not self.functions:
            return None
        return {name: _FUNCTIONS[name](draws) for name in self.functions}


UNSUPPORTED_RESULT: Final = "returned an unsupported result type."
"""The message of a `QueryError` for an expression whose value is a function."""

_ASK: Final = object()
"""A plain path that is the engine's work: it maps over an array, or names no variable."""


def _walk(path: tuple[Key, ...], roots: Roots) -> Json:
    root, *keys = path
    document = roots.member(keys.pop(0)) if root == "states" else roots.variable(root)
    if document is None:
        # Not assigned: it may be a function of the engine.
        return MISSING if root == "states" else _ASK
    value = document.value
    for key in keys:
        if isinstance(value, list):
            return _ASK
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def _assigned(source: Mapping[str, Json]) -> tuple[str, ...]:
    """The variables in an object of roots."""
    return tuple(name for name in source if name != "states")


def _limits(draws: Draws) -> dict[str, Any]:
    sizes = INLINE_LIMITS if draws.allowance.is_inline else LIMITS
    return {"timeout": draws.allowance.seconds, "now": draws.now, **sizes}


def _failed(error: jlens.JlensError) -> QueryError:
    if error.code in _BROKEN_LIMITS:
        return QueryError(None, _BROKEN_LIMITS[error.code])
    return QueryError(error.code, str(error))


_BROKEN_LIMITS: Final[Mapping[str, str]] = {
    "U1001": "Expression evaluation memory limit exceeded",
    "D2014": "Expression evaluation memory limit exceeded",
    "D1011": (
        "Stack overflow error: Check for non-terminating recursive function. "
        "Consider rewriting as tail-recursive. Depth=101 max=100"
    ),
    "D1012": "Expression evaluation timeout: Check for infinite loop",
}
"""Codes of the engine for limits that AWS reports without a code (their texts are ours)."""

_TIGHTER_INLINE: Final = frozenset(("U1001", "D2014", "D1012"))
"""Those of limits that are wider apart."""


_EXACT: Final = 2**53


# --- Compiling ------------------------------------------------------------------------------------

_PLAIN_PATH: Final = re.compile(
    r"\s*\$(?P<root>[A-Za-z_]\w*)(?P<keys>(?:\.(?:[A-Za-z_]\w*|`[^`]+`))*)\s*", re.ASCII
)
_KEY: Final = re.compile(r"\.(?:([A-Za-z_]\w*)|`([^`]+)`)", re.ASCII)
_KEYWORDS: Final = frozenset(["and", "or", "in", "true", "false", "null"])
_MEMBERS: Final = ("input", "context", "result", "errorOutput")

_NAME: Final = re.compile(r"\$([^\W\d]\w*)")

# Strings, quoted names, comments and regular expressions: what may hold `$$` without reading it.
# A slash begins a regular expression where no operand is before it that could be divided.
_LITERALS: Final = re.compile(
    # One without an end goes to the end: tried anew from each quote it would cost the square.
    r"\"(?:[^\"\\]++|\\.)*+(?:\"|(?P<endless>\\?\Z))|'(?:[^'\\]++|\\.)*+(?:'|(?P<open>\\?\Z))"
    r"|`[^`]*`|/\*.*?\*/"
    r"|(?:^|[(,=>\[{:?;&|~])\s*/(?:[^/\\]|\\.)+/",
    re.DOTALL,
)


_WHOLE: Final = re.compile(r"\b(\d+)\.0\b")
_SHORT_RANGE: Final = re.compile(r"\[\s*\d{1,3}\s*\.\.\s*\d{1,3}\s*\]", re.ASCII)
_CONTEXT: Final = re.compile(r"\$(?![\w$])")


@lru_cache(4_096)
def compile(text: str) -> Query:  # noqa: A001 — as in `re`, always used as `jsonata.compile`
    """Compile an expression; raises `SyntaxProblem`."""
    try:
        expression = jlens.Expression(text)
    except jlens.JlensError as error:
        # Numbers as JavaScript shows them.
        raise SyntaxProblem(_WHOLE.sub(r"\1", str(error))) from None
    for name in (*_FUNCTIONS, "eval"):
        expression.register_function(name, _unbound)
    reads = expression.reads()
    states = reads.get("bindings", {}).get("states", {})
    # Not from what is read: that leaves out every name that the expression binds anywhere.
    variables = dict.fromkeys(name for name in _NAME.findall(text) if name != "states")
    functions = tuple(name for name in _FUNCTIONS if f"${name}" in text)
    return Query(
        text=text,
        members=_MEMBERS if states is True else tuple(states),
        variables=tuple(variables),
        functions=functions,
        unsupported=tuple(_unsupported(text, reads.get("input", {}))),
        path=_plain_path(text),
        has_range=".." in _SHORT_RANGE.sub("", _bare(text)),
    )


_KEPT: Final = 16
"""Sets of variables for which an expression is kept; there are two to the power of its names."""


def _wrapped(text: str, variables: tuple[str, ...], around: str) -> jlens.Expression:
    """The expression with its roots bound from the input object; there is no `$eval` on AWS.

    Only variables that are assigned: a name without one is a function of the engine, or undefined.
    """
    names = "".join(f"${name} := $.`{name}`;" for name in ("states", *variables))
    evaluator = "$eval := null;" if "$eval" in text else ""
    return jlens.Expression(f"({names}{evaluator}{around.format(f'({text})')})")


def _unbound(*_arguments: Json) -> Json:
    raise AssertionError("This function is only registered to analyse what an expression reads.")


def _plain_path(text: str) -> tuple[Key, ...] | None:
    match = _PLAIN_PATH.fullmatch(text)
    if match is None:
        return None
    keys = [plain or quoted for plain, quoted in _KEY.findall(match["keys"])]
    root = match["root"]
    if root in _FUNCTIONS or any(key in _KEYWORDS for key in keys):
        return None
    if root == "states" and (not keys or keys[0] not in _MEMBERS):
        return None
    return (root, *keys)


def _unsupported(text: str, reads: Any) -> Iterator[str]:
    """Names read from the input document, of which Step Functions has none."""
    bare = _bare(text)
    if "$$" in bare:
        yield "$$"
    elif reads is True:
        # The analysis also says this of a call of a function that it does not know.
        if _CONTEXT.search(bare):
            yield "$"
    elif isinstance(reads, dict):
        yield from reads


def _bare(text: str) -> str:
    """An expression without its literals; a quote that ends nowhere is none."""
    return _LITERALS.sub(lambda found: found[0] if found.lastgroup else "", text)


# --- AWS's functions ------------------------------------------------------------------------------

_Function: TypeAlias = Callable[..., Json]
_FUNCTIONS: dict[str, Callable[[Draws], _Function]] = {}


def _function(name: str) -> Callable[[_Function], _Function]:
    """Register one of AWS's functions; the draws come before its arguments."""

    def register(function: _Function) -> _Function:
        _FUNCTIONS[name] = lambda draws: lambda *arguments: function(draws, *arguments)
        return function

    return register


def _refuse(name: str, index: int) -> jlens.JlensError | QueryError:
    return QueryError(
        "T0410", f'Argument {index} of function "{name}" does not match function signature'
    )


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@_function("partition")
def _partition(_draws: Draws, items: Json = None, size: Json = None, *_: Json) -> Json:
    """Chunks of an array; the size is truncated, and none of 0 (measured on AWS)."""
    if items is None or size is None:
        return None
    if not _is_number(size):
        raise _refuse("partition", 2)
    values, count = items if isinstance(items, list) else [items], int(size)
    if count <= 0 or not values:
        return None
    return [values[start : start + count] for start in range(0, len(values), count)]


@_function("range")
def _range(_draws: Draws, *arguments: Json) -> Json:
    """Numbers from first to last, both included; one alone is no array (recorded on AWS)."""
    if len(arguments) < 3 or any(value is None for value in arguments[:3]):
        return None
    for index, value in enumerate(arguments[:3]):
        if not _is_number(value):
            raise _refuse("range", index + 1)
    first, last, step = arguments[:3]
    count = math.floor((last - first) / step) + 1 if step else 0
    if count > MAX_RANGE:
        raise QueryError(None, _BROKEN_LIMITS["U1001"])
    numbers = [_whole(first + step * index) for index in range(count)]
    return numbers[0] if len(numbers) == 1 else numbers or None


def _whole(number: float) -> float:
    """A double as JavaScript writes it: without a fraction where it has none."""
    return int(number) if number == int(number) else number


@_function("hash")
def _hash(_draws: Draws, data: Json = None, algorithm: Json = None, *_: Json) -> Json:
    if data is None:
        return None
    if not isinstance(data, str):
        raise _refuse("hash", 1)
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise _refuse("hash", 2)
    return hashlib.new(_ALGORITHMS[algorithm], data.encode(), usedforsecurity=False).hexdigest()


_ALGORITHMS: Final = {
    name: name.replace("-", "").lower()
    for name in ("MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512")
}


@_function("random")
def _random(draws: Draws, seed: Json = None, *_: Json) -> Json:
    """0 ≤ x < 1; with a seed as java.util.Random gives it (measured on AWS)."""
    if seed is None:
        return (int.from_bytes(draws.draw()[:8], "big") >> 11) / _EXACT
    if not _is_number(seed):
        raise _refuse("random", 1)
    return _java_double(int(seed))


def _java_double(seed: int) -> float:
    """The first `nextDouble()` of a `java.util.Random`: a linear congruence of 48 bits."""
    state = (seed ^ _MULTIPLIER) & _MASK
    high = state = (state * _MULTIPLIER + 0xB) & _MASK
    low = (state * _MULTIPLIER + 0xB) & _MASK
    return ((high >> 22 << 27) + (low >> 21)) / _EXACT


_MULTIPLIER: Final = 0x5DEECE66D
_MASK: Final = (1 << 48) - 1


@_function("uuid")
def _uuid(draws: Draws, *_: Json) -> Json:
    return str(UUID(bytes=draws.draw()[:16], version=4))


@_function("parse")
def _parse(_draws: Draws, text: Json = None, *_: Json) -> Json:
    if text is None:
        return None
    if not isinstance(text, str):
        raise _refuse("parse", 1)
    try:
        value = loads(text)
    except JsonError as error:
        raise QueryError("D3141", f"The argument of $parse is no JSON: {error}") from None
    return 0 if isinstance(value, float) and value == 0 else value
