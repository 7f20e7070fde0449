"""Signer and verifier agree with botocore on every request, and no other request gets through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.utils import normalize_url_path
from hypothesis import assume, given
from hypothesis import strategies as st

from stepout.aws import sigv4
from stepout.aws.sigv4 import Credentials, Identity, SignedRequest
from stepout.errors import ServiceError
from stepout.secret import Secret

KEY, SECRET = "AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
HOST = "sync-states.us-east-1.amazonaws.com"
NOW = datetime(2026, 5, 23, 7, 31, 28, tzinfo=UTC)

METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
PATHS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=30
).map(lambda text: f"/{text}") | st.lists(
    st.sampled_from(["", ".", "..", "a", "b%20", "%2e%2E", "~"]), max_size=6
).map(lambda segments: f"/{'/'.join(segments)}")
QUERIES = st.lists(
    st.tuples(st.text(max_size=6), st.text(max_size=6)).filter(
        lambda pair: not pair[0].startswith("X-Amz-")
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in pairs))
# botocore takes U+0085 and U+00A0 for blanks as well, which in HTTP they are not.
VALUES = st.text(
    st.characters(max_codepoint=255, exclude_categories=["Cc"], exclude_characters="\xa0")
    | st.sampled_from(" \t"),
    max_size=20,
).map(lambda text: text.strip(" \t").encode("latin-1"))
NAMES = st.sampled_from(
    [b"content-type", b"x-amz-target", b"x-amz-meta", b"x-amz-meta-2", b"a", b"user-agent", b"b_c"]
)
PARTS_OF_A_REQUEST = ["method", "path", "query", "headers", "body"]
TOKENS = st.none() | st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40
).map(Secret)


@st.composite
def requests(draw: st.DrawFn) -> SignedRequest:
    return SignedRequest(
        draw(METHODS),
        draw(PATHS),
        draw(QUERIES),
        [(b"host", HOST.encode()), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))],
        draw(st.binary(max_size=100)),
    )


def signed(request: SignedRequest, token: Secret | None) -> SignedRequest:
    return replace(request, headers=sigv4.sign(request, **ours(token)))


def presigned(request: SignedRequest, token: Secret | None, expires: int) -> SignedRequest:
    return replace(request, query=sigv4.presign(request, **ours(token), expires=expires))


def ours(token: Secret | None) -> Any:
    return {
        "access_key_id": KEY,
        "secret": SECRET,
        "region": "us-east-1",
        "service": "states",
        "now": NOW.timestamp(),
        "token": token,
    }


def by_botocore(request: SignedRequest, auth: Any, data: bytes) -> AWSRequest:
    """The request as botocore signs it."""
    query = f"?{request.query}" if request.query else ""
    found = AWSRequest(request.method, f"https://{HOST}{request.path}{query}", data=data)
    for name, value in request.headers:
        found.headers[name.decode()] = value.decode("latin-1")
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        auth.add_auth(found)
    return found


def credentials(token: Secret | None) -> BotocoreCredentials:
    return BotocoreCredentials(KEY, SECRET.reveal(), token.reveal() if token else None)


def verify(request: SignedRequest, token: Secret | None) -> Identity:
    return sigv4.verify(
        request,
        sigv4.parse(request),
        secret_of=lambda key: Credentials(SECRET, token) if key == KEY else None,
        service="states",
        now=NOW.timestamp(),
    )


def is_taken(request: SignedRequest, token: Secret | None) -> bool:
    try:
        return verify(request, token) == Identity(KEY, "us-east-1")
    except ServiceError:
        return False


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Sorted by name; values of one name stay in their order."""
    return sorted(headers, key=lambda pair: pair[0])


# --- botocore -------------------------------------------------------------------------------------


@given(requests(), TOKENS)
def test_we_sign_as_botocore_does_and_take_what_it_signs(
    request: SignedRequest, token: Secret | None
) -> None:
    auth = SigV4Auth(credentials(token), "states", "us-east-1")
    found = by_botocore(request, auth, request.body).headers.items()
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in found]
    assert by_name(signed(request, token).headers) == by_name(headers)
    assert is_taken(replace(request, headers=headers), token)


@given(requests(), TOKENS, st.integers(1, 604_800))
def test_we_presign_as_botocore_does_and_take_what_it_presigns(
    request: SignedRequest, token: Secret | None, expires: int
) -> None:
    # botocore writes the query anew: the last of repeated pairs, blanks as plus signs.
    names = [name for name, _ in parse_qsl(request.query, keep_blank_values=True)]
    assume(len(names) == len(set(names)) and "%20" not in request.query)
    request = replace(request, body=b"")
    auth = SigV4QueryAuth(credentials(token), "states", "us-east-1", expires=expires)
    _, _, query = str(by_botocore(request, auth, b"").url).partition("?")
    assert presigned(request, token, expires).query == query
    assert is_taken(replace(request, query=query), token)


# --- Anything else --------------------------------------------------------------------------------


