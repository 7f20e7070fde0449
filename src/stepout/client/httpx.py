"""A gateway below httpx: programs and SDKs that use httpx stay as they are.

    client = httpx.Client(mounts={"https://api.example.com": Transport()})
    client.get("https://api.example.com/v1/items").json()

Needs httpx (`stepout[httpx]`). An `AsyncTransport` runs on asyncio.
"""

from __future__ import annotations

import json as jsonlib
from typing import Any, Final, cast

import httpx

from stepout.client.exchange import Timeout
from stepout.client.face import Row, gather, gather_async, look_up
from stepout.client.gateway import AsyncGateway, Gateway
from stepout.errors import (
    BodyNotCarried,
    CallFailed,
    CallRefused,
    CallTimedOut,
    GatewayError,
    NotCarried,
    TruncatedResponse,
)
from stepout.gateway import messages
from stepout.gateway.messages import header_bytes

__all__ = ["AsyncTransport", "Response", "Transport"]

_ERRORS: Final[tuple[Row[type[httpx.TransportError]], ...]] = (
    (NotCarried, None, httpx.UnsupportedProtocol),
    (CallRefused, None, httpx.ProxyError),
    (CallTimedOut, None, httpx.ReadTimeout),
    (CallFailed, "Unreachable", httpx.ConnectError),
    (CallFailed, None, httpx.ReadError),
    (TruncatedResponse, None, httpx.RemoteProtocolError),
    (GatewayError, None, httpx.TransportError),
)
"""The first that fits."""


class Response(httpx.Response):
    """httpx's response; its `extensions["stepout"]` are those of the gateway's."""

    def json(self, **options: Any) -> Any:
        """The body as JSON; raises `BodyNotCarried` where there is none to read."""
        if self.extensions["stepout"]["body"] == "not carried":
            raise _BodyNotCarried(self.status_code, str(self.url))
        return super().json(**options)


class Transport(httpx.BaseTransport):
    """Sends requests through a gateway, by default the one of the settings (`from_config`).

    The client's `verify`, `cert`, `http2`, `limits` and `retries` have no effect here.
    """

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._is_own = gateway is None
        self._gateway = gateway or Gateway.from_config()

    def handle_request(self, request: httpx.Request) -> Response:
        """Call an API; raises httpx's errors from the gateway's, with the same message."""
        gateway = self._gateway
        stream = cast("httpx.SyncByteStream", request.stream)
        try:
            body = gather(stream, gateway.payload_limit)
            return _theirs(gateway.send(_ours(request, body), _limits(request, gateway.timeout)))
        except GatewayError as error:
            raise look_up(error, _ERRORS)(str(error), request=request) from error

    def close(self) -> None:
        """Close the gateway, where it is the transport's own."""
        if self._is_own:
            self._gateway.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """As `Transport`, for `httpx.AsyncClient`; cancelling is that of `AsyncGateway`."""

    def __init__(self, gateway: AsyncGateway | None = None) -> None:
        self._is_own = gateway is None
        self._gateway = gateway or AsyncGateway.from_config()

    async def handle_async_request(self, request: httpx.Request) -> Response:
        """Call an API; raises httpx's errors from the gateway's, with the same message."""
        gateway = self._gateway
        stream = cast("httpx.AsyncByteStream", request.stream)
        try:
            body = await gather_async(stream, gateway.payload_limit)
            limits = _limits(request, gateway.timeout)
            return _theirs(await gateway.send(_ours(request, body), limits))
        except GatewayError as error:
            raise look_up(error, _ERRORS)(str(error), request=request) from error

    async def aclose(self) -> None:
        """Close the gateway, where it is the transport's own."""
        if self._is_own:
            await self._gateway.close()


def _ours(request: httpx.Request, body: bytes) -> messages.Request:
    charset = request.headers.encoding
    pairs = [(name.decode(charset), value.decode(charset)) for name, value in request.headers.raw]
    return messages.Request(request.method, str(request.url), messages.Headers(pairs), body)


def _theirs(response: messages.Response) -> Response:
    return Response(
        response.status_code,
        headers=[
            (header_bytes(name), header_bytes(value)) for name, value in response.headers.pairs
        ],
        stream=httpx.ByteStream(response.content),
        extensions={
            "http_version": b"HTTP/1.1",
            "reason_phrase": header_bytes(response.reason),
            "stepout": dict(response.extensions),
        },
    )


def _limits(request: httpx.Request, default: Timeout) -> Timeout:
    """httpx's limits; without end stands for the gateway's. Writing and the pool have none."""
    given = request.extensions.get("timeout", {})
    connect, read = given.get("connect"), given.get("read")
    return Timeout(
        connect=default.connect if connect is None else connect,
        read=default.read if read is None else read,
    )


class _NotJson(jsonlib.JSONDecodeError):
    """What httpx raises for a body that is not JSON, with a message of ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)
        self.args = (message,)


class _BodyNotCarried(BodyNotCarried, _NotJson):
    """Caught as ours, and by programs that expect bodies which are not JSON."""
