"""Users, roles and policies of a real server, asked by unmodified boto3."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stepout.api.identities import MACHINE_TRUST
from stepout.testing import Origin, Server

ACCOUNT = "123456789012"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:orders"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/orders"
URL = "https://api.example.com/v1/items"
PASS = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})


def statement(effect: str, action: Any, resource: Any, **condition: Any) -> dict[str, Any]:
    found = {"Effect": effect, "Action": action, "Resource": resource}
    return {**found, "Condition": condition} if condition else found


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


POLICIES = {
    "caller": policy(
        statement("Allow", "states:StartSyncExecution", MACHINE),
        statement("Allow", "states:DescribeStateMachine", "*"),
        statement(
            "Deny", "states:DescribeStateMachine", "*", Bool={"aws:SecureTransport": "false"}
        ),
    ),
    "maker": policy(
        statement("Allow", ["states:*", "events:*"], "*"),
        statement(
            "Allow",
            "iam:PassRole",
            ROLE,
            StringEquals={"iam:PassedToService": "states.amazonaws.com"},
        ),
    ),
    "orders": policy(
        statement(
            "Allow",
            "states:InvokeHTTPEndpoint",
            MACHINE,
            StringLike={"states:HTTPEndpoint": "https://api.example.com/v1/*"},
            StringEquals={"states:HTTPMethod": "GET"},
        ),
        statement(
            "Allow",
            "events:RetrieveConnectionCredentials",
            f"arn:aws:events:*:{ACCOUNT}:connection/readable/*",
        ),
        statement(
            "Allow",
            "events:RetrieveConnectionCredentials",
            f"arn:aws:events:*:{ACCOUNT}:connection/closed/*",
        ),
        statement(
            "Allow",
            "secretsmanager:*",
            "arn:aws:secretsmanager:*:*:secret:events!connection/readable/*",
        ),
    ),
    "deputy": policy(statement("Allow", "states:List*", "*")),
    "live": policy(
        statement(
            "Allow",
            [f"states:{name}" for name in ("StartSyncExecution", "*Alias", "TagResource")],
            MACHINE,
            **{"ForAnyValue:StringEquals": {"states:StateMachineQualifier": ["LIVE", "1"]}},
        ),
    ),
    "own-team": policy(
        statement(
            "Allow",
            "states:*",
            "*",
            StringEquals={"aws:ResourceTag/team": "${aws:PrincipalTag/team}"},
        ),
        statement("Deny", "states:*", "*", StringEquals={"aws:ResourceTag/frozen": "yes"}),
    ),
    "creator": policy(
        statement("Allow", ["states:CreateStateMachine", "states:UpdateStateMachine"], "*"),
        statement("Allow", "iam:PassRole", ROLE),
    ),
    "red-team": policy(
        statement("Deny", "*", "*", StringEquals={"aws:SourceIdentity": "eve"}),
        statement("Allow", "states:List*", "*", StringEquals={"aws:PrincipalTag/team": "red"}),
    ),
    "may-become": policy(
        statement("Allow", "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/by-account")
    ),
}


def trust(principal: Any, action: Any = "sts:AssumeRole", **condition: Any) -> str:
    found: dict[str, Any] = {"Effect": "Allow", "Action": action, "Principal": principal}
    return json.dumps({"Statement": {**found, "Condition": condition} if condition else found})


TRUSTS = {
    "orders": json.dumps(MACHINE_TRUST),
    "lambda-only": trust({"Service": "lambda.amazonaws.com"}),
    "by-name": trust(
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/caller"}, StringEquals={"sts:ExternalId": "x1"}
    ),
    "by-account": trust({"AWS": ACCOUNT}),
    "untagged": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/caller"}),
    "tagged": trust(
        {
            "AWS": [
                f"arn:aws:iam::{ACCOUNT}:user/caller",
                f"arn:aws:sts::{ACCOUNT}:assumed-role/tagged/session",
            ]
        },
        ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    ),
}
ROLE_POLICIES = {
    "orders": ["orders"],
    "by-name": ["deputy"],
    "by-account": ["deputy"],
    "untagged": ["red-team"],
    "tagged": ["red-team"],
}
USERS = {
    "caller": ["caller"],
    "maker": ["maker", "may-become"],
    "nobody": [],
    "live": ["live"],
    "teammate": ["own-team"],
    "creator": ["creator"],
    "admin": ["AdministratorAccess"],
}


def identities(endpoint: str | None = None) -> str:
    users = [
        f'[user.{name}]\naccess_key_id = "AKID{name.upper()}"\nsecret_access_key = "{name}"\n'
        f'policies = {json.dumps(names)}\ntags = {{ team = "shop" }}\n'
        for name, names in USERS.items()
    ]
    roles = [
        f"[role.{name}]\npolicies = {json.dumps(ROLE_POLICIES.get(name, []))}\n"
        f"trust = '''{document}'''\n"
        for name, document in TRUSTS.items()
    ]
    policies = [f"[policy.{name}]\ndocument = '''{text}'''\n" for name, text in POLICIES.items()]
    last = [] if endpoint is None else [f"[endpoint]\npolicy = '''{endpoint}'''\n"]
    return "\n".join([*users, *roles, *policies, *last])


@dataclass(frozen=True, slots=True)
class World:
    server: Server
    origin: Origin
    audit: Path

    def client(
        self,
        user: str,
        service: str = "stepfunctions",
        region: str = "us-east-1",
        **credentials: str,
    ) -> Any:
        connect: Any = boto3.client
        return connect(
            service,
            endpoint_url=self.server.url,
            region_name=region,
            **(
                credentials
                or {"aws_access_key_id": f"AKID{user.upper()}", "aws_secret_access_key": user}
            ),
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )

    def lines(self, count: int = 0) -> list[dict[str, Any]]:
        """So many lines of the audit log; the last one comes a moment after its answer."""
        for _ in range(1_000):
            lines = self.audit.read_text().splitlines()
            if len(lines) >= count:
                break
            time.sleep(0.01)
        return [json.loads(line) for line in lines]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path, audit = tmp_path / "identities.toml", tmp_path / "audit.jsonl"
    path.write_text(identities())
    with (
        Origin() as origin,
        Server(origin=origin, identities=path, audit=str(audit)) as server,
    ):
        yield World(server, origin, audit)


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def make(world: World, definition: str = PASS, user: str = "maker", **members: Any) -> str:
    given = {"name": "orders", "type": "EXPRESS", "roleArn": ROLE, **members}
    made = world.client(user).create_state_machine(definition=definition, **given)
    arn: str = made["stateMachineArn"]
    return arn


def test_a_caller_may_do_what_its_policies_allow_and_nothing_else(world: World) -> None:
    arn = make(world)
    sfn = world.client("caller")
    assert sfn.start_sync_execution(stateMachineArn=arn)["status"] == "SUCCEEDED"
    assert refusal(sfn.delete_state_machine, stateMachineArn=arn) == (
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/caller is not authorized to perform: "
        f"states:DeleteStateMachine on resource: {MACHINE} because no identity-based policy allows "
        "the states:DeleteStateMachine action",
    )
    assert (
        refusal(sfn.start_sync_execution, stateMachineArn=f"{arn}2")[0] == "AccessDeniedException"
    )


def test_a_condition_is_asked_of_the_request(world: World) -> None:
    """The test's server speaks plain HTTP, which the policy denies to describe by."""
    code, message = refusal(world.client("caller").describe_state_machine, stateMachineArn=MACHINE)
    assert code == "AccessDeniedException"
    assert message.endswith("with an explicit deny in an identity-based policy")


