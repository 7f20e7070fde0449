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
from urllib.parse import unquote

from stepout.errors import SettingsError
from stepout.secret import Secret

__all__ = [
    "CONNECTIONS",
    "FILE",
    "PAYLOAD_LIMIT",
    "READ_SECONDS",
    "ClientSettings",
    "ServerSettings",
    "Settings",
    "is_loopback",
    "load",
    "load_client",
    "parse_connect",
    "parse_proxy",
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

    secret_key_source: str | None = None
    """Where the key of the secrets in `data` is: `file:PATH`, `env:NAME` or `command:PROGRAM …`; in
    `data` itself where nothing is named."""

    region: str = "us-east-1"
    """Region where a request names none."""

    account: str = "123456789012"
    """Account where the access key names none."""

    log_format: str = "text"
    """`text` or `json`."""

    egress_allow: tuple[str, ...] = ()
    """Networks, in CIDR notation, that may be called although they are not the public internet."""

    egress_policy: Path | None = None
    """TOML file of rules: what may be called, and by whom."""

    egress_proxy: Secret | None = None
    """`http://HOST:PORT` of a proxy to go out through; a user and a password may stand in it."""

    egress_connections: int = 1_024
    """Requests that are under way at once; as many may wait."""

    egress_connections_per_host: int = 256
    """Requests that are under way at once to one host and port; as many may wait."""

    egress_ca: tuple[Path, ...] = ()
    """PEM files of further certificate authorities that are believed."""

    egress_connect: tuple[str, ...] = ()
    """`HOST:PORT=ADDRESS:PORT`: dial there instead, as curl's connect-to. Loopback servers only."""

    tls_cert: Path | None = None
    """PEM file of the server's certificate chain."""

    tls_key: Path | None = None
    """PEM file of the server's private key."""

    identities: Path | None = None
    """TOML file of users, roles and policies. With it, only known keys are let in, and everything
    that they and the machines do is held against their policies."""

    open: bool | None = None
    """Let unknown access keys in, too, to do everything; so it is where there are no identities."""

    insecure_network: bool = False
    """Serve an address that others reach although there is no TLS, or no identities."""

    audit: str | None = None
    """File that gets one JSON line for each request: who, what, allowed or not and why; `-`:
    standard output."""

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

    repeats: str = "warn"
    """What is done with a call that its client sends again: `warn`, `off`, or the extension `join`:
    it gets the answer of the first."""

    max_requests: int = 10_000
    """Requests in flight, in all."""

    max_executions: int = 5_000
    """Executions in flight, in all."""

    principal_requests: int = 0
    """Requests in flight of one caller; 0: a fair share."""

    principal_executions: int = 0
    """Executions in flight of one caller; 0: a fair share."""

    principal_rate: float = 0.0
    """Requests a second of one caller and operation; 0: any number."""

    principal_burst: int = 0
    """Requests at one moment of one caller and operation; 0: those of one second."""

    max_connections: int = CONNECTIONS
    """Connections at one time. Beyond that, idle ones are closed, then new ones answered 503."""

    max_connections_per_address: int | None = None
    """The same for the connections of one address."""

    @property
    def is_open(self) -> bool:
        """Whether unknown access keys are let in."""
        return self.identities is None if self.open is None else self.open


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


def _rate(raw: Raw) -> float:
    try:
        rate = float(raw)
    except ValueError:
        rate = -1
    if not (rate == 0 or 0.001 <= rate <= 1_000_000):
        raise ValueError(f"Expected a rate from 0.001 to 1000000 or 0, found {raw!r}.")
    return rate


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


def _key_source(raw: Raw) -> str:
    text = str(raw)
    if not re.fullmatch(r"(file|env|command):.*\S.*", text, re.DOTALL):
        # What was found may be the key itself.
        raise ValueError(
            "Expected file:PATH, env:NAME or command:PROGRAM ARGUMENT…, found something else."
        )
    return text


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


def _proxy(raw: Raw) -> Secret:
    proxy = Secret(_text(raw))
    parse_proxy(proxy)
    return proxy


def _connect(raw: Raw) -> str:
    _parse_connect(_text(raw))
    return str(raw)


_READ: Final[Mapping[str, Read]] = {
    "port": _port,
    "region": _matching(r"[a-z]{2,}(-[a-z]+)+-\d", "a region such as us-east-1"),
    "account": _matching(r"\d{12}", "an account of 12 digits"),
    "log_format": _matching("text|json", "text or json"),
    "data": _path,
    "secret_key_source": _key_source,
    "tls_cert": _path,
    "tls_key": _path,
    "identities": _path,
    "open": _boolean,
    "insecure_network": _boolean,
    "mock": _path,
    "egress_allow": _each(_network),
    "egress_policy": _path,
    "egress_proxy": _proxy,
    "egress_connections": _number(1, 65_536),
    "egress_connections_per_host": _number(1, 65_536),
    "egress_ca": _each(_path),
    "egress_connect": _each(_connect),
    "drain_seconds": _seconds,
    "upstreams": _path,
    "error_bodies": _boolean,
    "payload_limit": _number(PAYLOAD_LIMIT, 16_777_216),
    "repeats": _matching("warn|join|off", "warn, join or off"),
    "max_requests": _number(1, 1_000_000),
    "max_executions": _number(1, 1_000_000),
    "principal_requests": _number(0, 1_000_000),
    "principal_executions": _number(0, 1_000_000),
    "principal_rate": _rate,
    "principal_burst": _number(0, 1_000_000),
    "max_connections": _number(1, 1_000_000),
    "max_connections_per_address": _number(1, 1_000_000),
    "timeout": _time_out,
    "retries": _number(0, 10),
}
"""Field → how its value is read; the others are texts."""


def _contradictions(settings: ServerSettings) -> Iterable[str]:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "--tls-cert and --tls-key belong together; one of them is missing."
    if settings.secret_key_source is not None and settings.data is None:
        yield "--secret-key-source belongs to --data, which is missing: nothing would be encrypted."
    if settings.open is False and settings.identities is None:
        yield "--closed needs --identities: without a file of access keys nobody could call."
    if settings.principal_burst and not settings.principal_rate:
        yield "--principal-burst has no meaning without --principal-rate."
    if is_loopback(settings.host):
        return
    where = f"The server would listen on {settings.host}, which others can reach"
    if settings.egress_connect:
        yield f"{where}: --egress-connect is for servers on loopback only."
    if settings.insecure_network:
        return
    way_out = "or, in a network that you trust altogether, --insecure-network"
    if settings.tls_cert is None:
        yield f"{where}: that needs --tls-cert and --tls-key, {way_out}."
    if settings.identities is None:
        yield f"{where}: that needs --identities, a file of the access keys it knows, {way_out}."
    if settings.open:
        yield f"{where}: --open lets anybody in; it is for loopback, {way_out}."


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


def parse_proxy(url: Secret) -> tuple[str, int, Secret | None]:
    """Host, port and credentials (`user:password`) of `http://[USER:PASSWORD@]HOST:PORT`.

    Raises `ValueError`, which does not show the URL: a password may stand in it.
    """
    match = _PROXY.fullmatch(url.reveal())
    if match is None or not 0 < int(match["port"]) <= 65_535:
        raise ValueError("Expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT.")
    user = match["user"]
    return (
        match["host"].strip("[]"),
        int(match["port"]),
        None if user is None else Secret(unquote(user)),
    )


_PROXY: Final = re.compile(
    r"http://(?:(?P<user>[^@/?#\s:]+:[^@/?#\s]*)@)?"
    r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})/?"
)
