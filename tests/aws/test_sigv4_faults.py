"""AWS's codes and words for each fault of a signature, and which of two faults is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.aws.signatures import (
    INCOMPLETE,
    INVALID,
    KEY,
    MISMATCH,
    NOT_COMPUTED,
    NOW,
    SECRET,
    STAMP,
    TOKEN,
    UNKNOWN,
    WHO,
    added,
    changed,
    fault_of,
    presigned,
    queried,
    request_of,
    rewritten,
    signed,
    temporary,
    verify,
)

from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret

# --- Every fault, in AWS's words ----------------------------------------------------------------

FAULTS: list[tuple[str, SignedRequest, str, str]] = [
    (
        "no signature",
        request_of(),
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
    ),
    (
        "another scheme",
        request_of((b"authorization", b"Bearer x")),
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
    ),
    (
        "both ways",
        replace(signed(), query="X-Amz-Algorithm=AWS4-HMAC-SHA256"),
        INVALID,
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    ),
    (
        "both ways, in another spelling",
        replace(signed(), query="X%2dAmz-Algorithm"),
        INVALID,
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    ),
    (
        "a part without a value",
        request_of((b"authorization", b"AWS4-HMAC-SHA256 Signature=b,    Credential,    SignedHeaders")),
        INCOMPLETE,
        "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Signature=b,    Credential,    SignedHeaders'.",
    ),
    (
        "nothing but an algorithm",
        request_of((b"authorization", b"AWS4-HMAC-SHA256")),
        INCOMPLETE,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256",
    ),
    (
        "no signature in the header",
        changed(signed(), authorization=b"AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host"),
        INCOMPLETE,
        "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host",
    ),
    (
        "no date",
        request_of((b"authorization", b"AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c")),
        INCOMPLETE,
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c",
    ),
    (
        "a part twice",
        changed(signed(), authorization=b"AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,Credential=d"),
        INCOMPLETE,
        "Authorization header requires each parameter once. Authorization=AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,Credential=d",
    ),
    (
        "the header twice",
        added(changed(signed(), authorization=b"AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c"), b"authorization", b"d=e"),
        INCOMPLETE,
        "Authorization header requires each parameter once. Authorization=AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,d=e",
    ),
    (
        "half a presigned query",
        request_of(query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=d&X-Amz-Expires=1"),
        INCOMPLETE,
        "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters.",
    ),
    (
        "an empty presigned query",
        request_of(query="X-Amz-Algorithm"),
        INCOMPLETE,
        "AWS query-string parameters must include 'X-Amz-Algorithm'. AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. AWS query-string parameters must include 'X-Amz-Expires'. Re-examine the query-string parameters.",
    ),
    (
        "date",
        changed(signed(), x_amz_date=b"201"),
        INCOMPLETE,
        "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601",
    ),
    (
        "too old",
        signed(now=NOW - 348),
        INVALID,
        "Signature expired: 20260523T072540Z is now earlier than 20260523T072628Z (20260523T073128Z - 5 min.)",
    ),
    (
        "too new",
        signed(now=NOW + 400),
        INVALID,
        "Signature not yet current: 20260523T073808Z is still later than 20260523T073628Z (20260523T073128Z + 5 min.)",
    ),
    (
        "host",
        rewritten(signed(), "SignedHeaders=[^,]*", "SignedHeaders=x-amz-date;x-amz-target"),
        INVALID,
        "'Host' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "target",
        rewritten(signed(), ";x-amz-target", ""),
        INVALID,
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "a header that is added",
        added(signed(), b"x-amz-meta", b""),
        INVALID,
        "'x-amz-meta' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "a header that is added to a presigned request",
        added(presigned(), b"x-amz-date", STAMP.encode()),
        INVALID,
        "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "algorithm",
        rewritten(signed(), "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        INCOMPLETE,
        "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'",
    ),
    (
        "presigned algorithm",
        queried(presigned(), "X-Amz-Algorithm", "X"),
        INCOMPLETE,
        "Unsupported AWS 'algorithm': 'X'",
    ),
    (
        "credential",
        rewritten(signed(), "Credential=[^,]+", "Credential=a/b/c/d"),
        INCOMPLETE,
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d'",
    ),
    (
        "every part of the scope",
        rewritten(signed(), "Credential=[^,]+", "Credential=a/b/c/d/e"),
        INVALID,
        "Credential should be scoped to a valid region, not 'c'. Credential should be scoped to correct service: 'states'. Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: 'b' != '20260523', from '20260523T073128Z'. ",
    ),
    (
        "region",
        rewritten(signed(), "us-east-1", "nowhere"),
        INVALID,
        "Credential should be scoped to a valid region, not 'nowhere'. ",
    ),
    (
        "service",
        rewritten(signed(), "/states/", "/events/"),
        INVALID,
        "Credential should be scoped to correct service: 'states'. ",
    ),
    (
        "terminator",
        rewritten(signed(), "aws4_request", "AWS4_request"),
        INVALID,
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'AWS4_request'. ",
    ),
    (
        "date of the scope",
        rewritten(signed(), "/20260523/", "/20260522/"),
        INVALID,
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260522' != '20260523', from '20260523T073128Z'. ",
    ),
    ("key", rewritten(signed(), KEY, "AKIDUNKNOWN"), *UNKNOWN),
    ("no key", rewritten(signed(), KEY, ""), *UNKNOWN),
    ("body", replace(signed(), body=b"[]"), *MISMATCH),
    ("secret", signed(secret=Secret("another")), *MISMATCH),
    ("token with a permanent key", signed(token=TOKEN), *UNKNOWN),
    ("presigned token with a permanent key", presigned(token=TOKEN), *UNKNOWN),
    ("payload", signed(request_of((b"x-amz-content-sha256", b"0" * 64))), *NOT_COMPUTED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_each_fault_has_awss_code_and_words(
    request_: SignedRequest, code: str, message: str
) -> None:
    assert fault_of(request_) == (code, message)


def test_no_secret_is_repeated() -> None:
    for _, request, _, _ in FAULTS:
        assert SECRET.reveal() not in "".join(fault_of(request))


# --- In AWS's order -------------------------------------------------------------------------------

Fault = Callable[[SignedRequest], SignedRequest]

HEADER_FAULTS: list[tuple[str, Fault]] = [
    ("Found both", lambda r: replace(r, query="X-Amz-Algorithm=x")),
    ("is missing Authentication", lambda r: rewritten(r, "^AWS4", "AWS5")),
    ("not a valid key=value", lambda r: rewritten(r, "$", ", x")),
    ("header requires", lambda r: rewritten(r, "Signature=[^,]*", "S=x")),
    ("Date must be", lambda r: changed(r, x_amz_date=b"x")),
    ("Signature expired", lambda r: changed(r, x_amz_date=b"20200523T073128Z")),
    ("'Host' must be", lambda r: rewritten(r, "host", "hast")),
    ("'x-amz-target' must be", lambda r: rewritten(r, "x-amz-target", "x-amz-torget")),
    ("Unsupported AWS 'algorithm'", lambda r: rewritten(r, "SHA256 ", "SHA512 ")),
    ("exactly 5 slash-delimited", lambda r: rewritten(r, "/us-east-1", "")),
    ("scoped to correct service", lambda r: rewritten(r, "/states", "/other")),
    ("security token included in the request is invalid.", lambda r: rewritten(r, KEY, "AKIDX")),
    ("does not match the signature", lambda r: replace(r, method="PUT")),
    ("does not match what was computed", lambda r: replace(r, body=b"other")),
    ("security token included in the request is invalid.", lambda r: changed(r, x_amz_security_token=b"x")),
]  # fmt: skip
"""What is told, and how to make a request that is told it, in AWS's order."""


