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
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from stepout.errors import SettingsError, UnknownUpstream
from stepout.secret import Secret

__all__ = ["METHODS", "Auth", "Source", "Upstream", "Upstreams"]

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
Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret is: an environment variable or a file."""

    kind: Literal["env", "file"]
    name: str

    def read(self, environ: Mapping[str, str]) -> Secret:
        """The secret; raises `SettingsError` where there is none."""
        if self.kind == "env":
            text = environ.get(self.name, "")
        else:
            try:
                text = Path(self.name).expanduser().read_text("utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                raise SettingsError(f"The secret in {self.name} cannot be read: {error}.") from None
        if not text:
            where = "variable" if self.kind == "env" else "file"
            raise SettingsError(f"Expected a secret in the {where} {self.name}, found nothing.")
        return Secret(text)


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
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise SettingsError(f"The upstreams file {path} cannot be read: {error}.") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "The upstreams file") -> Upstreams:
        """As `load`, of a text."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{name} is not TOML: {error}.") from None
        problems: list[str] = []
        found = _read(tables, problems)
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

_Read: TypeAlias = Callable[[Json], Json]
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}", re.ASCII)
_HOST: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]")  # fmt: skip  # noqa: E501
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()+,;=:@-]+/)*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,512}")


def _read(tables: Mapping[str, Json], problems: list[str]) -> Upstreams:
    problems += [
        f"expected [gateway] and [upstream.NAME], found '{name}'."
        for name in tables
        if name not in ("gateway", "upstream")
    ]
    gateway = _fields("[gateway]", tables.get("gateway", {}), _GATEWAY, problems)
    given = tables.get("upstream", {})
    if not isinstance(given, dict) or not given:
        problems.append("expected at least one table [upstream.NAME], found none.")
        given = {}
    found = [_upstream(name, value, problems) for name, value in given.items()]
    items = [upstream for upstream in found if upstream is not None]
    problems += _doubles(items)
    problems += _shared([item for item in items if "secret" not in given[item.name]])
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


def _upstream(name: str, value: Json, problems: list[str]) -> Upstream | None:
    at = f"[upstream.{name}]"
    before = len(problems)
    if not _NAME.fullmatch(name):
        problems.append(
            f"{at}: expected a name of letters, digits, '-' and '_' that begins with a letter, "
            f"48 at most, found '{name}'."
        )
    if name in OWN_STATES:
        problems.append(f"{at}: a state of the gateway machine has this name; choose another.")
    values = _fields(at, value, _UPSTREAM, problems)
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


def _fields(
    at: str, value: Json, readers: Mapping[str, _Read], problems: list[str]
) -> dict[str, Json]:
    """The members of a table that can be read; the others become problems."""
    if not isinstance(value, dict):
        problems.append(f"{at}: expected a table, found {value!r}.")
        return {}
    found = {}
    for name, raw in value.items():
        if name not in readers:
            known = ", ".join(readers)
            problems.append(f"{at}: there is no setting '{name}'; there are: {known}.")
            continue
        try:
            found[name] = readers[name](raw)
        except ValueError as error:
            problems.append(f"{at}: {name}: {error}")
    return found


def _text(raw: Json) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > 2_048 or not raw.isprintable():
        raise ValueError(f"expected a text, found {raw!r}.")
    return raw


def _matching(pattern: re.Pattern[str], what: str) -> _Read:
    def read(raw: Json) -> str:
        if not isinstance(raw, str) or not pattern.fullmatch(raw):
            raise ValueError(f"expected {what}, found {raw!r}.")
        return raw

    return read


def _one_of(*words: str) -> _Read:
    def read(raw: Json) -> str:
        if raw not in words:
            raise ValueError(f"expected one of {', '.join(words)}, found {raw!r}.")
        return str(raw)

    return read


def _number(least: int, most: int) -> _Read:
    def read(raw: Json) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, found {raw!r}.")
        return raw

    return read


def _boolean(raw: Json) -> bool:
    if raw is not True and raw is not False:
        raise ValueError(f"expected true or false, found {raw!r}.")
    return bool(raw)


def _methods(raw: Json) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw or any(method not in METHODS for method in raw):
        raise ValueError(f"expected a list of {', '.join(METHODS)}, found {raw!r}.")
    return tuple(dict.fromkeys(raw))


def _prefix_url(raw: Json) -> str:
    """A closed prefix: nothing that begins with it is another host or a path outside."""
    example = "such as https://api.example.com/v1/"
    url = _text(raw)
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


def _token_url(raw: Json) -> str:
    url = _text(raw)
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


def _source(raw: Json) -> Source:
    if isinstance(raw, dict) and len(raw) == 1:
        ((kind, name),) = raw.items()
        if kind in ("env", "file") and isinstance(name, str) and name:
            return Source(kind, name)
    # Not shown: it may be the secret itself.
    raise ValueError(
        'a secret does not stand in this file; say where it is: { env = "NAME" } or '
        '{ file = "PATH" }.'
    )


def _key_header(raw: Json) -> str:
    name = _matching(_TOKEN, "a header's name")(raw)
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


_GATEWAY: Final[Mapping[str, _Read]] = {
    "machine": _matching(re.compile(r"[A-Za-z0-9_-]{1,80}"), "a name of a state machine"),
    "passthrough": _boolean,
}

_UPSTREAM: Final[Mapping[str, _Read]] = {
    "url": _prefix_url,
    "methods": _methods,
    "auth": _one_of("none", "api-key", "basic", "oauth"),
    "header": _key_header,
    "prefix": _text,
    "username": _text,
    "client_id": _text,
    "token_url": _token_url,
    "scope": _text,
    "secret": _source,
    "retries": _number(0, MAX_RETRIES),
    "timeout": _number(1, MAX_SECONDS),
    "caller_auth": _one_of("refuse", "drop"),
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
