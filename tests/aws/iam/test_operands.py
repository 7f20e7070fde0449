"""Numbers, times, addresses, bytes and ARNs as conditions write them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from stepout.aws.iam import operands
from stepout.aws.iam.patterns import Known, Pattern


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", "10"), ("-1", "-1"), ("+1.50", "1.5"), ("1e3", "1000"), ("2.5E-1", "0.25")],
)
def test_numbers(text: str, value: str) -> None:
    assert operands.number(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", "0"),
        ("1767225600", "1767225600"),
        ("1767225600.5", "1767225600.5"),
        ("-1", "-1"),
        ("1970", "0"),
        ("2026", "1767225600"),
        ("2026-01", "1767225600"),
        ("2026-01-01", "1767225600"),
        ("2026-01-01T00:00Z", "1767225600"),
        ("2026-01-01T00:00:00", "1767225600"),
        ("2026-01-01T00:00:00Z", "1767225600"),
        ("2026-01-01T00:00:00.250Z", "1767225600.25"),
        ("2026-01-01T00:00:00.123456789Z", "1767225600.123456789"),
        ("2026-01-01T01:00:00+01:00", "1767225600"),
        ("2025-12-31T18:30:00-0530", "1767225600"),
        ("1969-12-31T23:59:59.5Z", "-0.5"),
        ("0001-01-01T00:00:00+14:00", "-62135647200"),
        ("9999-12-31T23:59:59-14:00", "253402351199"),
    ],
)
def test_times_are_dates_or_seconds(text: str, seconds: str) -> None:
    assert operands.moment(text) == Decimal(seconds)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *[(operands.number, t) for t in ("", "a", "1_0", "0x10", "1e999", "NaN", "Infinity", "1.", "１")],
        *[
            (operands.moment, t)
            for t in ("", "now", "2026-13", "2026-02-30", "2026-01-01T24:00Z", "2026-01-01 00:00")
        ],
        *[(operands.moment, t) for t in ("2026-01-01T00:00:60Z", "0000", "2026-01-01T00:00+99:00")],
        *[(operands.boolean, t) for t in ("", "yes", "1", "true ")],
        *[(operands.binary, t) for t in ("a", "QUJD\n", "Ä", "QUJ", "Q-JD")],
        *[(operands.network, t) for t in ("", "10.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "::1%lo")],
        *[(operands.network, t) for t in ("0x7f000001", "1.2.3.04", "*", "2001:db8::/129", "１.1.1.1")],
    ],
)  # fmt: skip
def test_what_is_none_is_told(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="^expected "):
        read(text)


@pytest.mark.parametrize(
    ("network", "address", "holds"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "10.0.0.1", False),
        ("2001:DB8:1234:5678::/64", "2001:db8:1234:5678::1", True),
        ("2001:db8::1", "2001:0db8:0:0:0:0:0:1", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("::/0", "::ffff:10.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_an_address_is_in_a_network_however_it_is_written(
    network: str, address: str, holds: bool
) -> None:
    version, bits, mask = operands.network(network)
    found = operands.address(address)
    assert found is not None
    assert (found[0] == version and found[1] & mask == bits) is holds


def test_what_is_no_address_has_none() -> None:
    assert operands.address("localhost") is None


def parts_of(text: str) -> list[Known]:
    return Pattern.read(text).known()


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        ("arn:aws:states:*:*:stateMachine:*", "arn:aws:states:us-east-1:1:stateMachine:m:1", True),
        ("arn:aws:states:*:1:finance/*", "arn:aws:states:x:9:store/a:1:finance/d", False),
        ("arn:aws:*:us-east-1:1:m", "arn:aws:a:b:us-east-1:1:m", False),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a:b", True),
        ("arn:aws:s3:?::bucket", "arn:aws:s3:::bucket", False),
        ("*", "arn:aws:s3:::bucket", True),
        ("*:*:*:*:*:*", "arn:aws:s3:::bucket", True),
        ("arn:aws:iam::1:role/App", "arn:aws:iam::1:role/app", False),
    ],
)
def test_each_part_of_an_arn_is_matched_on_its_own(pattern: str, arn: str, matches: bool) -> None:
    assert operands.arn_matcher(parts_of(pattern))(arn.split(":", 5)) is matches


@pytest.mark.parametrize("text", ["", "arn", "arn:*", "arn:aws:s3::bucket", "?", "a*"])
def test_an_arn_has_six_parts(text: str) -> None:
    with pytest.raises(ValueError, match="expected an ARN"):
        operands.arn_matcher(parts_of(text))
