"""The HTTPS client of the egress: aiohttp with everything turned off that it would add or repeat.

- A name goes to our resolver, which gives back judged addresses only; the socket's address is
  judged again when the socket is made, which also covers hosts that are addresses.
- Nothing is sent twice: aiohttp by itself repeats GET, PUT and DELETE on a connection that turns
  out to be closed. Idle connections are dropped after a few seconds, sooner than servers drop them.
- Headers are sent as given and read in the sender's case; bodies are not decompressed.
- No cookies, no proxies of the environment, no redirects.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from stepout.egress.addresses import Address, is_metadata
from stepout.egress.destination import Destination
from stepout.egress.message import Request, Response
from stepout.egress.policy import Policy
from stepout.egress.resolve import DnsResolver, Resolver
from stepout.errors import EgressFailed, EgressRefused

__all__ = ["ConnectTo", "Egress", "Place"]

_log = logging.getLogger("stepout.egress")

Place: TypeAlias = tuple[str, int]
"""A host or an address, and a port."""

ConnectTo: TypeAlias = Mapping[Place, Place]
"""Host and port of a URL → address and port to dial instead (curl's connect-to)."""

CONNECT_SECONDS: Final = 10.0
"""For one TCP connection with its TLS handshake; the deadline of the whole is the caller's."""

IDLE_SECONDS: Final = 4.0
"""Common servers close idle connections after 5 s at the earliest (Node.js)."""

MAX_HEADER: Final = 16_384
"""Bytes of one header of an answer; ours."""

MAX_HEADERS: Final = 256
"""Headers of an answer; ours."""

_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that say whom a request is for and where it ends: the egress's own."""

_NO_HEADERS_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Egress:
    """Sends judged requests over pooled connections; made in the event loop that uses it."""

    def __init__(
        self,
        policy: Policy,
        *,
        trust: ssl.SSLContext,
        connect_to: ConnectTo | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._policy = policy
        self._resolver = resolver or DnsResolver()
        self._connect_to = {} if connect_to is None else connect_to
        connector = _Connector(
            ssl=trust,
            resolver=_Judged(self._resolver, policy, self._connect_to),
            socket_factory=self._open,
            use_dns_cache=False,
            keepalive_timeout=IDLE_SECONDS,
            limit=0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            skip_auto_headers=_NO_HEADERS_OF_ITS_OWN,
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
        )
        # aiohttp has no public switch for it; a test sees that a PUT is not sent twice.
        self._session._retry_connection = False  # noqa: SLF001

    async def request(self, request: Request, *, max_body: int) -> Response:
        """Send a request once; see `Client`."""
        started = time.perf_counter()
        host = None
        try:
            destination = self._policy.judge_url(request.url)
            host = destination.authority
            response = await self._send(request, destination, max_body)
        except EgressRefused as error:
            _report(request, host, started, decision="refused", reason=error.reason)
            raise
        except EgressFailed as error:
            _report(request, host, started, decision="allowed", failure=str(error))
            raise
        _report(request, host, started, decision="allowed", status=response.status)
        return response

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._resolver.close()

    async def _send(self, request: Request, destination: Destination, max_body: int) -> Response:
        try:
            async with self._session.request(
                request.method,
                URL(destination.url, encoded=True),
                headers=_folded(request.headers),
                data=request.body,
                allow_redirects=False,
            ) as answer:
                return Response(
                    status=answer.status,
                    reason=answer.reason or "",
                    headers=tuple(
                        (name.decode("latin-1"), value.decode("latin-1"))
                        for name, value in answer.raw_headers
                    ),
                    body=await _body(answer, max_body),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise EgressFailed(_explain(error, destination)) from None

    def _open(self, info: Any) -> socket.socket:
        """Make the socket for an address that may be dialled, and for no other."""
        family, kind, protocol, _, (host, port, *_) = info
        address = ip_address(host.partition("%")[0])
        if is_metadata(address):
            raise EgressRefused(f"metadata: {address}")
        if (host, port) not in self._connect_to.values():
            _require(self._policy, address)
        return socket.socket(family, kind, protocol)


class _Connector(aiohttp.TCPConnector):
    """Leaves TLS's farewell out: a peer that does not answer it would hold the socket for 30 s,
    even after the session is closed; behind a body that was cut off the rest would have to be read.
    """

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            protocol.abort()
            should_close = True
        super()._release(key, protocol, should_close=should_close)


class _Judged(AbstractResolver):
    """aiohttp's view of our resolver: addresses that may be dialled, at least one."""

    def __init__(self, resolver: Resolver, policy: Policy, connect_to: ConnectTo) -> None:
        self._resolver = resolver
        self._policy = policy
        self._connect_to = connect_to

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        instead = self._connect_to.get((host, port))
        if instead is not None:
            return [_result(host, ip_address(instead[0]), instead[1])]
        found = await self._resolver.addresses(host)
        decisions = [(address, self._policy.judge_address(address)) for address in found]
        allowed = [address for address, decision in decisions if decision.allowed]
        if not allowed:
            raise EgressRefused(decisions[0][1].reason)
        return [_result(host, address, port) for address in allowed]

    async def close(self) -> None:
        """The resolver is closed by the one who made it."""


def _result(host: str, address: Address, port: int) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return ResolveResult(
        hostname=host, host=str(address), port=port, family=family, proto=0, flags=0
    )


def _require(policy: Policy, address: Address) -> None:
    decision = policy.judge_address(address)
    if not decision.allowed:
        raise EgressRefused(decision.reason)


def _folded(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Headers for aiohttp, which would drop all but the last of those that differ in case only:
    their values are joined, which means the same (RFC 9110, 5.3)."""
    spelled: dict[str, str] = {}
    folded: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in _FRAMING:
            raise EgressRefused(f"header-managed: {name} cannot be set")
        first = spelled.setdefault(name.lower(), name)
        folded.setdefault(first, []).append(value)
    return [(name, ",".join(values)) for name, values in folded.items()]


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body, cut off as soon as it is known to be too large."""
    if (answer.content_length or 0) > limit and answer.method != "HEAD":
        answer.close()
        return None
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            answer.close()
            return None
    return bytes(body)


def _explain(error: Exception, destination: Destination) -> str:
    """What failed and where; never the path or query, which may hold secrets."""
    where = f"{destination.host}:{destination.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            certificate_error = error.certificate_error
            why = getattr(certificate_error, "verify_message", None) or certificate_error
            return f"The certificate of {where} was not accepted: {why}."
        case aiohttp.ClientConnectorSSLError():
            return f"The TLS handshake with {where} failed: {error.os_error}."
        case aiohttp.ServerTimeoutError():
            return f"The connection to {where} was not made in {CONNECT_SECONDS:g} seconds."
        case aiohttp.ClientConnectorError():
            return f"The connection to {where} failed: {error.os_error}."
        case aiohttp.ServerDisconnectedError():
            return f"{where} closed the connection before it answered."
        case aiohttp.ClientPayloadError():
            return f"The answer of {where} broke off."
        case aiohttp.ClientResponseError():
            return f"The answer of {where} is not HTTP: {error.message}."
    return f"The exchange with {where} failed: {error}."


def _report(request: Request, host: str | None, started: float, **fields: object) -> None:
    """One line for each decision. Of the URL only the host: the rest may hold secrets."""
    if not _log.isEnabledFor(logging.INFO):
        return
    known: dict[str, object] = {
        "method": request.method,
        "host": host,
        "subject": request.subject,
        "duration_ms": round((time.perf_counter() - started) * 1_000, 3),
    }
    _log.info("egress", extra={"fields": {**known, **fields}})
