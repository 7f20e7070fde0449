"""Connections of EventBridge: CreateConnection, UpdateConnection, DescribeConnection,
DeleteConnection, DeauthorizeConnection and ListConnections (EventBridge API reference)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from stepout.api.caller import Caller, of_connection, operation
from stepout.api.ids import new_uuid
from stepout.api.paging import page
from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws import arn as arns
from stepout.aws.connections import (
    Connection,
    OAuthAuth,
    credential_from_request,
    describe_auth,
    updated_credential,
)
from stepout.aws.timestamps import seconds
from stepout.errors import ServiceError

DEFAULT_PAGE: Final = 100
"""Items when Limit is not given; its maximum (service model)."""

DEAUTHORIZED_REASON: Final = (
    "The authorization parameters were removed from this connection by a DeauthorizeConnection "
    "operation."
)
"""As recorded on AWS."""

_SUFFIX: Final = string.ascii_letters + string.digits


@operation("events", "CreateConnection", of_connection)
async def create_connection(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """BASIC and API_KEY are AUTHORIZED at once; OAuth when its token endpoint has answered."""
    name = request["Name"]
    credential = credential_from_request(request["AuthorizationType"], request["AuthParameters"])
    now = services.clock.now() // 1_000
    is_oauth = isinstance(credential.auth, OAuthAuth)
    connection = Connection(
        arn=arns.connection(caller.region, caller.account, name, new_uuid()),
        name=name,
        authorization_type=request["AuthorizationType"],
        state="AUTHORIZING" if is_oauth else "AUTHORIZED",
        state_reason=None,
        secret_arn=_new_secret(caller.region, caller.account, name),
        secret_version=1,
        credential=credential,
        description=request.get("Description"),
        connectivity=request.get("InvocationConnectivityParameters"),
        kms_key=request.get("KmsKeyIdentifier"),
        created=now,
        modified=now,
        authorized=0 if is_oauth else now,
    )
    if not await services.store.connections.add(connection):
        raise ServiceError("ResourceAlreadyExistsException", f"Connection {name} already exists.")
    if is_oauth:
        services.authorizer.begin(connection)
    return _summary(connection, "CreationTime", "LastModifiedTime")


@operation("events", "DescribeConnection", of_connection)
async def describe_connection(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Never shows a password, key value, client secret or secret parameter."""
    connection = await _find(services, caller, request["Name"], "describe")
    response = {
        "ConnectionArn": connection.arn,
        "Name": connection.name,
        "Description": connection.description,
        "InvocationConnectivityParameters": connection.connectivity,
        "ConnectionState": connection.state,
        "StateReason": connection.state_reason,
        "AuthorizationType": connection.authorization_type,
        "SecretArn": connection.secret_arn,
        "KmsKeyIdentifier": connection.kms_key,
        "AuthParameters": describe_auth(connection.credential),
        **_times(connection),
    }
    return {name: value for name, value in response.items() if value is not None}


