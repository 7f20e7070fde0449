"""Machines and connections for the tests of stores."""

from __future__ import annotations

from stepout.aws import arn as arns
from stepout.aws.connections import Connection, credential_from_request
from stepout.store.records import MachineRecord

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