def meaning_of(request: SignedRequest, names: frozenset[bytes]) -> tuple[object, ...]:
    """What a signature over the headers `names` is good for, by rules that are not our verifier's.

    What AWS calls its own must be signed, so it is in the meaning, whether it is named or not.
    """
    headers: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        if name in names or name.startswith(b"x-amz-"):
            words = value.replace(b"\t", b" ").split(b" ")
            headers.setdefault(name, []).append(b" ".join(filter(None, words)))
    query = request.query.replace("+", "%2B")
    pairs = sorted(parse_qsl(query, keep_blank_values=True, encoding="latin-1"))
    return (request.method, normalize_url_path(request.path), pairs, headers, request.body)


@given(requests(), requests(), TOKENS, st.booleans(), st.sampled_from(PARTS_OF_A_REQUEST))
def test_a_signature_is_good_for_one_meaning_alone(
    request: SignedRequest, other: SignedRequest, token: Secret | None, in_query: bool, part: str
) -> None:
    """One part of a signed request is replaced by that of another request."""
    ready = presigned(request, token, 60) if in_query else signed(request, token)
    assert is_taken(ready, token)
    new = getattr(other, part)
    if part == "headers":
        new = [*new, *ready.headers[len(request.headers) :]]
    if part == "query":
        new += ready.query[len(request.query) :]
    wrong = replace(ready, **{part: new})
    names = frozenset(name for name, _ in ready.headers) - {b"user-agent"}
    assert is_taken(wrong, token) == (meaning_of(wrong, names) == meaning_of(ready, names))


@given(requests(), TOKENS, st.booleans(), st.data())
def test_a_signed_request_with_a_byte_of_its_proof_changed_is_refused(
    request: SignedRequest, token: Secret | None, in_query: bool, data: st.DataObject
) -> None:
    ready = presigned(request, token, 60) if in_query else signed(request, token)
    proof = ready.query if in_query else dict(ready.headers)[b"authorization"].decode()
    start = proof.index("Signature=") + len("Signature=")
    at = data.draw(st.integers(start, len(proof) - 1))
    new = data.draw(st.characters(max_codepoint=255).filter(lambda c: c != proof[at]))
    changed = proof[:at] + new + proof[at + 1 :]
    headers = [
        (name, changed.encode("latin-1") if name == b"authorization" else value)
        for name, value in ready.headers
    ]
    wrong = replace(ready, query=changed) if in_query else replace(ready, headers=headers)
    assert not is_taken(wrong, token)


# --- Garbage --------------------------------------------------------------------------------------

PARTS = st.lists(
    st.sampled_from(
        [
            *("AWS4-HMAC-SHA256", "AWS4-", " ", ",", ", ", "=", ";", "/", "\t", "\0", "\xff", "+", "%"),
            *("Credential", "SignedHeaders", "Signature", "host", "x-amz-date", "X-Amz-Algorithm"),
            *("Credential=", "SignedHeaders=", "Signature=", "Credential=a/20260523/us-east-1/states"),
            *("/aws4_request", "&X-Amz-Date=20260523T073128Z", "&X-Amz-Expires=60", "&", "%00", "%FF"),
            *("X-Amz-Algorithm=AWS4-HMAC-SHA256", "&X-Amz-Credential=a", "&X-Amz-Signature=b"),
            *("&X-Amz-SignedHeaders=host", "AKIDEXAMPLE/20260523/us-east-1/states/aws4_request"),
        ]
    ),
    max_size=12,
).map("".join)  # fmt: skip
BYTES = st.text(st.characters(max_codepoint=255), max_size=60)
DATES = st.sampled_from(["20260523T073128Z", "Sat, 23 May 2026 07:31:28 GMT"]) | BYTES
GARBAGE = PARTS | BYTES


@given(
    authorization=st.none() | GARBAGE | GARBAGE.map(lambda text: f"AWS4-{text}"),
    query=GARBAGE | GARBAGE.map(lambda text: f"X-Amz-Algorithm={text}"),
    path=BYTES,
    method=BYTES,
    headers=st.lists(st.tuples(st.sampled_from([b"host", b"date", b"x-amz-date"]), BYTES)),
    date=st.none() | DATES,
)
def test_garbage_is_refused_in_aws_words(
    authorization: str | None,
    query: str,
    path: str,
    method: str,
    headers: list[tuple[bytes, str]],
    date: str | None,
) -> None:
    given_headers = [(name, value.encode("latin-1")) for name, value in headers]
    if authorization is not None:
        given_headers.append((b"authorization", authorization.encode("latin-1")))
    if date is not None:
        given_headers.append((b"x-amz-date", date.encode("latin-1")))
    with pytest.raises(ServiceError) as caught:
        verify(SignedRequest(method, path, query, given_headers, b""), None)
    assert caught.value.message.encode()


@given(credential=GARBAGE, names=GARBAGE, signature=GARBAGE, date=DATES, expires=GARBAGE)
def test_a_whole_query_of_garbage_is_refused_in_aws_words(
    credential: str, names: str, signature: str, date: str, expires: str
) -> None:
    texts = {
        "Credential": credential,
        "SignedHeaders": names,
        "Signature": signature,
        "Date": date,
        "Expires": expires,
    }
    query = "".join(
        f"&X-Amz-{name}={quote(text.encode('latin-1'), safe='')}" for name, text in texts.items()
    )
    request = SignedRequest(
        "GET", "/", f"X-Amz-Algorithm=AWS4-HMAC-SHA256{query}", [(b"host", b"x")], b""
    )
    with pytest.raises(ServiceError):
        verify(request, None)
