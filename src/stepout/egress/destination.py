"""The text of a URL to the one host that is judged, resolved, dialled, named in TLS and in Host.

Parsers that disagree about a URL's host are how guards are passed, so this one is strict: what the
URL Standard forbids or rewrites in a host (other spellings of an IPv4 address, credentials,
backslashes, percent signs) is refused, not interpreted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import quote

import idna

from stepout.egress.addresses import Address
from stepout.errors import EgressRefused

__all__ = ["Destination", "host", "parse"]

_MAX_URL: Final = 65_536
"""Characters of a URL; ours, far above what servers take."""

_URL: Final = re.compile(r"https://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME: Final = 253

_DEFAULT_PORT: Final = 443
_MAX_PORT: Final = 65_535

TARGET_SAFE: Final = "!$%&'()*+,-./:;=?@_~[]|"
"""Characters of a path and query that are sent as they stand; the rest is percent-encoded."""

_SAFE_TARGET: Final = re.compile(rf"[A-Za-z0-9{re.escape(TARGET_SAFE)}]*")


@dataclass(frozen=True, slots=True)
class Destination:
    """A canonical https URL in its parts; `address` is set where the host is an IP address."""

    host: str
    port: int
    target: str
    address: Address | None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}{self.target}"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@lru_cache(1_024)
def parse(url: str) -> Destination:
    """The destination of a URL; raises `EgressRefused` with the reason."""
    if len(url) > _MAX_URL:
        raise EgressRefused(f"url-too-long: {len(url)} characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise EgressRefused("scheme: only https is let out")
    authority, rest = match[1], match[2]
    if "@" in authority:
        raise EgressRefused("credentials: a URL may not hold a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise EgressRefused("host-invalid: the URL's authority is not a host and a port")
    name, address = host(parts[1])
    return Destination(name, _port(parts[2]), _target(rest), address)


@lru_cache(1_024)
def host(text: str) -> tuple[str, Address | None]:
    """A host as it is judged, of a URL or of a rule, and its address where it is one; an IPv6
    address stands in brackets. Raises `EgressRefused`."""
    if text.startswith("["):
        return _ipv6(text[1:-1])
    name = _ascii(text)
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise EgressRefused(f"host-invalid: {_shown(text)} is not a DNS name")
    return name, None


def _ascii(text: str) -> str:
    """A name mapped as browsers map it (UTS 46), without the dot of the root."""
    name = text.lower()
    if not name.isascii() or "xn--" in name:
        try:
            name = _mapped(text)
        except (idna.IDNAError, UnicodeError):
            raise EgressRefused(f"host-invalid: {_shown(text)} is not a DNS name") from None
    return name.removesuffix(".")


def _mapped(text: str) -> str:
    """Labels that are encoded already are checked like the others, and the rule for names that
    are written from right to left is that of the whole name (UTS 46, 4; RFC 5893, 1.4)."""
    name = idna.encode(text, uts46=True).decode().lower()
    labels = [idna.ulabel(label) for label in name.split(".") if label.startswith("xn--")]
    if any(map(_is_rtl, labels)):
        for label in name.removesuffix(".").split("."):
            idna.check_bidi(idna.ulabel(label), check_ltr=True)
    return name


def _is_rtl(label: str) -> bool:
    return any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in label)


def _ipv4(text: str) -> tuple[str, Address]:
    """Only four decimal numbers: other spellings reach hosts that a reader does not see."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise EgressRefused(f"host-invalid: {_shown(text)} is not an IPv4 address") from None
    return str(address), address


def _ipv6(text: str) -> tuple[str, Address]:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    # A zone ("%eth0") names an interface of this host, not a place on the internet.
    if not isinstance(address, IPv6Address) or "%" in text:
        raise EgressRefused(f"host-invalid: {_shown(text)} is not an IPv6 address")
    return str(address), address


def _port(text: str | None) -> int:
    if not text:
        return _DEFAULT_PORT
    # More digits than a port has would cost time to convert.
    port = int(text) if len(text) <= len(str(_MAX_PORT)) else 0
    if not 0 < port <= _MAX_PORT:
        raise EgressRefused(f"port-invalid: {_shown(text)}")
    return port


def _target(rest: str) -> str:
    """The path and query, safe for a request line; what is percent-encoded stays as it is."""
    target = rest if rest.startswith("/") else f"/{rest}"
    if _SAFE_TARGET.fullmatch(target):
        return target
    return quote(target.encode("utf-8", "replace"), safe=TARGET_SAFE)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}…")
