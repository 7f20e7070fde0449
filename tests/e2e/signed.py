"""Requests that no SDK would send, signed with any key."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret

__all__ = ["Answered", "post"]


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    document: dict[str, Any]
    request_id: str


def post(
    url: str,
    operation: str,
    body: bytes | dict[str, Any] = b"{}",
    *,
    key: str = "any",
    secret: str = "any",
    more: dict[str, str] | None = None,
) -> Answered:
    """Call an operation of Step Functions; `more` headers are not signed."""
    host = url.removeprefix("http://")
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    target = f"AWSStepFunctions.{operation}".encode()
    headers = sigv4.sign(
        SignedRequest(
            "POST", "/", "", [(b"host", host.encode()), (b"x-amz-target", target)], encoded
        ),
        access_key_id=key,
        secret=Secret(secret),
        region="us-east-1",
        service="states",
        now=time.time(),
    )
    connection = http.client.HTTPConnection(host, timeout=30)
    sent = {name.decode(): value.decode("latin-1") for name, value in headers}
    try:
        connection.request("POST", "/", encoded, {**sent, **(more or {})})
        response = connection.getresponse()
        request_id = response.getheader("x-amzn-RequestId") or ""
        return Answered(response.status, json.loads(response.read()), request_id)
    finally:
        connection.close()
