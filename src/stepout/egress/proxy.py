"""Out through a proxy of the house: CONNECT to the address that was judged, never to a name.

The proxy sees the address and TLS; the name stands in TLS alone. Its own address comes from the
settings and is not judged.
"""

from __future__ import annotations

import asyncio
import re
import socket
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from stepout.egress.addresses import Address
from stepout.egress.resolve import Resolver
from stepout.errors import EgressFailed
from stepout.secret import Secret

__all__ = ["Proxy"]

MAX_HEAD: Final = 16_384
"""Bytes of a proxy's answer to CONNECT; ours."""

MAX_ADDRESSES: Final = 4
"""Addresses of the proxy's name that are tried; ours."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")

_WHY: Final = {
    403: "does not let {target} through",
    407: "wants credentials, or others than those in --egress-proxy",
}
"""Status of a proxy → what it means here."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `credentials` are `user:password`."""

    host: str
    port: int
    credentials: Secret | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def connect(
        self, place: tuple[str, int], resolver: Resolver, resolved: str
    ) -> socket.socket:
        """A socket whose other end is an address and a port.

        `resolved` is the name that the address stands for, for messages. Raises `EgressFailed`
        where the proxy itself is the matter, `OSError` where another address may do.
        """
        tunnel = await self._dial(resolver)
        try:
            await self._ask(tunnel, place, resolved)
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    async def _dial(self, resolver: Resolver) -> socket.socket:
        failure: OSError | None = None
        for address in (await self._addresses(resolver))[:MAX_ADDRESSES]:
            family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
            dialled = socket.socket(family, socket.SOCK_STREAM)
            dialled.setblocking(False)
            try:
                loop = asyncio.get_running_loop()
                await loop.sock_connect(dialled, (str(address), self.port))
            except OSError as error:
                dialled.close()
                failure = error
            except BaseException:
                dialled.close()
                raise
            else:
                return dialled
        raise EgressFailed(f"The proxy {self} cannot be reached: {failure}.")

    async def _addresses(self, resolver: Resolver) -> Sequence[Address]:
        try:
            return [ip_address(self.host)]
        except ValueError:
            return await resolver.addresses(self.host)

    async def _ask(self, tunnel: socket.socket, place: tuple[str, int], resolved: str) -> None:
        loop = asyncio.get_running_loop()
        host, port = place
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.credentials is not None:
            encoded = b64encode(self.credentials.reveal().encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {encoded}")
        await loop.sock_sendall(tunnel, "\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            read = await loop.sock_recv(tunnel, MAX_HEAD - len(head))
            if not read:
                # An empty read also ends a head that is too long.
                raise ConnectionError(f"the proxy {self} answered CONNECT with no whole HTTP head")
            head += read
        self._judge(head, f"{target} ({resolved})")

    def _judge(self, head: bytes, target: str) -> None:
        match = _STATUS.match(head)
        if match is None or (match[1][:1] == b"2" and not head.endswith(b"\r\n\r\n")):
            raise ConnectionError(
                f"the proxy {self} answered CONNECT with something else than HTTP"
            )
        status = int(match[1])
        if 200 <= status < 300:
            return
        if status in _WHY:
            why = _WHY[status].format(target=target)
            raise EgressFailed(f"The proxy {self} {why}: it answered {status}.")
        raise ConnectionError(f"the proxy {self} did not connect to {target}: it answered {status}")
