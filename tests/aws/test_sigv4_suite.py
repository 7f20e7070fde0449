"""AWS's own test suite: every text byte for byte, every request taken, every changed one refused.

All 34 cases apply: 26 of requests in general and 8 of path normalisation, which every service but
S3 does. One file is defective: `get-vanilla-with-session-token.sreq` has a scrambled signature; the
right one is in its `.authz`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import pytest
from botocore.utils import normalize_url_path
from tests.security import SECURITY, needs_security

from stepout.aws import sigv4
from stepout.aws.sigv4 import Credentials, Identity, SignedRequest
from stepout.errors import ServiceError
from stepout.secret import Secret

pytestmark = needs_security

SUITE: Final = SECURITY / "sigv4" / "aws4_testsuite"
CASES: Final = sorted(path.with_suffix("") for path in SUITE.rglob("*.req"))
KEY, SECRET = "AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW: Final = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
SCRAMBLED: Final = "get-vanilla-with-session-token"
TOKEN: Final = b"x-amz-security-token"


@dataclass(frozen=True, slots=True)
class Case:
    """The files of a case; line ends of the text files are "\\n"."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def bytes_of(self, kind: str) -> bytes:
        return self.path.with_name(f"{self.name}.{kind}").read_bytes()

    @property
    def plain(self) -> SignedRequest:
        """What is to be signed."""
        return read(self.bytes_of("req"))

    @property
    def signed(self) -> SignedRequest:
        """What is sent, with the signature that the suite says is right."""
        found = read(self.bytes_of("sreq"))
        right = (b"authorization", self.bytes_of("authz"))
        return replace(
            found, headers=[right if name == right[0] else (name, v) for name, v in found.headers]
        )

    @property
    def token(self) -> Secret | None:
        """The session token that is sent, signed or not."""
        found = dict(self.signed.headers).get(TOKEN)
        return None if found is None else Secret(found.decode())

    @property
    def signs_token(self) -> bool:
        return TOKEN in self.bytes_of("creq")


def read(text: bytes) -> SignedRequest:
    """A request of the suite, as a server's parser would hand it on: unfolded, without blanks."""
    head, _, body = text.partition(b"\n\n")
    first, *lines = head.rstrip(b"\n").split(b"\n")
    method, target = first.removesuffix(b" HTTP/1.1").split(b" ", 1)
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line.startswith(b" "):
            name, value = headers.pop()
            headers.append((name, value + b" " + line))
        else:
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))
    path, _, query = target.partition(b"?")
    return SignedRequest(
        method.decode(), path.decode("latin-1"), query.decode("latin-1"), headers, body
    )


def verify(request: SignedRequest, token: Secret | None) -> Identity:
    known = Credentials(SECRET, token)
    return sigv4.verify(
        request,
        sigv4.parse(request),
        secret_of=lambda key: known if key == KEY else None,
        service="service",
        region="us-east-1",
        now=NOW,
    )


every_case = pytest.mark.parametrize("case", [Case(path) for path in CASES], ids=lambda c: c.name)


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 34
    assert sum(path.parent.parent.name == "normalize-path" for path in CASES) == 8


# --- Every text -----------------------------------------------------------------------------------


@every_case
def test_canonical_request_and_string_to_sign_are_the_suites(case: Case) -> None:
    claim = sigv4.parse(case.signed)
    canonical = sigv4.canonical_request(case.signed, claim)
    assert canonical == case.bytes_of("creq")
    assert sigv4.string_to_sign(claim, canonical).encode() == case.bytes_of("sts")


@every_case
def test_what_we_sign_is_the_suites_signed_request(case: Case) -> None:
    token = case.token if case.signs_token else None
    headers = sigv4.sign(
        case.plain,
        access_key_id=KEY,
        secret=SECRET,
        region="us-east-1",
        service="service",
        now=NOW,
        token=token,
    )
    authorization = dict(headers)[b"authorization"]
    assert authorization == case.bytes_of("authz")
    if case.token is not None and not case.signs_token:
        headers.append((TOKEN, case.token.reveal().encode()))
    assert sorted(headers) == sorted(case.signed.headers)


@every_case
def test_the_suites_files_agree_but_for_one(case: Case) -> None:
    shown = dict(read(case.bytes_of("sreq")).headers)[b"authorization"]
    assert (shown == case.bytes_of("authz")) == (case.name != SCRAMBLED)


@every_case
def test_the_suites_request_is_taken(case: Case) -> None:
    assert verify(case.signed, case.token) == Identity(KEY, "us-east-1")


