"""The text of a request that is signed, and the hash over it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from stepout.aws.sigv4.claim import ALGORITHM, TERMINATOR, Claim
from stepout.aws.sigv4.request import SignedRequest, pairs
from stepout.secret import Secret

__all__ = [
    "CONTENT_SHA256",
    "canonical_request",
    "head",
    "payload",
    "payload_hash",
    "signature",
    "string_to_sign",
]

CONTENT_SHA256: Final = "x-amz-content-sha256"


def canonical_request(request: SignedRequest, claim: Claim) -> bytes:
    """The text that is hashed; the headers that the claim names must all be there."""
    return head(request, claim, claim.signed_headers.split(";")) + payload(request, claim)


def head(request: SignedRequest, claim: Claim, names: Sequence[str]) -> bytes:
    """The canonical request up to the payload's hash; `names` are those of the signed headers."""
    lines = "".join([f"{name}:{_collapsed(claim.headers[name])}\n" for name in names])
    # Only in a presigned request is X-Amz-Signature the signature, and so outside the text.
    query = _canonical_query(request.query, is_presigned=claim.expires is not None)
    return (
        f"{request.method}\n{_canonical_path(request.path)}\n{query}\n"
        f"{lines}\n{claim.signed_headers}\n"
    ).encode()


def payload(request: SignedRequest, claim: Claim) -> bytes:
    """The payload's hash as it is signed: what the header says, where there is one."""
    given = claim.headers.get(CONTENT_SHA256)
    return (payload_hash(request) if given is None else given).encode()


def payload_hash(request: SignedRequest) -> str:
    return sha256(request.body).hexdigest()


def string_to_sign(claim: Claim, canonical: bytes) -> str:
    return f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{sha256(canonical).hexdigest()}"


def signature(claim: Claim, secret: Secret, to_sign: str) -> str:
    date, region, service, _ = claim.scope.split("/")
    key = _signing_key(secret.reveal(), date, region, service)
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


_BLANKS: Final = re.compile(r"[ \t]+")


def _collapsed(value: str) -> str:
    """Runs of blanks, which in a header are spaces and tabs, are one space."""
    return _BLANKS.sub(" ", value) if "  " in value or "\t" in value else value


def _canonical_path(path: str) -> str:
    """Without dot segments and doubled slashes, and encoded once more than it came."""
    if path in ("", "/"):
        return "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    first = "/" if path.startswith("/") else ""
    last = "/" if path.endswith("/") and kept else ""
    return quote(f"{first}{'/'.join(kept)}{last}".encode("latin-1"), safe="/")


def _canonical_query(query: str, *, is_presigned: bool) -> str:
    if not query:
        return ""
    encoded = sorted(
        (quote(name, safe=""), quote(value, safe=""))
        for name, value in pairs(query)
        if not (is_presigned and name == b"X-Amz-Signature")
    )
    return "&".join([f"{name}={value}" for name, value in encoded])


@lru_cache(4_096)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derived once a day for each key, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
