"""Names to addresses by c-ares, without threads: one name that hangs does not hold up another.

Python's own getaddrinfo is not used: it takes `0x7f000001` and full-width digits for addresses, and
its few threads are all taken when a name server hangs.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Protocol

import aiodns

from stepout.egress.addresses import Address
from stepout.errors import EgressFailed

__all__ = ["DnsResolver", "Resolver"]

DNS_SECONDS: Final = 10.0
"""How long a name may take; c-ares asks each name server for 2 s at first."""


class Resolver(Protocol):
    async def addresses(self, host: str) -> list[Address]:
        """The addresses of a DNS name, at least one; raises `EgressFailed`."""

    async def close(self) -> None: ...


class DnsResolver:
    """The name servers and the hosts file of this machine, or other name servers."""

    def __init__(
        self, seconds: float = DNS_SECONDS, name_servers: Sequence[str] | None = None
    ) -> None:
        self._seconds = seconds
        self._name_servers = name_servers
        self._dns: aiodns.DNSResolver | None = None

    async def addresses(self, host: str) -> list[Address]:
        if self._dns is None:
            self._dns = aiodns.DNSResolver(self._name_servers, timeout=2.0, tries=3)
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._dns.getaddrinfo(
                    host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            raise EgressFailed(
                f"The name {host} was not resolved in {self._seconds:g} seconds."
            ) from None
        except aiodns.error.DNSError as error:
            raise EgressFailed(f"The name {host} was not resolved: {error.args[-1]}.") from None
        # A link-local answer may carry a zone; the address is judged without it.
        return [ip_address(node.addr[0].decode().partition("%")[0]) for node in found.nodes]

    async def close(self) -> None:
        if self._dns is not None:
            await self._dns.close()
