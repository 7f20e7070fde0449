"""Payload templates: JSON in which the value of a key that ends in `.$` is a path or a call.

Compiled once to a tree of closures; parts without paths are returned as they stand, not copied,
because the engine never changes a value in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from stepout.asl import jsonpath
from stepout.asl.allowance import APART, Allowance
from stepout.asl.intrinsics import Draws, FunctionCall, compile_call
from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.states_error import DATA_LIMIT_EXCEEDED, RUNTIME, Failure, StatesError
from stepout.asl.values import Document, Json, dumps
from stepout.errors import PathError

__all__ = [
    "Context",
    "Template",
    "compile_expression",
    "compile_template",
    "is_expression",
    "pay",
    "problems",
    "read",
]


class Context(Draws, Protocol):
    """What an evaluation may ask for besides its source."""

    @property
    def allowance(self) -> Allowance:
        """What the evaluation pays with."""

    @property
    def now(self) -> int:
        """Milliseconds since the epoch."""

    def context(self) -> Json:
        """The context object (`$$`)."""

    def variable(self, name: str) -> Document | None:
        """The value of a variable, where it is assigned."""


_Evaluate: TypeAlias = Callable[[Document, Context], Json]

_SUFFIX = ".$"


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled payload template."""

    evaluate: _Evaluate
    """Input and context to the payload; raises `Failure` with States.Runtime."""


def compile_template(template: Json) -> Template:
    """Compile a template in which `problems` finds none."""
    return Template(_compile(template) or _constant(template))


def problems(template: Json) -> Iterator[str]:
    """What is wrong with a template, in AWS's words where they are known."""
    if isinstance(template, list):
        for item in template:
            yield from problems(item)
    elif isinstance(template, dict):
        yield from _object_problems(template)


def read(path: Path, source: Document, context: Context) -> Json:
    """The value of a path in the input, the context object or a variable; raises `PathMiss`."""
    if path.root == "$":
        return path.read(source.value, context.allowance)
    if path.root == "$$":
        return path.read(context.context(), context.allowance)
    variable = context.variable(path.root[1:])
    if variable is None:
        raise PathMiss(f"The variable {path.root} is not assigned")
    return path.read(variable.value, context.allowance)


def pay(value: Json, context: Context) -> Json:
    """The value, for which a place in what is gathered is paid.

    Ten thousand members that read the whole input would otherwise be gigabytes, before anyone could
    measure them against the payload limit.
    """
    size = _size(value)
    if size and not context.allowance.pay_bytes(size):
        raise Failure(_GATHERS_TOO_MUCH)
    return value


def _size(value: Json) -> int:
    """Bytes of a value that can be large, about."""
    if isinstance(value, str):
        return len(value)
    return len(dumps(value)) if isinstance(value, dict | list) else 0


_GATHERS_TOO_MUCH: Final = StatesError(
    DATA_LIMIT_EXCEEDED,
    f"The values that the state gathers have more than {APART.bytes} bytes together.",
)

_BYTES_OF_A_NODE: Final = 8
"""About; functions look at their arguments node by node."""


def _object_problems(template: dict[str, Json]) -> Iterator[str]:
    for key, value in template.items():
        if not key.endswith(_SUFFIX):
            yield from problems(value)
            continue
        if not is_expression(value):
            yield (
                f"The value for the field '{key}' must be a valid JSONPath or a valid intrinsic "
                "function call"
            )
        if key.removesuffix(_SUFFIX) in template:
            yield f"The field '{key.removesuffix(_SUFFIX)}' is given twice, as '{key}' too"


def is_expression(value: Json) -> bool:
    """Whether a value is a path or an intrinsic call."""
    if not isinstance(value, str):
        return False
    try:
        compile_expression(value)
    except PathError:
        return False
    return True


def compile_expression(text: str) -> Path | FunctionCall:
    """Compile a path or an intrinsic call; raises `PathError`."""
    return compile_call(text) if text.startswith("States.") else jsonpath.compile(text)


def _constant(value: Json) -> _Evaluate:
    return lambda _source, _context: value


def _compile(template: Json) -> _Evaluate | None:
    """The evaluator of a template, or None for one that is a constant."""
    if isinstance(template, dict):
        return _compile_object(template)
    if isinstance(template, list):
        return _compile_list(template)
    return None


def _compile_object(template: dict[str, Json]) -> _Evaluate | None:
    members = [_compile_member(key, value) for key, value in template.items()]
    if all(evaluate is None for _, evaluate, _ in members):
        return None
    steps = [(key, evaluate or _constant(value)) for key, evaluate, value in members]

    def evaluate_object(source: Document, context: Context) -> Json:
        return {key: evaluate(source, context) for key, evaluate in steps}

    return evaluate_object


def _compile_list(template: list[Json]) -> _Evaluate | None:
    items = [_compile(item) for item in template]
    if all(item is None for item in items):
        return None
    steps = [item or _constant(value) for item, value in zip(items, template, strict=True)]
    return lambda source, context: [evaluate(source, context) for evaluate in steps]


def _compile_member(key: str, value: Json) -> tuple[str, _Evaluate | None, Json]:
    if not key.endswith(_SUFFIX):
        return key, _compile(value), value
    expression = compile_expression(value)
    if isinstance(expression, FunctionCall):
        return key.removesuffix(_SUFFIX), _compile_call(key, expression), value
    return key.removesuffix(_SUFFIX), _compile_path(key, expression), value


def _compile_call(field: str, call: FunctionCall) -> _Evaluate:
    def evaluate_call(source: Document, context: Context) -> Json:
        def read_argument(path: Path) -> Json:
            value = _read_member(field, path, source, context)
            if not context.allowance.pay_nodes(_size(value) // _BYTES_OF_A_NODE):
                raise Failure(_GATHERS_TOO_MUCH)
            return value

        return pay(call.evaluate(read_argument, context), context)

    return evaluate_call


def _compile_path(field: str, path: Path) -> _Evaluate:
    return lambda source, context: pay(_read_member(field, path, source, context), context)


def _read_member(field: str, path: Path, source: Document, context: Context) -> Json:
    try:
        return read(path, source, context)
    except PathMiss as miss:
        if miss.index_out_of_range:
            return None
        raise Failure(_not_found(field, path, source)) from None


def _not_found(field: str, path: Path, source: Document) -> StatesError:
    return StatesError(
        RUNTIME,
        f"The JSONPath '{path.text}' specified for the field '{field}' could not be found in the "
        f"input '{source.text}'",
    )
