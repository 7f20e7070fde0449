"""Signature Version 4: reading and verifying it, in headers or query, and signing.

Checks come in the order that AWS makes them, with AWS's codes and texts: presence of a signature →
its parts → date → Host signed → algorithm → credential scope → key → signature. Sources: IAM user
guide, "Create a signed AWS API request"; texts as recorded on services of the same framework.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from posixpath import normpath
from typing import Final
from urllib.parse import quote, unquote

from stepout.errors import ServiceError
from stepout.secret import Secret

__all__ = ["SKEW_SECONDS", "Claim", "Identity", "SignedRequest", "parse", "sign", "verify"]

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"

SKEW_SECONDS: Final = 300
"""How far clocks may differ: 5 minutes in recordings of 2026, 15 in older ones."""

MAX_EXPIRES: Final = 604_800
"""Seconds that a presigned request may be good for (IAM user guide)."""

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_SAFE: Final = "-_.~"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came in: raw path and query, header names in lower case, every value."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


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

    @property
    def access_key_id(self) -> str:
        return self.credential.partition("/")[0]

    def identity(self, service: str) -> Identity:
        """Whom the claim names; raises `ServiceError` where its scope is not one of `service`."""
        return _scope(self, service, None)


def parse(request: SignedRequest) -> Claim:
    """Find a request's signature; raises `ServiceError` where there is none, or half of one."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    authorization = headers.get("authorization")
    query = _pairs(request.query) if "X-Amz-Algorithm" in request.query else []
    presigned = dict(query)
    if authorization is not None and "X-Amz-Algorithm" in presigned:
        raise _invalid(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP "
            "header."
        )
    if "X-Amz-Algorithm" in presigned:
        return _presigned(presigned, headers)
    if authorization is None or not authorization.startswith("AWS4-"):
        raise ServiceError(
            "MissingAuthenticationTokenException",
            "Request is missing Authentication Token",
            status=403,
        )
    return _authorized(authorization, headers)


def verify(
    request: SignedRequest,
    claim: Claim,
    *,
    secret_of: Callable[[str], Secret | None],
    service: str,
    now: float,
    skew: int = SKEW_SECONDS,
    region: str | None = None,
) -> Identity:
    """Check a claim; `now` in epoch seconds, `region` None takes any. Raises `ServiceError`."""
    _check_time(claim, now, skew)
    names = claim.signed_headers.split(";")
    for name in ("host", "x-amz-target"):
        if name not in names and (name == "host" or name in claim.headers):
            label = "Host" if name == "host" else name
            raise _invalid(f"'{label}' must be a 'SignedHeader' in the AWS Authorization.")
    if claim.algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{claim.algorithm}'")
    identity = _scope(claim, service, region)
    secret = secret_of(identity.access_key_id)
    if secret is None:
        raise ServiceError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            status=403,
        )
    expected = _signature(request, claim, names, secret, claim.credential.partition("/")[2])
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            "details."
        )
    return identity


def sign(
    request: SignedRequest,
    *,
    access_key_id: str,
    secret: Secret,
    region: str,
    service: str,
    now: float,
) -> list[tuple[bytes, bytes]]:
    """The request's headers with a signature over all of them."""
    date = datetime.fromtimestamp(now, UTC).strftime(_FORMAT)
    dated = [*request.headers, (b"x-amz-date", date.encode())]
    names = sorted({name.decode("latin-1") for name, _ in dated})
    scope = f"{date[:8]}/{region}/{service}/{TERMINATOR}"
    claim = Claim(
        algorithm=ALGORITHM,
        credential=f"{access_key_id}/{scope}",
        signed_headers=";".join(names),
        signature="",
        date=date,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in dated},
        expires=None,
    )
    signature = _signature(request, claim, names, secret, scope)
    authorization = (
        f"{ALGORITHM} Credential={claim.credential}, SignedHeaders={claim.signed_headers}, "
        f"Signature={signature}"
    )
    return [*dated, (b"authorization", authorization.encode())]


# --- Finding the parts ----------------------------------------------------------------------------

_AUTHORIZATION: Final = re.compile(
    r"([^ ]+) +Credential=([^, ]+), *SignedHeaders=([^, ]+), *Signature=([^, ]+)"
)
_HEADER_PARTS: Final = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS: Final = (
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
    "X-Amz-Expires",
)


def _authorized(authorization: str, headers: Mapping[str, str]) -> Claim:
    date = headers.get("x-amz-date") or headers.get("date")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is not None and date is not None:
        algorithm, credential, signed_headers, signature = match.groups()
        return Claim(algorithm, credential, signed_headers, signature, date, headers, None)
    algorithm, _, rest = authorization.partition(" ")
    parts = rest.split(",")
    given = dict(map(_part, parts))
    missing = [
        f"Authorization header requires '{name}' parameter. "
        for name in _HEADER_PARTS
        if not given.get(name)
    ]
    if date is None:
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if len(given) < len(parts):
        missing.append("Authorization header requires each parameter once. ")
    if missing or date is None:
        raise _incomplete(f"{''.join(missing)}Authorization={authorization}")
    return Claim(
        algorithm,
        given["Credential"],
        given["SignedHeaders"],
        given["Signature"],
        date,
        headers,
        None,
    )


