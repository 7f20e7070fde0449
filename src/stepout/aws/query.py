"""The Query protocol of AWS (STS, CloudFormation): forms to members, results and errors to XML.

A request is a form, in the body or in the query string, whose names are paths into the members:
`Action=AssumeRole&Version=2011-06-15&Tags.member.1.Key=k`. Reading it has two steps. First each
name walks down the operation's input, part by part, and its text is kept where the walk ends; a
name that leaves the model is dropped, as AWS drops it, before anything is made of it. Then what was
kept is read by the model: lists in the order of their numbers, whatever their gaps. So no request
costs more than its own length, and no number in a name reserves anything.

Both steps and the writing of results are compiled once for each shape. What was observed of AWS's
answers is marked so; the rest follows the protocol's specification (Smithy,
`aws.protocols#awsQuery`) and the "Common Errors" pages of the API references.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

from stepout.aws.shapes import Json, Operation, Ref, Service, Shape
from stepout.aws.timestamps import iso_8601
from stepout.errors import ServiceError, StepoutError

__all__ = ["CONTENT_TYPE", "Query", "parameters"]

CONTENT_TYPE: Final = "text/xml"
"""What answers of the protocol are (observed for STS)."""

Parameters: TypeAlias = Sequence[tuple[str, str]]
Collected: TypeAlias = dict[str, Any]
"""What a form says, by the parts of its names: texts, and mappings like this one."""

_MOST_PARAMETERS: Final = 10_000
"""Names and values of a request: what Java's servlet containers take; AWS's number is not known."""

_DEEPEST: Final = 32
"""Parts of a name; the models of STS and CloudFormation need fewer than ten."""


class Query:
    """The Query protocol of one service.

    A request is answered in these steps: `parameters` of its form, the `operation` that it names,
    the members by `decode`, and the answer by `encode` or `encode_error`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._forms: _Compiled[_Form] = _Compiled(service.shapes, _form)
        self._writers: _Compiled[Writer] = _Compiled(service.shapes, _writer)

    def operation(self, given: Parameters) -> Operation:
        """The operation that a request names; raises `ServiceError`."""
        action = _first("Action", given)
        if action is None:
            # STS itself sends a browser on to a product page (observed).
            raise ServiceError(
                "MissingAction", "The request is missing an action or a required parameter."
            )
        version = _first("Version", given)
        operation = self._service.operations.get(action)
        if operation is None or version != self._service.api_version:
            shown = "NO_VERSION_SPECIFIED" if version is None else version  # As observed.
            raise ServiceError(
                "InvalidAction", f"Could not find operation {action} for version {shown}"
            )
        return operation

    def decode(self, operation: Operation, given: Parameters) -> dict[str, Json]:
        """The members of a request, checked; raises `ServiceError`.

        Timestamps are epoch seconds, blobs are bytes.
        """
        members: dict[str, Json] = {}
        if operation.input is not None:
            form = self._forms.of(operation.input)
            members = form.read(_collect(form, given), "")
        return operation.check(members)

    def encode(self, operation: Operation, result: Mapping[str, Json], request_id: str) -> bytes:
        """The answer with a result; raises `StepoutError` where it does not fit the model.

        A member that is None counts as absent.
        """
        name = operation.name
        out = [f'<{name}Response xmlns="{_escaped(self._service.xml_namespace)}">']
        if operation.output is not None:
            wrapper = operation.output.get("resultWrapper", f"{name}Result")
            self._writers.of(operation.output)(result, wrapper, out)
        elif result:
            raise StepoutError(f"Expected no result of {name}, found {', '.join(result)}.")
        out.append(f"<ResponseMetadata><RequestId>{_escaped(request_id)}</RequestId>")
        out.append(f"</ResponseMetadata></{name}Response>")
        return "".join(out).encode()

    def encode_error(self, code: str, message: str, request_id: str, *, sender: bool) -> bytes:
        """The answer with an error: of the sender, or else of the receiver."""
        namespace = _FAULTS if code in _OF_NO_OPERATION else self._service.xml_namespace
        kind = "Sender" if sender else "Receiver"
        shown = f"<Message>{_escaped(message)}</Message>" if message else ""
        return (
            f'<ErrorResponse xmlns="{_escaped(namespace)}">'
            f"<Error><Type>{kind}</Type><Code>{_escaped(code)}</Code>{shown}</Error>"
            f"<RequestId>{_escaped(request_id)}</RequestId></ErrorResponse>"
        ).encode()


