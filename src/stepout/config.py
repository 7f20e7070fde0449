"""Settings: flag > `STEPOUT_*` > `stepout.toml` > default, each with its origin.

A setting is a field of `ServerSettings` or `ClientSettings`; its flag, variable and key in the file
follow from its name (`log_format`: `--log-format`, `STEPOUT_LOG_FORMAT`, `log_format` in
`[server]`). All problems are found before any is told.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from stepout.errors import SettingsError
from stepout.secret import Secret

__all__ = [
    "CONNECTIONS",
    "FILE",
    "PAYLOAD_LIMIT",
    "READ_SECONDS",
    "ClientSettings",
    "Identity",
    "ServerSettings",
    "Settings",
    "is_loopback",
    "load",
    "load_client",
    "load_identities",
    "parse_connect",
]

FILE: Final = Path("stepout.toml")

PAYLOAD_LIMIT: Final = 262_144
"""Bytes of an execution's input or output (AWS service quotas)."""

READ_SECONDS: Final = 305.0

CONNECTIONS: Final = 10_000
"""Connections of a server: twice the executions that run at one time, which hold one each."""

_LISTS: Final = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What `stepout serve` can be told."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs TLS and known keys."""

    port: int = 8083
    """Port to listen on; 0 takes a free one."""

    data: Path | None = None
    """Directory for machines and connections; without one they are kept in memory."""

    region: str = "us-east-1"
    """Region where a request names none."""

    account: str = "123456789012"
    """Account where the access key names none."""

    log_format: str = "text"
    """`text` or `json`."""

    egress_allow: tuple[str, ...] = ()
    """Networks, in CIDR notation, that may be called although they are not the public internet."""

    egress_ca: tuple[Path, ...] = ()
    """PEM files of further certificate authorities that are believed."""

    egress_connect: tuple[str, ...] = ()
    """`HOST:PORT=ADDRESS:PORT`: dial there instead, as curl's connect-to. Loopback servers only."""

    tls_cert: Path | None = None
    """PEM file of the server's certificate chain."""

    tls_key: Path | None = None
    """PEM file of the server's private key."""

    identities: Path | None = None
    """TOML file of the access keys that the server knows."""

    mock: Path | None = None
    """MockConfigFile of Step Functions Local: what Tasks answer in test cases."""

    execution_log: str | None = None
    """Directory for the log records of executions, one file per log group; `-`: standard output."""

    drain_seconds: float = 30.0
    """How long a shutdown waits for executions in flight."""

    upstreams: Path | None = None
    """Upstreams file: make its connections and its gateway machine at the start."""

    error_bodies: bool = False
    """Extension: keep the headers and bodies of answers that are not 2xx in an error's cause."""

    payload_limit: int = PAYLOAD_LIMIT
    """Extension: bytes of an input or output; AWS has 262,144."""

    max_connections: int = CONNECTIONS
    """Connections at one time. Beyond that, idle ones are closed, then new ones answered 503."""

    max_connections_per_address: int | None = None
    """The same for the connections of one address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What the client can be told, apart from what AWS's SDKs read anyway."""

    state_machine_arn: str = ""
    """ARN of the gateway machine."""

    upstreams: Path | None = None
    """The upstreams file: with it, what no upstream has is refused before the call."""

    endpoint_url: str | None = None
    """The endpoint, in place of AWS's own or of AWS_ENDPOINT_URL_SFN."""

    timeout: float = READ_SECONDS
    """Seconds to wait for an answer: an execution may take 5 minutes, and who gives up before and
    calls again calls the API twice."""

    retries: int = 0
    """Further attempts of an idempotent request that failed on its way."""

    payload_limit: int = PAYLOAD_LIMIT
    """Bytes of an execution's input; more only where the server has been told so, too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings, and for each where its value came from."""

    server: ServerSettings
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of the server."""

    name: str
    access_key_id: str
    secret: Secret


# --- Reading --------------------------------------------------------------------------------------

Raw: TypeAlias = Any
Read: TypeAlias = Callable[[Raw], Raw]


def load(
    flags: Mapping[str, Raw], environ: Mapping[str, str], file: Path | None = None
) -> Settings:
    """Collect the settings; raises `SettingsError` with every problem.

    `flags` holds what was given on the command line, by field name; None and empty stand for not
    given. `file` must exist where it is named; `stepout.toml` is read where it exists.
    """
    settings, origins = _collect(ServerSettings, "server", flags, environ, file)
    problems = [*_contradictions(settings)]
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(settings, origins)


def load_client(
    flags: Mapping[str, Raw], environ: Mapping[str, str], file: Path | None = None
) -> ClientSettings:
    """The settings of the client, from `[client]`; as `load`."""
    settings, _ = _collect(ClientSettings, "client", flags, environ, file)
    if not settings.state_machine_arn:
        raise SettingsError(
            "No gateway machine is known. Set STEPOUT_STATE_MACHINE_ARN, or state_machine_arn in "
            f"the table [client] of {file or FILE}."
        )
    return settings


_Kind = TypeVar("_Kind", ServerSettings, ClientSettings)


def _collect(
    kind: type[_Kind],
    table: str,
    flags: Mapping[str, Raw],
    environ: Mapping[str, str],
    file: Path | None,
) -> tuple[_Kind, dict[str, str]]:
    problems: list[str] = []
    values: dict[str, Raw] = {}
    origins: dict[str, str] = {}
    in_file, path = _file(table, file, problems)
    for setting in fields(kind):
        name = setting.name
        sources = (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (f"STEPOUT_{name.upper()}", environ.get(f"STEPOUT_{name.upper()}")),
            (f"{name} in {path}", in_file.pop(name, None)),
        )
        origin, raw = next(((o, r) for o, r in sources if r not in (None, ())), ("default", None))
        origins[name] = origin
        if raw is not None:
            _take(name, raw, origin, values, problems)
    problems += [f"{path}: [{table}] has no setting '{name}'." for name in in_file]
    if problems:
        raise SettingsError("\n".join(problems))
    return kind(**values), origins


def _file(table: str, file: Path | None, problems: list[str]) -> tuple[dict[str, Raw], Path]:
    path = file or FILE
    if file is None and not path.exists():
        return {}, path
    try:
        found = tomllib.loads(path.read_text("utf-8")).get(table, {})
    except (OSError, ValueError) as error:
        problems.append(f"The settings file {path} cannot be read: {error}.")
        return {}, path
    if not isinstance(found, dict):
        problems.append(f"{path}: expected a table [{table}], found {found!r}.")
        return {}, path
    return found, path


def _take(name: str, raw: Raw, origin: str, values: dict[str, Raw], problems: list[str]) -> None:
    try:
        values[name] = _READ.get(name, _text)(raw)
    except (ValueError, TypeError) as error:
        problems.append(f"{origin}: {error}")


def _text(raw: Raw) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"Expected a text, found {raw!r}.")
    return raw


def _port(raw: Raw) -> int:
    try:
        port = int(raw)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise ValueError(f"Expected a port from 0 to 65535, found {raw!r}.")
    return port


def _matching(pattern: str, what: str) -> Read:
    def read(raw: Raw) -> str:
        text = str(raw)
        if not re.fullmatch(pattern, text):
            raise ValueError(f"Expected {what}, found {raw!r}.")
        return text

    return read


def _seconds(raw: Raw) -> float:
    try:
        seconds = float(raw)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3_600:
        raise ValueError(f"Expected seconds from 0 to 3600, found {raw!r}.")
    return seconds


def _time_out(raw: Raw) -> float:
    seconds = _seconds(raw)
    if seconds == 0:
        raise ValueError(f"Expected seconds above 0, found {raw!r}.")
    return seconds


def _number(least: int, most: int) -> Read:
    def read(raw: Raw) -> int:
        try:
            number = int(raw)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"Expected a whole number from {least} to {most}, found {raw!r}.")
        return number

    return read


def _boolean(raw: Raw) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = words.get(str(raw).lower())
    if found is None:
        raise ValueError(f"Expected true or false, found {raw!r}.")
    return found


def _path(raw: Raw) -> Path:
    return raw if isinstance(raw, Path) else Path(_text(raw)).expanduser()


def _each(read: Read) -> Read:
    """A list: of texts as it is, in a variable separated by commas or blanks."""

    def read_list(raw: Raw) -> tuple[Raw, ...]:
        items: Iterable[Raw] = filter(None, _LISTS.split(raw)) if isinstance(raw, str) else raw
        return tuple(map(read, items))

    return read_list


def _network(raw: Raw) -> str:
    try:
        return str(ip_network(_text(raw)))
    except ValueError as error:
        raise ValueError(f"Expected a network such as 10.0.0.0/16: {error}.") from None


def _connect(raw: Raw) -> str:
    _parse_connect(_text(raw))
    return str(raw)


_READ: Final[Mapping[str, Read]] = {
    "port": _port,
    "region": _matching(r"[a-z]{2,}(-[a-z]+)+-\d", "a region such as us-east-1"),
    "account": _matching(r"\d{12}", "an account of 12 digits"),
    "log_format": _matching("text|json", "text or json"),
    "data": _path,
    "tls_cert": _path,
    "tls_key": _path,
    "identities": _path,
    "mock": _path,
    "egress_allow": _each(_network),
    "egress_ca": _each(_path),
    "egress_connect": _each(_connect),
    "drain_seconds": _seconds,
    "upstreams": _path,
    "error_bodies": _boolean,
    "payload_limit": _number(PAYLOAD_LIMIT, 16_777_216),
    "max_connections": _number(1, 1_000_000),
    "max_connections_per_address": _number(1, 1_000_000),
    "timeout": _time_out,
    "retries": _number(0, 10),
}
"""Field → how its value is read; the others are texts."""


def _contradictions(settings: ServerSettings) -> Iterable[str]:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "--tls-cert and --tls-key belong together; one of them is missing."
    if is_loopback(settings.host):
        return
    where = f"The server would listen on {settings.host}, which others can reach"
    if settings.tls_cert is None:
        yield f"{where}: that needs --tls-cert and --tls-key."
    if settings.identities is None:
        yield f"{where}: that needs --identities, a file of the access keys it knows."
    if settings.egress_connect:
        yield f"{where}: --egress-connect is for servers on loopback only."


# --- Meaning --------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_CONNECT: Final = re.compile(r"([A-Za-z0-9_.-]+):(\d{1,5})=(\[[^\]]+\]|[^:\[\]]+):(\d{1,5})")


def parse_connect(entries: Iterable[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """Entries `HOST:PORT=ADDRESS:PORT`: host and port of a URL → where to dial instead."""
    return dict(map(_parse_connect, entries))


def _parse_connect(entry: str) -> tuple[tuple[str, int], tuple[str, int]]:
    match = _CONNECT.fullmatch(entry)
    try:
        if match is None:
            raise ValueError
        address = str(ip_address(match[3].strip("[]")))
    except ValueError:
        raise ValueError(
            "Expected HOST:PORT=ADDRESS:PORT with a host name and an IP address, such as "
            f"api.example.com:443=127.0.0.1:9443, found {entry!r}."
        ) from None
    return (match[1].lower(), _port(match[2])), (address, _port(match[4]))


def load_identities(path: Path) -> tuple[Identity, ...]:
    """Read a file of users: `[user.NAME]` with `access_key_id` and `secret_access_key`."""
    try:
        users = tomllib.loads(path.read_text("utf-8")).get("user", {})
        return tuple(_identity(name, user) for name, user in users.items())
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        found = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise SettingsError(
            f"Expected {path} to hold users as [user.NAME] with the texts access_key_id and "
            f"secret_access_key, and it cannot be read: {found}."
        ) from None


def _identity(name: str, user: Mapping[str, Raw]) -> Identity:
    return Identity(name, _text(user["access_key_id"]), Secret(_secret(user)))


def _secret(user: Mapping[str, Raw]) -> str:
    secret = user["secret_access_key"]
    if not isinstance(secret, str) or not secret:
        raise ValueError("secret_access_key is not a text")
    return secret
