"""Holding a claim against what is known: the clock, the service, the keys, the body."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stepout.aws.sigv4 import faults
from stepout.aws.sigv4.canonical import (
    CONTENT_SHA256,
    head,
    payload,
    payload_hash,
    signature,
    string_to_sign,
)
from stepout.aws.sigv4.claim import ALGORITHM, MAX_EXPIRES, Claim, Identity, basic
from stepout.aws.sigv4.request import SignedRequest
from stepout.secret import Secret

__all__ = ["SKEW_SECONDS", "Credentials", "verify"]

SKEW_SECONDS: Final = 300
"""How far clocks may differ: 5 minutes in recordings of 2026, 15 in older ones."""

MAX_HEAD: Final = 131_072
"""Bytes of a canonical request before the payload's hash: twice what servers take as headers."""

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is known of a key; one with a token is temporary, as sts:AssumeRole makes them."""

    secret: Secret
    token: Secret | None = None
    expires: float | None = None
    """Epoch seconds."""


def verify(
    request: SignedRequest,
    claim: Claim,
    *,
    secret_of: Callable[[str], Secret | Credentials | None],
    service: str,
    now: float,
    skew: int = SKEW_SECONDS,
    region: str | None = None,
    allows_unsigned_payload: bool = False,
) -> Identity:
    """Check the claim of a request, whom it then is from; raises `ServiceError`.

    `secret_of` answers what is known of an access key id: its secret, or credentials with a token.
    `now` is in epoch seconds, `skew` in seconds; `region` None takes any. A body outside the
    signature is taken only if the caller allows it and the signed header says it
    (UNSIGNED-PAYLOAD).
    """
    _check_time(claim, int(now), skew)
    names = claim.signed_headers.split(";")
    _check_signed_headers(claim, names)
    if claim.algorithm != ALGORITHM:
        raise faults.unsupported(claim.algorithm)
    identity = claim.identity(service, region)
    known = secret_of(identity.access_key_id)
    if known is None:
        raise faults.unknown_key()
    secret = known.secret if isinstance(known, Credentials) else known
    _check_signature(request, claim, names, secret)
    _check_payload(request, claim, allows_unsigned=allows_unsigned_payload)
    if isinstance(known, Credentials):
        _check_token(claim, known, now)
    elif claim.token is not None:
        raise faults.unknown_key()
    return identity


def _check_time(claim: Claim, now: int, skew: int) -> None:
    then = claim.time
    lifetime = skew if claim.expires is None else _lifetime(claim.expires)
    if then < now - lifetime:
        raise faults.expired(claim.stamp, basic(now - lifetime), basic(now), lifetime)
    if then > now + skew:
        raise faults.not_yet(claim.stamp, basic(now + skew), basic(now), skew)


_SECONDS: Final = re.compile(r"[1-9]\d{0,5}", re.ASCII)


def _lifetime(expires: str) -> int:
    if not _SECONDS.fullmatch(expires) or int(expires) > MAX_EXPIRES:
        raise faults.bad_expires(expires, MAX_EXPIRES)
    return int(expires)


def _check_signed_headers(claim: Claim, names: Sequence[str]) -> None:
    """Host and all X-Amz- headers are signed; the token need not be, since it is compared."""
    # AWS takes "Host" in any case here; its signature is then another.
    if "host" not in names and "host" not in claim.signed_headers.lower().split(";"):
        raise faults.unsigned("Host")
    signed = {*names, "x-amz-security-token"}
    for name in claim.headers:
        if name not in signed and name.startswith("x-amz-"):
            raise faults.unsigned(name)


_CONTROLS: Final = bytes(range(0x20)) + b"\x7f"
_OTHER_LINES: Final = 5
"""Line ends of a canonical request that do not end a header."""


def _check_signature(
    request: SignedRequest, claim: Claim, names: Sequence[str], secret: Secret
) -> None:
    # The list must be as a signer makes it, and a header that is absent is not an empty one.
    named = set(names)
    if names != sorted(named) or not claim.headers.keys() >= named:
        raise faults.mismatch()
    text = head(request, claim, names)
    if len(text) > MAX_HEAD:
        raise faults.too_long("Canonical request", MAX_HEAD)
    # A line break in a method or in a value would write lines of its own into the text.
    if len(text) - len(text.translate(None, _CONTROLS)) != len(names) + _OTHER_LINES:
        raise faults.mismatch()
    expected = signature(claim, secret, string_to_sign(claim, text + payload(request, claim)))
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise faults.mismatch()


def _check_payload(request: SignedRequest, claim: Claim, *, allows_unsigned: bool) -> None:
    """The body is what the header says; bodies in signed chunks (STREAMING-…) are not read."""
    given = claim.headers.get(CONTENT_SHA256)
    if given is None or (allows_unsigned and given == UNSIGNED_PAYLOAD):
        return
    if given != payload_hash(request):
        raise faults.bad_payload()


def _check_token(claim: Claim, known: Credentials, now: float) -> None:
    # Secrets are compared in constant time.
    given = None if claim.token is None else Secret(claim.token)
    if given != known.token:
        raise faults.unknown_key()
    if known.expires is not None and now >= known.expires:
        raise faults.expired_token()
