"""What an HTTP Task carries of a request's headers, and what becomes of the rest.

The names are those that a Task may not set (developer guide, HTTP Task); the connection's own
header is judged beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stepout.errors import NotCarried
from stepout.gateway.messages import Headers, Pair
from stepout.gateway.upstreams import CallerAuth

__all__ = ["Carried", "carry", "is_field_value"]

TRACE: Final = "x-amzn-trace-id"

_TRANSPORT: Final = frozenset(
    {
        *("accept-charset", "accept-encoding", "connection", "content-length", "expect"),
        *("forwarded", "host", "http2-settings", "keep-alive", "max-forwards"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "user-agent", "via"),
    }
)
"""Of one connection only, or set by the service: left out, and told."""

_TRANSPORT_PREFIX: Final = "x-forwarded-"

_CONDITIONAL: Final = "an HTTP Task sends its own Range and no conditions; leave the header out"
_CACHING: Final = "there is no cache on the way; leave the header out"
_NOT_TAKEN: Final = "an HTTP Task does not take the header"

_REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
        _CONDITIONAL,
    ),
    "range": "an HTTP Task always asks for the first 262,145 bytes; leave the header out",
    "cache-control": _CACHING,
    "pragma": _CACHING,
    "content-encoding": "bodies are text; send them uncompressed",
    "content-md5": _NOT_TAKEN,
    **dict.fromkeys(
        ("a-im", "accept-datetime", "date", "from", "origin", "referer", "server", "warning"),
        _NOT_TAKEN,
    ),
}
"""What would change the meaning of the request if it were left out → why it is refused."""

_RESERVED_PREFIXES: Final = ("x-amz-", "x-amzn-")

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What a name may be (RFC 9110, 5.6.2); a blank more would slip past the names above."""

_SEPARATORS: Final[Mapping[str, str]] = {"cookie": "; "}
"""Between several values of one name; a comma for the others (RFC 9110, 5.3)."""


_ONCE: Final = frozenset({"content-type"})
"""Of one value: joined, they would be no type, or another (RFC 9110, 8.3)."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Headers as the machine's input has them, and what was left out."""

    headers: Mapping[str, str]
    dropped: tuple[str, ...]
    """Names, in lower case."""
    trace: str | None
    """The trace header, which the call itself carries."""


@dataclass(slots=True)
class _Sorting:
    kept: dict[str, Pair] = field(default_factory=dict)
    dropped: dict[str, None] = field(default_factory=dict)
    trace: str | None = None


def carry(headers: Headers, own: str | None, caller_auth: CallerAuth) -> Carried:
    """Sort a request's headers; `own` is the header that the connection sets, in lower case.

    Raises `NotCarried` for one that cannot be left out without changing the request.
    """
    sorting = _Sorting()
    for name, value in headers.pairs:
        _sort(sorting, name, value, own, caller_auth)
    return Carried(dict(sorting.kept.values()), tuple(sorting.dropped), sorting.trace)


def _sort(
    sorting: _Sorting, name: str, value: str, own: str | None, caller_auth: CallerAuth
) -> None:
    key = name.lower()
    if not _TOKEN.fullmatch(name):
        raise NotCarried(f"A header cannot have the name {name!a}; nothing was sent.")
    if not is_field_value(value):
        raise NotCarried(
            f"The value of the header {name} has control characters or halves of characters; "
            "nothing was sent."
        )
    if key in _TRANSPORT or key.startswith(_TRANSPORT_PREFIX):
        sorting.dropped[key] = None
    elif key in ("authorization", own):
        if caller_auth == "refuse":
            raise NotCarried(
                f"The header {name} holds a credential, which does not go this way; nothing was "
                "sent. Put this credential in the connection (auth in the upstreams file), or let "
                'the client drop it there: caller_auth = "drop".'
            )
        sorting.dropped[key] = None
    elif not value.isascii():
        raise NotCarried(
            f"The value of the header {name} is not ASCII, and it is not known in which bytes an "
            "HTTP Task sends such a text; nothing was sent. Write it in ASCII as the API takes it: "
            "percent-encoded, or in Base64."
        )
    elif key == TRACE:
        sorting.trace = value
    elif key in _REFUSED or key.startswith(_RESERVED_PREFIXES):
        reason = _REFUSED.get(key, _NOT_TAKEN)
        raise NotCarried(f"The header {name} cannot be carried; nothing was sent: {reason}.")
    elif key in _ONCE and key in sorting.kept:
        raise NotCarried(f"The header {name} stands twice, and is one; nothing was sent.")
    else:
        spelled, before = sorting.kept.get(key, (name, None))
        joined = value if before is None else before + _SEPARATORS.get(key, ", ") + value
        sorting.kept[key] = (spelled, joined)


_UNWRITABLE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def is_field_value(value: str) -> bool:
    """Whether a header can have this value (RFC 9110, 5.5)."""
    return _UNWRITABLE.search(value) is None