def not_allowed(user: str, action: str, resource: str = MACHINE) -> tuple[str, str]:
    return (
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/{user} is not authorized to perform: {action} on "
        f"resource: {resource} because no identity-based policy allows the {action} action",
    )


def test_versions_and_aliases_count_as_their_machine_and_a_condition_tells_them_apart(
    world: World,
) -> None:
    arn = make(world, publish=True)
    maker, live, caller = (world.client(user) for user in ("maker", "live", "caller"))
    routes: Any = [{"stateMachineVersionArn": f"{arn}:1", "weight": 100}]
    assert refusal(
        live.create_state_machine_alias, name="TEST", routingConfiguration=routes
    ) == not_allowed("live", "states:CreateStateMachineAlias")
    live.create_state_machine_alias(name="LIVE", routingConfiguration=routes)
    maker.create_state_machine_alias(name="TEST", routingConfiguration=routes)
    for qualified in (f"{arn}:LIVE", f"{arn}:1"):
        assert live.start_sync_execution(stateMachineArn=qualified)["status"] == "SUCCEEDED"
    expected = not_allowed("live", "states:StartSyncExecution")
    for other in (f"{arn}:TEST", f"{arn}:2", arn):
        assert refusal(live.start_sync_execution, stateMachineArn=other) == expected
    live.update_state_machine_alias(stateMachineAliasArn=f"{arn}:LIVE", description="d")
    assert refusal(
        live.delete_state_machine_alias, stateMachineAliasArn=f"{arn}:TEST"
    ) == not_allowed("live", "states:DeleteStateMachineAlias")
    # Who may start the machine may start what was published of it.
    # A line is written behind its answer, and before the next request of the connection.
    for _ in range(2):
        assert caller.start_sync_execution(stateMachineArn=f"{arn}:TEST")["status"] == "SUCCEEDED"
    assert f"{arn}:TEST" in [line.get("resource") for line in world.lines()]


