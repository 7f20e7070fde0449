"""Machines, what is published of them, and connections for the tests of stores."""

from __future__ import annotations

from dataclasses import replace

from stepout.aws import arn as arns
from stepout.aws.connections import Connection, credential_from_request
from stepout.store.records import AliasRecord, KeptMachine, MachineRecord, Route, VersionRecord

REGION, ACCOUNT = "us-east-1", "123456789012"
SESAME = "open-sesame-4711"


def machine(name: str, region: str = REGION) -> MachineRecord:
    return MachineRecord(
        arn=arns.state_machine(region, ACCOUNT, name),
        name=name,
        type="EXPRESS",
        definition='{"é": 1}',
        role_arn="arn:aws:iam::123456789012:role/r",
        created=1,
        updated=2,
        revision_id=None,
        logging={"level": "OFF"},
        tracing=None,
        encryption=None,
        tags=(("a", "b"),),
    )


def version(record: MachineRecord, number: int) -> VersionRecord:
    return VersionRecord(
        arn=f"{record.arn}:{number}",
        number=number,
        description=f"the {number}th" if number > 1 else None,
        created=number,
        revision=replace(record, tags=(), revision_id=f"r{number}"),
    )


def alias(record: MachineRecord, name: str, *routes: Route) -> AliasRecord:
    return AliasRecord(f"{record.arn}:{name}", name, "é", routes, created=4, updated=5)


def with_versions(record: MachineRecord) -> KeptMachine:
    """A machine with the versions 1, 3 and 10 and two aliases."""
    return KeptMachine(
        replace(record, last_version=10, publish=True, version_description="first"),
        {number: version(record, number) for number in (1, 3, 10)},
        {
            "PROD": alias(record, "PROD", Route(1, 90), Route(10, 10)),
            "DEV": alias(record, "DEV", Route(3, 100)),
        },
    )


def connection(name: str, uuid: str = "u", account: str = ACCOUNT) -> Connection:
    parameters = {
        "ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": SESAME},
        "InvocationHttpParameters": {
            "BodyParameters": [{"Key": "pin", "Value": SESAME, "IsValueSecret": True}]
        },
    }
    return Connection(
        arn=arns.connection(REGION, account, name, uuid),
        name=name,
        authorization_type="API_KEY",
        state="AUTHORIZED",
        state_reason=None,
        secret_arn=arns.connection_secret(REGION, account, name, "s", "AbCdEf"),
        secret_version=1,
        credential=credential_from_request("API_KEY", parameters),
        description=None,
        connectivity=None,
        kms_key=None,
        created=1,
        modified=2,
        authorized=3,
    )
