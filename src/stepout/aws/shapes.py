"""Requests checked against botocore's service models, compiled to one function per shape.

Types are checked first (`SerializationException`), then constraints, all of them at once
(`ValidationException`, or `ValidationError` of the Query protocol, worded as AWS words it). Unknown
members are let through, as AWS does; a null member counts as absent. A value that the model calls
sensitive is not repeated in an error.

The models are read without importing botocore, which takes longer than reading them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from stepout.errors import ServiceError, StepoutError

__all__ = ["Json", "Operation", "Protocol", "Ref", "Service", "Shape", "load"]

Json: TypeAlias = Any
Shape: TypeAlias = Mapping[str, Any]
Ref: TypeAlias = Mapping[str, Any]
"""A member's mention of a shape, by its name `shape`, with what is said of the member alone."""
Protocol: TypeAlias = Literal["json", "query"]
"""How a service is spoken to: AWS JSON, or forms answered in XML (`aws.query`)."""
Check: TypeAlias = Callable[[Json, str], Iterator[str]]
"""A value and where it is, to the constraints that it does not satisfy."""


_INVALID: Final[Mapping[Protocol, str]] = {
    "json": "ValidationException",
    "query": "ValidationError",
}
"""The code of a request that does not satisfy the constraints."""


@dataclass(slots=True)
class Operation:
    """An operation of a service; `input` and `output` are absent where it has no members."""

    name: str
    input: Ref | None
    output: Ref | None
    _invalid: str = field(repr=False)
    _compile: Callable[[], Check] = field(repr=False)
    _check: Check | None = field(default=None, repr=False)

    def check(self, members: dict[str, Json]) -> dict[str, Json]:
        """A request's members without those that are null; raises `ServiceError`."""
        if self._check is None:
            self._check = self._compile()
        found = list(self._check(members, ""))
        if found:
            noun = "error" if len(found) == 1 else "errors"
            raise ServiceError(
                self._invalid, f"{len(found)} validation {noun} detected: {'; '.join(found)}"
            )
        return _given(members)


_DEEPEST: Final = 8
"""Levels of structures in the models; what nests deeper is no member of theirs."""


