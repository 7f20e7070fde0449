"""Calls of HTTPS APIs by StartSyncExecution, from a subnet that has no way out.

    gateway = Gateway("arn:aws:states:eu-west-1:123456789012:stateMachine:stepout-gateway")
    gateway.request("GET", "https://api.example.com/v1/items").json()

Needs botocore alone. `stepout.client.httpx` and `stepout.client.requests` put a gateway below those
libraries, for code that stays as it is.
"""

from stepout.client.gateway import AsyncGateway, Gateway
from stepout.gateway.messages import Headers, Request, Response

__all__ = ["AsyncGateway", "Gateway", "Headers", "Request", "Response"]
