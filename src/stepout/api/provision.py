"""`stepout serve --upstreams`: the connections and the gateway machine of an upstreams file.

Made by the same operations that callers use. What is there already is brought up to date, so that a
changed file or a new secret takes effect with the next start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from stepout.api import operations
from stepout.api.caller import OPERATIONS, Caller
from stepout.api.identities import machine_role, role_arn
from stepout.api.services import Services
from stepout.aws import arn as arns
from stepout.aws.shapes import Service
from stepout.errors import ServiceError, SettingsError
from stepout.gateway.connections import connection_name, connection_request
from stepout.gateway.definition import PASSTHROUGH_NAME, gateway_machine, passthrough_machine
from stepout.gateway.permissions import role_policy
from stepout.gateway.upstreams import Upstream, Upstreams

__all__ = ["provision"]

_log = logging.getLogger("stepout.upstreams")

Json = dict[str, Any]


async def provision(
    services: Services,
    models: Mapping[str, Service],
    caller: Caller,
    upstreams: Upstreams,
    environ: Mapping[str, str],
) -> str:
    """Make or update everything; answers the ARN of the gateway machine.

    Raises `SettingsError` with every secret that is missing or does not fit.
    """
    operations.load()
    provider = _Provider(services, models, caller)
    requests = _requests(upstreams, environ)
    connections = {
        upstream.name: await provider.connection(upstream, request)
        for upstream, request in requests
    }
    await provider.role(upstreams.machine, upstreams, connections)
    machine = await provider.machine(upstreams.machine, gateway_machine(upstreams, connections))
    if upstreams.has_passthrough:
        await provider.role(PASSTHROUGH_NAME, upstreams, connections)
        arn = await provider.machine(PASSTHROUGH_NAME, passthrough_machine())
        _log.warning(
            "passthrough: whoever may start this machine may send any connection's credential to "
            "any host",
            extra={"fields": {"machine": arn}},
        )
    return machine


def _requests(upstreams: Upstreams, environ: Mapping[str, str]) -> list[tuple[Upstream, Json]]:
    found, problems = [], []
    for upstream in upstreams:
        try:
            secret = None if upstream.secret is None else upstream.secret.read(environ)
            found.append((upstream, connection_request(upstream, secret)))
        except SettingsError as error:
            problems.append(f"[upstream.{upstream.name}]: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return found


class _Provider:
    def __init__(self, services: Services, models: Mapping[str, Service], caller: Caller) -> None:
        self._services = services
        self._models = models
        self._caller = caller

    async def connection(self, upstream: Upstream, request: Json) -> str:
        """The ARN of an upstream's connection, with the credential of now."""
        try:
            try:
                made = await self._call("events", "CreateConnection", request)
            except ServiceError as error:
                if error.code != "ResourceAlreadyExistsException":
                    raise
                made = await self._call("events", "UpdateConnection", request)
        except ServiceError as error:
            raise SettingsError(f"[upstream.{upstream.name}]: {error.message}") from None
        arn: str = made["ConnectionArn"]
        return arn

    async def role(self, name: str, upstreams: Upstreams, connections: Mapping[str, str]) -> None:
        """Let the machine of this name do what its upstreams need, where roles are asked."""
        if self._services.directories is None:
            return
        region, account = self._caller.region, self._caller.account
        described = [
            await self._call("events", "DescribeConnection", {"Name": connection_name(upstream)})
            for upstream in upstreams
        ]
        policy = role_policy(
            upstreams,
            arns.state_machine(region, account, name),
            connections.values(),
            [connection["SecretArn"] for connection in described],
        )
        self._services.directories.add(machine_role(name, account, region, policy))

    async def machine(self, name: str, definition: Json) -> str:
        """The ARN of an Express machine with this definition, and with the role of its name."""
        caller = self._caller
        arn = arns.state_machine(caller.region, caller.account, name)
        wanted = {
            "definition": json.dumps(definition),
            "roleArn": role_arn(name, caller.account, caller.region),
        }
        try:
            await self._call(
                "states", "CreateStateMachine", {"name": name, "type": "EXPRESS", **wanted}
            )
        except ServiceError as error:
            if error.code != "StateMachineAlreadyExists":
                raise SettingsError(f"The machine {name}: {error.message}") from None
        # One that was there keeps its role, also where creating it again succeeds.
        found = await self._call("states", "DescribeStateMachine", {"stateMachineArn": arn})
        if found["type"] != "EXPRESS":
            raise SettingsError(f"The machine {name} is there and not of the type EXPRESS.")
        if any(found[member] != value for member, value in wanted.items()):
            await self._call("states", "UpdateStateMachine", {"stateMachineArn": arn, **wanted})
        return arn

    async def _call(self, service: str, operation: str, request: Json) -> Json:
        given = self._models[service].operations[operation].check(request)
        return await OPERATIONS[service, operation].handle(self._services, self._caller, given)
