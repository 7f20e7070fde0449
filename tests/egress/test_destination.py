"""A URL has one host, the one that is judged, dialled and named, or it is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security import SECURITY, needs_security
from yarl import URL

from stepout.egress.destination import Destination, host, parse
from stepout.egress.message import Request
from stepout.egress.policy import Policy
from stepout.errors import EgressRefused

URLS = SECURITY / "url" / "urltestdata.json"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://api.example.com", "https://api.example.com/"),
        ("HTTPS://API.Example.COM/V1?a=B#c", "https://api.example.com/V1?a=B"),
        ("https://api.example.com.:443/x", "https://api.example.com/x"),
        ("https://api.example.com:8443?q", "https://api.example.com:8443/?q"),
        ("https://api.example.com/a b/é?x={y}", "https://api.example.com/a%20b/%C3%A9?x=%7By%7D"),
        ("https://api.example.com/a%2Fb/../c", "https://api.example.com/a%2Fb/../c"),
        ("https://api.example.com/a\r\nHost: x", "https://api.example.com/a%0D%0AHost:%20x"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://日本語.jp/", "https://xn--wgv71a119e.jp/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700:0::1]:8443/", "https://[2606:4700::1]:8443/"),
        ("https://my_host.example/", "https://my_host.example/"),
        ("https://XN--STRAE-OQA.example/", "https://xn--strae-oqa.example/"),
        ("https://api。example．com/", "https://api.example.com/"),
        ("https://ＡＰＩ.example.com/", "https://api.example.com/"),
        ("https://api.exam\u200bple.com/", "https://api.example.com/"),
        ("https://api.example.com:/", "https://api.example.com/"),
    ],
)
def test_a_url_is_made_canonical(url: str, canonical: str) -> None:
    assert parse(url).url == canonical


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.com/", "scheme: "),
        ("ftp://api.example.com/", "scheme: "),
        ("api.example.com", "scheme: "),
        (" https://api.example.com/", "scheme: "),
        ("https:/api.example.com/", "scheme: "),
        ("https:\\\\api.example.com", "scheme: "),
        ("https://", "host-invalid: "),
        ("https://?a", "host-invalid: "),
        ("https://user:pw@api.example.com/", "credentials: "),
        ("https://api.example.com@evil.test/", "credentials: "),
        ("https://api.example.com\\@evil.test/", "credentials: "),
        ("https://api.example.com\\.evil.test/", "host-invalid: "),
        ("https://api%2eexample.com/", "host-invalid: "),
        ("https://api..example.com/", "host-invalid: "),
        ("https://-api.example.com/", "host-invalid: "),
        ("https://api example.com/", "host-invalid: "),
        ("https://api.example.com\t/", "host-invalid: "),
        (f"https://{'a' * 64}.example/", "host-invalid: "),
        (f"https://{'a.' * 130}example/", "host-invalid: "),
        ("https://2130706433/", "host-invalid: "),
        ("https://0x7f000001/", "host-invalid: "),
        ("https://017700000001/", "host-invalid: "),
        ("https://127.1/", "host-invalid: "),
        ("https://0177.0.0.1/", "host-invalid: "),
        ("https://127.0.0.0x1/", "host-invalid: "),
        ("https://１２７．１/", "host-invalid: "),
        ("https://[::1/", "host-invalid: "),
        ("https://[fe80::1%25eth0]/", "host-invalid: "),
        ("https://[::ffff:127.1]/", "host-invalid: "),
        ("https://xn--a/", "host-invalid: "),
        ("https://xn--0ca24w/", "host-invalid: "),
        ("https://0à.א/", "host-invalid: "),
        ("https://api.example.com\x00/", "host-invalid: "),
        ("https://api.exa\nmple.com/", "host-invalid: "),
        ("https://127.0.0.1.\u3002/", "host-invalid: "),
        ("https://[1.2.3.4]/", "host-invalid: "),
        ("https://api.example.com:0/", "port-invalid: "),
        ("https://api.example.com:65536/", "port-invalid: "),
        (f"https://api.example.com:{'9' * 5000}/", "port-invalid: "),
        ("https://api.example.com:٣/", "host-invalid: "),
        ("https://api.example.com:-1/", "host-invalid: "),
        (f"https://api.example.com/{'a' * 70_000}", "url-too-long: "),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        parse(url)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/",
        "https://[::]/",
    ],
)
def test_an_address_in_the_url_is_judged_at_once(url: str) -> None:
    decision = Policy().judge(Request("GET", url)).decision
    assert not decision.allowed
    assert decision.reason.startswith(("address-", "metadata"))


def standard_cases() -> list[dict[str, Any]]:
    return [case for case in json.loads(URLS.read_text("utf-8")) if isinstance(case, dict)]


def as_https(url: str) -> str | None:
    """An `http:` URL of the suite with our scheme: the standard reads both alike."""
    return f"https{url[4:]}" if url[:5].lower() == "http:" else None


def verdict(url: str) -> str | Destination:
    """The destination, or the first word of the refusal."""
    try:
        return parse(url)
    except EgressRefused as error:
        return error.reason.partition(":")[0]


@needs_security
def test_what_the_url_standard_fails_is_refused() -> None:
    failing = [case["input"] for case in standard_cases() if case.get("failure")]
    assert len(failing) == 273
    urls = [*failing, *filter(None, map(as_https, failing))]
    assert not [url for url in urls if not isinstance(verdict(url), str)]


@needs_security
@pytest.mark.parametrize(
    ("scheme", "found"),
    [
        ("https:", {"same": 14, "credentials": 5, "scheme": 5, "host-invalid": 3}),
        (
            "http:",
            {"same": 87, "host-invalid": 21, "scheme": 19, "credentials": 16, "port-invalid": 3},
        ),
    ],
)
def test_what_is_let_through_has_the_standards_host(scheme: str, found: dict[str, int]) -> None:
    """The suite's https URLs, and its http URLs with our scheme. More is refused than by the
    standard: credentials, backslashes and blanks for slashes, numbers and percent signs for hosts,
    port 0; each is counted, so that none comes or goes unseen."""
    counts: Counter[str] = Counter()
    for case in standard_cases():
        url = case["input"] if scheme == "https:" else as_https(case["input"])
        if case.get("failure") or case["protocol"] != scheme or url is None:
            continue
        destination = verdict(url)
        if isinstance(destination, str):
            counts[destination] += 1
            continue
        counts["same"] += 1
        assert destination.host == case["hostname"].strip("[]").removesuffix("."), url
        if scheme == "https:":
            assert str(destination.port) == (case["port"] or "443"), url
    assert counts == found


def unescaped(text: str) -> str:
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda match: chr(int(match[1], 16)), text)
    return "" if text == '""' else text


def idna_cases() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Source, its ASCII form without transitional processing, and the codes of its errors."""
    for line in (SECURITY / "url" / "IdnaTestV2.txt").read_text("utf-8").splitlines():
        columns = [column.strip() for column in line.partition("#")[0].split(";")]
        if len(columns) > 4:
            source, unicode, unicode_errors, ascii_, ascii_errors = columns[:5]
            expected = unescaped(ascii_ or unicode or source)
            errors = frozenset(re.findall(r"[A-Z]\w*", ascii_errors or unicode_errors))
            yield unescaped(source), expected, errors


@needs_security
def test_unicodes_idna_errors_are_refusals() -> None:
    """But for the dot of the root (A4_2) and a hyphen in the third and fourth place (V2), which
    the URL standard lets through, too. What IDNA 2008 does not know is refused as well: symbols."""
    counts: Counter[str] = Counter()
    for source, expected, errors in idna_cases():
        try:
            found = host(source)[0]
        except EgressRefused:
            counts["refused, an error" if errors else "refused, a symbol"] += 1
            continue
        assert found == expected.removesuffix("."), ascii(source)
        counts["+".join(errors) or "same"] += 1
    assert counts == {
        "refused, an error": 5_797,
        "refused, a symbol": 163,
        "same": 386,
        "A4_2": 44,
        "V2": 1,
    }


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/", f"https://api.example.com{text}"):
        try:
            destination = parse(url)
        except EgressRefused:
            continue
        assert parse(destination.url) == destination
        dialled = URL(destination.url, encoded=True)
        assert (dialled.raw_host, dialled.port) == (destination.host, destination.port)
        assert destination.url.isascii()
        assert destination.url.isprintable()
        assert " " not in destination.url
