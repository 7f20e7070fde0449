"""IP addresses that are not the public internet, and why.

The table is ours and complete in itself: `ipaddress.is_global` calls several of these global in
some versions of Python (NAT64, 6to4, site-local, 5f00::/16). Sources: the IANA registries of
special-purpose IPv4 and IPv6 addresses (RFC 6890 and its updates) and the documents of the cloud
providers for their metadata services.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

__all__ = ["Address", "Network", "carried", "embedded", "is_metadata", "network", "special_range"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google Cloud and others
            "169.254.169.253",  # DNS of an AWS VPC
            "169.254.169.123",  # time of an AWS VPC
            "169.254.170.2",  # task credentials of Amazon ECS
            "169.254.170.23",  # pod identity of Amazon EKS
            "fd00:ec2::254",
            "fd00:ec2::253",
            "fd00:ec2::123",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google Cloud
            "100.100.100.200",  # Alibaba Cloud
            "169.254.0.23",  # Tencent Cloud
            "169.254.42.42",  # Scaleway
            "fd00:42::42",
            "168.63.129.16",  # Azure's wire server, a public address
            "192.0.0.192",  # Oracle Cloud
        ),
    )
)

_SPECIAL: Final[Mapping[str, tuple[str, ...]]] = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "private": (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "fec0::/10",
        "64:ff9b:1::/48",
    ),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "documentation": (
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
        "3fff::/20",
    ),
    "tunnel": ("192.88.99.0/24", "2001::/32", "2002::/16", "::/96"),
    "reserved": (
        "192.0.0.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2620:4f:8000::/48",
        "5f00::/16",
    ),
}
"""Word for the kind of a range → its ranges."""

_GLOBAL_IPV6: Final = ip_network("2000::/3")
"""All that IANA has given out for the public IPv6 internet."""

_EMBEDDING: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""Addresses whose last 32 bits are an IPv4 address, which is what is reached (RFC 4291, 6052)."""

_CARRYING: Final[Mapping[str, int]] = {
    "::/96": 0,
    "::ffff:0:0/96": 0,
    "::ffff:0:0:0/96": 0,
    "64:ff9b::/96": 0,
    "2002::/16": 80,
    "2001::/32": 64,
}
"""Range → how many bits stand right of the IPv4 address in it: compatible, mapped, translated
(RFC 2765), NAT64, 6to4, Teredo's server."""

_TEREDO: Final = ip_network("2001::/32")
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_LOW: Final = 0xFFFFFFFF


@lru_cache(4_096)
def special_range(address: Address) -> str | None:
    """Why an address is not the public internet (`private: 10.0.0.0/8`), or None."""
    inner = embedded(address)
    if inner is not None:
        return special_range(inner)
    for kind, network in _ranges():
        if address.version == network.version and address in network:
            return f"{kind}: {network}"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return f"reserved: {address}/128"
    return None


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address inside a mapped or NAT64 address, which is what is reached."""
    if isinstance(address, IPv6Address) and any(address in range_ for range_ in _EMBEDDING):
        return IPv4Address(int(address) & _LOW)
    return None


@lru_cache(4_096)
def carried(address: Address) -> tuple[IPv4Address, ...]:
    """Every IPv4 address that an IPv6 address spells in one of the known ways."""
    if isinstance(address, IPv4Address):
        return ()
    bits = int(address)
    found = {bits >> shift & _LOW for range_, shift in _carrying() if address in range_}
    if address in _TEREDO:
        # The client's address is stored inverted (RFC 4380, 4).
        found.add(~bits & _LOW)
    if address in _LOCAL_NAT64:
        found |= _local_nat64(bits)
    if bits >> 32 & _LOW in _ISATAP:
        found.add(bits & _LOW)
    return tuple(map(IPv4Address, sorted(found)))


@lru_cache(4_096)
def is_metadata(address: Address) -> bool:
    """Whether a cloud's own services answer at an address, which may give out credentials.

    The last 32 bits of every IPv6 address are looked at: a network's own NAT64 has a prefix that is
    not known here.
    """
    if address in _METADATA or not _METADATA.isdisjoint(carried(address)):
        return True
    return isinstance(address, IPv6Address) and IPv4Address(int(address) & _LOW) in _METADATA


def network(text: str) -> Network:
    """A network in CIDR notation; one of mapped or NAT64 addresses is the IPv4 network inside.

    Raises `ValueError`.
    """
    found = ip_network(text)
    if isinstance(found, IPv6Network) and any(found.subnet_of(range_) for range_ in _EMBEDDING):
        inner = IPv4Address(int(found.network_address) & _LOW)
        return IPv4Network((inner, found.prefixlen - 96))
    return found


def _local_nat64(bits: int) -> set[int]:
    """What stands in an address by RFC 6052, 2.2, whichever prefix length a NAT64 has chosen."""
    joined = bits >> 64 << 56 | bits & (1 << 56) - 1  # Without the octet that is always zero.
    return {bits & _LOW, *(joined >> shift & _LOW for shift in (40, 32, 24))}


@lru_cache(1)
def _ranges() -> Sequence[tuple[str, Network]]:
    return [(kind, ip_network(text)) for kind, texts in _SPECIAL.items() for text in texts]


@lru_cache(1)
def _carrying() -> Sequence[tuple[Network, int]]:
    return [(ip_network(text), shift) for text, shift in _CARRYING.items()]
