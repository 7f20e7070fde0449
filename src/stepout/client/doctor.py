"""Is the way out open from here? Each part of it is tried in turn, and what fails has its fix.

settings → endpoint → credentials → DNS → TCP → TLS → the service → one execution for each upstream.

Nothing but the endpoint of `sync-states` is asked, so that it can be run inside the subnet, also as
a Lambda function: `stepout.client.doctor.handler`. No probe takes longer than `LIMIT_SECONDS`; what
needs a part that failed is skipped.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final, Literal, TypeAlias, TypeVar

from stepout.client.endpoint import Endpoint
from stepout.client.gateway import Gateway
from stepout.config import ClientSettings, load_client
from stepout.errors import CallTimedOut, GatewayError, NotCarried, SettingsError, StepoutError
from stepout.gateway.upstreams import Upstream, Upstreams

__all__ = ["LIMIT_SECONDS", "Finding", "examine", "handler"]

LIMIT_SECONDS: Final = 3.0
"""How long one probe may take: Lambda ends a function after 3 seconds where nobody says otherwise,
and a packet that a security group drops is never answered."""

SKEW_SECONDS: Final = 300
"""How far the clock may be off before signatures are refused."""

Status: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found; `fix` says what to do where it is not well."""

    probe: str
    status: Status
    found: str
    fix: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Case:
    """What is known so far."""

    settings: ClientSettings
    urls: Sequence[str]
    limit: float
    upstreams: Upstreams | None = None
    endpoint: Endpoint | None = None
    addresses: list[str] = field(default_factory=list)


class _Failed(Exception):
    """A probe did not succeed: what was found, and the fix."""

    def __init__(self, found: str, fix: str, status: Status = "failed") -> None:
        self.found, self.fix, self.status = found, fix, status
        super().__init__(found)


Probe: TypeAlias = Callable[[_Case], str]


def examine(
    settings: ClientSettings, urls: Sequence[str] = (), *, limit: float = LIMIT_SECONDS
) -> Iterator[Finding]:
    """Try each part of the way; `urls` are called besides those of the upstreams."""
    case = _Case(settings, urls, limit)
    is_open = True
    for name, probe in _PROBES.items():
        if not is_open:
            yield Finding(name, "skipped", "What it needs has failed.")
            continue
        finding = _tried(name, lambda probe=probe: probe(case))  # type: ignore[misc] # mypy cannot infer it
        # A warning does not close the way.
        is_open = finding.status != "failed"
        yield finding
    yield from _executions(case, is_open=is_open)


def handler(event: Any, context: object) -> dict[str, Any]:
    """A Lambda handler: the findings of the settings in the function's environment.

    The event may have `urls`, a list of URLs to call.
    """
    del context
    urls = event.get("urls", ()) if isinstance(event, dict) else ()
    try:
        findings = list(examine(load_client({}, os.environ), [str(url) for url in urls]))
    except SettingsError as error:
        findings = [Finding("settings", "failed", str(error), _SETTINGS_FIX)]
    is_ok = all(finding.status != "failed" for finding in findings)
    return {"ok": is_ok, "findings": [asdict(finding) for finding in findings]}


def _tried(name: str, probe: Callable[[], str]) -> Finding:
    started = time.perf_counter()
    status: Status = "ok"
    fix = ""
    try:
        found = probe()
    except _Failed as error:
        status, found, fix = error.status, error.found, error.fix
    return Finding(name, status, found, fix, round(time.perf_counter() - started, 3))


