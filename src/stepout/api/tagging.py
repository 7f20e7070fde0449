"""Tags of resources: what may be one, and what adding and removing them comes to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from stepout.api import faults
from stepout.asl.values import Json
from stepout.errors import ServiceError

__all__ = ["MAX_TAGS", "Tags", "shown", "tagged", "untagged"]

Tags: TypeAlias = tuple[tuple[str, str], ...]
"""Keys and values, in the order in which the keys came."""

MAX_TAGS: Final = 50
"""Of a resource (AWS service quotas, tagging)."""

# API reference, TagResource: letters, digits, white space and these signs. Of letters and digits
# `\w` has all, besides `_`.
_ALLOWED: Final = re.compile(r"[\w\s.:/=+\-@]*")

_PATTERN: Final = r"Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"

_RESERVED: Final = "aws:"
"""Begins keys that AWS alone gives (AWS general reference, tagging)."""


def tagged(tags: Tags, given: Sequence[dict[str, Json]], arn: str) -> Tags:
    """The tags of a resource after some were added; one of a key that is there takes its place."""
    after = dict(tags)
    after.update(_read(tag, f"tags.{place}.member") for place, tag in enumerate(given, 1))
    if len(after) > MAX_TAGS:
        raise faults.too_many_tags(arn, MAX_TAGS)
    return tuple(after.items())


def untagged(tags: Tags, keys: Iterable[str]) -> Tags:
    """The tags of a resource after some were removed; keys that are not there count for nothing."""
    gone = frozenset(keys)
    return tuple((key, value) for key, value in tags if key not in gone)


def shown(tags: Tags) -> list[Json]:
    """Tags as the API shows them."""
    return [{"key": key, "value": value} for key, value in tags]


def _read(tag: dict[str, Json], where: str) -> tuple[str, str]:
    """Key and value; the service model lets both be absent."""
    key, value = tag.get("key"), tag.get("value")
    if key is None:
        raise _unsatisfied("null", f"{where}.key", "Member must not be null")
    value = "" if value is None else value
    for name, text in (("key", key), ("value", value)):
        if _ALLOWED.fullmatch(text) is None:
            raise _unsatisfied(f"'{text}'", f"{where}.{name}", _PATTERN)
    if key.lower().startswith(_RESERVED):
        raise faults.validation(f"Tag keys must not begin with '{_RESERVED}': '{key}'")
    return key, value


def _unsatisfied(value: str, where: str, constraint: str) -> ServiceError:
    return faults.validation(
        f"1 validation error detected: Value {value} at '{where}' failed to satisfy constraint: "
        f"{constraint}"
    )
