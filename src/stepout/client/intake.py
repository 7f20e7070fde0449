"""What the proxy takes: which hosts, and which requests for them. No I/O."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import h11

from stepout.client.replies import Reply, told
from stepout.errors import NotCarried, UnknownUpstream
from stepout.gateway.messages import Headers, Request
from stepout.gateway.upstreams import Upstreams

__all__ = [
    "admit",
    "build",
    "chunks_problem",
    "head_problem",
    "header",
    "left_out",
    "plain_refusal",
    "unservable",
]

_TARGET: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,254}):(?P<port>[0-9]{1,5})"
)

_OF_THE_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade"}
)
"""Of this connection only (RFC 9110, 7.6.1), beside those that Connection names."""

_CACHING: Final = ("cache-control", "pragma")
_FRESH: Final = re.compile(r"no-cache|no-store|max-age=0")
"""What programs ask of caches by habit. Between the proxy and the API there is none, so without it
the request means the same. (A cache that the API has in front of itself is the API's own.)"""


# --- CONNECT --------------------------------------------------------------------------------------


def admit(target: bytes, upstreams: Upstreams | None) -> tuple[str, str]:
    """The host that CONNECT asks for, and host and port as a URL has them.

    Raises `ValueError` for what is no host and port, `NotCarried` for what cannot be reached so.
    """
    text = target.decode("latin-1")
    match = _TARGET.fullmatch(text)
    host = "" if match is None else match["host"].lower().rstrip(".")
    if match is None or not host or not 1 <= int(match["port"]) <= 65_535:
        raise ValueError(f"Expected CONNECT with HOST:PORT, found {text!a}.")
    if host.startswith("["):
        raise NotCarried(
            f"{text} is an IPv6 address, and an HTTP Task takes host names; nothing was sent."
        )
    port = int(match["port"])
    if port == 80:
        raise NotCarried(
            f"{text} speaks plain HTTP, and an HTTP Task calls HTTPS alone; nothing was sent."
        )
    authority = host if port == 443 else f"{host}:{port}"
    known = {} if upstreams is None else {upstream.name: upstream.url for upstream in upstreams}
    if known and authority not in {urlsplit(url).netloc for url in known.values()}:
        raise UnknownUpstream(f"https://{authority}/", known)
    return host, authority


def plain_refusal(request: h11.Request) -> Reply:
    """Why a request outside a tunnel is not served."""
    target = request.target.decode("latin-1")
    scheme = target.partition(":")[0].lower() if "://" in target else ""
    if scheme == "https":
        text = (
            "Expected CONNECT for an https URL, found the URL itself: the client would not have "
            "used TLS. Use a client that sends CONNECT to its proxy."
        )
    elif scheme:
        text = (
            f"{scheme}:// URLs cannot be carried; nothing was sent: an HTTP Task calls HTTPS "
            "alone. Use the API's https URL; hosts that the subnet reaches by itself belong in "
            "NO_PROXY."
        )
    else:
        text = (
            f"There is no {target.partition('?')[0]} here: this is a proxy for HTTPS. Name it in "
            "HTTPS_PROXY."
        )
        return told(404, text)
    return told(501, text, error="NotCarried")


# --- What h11 takes and is not plain --------------------------------------------------------------

_LINE: Final = re.compile(rb"[^\r\n]*\r\n")
_FRAMING: Final = (b"content-length", b"transfer-encoding")


def head_problem(head: bytes) -> str | None:
    """What is wrong with the bytes of a head; None where they can be read in one way alone."""
    head = head.lstrip(b"\r\n")
    if _LINE.sub(b"", head):
        return "Expected lines that end with CR LF, found one of the two alone"
    lines = head.split(b"\r\n")[1:]
    if any(line.startswith((b" ", b"\t")) for line in lines):
        return "Expected each header on one line, found one that is folded (RFC 9112, 5.2)"
    fields = [line.lower().partition(b":") for line in lines]
    names = [name for name, _, _ in fields]
    if any(b"_" in name and name.replace(b"_", b"-") in _FRAMING for name in names):
        return "Expected hyphens in the headers that frame a request, found underscores"
    lengths = [value for name, _, value in fields if name == b"content-length"]
    if len(lengths) > 1 or any(b"," in value for value in lengths):
        return "Expected one Content-Length, found several"
    return None


_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?\r\n")


def chunks_problem(body: bytes) -> str | None:
    """What is wrong with the bytes of a chunked body with its trailers, as `head_problem`."""
    at = 0
    while match := _SIZE.match(body, at):
        size = int(match[1], 16)
        if size == 0:
            return _trailers_problem(body[match.end() :])
        at = match.end() + size + 2
        if body[at - 2 : at] != b"\r\n":
            break
    return "Expected chunks that begin with a size and end with CR LF, found another"


def _trailers_problem(trailers: bytes) -> str | None:
    names = {line.partition(b":")[0].lower() for line in trailers.split(b"\r\n")}
    if names & {*_FRAMING, b"host"} or _LINE.sub(b"", trailers):
        return "Expected trailers that say nothing of host and length, found such"
    return None


# --- Requests in a tunnel -------------------------------------------------------------------------


def unservable(request: h11.Request, authority: str) -> Reply | None:
    """Why a request is refused whatever its body; None for one that may go on."""
    if request.http_version not in (b"1.0", b"1.1"):
        version = request.http_version.decode("ascii")
        return told(505, f"Expected HTTP/1.1, found HTTP/{version}.")
    if request.method == b"CONNECT":
        return told(501, "Expected a request inside the tunnel, found another CONNECT.")
    if "websocket" in (header(request, b"upgrade") or "").lower():
        text = (
            "Websockets cannot be carried; nothing was sent: an HTTP Task sends one request and "
            "waits for one answer."
        )
        return told(501, text, error="NotCarried")
    if header(request, b"transfer-encoding"):
        if header(request, b"content-length"):
            # h11 would take the first; whoever sends both is broken, or smuggles (RFC 9112, 6.3).
            return told(400, "Expected Transfer-Encoding or Content-Length, found both.")
        if request.http_version == b"1.0":
            # Which HTTP/1.0 does not know: it may end elsewhere for others (RFC 9112, 6.1).
            return told(400, "Expected no Transfer-Encoding in HTTP/1.0, found one.")
    try:
        named, _ = _split(request, authority)
        named = _canonical(named)
        host = header(request, b"host")
        said = named if host is None else _canonical(host)
    except ValueError as error:
        return told(400, str(error))
    if {named, said} != {authority}:
        wrong = said if named == authority else named
        text = f"Expected a request to {authority}, for which the tunnel is, found {wrong!a}."
        return told(421, text)
    return None


_OF_A_COPY: Final = ("if-none-match", "if-modified-since")
"""Of one who has a copy already. Without it a GET or HEAD gets the whole answer in place of a 304,
which each such client takes (RFC 9110, 13.1)."""


def left_out(request: h11.Request) -> tuple[str, ...]:
    """Headers that an HTTP Task does not take, and without which the request means the same."""
    caching = [name for name in _CACHING if _asks_to_be_fresh(header(request, name.encode()))]
    is_reading = request.method in (b"GET", b"HEAD")
    copy = [name for name in _OF_A_COPY if is_reading and _has_copy(header(request, name.encode()))]
    return (*caching, *copy)


def _has_copy(value: str | None) -> bool:
    return value is not None and value.strip() != "*"


def _asks_to_be_fresh(value: str | None) -> bool:
    if value is None:
        return False
    directives = [directive.strip().lower() for directive in value.split(",")]
    return all(map(_FRESH.fullmatch, filter(None, directives)))


def build(request: h11.Request, authority: str, body: bytes) -> Request:
    """The request as the gateway takes it."""
    _, path = _split(request, authority)
    pairs = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.raw_items()
    ]
    named = (header(request, b"connection") or "").lower().split(",")
    dropped = _OF_THE_HOP.union((name.strip() for name in named), left_out(request))
    kept = Headers([pair for pair in pairs if pair[0].lower() not in dropped])
    return Request(request.method.decode("ascii"), f"https://{authority}{path}", kept, body)


def _split(request: h11.Request, authority: str) -> tuple[str, str]:
    """The authority that a target names, the tunnel's where it names none, and the rest."""
    target = request.target.decode("latin-1")
    if target.startswith("/"):
        return authority, target
    if target.lower().startswith("https://"):
        named, slash, rest = target[len("https://") :].partition("/")
        return named, slash + rest or "/"
    raise ValueError(f"Expected a target that begins with a slash, found {target!a}.")


def _canonical(authority: str) -> str:
    """Host and port as `admit` writes them."""
    host, _, port = authority.lower().partition(":")
    host = host.rstrip(".")
    return host if port in ("", "443") else f"{host}:{port}"


def header(request: h11.Request, name: bytes) -> str | None:
    """The values of a header, joined by commas; the name in lower case."""
    found = [value.decode("latin-1") for key, value in request.headers if key == name]
    return ", ".join(found) if found else None