_OF_NO_OPERATION: Final = frozenset({"InvalidAction", "MalformedQueryString", "MissingAction"})
_FAULTS: Final = "http://webservices.amazon.com/AWSFault/2005-15-09"
"""The namespace of errors that arise before a service is found (observed for InvalidAction)."""


def _first(name: str, given: Parameters) -> str | None:
    # Of several values the first counts (observed for Action, Version and members).
    return next((text for other, text in given if other == name), None)


Made = TypeVar("Made")


class _Compiled(Generic[Made]):
    """Makes one thing of each shape, when it is first asked for: a shape may hold itself."""

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        make: Callable[[_Compiled[Made], str, Shape], Made],
    ) -> None:
        self.shapes = shapes
        self._make = make
        self._made: dict[str, Made] = {}

    def of(self, ref: Ref) -> Made:
        name = ref["shape"]
        if name not in self._made:
            self._made[name] = self._make(self, name, self.shapes[name])
        return self._made[name]

    def wire_name(self, name: str, ref: Ref) -> str:
        """A member's name in forms and in XML."""
        shape = self.shapes[ref["shape"]]
        if shape.get("flattened") and "locationName" in shape.get("member", ()):
            # A flattened list has no element of its own: its items bear their name.
            item_name: str = shape["member"]["locationName"]
            return item_name
        own_name: str = ref.get("locationName", shape.get("locationName", name))
        return own_name


# Forms

_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parameters(form: bytes) -> list[tuple[str, str]]:
    """Names and values of a form, from a body or a query string; raises `ServiceError`."""
    if form.count(b"&") >= _MOST_PARAMETERS:
        raise _malformed_form(f"Expected at most {_MOST_PARAMETERS} parameters.")
    if _BAD_PERCENT.search(form):
        raise _malformed_form("Expected two hexadecimal digits after each percent sign.")
    try:
        return [_pair(part) for part in form.split(b"&") if part]
    except UnicodeDecodeError:
        raise _malformed_form("Expected the parameters to be UTF-8.") from None


def _pair(part: bytes) -> tuple[str, str]:
    name, _, value = part.partition(b"=")
    return _unquoted(name), _unquoted(value)


def _unquoted(text: bytes) -> str:
    # As quoted-printable, which differs in its sign alone: urllib's decoder makes an object of each
    # percent sign, 80 MB of a megabyte of them.
    printable = text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"=")
    return binascii.a2b_qp(printable).decode()


def _malformed_form(why: str) -> ServiceError:
    # 404 is the status that the API references give.
    return ServiceError("MalformedQueryString", why, status=404)


# Requests

# What AWS says (observed for several services) of names that do not fit the shapes they lead to.
_COMPLEX_ENDS: Final = "Unexpected complex element termination"
_LIST_ENDS: Final = "Unexpected list element termination"
_LIST_STARTS: Final = "Start of list found where not expected"


@dataclass(frozen=True, slots=True)
class _Form:
    """A shape as names reach it: where a part leads, and how what was collected is read.

    `step` answers None for a part that leads out of the model, and raises `ServiceError` for one
    that AWS refuses. `read` gets what was collected and where it stands in the form.
    """

    step: Callable[[str], _Form | None]
    read: Callable[[Any, str], Any]


def _collect(form: _Form, given: Parameters) -> Collected:
    """The texts of the names that the model has."""
    collected: Collected = {}
    for name, text in given:
        parts = name.split(".", _DEEPEST)
        if len(parts) > _DEEPEST:
            raise _malformed_form(f"Expected names of at most {_DEEPEST} parts.")
        if _is_known(form, parts):
            _keep(collected, parts, text)
    return collected


def _is_known(form: _Form, parts: list[str]) -> bool:
    reached: _Form | None = form
    for part in parts:
        if reached is None:
            return False
        reached = reached.step(part)
    return reached is not None


def _keep(collected: Collected, parts: list[str], text: str) -> None:
    for part in parts[:-1]:
        collected = collected.setdefault(part, {})
        if isinstance(collected, str):
            raise _malformed(_LIST_STARTS)
    if isinstance(collected.setdefault(parts[-1], text), dict):
        raise _malformed(_COMPLEX_ENDS)


def _form(forms: _Compiled[_Form], _name: str, shape: Shape) -> _Form:
    make = _COMPLEX_FORMS.get(shape["type"])
    return _leaf(shape) if make is None else make(forms, shape)


def _structure(forms: _Compiled[_Form], shape: Shape) -> _Form:
    members = {forms.wire_name(name, ref): (name, ref) for name, ref in shape["members"].items()}

    def step(part: str) -> _Form | None:
        return forms.of(members[part][1]) if part in members else None

    def read(found: Any, where: str) -> dict[str, Json]:
        return {
            members[part][0]: forms.of(members[part][1]).read(
                value, f"{where}.{part}" if where else part
            )
            for part, value in _below(found, _COMPLEX_ENDS).items()
        }

    return _Form(step, read)


