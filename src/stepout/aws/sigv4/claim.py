"""What a request says of its signature: found and complete, not verified."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from stepout.aws.sigv4 import faults
from stepout.aws.sigv4.request import SignedRequest, gathered, pairs

__all__ = ["ALGORITHM", "MAX_EXPIRES", "TERMINATOR", "Claim", "Identity", "basic", "parse"]

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"

MAX_EXPIRES: Final = 604_800
"""Seconds that a presigned request may be good for (IAM user guide)."""

MAX_AUTHORIZATION: Final = 8_192
"""Bytes; boto3's header has about 250. The header is repeated to the caller where it is wrong."""

MAX_TARGET: Final = 32_768
"""Bytes of path and query; a presigned request with a long session token has about 8,000."""

_HEADER_PARTS: Final = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
    "X-Amz-Expires",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a signature names, and the region that it is scoped to."""

    access_key_id: str
    region: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its signature; nothing of it is verified yet."""

    algorithm: str
    credential: str
    signed_headers: str
    signature: str
    date: str
    headers: Mapping[str, str]
    """Values by lower-case name, repeated ones joined by commas."""
    expires: str | None
    """Seconds, of a presigned request."""
    token: str | None = None
    """The session token of temporary credentials."""

    @property
    def access_key_id(self) -> str:
        return self.credential.partition("/")[0]

    @property
    def scope(self) -> str:
        """Date, region, service and terminator as they are signed."""
        return self.credential.rstrip("/").partition("/")[2]

    @property
    def time(self) -> float:
        """Epoch seconds; raises `ServiceError` for a date that is none."""
        return _moment(self.date)[0]

    @property
    def stamp(self) -> str:
        """The date in ISO 8601's basic format, as it is signed."""
        return _moment(self.date)[1]

    def identity(self, service: str, region: str | None = None) -> Identity:
        """Whom the claim names; raises `ServiceError` where its scope is not one of `service`."""
        # Slashes at the end are ignored, as AWS does.
        parts = self.credential.rstrip("/").split("/")
        if len(parts) != _CREDENTIAL_PARTS:
            raise faults.bad_credential(self.credential)
        key, date, named, its_service, terminator = parts
        stamp = self.stamp
        is_region = named == region if region else _REGION.fullmatch(named)
        if is_region and (its_service, terminator, date) == (service, TERMINATOR, stamp[:8]):
            return Identity(key, named)
        raise faults.wrong_scope(
            region=None if is_region else named,
            service=None if its_service == service else service,
            terminator=None if terminator == TERMINATOR else (TERMINATOR, terminator),
            date=None if date == stamp[:8] else (date, stamp),
        )


def parse(request: SignedRequest) -> Claim:
    """Find a request's signature; raises `ServiceError` where there is none, or half of one."""
    if len(request.path) + len(request.query) > MAX_TARGET:
        raise faults.too_long("Path and query", MAX_TARGET)
    headers = gathered(request.headers)
    authorization = headers.get("authorization")
    found = _parameters(request.query) if request.query else []
    is_presigned = bool(found) and b"X-Amz-Algorithm" in dict(found)
    if authorization is not None and is_presigned:
        raise faults.both_ways()
    if is_presigned:
        return _presigned(found, headers)
    if authorization is None or not authorization.startswith("AWS4-"):
        raise faults.missing()
    if len(authorization) > MAX_AUTHORIZATION:
        raise faults.too_long("Authorization header", MAX_AUTHORIZATION)
    is_repeated = len(headers) < len(request.headers) and _comes_twice(request)
    return _authorized(authorization, headers, is_repeated=is_repeated)


def _parameters(query: str) -> list[tuple[bytes, bytes]]:
    return [pair for pair in pairs(query) if pair[0].startswith(b"X-Amz-")]


def _comes_twice(request: SignedRequest) -> bool:
    return sum(name == b"authorization" for name, _ in request.headers) > 1


def _authorized(authorization: str, headers: Mapping[str, str], *, is_repeated: bool) -> Claim:
    # AWS parts it at commas and blanks alike, and names the first piece without an equals sign.
    algorithm, *parts = authorization.replace(",", " ").split(" ")
    given: dict[str, str] = {}
    for part in filter(None, parts):
        name, equals, value = part.partition("=")
        if not equals:
            raise faults.no_pair(part, authorization)
        is_repeated = is_repeated or name in given
        given[name] = value
    date = headers.get("x-amz-date") or headers.get("date")
    try:
        credential, signature, signed = [given[name] for name in _HEADER_PARTS]
    except KeyError:
        credential = signature = signed = ""
    if not (credential and signature and signed and date) or is_repeated:
        raise faults.half_header(
            [name for name in _HEADER_PARTS if not given.get(name)],
            authorization,
            is_dated=bool(date),
            is_repeated=is_repeated,
        )
    token = headers.get("x-amz-security-token")
    return Claim(algorithm, credential, signed, signature, date, headers, None, token)


def _presigned(found: list[tuple[bytes, bytes]], headers: Mapping[str, str]) -> Claim:
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in found}
    absent = [name for name in _QUERY_PARTS if not given.get(name)]
    if absent or len(given) < len(found):
        raise faults.half_query(absent, is_repeated=len(given) < len(found))
    return Claim(
        algorithm=given["X-Amz-Algorithm"],
        credential=given["X-Amz-Credential"],
        signed_headers=given["X-Amz-SignedHeaders"],
        signature=given["X-Amz-Signature"],
        date=given["X-Amz-Date"],
        headers=headers,
        expires=given["X-Amz-Expires"],
        token=given.get("X-Amz-Security-Token", headers.get("x-amz-security-token")),
    )


# --- Date and scope -------------------------------------------------------------------------------

_BASIC: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_MAX_DATE: Final = 40
"""Characters; a date of HTTP has 31 at most."""
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}", re.ASCII)
_CREDENTIAL_PARTS: Final = 5


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def basic(epoch: float) -> str:
    """ISO 8601's basic format."""
    # `fromtimestamp` knows no time before 1970 on Windows.
    return (_EPOCH + timedelta(seconds=epoch)).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(16)
def _moment(date: str) -> tuple[float, str]:
    """Epoch seconds and basic format of X-Amz-Date, or of a Date header in HTTP's own format."""
    try:
        if _BASIC.fullmatch(date):
            return datetime.fromisoformat(date).timestamp(), date
        if len(date) > _MAX_DATE:
            raise faults.bad_date(date)
        # What has no zone ("-0000", as botocore writes it) is UTC, not the server's own.
        found = parsedate_to_datetime(date)
        epoch = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        return epoch, basic(epoch)
    except (ValueError, TypeError, OverflowError):
        raise faults.bad_date(date) from None
