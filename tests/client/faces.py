"""One call made through each face of the client, and straight to the origin beside it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
import requests
import requests.adapters
import urllib3
from tests.client.world import UPSTREAMS, World

import stepout
from stepout.client.gateway import default_gateway
from stepout.client.handler import handler
from stepout.client.httpx import AsyncTransport, Transport
from stepout.client.requests import Adapter
from stepout.gateway.messages import Headers
from stepout.origin import Origin

__all__ = ["FACES", "TWINS", "Answer", "Ask", "Face", "opened_faces", "straight_httpx", "straight_requests"]  # fmt: skip

Pairs: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A call as a program makes it; one of the bodies at most."""

    url: str
    method: str = "GET"
    headers: Pairs = ()
    params: Mapping[str, Any] | None = None
    json: Any = None
    form: Mapping[str, Any] | None = None
    text: str | None = None
    body: bytes | None = None
    pieces: Sequence[bytes] | None = None
    """A body that is streamed."""
    timeout: float | None = None
    follows: bool = False
    """Redirects are to be followed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program sees."""

    status: int
    reason: str
    headers: Pairs
    content: bytes
    text: str
    json: Callable[[], Any]
    extensions: Mapping[str, Any] = field(default_factory=dict)


Face: TypeAlias = Callable[[Ask], Answer]

# --- The gateway itself ---------------------------------------------------------------------------


def _arguments(ask: Ask) -> dict[str, Any]:
    """As `Gateway.request` takes them."""
    data = next((d for d in (ask.form, ask.text, ask.body) if d is not None), None)
    if ask.pieces is not None:
        data = b"".join(ask.pieces)
    return {
        "params": ask.params,
        "headers": ask.headers,
        "json": ask.json,
        "data": data,
        "timeout": ask.timeout,
    }


def _answer(response: stepout.client.Response) -> Answer:
    return Answer(
        response.status_code,
        response.reason,
        response.headers.pairs,
        response.content,
        response.text,
        response.json,
        response.extensions,
    )


def _by_window(ask: Ask) -> Answer:
    return _answer(stepout.request(ask.method, ask.url, **_arguments(ask)))


def _by_gateway(world: World, **options: Any) -> Face:
    def call(ask: Ask) -> Answer:
        with world.gateway(**options) as gateway:
            return _answer(gateway.request(ask.method, ask.url, **_arguments(ask)))

    return call


def _by_async_gateway(world: World, **options: Any) -> Face:
    async def call(ask: Ask) -> Answer:
        async with world.async_gateway(**options) as gateway:
            return _answer(await gateway.request(ask.method, ask.url, **_arguments(ask)))

    return lambda ask: asyncio.run(call(ask))


def _by_handler(ask: Ask) -> Answer:
    """The answer's text as bytes: a handler gives no others."""
    event = {
        "method": ask.method,
        "url": ask.url,
        "headers": {name: Headers(ask.headers).get_all(name) for name, _ in ask.headers},
        "params": ask.params,
        "json": ask.json,
        "body": ask.text,
        "timeout": ask.timeout,
    }
    told = json.loads(json.dumps(handler(event, None)))
    text = json.dumps(told["json"]) if "json" in told else told["body"]
    pairs = [(name, value) for name, values in told["headers"].items() for value in values]
    return Answer(
        told["status"],
        told["reason"],
        pairs,
        text.encode(),
        text,
        lambda: told["json"],
        told["stepout"],
    )


# --- httpx ----------------------------------------------------------------------------------------


def _httpx_arguments(ask: Ask) -> dict[str, Any]:
    content: Any = ask.text if ask.text is not None else ask.body
    if ask.pieces is not None:
        content = iter(ask.pieces)
    arguments = {
        "params": ask.params,
        "headers": list(ask.headers),
        "json": ask.json,
        "data": ask.form,
        "content": content,
        "follow_redirects": ask.follows,
    }
    if ask.timeout is not None:
        arguments["timeout"] = ask.timeout
    return arguments


