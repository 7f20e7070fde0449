"""The door: a raw ASGI app that takes AWS JSON requests and answers them.

A request passes these checks in AWS's order: body is JSON → the target is known → signature → the
caller's limits → types and constraints of the service model → the operation itself. What an
operation does is in `api/operations/`; the shapes come from the service models.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import orjson

from stepout.api import faults, operations
from stepout.api.auth import Auth
from stepout.api.caller import OPERATIONS, Caller
from stepout.api.ids import new_uuid
from stepout.api.limits import Limits, Visit
from stepout.api.metrics import Metrics
from stepout.api.repeats import Repeats, Started, key_of
from stepout.api.services import Services
from stepout.asl.values import Json, loads
from stepout.aws.shapes import Service
from stepout.aws.sigv4 import SignedRequest
from stepout.errors import JsonError, ServiceError

__all__ = ["MAX_BODY", "App", "Health"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Named: TypeAlias = Mapping[bytes, bytes]
"""Headers by lower-case name, the last of each."""

_log = logging.getLogger("stepout.request")

MAX_BODY: Final = 1_048_576
"""Bytes of a request (AWS service quotas: 1 MB per API request)."""


@dataclass(slots=True)
class Health:
    """Whether the server is to be sent new work."""

    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: bytes
    body: bytes
    error: str | None = None


class App:
    """Serves the operations of the given service models, and its own health and metrics."""

    def __init__(
        self,
        services: Services,
        auth: Auth,
        models: Mapping[str, Service],
        metrics: Metrics,
        health: Health,
        limits: Limits,
        repeats: Repeats,
        max_body: int = MAX_BODY,
    ) -> None:
        self._limits = limits
        self._repeats = repeats
        operations.load()
        self._max_body = max_body
        self._services = services
        self._auth = auth
        self._models = models
        self._metrics = metrics
        self._health = health
        self._own = {
            "/_stepout/health": self._answer_health,
            "/_stepout/ready": self._answer_ready,
            "/_stepout/metrics": self._answer_metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request_id = new_uuid()
        own = self._own.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        if own is not None:
            await _send(send, own(), request_id)
            return
        try:
            operation, answer = await self._serve(scope, receive)
        except _Gone:
            return
        await _send(send, answer, request_id)
        duration = time.perf_counter() - started
        self._metrics.request(operation, answer.error, duration)
        _report(operation, answer, request_id, duration)

    async def _serve(self, scope: Scope, receive: Receive) -> tuple[str, _Answer]:
        """The operation's name and the answer; no exception gets out but `_Gone`."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        named = dict(headers)
        target = named.get(b"x-amz-target")
        model, name = self._find(target)
        content_type = _CONTENT_TYPES[model.json_version if model else "1.0"]
        label = name if model and name in model.operations else "unknown"
        visit: Visit | None = None
        try:
            visit = self._limits.enter()
            _check_authority(scope, named)
            request = SignedRequest(
                method=scope["method"],
                path=scope["raw_path"].decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                headers=headers,
                body=await _read(receive, named, self._max_body, visit),
            )
            body = await self._call(model, name, request, named, visit)
            return label, _Answer(200, content_type, body)
        except ServiceError as error:
            status = error.status
            return label, _Answer(status, content_type, faults.body_of(error), error.code)
        except _Gone:
            raise
        except Exception:  # noqa: BLE001 — the last line of defence
            # A bug of ours. The caller gets no trace of it, the log does.
            _log.exception("request failed", extra={"fields": {"operation": label}})
            body = faults.body_of(faults.INTERNAL)
            return label, _Answer(500, content_type, body, faults.INTERNAL.code)
        finally:
            if visit is not None:
                visit.release()

    def _find(self, target: bytes | None) -> tuple[Service | None, str]:
        prefix, _, name = (target or b"").decode("latin-1").partition(".")
        return self._models.get(prefix), name

    async def _call(
        self,
        model: Service | None,
        name: str,
        request: SignedRequest,
        named: Named,
        visit: Visit,
    ) -> bytes:
        if request.method != "POST" or request.path != "/":
            raise ServiceError(
                "UnknownOperationException",
                f"Expected POST /, found {request.method} {request.path}.",
                status=404,
            )
        members = _members(request.body)
        if model is None or name not in model.operations:
            target = named.get(b"x-amz-target")
            raise faults.unknown_operation(None if target is None else target.decode("latin-1"))
        caller = _traced(self._auth.identify(request, model.name), named)
        visit.identify(caller.access_key_id, name)
        handler = OPERATIONS.get((model.name, name))
        if handler is None:
            raise faults.not_served(f"{model.target_prefix}.{name}")
        given = model.operations[name].check(members)

        async def run(started: Started) -> bytes:
            calling = replace(caller, started=started)
            return orjson.dumps(await handler(self._services, calling, given))

        key = None
        if name in _REPEATED:
            invocation_id = named.get(b"amz-sdk-invocation-id", b"")
            key = key_of(caller.access_key_id, name, request.body, invocation_id)
        return await self._repeats.answer(key, run)

    def _answer_health(self) -> _Answer:
        return _Answer(200, b"application/json", b'{"status":"ok"}')

    def _answer_ready(self) -> _Answer:
        if self._health.is_draining:
            return _Answer(503, b"application/json", b'{"status":"draining"}')
        return _Answer(200, b"application/json", b'{"status":"ready"}')

    def _answer_metrics(self) -> _Answer:
        return _Answer(200, self._metrics.content_type, self._metrics.text())