@operation("events", "UpdateConnection", of_connection)
async def update_connection(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """What is not given stays; new credentials are a new version of the secret."""

    def change(connection: Connection) -> Connection:
        updated = _with_settings(connection, request)
        if "AuthorizationType" in request or "AuthParameters" in request:
            updated = _with_credential(services, caller, updated, request)
        return replace(updated, modified=services.clock.now() // 1_000)

    connection, updated = await _change(services, caller, request["Name"], "update", change)
    if updated.state == "AUTHORIZING":
        services.authorizer.begin(updated)
    # The answer shows the old LastModifiedTime (recorded on AWS).
    shown = replace(updated, modified=connection.modified)
    return _summary(shown, "CreationTime", "LastModifiedTime", "LastAuthorizedTime")


@operation("events", "DeleteConnection", of_connection)
async def delete_connection(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """The connection is gone at once; AWS takes some seconds."""
    connection = await _find(services, caller, request["Name"], "delete")
    await services.store.connections.remove(connection.arn)
    deleted = replace(connection, state="DELETING")
    return _summary(deleted, "CreationTime", "LastModifiedTime", "LastAuthorizedTime")


@operation("events", "DeauthorizeConnection", of_connection)
async def deauthorize_connection(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Removes the credential; calling it again succeeds."""

    def change(connection: Connection) -> Connection:
        return replace(
            connection,
            state="DEAUTHORIZED",
            state_reason=DEAUTHORIZED_REASON,
            credential=None,
            modified=services.clock.now() // 1_000,
        )

    connection, _ = await _change(services, caller, request["Name"], "deauthorize", change)
    shown = replace(connection, state="DEAUTHORIZING")
    return _summary(shown, "CreationTime", "LastModifiedTime", "LastAuthorizedTime")


@operation("events", "ListConnections")
async def list_connections(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    prefix, state = request.get("NamePrefix", ""), request.get("ConnectionState")
    found = [
        connection
        for connection in await services.store.connections.list(caller.region, caller.account)
        if connection.name.startswith(prefix) and state in (None, connection.state)
    ]
    limit = request.get("Limit", DEFAULT_PAGE)
    shown, token = page(found, lambda item: item.arn, request.get("NextToken"), limit)
    response: dict[str, Json] = {"Connections": [_item(connection) for connection in shown]}
    return response if token is None else {**response, "NextToken": token}


async def _find(services: Services, caller: Caller, name: str, verb: str) -> Connection:
    connection = await services.store.connections.find(caller.region, caller.account, name)
    if connection is None:
        raise ServiceError(
            "ResourceNotFoundException",
            f"Failed to {verb} the connection(s). Connection '{name}' does not exist.",
        )
    return connection


async def _change(
    services: Services,
    caller: Caller,
    name: str,
    verb: str,
    change: Callable[[Connection], Connection],
) -> tuple[Connection, Connection]:
    """Change a connection as it is at that moment; answers what it was and what it is."""
    while True:
        was = await _find(services, caller, name, verb)
        now = change(was)
        if await services.store.connections.replace(was, now):
            return was, now


def _with_settings(connection: Connection, request: dict[str, Json]) -> Connection:
    return replace(
        connection,
        description=request.get("Description", connection.description),
        connectivity=request.get("InvocationConnectivityParameters", connection.connectivity),
        kms_key=request.get("KmsKeyIdentifier", connection.kms_key),
    )


def _with_credential(
    services: Services, caller: Caller, connection: Connection, request: dict[str, Json]
) -> Connection:
    kind, parameters = request.get("AuthorizationType"), request.get("AuthParameters")
    credential = updated_credential(connection.credential, kind, parameters)
    is_oauth = isinstance(credential.auth, OAuthAuth)
    is_new = connection.credential is None
    new_secret = _new_secret(caller.region, caller.account, connection.name)
    return replace(
        connection,
        authorization_type=kind or connection.authorization_type,
        credential=credential,
        state="AUTHORIZING" if is_oauth else "AUTHORIZED",
        state_reason=None,
        # Deauthorising removed the secret; the new one has a name of its own (recorded on AWS).
        secret_arn=new_secret if is_new else connection.secret_arn,
        secret_version=connection.secret_version + 1,
        authorized=0 if is_oauth else services.clock.now() // 1_000,
    )


def _new_secret(region: str, account: str, name: str) -> str:
    suffix = "".join(secrets.choice(_SUFFIX) for _ in range(6))
    return arns.connection_secret(region, account, name, new_uuid(), suffix)


def _times(connection: Connection) -> dict[str, Json]:
    return {
        "CreationTime": seconds(connection.created),
        "LastModifiedTime": seconds(connection.modified),
        "LastAuthorizedTime": seconds(connection.authorized),
    }


def _summary(connection: Connection, *times: str) -> dict[str, Json]:
    all_times = _times(connection)
    return {
        "ConnectionArn": connection.arn,
        "ConnectionState": connection.state,
        **{name: all_times[name] for name in times},
    }


def _item(connection: Connection) -> dict[str, Json]:
    item = {
        "ConnectionArn": connection.arn,
        "Name": connection.name,
        "ConnectionState": connection.state,
        "StateReason": connection.state_reason,
        "AuthorizationType": connection.authorization_type,
        **_times(connection),
    }
    return {name: value for name, value in item.items() if value is not None}
