"""A gateway as users have it: a real server, a real HTTPS origin, a real state machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stepout.client import AsyncGateway, Gateway
from stepout.gateway.definition import gateway_machine
from stepout.gateway.upstreams import Upstreams
from stepout.testing import Origin, Server

UPSTREAMS = """
[upstream.open]
url = "https://open.example.com/"

[upstream.keyed]
url = "https://api.example.com/v1/"
auth = "api-key"
header = "X-Api-Key"

[upstream.bearer]
url = "https://bearer.example.com/"
auth = "api-key"
header = "Authorization"
prefix = "Bearer "

[upstream.read-only]
url = "https://read.example.com/"
methods = ["GET", "HEAD"]
retries = 1
"""
OPEN = "https://open.example.com"
ROLE = "arn:aws:iam::123456789012:role/gateway"
KEYS = {"keyed": ("X-Api-Key", "real-key"), "bearer": ("Authorization", "Bearer real-token")}


@dataclass(frozen=True, slots=True)
class World:
    origin: Origin
    server: Server
    machine: str
    upstreams: Upstreams

    def options(self, **options: Any) -> dict[str, Any]:
        return {"upstreams": self.upstreams, "endpoint_url": self.server.url, **options}

    def gateway(self, **options: Any) -> Gateway:
        return Gateway(self.machine, **self.options(**options))

    def async_gateway(self, **options: Any) -> AsyncGateway:
        return AsyncGateway(self.machine, **self.options(**options))


@contextmanager
def opened(text: str = UPSTREAMS, **settings: Any) -> Iterator[World]:
    """A world with these upstreams; `settings` are the server's."""
    upstreams = Upstreams.parse(text)
    with Origin() as origin, Server(origin=origin, **settings) as server:
        connections = _connections(server, upstreams)
        machine = server.client("stepfunctions").create_state_machine(
            name=upstreams.machine,
            type="EXPRESS",
            roleArn=ROLE,
            definition=json.dumps(gateway_machine(upstreams, connections)),
        )["stateMachineArn"]
        yield World(origin, server, machine, upstreams)


def _connections(server: Server, upstreams: Upstreams) -> Mapping[str, str]:
    events = server.client("events")
    found = {}
    for name in upstreams.names:
        key, value = KEYS.get(name, ("X-No-Auth", "none"))
        parameters = {"ApiKeyAuthParameters": {"ApiKeyName": key, "ApiKeyValue": value}}
        found[name] = events.create_connection(
            Name=name, AuthorizationType="API_KEY", AuthParameters=parameters
        )["ConnectionArn"]
    return found