def _given(members: dict[str, Json], depth: int = _DEEPEST) -> dict[str, Json]:
    """Without null members."""
    return {
        name: _given(value, depth - 1) if isinstance(value, dict) and depth else value
        for name, value in members.items()
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class Service:
    """A service model: `name` is the one that signatures use.

    `target_prefix` and `json_version` are what the JSON protocol needs, `xml_namespace` what the
    Query protocol needs; a service that does not speak the protocol has empty texts there.
    """

    name: str
    protocol: Protocol
    api_version: str
    target_prefix: str
    json_version: str
    xml_namespace: str
    operations: Mapping[str, Operation]
    shapes: Mapping[str, Shape] = field(repr=False)


def load(service: str, largest: Mapping[str, int] | None = None) -> Service:
    """Read the newest model of a service, by botocore's name for it.

    `largest` sets the greatest length of shapes, by their names, in place of the model's.
    """
    model = _read(service)
    metadata = model["metadata"]
    shapes = model["shapes"]
    for name, limit in (largest or {}).items():
        if name in shapes:
            shapes[name] = {**shapes[name], "max": limit}
    protocol = _protocol(service, metadata)
    compiler = _Compiler(shapes)
    return Service(
        name=metadata.get("signingName", metadata["endpointPrefix"]),
        protocol=protocol,
        api_version=metadata["apiVersion"],
        target_prefix=metadata.get("targetPrefix", ""),
        json_version=metadata.get("jsonVersion", ""),
        xml_namespace=metadata.get("xmlNamespace", ""),
        operations={
            name: _operation(name, operation, protocol, compiler)
            for name, operation in model["operations"].items()
        },
        shapes=shapes,
    )


def _protocol(service: str, metadata: Mapping[str, Any]) -> Protocol:
    spoken = [metadata["protocol"], *metadata.get("protocols", ())]
    for protocol in _INVALID:
        if protocol in spoken:
            return protocol
    raise StepoutError(f"Expected {service} to speak json or query, found {', '.join(spoken)}.")


def _operation(
    name: str, model: Mapping[str, Any], protocol: Protocol, compiler: _Compiler
) -> Operation:
    given = model.get("input")
    compiled = partial(compiler.compile, given["shape"]) if given else lambda: _unchecked
    return Operation(name, given, model.get("output"), _INVALID[protocol], compiled)


def _unchecked(_value: Json, _where: str) -> Iterator[str]:
    yield from ()


def _read(service: str) -> dict[str, Any]:
    spec = find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise StepoutError("botocore, whose service models stepout reads, is not installed.")
    versions = Path(spec.submodule_search_locations[0], "data", service)
    newest = max(path for path in versions.iterdir() if path.is_dir())
    packed = newest / "service-2.json.gz"
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else _unpacked(newest)
    model: dict[str, Any] = json.loads(text)
    return model


def _unpacked(version: Path) -> bytes:
    # Some distributions of botocore do not compress its data.
    return (version / "service-2.json").read_bytes()


_SENSITIVE: Final = "*** Sensitive Data Redacted ***"


class _Compiler:
    """Makes checks of shapes, each once."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes
        self._checks: dict[str, Check] = {}

    def compile(self, name: str) -> Check:
        if name not in self._checks:
            # A shape may hold itself: until it is made, ask for it when it is used.
            self._checks[name] = partial(self._late, name)
            shape = self._shapes[name]
            self._checks[name] = _MAKERS[shape["type"]](self, shape)
        return self._checks[name]

    def shown(self, name: str, value: Json) -> str:
        """A value as AWS shows it inside a list: as Java prints it, without what is sensitive."""
        shape = self._shapes[name]
        if shape.get("sensitive"):
            return _SENSITIVE
        if shape["type"] == "structure" and isinstance(value, dict):
            members = ", ".join(
                f"{member}={self.shown(ref['shape'], value[member])}"
                for member, ref in shape["members"].items()
                if value.get(member) is not None
            )
            return f"{name}({members})"
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def _late(self, name: str, value: Json, where: str) -> Iterator[str]:
        return self._checks[name](value, where)


def _structure(compiler: _Compiler, shape: Shape) -> Check:
    required = frozenset(shape.get("required", ()))
    members = [
        (name, _lower_camel(name), compiler.compile(member["shape"]), name in required)
        for name, member in shape["members"].items()
    ]

    def check(value: Json, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            raise _wrong_type("an object", value, where)
        for name, label, check_member, is_required in members:
            member = value.get(name)
            if member is not None:
                yield from check_member(member, f"{where}.{label}" if where else label)
            elif is_required:
                at = f"{where}.{label}" if where else label
                yield f"Value null at '{at}' failed to satisfy constraint: Member must not be null"

    return check


def _list(compiler: _Compiler, shape: Shape) -> Check:
    name = shape["member"]["shape"]
    check_item = compiler.compile(name)
    constraints = list(_size_constraints(shape))

    def check(value: Json, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            raise _wrong_type("an array", value, where)
        for is_satisfied, message in constraints:
            if not is_satisfied(value):
                shown = ", ".join(compiler.shown(name, item) for item in value)
                yield f"Value '[{shown}]' at '{where}' failed to satisfy constraint: {message}"
        for index, item in enumerate(value):
            yield from check_item(item, f"{where}.{index + 1}.member")

    return check


def _map(compiler: _Compiler, shape: Shape) -> Check:
    check_key = compiler.compile(shape["key"]["shape"])
    check_value = compiler.compile(shape["value"]["shape"])
    constraints = list(_size_constraints(shape))

    def check(value: Json, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            raise _wrong_type("an object", value, where)
        yield from _unsatisfied(value, where, constraints)
        for key, item in value.items():
            yield from check_key(key, f"{where}.key")
            yield from check_value(item, f"{where}.{key}.member")

    return check


def _string(_compiler: _Compiler, shape: Shape) -> Check:
    constraints = list(_string_constraints(shape))
    shows_value = not shape.get("sensitive")

    def check(value: Json, where: str) -> Iterator[str]:
        if not isinstance(value, str):
            raise _wrong_type("a string", value, where)
        for is_satisfied, message in constraints:
            if not is_satisfied(value):
                shown = f"Value '{value}'" if shows_value else "Value"
                yield f"{shown} at '{where}' failed to satisfy constraint: {message}"

    return check


def _blob(_compiler: _Compiler, shape: Shape) -> Check:
    constraints = list(_size_constraints(shape))

    def check(value: Json, where: str) -> Iterator[str]:
        if not isinstance(value, bytes):
            raise _wrong_type("a blob", value, where)
        for is_satisfied, message in constraints:
            if not is_satisfied(value):
                yield f"Value at '{where}' failed to satisfy constraint: {message}"

    return check


def _scalar(expected: str, kinds: tuple[type, ...]) -> Callable[[_Compiler, Shape], Check]:
    def make(_compiler: _Compiler, shape: Shape) -> Check:
        constraints = list(_range_constraints(shape))

        def check(value: Json, where: str) -> Iterator[str]:
            # A Boolean is no number, though Python thinks so.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise _wrong_type(expected, value, where)
            yield from _unsatisfied(value, where, constraints)

        return check

    return make


_MAKERS: Final[Mapping[str, Callable[[_Compiler, Shape], Check]]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _scalar("an integer", (int,)),
    "long": _scalar("an integer", (int,)),
    "float": _scalar("a number", (int, float)),
    "double": _scalar("a number", (int, float)),
    "timestamp": _scalar("a timestamp in epoch seconds", (int, float)),
    "boolean": _scalar("a boolean", (bool,)),
    "blob": _blob,
}

Constraint: TypeAlias = tuple[Callable[[Json], bool], str]


def _unsatisfied(value: Json, where: str, constraints: list[Constraint]) -> Iterator[str]:
    for is_satisfied, message in constraints:
        if not is_satisfied(value):
            shown = json.dumps(value, ensure_ascii=False)
            yield f"Value '{shown}' at '{where}' failed to satisfy constraint: {message}"


def _size_constraints(shape: Shape) -> Iterator[Constraint]:
    if "max" in shape:
        limit = shape["max"]
        message = f"Member must have length less than or equal to {limit}"
        yield (lambda value: len(value) <= limit), message
    if shape.get("min"):
        least = shape["min"]
        message = f"Member must have length greater than or equal to {least}"
        yield (lambda value: len(value) >= least), message


def _range_constraints(shape: Shape) -> Iterator[Constraint]:
    if "max" in shape:
        limit = shape["max"]
        message = f"Member must have value less than or equal to {limit}"
        yield (lambda value: value <= limit), message
    if "min" in shape:
        least = shape["min"]
        message = f"Member must have value greater than or equal to {least}"
        yield (lambda value: value >= least), message


def _string_constraints(shape: Shape) -> Iterator[Constraint]:
    yield from _size_constraints(shape)
    if "enum" in shape:
        allowed = shape["enum"]
        message = f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        yield (lambda value: value in allowed), message
    if "pattern" in shape:
        message = f"Member must satisfy regular expression pattern: {shape['pattern']}"
        pattern = _pattern(shape["pattern"])
        yield (lambda value: pattern.fullmatch(value) is not None), message


_LINEAR: Final = {
    r"^[ \t]*[^\x00-\x1F:\x7F]+([ \t]+[^\x00-\x1F:\x7F]+)*[ \t]*$": (
        r"\t*[^\x00-\x1F:\x7F][^\x00-\x08\x0A-\x1F:\x7F]*"
    ),
    r"^[ \t]*[\x20-\x7E]+([ \t]+[\x20-\x7E]+)*[ \t]*$": r"\t*[\x20-\x7E][\t\x20-\x7E]*",
    r"(http:|https:)+[^\s]+[\w]": r"https?:[^\s]+[\w]",
    # In a text known to be one line, whatever follows the last colon or slash is taken at once.
    r"arn:.+:iam::[0-9]{12}:role/.+": r"(?!.*\n)arn:.+:iam::[0-9]{12}:role/.+",
    r"arn:aws(-[\w]+)*:.+:.+:[0-9]{12}:.+": (r"(?!.*\n)arn:aws(-[\w]+)*:.[^:]*:.+:[0-9]{12}:.+"),
    (
        r"arn:aws[A-Za-z0-9-]{0,64}:cloudformation:[A-Za-z0-9-]{1,64}::"
        r"type/.+/[0-9a-zA-Z]{12,40}/.+"
    ): (
        r"(?!.*\n)arn:aws[A-Za-z0-9-]{0,64}:cloudformation:[A-Za-z0-9-]{1,64}::"
        r"type/.+/[0-9a-zA-Z]{12,40}/.+"
    ),
}
"""Patterns of the models that try a text in quadratically or exponentially many ways, to patterns
that take the same texts in linear time."""

# Java's names of classes, to what Python reads. Letters and numbers are what `\w` has beside `_`.
_LETTERS: Final = r"\p{L}\p{Z}\p{N}_"
_LETTERS_OURS: Final = r"\w\x20\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"


def _pattern(java: str) -> re.Pattern[str]:
    if _LETTERS in java:
        return re.compile(java.replace(_LETTERS, _LETTERS_OURS))
    return re.compile(_LINEAR.get(java, java).replace(r"\p{ASCII}", r"[\x00-\x7F]"), re.ASCII)


def _lower_camel(name: str) -> str:
    """Errors name members with a small first letter, also those of EventBridge (as recorded)."""
    return name[:1].lower() + name[1:]


def _wrong_type(expected: str, value: Json, where: str) -> ServiceError:
    place = f"at '{where}'" if where else "as the request"
    return ServiceError(
        "SerializationException", f"Expected {expected} {place}, found {_kind(value)}."
    )


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "a boolean"), (str, "a string"), (dict, "an object"), (list, "an array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")