_CONTENT_TYPES: Final = {
    "1.0": b"application/x-amz-json-1.0",
    "1.1": b"application/x-amz-json-1.1",
}


_REPEATED: Final = frozenset({"StartSyncExecution"})
"""Operations that an SDK sends again when they take long, and that do twice what is sent twice."""


class _Gone(Exception):
    """The client went away before its request was complete."""


def _check_authority(scope: Scope, named: Named) -> None:
    """An absolute-form target must name the host that the signature covers (RFC 9112, 3.2.2)."""
    authority: bytes | None = scope.get("extensions", {}).get("stepout.authority")
    host = named.get(b"host", b"")
    if authority is not None and authority.lower() != host.lower():
        raise faults.bad_host(authority.decode("latin-1"), host.decode("latin-1"))


async def _read(receive: Receive, named: Named, most: int, visit: Visit) -> bytes:
    """The request's body, refused as soon as it is known to be too large, or all bodies are."""
    length = named.get(b"content-length", b"0")
    if length.isdigit() and int(length) > most:
        raise faults.too_large(most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message["body"]
        if len(body) > most:
            raise faults.too_large(most)
        visit.read(len(message["body"]))
        if not message["more_body"]:
            return bytes(body)


def _members(body: bytes) -> dict[str, Json]:
    """The request's members; an empty body has none."""
    try:
        members = loads(body) if body else {}
    except JsonError as error:
        raise faults.unreadable(str(error)) from None
    if not isinstance(members, dict):
        raise faults.unreadable("Expected the request's body to be a JSON object.")
    return members


def _traced(caller: Caller, named: Named) -> Caller:
    """The trace header wins over the member of that name (API reference, StartSyncExecution)."""
    trace = named.get(b"x-amzn-trace-id")
    return caller if trace is None else replace(caller, trace_header=trace.decode("latin-1"))


async def _send(send: Send, answer: _Answer, request_id: str) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-amzn-requestid", request_id.encode()),
    ]
    if answer.error is not None:
        # boto3 reads the body's __type; other SDKs look at this header first.
        headers.append((b"x-amzn-errortype", answer.error.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _report(operation: str, answer: _Answer, request_id: str, duration: float) -> None:
    """One line for each request, without its data."""
    if not _log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {
        "operation": operation,
        "status": answer.status,
        "duration_ms": round(duration * 1_000, 3),
        "request_id": request_id,
    }
    if answer.error is not None:
        fields["error"] = answer.error
    _log.info("request", extra={"fields": fields})
