"""Requests to the gateway machine's input, and its results to responses. No I/O.

A body goes as a text, which an HTTP Task sends as it is (recorded on AWS): the API sees the bytes
that the caller wrote, forms and JSON alike. An answer that says JSON was parsed on the way: its
white space, the spelling of its numbers and doubled keys may differ, and `extensions` says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from stepout.config import PAYLOAD_LIMIT
from stepout.errors import (
    CallFailed,
    CallRefused,
    CallTimedOut,
    NotCarried,
    TruncatedResponse,
    writable,
)
from stepout.gateway.carried import carry
from stepout.gateway.explain import is_refusal, is_time_out, words
from stepout.gateway.messages import (
    Headers,
    Pair,
    Request,
    Response,
    charset_of,
    codec_of,
    media_type_of,
)
from stepout.gateway.upstreams import METHODS, Upstream, Upstreams

__all__ = ["Encoded", "decode", "encode"]

Json = Any


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request on its way."""

    request: Request
    url: str
    """As the machine gets it, without query and fragment, which a log should not have."""
    input: str
    """The execution's input, a JSON text."""
    upstream: str | None
    dropped: tuple[str, ...]
    """Headers that were left out, in lower case."""
    trace: str | None


# --- Requests -------------------------------------------------------------------------------------


def encode(
    request: Request, upstreams: Upstreams | None = None, payload_limit: int = PAYLOAD_LIMIT
) -> Encoded:
    """The machine's input for a request; raises `NotCarried` and `UnknownUpstream`.

    Without upstreams it is left to the machine to know which APIs there are.
    """
    url, query = _url(request.url)
    upstream = None if upstreams is None else upstreams.route(url)
    _check_method(request.method, upstream)
    carried = carry(
        request.headers,
        None if upstream is None else upstream.credential_header,
        "refuse" if upstream is None else upstream.caller_auth,
    )
    text = json.dumps(
        {
            "url": url,
            "method": request.method,
            "headers": carried.headers,
            "query": _parameters(query),
            "body": _body(request),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    size = len(text.encode())
    if size > payload_limit:
        raise NotCarried(
            f"The request has {size:,} bytes with its headers, and {payload_limit:,} is the most "
            "that an execution's input may have; nothing was sent. Send less at a time, or hand "
            "the data over by another way (S3, say)."
        )
    name = None if upstream is None else upstream.name
    return Encoded(request, url, text, name, carried.dropped, carried.trace)


def _url(text: str) -> tuple[str, str]:
    """A URL as the machine compares it, and its query; the fragment is the caller's own."""
    shown = _shown(text)
    try:
        text.encode()
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        why = "it has half a character" if isinstance(error, UnicodeError) else error
        raise NotCarried(f"'{shown}' is no URL; nothing was sent: {why}.") from None
    if parts.scheme != "https":
        raise NotCarried(
            f"'{shown}' does not begin with https://, and an HTTP Task calls nothing else; nothing "
            "was sent."
        )
    if "@" in parts.netloc:
        raise NotCarried(
            "The URL holds a user, which does not go this way; nothing was sent. Put this "
            "credential in the connection (auth in the upstreams file)."
        )
    host = parts.hostname or ""
    if not _HOST.fullmatch(host):
        raise NotCarried(f"'{shown}' has no host name in ASCII; nothing was sent.")
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if any(piece in path.lower() for piece in _LEAVING):
        raise NotCarried(
            f"The path of '{shown}' has dot segments or backslashes, which may lead out of its "
            "upstream; nothing was sent. Write the path that is meant."
        )
    shown_port = "" if port in (None, 443) else f":{port}"
    return f"https://{host.lower()}{shown_port}{path}", parts.query


def _shown(url: str) -> str:
    """A URL for a message, without what may be secret: user, query, fragment."""
    before = re.split(r"[?#]", writable(url), maxsplit=1)[0]
    return _USER.sub("", before)


_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_USER: Final = re.compile(r"(?<=//)[^/]*@")
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~"
_LEAVING: Final = ("/..", "%2f..", "%2e", "%5c", "\\")
"""What the machine refuses, too; see `definition`."""


def _check_method(method: str, upstream: Upstream | None) -> None:
    allowed = METHODS if upstream is None else upstream.methods
    if method not in allowed:
        whose = "An HTTP Task" if upstream is None else f"The upstream '{upstream.name}'"
        raise NotCarried(
            f"{whose} takes {', '.join(allowed)}, and the request is {method}; nothing was sent."
        )


def _parameters(query: str) -> Mapping[str, str] | str:
    """The query by name where that loses nothing, else as it is: a doubled name, a name without a
    value, an escape that is no UTF-8."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError:
        return query
    parameters = dict(pairs)
    is_plain = len(parameters) == len(pairs) and ";" not in query
    return parameters if is_plain else query


def _body(request: Request) -> str:
    """The body as a text; raises `NotCarried` for one that is none."""
    content_type = request.headers.get("content-type")
    charset = charset_of(content_type) or "utf-8"
    try:
        text = request.body.decode("utf-8")
        # What goes out is UTF-8; another charset is true of it only where both spell the same.
        if text.encode(codec_of(charset), "strict") == request.body:
            return text
    except (LookupError, ValueError):
        pass
    kind = media_type_of(content_type) or "of no type"
    raise NotCarried(
        f"The body ({kind}, {len(request.body):,} bytes) is not a text in UTF-8, and an HTTP Task "
        "carries texts only; nothing was sent. Send it in Base64 where the API takes that."
    )


# --- Responses ------------------------------------------------------------------------------------


def decode(answer: Mapping[str, Json], url: str, method: str = "GET") -> Response:
    """The response in an answer of StartSyncExecution to a request with this method.

    Raises `CallRefused`, `CallFailed`, `CallTimedOut` and `TruncatedResponse`.
    """
    if answer["status"] != "SUCCEEDED":
        raise failure(answer.get("error") or "", answer.get("cause"), url)
    output: str = answer.get("output", "")
    try:
        return _read(dict(_members(output)), url, method)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        # Whatever another machine puts out; a Task's own output has always the same shape.
        raise CallFailed(
            f"The machine's output is no answer of an HTTP Task: {str(output)[:200]}. Does the "
            "ARN name a gateway machine?",
            "Gateway.UnknownOutput",
        ) from None


def _read(members: Mapping[str, str], url: str, method: str) -> Response:
    if "StatusCode" in members:
        return _response(members, url)
    return _error_response(members, url, method)


def failure(error: str, cause: str | None, url: str) -> CallRefused | CallFailed:
    """The exception for an error of AWS, the server or the machine, with what to do about it."""
    message = words(error, cause, url)
    if is_refusal(error, cause):
        return CallRefused(message, error, cause)
    if is_time_out(error, cause):
        return CallTimedOut(message, error, cause)
    return CallFailed(message, error, cause)


_STATUS: Final = re.compile(r"States\.Http\.StatusCode\.(\d{3})")


def _error_response(members: Mapping[str, str], url: str, method: str) -> Response:
    """A status that is not 2xx, caught by the machine; with its body where the server kept it."""
    error, cause = json.loads(members["Error"]), json.loads(members.get("Cause", "null"))
    match = _STATUS.fullmatch(error)
    if match is None:
        raise failure(error, cause, url)
    kept = dict(_members(cause)) if (cause or "").startswith("{") else {}
    if "StatusCode" in kept:
        response = _response(kept, url)
        is_lost = "ResponseBody" not in kept and method != "HEAD" and _has_body(response.headers)
        return _without_body(response) if is_lost else response
    return _without_body(Response(int(match[1]), cause or "", Headers(), b"", url))


def _has_body(headers: Headers) -> bool:
    """Whether an answer says, by its length, else by its type, that there is a body with it.

    A server that keeps the bodies of errors leaves out those that are no texts.
    """
    length = headers.get("content-length")
    return "content-type" in headers if length is None else length.strip() != "0"


def _without_body(response: Response) -> Response:
    return replace(response, is_body_carried=False, extensions={"body": "not carried"})


_JSON_TYPES: Final = re.compile(r"application/json|text/json|[^/]+/[^/]+\+json")

_FRAMING: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "trailer",
        "transfer-encoding",
    }
)
"""Of the connection between the API and the HTTP Task; the body has come out of them."""


def _response(members: Mapping[str, str], url: str) -> Response:
    grouped: Mapping[str, Json] = json.loads(members.get("Headers", "{}"))
    pairs = [pair for name, values in grouped.items() for pair in _pairs(name, values)]
    raw = members.get("ResponseBody")
    content, state = _content(raw, Headers(pairs).get("content-type"))
    if raw is not None:
        pairs = [pair for pair in pairs if pair[0].lower() not in _FRAMING]
    status, reason = int(members["StatusCode"]), json.loads(members.get("StatusText", '""'))
    extensions: dict[str, Json] = {"body": state}
    if status == _PARTIAL:
        found = Headers(pairs).get("content-range")
        if found is not None:
            if not _is_whole(found):
                raise TruncatedResponse(url, found)
            status, reason = 200, "OK"
            pairs = [pair for pair in pairs if pair[0].lower() != "content-range"]
            extensions |= {"status": _PARTIAL, "content_range": found}
    return Response(status, reason, Headers(pairs), content, url, extensions=extensions)


def _pairs(name: str, values: Json) -> Iterator[Pair]:
    for value in values if isinstance(values, list) else [values]:
        yield name, str(value)


def _content(raw: str | None, content_type: str | None) -> tuple[bytes, str]:
    """The body's bytes, and what may differ from those that the API sent."""
    if raw is None:
        return b"", "exact"
    charset = charset_of(content_type) or "utf-8"
    if not raw.startswith('"') or _JSON_TYPES.fullmatch(media_type_of(content_type)):
        return _spelled(raw, charset), "rewritten"
    return _encoded(json.loads(raw), charset)


def _spelled(text: str, charset: str) -> bytes:
    """JSON in a charset, with escapes for what the charset does not have."""
    try:
        return text.encode(codec_of(charset), "surrogatepass")
    except (LookupError, UnicodeEncodeError):
        return _encoded(_NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text), charset)[0]


_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def _encoded(text: str, charset: str) -> tuple[bytes, str]:
    """A text in a charset, in UTF-8 where nobody knows the charset; and what may differ."""
    try:
        codec = codec_of(charset)
    except LookupError:
        return text.encode("utf-8", "surrogatepass"), "recoded"
    try:
        content = text.encode(codec, "surrogatepass")
    except UnicodeEncodeError:
        return text.encode(codec, "replace"), "replaced"
    if "\ufffd" in text:
        # Put by who decoded it where the bytes were none of the charset; or by the API itself.
        return content, "replaced"
    return content, "exact" if _ONE_SPELLING.fullmatch(codec) else "recoded"


_ONE_SPELLING: Final = re.compile(r"utf-8|ascii|iso8859-\d+|cp125\d|koi8-[rtu]")
"""Codecs in which a text is spelled in one way alone. UTF-16 has two byte orders and a mark that
may be there, those of East Asia have doubles."""

_PARTIAL: Final = 206
_RANGE: Final = re.compile(r"bytes 0-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LAST_ASKED: Final = 262_144
"""An HTTP Task asks for `bytes=0-262144`."""


def _is_whole(content_range: str) -> bool:
    match = _RANGE.fullmatch(content_range.strip())
    if match is None:
        return False
    last = int(match[1])
    return last < _LAST_ASKED if match[2] == "*" else last + 1 == int(match[2])


# --- JSON as it stands ----------------------------------------------------------------------------

_PIECE: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]|[^\s"\[\]{},:]++', re.DOTALL)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of an object, each as the text that it stands as; none where it is no object.

    So that numbers, escapes and the order of keys reach the caller as they came, and no nesting is
    too deep.
    """
    key: str | None = None
    depth = start = 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        if depth == 0:
            if piece != "{":
                return
            depth = 1
        elif piece in "[{":
            start = match.start() if depth == 1 else start
            depth += 1
        elif piece in "]}":
            depth -= 1
            if depth == 1 and key is not None:
                yield key, text[start : match.end()]
                key = None
        elif depth == 1:
            if key is None:
                if not piece.startswith('"'):
                    return
                key = json.loads(piece)
            else:
                yield key, piece
                key = None