def _in_time(work: Callable[[], _T], limit: float, late: _Failed) -> _T:
    """What a function gives that cannot be told how long it may take; raises `late` after `limit`.

    Its thread is left behind: what blocks it ends by itself, or with the process.
    """
    given: list[_T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001 — handed on below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if raised:
        raise raised[0]
    if not given:
        raise late
    return given[0]


# --- From here to the service ---------------------------------------------------------------------

_SETTINGS_FIX: Final = "See docs/client.md: STEPOUT_STATE_MACHINE_ARN, STEPOUT_UPSTREAMS."


def _settings(case: _Case) -> str:
    path = case.settings.upstreams
    if path is None:
        return "The upstreams are not known here: STEPOUT_UPSTREAMS is not set."
    try:
        case.upstreams = Upstreams.load(path)
    except SettingsError as error:
        raise _Failed(str(error), "Deploy the upstreams file beside the program.") from None
    return f"{len(case.upstreams.items)} upstreams in {path}."


def _endpoint(case: _Case) -> str:
    try:
        endpoint = Endpoint(case.settings.state_machine_arn, case.settings.endpoint_url)
        proxy = endpoint.proxy
    except SettingsError as error:
        raise _Failed(str(error), _SETTINGS_FIX) from None
    case.endpoint = endpoint
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if proxy is not None:
        raise _Failed(
            f"Calls of {endpoint.hostname} would go by the proxy {proxy.host}.",
            f"Put {endpoint.hostname} in NO_PROXY: the endpoint is inside the subnet.",
            "warning",
        )
    if region and region != endpoint.region:
        raise _Failed(
            f"The machine is in {endpoint.region}, and this program in {region}.",
            "An interface endpoint reaches its own region only: use the machine of this region.",
            "warning",
        )
    return f"{endpoint.url} for the machine {endpoint.machine_arn}."


def _credentials(case: _Case) -> str:
    assert case.endpoint is not None  # noqa: S101 — the probe before made it
    fix = (
        "Give the function, task or instance a role. A role of an instance comes from "
        "169.254.169.254, of a task from 169.254.170.2: neither needs a way out."
    )
    late = _Failed(f"No credentials within {case.limit:g} seconds.", fix)
    try:
        found = _in_time(case.endpoint.credentials, case.limit, late)
    except SettingsError as error:
        raise _Failed(str(error), fix) from None
    kind = "temporary" if found.token else "permanent"
    return f"The access key {found.access_key_id}, {kind}."


def _dns(case: _Case) -> str:
    assert case.endpoint is not None  # noqa: S101
    host, port = case.endpoint.hostname, case.endpoint.port
    region = case.endpoint.region
    fix = (
        f"Give the subnet's VPC an interface endpoint com.amazonaws.{region}.sync-states with "
        "private DNS, and turn on enableDnsSupport and enableDnsHostnames of the VPC."
    )
    late = _Failed(f"The name {host} was not resolved in {case.limit:g} seconds.", fix)
    try:
        found = _in_time(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), case.limit, late
        )
    except (OSError, UnicodeError) as error:
        raise _Failed(f"The name {host} is not resolved: {error}.", fix) from None
    case.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    public = [address for address in case.addresses if _is_public(address)]
    shown = f"{host} is {', '.join(case.addresses)}."
    if public:
        raise _Failed(
            f"{shown} That is a public address, which a closed subnet cannot reach.", fix, "warning"
        )
    return shown


def _is_public(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_global


def _tcp(case: _Case) -> str:
    assert case.endpoint is not None  # noqa: S101
    port = case.endpoint.port
    for address in case.addresses:
        try:
            with socket.create_connection((address, port), case.limit / len(case.addresses)):
                return f"{address} takes connections on port {port}."
        except OSError as error:
            why = error
    raise _Failed(
        f"No connection to {', '.join(case.addresses)} on port {port}: {why}.",
        "Let the security group of the endpoint take TCP 443 from the caller's, and the caller's "
        "send it there; network ACLs must let answers back on ports above 1023.",
    )


def _tls(case: _Case) -> str:
    assert case.endpoint is not None  # noqa: S101
    endpoint = case.endpoint
    fix = (
        "Where a proxy or a server of your own ends TLS, let AWS_CA_BUNDLE name its authority; "
        "else an old bundle of authorities is in use."
    )
    try:
        context = endpoint.tls()
        if context is None:
            return "None: the endpoint's URL is http."
        with (
            socket.create_connection((case.addresses[0], endpoint.port), case.limit) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.hostname) as secure,
        ):
            return _certificate(secure)
    except ssl.SSLCertVerificationError as error:
        raise _Failed(f"The certificate is not believed: {error.verify_message}.", fix) from None
    except (OSError, SettingsError) as error:
        raise _Failed(f"The TLS handshake failed: {error}.", fix) from None


def _certificate(secure: ssl.SSLSocket) -> str:
    certificate: Mapping[str, Any] = secure.getpeercert() or {}
    return f"{secure.version()}, a certificate that is good until {certificate.get('notAfter')}."