def pairs_of_faults() -> Iterator[Any]:
    for at, (told, first) in enumerate(HEADER_FAULTS):
        for other, second in HEADER_FAULTS[at + 1 :]:
            yield pytest.param(told, first, second, id=f"{told} before {other}")


def with_every_part() -> SignedRequest:
    """A request that can have any of the faults: its token is not signed, so that it can be wrong."""
    digest = b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    return added(
        signed(request_of((b"x-amz-content-sha256", digest))),
        b"x-amz-security-token",
        TOKEN.reveal().encode(),
    )


def test_a_request_with_every_part_is_taken() -> None:
    assert verify(with_every_part(), secret_of=temporary) == WHO


@pytest.mark.parametrize(("told", "first", "second"), list(pairs_of_faults()))
def test_of_two_faults_the_first_in_awss_order_is_told(
    told: str, first: Fault, second: Fault
) -> None:
    """The second is made first: a fault may take away what the other one changes."""
    assert told in fault_of(first(second(with_every_part())), secret_of=temporary)[1]


@pytest.mark.parametrize("at", range(len(HEADER_FAULTS)), ids=[told for told, _ in HEADER_FAULTS])
def test_each_of_these_faults_alone_is_told(at: int) -> None:
    told, make = HEADER_FAULTS[at]
    assert told in fault_of(make(with_every_part()), secret_of=temporary)[1]
