"""The head of a request, read with distrust: what the parser let through and HTTP does not.

llhttp has split the head and refused what is no head at all: bare CR and LF, folded lines, blanks
before the colon, control characters, lengths that are no plain numbers, a length beside a transfer
coding, other versions' grammar. The checks here are about meaning, and none of them trusts that a
proxy in front of the server reads a doubtful head as we do: what could be read in two ways is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn
from urllib.parse import unquote

from stepout.api import faults
from stepout.api.http.bounds import Bounds
from stepout.errors import ServiceError

__all__ = ["TRAILERLESS", "Field", "Request", "malformed", "read", "refusal"]

Field = tuple[bytes, bytes]
"""Name in lower case, value without blanks around it."""


class Place(NamedTuple):
    """What a target names. `path` is decoded; `authority` is that of an absolute-form target."""

    raw_path: bytes
    path: str
    query: bytes
    authority: bytes | None


@dataclass(slots=True)
class Request:
    """A request that was read; `length` is None for a chunked body."""

    method: str
    version: str
    fields: list[Field]
    place: Place
    length: int | None
    expects: bool
    """Whether the client waits for `100 Continue`."""
    keeps_alive: bool = True
    body: bytes = b""


def refusal(status: int, message: str) -> ServiceError:
    """Why a request is not let in, in AWS's shape."""
    return ServiceError(_CODES[status], message, status=status)


def malformed(message: str) -> ServiceError:
    return refusal(400, message)


_CODES: Final = {
    400: "InvalidRequest",
    405: "InvalidRequest",
    408: "RequestTimeout",
    417: "InvalidRequest",
    503: "ServiceUnavailable",
    505: "InvalidRequest",
}
"""Status → code; SDKs send again what was answered `RequestTimeout` or `ServiceUnavailable`."""

SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"x-amz-date",
        b"x-amz-security-token",
        b"x-amz-target",
    }
)
"""Fields that decide where a request ends, goes and whose it is: a second one could be meant for
somebody else's eyes."""

TRAILERLESS: Final = SINGLE - {b"content-type"}
"""Those that may not come behind the body (RFC 9110, 6.5.1): whoever joins them to the head is told
another request. We drop trailers, and so may they that only describe the body."""

VERSIONS: Final = frozenset({"1.0", "1.1"})

_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?")
"""RFC 3986, 3.2.2 and 3.2.3."""

_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]+)([^?]*)\??(.*)")


def read(method: str, target: bytes, version: str, fields: list[Field], bounds: Bounds) -> Request:
    """Read a head that the parser has split; raises `ServiceError`."""
    if len(fields) > bounds.fields:
        raise malformed(f"The request has more than {bounds.fields} header fields.")
    named = dict(fields)
    if len(named) != len(fields):
        _check_repeated(fields)
    place = _place(method, target, version, named.get(b"host"))
    length = None
    if b"transfer-encoding" in named:
        _check_coding(named, version)
    else:
        length = _length(named.get(b"content-length", b"0"), bounds.body)
    expects = b"expect" in named and _expects(named[b"expect"], version)
    return Request(method, version, fields, place, length, expects)


@lru_cache(64)
def _place(method: str, target: bytes, version: str, host: bytes | None) -> Place:
    """Where a request goes; a client's next request most often goes to the same place."""
    if version not in VERSIONS:
        raise refusal(505, f"Expected HTTP/1.1 or HTTP/1.0, found HTTP/{version}.")
    _check_host(host, version)
    raw_path, query, authority = _split(method, target)
    return Place(raw_path, unquote(raw_path.decode("ascii")), query, authority)


def _check_repeated(fields: Sequence[Field]) -> None:
    names = [name for name, _ in fields]
    for name in SINGLE:
        if names.count(name) > 1:
            raise malformed(f"The request has several header fields '{name.decode()}'.")


def _check_host(host: bytes | None, version: str) -> None:
    """RFC 9112, 3.2: HTTP/1.1 has one; its form is always checked."""
    if host is None:
        if version == "1.1":
            raise malformed("The request has no Host header.")
    elif not _HOST.fullmatch(host):
        raise malformed("The Host header is not a host with or without a port.")


def _split(method: str, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path, query and authority of a target, in the forms of RFC 9112, 3.2."""
    if method == "CONNECT":
        raise refusal(405, "This server is not a proxy: it does not serve CONNECT.")
    if not target.isascii():
        raise malformed("The request's target has other characters than ASCII's.")
    # A fragment has no business here; parsers of others drop it, and so does this one.
    target = target.partition(b"#")[0] if b"#" in target else target
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*" and method == "OPTIONS":
        return target, b"", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        _refuse_target(method)
    authority, path, query = match.groups()
    # RFC 9110, 4.2.4: a name before the host is there to hide the host.
    if not _HOST.fullmatch(authority):
        raise malformed("The authority of the request's target is not a host with or without port.")
    return path or b"/", query, authority


def _refuse_target(method: str) -> NoReturn:
    raise malformed(f"Expected the target of {method} to be a path or an http URL.")


def _length(digits: bytes, most: int) -> int:
    """Bytes of a body by its Content-Length."""
    if not digits.isdigit():
        raise malformed("Content-Length is not a whole number.")
    # Long runs of digits need no arithmetic; leading zeros do not make a number large.
    if len(digits) > _DIGITS and digits.lstrip(b"0")[_DIGITS:]:
        raise faults.too_large(most)
    length = int(digits)
    if length > most:
        raise faults.too_large(most)
    return length


_DIGITS: Final = 18


def _check_coding(named: Mapping[bytes, bytes], version: str) -> None:
    """A body without a length is chunked, and nothing else (RFC 9112, 6)."""
    if b"content-length" in named:
        raise malformed("The request has Content-Length and Transfer-Encoding; one may be a lie.")
    if version != "1.1":
        raise malformed("HTTP/1.0 has no Transfer-Encoding.")
    if named[b"transfer-encoding"].lower() != b"chunked":
        raise malformed("Expected Transfer-Encoding to be chunked, and nothing else.")


def _expects(value: bytes, version: str) -> bool:
    """Whether to say `100 Continue` (RFC 9110, 10.1.1)."""
    if version == "1.0":
        return False
    if value.lower() != b"100-continue":
        raise refusal(417, "Expected the Expect header to be 100-continue.")
    return True