def test_who_publishes_or_tags_by_another_call_must_be_allowed_that_too(world: World) -> None:
    create = world.client("creator").create_state_machine
    given = {"name": "orders", "definition": PASS, "type": "EXPRESS", "roleArn": ROLE}
    publishing = not_allowed("creator", "states:PublishStateMachineVersion")
    assert refusal(create, **given, publish=True) == publishing
    tags = [{"key": "a", "value": "b"}]
    assert refusal(create, **given, tags=tags) == not_allowed("creator", "states:TagResource")
    arn = create(**given, publish=False, tags=[])["stateMachineArn"]
    update = world.client("creator").update_state_machine
    assert refusal(update, stateMachineArn=arn, definition=f"{PASS} ", publish=True) == publishing
    update(stateMachineArn=arn, definition=f"{PASS} ")


def test_a_tag_without_a_key_is_refused_and_breaks_nothing(world: World) -> None:
    arn = make(world)
    loose: Any = boto3.client(
        "stepfunctions",
        endpoint_url=world.server.url,
        region_name="us-east-1",
        aws_access_key_id="AKIDMAKER",
        aws_secret_access_key="maker",
        config=Config(inject_host_prefix=False, parameter_validation=False),
    )
    code, message = refusal(loose.tag_resource, resourceArn=arn, tags=[{"value": "v"}])
    assert (code, "tags.1.member.key" in message) == ("ValidationException", True)


def test_a_machines_tags_are_asked_where_a_policy_looks_at_them(world: World) -> None:
    arn = make(world, publish=True, tags=[{"key": "team", "value": "shop"}])
    other = make(world, name="other", tags=[{"key": "team", "value": "bank"}])
    mate, maker = world.client("teammate"), world.client("maker")
    assert mate.start_sync_execution(stateMachineArn=arn)["status"] == "SUCCEEDED"
    assert mate.start_sync_execution(stateMachineArn=f"{arn}:1")["status"] == "SUCCEEDED"
    expected = not_allowed("teammate", "states:StartSyncExecution", other)
    assert refusal(mate.start_sync_execution, stateMachineArn=other) == expected
    assert refusal(mate.start_sync_execution, stateMachineArn=f"{other}s")[0] == expected[0]
    maker.tag_resource(resourceArn=other, tags=[{"key": "team", "value": "shop"}])
    assert mate.start_sync_execution(stateMachineArn=other)["status"] == "SUCCEEDED"
    maker.tag_resource(resourceArn=other, tags=[{"key": "frozen", "value": "yes"}])
    code, message = refusal(mate.describe_state_machine, stateMachineArn=other)
    assert (code, message.rpartition("with ")[2]) == (
        "AccessDeniedException",
        "an explicit deny in an identity-based policy",
    )


