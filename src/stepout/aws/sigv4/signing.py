"""Making signatures, in a header or in the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from stepout.aws.sigv4.canonical import canonical_request, signature, string_to_sign
from stepout.aws.sigv4.claim import ALGORITHM, MAX_EXPIRES, TERMINATOR, Claim, basic
from stepout.aws.sigv4.request import SignedRequest, gathered
from stepout.secret import Secret

__all__ = ["presign", "sign"]

_UNSIGNED: Final = frozenset(
    {"authorization", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}
)
"""What proxies and clients change on the way (botocore leaves them out, too)."""


def sign(
    request: SignedRequest,
    *,
    access_key_id: str,
    secret: Secret,
    region: str,
    service: str,
    now: float,
    token: Secret | None = None,
) -> list[tuple[bytes, bytes]]:
    """The request's headers with its date, the session token and a signature over them."""
    date = basic(now)
    added = [(b"x-amz-date", date.encode())]
    if token is not None:
        added.append((b"x-amz-security-token", token.reveal().encode()))
    replaced = {b"authorization", *(name for name, _ in added)}
    headers = [pair for pair in request.headers if pair[0] not in replaced] + added
    credential = f"{access_key_id}/{date[:8]}/{region}/{service}/{TERMINATOR}"
    claim = _claim(headers, credential, date, None)
    authorization = (
        f"{ALGORITHM} Credential={credential}, SignedHeaders={claim.signed_headers}, "
        f"Signature={_signature(request, claim, secret)}"
    )
    return [*headers, (b"authorization", authorization.encode())]


def presign(
    request: SignedRequest,
    *,
    access_key_id: str,
    secret: Secret,
    region: str,
    service: str,
    now: float,
    expires: int = 3_600,
    token: Secret | None = None,
) -> str:
    """The request's query with a signature in it that is good for `expires` seconds.

    The request's headers and its body are signed, so whoever sends it sends them as they are.
    Raises `ValueError` for a number of seconds that AWS refuses.
    """
    if not 1 <= expires <= MAX_EXPIRES:
        raise ValueError(f"Expected from 1 to {MAX_EXPIRES} seconds, found {expires}.")
    date = basic(now)
    credential = f"{access_key_id}/{date[:8]}/{region}/{service}/{TERMINATOR}"
    claim = _claim(request.headers, credential, date, str(expires))
    added = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": credential,
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": claim.signed_headers,
    }
    if token is not None:
        added["X-Amz-Security-Token"] = token.reveal()
    given = [request.query] if request.query else []
    query = "&".join([*given, *(f"{name}={quote(text, safe='')}" for name, text in added.items())])
    return f"{query}&X-Amz-Signature={_signature(replace(request, query=query), claim, secret)}"


def _claim(
    headers: Sequence[tuple[bytes, bytes]], credential: str, date: str, expires: str | None
) -> Claim:
    values = gathered(headers)
    names = ";".join(sorted(values.keys() - _UNSIGNED))
    return Claim(ALGORITHM, credential, names, "", date, values, expires)


def _signature(request: SignedRequest, claim: Claim, secret: Secret) -> str:
    return signature(claim, secret, string_to_sign(claim, canonical_request(request, claim)))
