"""The policy file: what it may say, and every problem of one that cannot be used, at once."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from stepout.egress.message import Request
from stepout.egress.policy import Policy, Rule
from stepout.egress.rules import load, parse, upstream_rules
from stepout.errors import SettingsError

WHOLE = """
default = "deny"
mode = "report"

[[allow]]
name = "items"
hosts = ["API.example.com", "*.straße.example", "*", "2606:4700::1", "[2606:4700::2]", "8.8.8.8"]
ports = [443, 8443]
methods = ["GET", "POST"]
paths = ["/v1/", "/a b/é", "/v2"]
roles = ["arn:aws:iam::123456789012:role/x", "arn:aws:iam::*:role/y*", "*"]
machines = ["arn:aws:states:us-east-1:123456789012:stateMachine:gateway*"]
connections = ["arn:aws:events:*:*:connection/stripe/*"]
networks = ["10.1.0.0/16", "::ffff:10.2.0.0/112"]

[[allow]]
name = "short"
hosts = ["api.example.com"]

[[deny]]
name = "the admins' part (v1)"
paths = ["/v1/admin/"]

[[deny]]
name = "stop"
"""


def test_a_whole_file_is_read() -> None:
    policy = parse(WHOLE, networks=[ip_network("10.0.0.0/8")])
    assert policy == Policy(
        networks=(ip_network("10.0.0.0/8"),),
        default="deny",
        mode="report",
        rules=(
            Rule(
                name="items",
                effect="allow",
                hosts=(
                    "api.example.com",
                    "*.xn--strae-oqa.example",
                    "*",
                    "2606:4700::1",
                    "2606:4700::2",
                    "8.8.8.8",
                ),
                ports=(443, 8443),
                methods=("GET", "POST"),
                paths=("/v1/", "/a%20b/%C3%A9", "/v2"),
                roles=("arn:aws:iam::123456789012:role/x", "arn:aws:iam::*:role/y*", "*"),
                machines=("arn:aws:states:us-east-1:123456789012:stateMachine:gateway*",),
                connections=("arn:aws:events:*:*:connection/stripe/*",),
                networks=(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
            ),
            Rule(name="short", effect="allow", hosts=("api.example.com",), ports=(443,)),
            Rule(name="the admins' part (v1)", effect="deny", paths=("/v1/admin/",)),
            Rule(name="stop", effect="deny"),
        ),
    )


def test_an_empty_file_denies_everything() -> None:
    assert parse("") == Policy(default="deny")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('default = "allow"', ["default: expected 'deny' or 'allow-public', found 'allow'."]),
        ("mode = 1", ["mode: expected 'enforce' or 'report', found 1."]),
        ("upstreams = 1", ["upstreams: expected true or false, found 1."]),
        (
            "upstreams = true",
            ["upstreams: expected a server with --upstreams FILE, found one without."],
        ),
        ("defualt = 1", ["defualt: there is no such key; did you mean 'default'?"]),
        ("[[rule]]\n", ["rule: there is no such key; did you mean '[[allow]]' or '[[deny]]'?"]),
        (
            '"a\\nb" = 1',
            ["'a\\nb': there is no such key; there are: default, mode, upstreams, allow, deny."],
        ),
        ("[allow]\n", ["allow: expected tables [[allow]], found {}."]),
        ("deny = [1]\n", ["deny: expected tables [[deny]], found [1]."]),
        (
            "[[allow]]\n",
            [
                "allow[0]: expected the key 'name', found none.",
                "allow[0]: expected the key 'hosts', found none.",
            ],
        ),
        ("[[deny]]\n", ["deny[0]: expected the key 'name', found none."]),
        (
            '[[deny]]\nname = "x"\nmethod = ["GET"]\nzzz = 1\n',
            [
                "deny[0].method: there is no such key; did you mean 'methods'?",
                "deny[0].zzz: there is no such key; there are: name, hosts, ports, methods, paths, "
                "roles, machines, connections, networks.",
            ],
        ),
        (
            '[[deny]]\nname = "x"\n[[allow]]\nname = "x"\nhosts = ["*"]\n',
            ["expected each name once, found two rules named 'x'."],
        ),
        (
            '[[deny]]\nname = "upstream:x"\n',
            [
                "deny[0].name: expected a name of letters, digits, blanks and . _ - / ' ( ), 128 at "
                "most, found 'upstream:x'."
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, problems: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "rules.toml")
    assert str(caught.value).splitlines() == [f"rules.toml: {problem}" for problem in problems]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("hosts = []", "hosts: expected a list with at least one member, found []."),
        ('hosts = "x"', "hosts: expected a list with at least one member, found 'x'."),
        ("hosts = [1]", "hosts[0]: expected a host such as"),
        ('hosts = ["https://x/"]', "hosts[0]: expected a host without scheme and path"),
        ('hosts = ["x:443"]', "hosts[0]: expected a host without a port"),
        ('hosts = ["a*.x"]', "a * is a whole label, the first, found 'a*.x'."),
        ('hosts = ["x.*"]', "a * is a whole label, the first"),
        ('hosts = ["*.*.x"]', "a * is a whole label, the first"),
        ('hosts = ["a", "127.1"]', "hosts[1]: expected a host such as"),
        ('hosts = ["*.127.0.0.1"]', "hosts[0]: expected a host such as"),
        ('hosts = ["a..b"]', "('a..b' is not a DNS name)"),
        ('hosts = ["xn--a"]', "('xn--a' is not a DNS name)"),
        ('hosts = ["169.254.169.254"]', "hosts[0]: expected no metadata service"),
        ('hosts = ["::ffff:169.254.169.254"]', "hosts[0]: expected no metadata service"),
        ("ports = [0]", "ports[0]: expected a port from 1 to 65535, found 0."),
        ("ports = [true]", "ports[0]: expected a port from 1 to 65535, found True."),
        ("ports = [443, '80']", "ports[1]: expected a port from 1 to 65535, found '80'."),
        ('methods = ["get"]', "methods[0]: expected 'GET' or 'POST'"),
        ('paths = ["v1/"]', "paths[0]: expected the beginning of a path"),
        ('paths = ["/v1?x"]', "paths[0]: expected the beginning of a path"),
        ('paths = ["/v1/../x"]', "paths[0]: expected a path of plain names"),
        ('paths = ["/v1/%2e%2e/x"]', "paths[0]: expected a path of plain names"),
        ('paths = ["/v1//x"]', "paths[0]: expected a path of plain names"),
        ('paths = ["/v1/*"]', "paths[0]: expected a path of plain names"),
        ('roles = ["admin"]', "roles[0]: expected an ARN"),
        ('machines = ["arn:aws:states:*"]', "machines[0]: expected an ARN"),
        ('networks = ["10.0.0.1/8"]', "networks[0]: expected a network such as 10.1.0.0/16 ("),
        ("networks = [10]", "networks[0]: expected a network such as 10.1.0.0/16, found 10."),
        ('networks = ["169.254.169.254/32"]', "networks[0]: expected no metadata service"),
        ('networks = ["fd00:ec2::254/128"]', "networks[0]: expected no metadata service"),
    ],
)
def test_what_a_key_cannot_hold_is_told(line: str, problem: str) -> None:
    head = '[[allow]]\nname = "x"\n' + ("" if line.startswith("hosts") else 'hosts = ["x"]\n')
    with pytest.raises(SettingsError) as caught:
        parse(head + line)
    assert f"allow[0].{problem}" in str(caught.value) or problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_problems_of_a_file_are_told_at_once() -> None:
    text = (
        'mode = "x"\n[[allow]]\nname = "a"\nhosts = ["a b", "ok", "c d"]\nports = [0]\n[[deny]]\n'
    )
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert len(str(caught.value).splitlines()) == 5


def test_what_was_found_is_not_shown_at_length() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(f'mode = "{"x" * 100_000}"')
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["default =", "[[allow]", "a = " + "[" * 5_000])
def test_a_text_that_is_no_toml_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="^The egress policy is not TOML: "):
        parse(text)


def test_a_file_that_is_too_large_is_told() -> None:
    with pytest.raises(SettingsError, match="expected at most"):
        parse("#" * 5_000_000)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"The egress policy .*none\.toml cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "bytes.toml")


def test_an_empty_file_is_one_that_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("\n")
    with pytest.raises(SettingsError, match="expected tables, found an empty file"):
        load(tmp_path / "empty.toml")


REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")


def test_the_example_of_the_reference_is_a_policy() -> None:
    (example,) = re.findall(r"```toml\n(default.*?)```", REFERENCE, re.DOTALL)
    policy = parse(example, upstreams=())
    assert [rule.name for rule in policy.rules] == ["items", "inner", "the admins' part"]


def test_every_key_of_a_rule_is_in_the_reference() -> None:
    _, _, section = REFERENCE.partition("## The egress policy")
    for field in fields(Rule):
        assert field.name == "effect" or f"`{field.name}`" in section


@pytest.mark.parametrize("word", ["denied", "not-allowed", "path-ambiguous", "method-invalid"])
def test_every_reason_of_rules_is_in_the_reference(word: str) -> None:
    assert f"`{word}`" in REFERENCE


# --- Upstreams ------------------------------------------------------------------------------------

UPSTREAMS = (
    *upstream_rules("stripe", "https://api.stripe.com/v1/", ("GET", "POST")),
    *upstream_rules(
        "mail", "https://mail.example.com:8443/", ("GET",), "https://id.example.com/token?x=1"
    ),
)


@pytest.mark.parametrize(
    ("method", "url", "rule"),
    [
        ("GET", "https://api.stripe.com/v1/charges?x", "upstream:stripe"),
        ("DELETE", "https://api.stripe.com/v1/charges", None),
        ("GET", "https://api.stripe.com/v2/", None),
        ("GET", "https://api.stripe.com/v1/../v2/", None),
        ("GET", "https://api.stripe.com:8443/v1/", None),
        ("GET", "https://mail.example.com:8443/x", "upstream:mail"),
        ("GET", "https://mail.example.com/x", None),
        ("POST", "https://id.example.com/token", "upstream:mail:token"),
        ("GET", "https://id.example.com/token", None),
        ("POST", "https://id.example.com/tokens", None),
        ("GET", "https://other.example.com/", None),
    ],
)
def test_upstreams_are_let_out_and_nothing_else(method: str, url: str, rule: str | None) -> None:
    policy = parse("upstreams = true", upstreams=UPSTREAMS)
    assert policy.judge(Request(method, url)).decision.rule == rule


def test_upstreams_are_let_out_only_where_the_file_says_so() -> None:
    policy = parse("", upstreams=UPSTREAMS)
    assert not policy.judge(Request("GET", "https://api.stripe.com/v1/")).decision.allowed


def test_a_deny_rule_holds_for_upstreams_too() -> None:
    policy = parse(
        'upstreams = true\n[[deny]]\nname = "no"\npaths = ["/v1/x"]', upstreams=UPSTREAMS
    )
    decision = policy.judge(Request("GET", "https://api.stripe.com/v1/x/y")).decision
    assert decision.reason == "denied: no"