async def _streamed(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _httpx_answer(response: httpx.Response) -> Answer:
    return Answer(
        response.status_code,
        response.reason_phrase,
        response.headers.multi_items(),
        response.content,
        response.text,
        response.json,
        response.extensions.get("stepout", {}),
    )


def _by_httpx(client: httpx.Client) -> Face:
    def call(ask: Ask) -> Answer:
        client.cookies.clear()
        return _httpx_answer(client.request(ask.method, ask.url, **_httpx_arguments(ask)))

    return call


def _by_async_httpx(world: World, **options: Any) -> Face:
    async def call(ask: Ask) -> Answer:
        arguments = _httpx_arguments(ask)
        if ask.pieces is not None:
            arguments["content"] = _streamed(ask.pieces)
        async with (
            world.async_gateway(**options) as gateway,
            httpx.AsyncClient(transport=AsyncTransport(gateway)) as client,
        ):
            return _httpx_answer(await client.request(ask.method, ask.url, **arguments))

    return lambda ask: asyncio.run(call(ask))


class _Straight(httpx.HTTPTransport):
    """Dials the origin, whatever host a URL names."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(verify=_trust(origin))
        self._port = origin.port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(host="127.0.0.1", port=self._port)
        extensions = {**request.extensions, "sni_hostname": request.url.host}
        there = httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        return super().handle_request(there)


def straight_httpx(origin: Origin) -> httpx.Client:
    """httpx without a gateway."""
    return httpx.Client(transport=_Straight(origin))


def _trust(origin: Origin) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=origin.certificate_pem.decode())


# --- requests -------------------------------------------------------------------------------------


def _by_requests(session: requests.Session) -> Face:
    def call(ask: Ask) -> Answer:
        session.cookies.clear()
        data: Any = ask.form if ask.form is not None else ask.text
        if ask.body is not None:
            data = ask.body
        if ask.pieces is not None:
            data = iter(ask.pieces)
        response = session.request(
            ask.method,
            ask.url,
            params=ask.params,
            headers=dict(ask.headers),
            json=ask.json,
            data=data,
            timeout=ask.timeout,
            allow_redirects=ask.follows,
        )
        raw: Any = response.raw
        return Answer(
            response.status_code,
            response.reason,
            list(raw.headers.iteritems()),
            response.content,
            response.text,
            response.json,
            getattr(response, "stepout", {}),
        )

    return call


class _StraightAdapter(requests.adapters.HTTPAdapter):
    """Dials the origin, whatever host a URL names."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin
        self._pools: dict[str, urllib3.HTTPSConnectionPool] = {}

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        host = str(httpx.URL(request.url).host)
        request.headers.setdefault("Host", host)
        return self._pools.setdefault(
            host,
            urllib3.HTTPSConnectionPool(
                "127.0.0.1",
                self._origin.port,
                ssl_context=_trust(self._origin),
                server_hostname=host,
                assert_hostname=host,
            ),
        )

    def close(self) -> None:
        super().close()
        for pool in self._pools.values():
            pool.close()


def straight_requests(origin: Origin) -> requests.Session:
    """requests without a gateway."""
    session = requests.Session()
    session.mount("https://", _StraightAdapter(origin))
    return session


# --- All of them ----------------------------------------------------------------------------------

FACES = (
    "stepout.request",
    "Gateway",
    "AsyncGateway",
    "httpx Transport",
    "httpx AsyncTransport",
    "requests Adapter",
    "Lambda handler",
)

TWINS = {
    "stepout.request": "httpx",
    "Gateway": "httpx",
    "AsyncGateway": "httpx",
    "httpx Transport": "httpx",
    "httpx AsyncTransport": "httpx",
    "requests Adapter": "requests",
}
"""Face → the library that makes the same call straight to the origin."""


@contextmanager
def opened_faces(world: World, directory: Path, **options: Any) -> Iterator[Mapping[str, Face]]:
    """Each face by its name, and the libraries without a gateway as `httpx` and `requests`.

    `options` are those of a gateway.
    """
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        (directory / "upstreams.toml").write_text(UPSTREAMS)
        environment.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
        environment.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
        environment.setenv("STEPOUT_UPSTREAMS", str(directory / "upstreams.toml"))
        for name, value in options.items():
            environment.setenv(f"STEPOUT_{name.upper()}", str(value))
        default_gateway.cache_clear()
        stack.callback(default_gateway.cache_clear)
        stack.callback(lambda: default_gateway().close())

        gateway = stack.enter_context(world.gateway(**options))
        session = stack.enter_context(requests.Session())
        for scheme in ("https://", "http://"):
            session.mount(scheme, Adapter(gateway))
        client = stack.enter_context(httpx.Client(transport=Transport(gateway)))
        plain_client = stack.enter_context(straight_httpx(world.origin))
        plain_session = stack.enter_context(straight_requests(world.origin))
        yield {
            "stepout.request": _by_window,
            "Gateway": _by_gateway(world, **options),
            "AsyncGateway": _by_async_gateway(world, **options),
            "httpx Transport": _by_httpx(client),
            "httpx AsyncTransport": _by_async_httpx(world, **options),
            "requests Adapter": _by_requests(session),
            "Lambda handler": _by_handler,
            "httpx": _by_httpx(plain_client),
            "requests": _by_requests(plain_session),
        }