def _list(forms: _Compiled[_Form], shape: Shape) -> _Form:
    member = shape["member"]
    items = _numbered(partial(forms.of, member), list)
    if shape.get("flattened"):
        return items
    return _within(member.get("locationName", "member"), items)


def _map(forms: _Compiled[_Form], shape: Shape) -> _Form:
    key, value = shape["key"], shape["value"]
    names = key.get("locationName", "key"), value.get("locationName", "value")
    entry = _structure(forms, {"members": dict(zip(names, (key, value), strict=True))})
    entries = _numbered(lambda: entry, partial(_mapping, names=names))
    return entries if shape.get("flattened") else _within("entry", entries)


_COMPLEX_FORMS: Final[Mapping[str, Callable[[_Compiled[_Form], Shape], _Form]]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
}


def _below(found: Any, otherwise: str) -> Collected:
    """What was collected below a name; an empty text says that there is nothing."""
    if isinstance(found, str):
        if found:
            raise _malformed(otherwise)
        return {}
    collected: Collected = found
    return collected


def _within(name: str, inner: _Form) -> _Form:
    """The form of a list or map, whose items stand below one more part."""

    def step(part: str) -> _Form:
        if part != name:
            raise _malformed(_LIST_ENDS)
        return inner

    def read(found: Any, where: str) -> Any:
        below = _below(found, _LIST_ENDS)
        return inner.read(below.get(name, ""), f"{where}.{name}")

    return _Form(step, read)


_INDEX: Final = re.compile(r"[0-9]{1,10}")


def _numbered(item: Callable[[], _Form], gather: Callable[[Iterable[Any]], Any]) -> _Form:
    """The form of items, each below its number."""

    def step(part: str) -> _Form:
        if _INDEX.fullmatch(part) is None:
            raise _malformed(_LIST_ENDS)
        return item()

    def read(found: Any, where: str) -> Any:
        below = _below(found, _LIST_ENDS)
        read_item = item().read
        return gather(read_item(below[part], f"{where}.{part}") for part in sorted(below, key=int))

    return _Form(step, read)


def _mapping(entries: Iterable[dict[str, Json]], names: tuple[str, str]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for entry in entries:
        if len(entry) < len(names):
            raise _malformed(_COMPLEX_ENDS)
        key, value = (entry[name] for name in names)
        found.setdefault(key, value)
    return found


def _leaf(shape: Shape) -> _Form:
    expected, read_text = _READERS[shape["type"]]

    def step(_part: str) -> _Form:
        raise _malformed(_LIST_STARTS)

    def read(found: str, where: str) -> Json:
        try:
            return read_text(found)
        except ValueError:
            if not found and shape["type"] in _NUMBERS:
                raise _malformed("missing value for decimal type") from None  # As observed.
            # AWS sends the code alone (observed); a sentence costs no caller anything.
            raise _malformed(f"Expected {expected} at '{where}'.") from None

    return _Form(step, read)


def _malformed(message: str) -> ServiceError:
    return ServiceError("MalformedInput", message)


# Values of requests

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"
)
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:(\.[0-9]{1,6})[0-9]{0,3})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _integer(text: str, bits: int) -> int:
    """A signed integer; a plus sign and leading zeros are taken (observed)."""
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(text)
    number = int(text)
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(text)
    return number


