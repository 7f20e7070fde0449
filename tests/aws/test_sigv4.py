"""Signatures: what is taken, what must not get past the check, and what is given with tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

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
    authorization_of,
    changed,
    fault_of,
    presigned,
    queried,
    request_of,
    rewritten,
    signed,
    signing,
    temporary,
    verify,
)

from stepout.aws import sigv4
from stepout.aws.sigv4 import Credentials, SignedRequest
from stepout.errors import ServiceError
from stepout.secret import Secret

# --- What is taken --------------------------------------------------------------------------------


def test_what_we_sign_is_taken() -> None:
    assert verify(signed()) == WHO


def test_what_we_presign_is_taken() -> None:
    assert verify(presigned()) == WHO


def test_a_request_that_is_signed_again_has_one_signature() -> None:
    again = signed(signed(signed(token=TOKEN), NOW + 1), NOW + 2, token=TOKEN)
    names = [name for name, _ in again.headers]
    assert len(names) == len(set(names))
    assert verify(again, secret_of=temporary) == WHO


def test_what_proxies_change_is_not_signed() -> None:
    request = signed(request_of((b"user-agent", b"a"), (b"x-amzn-trace-id", b"Root=1-2-3")))
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target," in authorization_of(request)
    assert verify(changed(request, user_agent=b"b", x_amzn_trace_id=b"Self=4;Root=1-2-3")) == WHO


def test_headers_may_be_added_that_mean_nothing_to_aws() -> None:
    request = added(signed(), b"amz-sdk-request", b"attempt=2; max=3")
    assert verify(added(request, b"x-amzn-trace-id", b"Root=1-2-3")) == WHO


def test_parts_of_authorization_come_in_any_order_with_any_blanks() -> None:
    parts = [part.rstrip(",") for part in authorization_of(signed()).split(" ")]
    text = "{0}  {3} ,{1},   {2},".format(*parts)
    assert verify(changed(signed(), authorization=text.encode())) == WHO


def test_slashes_after_the_credential_are_ignored() -> None:
    assert verify(rewritten(signed(), "aws4_request", "aws4_request//")) == WHO


@pytest.mark.parametrize(
    "date",
    [
        STAMP,
        "Sat, 23 May 2026 07:31:28 GMT",
        "Sat, 23 May 2026 07:31:28 -0000",
        "Sat, 23 May 2026 09:31:28 +0200",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="The zone of a process cannot be set.")
def test_a_date_header_serves_as_well(
    date: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = signing(request_of((b"date", date.encode())), "content-type;date;host;x-amz-target")
    sigv4.claim._moment.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        try:
            assert verify(request) == WHO
        finally:
            patch.undo()
            time.tzset()


def test_x_amz_date_comes_before_date() -> None:
    assert verify(signed(request_of((b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")))) == WHO


def test_a_repeated_header_is_verified_with_all_its_values() -> None:
    request = signed(request_of((b"x-amz-meta", b"a,b")))
    bare = changed(request, x_amz_meta=None)
    both = added(added(bare, b"x-amz-meta", b"a "), b"x-amz-meta", b" b")
    assert verify(both) == WHO
    assert fault_of(added(added(bare, b"x-amz-meta", b"b"), b"x-amz-meta", b"a")) == MISMATCH
    assert fault_of(added(both, b"x-amz-meta", b"b")) == MISMATCH


def test_a_repeated_header_is_signed_with_all_its_values() -> None:
    request = request_of((b"x-amz-meta", b"a"), (b"x-amz-meta", b"b"))
    assert verify(signed(request)) == WHO


@pytest.mark.parametrize("value", [b"a b", b"a  b", b" a b", b"a b\t", b"a \t\t b"])
def test_blanks_in_a_header_are_one_space(value: bytes) -> None:
    request = signed(request_of((b"x-amz-meta", b"a b")))
    assert verify(changed(request, x_amz_meta=value)) == WHO


@pytest.mark.parametrize(
    "value", [b"ab", b"a\xa0b", b"a\x0bb", b"a\xc2\xa0b", b"a\nb", b"a\0b", b"a b\xa0", b"\x0ba b"]
)
def test_no_other_character_is_a_blank(value: bytes) -> None:
    request = signed(request_of((b"x-amz-meta", b"a b")))
    assert fault_of(changed(request, x_amz_meta=value)) == MISMATCH


# --- Path and query -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("/", "//"),
        ("/", "/a/.."),
        ("/", "/../.."),
        ("/a/b", "//a/./c/..//b"),
        ("/a/", "/a//"),
        ("/a", "/a/b/.."),
    ],
)
def test_paths_of_one_meaning_have_one_signature(path: str, same: str) -> None:
    assert verify(replace(signed(request_of(path=path)), path=same)) == WHO


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/a", "/a/"),
        ("/a", "a"),
        ("/a", "/A"),
        ("/a", "/a\0"),
        ("/a", "/a\0/b"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/%2e%2e/a", "/a"),
        ("/a%20b", "/a b"),
        ("/\xe9", "/\xc3\xa9"),
        ("/a", "/a;b"),
        ("/a", "/a%00"),
    ],
)
def test_paths_of_two_spellings_have_two_signatures(path: str, other: str) -> None:
    assert verify(signed(request_of(path=path))) == WHO
    assert fault_of(replace(signed(request_of(path=path)), path=other)) == MISMATCH


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ("a=b&c=d", "c=d&a=b"),
        ("a=2&a=1", "a=1&a=2"),
        ("a", "a="),
        ("a=%e9", "a=%E9"),
        ("a=b", "%61=%62"),
        ("a=b c", "a=b%20c"),
        ("a=b+c", "a=b%2Bc"),
        ("a=b=c", "a=b%3Dc"),
        ("a=b&c=d", "&a=b&&c=d&"),
    ],
)
def test_queries_of_one_meaning_have_one_signature(query: str, same: str) -> None:
    assert verify(replace(signed(request_of(query=query)), query=same)) == WHO


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ("a=b", ""),
        ("a=b", "a=b&a=b"),
        ("a=b", "A=b"),
        ("a=", "=a"),
        ("a=", "a=="),
        ("a=b+c", "a=b%20c"),
        ("a=b%26c=d", "a=b&c=d"),
        ("a=%FE", "a=%FF"),
        ("a=\xfe", "a=\xff"),
        ("a=%", "a=%00"),
        ("a=b", "a=b%00"),
        ("a=b", "a=b&X-Amz-Signature=1"),
        ("a-=b&a=c", "a=c-=b&a"),
    ],
)
def test_queries_of_two_meanings_have_two_signatures(query: str, other: str) -> None:
    assert verify(signed(request_of(query=query))) == WHO
    assert fault_of(replace(signed(request_of(query=query)), query=other)) == MISMATCH


# --- Clock and scope ------------------------------------------------------------------------------


def test_clocks_may_differ_as_far_as_the_setting_says() -> None:
    for skew in (30, 300, 900):
        for off in (-skew, skew, skew + 0.9):
            assert verify(signed(), NOW + off, skew=skew) == WHO
        for off in (-skew - 1, skew + 1):
            assert fault_of(signed(), now=NOW + off, skew=skew)[0] == INVALID
    assert "(20260523T073128Z - 0.5 min.)" in fault_of(signed(now=NOW - 31), skew=30)[1]


@pytest.mark.parametrize(
    "date",
    [
        b"x", b"20260523", b"20260523T073128", b"2026-05-23T07:31:28Z", b"20261323T073128Z",
        b"20260523T073160Z", b"00000523T073128Z", b"20260523t073128z", b"20260523T073128Z,",
        "٢٠٢٦٠٥٢٣T073128Z".encode(), b"Sat, 99 May 2026 07:31:28 GMT", b"1" * 5_000,
        b"Sat, 23 May 99999 07:31:28 GMT", b"23 May 2026 07:31:28 +99999999", b"\xff", b"(" * 30,
    ],
)  # fmt: skip
def test_a_date_that_is_none_is_refused(date: bytes) -> None:
    code, message = fault_of(changed(signed(), x_amz_date=date))
    assert code == INCOMPLETE
    assert message.startswith("Date must be in ISO-8601 'basic format'. Got '")


def test_a_scope_is_held_against_the_region_that_is_asked_for() -> None:
    assert verify(signed(), region="us-east-1").region == "us-east-1"
    assert fault_of(signed(), region="eu-west-1") == (
        INVALID,
        "Credential should be scoped to a valid region, not 'us-east-1'. ",
    )


def test_a_claim_names_its_caller_before_it_is_verified() -> None:
    claim = sigv4.parse(signed(secret=Secret("another")))
    assert claim.access_key_id == KEY
    assert claim.identity("states") == WHO
    with pytest.raises(ServiceError, match="scoped to correct service: 'events'"):
        claim.identity("events")


# --- Presigned requests ---------------------------------------------------------------------------


def test_a_presigned_request_is_good_until_it_expires() -> None:
    assert verify(presigned(), NOW + 600) == WHO
    assert fault_of(presigned(), now=NOW + 601) == (
        INVALID,
        "Signature expired: 20260523T073128Z is now earlier than 20260523T073129Z (20260523T074129Z - 10 min.)",
    )
    assert "not yet current" in fault_of(presigned(), now=NOW - 301)[1]
    assert verify(presigned(expires=604_800), NOW + 604_800) == WHO


@pytest.mark.parametrize(
    "expires", ["0", "-1", "604801", "x", "1.5", "+1", "0600", "9" * 400, "000000600" + "0" * 400, "%D9%A3"]
)  # fmt: skip
def test_a_presigned_lifetime_has_limits(expires: str) -> None:
    code, message = fault_of(queried(presigned(), "X-Amz-Expires", expires))
    assert code == INCOMPLETE
    assert message.startswith("X-Amz-Expires must be a number of seconds from 1 to 604800. Got '")


@pytest.mark.parametrize("expires", [0, -1, 604_801])
def test_no_request_is_presigned_for_longer_than_aws_takes(expires: int) -> None:
    with pytest.raises(ValueError, match=f"Expected from 1 to 604800 seconds, found {expires}"):
        presigned(expires=expires)


@pytest.mark.parametrize(
    "name",
    [
        "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
        "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Anything",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_parameter_of_aws_comes_once(name: str, place: str) -> None:
    request = presigned(request_of(query="X-Amz-Anything=1"), token=TOKEN)
    assert verify(request, secret_of=temporary) == WHO
    value = dict(pair.split("=") for pair in request.query.split("&"))[name]
    for spelled in (name, name.replace("-", "%2D")):
        again = f"{spelled}={value}"
        query = f"{again}&{request.query}" if place == "before" else f"{request.query}&{again}"
        assert fault_of(replace(request, query=query), secret_of=temporary) == (
            INCOMPLETE,
            "AWS query-string parameters must include each parameter once. Re-examine the query-string parameters.",
        )


def test_nothing_of_a_presigned_request_can_be_changed() -> None:
    request = presigned(request_of(query="a=b"))
    for wrong in (
        replace(request, method="GET"),
        replace(request, path="/x"),
        replace(request, body=b"[]"),
        queried(request, "a", "c"),
        queried(request, "X-Amz-Date", "20260523T073129Z"),
        queried(request, "X-Amz-Expires", "601"),
        queried(request, "X-Amz-Signature", "0" * 64),
        replace(request, query=request.query + "&x=y"),
        changed(request, host=b"evil.test"),
        changed(request, x_amz_target=b"AWSStepFunctions.DeleteStateMachine"),
        changed(request, content_type=None),
    ):
        assert fault_of(wrong) == MISMATCH


# --- Headers that are signed ----------------------------------------------------------------------

NAMES = "content-type;host;x-amz-date;x-amz-target"


def test_our_own_signature_over_these_names_is_taken() -> None:
    assert verify(signing(changed(request_of(), x_amz_date=STAMP.encode()), NAMES)) == WHO


@pytest.mark.parametrize(
    "names",
    [
        "host;content-type;x-amz-date;x-amz-target",
        f"{NAMES};x-amz-target",
        f"{NAMES};",
    ],
)
def test_names_that_no_signer_writes_are_refused_with_a_right_signature(names: str) -> None:
    request = changed(request_of((b"", b"")), x_amz_date=STAMP.encode())
    assert fault_of(signing(request, names)) == MISMATCH


@pytest.mark.parametrize("names", ["x;host", ";;host", "host;;", "h\xe9;host", "host;" * 800])
def test_names_of_no_header_are_refused(names: str) -> None:
    names = f"{names};x-amz-date;x-amz-target"
    assert (
        fault_of(rewritten(signed(), "SignedHeaders=[^,]*", f"SignedHeaders={names}")) == MISMATCH
    )


def test_names_are_in_lower_case() -> None:
    request = rewritten(signed(), "host;", "Host;")
    assert fault_of(request) == MISMATCH
    assert fault_of(rewritten(signed(), "x-amz-target,", "X-Amz-Target,")) == (
        INVALID,
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    )


def test_a_signed_header_that_is_absent_is_not_an_empty_one() -> None:
    request = signed(request_of((b"x-amz-meta", b"")))
    assert verify(request) == WHO
    assert fault_of(changed(request, x_amz_meta=None)) == MISMATCH
    assert fault_of(changed(signed(), host=None)) == MISMATCH


@pytest.mark.parametrize("twice", [b"host", b"x-amz-target", b"content-type"])
def test_a_second_value_of_what_is_signed_is_no_way_around(twice: bytes) -> None:
    value = dict(signed().headers)[twice]
    assert fault_of(added(signed(), twice, value)) == MISMATCH
    assert fault_of(replace(signed(), headers=[(twice, value), *signed().headers])) == MISMATCH


def test_a_second_date_is_no_date() -> None:
    assert fault_of(added(signed(), b"x-amz-date", STAMP.encode())) == (
        INCOMPLETE,
        f"Date must be in ISO-8601 'basic format'. Got '{STAMP},{STAMP}'. See http://en.wikipedia.org/wiki/ISO_8601",
    )


@pytest.mark.parametrize(
    "request_",
    [
        request_of((b"x-amz-meta", b"a\nx-amz-other:b")),
        request_of((b"x-amz-meta", b"a\rb")),
        request_of((b"x-amz-meta", b"a\0b")),
        request_of((b"x-amz-meta", b"a\x7f")),
        replace(request_of(), method="POST\n/x"),
        replace(request_of(), method="POST\0"),
    ],
    ids=repr,
)
def test_control_characters_are_refused_with_a_right_signature(request_: SignedRequest) -> None:
    assert fault_of(signed(request_)) == MISMATCH


@pytest.mark.parametrize("value", [b"\xe9", b"\xc3\xa9", b"\x80", b"\xff\xfe"])
def test_bytes_beyond_ascii_are_signed_as_they_are(value: bytes) -> None:
    request = signed(request_of((b"x-amz-meta", value)))
    assert verify(request) == WHO
    assert fault_of(changed(request, x_amz_meta=value[:-1] + b"\xa1")) == MISMATCH


@pytest.mark.parametrize("wrong", ["", "0", "0" * 63, "0" * 64, "0" * 65, "\xe9" * 64, "g" * 64])
def test_a_signature_that_is_none_is_refused(wrong: str) -> None:
    expected = MISMATCH if wrong else (INCOMPLETE, "")
    code, message = fault_of(rewritten(signed(), "Signature=.*", f"Signature={wrong}"))
    assert (code, message if wrong else "") == expected


def test_a_signature_in_capitals_is_refused() -> None:
    text = authorization_of(signed())
    head, _, right = text.rpartition("=")
    upper = changed(signed(), authorization=f"{head}={right.upper()}".encode())
    assert fault_of(upper) == MISMATCH


# --- Payload --------------------------------------------------------------------------------------

EMPTY = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def with_payload(value: bytes, body: bytes = b"") -> SignedRequest:
    return signed(request_of((b"x-amz-content-sha256", value), body=body))


def test_a_header_with_the_hash_of_the_body_is_taken() -> None:
    assert verify(with_payload(EMPTY)) == WHO


@pytest.mark.parametrize(
    "value",
    [
        b"", b"0", EMPTY.upper(), EMPTY + b"0", b"UNSIGNED-PAYLOAD", b"unsigned-payload",
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ],
)  # fmt: skip
def test_a_header_that_is_not_the_hash_of_the_body_is_refused(value: bytes) -> None:
    assert fault_of(with_payload(value)) == NOT_COMPUTED


def test_a_changed_body_is_refused_although_its_hash_is_signed() -> None:
    assert fault_of(replace(with_payload(EMPTY), body=b"x")) == NOT_COMPUTED


def test_a_second_hash_is_refused() -> None:
    assert fault_of(added(with_payload(EMPTY), b"x-amz-content-sha256", EMPTY)) == MISMATCH


def test_an_unsigned_payload_is_taken_where_it_is_allowed_and_signed() -> None:
    request = with_payload(b"UNSIGNED-PAYLOAD", b"any")
    assert verify(request, allows_unsigned_payload=True) == WHO
    assert verify(replace(request, body=b"other"), allows_unsigned_payload=True) == WHO
    added_later = added(signed(), b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")
    assert fault_of(added_later, allows_unsigned_payload=True) == (
        INVALID,
        "'x-amz-content-sha256' must be a 'SignedHeader' in the AWS Authorization.",
    )
    for value in (b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"0" * 64):
        assert fault_of(with_payload(value), allows_unsigned_payload=True) == NOT_COMPUTED
    assert fault_of(replace(signed(), body=b"x"), allows_unsigned_payload=True) == MISMATCH


# --- Session tokens -------------------------------------------------------------------------------

ways = pytest.mark.parametrize("make", [signed, presigned])
Make = Callable[..., SignedRequest]


@ways
def test_temporary_credentials_come_with_their_token(make: Make) -> None:
    assert verify(make(token=TOKEN), secret_of=temporary) == WHO
    assert fault_of(make(), secret_of=temporary) == UNKNOWN
    assert fault_of(make(token=Secret("other")), secret_of=temporary) == UNKNOWN
    assert fault_of(make(token=Secret("\xe9")), secret_of=temporary) == UNKNOWN


@ways
def test_temporary_credentials_expire(make: Make) -> None:
    assert verify(make(token=TOKEN), NOW + 59.9, secret_of=temporary) == WHO
    assert fault_of(make(token=TOKEN), now=NOW + 60, secret_of=temporary) == (
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )
    assert fault_of(make(token=Secret("x")), now=NOW + 60, secret_of=temporary) == UNKNOWN


def test_a_token_may_be_added_after_signing_and_is_compared_all_the_same() -> None:
    for request in (signed(), presigned()):
        token = TOKEN.reveal().encode()
        assert verify(added(request, b"x-amz-security-token", token), secret_of=temporary) == WHO
        wrong = added(request, b"x-amz-security-token", token + b"x")
        assert fault_of(wrong, secret_of=temporary) == UNKNOWN
        twice = added(
            added(request, b"x-amz-security-token", token), b"x-amz-security-token", token
        )
        assert fault_of(twice, secret_of=temporary) == UNKNOWN


def test_a_token_cannot_be_added_to_a_presigned_query() -> None:
    request = presigned()
    query = f"{request.query}&X-Amz-Security-Token={quote(TOKEN.reveal(), safe='')}"
    assert fault_of(replace(request, query=query), secret_of=temporary) == MISMATCH


def test_credentials_without_a_token_are_permanent() -> None:
    assert verify(signed(), secret_of=lambda _: Credentials(SECRET)) == WHO
    assert fault_of(signed(token=TOKEN), secret_of=lambda _: Credentials(SECRET)) == UNKNOWN
    assert fault_of(signed(token=Secret("")), secret_of=lambda _: Credentials(SECRET)) == UNKNOWN


def test_neither_secret_nor_token_is_shown() -> None:
    assert (
        repr(Credentials(SECRET, TOKEN))
        == "Credentials(secret=Secret(…), token=Secret(…), expires=None)"
    )


# --- Bounds ---------------------------------------------------------------------------------------


def never(_: str) -> Secret:
    raise AssertionError("The request should have been refused before a key is looked for.")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (request_of(path="/" * 32_769), "Path and query must not be longer than 32768 bytes."),
        (request_of(query="&" * 32_768), "Path and query must not be longer than 32768 bytes."),
        (
            rewritten(signed(), "$", "0" * 8_192),
            "Authorization header must not be longer than 8192 bytes.",
        ),
    ],
    ids=["path", "query", "authorization"],
)
def test_what_is_too_long_is_refused_before_anything_else(
    request_: SignedRequest, message: str
) -> None:
    assert fault_of(request_, secret_of=never) == (INCOMPLETE, message)


def test_headers_that_are_too_long_are_not_hashed() -> None:
    request = signed(request_of((b"x-amz-meta", b"x" * 140_000)))
    assert fault_of(request) == (
        INCOMPLETE,
        "Canonical request must not be longer than 131072 bytes.",
    )


def test_a_date_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(date: str) -> datetime:
        raise AssertionError(date)

    monkeypatch.setattr(sigv4.claim, "parsedate_to_datetime", parsed)
    assert fault_of(changed(signed(), x_amz_date=b"1" * 41))[0] == INCOMPLETE
    with pytest.raises(AssertionError, match="1111"):
        verify(changed(signed(), x_amz_date=b"1" * 40))


def test_nothing_is_hashed_for_a_key_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def hashed(*_: object) -> None:
        raise AssertionError("hashed")

    request = rewritten(signed(), KEY, "AKIDUNKNOWN")
    monkeypatch.setattr(sigv4.canonical, "sha256", hashed)
    assert fault_of(request) == UNKNOWN
    with pytest.raises(AssertionError, match="hashed"):
        verify(signed())