def _part(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition("=")
    return name, value


def _presigned(query: Mapping[str, str], headers: Mapping[str, str]) -> Claim:
    missing = [
        f"AWS query-string parameters must include '{name}'. "
        for name in _QUERY_PARTS
        if not query.get(name)
    ]
    if missing:
        raise _incomplete(f"{''.join(missing)}Re-examine the query-string parameters.")
    return Claim(
        algorithm=query["X-Amz-Algorithm"],
        credential=query["X-Amz-Credential"],
        signed_headers=query["X-Amz-SignedHeaders"],
        signature=query["X-Amz-Signature"],
        date=query["X-Amz-Date"],
        headers=headers,
        expires=query["X-Amz-Expires"],
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    """The pairs of a raw query, decoded; a plus sign is itself."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in parts]


# --- Date and scope -------------------------------------------------------------------------------

_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}", re.ASCII)
_SCOPE_PARTS: Final = 5


def _check_time(claim: Claim, now: float, skew: int) -> None:
    then = _timestamp(claim.date)
    lifetime = skew if claim.expires is None else _lifetime(claim.expires)
    if then < now - lifetime:
        raise _invalid(
            f"Signature expired: {_basic(then)} is now earlier than {_basic(now - lifetime)} "
            f"({_basic(now)} - {lifetime // 60} min.)"
        )
    if then > now + skew:
        raise _invalid(
            f"Signature not yet current: {_basic(then)} is still later than {_basic(now + skew)} "
            f"({_basic(now)} + {skew // 60} min.)"
        )


@lru_cache(16)
def _timestamp(date: str) -> float:
    """Epoch seconds of X-Amz-Date, or of a Date header in HTTP's own format."""
    try:
        if _DATE.fullmatch(date):
            return datetime.strptime(date, _FORMAT).replace(tzinfo=UTC).timestamp()
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{date}'. See "
            "http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def _lifetime(expires: str) -> int:
    if not (expires.isascii() and expires.isdigit() and 0 < int(expires[:9]) <= MAX_EXPIRES):
        raise _incomplete(
            f"X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES}. Got '{expires}'."
        )
    return int(expires)


def _basic(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime(_FORMAT)


def _scope(claim: Claim, service: str, region: str | None) -> Identity:
    parts = claim.credential.split("/")
    if len(parts) != _SCOPE_PARTS:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{claim.credential}'"
        )
    key, date, named_region, named_service, terminator = parts
    stamp = _stamp(claim)
    if (named_region == region if region else _REGION.fullmatch(named_region)) and (
        named_service,
        terminator,
        date,
    ) == (service, TERMINATOR, stamp[:8]):
        return Identity(key, named_region)
    wrong = [
        f"Credential should be scoped to a valid region, not '{named_region}'. "
        * (named_region != region if region else not _REGION.fullmatch(named_region)),
        f"Credential should be scoped to correct service: '{service}'. "
        * (named_service != service),
        f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not "
        f"'{terminator}'. " * (terminator != TERMINATOR),
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
        f"HTTP: '{date}' != '{stamp[:8]}', from '{stamp}'. " * (date != stamp[:8]),
    ]
    raise _invalid("".join(wrong))


def _stamp(claim: Claim) -> str:
    """The claim's date in ISO 8601's basic format."""
    return claim.date if _DATE.fullmatch(claim.date) else _basic(_timestamp(claim.date))


# --- The signature --------------------------------------------------------------------------------


def _signature(
    request: SignedRequest, claim: Claim, names: Sequence[str], secret: Secret, scope: str
) -> str:
    canonical = canonical_request(request, claim.headers, names, claim.signed_headers)
    to_sign = f"{ALGORITHM}\n{_stamp(claim)}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    date, region, service, _ = scope.split("/", 3)
    key = _signing_key(secret.reveal(), date, region, service)
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def canonical_request(
    request: SignedRequest, headers: Mapping[str, str], names: Sequence[str], signed: str
) -> str:
    """The text that is hashed and signed."""
    lines = "".join([f"{name}:{_trimmed(headers.get(name, ''))}\n" for name in names])
    payload = headers.get("x-amz-content-sha256")
    if payload != _UNSIGNED:
        payload = sha256(request.body).hexdigest()
    return (
        f"{request.method}\n{_canonical_path(request.path)}\n{_canonical_query(request.query)}\n"
        f"{lines}\n{signed}\n{payload}"
    )


def _trimmed(value: str) -> str:
    """Runs of blanks are one blank."""
    return " ".join(value.split()) if "  " in value else value.strip()


def _canonical_path(path: str) -> str:
    """Without dot segments and doubled slashes, and encoded once more than it came."""
    if path in ("", "/"):
        return "/"
    # normpath keeps two slashes at the beginning, which POSIX gives a meaning of its own.
    normal = "/" + normpath(path).lstrip("/")
    slash = "/" if path.endswith("/") and normal != "/" else ""
    return quote((normal + slash).encode("utf-8", "surrogateescape"), safe=f"/{_SAFE}")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    encoded = sorted(
        (quote(name, safe=_SAFE), quote(value, safe=_SAFE))
        for name, value in _pairs(query)
        if name != "X-Amz-Signature"
    )
    return _joined(encoded)


def _joined(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(4_096)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derived once a day for each key, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidSignatureException", message, status=403)


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteSignatureException", message, status=403)
