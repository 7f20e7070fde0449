"""Policies against a slow reading of the user guide, and what must hold of any of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.properties import iam_reference as reference

from stepout.aws.iam import Grants, Kind, Policy, Principal, Request, decide_trust, warnings
from stepout.aws.iam.patterns import Pattern
from stepout.aws.iam.request import Context
from stepout.errors import PolicyError

ACCOUNT = "123456789012"
ALICE = Principal(
    f"arn:aws:iam::{ACCOUNT}:user/alice",
    ACCOUNT,
    "User",
    "AIDAALICEALICEALICE1",
    tags={"name": "ab", "odd": "a*"},
)
SESSION = Principal(
    f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s",
    ACCOUNT,
    "AssumedRole",
    "AROAAPPAPPAPPAPPAPP1:s",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/app",
)
PRINCIPALS = (ALICE, SESSION)
PREFIX = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:"

# Small alphabets, so that policies and requests meet.
NAMES = st.text("ab:", max_size=2)
PATTERNS = st.lists(
    st.sampled_from(
        [
            *("a", "b", ":", "*", "?", "${*}", "${aws:username}", "${aws:PrincipalTag/name}"),
            *("${aws:PrincipalTag/odd, 'b'}", "${aws:PrincipalTag/none}", "${x:list}"),
        ]
    ),
    max_size=4,
).map("".join)
RESOURCES = st.one_of(
    st.sampled_from(["*", f"{PREFIX}*"]),
    PATTERNS.map(lambda text: f"{PREFIX}{text}"),
    st.sampled_from(["arn:*", "arn:aws:states:*:*a", "arn:aws:s3:::*", f"{PREFIX}a*"]),
)
ACTIONS = st.sampled_from(
    ["*", "s:*", "*:*t", "s:Get", "s:g?t", "S:PUT*", "s:List", "x:*", "*:Get", "s:*t", "s:G*e*T"]
)

TEXTS = st.text("ab*", max_size=3)
ARNS = st.lists(st.sampled_from(["a", "b", ""]), min_size=6, max_size=7).map(":".join)
ARN_PATTERNS = st.one_of(
    st.just("*"),
    st.lists(st.sampled_from(["a", "b", "*", "?", "a*", "${aws:username}"]), min_size=6, max_size=7)
    .map(":".join)
)  # fmt: skip
NUMBERS = st.sampled_from(["0", "1", "1.0", "1.5", "-2", "10"])
DATES = st.sampled_from(
    ["2026-01-01", "1767225600", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "1767225601"]
)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.1.1", "2001:db8::1", "::1"])
NETWORKS = st.sampled_from(["10.0.0.0/24", "10.0.0.1", "0.0.0.0/0", "2001:db8::/32", "::/0"])
BYTES = st.sampled_from(["", "QQ==", "QUI="])
TRUTHS = st.sampled_from(["true", "false", "True"])

RELATIONS = (
    *("Equals", "NotEquals", "LessThan", "LessThanEquals"),
    *("GreaterThan", "GreaterThanEquals"),
)

FAMILIES: dict[str, tuple[list[str], st.SearchStrategy[str], st.SearchStrategy[str]]] = {
    # key: the operators for it, the policy's values, the request's
    "x:text": (
        [
            *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase"),
            *("StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"),
        ],
        PATTERNS,
        TEXTS,
    ),
    "x:number": (
        [f"Numeric{relation}" for relation in RELATIONS],
        NUMBERS,
        NUMBERS,
    ),
    "x:date": (
        [f"Date{relation}" for relation in RELATIONS],
        DATES,
        DATES,
    ),
    "x:address": (["IpAddress", "NotIpAddress"], NETWORKS, ADDRESSES),
    "x:arn": (["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"], ARN_PATTERNS, ARNS),
    "x:truth": (["Bool"], TRUTHS, TRUTHS),
    "x:bytes": (["BinaryEquals"], BYTES, BYTES),
    "x:list": (["StringEquals", "StringNotEquals", "StringLike"], PATTERNS, TEXTS),
}


def one_or_more(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, min_size=1, max_size=6))


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from([*FAMILIES]))
        names, wanted, _ = FAMILIES[key]
        spelled = draw(st.sampled_from([key, key.upper()]))
        if draw(st.integers(0, 5)) == 0:
            found.setdefault("Null", {})[spelled] = draw(TRUTHS)
            continue
        before = draw(st.sampled_from(["", "", "ForAnyValue:", "ForAllValues:"]))
        after = draw(st.sampled_from(["", "", "IfExists"]))
        name = f"{before}{draw(st.sampled_from(names))}{after}"
        found.setdefault(name, {})[spelled] = draw(one_or_more(wanted))
    return found


NAMED = st.one_of(
    st.just("*"),
    st.lists(
        st.sampled_from([ACCOUNT, ALICE.arn, SESSION.arn, SESSION.role_arn, "999999999999"]),
        min_size=1,
        max_size=3,
    ).map(lambda texts: {"AWS": texts}),
)


@st.composite
def statements(draw: st.DrawFn, *, has_principal: bool = False) -> dict[str, Any]:
    def maybe_not(element: str) -> str:
        return f"Not{element}" if draw(st.integers(0, 4)) == 0 else element

    found: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow"] * 4 + ["Deny"])),
        maybe_not("Action"): draw(one_or_more(ACTIONS)),
        maybe_not("Resource"): draw(one_or_more(RESOURCES)),
    }
    if has_principal:
        found[maybe_not("Principal")] = draw(NAMED)
    if draw(st.integers(0, 2)) == 0:
        found["Condition"] = draw(conditions())
    return found


@st.composite
def documents(draw: st.DrawFn, *, has_principal: bool = False) -> dict[str, Any]:
    return {
        "Version": draw(st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17"])),
        "Statement": draw(
            st.lists(statements(has_principal=has_principal), min_size=1, max_size=4)
        ),
    }


Layers = dict[str, list[dict[str, Any]]]


@st.composite
def layers(draw: st.DrawFn) -> Layers:
    found: Layers = {}
    if draw(st.integers(0, 3)) == 0:
        found["endpoint"] = [draw(documents(has_principal=True))]
    found["identity"] = draw(st.lists(documents(), min_size=draw(st.integers(0, 2)), max_size=3))
    if draw(st.integers(0, 3)) == 0:
        found["boundary"] = [draw(documents())]
    if draw(st.integers(0, 3)) == 0:
        found["session"] = draw(st.lists(documents(), min_size=1, max_size=2))
    return found


@st.composite
def requests(draw: st.DrawFn) -> Request:
    context: dict[str, Any] = {}
    for key, (_, _, values) in FAMILIES.items():
        if draw(st.booleans()):
            several = key == "x:list" or draw(st.integers(0, 4)) == 0
            context[key] = draw(st.lists(values, max_size=3) if several else values)
    return Request(
        draw(st.sampled_from(PRINCIPALS)),
        draw(st.sampled_from(["s:Get", "s:Put", "S:list", "x:Get"])),
        draw(st.one_of(st.just("*"), NAMES.map(lambda name: f"{PREFIX}{name}"))),
        context,
    )


def asked_of(request: Request) -> dict[str, Any]:
    """A request as the reference takes it: all that the principal is and is called."""
    principal = request.principal
    chain = {principal.arn, principal.account} | ({principal.role_arn} - {None})
    return {
        "action": request.action,
        "resource": request.resource,
        "context": {**request.context, **principal.context},
        "names": {"*", *chain},
        "chain": chain,
    }


def parsed(found: Mapping[str, Sequence[Any]]) -> dict[str, list[Policy]]:
    return {
        kind: [
            Policy.parse(f"{kind}-{number}", json.dumps(document), kind=Kind(kind))
            for number, document in enumerate(documents_)
        ]
        for kind, documents_ in found.items()
    }


def grants_of(found: Mapping[str, Sequence[Any]]) -> Grants:
    policies = parsed(found)
    return Grants(
        policies["identity"],
        next(iter(policies.get("boundary", [])), None),
        policies.get("session", ()),
        next(iter(policies.get("endpoint", [])), None),
    )


some = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
many = settings(some, max_examples=400)


@many
@given(layers(), st.lists(requests(), min_size=1, max_size=4))
def test_decisions_are_those_of_the_user_guide(found: Layers, asked: list[Request]) -> None:
    grants = grants_of(found)
    for request in asked:
        decision = grants.decide(request)
        assert decision.reason == reference.decide(found, asked_of(request))
        assert decision.allowed is (decision.reason == "allowed")


@some
@given(layers(), requests())
def test_the_statement_that_is_told_is_one_that_applies(found: Layers, request: Request) -> None:
    decision = grants_of(found).decide(request)
    if decision.by is None:
        return
    kind, _, number = decision.by.policy.partition("-")
    document = found[kind][int(number)]
    statement = document["Statement"][int(decision.by.statement[len("Statement[") : -1])]
    assert statement["Effect"] == ("Allow" if decision.allowed else "Deny")
    assert reference.speaks(statement, asked_of(request), document["Version"])


def trust_document(document: dict[str, Any]) -> dict[str, Any]:
    """The same for a trust policy: actions of sts, no resources."""
    changed = []
    for statement in document["Statement"]:
        kept = {k: v for k, v in statement.items() if not k.endswith(("Action", "Resource"))}
        changed.append({**kept, "Action": "sts:AssumeRole"})
    return {**document, "Statement": changed}


@some
@given(documents(has_principal=True).map(trust_document), requests())
def test_trust_is_that_of_the_user_guide(document: dict[str, Any], request: Request) -> None:
    assuming = Request(request.principal, "sts:AssumeRole", SESSION.role_arn or "", request.context)
    policy = Policy.parse("t", json.dumps(document), kind=Kind.TRUST)
    expected = reference.decide({"trust": [document]}, asked_of(assuming))
    assert decide_trust(policy, assuming).reason == expected


@some
@given(layers(), requests(), statements(), st.integers(0, 9))
def test_one_more_deny_never_allows_more(
    found: Layers, request: Request, statement: dict[str, Any], place: int
) -> None:
    before = grants_of(found).decide(request).allowed
    more = {"Version": "2012-10-17", "Statement": {**statement, "Effect": "Deny"}}
    identity = [*found["identity"]]
    identity.insert(place % (len(identity) + 1), more)
    after = grants_of({**found, "identity": identity}).decide(request).allowed
    assert before or not after


@some
@given(layers(), requests(), st.data())
def test_one_allow_less_never_allows_more(
    found: Layers, request: Request, data: st.DataObject
) -> None:
    before = grants_of(found).decide(request).allowed
    places = [
        (kind, number, place)
        for kind, documents_ in found.items()
        for number, document in enumerate(documents_)
        for place, statement in enumerate(document["Statement"])
        if statement["Effect"] == "Allow"
    ]
    if not places:
        return
    kind, number, place = data.draw(st.sampled_from(places))
    changed: Layers = json.loads(json.dumps(found))
    # A statement about nothing takes its place, as a policy needs one.
    changed[kind][number]["Statement"][place].pop("NotAction", None)
    changed[kind][number]["Statement"][place]["Action"] = "none:None"
    assert before or not grants_of(changed).decide(request).allowed


@some
@given(layers(), requests(), st.randoms(use_true_random=False))
def test_the_order_of_policies_and_statements_does_not_matter(
    found: Layers, request: Request, random: Any
) -> None:
    before = grants_of(found).decide(request)
    shuffled: Layers = json.loads(json.dumps(found))
    for documents_ in shuffled.values():
        random.shuffle(documents_)
        for document in documents_:
            random.shuffle(document["Statement"])
    after = grants_of(shuffled).decide(request)
    assert (after.allowed, after.reason) == (before.allowed, before.reason)


@some
@given(layers(), st.lists(requests(), min_size=2, max_size=5))
def test_what_was_asked_before_does_not_matter(found: Layers, asked: list[Request]) -> None:
    grants = grants_of(found)
    for request in asked:
        assert grants.decide(request) == grants_of(found).decide(request)


NOTHING = Context(Request(ALICE, "", ""))


@settings(max_examples=1_000)
@given(st.text("ab*?\n", max_size=10), st.text("ab\n", max_size=14))
@example("*?*", "")
@example("a*?b*", "aab")
def test_wildcards_are_those_of_the_table(pattern: str, text: str) -> None:
    letters = [(letter, letter in "*?") for letter in pattern]
    assert Pattern.read(pattern).matches(text, NOTHING) is reference.matches(letters, text)


WORDS = st.sampled_from(
    [
        *("", "*", "Allow", "Deny", "2012-10-17", "s:*", "arn:aws:s3:::*", "true", "10.0.0.0/8", "1"),
        *("${", "${aws:username}", "StringLike", ACCOUNT, "\ud800", "\x00", "🔑", "arn:aws:iam::1:x"),
    ]
)  # fmt: skip
ELEMENTS = st.sampled_from(
    [
        *("Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "AWS"),
        *("NotAction", "Resource", "NotResource", "Condition", "Service", "StringLike", "Null", "Bool"),
        *("aws:username", "ForAllValues:NumericLessThan", "DateEqualsIfExists", "IpAddress", "x", ""),
    ]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | WORDS | st.text(max_size=6)
)
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(ELEMENTS, inner, max_size=5)
        | st.dictionaries(st.integers(0, 3), inner, max_size=2)
    ),
    max_leaves=12,
)


def read(document: Any, kind: Kind) -> None:
    try:
        policy = Policy.parse("p", document, kind=kind)
    except PolicyError as error:
        if not error.problems:
            raise AssertionError("The error tells of no problem.") from error
        return
    for finding in warnings(policy):
        assert finding.message
    request = Request(ALICE, "sts:AssumeRole", f"{PREFIX}a", {"x:y": ["\ud800", ""]})
    if kind in (Kind.TRUST, Kind.RESOURCE):
        decide_trust(policy, request)
    elif kind is Kind.ENDPOINT:
        Grants([], endpoint=policy).decide(request)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(GARBAGE, st.sampled_from(Kind))
def test_garbage_has_problems(garbage: Any, kind: Kind) -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    for document in (
        garbage,
        {"Statement": garbage},
        {"Statement": {**statement, "Resource": garbage}},
        {"Statement": {**statement, "Principal": garbage}},
        {"Statement": {**statement, "Resource": "*", "Condition": garbage}},
        {"Statement": {**statement, "Resource": "*", "Condition": {"StringLike": garbage}}},
    ):
        read(document, kind)


@settings(max_examples=300)
@given(st.text(max_size=80), st.sampled_from(Kind))
@example("[" * 100_000, Kind.IDENTITY)
@example('{"Statement":' * 9_000, Kind.TRUST)
def test_any_text_is_a_policy_or_has_problems(text: str, kind: Kind) -> None:
    read(text, kind)


@some
@given(documents(), st.data())
def test_a_damaged_document_is_a_policy_or_has_problems(
    document: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(document)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    read(
        text[:start] + data.draw(st.text('{}[]",:*?$\\ab1', max_size=4)) + text[end:], Kind.IDENTITY
    )
