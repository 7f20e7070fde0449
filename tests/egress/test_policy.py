"""Decisions: what is let out, by which rule, and what no rule can let out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import permutations
from typing import Any

import pytest

from stepout.egress.message import Request
from stepout.egress.policy import Decision, Policy, Rule, Verdict

ROLE = "arn:aws:iam::123456789012:role/caller"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:gateway"
CONNECTION = "arn:aws:events:us-east-1:123456789012:connection/stripe/0a1b"


def allow(name: str = "a", **keys: Any) -> Rule:
    return Rule(name=name, effect="allow", **keys)


def deny(name: str = "d", **keys: Any) -> Rule:
    return Rule(name=name, effect="deny", **keys)


def closed(*rules: Rule, **keys: Any) -> Policy:
    return Policy(rules=rules, default="deny", **keys)


def judged(policy: Policy, url: str, method: str = "GET", **who: Any) -> Verdict:
    return policy.judge(Request(method, url, **who))


def decided(policy: Policy, url: str, method: str = "GET", **who: Any) -> Decision:
    return judged(policy, url, method, **who).decision


def test_without_rules_everything_public_goes_out() -> None:
    decision = decided(Policy(), "https://api.example.com:8443/v1?x=1", "post")
    assert decision == Decision(
        allowed=True,
        reason="public",
        rule=None,
        mode="enforce",
        would_refuse=False,
        method="POST",
        host="api.example.com",
        port=8443,
        addresses=(),
    )


def test_by_default_deny_only_what_a_rule_allows_goes_out() -> None:
    policy = closed(allow("items", hosts=("api.example.com",)))
    assert decided(policy, "https://api.example.com/").reason == "allowed: items"
    assert decided(policy, "https://api.example.com/").rule == "items"
    refused = decided(policy, "https://other.example.com/")
    assert not refused.allowed
    assert refused.reason == "not-allowed: no rule has the host other.example.com:443"
    assert refused.rule is None


@pytest.mark.parametrize("default", ["deny", "allow-public"])
def test_deny_wins_over_every_allow(default: Any) -> None:
    rules = (
        allow("exact", hosts=("api.example.com",), paths=("/v1/admin/x",)),
        deny("admin", paths=("/v1/admin/",)),
    )
    policy = Policy(rules=rules, default=default)
    decision = decided(policy, "https://api.example.com/v1/admin/x")
    assert (decision.allowed, decision.reason, decision.rule) == (False, "denied: admin", "admin")


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.COM.", True),
        ("api.example.com", "xapi.example.com", False),
        ("api.example.com", "api.example.com.evil.test", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.com", "example.com", True),
        ("*", "example.com", True),
        ("*", "8.8.8.8", True),
        ("*.8", "8.8.8.8", False),
        ("8.8.8.8", "8.8.8.8", True),
        ("8.8.8.8", "[::ffff:8.8.8.8]", True),
        ("8.8.8.8", "[64:ff9b::808:808]", True),
        ("2606:4700::1", "[2606:4700:0:0::1]", True),
        ("xn--strae-oqa.example", "straße.example", True),
    ],
)
def test_a_host_is_compared_whole_or_below_a_name(pattern: str, host: str, matches: bool) -> None:
    policy = closed(allow(hosts=(pattern,)))
    assert decided(policy, f"https://{host}/").allowed is matches


@pytest.mark.parametrize(
    ("keys", "missed"),
    [
        ({"ports": (8443,)}, "ports"),
        ({"methods": ("POST", "PUT")}, "methods"),
        ({"paths": ("/v2/",)}, "paths"),
        ({"roles": (f"{ROLE}s",)}, "roles"),
        ({"machines": ("arn:aws:states:*:*:stateMachine:other*",)}, "machines"),
        ({"connections": ("arn:aws:events:*:*:connection/other/*",)}, "connections"),
    ],
)
def test_every_key_of_a_rule_has_to_match(keys: dict[str, Any], missed: str) -> None:
    who: dict[str, Any] = {"role": ROLE, "machine": MACHINE, "connection": CONNECTION}
    policy = closed(allow("items", hosts=("api.example.com",), **keys))
    decision = decided(policy, "https://api.example.com/v1/", **who)
    assert not decision.allowed
    assert decision.reason == (
        f"not-allowed: items has the host api.example.com:443, but other {missed}"
    )
    (considered,) = policy.explain(Request("GET", "https://api.example.com/v1/", **who)).considered
    assert considered.missed == missed


@pytest.mark.parametrize(
    ("pattern", "role", "matches"),
    [
        (ROLE, ROLE, True),
        (ROLE, "", False),
        ("*", ROLE, True),
        ("*", "", False),
        ("arn:aws:iam::*:role/caller", ROLE, True),
        ("arn:aws:iam::123456789012:role/c*r", ROLE, True),
        ("arn:aws:iam::123456789012:role/*", "arn:aws:iam::123456789012:role/a:b/c", True),
        ("arn:aws:iam:*:role/caller", ROLE, False),
        ("arn:aws:iam::*:role/caller", "arn:aws:iam::1:2:role/caller", False),
        ("arn:aws:iam::123456789012:role/caller", f"{ROLE}\n", False),
        ("arn:aws:iam::1.3456789012:role/caller", ROLE, False),
    ],
)
def test_a_star_in_an_arn_stays_in_its_part(pattern: str, role: str, matches: bool) -> None:
    policy = closed(allow(hosts=("*",), roles=(pattern,)))
    assert decided(policy, "https://api.example.com/", role=role).allowed is matches


@pytest.mark.parametrize(
    "path",
    ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/..%2fadmin", "/v1/x/%2e./%2e./admin", "/v1/..;/a"],
)
def test_a_prefix_is_not_left_by_climbing(path: str) -> None:
    policy = closed(allow("items", hosts=("*",), paths=("/v1/",)))
    decision = decided(policy, f"https://api.example.com{path}")
    assert not decision.allowed
    assert decision.reason.startswith("path-ambiguous: items compares paths")
    assert decided(closed(allow(hosts=("*",))), f"https://api.example.com{path}").allowed


@pytest.mark.parametrize("path", ["/v1\\x", "//v1/x", "/V1/x", "/%761/x", "/v1%2Fx", "/v1", "/"])
def test_an_allowed_prefix_is_compared_as_it_is_sent(path: str) -> None:
    policy = closed(allow(hosts=("*",), paths=("/v1/",)))
    assert not decided(policy, f"https://api.example.com{path}").allowed


@pytest.mark.parametrize(
    "path",
    [
        "/admin",
        "/admin/",
        "/admin/x",
        "/ADMIN/x",
        "/%61dmin/x",
        "//admin",
        "/%2fadmin",
        "/\\admin",
        "/x/../admin",
        "/%2e/admin",
        "/x/%2e%2e",
        "/admin?x",
        "/admin%2fx",
    ],
)
def test_a_denied_prefix_is_found_in_every_reading(path: str) -> None:
    policy = Policy(rules=(deny(paths=("/admin/",)),))
    assert decided(policy, f"https://api.example.com{path}").reason == "denied: d"
    assert decided(policy, "https://api.example.com/administration").allowed


def test_networks_of_a_rule_are_for_its_requests_alone() -> None:
    policy = closed(
        allow("inner", hosts=("in.example.com",), networks=(ip_network("10.1.0.0/16"),)),
        allow("outer", hosts=("*",)),
    )
    private, public = ip_address("10.1.2.3"), ip_address("8.8.8.8")
    inner = judged(policy, "https://in.example.com/").reach
    outer = judged(policy, "https://out.example.com/").reach
    assert inner.judge(private).allowed
    assert inner.judge(private).rule == "inner"
    assert inner.judge(ip_address("64:ff9b::10.1.2.3")).allowed
    assert inner.judge(public).allowed
    assert not inner.judge(ip_address("10.2.0.1")).allowed
    assert outer.judge(private).reason == "address-private: 10.0.0.0/8"


def test_requests_of_the_same_rules_have_the_same_reach_and_no_others() -> None:
    networks = (ip_network("10.1.0.0/16"),)
    policy = closed(
        allow("a", hosts=("a.example.com",), networks=networks),
        allow("b", hosts=("b.example.com",), networks=networks),
        allow("c", hosts=("*",)),
    )
    reach = {name: judged(policy, f"https://{name}.example.com/").reach for name in "abcd"}
    assert reach["c"] is reach["d"]
    assert len({id(reach[name]) for name in "abc"}) == 3
    assert judged(policy, "https://a.example.com/x?y").reach is reach["a"]


def test_networks_of_a_deny_rule_are_about_the_address() -> None:
    policy = Policy(
        networks=(ip_network("10.0.0.0/8"),),
        rules=(
            deny("partner", networks=(ip_network("8.8.0.0/16"), ip_network("10.9.0.0/16"))),
            allow("inner", hosts=("*",), networks=(ip_network("10.0.0.0/8"),)),
        ),
    )
    verdict = judged(policy, "https://api.example.com/")
    assert verdict.decision.allowed
    for address in ("8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.1.1", "2002:808:101::", "10.9.1.1"):
        ruling = verdict.reach.judge(ip_address(address))
        assert not ruling.allowed
        assert ruling.reason.startswith("denied: partner (")
    assert verdict.reach.judge(ip_address("10.8.1.1")).allowed
    assert verdict.reach.judge(ip_address("9.9.9.9")).allowed
    assert decided(policy, "https://8.8.8.8/").reason == "denied: partner (8.8.0.0/16)"


def test_an_address_in_the_url_is_judged_like_any_other() -> None:
    policy = closed(allow("one", hosts=("10.1.2.3",), networks=(ip_network("10.1.0.0/16"),)))
    decision = decided(policy, "https://10.1.2.3/")
    assert (decision.reason, decision.addresses) == ("allowed: one", (ip_address("10.1.2.3"),))
    open_ = closed(allow("all", hosts=("*",)))
    assert decided(open_, "https://10.1.2.3/").reason == "address-private: 10.0.0.0/8"
    assert decided(open_, "https://[::ffff:a9fe:a9fe]/").reason.startswith("metadata: ")


@pytest.mark.parametrize(
    "url", ["http://api.example.com/", "https://u:p@x/", "https://2130706433/"]
)
def test_a_url_without_one_host_is_refused_in_every_mode(url: str) -> None:
    for mode in ("enforce", "report"):
        decision = decided(closed(allow(hosts=("*",)), mode=mode), url)
        assert (decision.allowed, decision.would_refuse) == (False, False)
        assert (decision.host, decision.port) == (None, None)


@pytest.mark.parametrize("method", ["", "GET /", "PO\nST", "poſt", "gét"])
def test_a_method_is_made_of_letters(method: str) -> None:
    decision = decided(Policy(), "https://api.example.com/", method)
    assert decision.reason.startswith("method-invalid")


# --- Report ---------------------------------------------------------------------------------------


def test_in_report_mode_what_rules_refuse_goes_out_and_says_so() -> None:
    policy = closed(allow("a", hosts=("a.test",)), deny(hosts=("b.test",)), mode="report")
    found = {name: decided(policy, f"https://{name}.test/") for name in "abc"}
    assert [one.allowed for one in found.values()] == [True, True, True]
    assert [one.would_refuse for one in found.values()] == [False, True, True]
    assert found["b"].reason == "denied: d"
    assert found["c"].reason.startswith("not-allowed: ")


def test_in_report_mode_no_address_that_is_not_public_goes_out() -> None:
    policy = closed(
        allow("a", hosts=("a.test",), networks=(ip_network("10.0.0.0/8"),)), mode="report"
    )
    private = ip_address("10.0.0.1")
    assert judged(policy, "https://a.test/").reach.judge(private).allowed
    verdict = judged(policy, "https://b.test/")
    assert verdict.decision.would_refuse
    assert not verdict.reach.judge(private).allowed
    assert not verdict.reach.judge(ip_address("169.254.169.254")).allowed
    merged = verdict.decision.with_address(private, verdict.reach.judge(private))
    assert (merged.allowed, merged.would_refuse) == (False, False)
    assert merged.reason == "address-private: 10.0.0.0/8"


def test_in_report_mode_a_denied_request_is_lent_no_networks() -> None:
    rule = allow("a", hosts=("a.test",), networks=(ip_network("10.0.0.0/8"),))
    policy = closed(rule, deny(hosts=("a.test",)), mode="report")
    verdict = judged(policy, "https://a.test/")
    assert verdict.decision.would_refuse
    assert not verdict.reach.judge(ip_address("10.0.0.1")).allowed


def test_in_report_mode_a_denied_public_address_goes_out_and_says_so() -> None:
    policy = Policy(rules=(deny(networks=(ip_network("8.8.0.0/16"),)),), mode="report")
    verdict = judged(policy, "https://api.example.com/")
    address = ip_address("8.8.8.8")
    decision = verdict.decision.with_address(address, verdict.reach.judge(address))
    assert (decision.allowed, decision.would_refuse) == (True, True)
    assert decision.reason == "denied: d (8.8.0.0/16)"
    assert not verdict.reach.judge(ip_address("10.0.0.1")).allowed


# --- Which rule is named --------------------------------------------------------------------------


def test_the_rule_that_is_named_is_the_most_exact_whatever_the_order() -> None:
    rules = (
        allow("b", hosts=("*",)),
        allow("a", hosts=("*.example.com",)),
        allow("z", hosts=("api.example.com",)),
        allow("y", hosts=("api.example.com", "*")),
    )
    named = {
        decided(closed(*order), "https://api.example.com/").rule for order in permutations(rules)
    }
    assert named == {"y"}


def test_the_rule_that_came_nearest_is_named_in_a_refusal() -> None:
    policy = closed(
        allow("far", hosts=("*",), ports=(1,)),
        allow("near", hosts=("*",), paths=("/v1/",)),
        deny("other", hosts=("*",), ports=(2,)),
    )
    reason = decided(policy, "https://api.example.com/v2/").reason
    assert reason == "not-allowed: near has the host api.example.com:443, but other paths"


def test_an_explanation_has_every_rule_and_asks_nobody() -> None:
    policy = closed(
        allow("items", hosts=("api.example.com",), paths=("/v1/",)),
        allow("other", hosts=("other.example.com",)),
        deny("posts", methods=("POST",)),
    )
    explained = policy.explain(Request("GET", "https://api.example.com/v1/x"))
    assert explained.verdict == judged(policy, "https://api.example.com/v1/x")
    assert [(one.rule.name, one.missed) for one in explained.considered] == [
        ("items", None),
        ("other", "hosts"),
        ("posts", "methods"),
    ]
    assert policy.explain(Request("GET", "http://x/")).considered == ()


def test_more_rules_and_askers_than_are_remembered_are_judged_all_the_same() -> None:
    network = ip_network("10.0.0.0/8")
    policy = closed(allow(hosts=("*",), roles=("*",), networks=(network,)))
    for number in range(1_030):
        url = f"https://h{number}.example.com/"
        assert decided(policy, url, role=str(number)).allowed
        assert not decided(policy, url).allowed