def test_a_role_is_handed_over_by_those_who_may_only(world: World) -> None:
    create = world.client("maker").create_state_machine
    given = {"name": "m", "definition": PASS, "type": "EXPRESS"}
    other = f"arn:aws:iam::{ACCOUNT}:role/lambda-only"
    assert refusal(create, roleArn=other, **given) == (
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/maker is not authorized to perform: iam:PassRole on "
        f"resource: {other} because no identity-based policy allows the iam:PassRole action",
    )
    assert "deny" not in make(world)


def test_a_role_that_does_not_trust_step_functions_is_no_machines_role(world: World) -> None:
    create = world.client("admin").create_state_machine
    for role in ("lambda-only", "not-there"):
        code, message = refusal(
            create,
            name="m",
            definition=PASS,
            type="EXPRESS",
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}",
        )
        assert code == "AccessDeniedException"
        assert message.startswith("Neither the global service principal states.amazonaws.com")


def task(connection: str, **parameters: Any) -> str:
    given = {"ApiEndpoint": URL, "Method": "GET", **parameters}
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {**given, "InvocationConfig": {"ConnectionArn": connection}},
        "End": True,
    }
    return json.dumps({"StartAt": "A", "States": {"A": state}})


def connect(world: World, name: str) -> str:
    parameters = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "canary"}}
    made = world.client("maker", "events").create_connection(
        Name=name, AuthorizationType="API_KEY", AuthParameters=parameters
    )
    arn: str = made["ConnectionArn"]
    return arn


def outcome(world: World, definition: str) -> tuple[str | None, str | None]:
    arn = make(world, definition)
    answer = world.client("caller").start_sync_execution(stateMachineArn=arn)
    world.client("maker").delete_state_machine(stateMachineArn=arn)
    return answer.get("error"), answer.get("cause")


def test_the_machines_role_is_asked_for_the_endpoint_and_the_connection(world: World) -> None:
    route = world.origin.get(URL).respond(200, json={})
    readable, closed = connect(world, "readable"), connect(world, "closed")
    other = connect(world, "other")
    assert outcome(world, task(readable)) == (None, None)
    assert len(route.requests) == 1

    for parameters in ({"Method": "POST"}, {"ApiEndpoint": "https://api.example.com/v2/x"}):
        error, cause = outcome(world, task(readable, **parameters))
        url = parameters.get("ApiEndpoint", URL)
        assert error == "States.Http.AccessDenied"
        assert cause == (
            "AWS Step Functions is not authorized to perform states:InvokeHTTPEndpoint on API "
            f"Endpoint {url}. Ensure that the StateMachine role contains the "
            "states:InvokeHTTPEndpoint permission for the given API Endpoint"
        )
    assert outcome(world, task(closed)) == (
        "Events.ConnectionResource.AccessDenied",
        "No permissions to call DescribeSecret and/or GetSecretValue on the secret associated with "
        "the connection resource.",
    )
    assert outcome(world, task(other)) == (
        "Events.ConnectionResource.AccessDenied",
        "No permissions to call RetrieveConnectionCredentials on the connection resource.",
    )
    assert len(route.requests) == 1


