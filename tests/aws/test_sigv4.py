"""Signatures: AWS's own suite, botocore as the oracle, and AWS's words for what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stepout.aws import sigv4
from stepout.aws.sigv4 import Identity, SignedRequest
from stepout.errors import ServiceError
from stepout.secret import Secret

SUITE = Path(__file__).parents[2].parent / "shared/security/sigv4/aws4_testsuite"
KEY, SECRET = "AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2026, 5, 23, 7, 31, 28, tzinfo=UTC).timestamp()
STAMP = "20260523T073128Z"


def secret_of(key: str) -> Secret | None:
    return SECRET if key == KEY else None


def verify(request: SignedRequest, now: float = NOW, **more: Any) -> Identity:
    claim = sigv4.parse(request)
    more = {"secret_of": secret_of, "service": "states", **more}
    return sigv4.verify(request, claim, now=now, **more)


def request_of(*more: tuple[bytes, bytes], body: bytes = b"{}", query: str = "") -> SignedRequest:
    headers = [
        (b"host", b"sync-states.us-east-1.amazonaws.com"),
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"x-amz-target", b"AWSStepFunctions.StartSyncExecution"),
        *more,
    ]
    return SignedRequest("POST", "/", query, headers, body)


def signed(request: SignedRequest | None = None, now: float = NOW) -> SignedRequest:
    request = request or request_of()
    headers = sigv4.sign(
        request, access_key_id=KEY, secret=SECRET, region="us-east-1", service="states", now=now
    )
    return replace(request, headers=headers)


def error_of(request: SignedRequest, **more: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        verify(request, **more)
    return caught.value.code, caught.value.message


def changed(request: SignedRequest, **headers: bytes | None) -> SignedRequest:
    """The request with some headers replaced, or left out."""
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    kept = [(name, value) for name, value in request.headers if name not in names]
    added = [(name, value) for name, value in names.items() if value is not None]
    return replace(request, headers=[*kept, *added])


# --- AWS's suite ----------------------------------------------------------------------------------


def suite() -> list[Path]:
    return sorted(SUITE.rglob("*.req"))


def read(path: Path) -> SignedRequest:
    """A request of the suite, as a server's parser would hand it on."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, target = first.removesuffix(b" HTTP/1.1").split(b" ", 1)
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line.startswith(b" "):
            name, value = headers.pop()
            headers.append((name, value + b" " + line.strip()))
        else:
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value))
    uri, _, query = target.partition(b"?")
    return SignedRequest(
        method.decode(), uri.decode("utf-8", "surrogateescape"), query.decode(), headers, body
    )


@pytest.mark.skipif(not SUITE.exists(), reason="AWS's suite is not beside the repository.")
@pytest.mark.parametrize("path", suite(), ids=lambda path: path.stem)
def test_the_requests_of_the_suite_verify_and_changed_ones_do_not(path: Path) -> None:
    authorization = path.with_suffix(".authz").read_bytes().strip()
    # What a signer adds, a session token, stands in the signed request only.
    request = changed(read(path.with_suffix(".sreq")), authorization=authorization)
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    claim = sigv4.parse(request)
    canonical = sigv4.canonical_request(
        request, claim.headers, claim.signed_headers.split(";"), claim.signed_headers
    )
    assert canonical == path.with_suffix(".creq").read_text().replace("\r\n", "\n")
    assert verify(request, now, service="service") == Identity(KEY, "us-east-1")
    for wrong in (
        replace(request, body=request.body + b"x"),
        replace(request, method="DELETE"),
        replace(request, path=request.path + "x"),
        replace(request, query=request.query + "&x=y"),
        changed(request, host=b"evil.test"),
    ):
        code, _ = error_of(wrong, now=now, service="service")
        assert code == "InvalidSignatureException"


# --- botocore as the oracle -----------------------------------------------------------------------


