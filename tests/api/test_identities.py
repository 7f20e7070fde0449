"""The identities file: users, roles and policies, and everything that may be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepout.api.access import may_run_as
from stepout.api.identities import MACHINE_TRUST, Directories, Directory, machine_role
from stepout.aws.iam import Request
from stepout.errors import SettingsError

ACCOUNT = "123456789012"
TRUST = json.dumps(MACHINE_TRUST)
CALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "states:StartSyncExecution", "Resource": "*"}],
}
FILE = f"""
[user.ann]
access_key_id = "AKIDANN"
secret_access_key = "sesame"
policies = ["call"]
boundary = "AdministratorAccess"
tags = {{ team = "shop" }}

[user.bob]
access_keys = [
    {{ access_key_id = "AKIDOLD", secret_access_key = {{ env = "OLD" }} }},
    {{ access_key_id = "AKIDNEW", secret_access_key = {{ file = "%s" }} }},
]

[role.orders]
policies = ["in-a-file", "in-toml", "arn:aws:iam::aws:policy/AWSStepFunctionsFullAccess"]
trust = '''{TRUST}'''
max_session = 7200

[policy]
call = '''{json.dumps(CALL)}'''

[policy.in-a-file]
file = "call.json"

[[policy.in-toml.Statement]]
Effect = "Allow"
Action = "events:*"
Resource = "*"

[endpoint]
id = "vpce-0123abcd"
policy = '''
{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "states:*", "Resource": "*"}}}}
'''
"""


def load(directory: Path, text: str) -> Directory:
    (directory / "call.json").write_text(json.dumps(CALL))
    (directory / "new").write_text("of the file\n")
    path = directory / "identities.toml"
    path.write_text(text)
    environ = {"OLD": "of the variable"}
    return Directory.load(path, account=ACCOUNT, region="eu-west-1", environ=environ)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return load(tmp_path, FILE % (tmp_path / "new"))


def test_a_user_has_a_name_keys_and_tags(directory: Directory) -> None:
    ann = directory.users["ann"]
    assert ann.principal.arn == "arn:aws:iam::123456789012:user/ann"
    assert ann.principal.tags == {"team": "shop"}
    assert ann.principal.user_id.startswith("AIDA")
    assert ann.keys["AKIDANN"].reveal() == "sesame"
    assert "sesame" not in repr(directory)


def test_secrets_are_read_from_variables_and_files(directory: Directory) -> None:
    assert directory.keys["AKIDOLD"] is directory.keys["AKIDNEW"]
    keys = directory.users["bob"].keys
    assert [keys[name].reveal() for name in ("AKIDOLD", "AKIDNEW")] == [
        "of the variable",
        "of the file",
    ]


def test_policies_decide(directory: Directory) -> None:
    ann = directory.users["ann"]
    arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:m"
    started = Request(ann.principal, "states:StartSyncExecution", arn)
    assert ann.grants.decide(started).allowed
    deleted = Request(ann.principal, "states:DeleteStateMachine", arn)
    assert ann.grants.decide(deleted).reason == "no-identity-policy-allows"
    connected = Request(ann.principal, "events:ListConnections", "*")
    assert ann.grants.decide(connected).reason == "no-endpoint-policy-allows"


def test_a_role_has_policies_of_every_kind_of_place(directory: Directory) -> None:
    role = directory.roles["arn:aws:iam::123456789012:role/orders"]
    assert [policy.name for policy in role.policies] == [
        "in-a-file",
        "in-toml",
        "AWSStepFunctionsFullAccess",
    ]
    assert role.max_session == 7_200
    assert role.as_machine.arn == "arn:aws:sts::123456789012:assumed-role/orders/StepFunctions"


def test_a_machine_runs_as_a_role_that_trusts_step_functions(tmp_path: Path) -> None:
    elsewhere = TRUST.replace("states.amazonaws.com", "lambda.amazonaws.com")
    directory = load(
        tmp_path, f"[role.a]\ntrust = '''{TRUST}'''\n[role.b]\ntrust = '''{elsewhere}'''\n"
    )
    machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:m"
    found = {
        name: may_run_as(directory, f"arn:aws:iam::123456789012:role/{name}", machine)
        for name in ("a", "b", "c")
    }
    assert [name for name, role in found.items() if role is not None] == ["a"]


def test_roles_of_the_server_stay_when_the_file_changes(directory: Directory) -> None:
    directories = Directories(Directory())
    made = machine_role("made", ACCOUNT, "eu-west-1", CALL)
    directories.add(made)
    directories.take(directory)
    assert set(directories.current.roles) == {made.arn, *directory.roles}
    assert directories.current.endpoint is directory.endpoint
    replaced = machine_role("made", ACCOUNT, "eu-west-1", CALL)
    directories.add(replaced)
    assert directories.current.roles[made.arn] is replaced


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("\n", ["expected tables, found an empty file"]),
        ("[user", ["is not TOML"]),
        ("user = 1", ["[user]: expected tables [user.NAME], found 1"]),
        ("[user]\nann = 1", ["[user.ann]: expected a table, found 'something else'"]),
        ('[user]\nann = "sesame"', ["[user.ann]: expected a table, found 'something else'"]),
        ("[users.ann]\n", ["users: there is no such key; did you mean 'user'?"]),
        ("[user.ann]\naccess_keys = 5", ["access_keys: expected a list of tables"]),
        ('[user.ann]\naccess_keys = "sesame"', ["access_keys: expected a list of tables"]),
        ("[user.ann]\npolicy = []", ["policy: there is no such key; did you mean 'policies'?"]),
        ('[user.ann]\naccess_key_id = "AKID"', ["'secret_access_key' is missing"]),
        ('[user.ann]\naccess_key_id = 5\nsecret_access_key = "sesame"', ["found 5"]),
        (
            '[user.ann]\naccess_key_id = "AKID"\nsecret_access_key = ["sesame"]',
            ['secret_access_key: expected a text, { env = "NAME" } or { file = "PATH" }.'],
        ),
        (
            '[user.ann]\naccess_key_id = "AKID"\nsecret_access_key = { env = "NONE" }',
            ["[user.ann]: Expected a secret in the variable NONE, found nothing."],
        ),
        (
            '[user.a]\naccess_key_id = "AKID"\nsecret_access_key = "sesame"\n'
            '[user.b]\naccess_key_id = "AKID"\nsecret_access_key = "sesame"',
            ["[user.b]: [user.a] has the access key AKID, too."],
        ),
        ('[user.ann]\npolicies = ["none"]', ["[user.ann]: policies: there is no policy 'none'"]),
        ("[role.r]\n", ["[role.r]: 'trust' is missing"]),
        ('[role.r]\ntrust = "{"', ["[role.r]: trust: "]),
        ("[policy.p]\nfile = 'nowhere.json'", ["[policy.p]: the file cannot be read"]),
        (
            "[[policy.p.Statement]]\nEffect = 'allow'\nAction = 'states:*'",
            ["[policy.p]: Statement[0]"],
        ),
        ("[endpoint]\nid = 'x'", ["[endpoint]: id: expected an endpoint's id"]),
        ("[user.'a b']\n", ["[user.a b]: expected a name"]),
    ],
)
def test_every_problem_is_told_without_secrets(
    tmp_path: Path, text: str, problems: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    for problem in problems:
        assert problem in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, "[role.r]\n[user.a]\nx = 1\n[policy.p]\nfile = 'nowhere.json'\n")
    assert len(str(caught.value).splitlines()) >= 3
    assert all("identities.toml: " in line for line in str(caught.value).splitlines())
