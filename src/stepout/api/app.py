"""The door: a raw ASGI app that takes AWS's requests and answers them.

A request passes these checks in AWS's order: it can be read → it names an operation → signature →
types and constraints of the service model → permission → the operation itself. What an operation
does is in `api/operations/`; the shapes come from the service models.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from stepout.api import faults, operations
from stepout.api.access import asks_for_tags, judge, tags_of
from stepout.api.audit import Audit
from stepout.api.auth import Auth
from stepout.api.caller import OPERATIONS, Arrival, Caller
from stepout.api.exchange import Answer, Exchange
from stepout.api.limits import Visit
from stepout.api.metrics import Metrics
from stepout.api.protocols import Asked, Named, Protocols
from stepout.api.repeats import Repeats, Started, key_of
from stepout.api.services import Services
from stepout.api.tagging import Tags
from stepout.aws.shapes import Service
from stepout.aws.sigv4 import SignedRequest
from stepout.errors import ServiceError, StoreError

__all__ = ["MAX_BODY", "App", "Health"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("stepout.request")

MAX_BODY: Final = 1_048_576
"""Bytes of a request (AWS service quotas: 1 MB per API request)."""


@dataclass(slots=True)
class Health:
    """Whether the server is to be sent new work."""

    is_draining: bool = False


class App:
    """Serves the operations of the given service models, and its own health and metrics."""

    def __init__(
        self,
        services: Services,
        auth: Auth,
        models: Iterable[Service],
        metrics: Metrics,
        health: Health,
        audit: Audit,
        repeats: Repeats,
        max_body: int = MAX_BODY,
    ) -> None:
        operations.load()
        self._max_body = max_body
        self._services = services
        self._auth = auth
        self._protocols = Protocols(models)
        self._metrics = metrics
        self._health = health
        self._audit = audit
        self._repeats = repeats
        self._own = {
            "/_stepout/health": self._answer_health,
            "/_stepout/ready": self._answer_ready,
            "/_stepout/metrics": self._answer_metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        exchange = Exchange(_arrival(scope, headers))
        own = self._own.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        if own is not None:
            await _send(send, own(), exchange.request_id)
            return
        try:
            answer = await self._serve(scope, headers, receive, exchange)
        except _Gone:
            return
        except asyncio.CancelledError:
            # The server stops. What was asked for may have been done.
            self._note(exchange, _CUT_OFF)
            raise
        # Before it is sent: a client may not wait for its answer, nor for the line.
        self._note(exchange, answer)
        await _send(send, answer, exchange.request_id)

    def _note(self, exchange: Exchange, answer: Answer) -> None:
        self._metrics.request(exchange.operation, answer.error, exchange.seconds)
        _report(exchange, answer)
        self._audit.write(exchange, answer)

    async def _serve(
        self, scope: Scope, named: Named, receive: Receive, exchange: Exchange
    ) -> Answer:
        """The answer; no exception gets out but `_Gone`."""
        protocol = self._protocols.of(scope["method"], scope["query_string"], named)
        visit: Visit | None = None
        try:
            visit = self._services.limits.enter()
            _check_authority(scope, named)
            request = SignedRequest(
                method=scope["method"],
                path=scope["raw_path"].decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                headers=scope["headers"],
                body=await _read(receive, named, self._max_body, visit),
            )
            asked = protocol.read(request, named, exchange)
            caller = _traced(self._auth.identify(request, asked.service, exchange.arrival), named)
            exchange.caller = caller
            visit.identify(caller.account_holder, asked.operation)
            body = await self._perform(asked, caller, request, named, exchange)
            return Answer(200, protocol.content_type(named), body)
        except ServiceError as error:
            return protocol.refusal(error, exchange.request_id, named)
        except StoreError as error:
            fields = {"operation": exchange.operation, "reason": str(error)}
            _log.error("store failed", extra={"fields": fields})
            return protocol.refusal(faults.NOT_KEPT, exchange.request_id, named)
        except _Gone:
            raise
        except Exception:  # noqa: BLE001 — the last line of defence
            # A bug of ours. The caller gets no trace of it, the log does.
            _log.exception("request failed", extra={"fields": {"operation": exchange.operation}})
            return protocol.refusal(faults.INTERNAL, exchange.request_id, named)
        finally:
            if visit is not None:
                visit.release()

    async def _perform(
        self,
        asked: Asked,
        caller: Caller,
        request: SignedRequest,
        named: Named,
        exchange: Exchange,
    ) -> bytes:
        """The body of the answer to a caller who is known; raises `ServiceError`."""
        operation = OPERATIONS.get((asked.service, asked.operation))
        if operation is None:
            raise faults.not_served(asked.operation)
        members = asked.members()
        tags: Tags = ()
        if asks_for_tags(caller):
            tags = await tags_of(self._services, caller, operation, members)
        exchange.judgement = judge(
            caller,
            operation,
            members,
            self._services.directories,
            self._services.clock.now(),
            tags,
        )
        if exchange.judgement.refusal is not None:
            raise exchange.judgement.refusal

        async def run(started: Started) -> bytes:
            calling = replace(caller, started=started)
            result = await operation.handle(self._services, calling, members)
            return asked.encode(result, exchange.request_id)

        key = None
        if asked.operation in _REPEATED:
            invocation_id = named.get(b"amz-sdk-invocation-id", b"")
            key = key_of(caller.access_key_id, asked.operation, request.body, invocation_id)
        return await self._repeats.answer(key, run)

    def _answer_health(self) -> Answer:
        return Answer(200, b"application/json", b'{"status":"ok"}')

    def _answer_ready(self) -> Answer:
        if self._health.is_draining:
            return Answer(503, b"application/json", b'{"status":"draining"}')
        return Answer(200, b"application/json", b'{"status":"ready"}')

    def _answer_metrics(self) -> Answer:
        return Answer(200, self._metrics.content_type, self._metrics.text())


_CUT_OFF: Final = Answer(503, b"", b"", faults.stopped().code)
"""What is noted of a request that got no answer, because the server stopped."""

_REPEATED: Final = frozenset({"StartSyncExecution"})
"""Operations that an SDK sends again when they take long, and that do twice what is sent twice."""


class _Gone(Exception):
    """The client went away before its request was complete."""


def _arrival(scope: Scope, named: Named) -> Arrival:
    client = scope.get("client")
    return Arrival(
        source_ip="" if client is None else client[0],
        is_secure=scope["scheme"] == "https",
        user_agent=named.get(b"user-agent", b"").decode("latin-1"),
    )


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


def _traced(caller: Caller, named: Named) -> Caller:
    """The trace header wins over the member of that name (API reference, StartSyncExecution)."""
    trace = named.get(b"x-amzn-trace-id")
    return caller if trace is None else replace(caller, trace_header=trace.decode("latin-1"))


async def _send(send: Send, answer: Answer, request_id: str) -> None:
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


def _report(exchange: Exchange, answer: Answer) -> None:
    """One line for each request, without its data."""
    if not _log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {
        "operation": exchange.operation,
        "status": answer.status,
        "duration_ms": round(exchange.seconds * 1_000, 3),
        "request_id": exchange.request_id,
    }
    if answer.error is not None:
        fields["error"] = answer.error
    _log.info("request", extra={"fields": fields})
