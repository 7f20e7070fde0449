"""Each operator, each edge."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.aws.iam.world import ALICE, ROLE, SESSION, STATES, context_of

from stepout.aws.iam.conditions import Condition, operand, operator_of, suggestion
from stepout.aws.iam.request import Principal, Values

KEY = "x:key"


def holds(
    name: str,
    wanted: str | Sequence[str],
    found: Values | None,
    principal: Principal = ALICE,
    key: str = KEY,
) -> bool:
    operator = operator_of(name)
    assert operator is not None
    texts = [wanted] if isinstance(wanted, str) else wanted
    condition = Condition.of(operator, key, [operand(operator, t, variables=True) for t in texts])
    return condition.holds(context_of({} if found is None else {KEY: found}, principal))


POSITIVE = [
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", "a*", "ab", False),
    ("StringEquals", "a*", "a*", True),
    ("StringEquals", "", "", True),
    ("StringEquals", ["a", "b"], "b", True),
    ("StringEquals", ["a", "b"], "c", False),
    ("StringEquals", "${aws:username}", "alice", True),
    ("StringEquals", "${aws:PrincipalTag/Odd}", "a*", True),
    ("StringEquals", "${aws:PrincipalTag/Odd}", "ab", False),
    ("StringEquals", "${*}", "*", True),
    ("StringEqualsIgnoreCase", "AbC", "aBc", True),
    ("StringEqualsIgnoreCase", "abc", "abcd", False),
    ("StringEqualsIgnoreCase", ["x", "${aws:username}"], "ALICE", True),
    ("StringEqualsIgnoreCase", "a*", "ab", False),
    ("StringLike", "a*c", "abc", True),
    ("StringLike", "a*c", "ABC", False),
    ("StringLike", "a?c", "abc", True),
    ("StringLike", "a${*}c", "abc", False),
    ("StringLike", ["x*", "a*"], "abc", True),
    ("StringLike", [f"{n}*" for n in range(50)], "49b", True),
    ("StringLike", [f"{n}*" for n in range(50)], "b", False),
    ("StringLike", "${aws:username}/*", "alice/x", True),
    ("StringLike", "${aws:PrincipalTag/Odd}", "ab", False),
    ("NumericEquals", "10", "10.0", True),
    ("NumericEquals", "10", "11", False),
    ("NumericEquals", ["1", "2"], "2", True),
    ("NumericEquals", "10", "ten", False),
    ("NumericLessThan", "10", "9.99", True),
    ("NumericLessThan", "10", "10", False),
    ("NumericLessThan", ["1", "10"], "5", True),
    ("NumericLessThanEquals", "10", "10", True),
    ("NumericLessThanEquals", "10", "10.01", False),
    ("NumericGreaterThan", "10", "11", True),
    ("NumericGreaterThan", "9", "10", True),
    ("NumericGreaterThan", "10", "10", False),
    ("NumericGreaterThanEquals", "10", "10", True),
    ("NumericGreaterThanEquals", "10", "9", False),
    ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", True),
    ("DateEquals", "2026-01-01T00:00:00Z", "never", False),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", True),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", True),
    ("DateGreaterThan", "1767225600", "2026-01-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
    ("Bool", "true", "true", True),
    ("Bool", "TRUE", "True", True),
    ("Bool", "true", "false", False),
    ("Bool", ["true", "false"], "false", True),
    ("Bool", "false", "0", False),
    ("Bool", "${x:key}", "true", True),
    ("BinaryEquals", "QUJD", "QUJD", True),
    ("BinaryEquals", "QUJD", "QUJE", False),
    ("BinaryEquals", "QUJD", "!", False),
    ("IpAddress", "10.0.0.0/8", "10.1.1.1", True),
    ("IpAddress", "10.0.0.0/8", "192.168.0.1", False),
    ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
    ("IpAddress", "10.0.0.0/8", "::ffff:10.1.1.1", True),
    ("IpAddress", "0.0.0.0/0", "unix", False),
    ("ArnEquals", "arn:aws:iam::*:role/*", "arn:aws:iam::1:role/a", True),
    ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::1:role/a", True),
    ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::1:2:role/a", False),
    ("ArnLike", "arn:aws:iam::1:user/${aws:username}", "arn:aws:iam::1:user/alice", True),
    ("ArnLike", "${aws:PrincipalArn}", ALICE.arn, True),
    ("ArnLike", "${aws:PrincipalTag/Odd}", "arn:aws:iam::1:role/a", False),
    ("ArnLike", "arn:aws:s3:::${aws:PrincipalTag/Odd}", "arn:aws:s3:::ab", False),
    ("ArnLike", "*", "arn:aws:s3:::b", True),
    ("ArnLike", "*", "no arn", False),
]


@pytest.mark.parametrize(("name", "wanted", "found", "expected"), POSITIVE)
def test_an_operator_compares(
    name: str, wanted: str | list[str], found: str, expected: bool
) -> None:
    assert holds(name, wanted, found) is expected


NEGATIONS = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
}


@pytest.mark.parametrize(
    ("name", "wanted", "found", "expected"), [row for row in POSITIVE if row[0] in NEGATIONS]
)
def test_a_negated_operator_says_the_opposite(
    name: str, wanted: str | list[str], found: str, expected: bool
) -> None:
    """With several values: neither the one nor the other."""
    assert holds(NEGATIONS[name], wanted, found) is not expected


SAMPLES = {name: wanted for name, wanted, *_ in reversed(POSITIVE)}


@pytest.mark.parametrize("name", SAMPLES)
def test_an_absent_key_fails(name: str) -> None:
    assert not holds(name, SAMPLES[name], None)
    assert not holds(name, SAMPLES[name], [])
    assert not holds(f"ForAnyValue:{name}", SAMPLES[name], None)


@pytest.mark.parametrize("name", NEGATIONS)
def test_an_absent_key_passes_a_negation(name: str) -> None:
    assert holds(NEGATIONS[name], SAMPLES[name], None)
    assert not holds(f"ForAnyValue:{NEGATIONS[name]}", SAMPLES[name], None)


@pytest.mark.parametrize("name", [*SAMPLES, *NEGATIONS.values()])
def test_if_exists_and_for_all_values_let_an_absent_key_pass(name: str) -> None:
    wanted = SAMPLES.get(name) or next(SAMPLES[n] for n, neg in NEGATIONS.items() if neg == name)
    assert holds(f"{name}IfExists", wanted, None)
    assert holds(f"ForAllValues:{name}", wanted, None)
    assert holds(f"ForAllValues:{name}", wanted, [])
    assert holds(f"ForAllValues:{name}IfExists", wanted, None)
    assert holds(f"ForAnyValue:{name}IfExists", wanted, None)


def test_if_exists_compares_a_key_that_exists() -> None:
    assert holds("StringEqualsIfExists", "a", "a")
    assert not holds("StringEqualsIfExists", "a", "b")
    assert not holds("StringNotEqualsIfExists", "a", "a")


@pytest.mark.parametrize(
    ("name", "wanted", "found", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b", "c"], ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "x"], False),
        ("ForAllValues:StringEquals", ["a"], "a", True),
        ("ForAllValues:StringEquals", ["a"], [""], True),
        ("ForAllValues:StringEquals", ["a"], ["", "a"], False),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "a"], False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["x", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["x", "y"], False),
        ("ForAnyValue:StringEquals", [""], [""], False),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "x"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "b"], False),
        ("ForAnyValue:StringLike", ["a*"], ["x", "ab"], True),
        ("ForAllValues:ArnLike", ["arn:aws:s3:::*"], ["arn:aws:s3:::a", "arn:aws:s3:::b"], True),
        ("ForAllValues:NumericLessThan", ["3"], ["1", "2"], True),
        ("ForAnyValue:IpAddress", ["10.0.0.0/8"], ["1.1.1.1", "10.0.0.1"], True),
        ("StringEquals", ["a"], ["x", "a"], True),
        ("StringEquals", ["a"], ["x", "y"], False),
        ("StringNotEquals", ["a"], ["x", "a"], False),
        ("StringNotEquals", ["a"], ["x", "y"], True),
    ],
)
def test_a_key_may_have_several_values(
    name: str, wanted: list[str], found: Values, expected: bool
) -> None:
    assert holds(name, wanted, found) is expected


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("true", None, True),
        ("true", [], True),
        ("true", "x", False),
        ("false", "x", True),
        ("False", ["x", "y"], True),
        ("false", None, False),
        (["true", "false"], None, True),
        (["true", "false"], "x", True),
    ],
)
def test_null_asks_whether_a_key_is_absent(
    wanted: str | list[str], found: Values | None, expected: bool
) -> None:
    assert holds("Null", wanted, found) is expected


def test_a_variable_without_value_equals_nothing_and_so_passes_a_negation() -> None:
    wanted = "${aws:username}"
    for name, negated in NEGATIONS.items():
        if name.startswith(("String", "Arn")):
            assert not holds(name, wanted, "alice", SESSION)
            assert not holds(name, wanted, "", SESSION)
            assert holds(negated, wanted, "alice", SESSION)


@pytest.mark.parametrize(
    ("principal", "key", "value"),
    [
        (ALICE, "aws:username", "alice"),
        (ALICE, "AWS:USERNAME", "alice"),
        (ALICE, "aws:PrincipalArn", ALICE.arn),
        (ALICE, "aws:PrincipalAccount", "123456789012"),
        (ALICE, "aws:PrincipalType", "User"),
        (ALICE, "aws:userid", "AIDAALICEALICEALICE1"),
        (ALICE, "aws:PrincipalTag/Team", "blue"),
        (ALICE, "aws:principaltag/TEAM", "blue"),
        (ALICE, "aws:PrincipalIsAWSService", "false"),
        (SESSION, "aws:PrincipalArn", ROLE),
        (SESSION, "aws:userid", "AROAAPPAPPAPPAPPAPP1:i-1"),
        (SESSION, "aws:PrincipalType", "AssumedRole"),
        (STATES, "aws:PrincipalIsAWSService", "true"),
        (STATES, "aws:PrincipalServiceName", "states.amazonaws.com"),
    ],
)
def test_the_principal_is_known_by_its_keys(principal: Principal, key: str, value: str) -> None:
    assert holds("StringEquals", value, None, principal, key)


@pytest.mark.parametrize(
    ("principal", "key"),
    [(SESSION, "aws:username"), (STATES, "aws:PrincipalArn"), (ALICE, "aws:PrincipalTag/x")],
)
def test_what_a_principal_has_not_is_absent(principal: Principal, key: str) -> None:
    assert holds("Null", "true", None, principal, key)


def test_a_request_cannot_speak_for_its_principal() -> None:
    condition = operator_of("StringEquals")
    assert condition is not None
    of_root = Condition.of(
        condition, "aws:PrincipalArn", [operand(condition, "root", variables=True)]
    )
    assert not of_root.holds(context_of({"aws:principalARN": "root"}))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("StringEqual", "StringEquals"),
        ("stringequals", "StringEquals"),
        ("StringLikes", "StringLike"),
        ("StringNotLikeIfExist", "StringNotLike"),
        ("StringMatchs", None),
        ("ForAnyValues:StringLike", "ForAnyValue:StringLike"),
        ("forallvalues:StringLikeIfExists", "ForAllValues:StringLikeIfExists"),
        ("Forever:StringLike", None),
        ("ArnLike:", None),
        ("IpAdress", "IpAddress"),
        ("NullIfExists", None),
        ("ForAnyValue:Null", None),
        ("BinaryNotEquals", "BinaryEquals"),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_a_name_that_is_no_operator_has_a_suggestion(name: str, meant: str | None) -> None:
    assert operator_of(name) is None
    assert suggestion(name) == meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("NumericEquals", text) for text in ("ten", "${aws:username}", "*")],
        *[("DateLessThan", text) for text in ("tomorrow", "2026-*")],
        *[("Bool", text) for text in ("yes", "*")],
        *[("IpAddress", text) for text in ("example.com", "10.0.0.0/8/8")],
        *[("ArnLike", text) for text in ("role/x", "arn:aws:iam")],
        *[("Null", text) for text in ("null", "${a:b}")],
        ("BinaryEquals", "%"),
    ],
)
def test_a_value_that_an_operator_cannot_compare_is_told(name: str, text: str) -> None:
    operator = operator_of(name)
    assert operator is not None
    with pytest.raises(ValueError, match=r"^expected .*, found '"):
        operand(operator, text, variables=True)