def by_botocore(auth: Any, body: bytes, headers: dict[str, str], now: datetime) -> SignedRequest:
    outgoing = AWSRequest(
        "POST", "https://sync-states.us-east-1.amazonaws.com/", headers=headers, data=body
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        auth.add_auth(outgoing)
    prepared = outgoing.prepare()
    incoming = [
        (name.lower().encode(), str(value).encode("latin-1"))
        for name, value in prepared.headers.items()
    ]
    incoming.append((b"host", b"sync-states.us-east-1.amazonaws.com"))
    return SignedRequest("POST", "/", prepared.url.partition("?")[2], incoming, body)


@given(
    body=st.binary(max_size=200),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    token=st.none() | st.just("a/session+token=="),
)
def test_what_botocore_signs_verifies_and_no_changed_byte_does(
    body: bytes, value: str, token: str | None
) -> None:
    auth = SigV4Auth(Credentials(KEY, SECRET.reveal(), token), "states", "us-east-1")
    headers = {"X-Amz-Target": "AWSStepFunctions.StartSyncExecution", "X-Amz-Meta": value}
    now = datetime.fromtimestamp(NOW, UTC)
    request = by_botocore(auth, body, headers, now)
    assert verify(request) == Identity(KEY, "us-east-1")
    assert error_of(replace(request, body=body + b"\0"))[0] == "InvalidSignatureException"
    assert error_of(changed(request, x_amz_meta=b"other!"))[0] == "InvalidSignatureException"


def test_what_botocore_presigns_verifies_until_it_expires() -> None:
    auth = SigV4QueryAuth(Credentials(KEY, SECRET.reveal()), "states", "us-east-1", expires=600)
    headers = {"X-Amz-Target": "AWSStepFunctions.StartSyncExecution"}
    request = by_botocore(auth, b"", headers, datetime.fromtimestamp(NOW, UTC))
    assert "X-Amz-Signature=" in request.query
    assert verify(request, NOW + 599) == Identity(KEY, "us-east-1")
    code, message = error_of(request, now=NOW + 601)
    assert code == "InvalidSignatureException"
    assert message.startswith("Signature expired: ")
    wrong = replace(request, query=request.query.replace("us-east-1", "us-east-2"))
    assert error_of(wrong)[0] == "InvalidSignatureException"


def test_what_we_sign_verifies() -> None:
    assert verify(signed()) == Identity(KEY, "us-east-1")


# --- Every refusal, in AWS's words ----------------------------------------------------------------


def authorization(text: str) -> SignedRequest:
    return changed(signed(), authorization=text.encode())


def with_scope(scope: str) -> SignedRequest:
    text = dict(signed().headers)[b"authorization"].decode()
    return authorization(re.sub(r"Credential=[^,]+", f"Credential={scope}", text))


REFUSALS: list[tuple[str, SignedRequest, str, str]] = [
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
        "InvalidSignatureException",
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    ),
    (
        "nothing in the header",
        request_of((b"authorization", b"AWS4-HMAC-SHA256 Credential=a")),
        "IncompleteSignatureException",
        "Authorization header requires 'Signature' parameter. Authorization header requires "
        "'SignedHeaders' parameter. Authorization header requires existence of either a "
        "'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=a",
    ),
    (
        "half a presigned query",
        request_of(query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=d&X-Amz-Expires=1"),
        "IncompleteSignatureException",
        "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters "
        "must include 'X-Amz-Signature'. AWS query-string parameters must include "
        "'X-Amz-SignedHeaders'. Re-examine the query-string parameters.",
    ),
    (
        "date",
        changed(signed(), x_amz_date=b"201"),
        "IncompleteSignatureException",
        "Date must be in ISO-8601 'basic format'. Got '201'. See "
        "http://en.wikipedia.org/wiki/ISO_8601",
    ),
    (
        "too old",
        signed(now=NOW - 348),
        "InvalidSignatureException",
        "Signature expired: 20260523T072540Z is now earlier than 20260523T072628Z "
        "(20260523T073128Z - 5 min.)",
    ),
    (
        "too new",
        signed(now=NOW + 400),
        "InvalidSignatureException",
        "Signature not yet current: 20260523T073808Z is still later than 20260523T073628Z "
        "(20260523T073128Z + 5 min.)",
    ),
    (
        "host",
        authorization(
            f"AWS4-HMAC-SHA256 Credential={KEY}/20260523/us-east-1/states/aws4_request, "
            "SignedHeaders=x-amz-date;x-amz-target, Signature=0"
        ),
        "InvalidSignatureException",
        "'Host' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "target",
        authorization(
            f"AWS4-HMAC-SHA256 Credential={KEY}/20260523/us-east-1/states/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=0"
        ),
        "InvalidSignatureException",
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "algorithm",
        authorization(
            f"AWS4-HMAC-SHA512 Credential={KEY}/20260523/us-east-1/states/aws4_request, "
            "SignedHeaders=host;x-amz-target, Signature=0"
        ),
        "IncompleteSignatureException",
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'",
    ),
    (
        "credential",
        with_scope("a/b/c/d"),
        "IncompleteSignatureException",
        "Credential must have exactly 5 slash-delimited elements, e.g. "
        "keyid/date/region/service/term, got 'a/b/c/d'",
    ),
    (
        "scope",
        with_scope("a/b/c/d/e"),
        "InvalidSignatureException",
        "Credential should be scoped to a valid region, not 'c'. Credential should be scoped to "
        "correct service: 'states'. Credential should be scoped with a valid terminator: "
        "'aws4_request', not 'e'. Date in Credential scope does not match YYYYMMDD from ISO-8601 "
        "version of date from HTTP: 'b' != '20260523', from '20260523T073128Z'. ",
    ),
    (
        "key",
        with_scope("AKIDUNKNOWN/20260523/us-east-1/states/aws4_request"),
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    (
        "signature",
        replace(signed(), body=b"[]"),
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details.",
    ),
]


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [refusal[1:] for refusal in REFUSALS],
    ids=[refusal[0] for refusal in REFUSALS],
)
def test_each_fault_has_awss_code_and_words(
    request_: SignedRequest, code: str, message: str
) -> None:
    assert error_of(request_) == (code, message)


def test_the_first_fault_in_awss_order_is_told() -> None:
    """A request with every fault at once is told the date first, then the next."""
    wrong = with_scope("a/b/c/d")
    assert "Date must be" in error_of(changed(wrong, x_amz_date=b"x"))[1]
    assert "Signature expired" in error_of(wrong, now=NOW + 10_000)[1]
    assert "Credential must have" in error_of(wrong)[1]


def test_a_scope_is_held_against_the_region_that_is_asked_for() -> None:
    assert verify(signed(), region="us-east-1").region == "us-east-1"
    code, message = error_of(signed(), region="eu-west-1")
    assert code == "InvalidSignatureException"
    assert message.startswith("Credential should be scoped to a valid region, not 'us-east-1'.")


def test_a_date_header_of_http_serves_as_well() -> None:
    request = request_of((b"date", b"Sat, 23 May 2026 07:31:28 GMT"))
    complete = signed(request)
    text = dict(complete.headers)[b"authorization"].decode()
    names = "content-type;date;host;x-amz-target"
    claim = replace(sigv4.parse(complete), signed_headers=names, date=STAMP)
    scope = "20260523/us-east-1/states/aws4_request"
    signature = sigv4._signature(complete, claim, names.split(";"), SECRET, scope)
    text = re.sub(r"SignedHeaders=.*", f"SignedHeaders={names}, Signature={signature}", text)
    dated = changed(complete, x_amz_date=None, authorization=text.encode())
    assert verify(dated).access_key_id == KEY


def test_a_repeated_header_is_verified_with_all_its_values() -> None:
    request = signed(request_of((b"x-amz-meta", b"a,b")))
    headers = [pair for pair in request.headers if pair[0] != b"x-amz-meta"]
    repeated = [*headers, (b"x-amz-meta", b"a"), (b"x-amz-meta", b"b")]
    assert verify(replace(request, headers=repeated)).access_key_id == KEY


@pytest.mark.parametrize("twice", [b"authorization", b"host", b"x-amz-target", b"x-amz-date"])
def test_a_second_value_of_what_is_signed_is_no_way_around(twice: bytes) -> None:
    request = signed()
    value = dict(request.headers)[twice]
    code, _ = error_of(replace(request, headers=[*request.headers, (twice, value)]))
    assert code in ("InvalidSignatureException", "IncompleteSignatureException")


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "x", "9" * 400, "٣"])
def test_a_presigned_lifetime_has_limits(expires: str) -> None:
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-Date={STAMP}"
        f"&X-Amz-SignedHeaders=host&X-Amz-Expires={expires}"
    )
    code, message = error_of(request_of(query=query))
    assert code == "IncompleteSignatureException"
    assert "X-Amz-Expires must be a number of seconds from 1 to 604800" in message


@given(text=st.text(max_size=60), query=st.text(max_size=60))
def test_no_text_makes_the_check_fail_in_another_way(text: str, query: str) -> None:
    value = text.encode("utf-8", "replace")
    for request in (
        request_of((b"authorization", b"AWS4-" + value), (b"x-amz-date", STAMP.encode())),
        request_of(query=f"X-Amz-Algorithm={query}&{text}"),
    ):
        with pytest.raises(ServiceError):
            verify(request)


def test_no_secret_is_repeated() -> None:
    for _, request, _, _ in REFUSALS:
        assert SECRET.reveal() not in "".join(error_of(request))