def test_everybody_may_ask_who_they_are(world: World) -> None:
    identity = world.client("nobody", "sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/nobody"
    assert identity["Account"] == ACCOUNT
    assert identity["UserId"].startswith("AIDA")
    assert refusal(world.client("nobody").list_state_machines)[0] == "AccessDeniedException"


def assume(world: World, user: str, role: str, **members: Any) -> dict[str, str]:
    credentials = world.client(user, "sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="session", **members
    )["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


def test_a_role_is_assumed_and_may_do_what_it_may(world: World) -> None:
    session = assume(world, "caller", "by-name", ExternalId="x1")
    identity = world.client("", "sts", **session).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/by-name/session"
    sfn = world.client("", **session)
    assert sfn.list_state_machines()["stateMachines"] == []
    code, message = refusal(sfn.describe_state_machine, stateMachineArn=MACHINE)
    assert code == "AccessDeniedException"
    assert f"User: arn:aws:sts::{ACCOUNT}:assumed-role/by-name/session is not authorized" in message
    forged = {**session, "aws_session_token": "another"}
    code, _ = refusal(world.client("", **forged).list_state_machines)
    assert code == "UnrecognizedClientException"


def test_a_role_is_assumed_by_those_only_whom_it_trusts(world: World) -> None:
    assert assume(world, "maker", "by-account")  # its own policy and the account's name
    roles = "arn:aws:iam::123456789012:role"
    for user, role, members in (
        ("caller", "by-name", {}),  # no external id
        ("caller", "by-account", {}),  # no policy of its own
        ("maker", "by-name", {"ExternalId": "x1"}),  # not named
        ("maker", "orders", {}),  # a service's
        ("maker", "not-there", {}),
    ):
        code, message = refusal(
            world.client(user, "sts").assume_role,
            RoleArn=f"{roles}/{role}",
            RoleSessionName="session",
            **members,
        )
        assert code == "AccessDenied", (user, role)
        assert (
            f"is not authorized to perform: sts:AssumeRole on resource: {roles}/{role}" in message
        )


RED = [{"Key": "team", "Value": "red"}]


@pytest.mark.parametrize(
    ("members", "action"),
    [({"Tags": RED}, "sts:TagSession"), ({"SourceIdentity": "me"}, "sts:SetSourceIdentity")],
)
def test_what_policies_believe_of_a_session_is_asked_for_besides(
    world: World, members: dict[str, Any], action: str
) -> None:
    """Whoever may become a role could else give it any tag that opens a policy."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/untagged"
    code, message = refusal(
        world.client("caller", "sts").assume_role,
        RoleArn=arn,
        RoleSessionName="session",
        **members,
    )
    assert code == "AccessDenied"
    assert message.startswith(
        f"User: arn:aws:iam::{ACCOUNT}:user/caller is not authorized to perform: {action} on "
        f"resource: {arn}"
    )
    assert assume(world, "caller", "untagged")
    assert assume(world, "caller", "tagged", **members)


def test_a_tag_of_a_session_is_one_of_its_principal(world: World) -> None:
    plain = assume(world, "caller", "tagged")
    assert refusal(world.client("", **plain).list_state_machines)[0] == "AccessDeniedException"
    red = assume(world, "caller", "tagged", Tags=RED)
    assert world.client("", **red).list_state_machines()["stateMachines"] == []


def test_a_source_identity_stays_with_all_sessions_that_follow(world: World) -> None:
    first = assume(world, "caller", "tagged", Tags=RED, SourceIdentity="eve")
    sfn = world.client("", **first)
    assert refusal(sfn.list_state_machines)[1].endswith("deny in an identity-based policy")


def test_a_source_identity_cannot_be_changed(world: World) -> None:
    first = assume(world, "caller", "tagged", SourceIdentity="ann")
    sts = world.client("", "sts", **first)
    given = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/tagged", "RoleSessionName": "session"}
    assert sts.assume_role(**given)["SourceIdentity"] == "ann"
    assert refusal(sts.assume_role, SourceIdentity="bob", **given) == (
        "AccessDenied",
        "The source identity of a session cannot be changed.",
    )


def test_a_tag_comes_once_in_whatever_case_its_key_is_written(world: World) -> None:
    code, message = refusal(
        world.client("caller", "sts").assume_role,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/tagged",
        RoleSessionName="session",
        Tags=[*RED, {"Key": "Team", "Value": "blue"}],
    )
    assert code == "InvalidParameterValue"
    assert message.startswith("Duplicate tag keys found.")


def test_nobody_learns_which_roles_there_are(world: World) -> None:
    told = [
        refusal(
            world.client("nobody", "sts").assume_role,
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}",
            RoleSessionName="session",
        )[1].replace(role, "ROLE")
        for role in ("by-name", "not-there")
    ]
    assert told[0] == told[1]


def test_a_session_policy_takes_away(world: World) -> None:
    nothing = policy(statement("Allow", "states:DescribeStateMachine", "*"))
    session = assume(world, "caller", "by-name", ExternalId="x1", Policy=nothing)
    code, message = refusal(world.client("", **session).list_state_machines)
    assert (code, message[-65:]) == (
        "AccessDeniedException",
        "because no session policy allows the states:ListStateMachines action"[-65:],
    )


def test_a_session_may_do_what_a_named_policy_allows_at_most(world: World) -> None:
    arns = [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/caller"}]
    session = assume(world, "caller", "by-name", ExternalId="x1", PolicyArns=arns)
    code, message = refusal(world.client("", **session).list_state_machines)
    assert code == "AccessDeniedException"
    assert "because no session policy allows" in message
    code, message = refusal(
        world.client("caller", "sts").assume_role,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/by-name",
        RoleSessionName="session",
        ExternalId="x1",
        PolicyArns=[{"arn": f"arn:aws:iam::{ACCOUNT}:policy/not-there"}],
    )
    assert (code, message) == ("ValidationError", "There is no policy not-there.")


def test_a_session_that_would_last_too_long_is_refused(world: World) -> None:
    code, message = refusal(
        world.client("caller", "sts").assume_role,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/by-name",
        RoleSessionName="session",
        ExternalId="x1",
        DurationSeconds=7_200,
    )
    assert code == "ValidationError"
    assert "exceeds the MaxSessionDuration set for this role" in message


def test_the_endpoints_policy_is_asked_of_everybody(tmp_path: Path) -> None:
    path = tmp_path / "identities.toml"
    only = {"Effect": "Allow", "Principal": "*", "Action": "states:List*", "Resource": "*"}
    path.write_text(identities(json.dumps({"Statement": only})))
    with Origin() as origin, Server(origin=origin, identities=path) as server:
        admin = World(server, origin, tmp_path).client("admin")
        assert admin.list_state_machines()["stateMachines"] == []
        code, message = refusal(admin.describe_state_machine, stateMachineArn=MACHINE)
        assert code == "AccessDeniedException"
        assert message.endswith(
            "because no VPC endpoint policy allows the states:DescribeStateMachine action"
        )


def test_every_request_has_its_line_in_the_audit_log(world: World) -> None:
    arn = make(world)
    world.client("caller").start_sync_execution(stateMachineArn=arn, input='{"card": "4111"}')
    refusal(world.client("nobody").describe_state_machine, stateMachineArn=arn)
    refusal(
        world.client(
            "", aws_access_key_id="AKIDCALLER", aws_secret_access_key="wrong"
        ).list_state_machines
    )
    lines = world.lines(4)
    shown = [(line["operation"], line["decision"], line.get("resource")) for line in lines]
    assert shown == [
        ("CreateStateMachine", "allowed", MACHINE),
        ("StartSyncExecution", "allowed", MACHINE),
        ("DescribeStateMachine", "denied", MACHINE),
        ("ListStateMachines", "unidentified", None),
    ]
    assert lines[1]["principal"] == f"arn:aws:iam::{ACCOUNT}:user/caller"
    assert lines[1]["reason"].startswith("allowed: the statement Statement[0] of the")
    assert lines[2]["error"] == "AccessDeniedException"
    assert lines[2]["reason"] == "no-identity-policy-allows"
    assert {line["source_ip"] for line in lines} == {"127.0.0.1"}
    assert "4111" not in world.audit.read_text()


def test_the_audit_log_tells_which_role_was_asked_for_and_what_became_of_it(world: World) -> None:
    assume(world, "caller", "tagged")
    refusal(
        world.client("nobody", "sts").assume_role,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/tagged",
        RoleSessionName="session",
    )
    shown = [(line["resource"].rpartition("/")[2], line["decision"]) for line in world.lines(2)]
    assert shown == [("tagged", "allowed"), ("tagged", "denied")]


def test_a_caller_cannot_forge_lines_nor_steer_a_terminal(world: World) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\xc2\x9b31m\xe2\x80\xa8\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    host, _, port = world.server.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
    assert world.audit.read_text().removesuffix("\n").isprintable()
    assert world.lines()[0]["user_agent"].startswith("x")


def test_a_line_is_there_before_its_answer_goes_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it cannot go out: the request was served."""

    async def fail(*_: object) -> None:
        raise OSError("the client is gone")

    monkeypatch.setattr("stepout.api.app._send", fail)
    with pytest.raises(ClientError):
        make(world)
    shown = [(line["operation"], line["decision"]) for line in world.lines()]
    assert shown == [("CreateStateMachine", "allowed")]


def test_a_request_that_is_cut_off_has_its_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stops cancels what it does not wait for any longer."""

    async def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("stepout.api.app.App._perform", cut_off)
    with pytest.raises(BotoCoreError):
        world.client("admin").list_state_machines()
    assert [(line["operation"], line["status"]) for line in world.lines()] == [
        ("ListStateMachines", 503)
    ]


def test_a_changed_file_takes_effect_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepout.api.reload.INTERVAL_SECONDS", 0.01)
    path, document = tmp_path / "identities.toml", tmp_path / "policy.json"
    document.write_text(POLICIES["deputy"])
    path.write_text(
        '[user.admin]\naccess_key_id = "AKIDADMIN"\nsecret_access_key = "admin"\n'
        'policies = ["p"]\n[policy]\np = { file = "policy.json" }\n'
    )
    with Origin() as origin, Server(origin=origin, identities=path) as server:
        list_machines = World(server, origin, tmp_path).client("admin").list_state_machines
        assert list_machines()["stateMachines"] == []
        document.write_text(policy(statement("Deny", "*", "*")))
        deadline = time.monotonic() + 30
        with pytest.raises(ClientError, match="with an explicit deny"):  # noqa: PT012 — it waits
            while time.monotonic() < deadline:
                list_machines()


def test_a_machine_does_not_come_through_the_callers_endpoint(tmp_path: Path) -> None:
    """The policy of the callers' endpoint is none of what the machine calls (VPC user guide)."""
    path = tmp_path / "identities.toml"
    only = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["states:*StateMachine", "states:StartSyncExecution", "events:*", "iam:*"],
        "Resource": "*",
    }
    path.write_text(identities(json.dumps({"Statement": only})))
    with Origin() as origin, Server(origin=origin, identities=path) as server:
        origin.get(URL).respond(200, json={})
        world = World(server, origin, tmp_path)
        assert outcome(world, task(connect(world, "readable"))) == (None, None)


def test_a_machine_is_there_in_its_own_region_alone(world: World) -> None:
    """Else whoever may call one region only would reach the machines of all, by their ARNs."""
    arn = make(world)
    elsewhere = world.client("admin", region="eu-central-1")
    for call in (
        elsewhere.describe_state_machine,
        elsewhere.start_sync_execution,
        elsewhere.start_execution,
    ):
        assert refusal(call, stateMachineArn=arn) == (
            "StateMachineDoesNotExist",
            f"State Machine Does Not Exist: '{arn}'",
        )
    code, _ = refusal(elsewhere.update_state_machine, stateMachineArn=arn, definition=PASS)
    assert code == "StateMachineDoesNotExist"
    elsewhere.delete_state_machine(stateMachineArn=arn)
    assert world.client("admin").describe_state_machine(stateMachineArn=arn)["name"] == "orders"