def test_the_scrambled_signature_is_refused() -> None:
    case = Case(SUITE / SCRAMBLED / SCRAMBLED)
    with pytest.raises(ServiceError, match="^InvalidSignatureException: The request signature"):
        verify(read(case.bytes_of("sreq")), case.token)


# --- Every changed byte ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One byte of one part replaced, left out or doubled."""

    part: str
    before: bytes
    after: bytes
    request: SignedRequest


def changes(text: bytes, *, all_bytes: bool) -> Iterator[bytes]:
    """Each byte replaced, by each that differs in one bit or by all; left out; doubled."""
    others = range(1, 256) if all_bytes else [1 << bit for bit in range(8)]
    for at, byte in enumerate(text):
        for other in others:
            yield text[:at] + bytes([byte ^ other]) + text[at + 1 :]
        yield text[:at] + text[at + 1 :]
        yield text[: at + 1] + text[at:]


def changed(request: SignedRequest, *, all_bytes: bool) -> Iterator[Change]:
    """Every request that differs in one byte of anything that is signed."""

    def of(text: bytes) -> Iterator[bytes]:
        return changes(text, all_bytes=all_bytes)

    for after in of(request.method.encode()):
        new = replace(request, method=after.decode("latin-1"))
        yield Change("method", request.method.encode(), after, new)
    for after in of(request.path.encode("latin-1")):
        new = replace(request, path=after.decode("latin-1"))
        yield Change("path", request.path.encode("latin-1"), after, new)
    for after in of(request.query.encode("latin-1")):
        new = replace(request, query=after.decode("latin-1"))
        yield Change("query", request.query.encode("latin-1"), after, new)
    for after in (*of(request.body), request.body + b"x"):
        yield Change("body", request.body, after, replace(request, body=after))
    for at, (name, value) in enumerate(request.headers):
        for after in of(name):
            # A server hands names on in lower case, and each value without blanks around it.
            if after.lower() != name:
                new = with_header(request, at, after.lower(), value)
                yield Change(f"name of {name.decode()}", name, after, new)
        for after in of(value):
            new = with_header(request, at, name, after.strip(b" \t"))
            yield Change(name.decode(), value, after, new)


def with_header(request: SignedRequest, at: int, name: bytes, value: bytes) -> SignedRequest:
    headers = [*request.headers[:at], (name, value), *request.headers[at + 1 :]]
    return replace(request, headers=headers)


def is_taken(request: SignedRequest, token: Secret | None) -> bool:
    try:
        verify(request, token)
    except ServiceError:
        return False
    return True


def means_the_same(change: Change) -> bool:
    """Whether a change is one that no signature can tell, by rules that are not our verifier's.

    These are all: dot segments and slashes of a path as botocore resolves them; spellings of the
    same pairs of a query; runs of blanks in a header; and commas and blanks between the parts of
    Authorization, and slashes at the end of its credential.
    """
    before, after = change.before.decode("latin-1"), change.after.decode("latin-1")
    if change.part in ("method", "body") or change.part.startswith("name of "):
        return False
    reading = {"path": normalize_url_path, "query": pairs_of, "authorization": parts_of}
    read_it = reading.get(change.part, words_of)
    return bool(read_it(before) == read_it(after))


def pairs_of(query: str) -> list[tuple[str, str]]:
    plain = query.replace("+", "%2B")
    return sorted(parse_qsl(plain, keep_blank_values=True, encoding="latin-1"))


def words_of(value: str) -> list[str]:
    return re.split("[ \t]+", value.strip(" \t"))


def parts_of(authorization: str) -> list[str]:
    algorithm, *parts = re.split("[, ]+", authorization)
    trimmed = [part.rstrip("/") if part.startswith("Credential=") else part for part in parts]
    return [algorithm, *sorted(filter(None, trimmed))]


def check_every_change(case: Case, *, all_bytes: bool) -> None:
    count = 0
    for change in changed(case.signed, all_bytes=all_bytes):
        count += 1
        assert is_taken(change.request, case.token) == means_the_same(change), change
    assert count > 2_000


@every_case
def test_a_request_with_any_byte_changed_is_refused(case: Case) -> None:
    check_every_change(case, all_bytes=False)


def test_a_request_with_any_byte_changed_to_any_other_is_refused() -> None:
    name = "post-x-www-form-urlencoded"
    check_every_change(Case(SUITE / name / name), all_bytes=True)