def _service(case: _Case) -> str:
    """Ask without a signature: the refusal shows who answers, and what time it is there."""
    assert case.endpoint is not None  # noqa: S101
    endpoint = case.endpoint
    connection = (
        http.client.HTTPConnection(endpoint.hostname, endpoint.port, timeout=case.limit)
        if (context := endpoint.tls()) is None
        else http.client.HTTPSConnection(
            endpoint.hostname, endpoint.port, timeout=case.limit, context=context
        )
    )
    headers = {
        "X-Amz-Target": "AWSStepFunctions.StartSyncExecution",
        "Content-Type": "application/x-amz-json-1.0",
    }
    late = _Failed(
        f"No answer in {case.limit:g} seconds.", "Is what listens there the endpoint of AWS?"
    )

    def ask() -> http.client.HTTPResponse:
        connection.request("POST", endpoint.path, b"{}", headers)
        return connection.getresponse()

    try:
        answer = _in_time(ask, case.limit, late)
        return _judged(answer.headers)
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"The service cannot be asked: {error}.", late.fix) from None
    finally:
        connection.close()


def _judged(headers: Message) -> str:
    if "x-amzn-requestid" not in headers:
        raise _Failed(
            "What answered is not Step Functions: its answer has no request id.",
            "Look for a proxy, a firewall or another server at the endpoint's address.",
        )
    try:
        there = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return "Step Functions answers."
    skew = time.time() - there
    if abs(skew) > SKEW_SECONDS:
        raise _Failed(
            f"This machine's clock is {skew:+.0f} seconds off the service's.",
            "Set the clock: signatures are refused when it is off by more than 5 minutes.",
        )
    return "Step Functions answers, and the clocks agree."


_PROBES: Final[Mapping[str, Probe]] = {
    "settings": _settings,
    "endpoint": _endpoint,
    "credentials": _credentials,
    "dns": _dns,
    "tcp": _tcp,
    "tls": _tls,
    "service": _service,
}
"""In the order of the way."""


# --- From the service to the APIs -----------------------------------------------------------------

_HARMLESS: Final = ("HEAD", "GET", "OPTIONS")
"""Methods that change nothing (RFC 9110, 9.2.1), the shortest answer first."""

_REFUSED: Final = frozenset({401, 403, 407})
_SERVER_ERRORS: Final = 500


def _executions(case: _Case, *, is_open: bool) -> Iterator[Finding]:
    targets = [*map(_of_upstream, case.upstreams or ()), *((url, url, "GET") for url in case.urls)]
    if not targets:
        yield Finding(
            "execution",
            "skipped",
            "No upstream is known.",
            "Name the upstreams file (STEPOUT_UPSTREAMS), or URLs to call.",
        )
    for name, url, method in targets:
        probe = f"execution: {name}"
        if not is_open:
            yield Finding(probe, "skipped", "What it needs has failed.")
        elif method is None:
            found = "Not called: it takes no method that changes nothing."
            yield Finding(probe, "skipped", found)
        else:
            yield _tried(probe, lambda url=url, method=method: _call(case, method, url))  # type: ignore[misc] # mypy cannot infer it


def _of_upstream(upstream: Upstream) -> tuple[str, str, str | None]:
    method = next((one for one in _HARMLESS if one in upstream.methods), None)
    return upstream.name, upstream.url, method


def _call(case: _Case, method: str, url: str) -> str:
    started = time.perf_counter()
    try:
        with Gateway.of(case.settings, upstreams=case.upstreams, timeout=case.limit) as gateway:
            response = gateway.request(method, url)
    except CallTimedOut:
        raise _Failed(
            f"{method} {url} was not answered in {case.limit:g} seconds; it may go on.",
            "Is the API slow, or does its name lead nowhere? The execution's log tells.",
            "warning",
        ) from None
    except NotCarried as error:
        raise _Failed(str(error), "Call what an upstream has.") from None
    except GatewayError as error:
        raise _Failed(f"{method} {url} brought no answer.", str(error)) from None
    except StepoutError as error:
        raise _Failed(str(error), "") from None
    seconds = time.perf_counter() - started
    status = response.status_code
    found = f"{method} {url} was answered with {status} in {seconds:.2f} seconds."
    if status in _REFUSED:
        raise _Failed(found, "Is the connection's credential the right one? Update it.", "warning")
    if status >= _SERVER_ERRORS:
        raise _Failed(found, "The way is open; the API itself is not well.", "warning")
    return found
