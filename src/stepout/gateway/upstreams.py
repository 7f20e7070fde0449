"""The upstreams file: which APIs may be called, how, and where their credentials come from.

    [upstream.stripe]
    url = "https://api.stripe.com/v1/"
    methods = ["GET", "POST"]
    auth = "api-key"          # the secret never stands here

Everything follows from it: the gateway machine, the client's routing, the connections of a server.
All problems of a file are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from stepout import tables
from stepout.errors import SettingsError, UnknownUpstream
from stepout.secret import Source, source
from stepout.tables import Raw, Read

__all__ = ["METHODS", "Auth", "Upstream", "Upstreams"]

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
"""What an HTTP Task can send (developer guide, HTTP Task)."""

IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE", "OPTIONS", "HEAD"})
"""What may be sent twice (RFC 9110, 9.2.2)."""

OWN_STATES: Final = frozenset({"Answer", "Failed", "Outcome", "Route"})
"""States of the gateway machine that an upstream's Task would replace if it had their name."""

MAX_RETRIES: Final = 5
MAX_SECONDS: Final = 60
"""An HTTP Task ends after 60 seconds (developer guide)."""

Auth: TypeAlias = Literal["none", "api-key", "basic", "oauth"]
CallerAuth: TypeAlias = Literal["refuse", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One API. Fields that its kind of `auth` does not use are at their defaults."""

    name: str
    url: str
    """What every URL begins with: https, ends with a slash."""
    methods: tuple[str, ...] = METHODS
    auth: Auth = "none"
    header: str = "x-api-key"
    """api-key: the header that carries the key."""
    prefix: str = ""
    """api-key: what stands before the key, such as `Bearer `."""
    username: str = ""
    """basic; the secret is the password."""
    client_id: str = ""
    """oauth; the secret is the client's."""
    token_url: str = ""
    scope: str = ""
    secret: Source | None = None
    retries: int = 0
    """How often an idempotent request is repeated by the machine."""
    timeout: int = MAX_SECONDS
    """Seconds, of one attempt."""
    caller_auth: CallerAuth = "refuse"
    """What becomes of a credential that a caller sends: `drop` where the connection has one."""

    @property
    def credential_header(self) -> str | None:
        """The header that the connection sets, in lower case."""
        if self.auth == "none":
            return None
        return self.header.lower() if self.auth == "api-key" else "authorization"


@dataclass(frozen=True, slots=True)
class Upstreams:
    """All APIs, the longest URL first: it is the one that a request belongs to."""

    items: tuple[Upstream, ...]
    machine: str = "stepout-gateway"
    """The name of the gateway machine."""
    has_passthrough: bool = False
    """Also make the article's machine, which takes everything from its input."""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        longest_first = sorted(self.items, key=lambda upstream: len(upstream.url), reverse=True)
        object.__setattr__(self, "items", tuple(longest_first))
        object.__setattr__(self, "names", tuple(upstream.name for upstream in self.items))

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self.items)

    @classmethod
    def load(cls, path: Path) -> Upstreams:
        """Read a file; raises `SettingsError` with every problem."""
        return cls._of(tables.load(path, "The upstreams file"), str(path))

    @classmethod
    def parse(cls, text: str, name: str = "The upstreams file") -> Upstreams:
        """As `load`, of a text."""
        return cls._of(tables.parse(text, name), name)

    @classmethod
    def _of(cls, given: Mapping[str, Raw], name: str) -> Upstreams:
        problems: list[str] = []
        found = _read(given, problems)
        if problems:
            raise SettingsError("\n".join(f"{name}: {problem}" for problem in problems))
        return found

    def route(self, url: str) -> Upstream:
        """The upstream of a URL without its query; raises `UnknownUpstream`."""
        for upstream in self.items:
            if url.startswith(upstream.url):
                return upstream
        raise UnknownUpstream(url, {upstream.name: upstream.url for upstream in self.items})


# --- Reading --------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}", re.ASCII)
_HOST: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]")  # fmt: skip  # noqa: E501
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()+,;=:@-]+/)*")
_header_name: Final = tables.matching(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,512}", "a header's name")


def _read(given: Mapping[str, Raw], problems: list[str]) -> Upstreams:
    problems += [
        f"expected [gateway] and [upstream.NAME], found '{name}'."
        for name in given
        if name not in ("gateway", "upstream")
    ]
    gateway = tables.members("[gateway]: ", given.get("gateway", {}), _GATEWAY, problems)
    named = given.get("upstream", {})
    if not isinstance(named, dict) or not named:
        problems.append("expected at least one table [upstream.NAME], found none.")
        named = {}
    found = [_upstream(name, value, problems) for name, value in named.items()]
    items = [upstream for upstream in found if upstream is not None]
    problems += _doubles(items)
    problems += _shared([item for item in items if "secret" not in named[item.name]])
    return Upstreams(
        tuple(items),
        machine=gateway.get("machine", "stepout-gateway"),
        has_passthrough=gateway.get("passthrough", False),
    )


