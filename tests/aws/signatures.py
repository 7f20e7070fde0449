"""Signed requests, and ways to make them wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stepout.aws import sigv4
from stepout.aws.sigv4 import Claim, Credentials, Identity, SignedRequest
from stepout.aws.sigv4.canonical import signature
from stepout.errors import ServiceError
from stepout.secret import Secret

KEY, SECRET = "AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = Secret("a/session+token==")
NOW = datetime(2026, 5, 23, 7, 31, 28, tzinfo=UTC).timestamp()
STAMP = "20260523T073128Z"
SCOPE = "20260523/us-east-1/states/aws4_request"
WHO = Identity(KEY, "us-east-1")

INVALID = "InvalidSignatureException"
INCOMPLETE = "IncompleteSignatureException"
UNRECOGNIZED = "UnrecognizedClientException"
MISMATCH = (
    INVALID,
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
)
UNKNOWN = (UNRECOGNIZED, "The security token included in the request is invalid.")
NOT_COMPUTED = (
    INVALID,
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
)


def known(key: str) -> Secret | None:
    return SECRET if key == KEY else None


def temporary(key: str) -> Credentials | None:
    return Credentials(SECRET, TOKEN, NOW + 60) if key == KEY else None


def verify(request: SignedRequest, now: float = NOW, **more: Any) -> Identity:
    more = {"secret_of": known, "service": "states", **more}
    return sigv4.verify(request, sigv4.parse(request), now=now, **more)


def fault_of(request: SignedRequest, **more: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        verify(request, **more)
    assert caught.value.status == 403
    return caught.value.code, caught.value.message


def request_of(
    *more: tuple[bytes, bytes], body: bytes = b"{}", query: str = "", path: str = "/"
) -> SignedRequest:
    headers = [
        (b"host", b"sync-states.us-east-1.amazonaws.com"),
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"x-amz-target", b"AWSStepFunctions.StartSyncExecution"),
        *more,
    ]
    return SignedRequest("POST", path, query, headers, body)


def signed(
    request: SignedRequest | None = None,
    now: float = NOW,
    secret: Secret = SECRET,
    token: Secret | None = None,
) -> SignedRequest:
    request = request or request_of()
    headers = sigv4.sign(
        request,
        access_key_id=KEY,
        secret=secret,
        region="us-east-1",
        service="states",
        now=now,
        token=token,
    )
    return replace(request, headers=headers)


def presigned(
    request: SignedRequest | None = None, expires: int = 600, token: Secret | None = None
) -> SignedRequest:
    request = request or request_of()
    query = sigv4.presign(
        request,
        access_key_id=KEY,
        secret=SECRET,
        region="us-east-1",
        service="states",
        now=NOW,
        expires=expires,
        token=token,
    )
    return replace(request, query=query)


def changed(request: SignedRequest, **headers: bytes | None) -> SignedRequest:
    """The request with some headers replaced, or left out."""
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    kept = [(name, value) for name, value in request.headers if name not in names]
    added = [(name, value) for name, value in names.items() if value is not None]
    return replace(request, headers=[*kept, *added])


def added(request: SignedRequest, name: bytes, value: bytes) -> SignedRequest:
    return replace(request, headers=[*request.headers, (name, value)])


def authorization_of(request: SignedRequest) -> str:
    return dict(request.headers)[b"authorization"].decode()


def rewritten(request: SignedRequest, pattern: str, text: str) -> SignedRequest:
    """The request with a part of its Authorization replaced."""
    found, count = re.subn(pattern, text, authorization_of(request))
    assert count
    return changed(request, authorization=found.encode("latin-1"))


def queried(request: SignedRequest, name: str, value: str) -> SignedRequest:
    """The request with one parameter of its query replaced."""
    found, count = re.subn(rf"\b{name}=[^&]*", f"{name}={value}", request.query)
    assert count
    return replace(request, query=found)


def signing(request: SignedRequest, names: str, date: str = STAMP) -> SignedRequest:
    """The request with a right signature over the headers that are named, in any order."""
    claim = sigv4.parse(rewritten(signed(request), "SignedHeaders=[^,]*", "SignedHeaders=host"))
    claim = replace(claim, signed_headers=names, date=date)
    text = f"AWS4-HMAC-SHA256 Credential={KEY}/{SCOPE}, SignedHeaders={names}, Signature={signature_of(request, claim)}"
    return changed(
        request,
        authorization=text.encode(),
        x_amz_date=None if "x-amz-date" not in names.split(";") else STAMP.encode(),
    )


def signature_of(request: SignedRequest, claim: Claim) -> str:
    canonical = sigv4.canonical_request(request, claim)
    return signature(claim, SECRET, sigv4.string_to_sign(claim, canonical))