def _decimal(text: str) -> float:
    """A finite number."""
    if _DECIMAL.fullmatch(text) is None or math.isinf(number := float(text)):
        raise ValueError(text)
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _timestamp(text: str) -> float:
    """ISO 8601 to epoch seconds, an integer where it is whole; digits below a microsecond go."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ValueError(text)
    whole, fraction, zone = found.groups(default="")
    passed = datetime.fromisoformat(whole + zone.replace("Z", "+00:00")) - _EPOCH
    seconds = passed.days * 86_400 + passed.seconds
    return seconds + float(fraction) if fraction.strip(".0") else seconds


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError(text) from None


_NUMBERS: Final = frozenset({"integer", "long", "float", "double"})

_READERS: Final[Mapping[str, tuple[str, Callable[[str], Json]]]] = {
    "string": ("a string", str),
    "integer": ("an integer of 32 bits", partial(_integer, bits=32)),
    "long": ("an integer of 64 bits", partial(_integer, bits=64)),
    "float": ("a number", _decimal),
    "double": ("a number", _decimal),
    "boolean": ("true or false", _boolean),
    "timestamp": ("an ISO 8601 timestamp with its zone", _timestamp),
    "blob": ("Base64", _blob),
}


# Answers

Writer: TypeAlias = Callable[[Json, str, list[str]], None]
"""Writes a value as the element, or elements, of a name."""


def _writer(writers: _Compiled[Writer], name: str, shape: Shape) -> Writer:
    make = _COMPLEX_WRITERS.get(shape["type"])
    return _plain(name, shape) if make is None else make(writers, name, shape)


def _structure_writer(writers: _Compiled[Writer], shape_name: str, shape: Shape) -> Writer:
    members = [(name, writers.wire_name(name, ref), ref) for name, ref in shape["members"].items()]
    names = shape["members"].keys()

    def write(value: Json, tag: str, out: list[str]) -> None:
        _expect(dict, value, shape_name)
        if unknown := value.keys() - names:
            raise StepoutError(f"{shape_name} has no member {', '.join(sorted(unknown))}.")
        out.append(f"<{tag}>")
        for name, member_tag, ref in members:
            if (member := value.get(name)) is not None:
                writers.of(ref)(member, member_tag, out)
        out.append(f"</{tag}>")

    return write


def _list_writer(writers: _Compiled[Writer], shape_name: str, shape: Shape) -> Writer:
    def write_items(value: Json, tag: str, out: list[str]) -> None:
        _expect(list, value, shape_name)
        write_item = writers.of(shape["member"])
        for item in value:
            write_item(item, tag, out)

    if shape.get("flattened"):
        return write_items
    return _wrapped(write_items, shape["member"].get("locationName", "member"))


def _map_writer(writers: _Compiled[Writer], shape_name: str, shape: Shape) -> Writer:
    key, value = shape["key"], shape["value"]
    key_tag, value_tag = key.get("locationName", "key"), value.get("locationName", "value")

    def write_entries(entries: Json, tag: str, out: list[str]) -> None:
        _expect(dict, entries, shape_name)
        write_key, write_value = writers.of(key), writers.of(value)
        for entry_key, entry_value in entries.items():
            out.append(f"<{tag}>")
            write_key(entry_key, key_tag, out)
            write_value(entry_value, value_tag, out)
            out.append(f"</{tag}>")

    return write_entries if shape.get("flattened") else _wrapped(write_entries, "entry")


def _wrapped(write_items: Writer, item_tag: str) -> Writer:
    def write(value: Json, tag: str, out: list[str]) -> None:
        out.append(f"<{tag}>")
        write_items(value, item_tag, out)
        out.append(f"</{tag}>")

    return write


_COMPLEX_WRITERS: Final[Mapping[str, Callable[[_Compiled[Writer], str, Shape], Writer]]] = {
    "structure": _structure_writer,
    "list": _list_writer,
    "map": _map_writer,
}


def _plain(shape_name: str, shape: Shape) -> Writer:
    kinds, text_of = _TEXTS[shape["type"]]

    def write(value: Json, tag: str, out: list[str]) -> None:
        _expect(kinds, value, shape_name)
        out.append(f"<{tag}>{text_of(value)}</{tag}>")

    return write


def _expect(kinds: type | tuple[type, ...], value: Json, shape_name: str) -> None:
    # A Boolean is no number, though Python thinks so. The value may be a secret: it is not shown.
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise StepoutError(f"A {type(value).__name__} is no value of {shape_name}.")


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _timestamp_text(epoch_s: float) -> str:
    return iso_8601(round(epoch_s * 1_000))


def _boolean_text(value: bool) -> str:  # noqa: FBT001 — the value itself
    return "true" if value else "false"


def _blob_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


# Markup, a carriage return, which parsers make a line feed of, and what XML 1.0 cannot hold, not
# even as a reference (section 2.2).
_SPECIAL: Final = re.compile('[&<>"\r]|[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_SPELLED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
_REPLACEMENT: Final = "\ufffd"
"""Stands for a character that XML cannot hold: a value that came in as JSON must not make an answer
that no client can read."""


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _SPELLED.get(found[0], _REPLACEMENT), text)


_TEXTS: Final[Mapping[str, tuple[type | tuple[type, ...], Callable[[Any], str]]]] = {
    "string": (str, _escaped),
    "integer": (int, str),
    "long": (int, str),
    "float": ((int, float), _float_text),
    "double": ((int, float), _float_text),
    "boolean": (bool, _boolean_text),
    "timestamp": ((int, float), _timestamp_text),
    "blob": (bytes, _blob_text),
}
