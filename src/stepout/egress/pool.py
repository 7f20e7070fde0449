"""Connections of one reach: aiohttp with everything turned off that it would add or repeat.

- A name goes to our resolver, which gives back judged addresses only. What is dialled is judged
  again, and so is the peer of a pooled connection before each request.
- Nothing is sent twice: aiohttp by itself repeats GET, PUT and DELETE on a connection that turns
  out to be closed. Idle connections are dropped after a few seconds, sooner than servers drop them.
- Headers are sent as given and read in the sender's case; bodies are not decompressed.
- No cookies, no proxies of the environment, no redirects.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from stepout.egress.addresses import Address, is_metadata
from stepout.egress.destination import Destination
from stepout.egress.message import Request, Response
from stepout.egress.policy import Decision, Reach, Ruling
from stepout.egress.proxy import Proxy
from stepout.egress.resolve import Resolver
from stepout.errors import EgressFailed, EgressRefused

__all__ = ["CONNECT_SECONDS", "ConnectTo", "Exchange", "Network", "Place", "Pool"]

Place: TypeAlias = tuple[str, int]
"""A host or an address, and a port."""

ConnectTo: TypeAlias = Mapping[Place, Place]
"""Host and port of a URL → address and port to dial instead (curl's connect-to)."""

CONNECT_SECONDS: Final = 10.0
"""For one TCP connection with its TLS handshake; the deadline of the whole is the caller's."""

IDLE_SECONDS: Final = 4.0
"""Common servers close idle connections after 5 s at the earliest (Node.js)."""

MAX_IDLE: Final = 128
"""Idle connections of a pool; one more is closed. Ours."""

MAX_JUDGED: Final = 64
"""Addresses of one name that are looked at; ours, far above what names honestly have."""

MAX_DIALLED: Final = 8
"""Addresses of one name that are tried, one after another; ours."""

MAX_HEADER: Final = 16_384
"""Bytes of one header of an answer; ours."""

MAX_HEADERS: Final = 256
"""Headers of an answer; ours."""

_NO_HEADERS_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class Network:
    """What all pools share: how names are resolved, what is believed, and ways around."""

    trust: ssl.SSLContext
    resolver: Resolver
    connect_to: ConnectTo
    proxy: Proxy | None = None


@dataclass(slots=True)
class Exchange:
    """One request under way; its decision learns the address that it goes to."""

    decision: Decision


_current: ContextVar[Exchange] = ContextVar("exchange")
"""The request for which the connector works. What it starts has a copy of the context."""


class Pool:
    """Sends requests of one reach over connections that no other reach has."""

    def __init__(self, reach: Reach, network: Network) -> None:
        self._users = 0
        self._is_retired = False
        self._connector = _Connector(reach, network)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
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

    async def send(
        self,
        request: Request,
        destination: Destination,
        headers: list[tuple[str, str]],
        exchange: Exchange,
        max_body: int,
    ) -> Response:
        """Send a judged request; raises `EgressRefused`, `EgressFailed` and what aiohttp raises."""
        self._users += 1
        token = _current.set(exchange)
        try:
            async with self._session.request(
                exchange.decision.method,
                URL(destination.url, encoded=True),
                headers=headers,
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
        finally:
            _current.reset(token)
            self._users -= 1
            if self._is_retired:
                self.retire()

    @property
    def is_used(self) -> bool:
        return self._users > 0

    def retire(self) -> None:
        """Close what is idle now, and the rest as soon as what is under way has ended."""
        self._is_retired = True
        self._connector.close_idle()
        if not self._users:
            # Nothing is left to be closed; the session only has to know.
            self._session.detach()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


@dataclass(frozen=True, slots=True)
class _Peer:
    """The other end of a connection; `is_given` where a setting names it (connect-to)."""

    address: Address
    is_given: bool


class _Connector(aiohttp.TCPConnector):
    """Judges what is dialled and what is used again, and forgets what must not be.

    TLS's farewell is left out: a peer that does not answer it would hold the socket for 30 s, even
    after the session is closed; behind a body that was cut off the rest would have to be read.
    """

    def __init__(self, reach: Reach, network: Network) -> None:
        self._reach = reach
        self._network = network
        self._peers: WeakKeyDictionary[Any, _Peer] = WeakKeyDictionary()
        super().__init__(
            ssl=network.trust,
            resolver=_Judged(reach, network),
            socket_factory=self.open,
            use_dns_cache=False,
            keepalive_timeout=IDLE_SECONDS,
            limit=0,
        )

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for idle in self._conns.values():
            for protocol, _ in idle:
                protocol.abort()
        self._conns.clear()

    def open(self, info: Any) -> socket.socket:
        """Make the socket for an address that may be dialled, and for no other."""
        family, kind, protocol, _, (host, port, *_) = info
        self._require(self._peer(host, port))
        return socket.socket(family, kind, protocol)

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """A connection, new or pooled, whose peer may be reached."""
        connection = await super().connect(*args, **kwargs)
        try:
            peer = self._peers[connection.protocol]
            exchange = _current.get()
            ruling = self._judge(peer)
            exchange.decision = exchange.decision.with_address(peer.address, ruling)
            if not ruling.allowed:
                raise EgressRefused(ruling.reason)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: list[Any], req: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Dial judged addresses: directly, or through the proxy, one after another."""
        if self._network.proxy is None:
            made = await super()._wrap_create_connection(
                *args, addr_infos=addr_infos, req=req, **kwargs
            )
            peer = made[0].get_extra_info("peername")
            if peer is None:
                made[0].abort()
                raise aiohttp.ClientConnectorError(req.connection_key, ConnectionResetError())
            self._peers[made[1]] = self._peer(*peer[:2])
            return made
        return await self._through(
            self._network.proxy, *args, addr_infos=addr_infos, req=req, **kwargs
        )

    async def _through(
        self, proxy: Proxy, factory: Any, *, addr_infos: list[Any], req: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        host, port, *_ = addr_infos[0][4]
        peer = self._peer(host, port)
        self._require(peer)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                tunnel = await proxy.connect((host, port), self._network.resolver, req.host)
                made = await self._loop.create_connection(
                    factory,
                    sock=tunnel,
                    ssl=kwargs["ssl"],
                    server_hostname=kwargs["server_hostname"],
                )
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except TimeoutError:
            raise aiohttp.ServerTimeoutError from None
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        self._peers[made[1]] = peer
        return made

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        full = sum(map(len, self._conns.values())) >= MAX_IDLE
        if should_close or protocol.should_close or full:
            protocol.abort()
            should_close = True
        super()._release(key, protocol, should_close=should_close)

    def _peer(self, host: str, port: int) -> _Peer:
        address = ip_address(host.partition("%")[0])
        return _Peer(address, (str(address), port) in self._network.connect_to.values())

    def _judge(self, peer: _Peer) -> Ruling:
        return (
            _given(self._reach, peer.address) if peer.is_given else self._reach.judge(peer.address)
        )

    def _require(self, peer: _Peer) -> None:
        ruling = self._judge(peer)
        if not ruling.allowed:
            raise EgressRefused(ruling.reason)


def _given(reach: Reach, address: Address) -> Ruling:
    """What a setting names may be dialled, but no metadata service."""
    if is_metadata(address):
        return reach.judge(address)
    return Ruling(allowed=True, reason="connect-to")


class _Judged(AbstractResolver):
    """aiohttp's view of our resolver: addresses that may be dialled, at least one.

    Of a name with addresses of both kinds, those that are refused are left out: they are not
    dialled, and a record that is not for us should not take the others away. A name that leads to a
    metadata service is refused whole: no honest one does.
    """

    def __init__(self, reach: Reach, network: Network) -> None:
        self._reach = reach
        self._network = network

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        instead = self._network.connect_to.get((host, port))
        if instead is not None:
            return [_result(host, ip_address(instead[0]), instead[1])]
        found = (await self._network.resolver.addresses(host))[:MAX_JUDGED]
        if not found:
            raise EgressFailed(f"The name {host} has no address.")
        rulings = [(address, self._reach.judge(address)) for address in found]
        allowed = [address for address, ruling in rulings if ruling.allowed]
        refused = [(address, ruling) for address, ruling in rulings if not ruling.allowed]
        worst = [one for one in refused if is_metadata(one[0])]
        if worst or not allowed:
            self._refuse(*(worst or refused)[0])
        return [_result(host, address, port) for address in allowed[:MAX_DIALLED]]

    def _refuse(self, address: Address, ruling: Ruling) -> None:
        exchange = _current.get()
        exchange.decision = exchange.decision.with_address(address, ruling)
        raise EgressRefused(ruling.reason)

    async def close(self) -> None:
        """The resolver is closed by the one who made it."""


def _result(host: str, address: Address, port: int) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return ResolveResult(
        hostname=host, host=str(address), port=port, family=family, proto=0, flags=0
    )


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
