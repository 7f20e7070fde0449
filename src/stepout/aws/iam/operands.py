"""What the values of conditions are: numbers, times, addresses, bytes, ARNs.

Each reader raises `ValueError`, whose text says what was expected. Source: IAM user guide, "IAM
JSON policy elements: Condition operators".
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from stepout.aws.iam.patterns import MANY, Known, matcher, pieces

__all__ = [
    "ARN_PARTS",
    "Network",
    "address",
    "arn_matcher",
    "binary",
    "boolean",
    "moment",
    "network",
    "number",
]

ARN_PARTS: Final = 6

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,2})?")

# The forms of the W3C note on ISO 8601; of the time zone, which it requires, we take UTC for none.
_MOMENT: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?"
)
_EPOCH: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)


def number(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("expected a number")
    return Decimal(text)


def moment(text: str) -> Decimal:
    """Seconds since the epoch; four digits are a year."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        if _EPOCH.fullmatch(text) is None:
            raise ValueError("expected a time, as 2026-01-31T12:00:00Z or in seconds of the epoch")
        return Decimal(text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        when = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=_zone(zone),
        )
    except ValueError as error:
        raise ValueError(f"expected a time that there is ({error})") from error
    since = when - _ORIGIN
    return Decimal(since.days * 86_400 + since.seconds) + Decimal(f"0{fraction or ''}")


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


_BOOLEANS: Final = {"true": True, "false": False}


def boolean(text: str) -> bool:
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise ValueError("expected true or false")
    return found


def binary(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except ValueError as error:
        raise ValueError("expected bytes in base64") from error


Network: TypeAlias = tuple[int, int, int]
"""The IP version, the bits of the network and their mask."""

_PREFIX: Final = re.compile(r"[0-9a-fA-F:.]+(/[0-9]{1,3})?")
_MAPPED: Final = ip_network("::ffff:0:0/96")


def network(text: str) -> Network:
    """An address or a network; bits of the host are put out, as IAM does."""
    try:
        if _PREFIX.fullmatch(text) is None:
            raise ValueError(text)
        found = _unmapped(ip_network(text, strict=False))
    except ValueError as error:
        raise ValueError("expected an IP address or a network such as 203.0.113.0/24") from error
    return found.version, int(found.network_address), int(found.netmask)


def _unmapped(found: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """What is IPv4 but written as IPv6 is IPv4, so that no spelling escapes a condition."""
    if isinstance(found, IPv6Network) and isinstance(_MAPPED, IPv6Network):
        inner = found.network_address.ipv4_mapped
        if inner is not None and found.subnet_of(_MAPPED):
            return IPv4Network((inner, found.prefixlen - 96))
    return found


@lru_cache(1_024)
def address(text: str) -> tuple[int, int] | None:
    """The IP version and the bits of an address; None for what is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.version, int(found)


def arn_matcher(parts: Sequence[Known]) -> Callable[[Sequence[str]], bool]:
    """A function of the six parts of an ARN: each is matched on its own; a lone `*` is any ARN."""
    if list(parts) == [MANY]:
        return _any_arn
    cut = pieces(parts, ":", ARN_PARTS)
    if len(cut) != ARN_PARTS:
        raise ValueError("expected an ARN, arn:partition:service:region:account:resource")
    matchers = [matcher(piece) for piece in cut]
    return lambda found: all(matches(text) for matches, text in zip(matchers, found, strict=True))


def _any_arn(_parts: Sequence[str]) -> bool:
    return True
