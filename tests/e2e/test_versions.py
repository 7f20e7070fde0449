"""Versions, aliases, tags and revision ids, asked by unmodified boto3."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import ROLE, ServerProcess

from stepout.testing import Server

PREFIX = "arn:aws:states:us-east-1:123456789012:stateMachine:"
NO_SUCH = f"{PREFIX}nothing"
ABSENT = "Request references a resource that does not exist."


def passing(result: str) -> str:
    state = {"Type": "Pass", "Result": result, "End": True}
    return json.dumps({"StartAt": "A", "States": {"A": state}})


def create(sfn: Any, name: str = "orders", result: str = "one", **members: Any) -> Any:
    given = {"type": "EXPRESS", "roleArn": ROLE, "definition": passing(result), **members}
    return sfn.create_state_machine(name=name, **given)


def update(sfn: Any, arn: str, result: str, **members: Any) -> Any:
    return sfn.update_state_machine(stateMachineArn=arn, definition=passing(result), **members)


def run(sfn: Any, arn: str) -> Any:
    answer = sfn.start_sync_execution(stateMachineArn=arn)
    return json.loads(answer["output"])


def route(arn: str, weight: int = 100) -> Any:
    return {"stateMachineVersionArn": arn, "weight": weight}


def alias(sfn: Any, name: str, *routes: Any, **members: Any) -> str:
    made = sfn.create_state_machine_alias(name=name, routingConfiguration=[*routes], **members)
    arn: str = made["stateMachineAliasArn"]
    return arn


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def machine(sfn: SFNClient) -> str:
    """A machine with two versions, and a revision that is no version."""
    arn: str = create(sfn, publish=True, versionDescription="first")["stateMachineArn"]
    update(sfn, arn, "two", publish=True)
    update(sfn, arn, "three")
    return arn


# --- Versions -------------------------------------------------------------------------------------


def test_a_version_is_described_and_run_as_it_was(sfn: SFNClient, machine: str) -> None:
    described = sfn.describe_state_machine(stateMachineArn=f"{machine}:1")
    assert described["stateMachineArn"] == f"{machine}:1"
    assert described["name"] == "orders"
    assert described["definition"] == passing("one")
    assert described["description"] == "first"
    assert "revisionId" not in described
    assert [run(sfn, f"{machine}{which}") for which in (":1", ":2", "")] == ["one", "two", "three"]


def test_a_version_keeps_role_logging_and_tracing_as_well(sfn: SFNClient) -> None:
    arn = create(sfn, publish=True, tracingConfiguration={"enabled": True})["stateMachineArn"]
    sfn.update_state_machine(
        stateMachineArn=arn, roleArn=f"{ROLE}2", tracingConfiguration={"enabled": False}
    )
    first = sfn.describe_state_machine(stateMachineArn=f"{arn}:1")
    now = sfn.describe_state_machine(stateMachineArn=arn)
    assert (first["roleArn"], now["roleArn"]) == (ROLE, f"{ROLE}2")
    assert first["tracingConfiguration"] == {"enabled": True}
    assert now["tracingConfiguration"] == {"enabled": False}


def test_an_execution_has_the_arn_of_its_machine(sfn: SFNClient, machine: str) -> None:
    answer = sfn.start_sync_execution(stateMachineArn=f"{machine}:1", name="e")
    assert answer["stateMachineArn"] == machine
    express = machine.replace(":stateMachine:", ":express:")
    assert answer["executionArn"].startswith(f"{express}:e:")


def test_an_update_makes_a_revision_unless_it_changes_nothing(sfn: SFNClient) -> None:
    arn = create(sfn)["stateMachineArn"]
    assert "revisionId" not in sfn.describe_state_machine(stateMachineArn=arn)
    assert "revisionId" not in update(sfn, arn, "one")
    second = update(sfn, arn, "two")["revisionId"]
    assert update(sfn, arn, "two")["revisionId"] == second
    assert sfn.describe_state_machine(stateMachineArn=arn)["revisionId"] == second
    third = update(sfn, arn, "one")["revisionId"]
    assert len({second, third}) == 2


def test_a_revision_is_published_once(sfn: SFNClient) -> None:
    arn = create(sfn)["stateMachineArn"]
    first = sfn.publish_state_machine_version(stateMachineArn=arn, description="d")
    again = sfn.publish_state_machine_version(stateMachineArn=arn, description="other")
    assert first["stateMachineVersionArn"] == again["stateMachineVersionArn"] == f"{arn}:1"
    assert first["creationDate"] == again["creationDate"]
    same = update(sfn, arn, "one", publish=True)
    assert same["stateMachineVersionArn"] == f"{arn}:1"
    assert update(sfn, arn, "two", publish=True)["stateMachineVersionArn"] == f"{arn}:2"


def test_a_revision_id_guards_against_publishing_another_one(sfn: SFNClient) -> None:
    arn = create(sfn)["stateMachineArn"]
    publish = sfn.publish_state_machine_version
    assert refusal(publish, stateMachineArn=arn, revisionId="r") == (
        "ConflictException",
        "Failed to publish the State Machine version for revision r. The current State Machine "
        "revision is INITIAL.",
    )
    first = publish(stateMachineArn=arn, revisionId="INITIAL")
    assert first["stateMachineVersionArn"] == f"{arn}:1"
    second = update(sfn, arn, "two")["revisionId"]
    assert refusal(publish, stateMachineArn=arn, revisionId="INITIAL")[1].endswith(f"{second}.")
    made = publish(stateMachineArn=arn, revisionId=second)
    assert made["stateMachineVersionArn"] == f"{arn}:2"


def test_creation_is_idempotent_over_publishing_too(sfn: SFNClient) -> None:
    first = create(sfn, publish=True, versionDescription="d", tags=[{"key": "a", "value": "1"}])
    again = create(sfn, publish=True, versionDescription="d", roleArn=f"{ROLE}2")
    assert again["stateMachineVersionArn"] == first["stateMachineVersionArn"]
    assert again["creationDate"] == first["creationDate"]
    for other in ({}, {"publish": True}, {"publish": True, "versionDescription": "e"}):
        assert refusal(create, sfn=sfn, **other)[0] == "StateMachineAlreadyExists"
    versions = sfn.list_state_machine_versions(stateMachineArn=first["stateMachineArn"])
    assert len(versions["stateMachineVersions"]) == 1


def test_a_description_belongs_to_a_version(sfn: SFNClient, machine: str) -> None:
    expected = ("ValidationException", "Version description can only be set when publish is true")
    assert refusal(create, sfn=sfn, name="other", versionDescription="d") == expected
    assert refusal(update, sfn=sfn, arn=machine, result="x", versionDescription="d") == expected
    assert run(sfn, machine) == "three"


def test_a_version_is_deleted_and_its_number_not_used_again(sfn: SFNClient, machine: str) -> None:
    for _ in range(2):
        sfn.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    for call in (sfn.start_sync_execution, sfn.start_execution, sfn.describe_state_machine):
        assert refusal(call, stateMachineArn=f"{machine}:2") == (
            "StateMachineDoesNotExist",
            f"State Machine Does Not Exist: '{machine}:2'",
        )
    made = sfn.publish_state_machine_version(stateMachineArn=machine)
    assert made["stateMachineVersionArn"] == f"{machine}:3"


def test_a_thousand_versions_are_listed_in_pages_and_can_be_deleted_meanwhile(
    sfn: SFNClient,
) -> None:
    arn = create(sfn, publish=True)["stateMachineArn"]
    for number in range(2, 1_001):
        update(sfn, arn, str(number), publish=True)
    code, message = refusal(update, sfn=sfn, arn=arn, result="more", publish=True)
    assert code == "ServiceQuotaExceededException"
    assert "1000 versions" in message
    # What was refused has not been done in part.
    assert run(sfn, arn) == "1000"
    update(sfn, arn, "more")
    assert refusal(sfn.publish_state_machine_version, stateMachineArn=arn)[0] == code
    newest_first = [f"{arn}:{number}" for number in range(1_000, 0, -1)]
    assert listed(sfn, stateMachineArn=arn) == (newest_first[:100], 100)
    assert listed(sfn, stateMachineArn=arn, maxResults=1_000) == (newest_first, 1_000)
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        given: Any = {"stateMachineArn": arn, "maxResults": 150, **token}
        page = sfn.list_state_machine_versions(**given)
        for item in page["stateMachineVersions"]:
            found.append(item["stateMachineVersionArn"])
            sfn.delete_state_machine_version(stateMachineVersionArn=found[-1])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert found == newest_first
    assert listed(sfn, stateMachineArn=arn) == ([], 0)
    made = sfn.publish_state_machine_version(stateMachineArn=arn)
    assert made["stateMachineVersionArn"] == f"{arn}:1001"


def listed(sfn: SFNClient, **members: Any) -> tuple[list[str], int]:
    page = sfn.list_state_machine_versions(**members)["stateMachineVersions"]
    return [item["stateMachineVersionArn"] for item in page], len(page)


def test_a_machine_that_does_not_exist_has_no_versions(sfn: SFNClient, machine: str) -> None:
    assert listed(sfn, stateMachineArn=NO_SUCH) == ([], 0)
    missing = ("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{NO_SUCH}'")
    assert refusal(sfn.publish_state_machine_version, stateMachineArn=NO_SUCH) == missing
    sfn.delete_state_machine_version(stateMachineVersionArn=f"{NO_SUCH}:1")
    version = f"{machine}:1"
    code, _ = refusal(sfn.publish_state_machine_version, stateMachineArn=version)
    assert code == "StateMachineDoesNotExist"
    assert refusal(sfn.list_state_machine_versions, stateMachineArn=version)[0] == "InvalidArn"
    for arn in (machine, f"{machine}:PROD"):
        code, _ = refusal(sfn.delete_state_machine_version, stateMachineVersionArn=arn)
        assert code == "InvalidArn"


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("publish_state_machine_version", "stateMachineArn"),
        ("list_state_machine_versions", "stateMachineArn"),
        ("list_state_machine_aliases", "stateMachineArn"),
        ("delete_state_machine_version", "stateMachineVersionArn"),
        ("describe_state_machine_alias", "stateMachineAliasArn"),
        ("delete_state_machine_alias", "stateMachineAliasArn"),
        ("list_tags_for_resource", "resourceArn"),
        ("describe_state_machine", "stateMachineArn"),
        ("start_execution", "stateMachineArn"),
    ],
)
def test_what_is_no_arn_of_a_machine_is_refused_everywhere(
    sfn: SFNClient, operation: str, member: str
) -> None:
    call = getattr(sfn, operation)
    assert refusal(call, **{member: "nonsense"}) == (
        "InvalidArn",
        "Invalid Arn: 'Invalid ARN prefix: nonsense'",
    )
    execution = PREFIX.replace("stateMachine", "execution") + "m:e"
    assert refusal(call, **{member: execution}) == (
        "InvalidArn",
        "Invalid Arn: 'Resource type not valid in this context: execution'",
    )
    with pytest.raises(ClientError) as caught:
        call(**{member: f"{PREFIX}m/label"})
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "ValidationException"
    assert response["reason"] == "API_DOES_NOT_SUPPORT_LABELED_ARNS"


# --- Aliases --------------------------------------------------------------------------------------


def test_an_alias_runs_the_versions_that_it_leads_to(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    assert prod == f"{machine}:PROD"
    assert run(sfn, prod) == "one"
    sfn.update_state_machine_alias(
        stateMachineAliasArn=prod,
        routingConfiguration=[route(f"{machine}:1", 0), route(f"{machine}:2")],
    )
    assert [run(sfn, prod) for _ in range(20)] == ["two"] * 20


def test_an_alias_is_described_changed_and_deleted(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1", 90), route(f"{machine}:2", 10), description="d")
    first = sfn.describe_state_machine_alias(stateMachineAliasArn=prod)
    assert (first["name"], first["description"]) == ("PROD", "d")
    routes = [route(f"{machine}:1", 90), route(f"{machine}:2", 10)]
    assert first["routingConfiguration"] == routes
    assert first["creationDate"] == first["updateDate"]
    described = sfn.describe_state_machine(stateMachineArn=prod)
    assert described["stateMachineArn"] == f"{machine}:1"
    changed = sfn.update_state_machine_alias(stateMachineAliasArn=prod, description="e")
    same = sfn.update_state_machine_alias(stateMachineAliasArn=prod, description="e")
    assert changed["updateDate"] == same["updateDate"]
    second = sfn.describe_state_machine_alias(stateMachineAliasArn=prod)
    assert (second["description"], second["routingConfiguration"]) == ("e", routes)
    assert second["creationDate"] == first["creationDate"]
    assert second["updateDate"] == changed["updateDate"]
    sfn.delete_state_machine_alias(stateMachineAliasArn=prod)
    assert listed(sfn, stateMachineArn=machine)[1] == 2
    missing = ("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{prod}'")
    for call in (sfn.start_sync_execution, sfn.start_execution, sfn.describe_state_machine):
        assert refusal(call, stateMachineArn=prod) == missing


def test_an_alias_without_a_description_shows_none(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    assert "description" not in sfn.describe_state_machine_alias(stateMachineAliasArn=prod)


def test_an_alias_that_is_not_there_is_told(sfn: SFNClient, machine: str) -> None:
    absent = f"{machine}:PROD"
    for call, further in (
        (sfn.describe_state_machine_alias, {}),
        (sfn.delete_state_machine_alias, {}),
        (sfn.update_state_machine_alias, {"description": "d"}),
    ):
        for arn in (absent, f"{NO_SUCH}:PROD"):
            assert refusal(call, stateMachineAliasArn=arn, **further) == (
                "ResourceNotFound",
                ABSENT,
            )
        for arn in (machine, f"{machine}:1"):
            assert refusal(call, stateMachineAliasArn=arn, **further)[0] == "InvalidArn"


def test_making_an_alias_is_idempotent(sfn: SFNClient, machine: str) -> None:
    given: Any = {"name": "PROD", "routingConfiguration": [route(f"{machine}:1")]}
    first = sfn.create_state_machine_alias(**given, description="d")
    assert (
        sfn.create_state_machine_alias(**given, description="d")["creationDate"]
        == (first["creationDate"])
    )
    conflict = (
        "ConflictException",
        "Failed to create alias because an alias with the same name and a different routing "
        "configuration already exists.",
    )
    other: Any = {**given, "routingConfiguration": [route(f"{machine}:2")]}
    assert refusal(sfn.create_state_machine_alias, **other, description="d") == conflict
    assert refusal(sfn.create_state_machine_alias, **given) == conflict


def test_an_alias_leads_to_versions_of_one_machine_that_are_there(
    sfn: SFNClient, machine: str
) -> None:
    other = create(sfn, name="other", publish=True)["stateMachineVersionArn"]
    make = sfn.create_state_machine_alias
    for absent in (f"{machine}:99", f"{NO_SUCH}:1", f"{machine}:01"):
        given: Any = {"name": "PROD", "routingConfiguration": [route(absent)]}
        assert refusal(make, **given) == ("ResourceNotFound", ABSENT)
    mixed: Any = {"routingConfiguration": [route(f"{machine}:1", 50), route(other, 50)]}
    code, message = refusal(make, name="PROD", **mixed)
    assert code == "ValidationException"
    assert message.endswith(f"Received: [{machine}:1, {other}]")
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    for routes in (mixed, {"routingConfiguration": [route(other)]}):
        given = {"stateMachineAliasArn": prod, **routes}
        code, message = refusal(sfn.update_state_machine_alias, **given)
        assert code == "ValidationException"
        assert "versions of the same state machine" in message
    given = {"stateMachineAliasArn": prod, "routingConfiguration": [route(f"{machine}:99")]}
    assert refusal(sfn.update_state_machine_alias, **given) == ("ResourceNotFound", ABSENT)
    with pytest.raises(ClientError) as caught:
        make(name="BAD", routingConfiguration=[route(f"{machine}:1", 50)])
    response: Any = caught.value.response
    assert response["reason"] == "INVALID_ROUTING_CONFIGURATION"


def test_a_change_of_an_alias_names_what_is_to_change(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    with pytest.raises(ClientError) as caught:
        sfn.update_state_machine_alias(stateMachineAliasArn=prod)
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "ValidationException"
    assert response["reason"] == "MISSING_REQUIRED_PARAMETER"


def test_a_version_that_an_alias_leads_to_cannot_be_deleted(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1", 50), route(f"{machine}:2", 50))
    with pytest.raises(ClientError) as caught:
        sfn.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    assert caught.value.response["Error"] == {
        "Code": "ConflictException",
        "Message": "Version to be deleted must not be referenced by an alias. Current list of "
        "aliases referencing this version: [PROD]",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    sfn.delete_state_machine_alias(stateMachineAliasArn=prod)
    sfn.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    assert listed(sfn, stateMachineArn=machine)[0] == [f"{machine}:1"]


def test_a_hundred_aliases_are_listed_in_pages_and_by_version(sfn: SFNClient, machine: str) -> None:
    names = [f"a{number}" for number in range(100)]
    for number, name in enumerate(names):
        alias(sfn, name, route(f"{machine}:{1 + number % 2}"))
    given: Any = {"name": "another", "routingConfiguration": [route(f"{machine}:1")]}
    with pytest.raises(ClientError) as caught:
        sfn.create_state_machine_alias(**given)
    response = caught.value.response
    assert response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 402
    found: list[str] = []
    token: Any = {}
    while True:
        page = sfn.list_state_machine_aliases(stateMachineArn=machine, maxResults=30, **token)
        found += [item["stateMachineAliasArn"] for item in page["stateMachineAliases"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert found == [f"{machine}:{name}" for name in names]
    of_second = sfn.list_state_machine_aliases(stateMachineArn=f"{machine}:2")
    shown = [item["stateMachineAliasArn"] for item in of_second["stateMachineAliases"]]
    assert shown == [f"{machine}:{name}" for name in names[1::2]]


def test_aliases_are_listed_of_machines_and_versions_that_are_there(
    sfn: SFNClient, machine: str
) -> None:
    list_aliases = sfn.list_state_machine_aliases
    assert refusal(list_aliases, stateMachineArn=NO_SUCH)[0] == "StateMachineDoesNotExist"
    assert refusal(list_aliases, stateMachineArn=f"{machine}:9") == ("ResourceNotFound", ABSENT)
    assert refusal(list_aliases, stateMachineArn=f"{machine}:PROD")[0] == "InvalidArn"


# --- Machines -------------------------------------------------------------------------------------


def test_a_machine_goes_with_its_versions_and_aliases(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    for qualified in (f"{machine}:1", prod):
        sfn.delete_state_machine(stateMachineArn=qualified)
    assert run(sfn, prod) == "one"
    sfn.delete_state_machine(stateMachineArn=machine)
    for arn in (machine, f"{machine}:1", prod):
        assert refusal(sfn.start_sync_execution, stateMachineArn=arn) == (
            "StateMachineDoesNotExist",
            f"State Machine Does Not Exist: '{arn}'",
        )
    assert create(sfn, publish=True)["stateMachineVersionArn"] == f"{machine}:1"
    assert sfn.list_state_machine_aliases(stateMachineArn=machine)["stateMachineAliases"] == []


def test_a_version_and_an_alias_cannot_be_updated(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    for arn in (f"{machine}:1", prod):
        assert refusal(update, sfn=sfn, arn=arn, result="x") == (
            "StateMachineDoesNotExist",
            f"State Machine Does Not Exist: '{arn}'",
        )


def test_the_key_of_a_machine_is_checked_and_shown(sfn: SFNClient) -> None:
    own = create(sfn)["stateMachineArn"]
    described = sfn.describe_state_machine(stateMachineArn=own)
    assert described["encryptionConfiguration"] == {"type": "AWS_OWNED_KEY"}
    key: Any = {
        "type": "CUSTOMER_MANAGED_KMS_KEY",
        "kmsKeyId": "alias/orders",
        "kmsDataKeyReusePeriodSeconds": 600,
    }
    managed = create(sfn, name="managed", publish=True, encryptionConfiguration=key)
    for arn in (managed["stateMachineArn"], managed["stateMachineVersionArn"]):
        described = sfn.describe_state_machine(stateMachineArn=arn)
        assert described["encryptionConfiguration"] == key
    other_key: Any = {**key, "kmsKeyId": "alias/b"}
    revised = sfn.update_state_machine(stateMachineArn=own, encryptionConfiguration=other_key)
    assert "revisionId" in revised
    for wrong in (
        {"type": "CUSTOMER_MANAGED_KMS_KEY"},
        {"type": "AWS_OWNED_KEY", "kmsKeyId": "alias/orders"},
        {"type": "AWS_OWNED_KEY", "kmsDataKeyReusePeriodSeconds": 60},
    ):
        for call in (
            lambda: create(sfn, name="wrong", encryptionConfiguration=wrong),  # noqa: B023
            lambda: update(sfn, own, "x", encryptionConfiguration=wrong),  # noqa: B023
        ):
            code, message = refusal(call)
            assert code == "InvalidEncryptionConfiguration"
            assert message.startswith("Invalid Encryption Configuration: ")
    far = {**key, "kmsDataKeyReusePeriodSeconds": 901}
    assert refusal(create, sfn=sfn, name="far", encryptionConfiguration=far) == (
        "ValidationException",
        "1 validation error detected: Value '901' at "
        "'encryptionConfiguration.kmsDataKeyReusePeriodSeconds' failed to satisfy constraint: "
        "Member must have value less than or equal to 900",
    )


def test_what_is_published_in_a_region_is_known_there_alone(
    stepout_server: Server, sfn: SFNClient, machine: str
) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    connect: Any = boto3.client
    there = connect(
        "stepfunctions",
        endpoint_url=stepout_server.url,
        region_name="eu-west-1",
        aws_access_key_id="stepout",
        aws_secret_access_key="none",
        config=Config(inject_host_prefix=False),
    )
    for arn in (machine, f"{machine}:1", prod):
        for call in (there.start_sync_execution, there.describe_state_machine):
            assert refusal(call, stateMachineArn=arn)[0] == "StateMachineDoesNotExist"
    for call in (there.publish_state_machine_version, there.list_state_machine_aliases):
        assert refusal(call, stateMachineArn=machine)[0] == "StateMachineDoesNotExist"
    for call, members in (
        (
            there.create_state_machine_alias,
            {"name": "PROD", "routingConfiguration": [route(f"{machine}:1")]},
        ),
        (there.describe_state_machine_alias, {"stateMachineAliasArn": prod}),
        (there.update_state_machine_alias, {"stateMachineAliasArn": prod, "description": "d"}),
        (there.delete_state_machine_alias, {"stateMachineAliasArn": prod}),
        (there.tag_resource, {"resourceArn": machine, "tags": [{"key": "a", "value": "b"}]}),
        (there.untag_resource, {"resourceArn": machine, "tagKeys": ["a"]}),
        (there.list_tags_for_resource, {"resourceArn": machine}),
    ):
        assert refusal(call, **members)[0] == "ResourceNotFound"
    assert listed(there, stateMachineArn=machine) == ([], 0)
    there.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    assert listed(sfn, stateMachineArn=machine)[1] == 2
    assert tags_of(sfn, machine) == {}


# --- Tags -----------------------------------------------------------------------------------------


def tags_of(sfn: Any, arn: str) -> dict[str, str]:
    tags = sfn.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag["key"]: tag["value"] for tag in tags}


def test_a_machine_is_tagged_and_untagged(sfn: SFNClient) -> None:
    arn = create(sfn, tags=[{"key": "team", "value": "shop"}])["stateMachineArn"]
    assert tags_of(sfn, arn) == {"team": "shop"}
    sfn.tag_resource(
        resourceArn=arn, tags=[{"key": "env", "value": "é"}, {"key": "team", "value": "bank"}]
    )
    assert tags_of(sfn, arn) == {"team": "bank", "env": "é"}
    sfn.untag_resource(resourceArn=arn, tagKeys=["env", "none"])
    assert tags_of(sfn, arn) == {"team": "bank"}
    update(sfn, arn, "two", publish=True)
    assert tags_of(sfn, arn) == {"team": "bank"}
    assert "revisionId" in sfn.describe_state_machine(stateMachineArn=arn)


def test_fifty_tags_are_the_most(sfn: SFNClient) -> None:
    fifty: Any = [{"key": f"k{number}", "value": ""} for number in range(50)]
    arn = create(sfn, tags=fifty)["stateMachineArn"]
    with pytest.raises(ClientError) as caught:
        sfn.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": ""}])
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "TooManyTags"
    assert response["resourceName"] == arn
    assert len(tags_of(sfn, arn)) == 50
    more = [*fifty, {"key": "more", "value": ""}]
    assert refusal(create, sfn=sfn, name="other", tags=more)[0] == "TooManyTags"


def test_versions_aliases_and_what_is_not_there_have_no_tags(sfn: SFNClient, machine: str) -> None:
    prod = alias(sfn, "PROD", route(f"{machine}:1"))
    activity = PREFIX.replace("stateMachine", "activity") + "a"
    for arn in (NO_SUCH, f"{machine}:1", prod, activity):
        expected = ("ResourceNotFound", f"Resource not found: '{arn}'")
        assert refusal(sfn.list_tags_for_resource, resourceArn=arn) == expected
        assert refusal(sfn.tag_resource, resourceArn=arn, tags=[]) == expected
        assert refusal(sfn.untag_resource, resourceArn=arn, tagKeys=["a"]) == expected


# --- What lasts -----------------------------------------------------------------------------------


def test_the_log_of_an_execution_tells_its_version_and_alias(tmp_path: Path) -> None:
    group = "arn:aws:logs:us-east-1:123456789012:log-group:g:*"
    logging = {
        "level": "ALL",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
    }
    with Server(execution_log=str(tmp_path)) as server:
        sfn = server.client("stepfunctions")
        version = create(sfn, publish=True, loggingConfiguration=logging)["stateMachineVersionArn"]
        prod = alias(sfn, "PROD", route(version))
        for arn in (version.rpartition(":")[0], version, prod):
            run(sfn, arn)
        sfn.start_execution(stateMachineArn=prod)
    (log,) = (path for path in tmp_path.rglob("*") if path.is_file())
    records = [json.loads(line) for line in log.read_text().splitlines()]
    told = [
        (details.get("stateMachineVersionArn"), details.get("stateMachineAliasArn"))
        for details in (each["details"] for each in records if each["type"] == "ExecutionStarted")
    ]
    assert told == [(None, None), (version, None), (version, prod), (version, prod)]


def test_versions_aliases_and_tags_survive_kills(
    serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    data = ("--data", str(tmp_path / "data"))
    first = serve(*data)
    sfn = first.client("stepfunctions")
    arn = create(sfn, publish=True, tags=[{"key": "a", "value": "1"}])["stateMachineArn"]
    update(sfn, arn, "two", publish=True)
    update(sfn, arn, "three", publish=True)
    sfn.delete_state_machine_version(stateMachineVersionArn=f"{arn}:3")
    prod = alias(sfn, "PROD", route(f"{arn}:1", 0), route(f"{arn}:2"), description="d")
    sfn.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    shown = [sfn.describe_state_machine(stateMachineArn=each) for each in (arn, f"{arn}:1", prod)]
    described = sfn.describe_state_machine_alias(stateMachineAliasArn=prod)
    first.end(signal.SIGKILL)
    second = serve(*data)
    sfn = second.client("stepfunctions")
    again = [sfn.describe_state_machine(stateMachineArn=each) for each in (arn, f"{arn}:1", prod)]
    for answer in (*shown, *again, described):
        answer.pop("ResponseMetadata")
    assert again == shown
    kept = sfn.describe_state_machine_alias(stateMachineAliasArn=prod)
    kept.pop("ResponseMetadata")
    assert kept == described
    assert run(sfn, prod) == "two"
    assert tags_of(sfn, arn) == {"a": "1", "b": "2"}
    made = sfn.publish_state_machine_version(stateMachineArn=arn)
    assert made["stateMachineVersionArn"] == f"{arn}:4"
    sfn.delete_state_machine(stateMachineArn=arn)
    second.end(signal.SIGKILL)
    third = serve(*data).client("stepfunctions")
    assert create(third, publish=True)["stateMachineVersionArn"] == f"{arn}:1"
    assert third.list_state_machine_aliases(stateMachineArn=arn)["stateMachineAliases"] == []
    assert tags_of(third, arn) == {}
