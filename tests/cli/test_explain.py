"""`stepout explain`: every question that is asked on the way out, and its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stepout.api.identities import MACHINE_TRUST
from stepout.cli.main import commands

UPSTREAMS = """
[upstream.items]
url = "https://api.example.com/v1/"
methods = ["GET", "POST"]
auth = "api-key"
"""
IDENTITIES = f"""
[user.app]
access_key_id = "AKIDAPP"
secret_access_key = {{ env = "NOT_SET" }}
policies = ["call"]

[user.nobody]

[role.orders]
policies = ["orders"]
trust = '''{json.dumps(MACHINE_TRUST)}'''

[role.lambda]
trust = '''{json.dumps(MACHINE_TRUST).replace("states.", "lambda.")}'''

[[policy.call.Statement]]
Effect = "Allow"
Action = "states:StartSyncExecution"
Resource = "*"

[[policy.orders.Statement]]
Effect = "Allow"
Action = "states:InvokeHTTPEndpoint"
Resource = "*"
Condition.StringLike."states:HTTPEndpoint" = "https://api.example.com/*"
"""
POLICY = """
default = "deny"
upstreams = true

[[deny]]
name = "not the admins' part"
paths = ["/v1/admin/"]
"""
ITEM = "https://api.example.com/v1/items"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("upstreams.toml").write_text(UPSTREAMS)
    Path("identities.toml").write_text(IDENTITIES)
    Path("policy.toml").write_text(POLICY)


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(
        commands, ["explain", *arguments], prog_name="stepout", catch_exceptions=False
    )


def steps(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = explain(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)["steps"]


ALL = ("--upstreams", "upstreams.toml", "--identities", "identities.toml")
WITH_POLICY = (*ALL, "--egress-policy", "policy.toml")


def test_a_call_that_goes_out_is_followed_from_the_caller_to_the_door() -> None:
    code, found = steps(ITEM, "--caller", "app", *WITH_POLICY)
    assert code == 0
    assert [step["allowed"] for step in found] == [True] * 7
    assert [_action(step["question"]) for step in found[2:6]] == [
        "states:InvokeHTTPEndpoint",
        "events:RetrieveConnectionCredentials",
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
    ]
    assert found[-1]["reason"].startswith("allowed: upstream:items; each address of the name")


def _action(question: str) -> str:
    return question.split(" ")[2]


def test_what_came_close_is_told() -> None:
    code, found = steps(ITEM, "--method", "delete", *WITH_POLICY)
    assert code == 1
    (refused,) = [step for step in found if "states:InvokeHTTPEndpoint" in step["question"]]
    assert refused["reason"] == "Denied: no identity-based policy allows it."
    assert "states:HTTPMethod expects 'GET' or 'POST', found 'DELETE'" in refused["hints"][0]
    assert "the rule upstream:items (allow) does not match by its methods" in found[-1]["hints"]


def test_a_deny_of_the_egress_policy_wins() -> None:
    code, found = steps("https://api.example.com/v1/admin/users", *WITH_POLICY)
    assert code == 1
    assert [step["allowed"] for step in found] == [True] * 5 + [False]
    assert found[-1]["reason"] == "denied: not the admins' part"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--caller", "nobody"), "Denied: no identity-based policy allows it."),
        (("--caller", "not-there"), "There is no such user or role."),
        (("--as", "not-there"), "There is no such role."),
        (("--as", "lambda"), "The role's trust policy does not let it."),
        (("--as", "orders", "--connection", "x"), "Denied: no identity-based policy allows it."),
    ],
)
def test_each_of_them_may_hold_the_call_up(arguments: tuple[str, ...], reason: str) -> None:
    code, found = steps(ITEM, *arguments, *ALL)
    assert code == 1
    assert reason in [step["reason"] for step in found if not step["allowed"]]


def test_a_role_and_a_machine_without_upstreams() -> None:
    arguments = ("--as", "arn:aws:iam::123456789012:role/orders", "--machine", "orders")
    code, found = steps(ITEM, *arguments, "--identities", "identities.toml")
    assert (code, len(found)) == (0, 3)


def test_an_address_is_judged_at_once() -> None:
    code, found = steps("https://127.0.0.1/", "--as", "orders", "--machine", "orders")
    assert code == 1
    assert [step["reason"] for step in found] == [
        "not asked: there is no identities file, so everybody may.",
        "address-loopback: 127.0.0.0/8",
    ]


def test_people_read_yes_and_no() -> None:
    result = explain("https://evil.example/", *WITH_POLICY)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("yes  may states.amazonaws.com assume")
    assert "NO   does the egress policy let it out?" in lines
    assert lines[-1] == "GET https://evil.example/ would not go out."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected --as ROLE and --machine NAME, or --upstreams FILE"),
        (("--upstreams", "nowhere.toml"), "The upstreams file nowhere.toml cannot be read"),
        (("--as", "r", "--machine", "m", "--identities", "policy.toml"), "there is no such key"),
    ],
)
def test_what_cannot_be_explained_is_a_clear_error(
    arguments: tuple[str, ...], message: str
) -> None:
    result = explain(ITEM, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