def _doubles(items: Iterable[Upstream]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for upstream in items:
        if upstream.url in seen:
            yield (
                f"[upstream.{upstream.name}] and [upstream.{seen[upstream.url]}] have the same "
                f"url, '{upstream.url}'."
            )
        seen[upstream.url] = upstream.name


def _shared(items: Iterable[Upstream]) -> Iterator[str]:
    """Two names that lead to one variable: one API would get the other's credential."""
    seen: dict[Source, str] = {}
    for upstream in items:
        if upstream.secret is None:
            continue
        if upstream.secret in seen:
            yield (
                f"[upstream.{upstream.name}] and [upstream.{seen[upstream.secret]}] would have "
                f"the same secret, {upstream.secret.name}; say with 'secret' where they are."
            )
        seen[upstream.secret] = upstream.name


def _upstream(name: str, value: Raw, problems: list[str]) -> Upstream | None:
    at = f"[upstream.{name}]"
    before = len(problems)
    if not _NAME.fullmatch(name):
        problems.append(
            f"{at}: expected a name of letters, digits, '-' and '_' that begins with a letter, "
            f"48 at most, found '{name}'."
        )
    if name in OWN_STATES:
        problems.append(f"{at}: a state of the gateway machine has this name; choose another.")
    values = tables.members(f"{at}: ", value, _UPSTREAM, problems)
    auth = values.get("auth", "none")
    if isinstance(value, dict):
        needed = ("url", *_NEEDED.get(auth, ()))
        problems += [f"{at}: '{field}' is missing." for field in needed if field not in value]
        problems += [
            f"{at}: '{field}' does not go with auth = \"{auth}\"."
            for field, kinds in _KINDS.items()
            if field in values and auth not in kinds
        ]
    if len(problems) > before:
        return None
    if auth != "none":
        values.setdefault(
            "secret", Source("env", f"STEPOUT_SECRET_{name.upper().replace('-', '_')}")
        )
        values.setdefault("caller_auth", "drop")
    return Upstream(name=name, **values)


def _methods(raw: Raw) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw or any(method not in METHODS for method in raw):
        raise ValueError(f"expected a list of {', '.join(METHODS)}, found {raw!r}.")
    return tuple(dict.fromkeys(raw))


def _prefix_url(raw: Raw) -> str:
    """A closed prefix: nothing that begins with it is another host or a path outside."""
    example = "such as https://api.example.com/v1/"
    url = tables.text(raw)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"expected a URL {example}, found '{url}': {error}.") from None
    if port == 0:
        raise ValueError(f"expected a port from 1 to 65535, found '{url}'.")
    if parts.scheme != "https":
        raise ValueError(f"expected a URL that begins with https://, found '{url}'.")
    if parts.query or parts.fragment or "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(f"expected a URL without user, query and fragment, found '{url}'.")
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or host not in url:
        raise ValueError(f"expected a host name in lower case and in ASCII, found '{url}'.")
    path = parts.path or "/"
    if not path.endswith("/"):
        raise ValueError(
            f"'{url}' would also let through what begins like it; end it with a slash: '{url}/'."
        )
    if not _PATH.fullmatch(path) or "/./" in path or "/.." in path:
        raise ValueError(f"expected a path of plain names, found '{url}'.")
    shown_port = "" if port in (None, 443) else f":{port}"
    return f"https://{host}{shown_port}{path}"


def _token_url(raw: Raw) -> str:
    url = tables.text(raw)
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or url != url.strip():
        raise ValueError(f"expected an https URL, found '{url}'.")
    if "@" in parts.netloc or parts.fragment:
        # Not shown: a password may stand in it.
        raise ValueError("expected a URL without user and fragment.")
    return url


def _key_header(raw: Raw) -> str:
    name = _header_name(raw)
    if name.lower() in _NO_KEYS:
        raise ValueError(
            f"expected a header that may hold a key, found '{name}': it is of the connection, of "
            "the body, or of the service's own."
        )
    return str(name)


_NO_KEYS: Final = frozenset(
    {
        *("connection", "content-length", "expect", "host", "http2-settings", "keep-alive"),
        *("max-forwards", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via"),
        *("accept", "accept-charset", "accept-encoding", "content-encoding", "content-type"),
        *("content-md5", "date", "range", "user-agent", "x-amzn-trace-id"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    }
)
"""What frames a request, says what its body is, what the HTTP Task sets, or conditions: a key there
would break every request, change it, or be lost."""


_GATEWAY: Final[Mapping[str, Read]] = {
    "machine": tables.matching(r"[A-Za-z0-9_-]{1,80}", "a name of a state machine"),
    "passthrough": tables.boolean,
}

_UPSTREAM: Final[Mapping[str, Read]] = {
    "url": _prefix_url,
    "methods": _methods,
    "auth": tables.one_of("none", "api-key", "basic", "oauth"),
    "header": _key_header,
    "prefix": tables.text,
    "username": tables.text,
    "client_id": tables.text,
    "token_url": _token_url,
    "scope": tables.text,
    "secret": source,
    "retries": tables.number(0, MAX_RETRIES),
    "timeout": tables.number(1, MAX_SECONDS),
    "caller_auth": tables.one_of("refuse", "drop"),
}
assert {"name", *_UPSTREAM} == {field.name for field in fields(Upstream)}  # noqa: S101 — one table

_NEEDED: Final[Mapping[Auth, tuple[str, ...]]] = {
    "basic": ("username",),
    "oauth": ("client_id", "token_url"),
}
_KINDS: Final[Mapping[str, tuple[Auth, ...]]] = {
    "header": ("api-key",),
    "prefix": ("api-key",),
    "username": ("basic",),
    "client_id": ("oauth",),
    "token_url": ("oauth",),
    "scope": ("oauth",),
    "secret": ("api-key", "basic", "oauth"),
}
"""Setting → the kinds of auth that use it."""
