"""The Lambda Runtime API, version 2018-06-01, for one program at a time.

The program asks for work with `GET /invocation/next`, which waits until there is some, and posts
what came of it to `/invocation/ID/response` or `/invocation/ID/error`; when it cannot even start it
posts to `/init/error`. Its first request for work ends the init phase. Paths, headers and status
codes are those of "Using the Lambda runtime API" in the Lambda developer guide.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Final

from stepout.functions.invocation import ANSWER_LIMIT, Outcome, answer_too_large
from stepout.functions.wire import Connection, Request

__all__ = ["RuntimeApi", "Work"]

PREFIX: Final = "/2018-06-01/runtime"
ACCEPTED: Final = b'{"status":"OK"}'


@dataclass(frozen=True, slots=True)
class Work:
    """One invocation as the program gets it."""

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str
    trace_header: str


class RuntimeApi:
    """A server of the Runtime API; `expect_program` and `offer` are the platform's side of it."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._init: asyncio.Future[Outcome] | None = None
        self._poll: Connection | None = None
        self._work: Work | None = None
        self._is_taken = False
        self._outcome: asyncio.Future[Outcome] | None = None
        self.address = ""

    async def start(self, listener: socket.socket | None = None) -> None:
        """Listen on `listener`, which then belongs to the server, or on a free loopback port."""
        loop = asyncio.get_running_loop()
        if listener is None:
            listener = socket.create_server(("127.0.0.1", 0))
        host, port = listener.getsockname()[:2]
        self._server = await loop.create_server(self._connect, sock=listener)
        self.address = f"{host}:{port}"

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self._forget()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def expect_program(self) -> asyncio.Future[Outcome]:
        """Forget the last program; the future tells how the init phase of the next one ends."""
        self._forget()
        self._init = asyncio.get_running_loop().create_future()
        return self._init

    def offer(self, work: Work) -> asyncio.Future[Outcome]:
        """Give work to the program; the future brings what it posts."""
        self._work = work
        self._is_taken = False
        self._outcome = asyncio.get_running_loop().create_future()
        self._hand_over()
        return self._outcome

    def _forget(self) -> None:
        self._poll = self._work = self._outcome = self._init = None
        self._is_taken = False
        for connection in self._connections:
            connection.abort()

    def _connect(self) -> Connection:
        connection = Connection(self._serve, self._disconnect)
        self._connections.add(connection)
        return connection

    def _disconnect(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._poll is connection:
            self._poll = None

    def _serve(self, connection: Connection, request: Request) -> None:
        route, request_id = _route(request.path)
        handle = self._routes.get((request.method, route))
        if handle is None:
            message = f"The Runtime API has no {request.method} {request.path}."
            connection.refuse(HTTPStatus.NOT_FOUND, "NotFound", message)
        else:
            handle(self, connection, request_id, request.body)

    def _next(self, connection: Connection, request_id: str, body: bytes | None) -> None:
        del request_id, body
        if self._is_taken or self._poll is not None:
            _refuse_move(connection, "The program has not answered the work it was given.")
            return
        if self._init is not None and not self._init.done():
            self._init.set_result(Outcome(b""))
        self._poll = connection
        self._hand_over()

    def _hand_over(self) -> None:
        if self._poll is None or self._work is None or self._is_taken:
            return
        connection, self._poll, self._is_taken = self._poll, None, True
        headers = (
            ("Lambda-Runtime-Aws-Request-Id", self._work.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(self._work.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self._work.function_arn),
            ("Lambda-Runtime-Trace-Id", self._work.trace_header),
        )
        connection.answer(HTTPStatus.OK, self._work.event, headers)

    def _respond(self, connection: Connection, request_id: str, body: bytes | None) -> None:
        self._finish(connection, request_id, body, is_error=False)

    def _fail(self, connection: Connection, request_id: str, body: bytes | None) -> None:
        self._finish(connection, request_id, body, is_error=True)

    def _finish(
        self, connection: Connection, request_id: str, body: bytes | None, *, is_error: bool
    ) -> None:
        if self._work is None or self._outcome is None or not self._is_taken:
            _refuse_move(connection, "The program has no work to answer.")
            return
        if request_id != self._work.request_id:
            connection.refuse(HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
            return
        outcome = answer_too_large() if body is None else Outcome(body, is_error=is_error)
        if not self._outcome.done():
            self._outcome.set_result(outcome)
        self._work, self._is_taken = None, False
        _accept(connection, body)

    def _fail_init(self, connection: Connection, request_id: str, body: bytes | None) -> None:
        del request_id
        if self._init is None or self._init.done():
            _refuse_move(connection, "The init phase is over.")
            return
        self._init.set_result(Outcome(body or b"", is_error=True, is_fatal=True))
        _accept(connection, body)

    _routes: ClassVar[
        Mapping[tuple[str, str], Callable[[RuntimeApi, Connection, str, bytes | None], None]]
    ] = {
        ("GET", "/invocation/next"): _next,
        ("POST", "/invocation/*/response"): _respond,
        ("POST", "/invocation/*/error"): _fail,
        ("POST", "/init/error"): _fail_init,
    }


def _route(path: str) -> tuple[str, str]:
    """Give the route of a path, with `*` for the request id, and the request id."""
    if not path.startswith(PREFIX + "/"):
        return "", ""
    route = path.removeprefix(PREFIX)
    match route.split("/"):
        case ["", "invocation", request_id, last]:
            return f"/invocation/*/{last}", request_id
    return route, ""


def _accept(connection: Connection, body: bytes | None) -> None:
    if body is None:
        message = f"Exceeded maximum allowed payload size ({ANSWER_LIMIT} bytes)."
        connection.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)
    else:
        connection.answer(HTTPStatus.ACCEPTED, ACCEPTED)


def _refuse_move(connection: Connection, message: str) -> None:
    connection.refuse(HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
