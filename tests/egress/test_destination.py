"""A URL has one host, the one that is judged, dialled and named, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from stepout.egress.destination import parse
from stepout.egress.message import Request
from stepout.egress.policy import Policy
from stepout.errors import EgressRefused

SUITE = Path(__file__).parents[2].parent / "shared/security/url/urltestdata.json"


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
    if not SUITE.exists():
        return []
    cases = json.loads(SUITE.read_text())
    return [case for case in cases if isinstance(case, dict) and "input" in case]


@pytest.mark.skipif(not SUITE.exists(), reason="The URL suite is not beside the repository.")
def test_the_url_standard_is_never_contradicted() -> None:
    """What the standard refuses is refused; what is let through has the standard's host."""
    judged = 0
    for case in standard_cases():
        try:
            destination = parse(case["input"])
        except EgressRefused:
            continue
        judged += 1
        assert not case.get("failure"), case["input"]
        assert case["protocol"] == "https:", case["input"]
        host = case["hostname"].strip("[]").removesuffix(".")
        assert destination.host == host, case["input"]
        assert str(destination.port) == (case["port"] or "443"), case["input"]
    assert judged > 10


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/", f"https://api.example.com{text}"):
        try:
            destination = parse(url)
        except EgressRefused:
            continue
        dialled = URL(destination.url, encoded=True)
        assert (dialled.raw_host, dialled.port) == (destination.host, destination.port)
        assert destination.url.isascii()
        assert destination.url.isprintable()
        assert " " not in destination.url
