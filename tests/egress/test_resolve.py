"""Names by c-ares, asked of a name server of our own on loopback."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address

import pytest

from stepout.egress.resolve import DnsResolver
from stepout.errors import EgressFailed

A, AAAA = 1, 28
KNOWN = {
    ("api.example.com", A): ["93.184.216.34", "10.0.0.1"],
    ("api.example.com", AAAA): ["2606:4700::1"],
    ("four.example.com", A): ["93.184.216.34"],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers what it knows, denies the rest, and never answers a name that begins with `hang`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += data[at] + 1
        name = ".".join(labels)
        (kind,) = struct.unpack("!H", data[at + 1 : at + 3])
        self.asked.append(name)
        if name.startswith("hang"):
            return
        found = [ip_address(text).packed for text in KNOWN.get((name, kind), [])]
        is_known = any(name == known for known, _ in KNOWN)
        flags = 0x8180 if is_known else 0x8183
        answers = b"".join(
            struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(packed)) + packed for packed in found
        )
        head = data[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
        self.transport.sendto(head + data[12 : at + 5] + answers, addr)  # type: ignore[attr-defined]


@pytest.fixture
async def server() -> AsyncIterator[tuple[NameServer, str]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    yield protocol, f"127.0.0.1:{port}"
    transport.close()


async def test_a_name_has_all_its_addresses(server: tuple[NameServer, str]) -> None:
    resolver = DnsResolver(name_servers=[server[1]])
    found = await resolver.addresses("api.example.com")
    assert {str(address) for address in found} == {"93.184.216.34", "10.0.0.1", "2606:4700::1"}
    assert await resolver.addresses("four.example.com") == [IPv4Address("93.184.216.34")]
    await resolver.close()


async def test_a_name_that_is_not_there_is_told(server: tuple[NameServer, str]) -> None:
    resolver = DnsResolver(name_servers=[server[1]])
    with pytest.raises(EgressFailed, match=r"The name gone\.example\.com was not resolved: "):
        await resolver.addresses("gone.example.com")
    await resolver.close()


async def test_a_name_that_hangs_is_given_up_and_holds_up_no_other(
    server: tuple[NameServer, str],
) -> None:
    resolver = DnsResolver(seconds=1.0, name_servers=[server[1]])
    hanging = [
        asyncio.create_task(resolver.addresses(f"hang{number}.example.com")) for number in range(50)
    ]
    await asyncio.sleep(0.01)
    assert await resolver.addresses("four.example.com") == [IPv4Address("93.184.216.34")]
    assert not any(task.done() for task in hanging)
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    assert all("was not resolved in 1 seconds" in str(outcome) for outcome in outcomes)
    await resolver.close()


async def test_a_lookup_that_is_cancelled_leaves_the_next_one_right(
    server: tuple[NameServer, str],
) -> None:
    resolver = DnsResolver(name_servers=[server[1]])
    looking = asyncio.create_task(resolver.addresses("hang.example.com"))
    await asyncio.sleep(0.01)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert await resolver.addresses("four.example.com") == [IPv4Address("93.184.216.34")]
    await resolver.close()


async def test_the_machines_own_names_are_loopback() -> None:
    """`localhost` is answered here and never asked of anyone; the policy then refuses it."""
    resolver = DnsResolver()
    found = await resolver.addresses("localhost")
    assert found
    assert all(address.is_loopback for address in found)
    await resolver.close()
