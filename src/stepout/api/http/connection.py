"""One connection of the front: HTTP/1.1 between a socket and an ASGI app.

What is read is `incoming`'s matter, what is allowed `head`'s, how an answer looks `answer`'s, what
it may all cost `bounds`'; here they meet the event loop. The rules:

- The app is called with whole requests alone. Whoever sends half of one costs its bytes and no
  task, and what turns out to be malformed at the end has never begun to act.
- One request at a time. What a client sends behind it is held as it came, at most one read, and
  nothing more is read until the answer is out: its pace is ours, and memory is bounded. So answers
  come in order without further ado.
- While nothing is held, reading goes on during a request, because that is how a client's departure
  is noticed. A connection whose client has closed its side counts as departed.
- Of requests that are not whole all connections together hold so much; then the oldest, which is
  the slowest, is refused. Who sends a request at one go is none of them.
- Every state has a time in which it must be left; the front looks for those that are over.
- A refusal is written, and then what still arrives is thrown away for a while: a connection that
  is closed with unread bytes is reset, and the client would see that in place of the refusal.

The states, where they may lead and how long they may last are in `states`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, TypeAlias, cast

from stepout.api import faults
from stepout.api.http.answer import CONTINUE, ENDED, SENDING, Answer, error_answer
from stepout.api.http.bounds import Bounds
from stepout.api.http.head import Request, refusal
from stepout.api.http.incoming import WHOLE, Incoming
from stepout.api.http.states import (
    BODY,
    CLOSING,
    HEAD,
    IDLE,
    LINGERING,
    MOVES,
    OPENING,
    READING,
    SERVING,
    patience,
)
from stepout.errors import ServiceError

__all__ = ["TOO_MANY", "AsgiApp", "Connection", "Shared"]

AsgiApp: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
Message: TypeAlias = MutableMapping[str, Any]

_log = logging.getLogger("stepout.front")

TOO_MANY: Final = refusal(503, "The server has as many connections as it may; try again.")

_CROWDED: Final = refusal(503, "The server holds as much of unfinished requests as it may.")

_LATE: Final = {
    HEAD: refusal(408, "The head of the request did not come in time."),
    BODY: refusal(408, "The body of the request did not come in time."),
}
"""State → what a client is told whose time is over; the others are closed without a word."""


@dataclass(slots=True)
class Shared:
    """What the connections of a front have in common."""

    app: AsgiApp
    bounds: Bounds
    scheme: str
    date: bytes = b""
    """The Date header, renewed by the front."""
    connections: dict[Connection, None] = field(default_factory=dict)
    """Those that are open, the oldest first."""
    unfinished: dict[Connection, int] = field(default_factory=dict)
    """Bytes of requests that are not whole, the oldest first."""
    held: int = 0
    """Their sum."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Requests that are being served."""
    patience: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.patience = patience(self.bounds)


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_answer",
        "_at",
        "_body_until",
        "_client",
        "_drained",
        "_gone",
        "_held",
        "_incoming",
        "_leave",
        "_loop",
        "_refusal",
        "_request",
        "_server",
        "_shared",
        "_task",
        "_transport",
        "_unsent",
        "address",
        "deadline",
        "is_draining",
        "state",
    )

    def __init__(
        self,
        shared: Shared,
        leave: Callable[[Connection], None],
        address: str = "",
        refused: ServiceError | None = None,
    ) -> None:
        self._shared = shared
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self.address = address
        """The client's, for counting."""
        self._refusal = refused
        """The answer to a client that is not let in, whatever it asks."""
        self.state = OPENING
        self.deadline = inf
        """When this state must have been left, by the loop's clock."""
        self.is_draining = False
        self._incoming = Incoming(shared.bounds)
        self._request: Request | None = None
        """The request that is served; None when the app has taken its body."""
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None
        self._held = b""
        """Bytes that came during a request, of which those from `_at` on are not read."""
        self._at = 0
        self._body_until = inf
        self._gone: asyncio.Future[None] | None = None
        """Someone waits for the client's departure."""
        self._drained: asyncio.Future[None] | None = None
        """Someone may write on when the client has taken what waits for it."""
        self._unsent = 0
        """Bytes that waited when they were last looked at."""

    # --- The transport's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server = _address(transport.get_extra_info("sockname"))
        self._client = _address(transport.get_extra_info("peername"))
        if self._refusal is None:
            self._move(IDLE)
        else:
            self._refuse(self._refusal)

    def data_received(self, data: bytes) -> None:
        if self.state in READING:
            self._read(data, 0)
        elif self.state is SERVING:
            self._hold(self._held[self._at :] + data, 0)

    def eof_received(self) -> bool:
        # The transport closes itself: half of a connection is of no use here.
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — asyncio's interface
        self._move(CLOSING)
        self._leave(self)
        if self._task is not None:
            # Nobody else holds it any more.
            self._shared.tasks.add(self._task)
            self._task.add_done_callback(self._shared.tasks.discard)
        self._incoming.close()
        for waiting in (self._gone, self._drained):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._loop.time() + self._shared.bounds.write_seconds

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self.state is SERVING:
            self.deadline = inf

    # --- The front's side -------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return self.state is IDLE

    def close(self) -> None:
        """End the connection when what was written is out."""
        self._move(CLOSING)
        self._unsent = self._transport.get_write_buffer_size()
        self._transport.close()

    def drain(self) -> None:
        """End the connection as soon as no answer is in the making."""
        self.is_draining = True
        if self._answer is not None:
            self._answer.closes = True
        if self.state in READING or self.state is LINGERING:
            self.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self.state is not OPENING:
            self._transport.abort()

    def make_room(self) -> None:
        """End a request that is not whole."""
        self._refuse(_CROWDED)

    def expire(self) -> None:
        """The time of this state is over."""
        late = _LATE.get(self.state)
        if late is not None:
            self._refuse(late)
        elif self.state in (IDLE, LINGERING):
            self.close()
        else:
            self._look_at_unsent()

    def _look_at_unsent(self) -> None:
        """Cut off a client that took nothing since the last look."""
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self.deadline = self._loop.time() + self._shared.bounds.write_seconds
        else:
            self._log("cut off", {"why": "The client does not read its answer."})
            self._transport.abort()

    # --- Reading ----------------------------------------------------------------------------------

    def _read(self, data: bytes, start: int) -> None:
        try:
            end = self._incoming.feed(data, start)
        except ServiceError as error:
            self._refuse(error)
            return
        phase = self._incoming.phase
        if phase is WHOLE:
            if end < len(data):
                self._hold(data, end)
            self._begin_serving()
        elif phase is BODY:
            self._await_body()
        elif self.state is IDLE:
            self._move(HEAD)
        if phase is not WHOLE:
            self._count(end - start)

    def _count(self, size: int) -> None:
        """More of a request is held that is not whole; the oldest make room."""
        shared = self._shared
        shared.unfinished[self] = shared.unfinished.get(self, 0) + size
        shared.held += size
        while shared.held > shared.bounds.unfinished:
            next(iter(shared.unfinished)).make_room()

    def _hold(self, data: bytes, start: int) -> None:
        self._held, self._at = data, start
        self._transport.pause_reading()

    def _await_body(self) -> None:
        """A piece of a body has come, or the head before it."""
        now, bounds = self._loop.time(), self._shared.bounds
        if self.state is not BODY:
            self._move(BODY)
            self._body_until = now + bounds.body_seconds
            request = self._incoming.request
            if request is not None and request.expects:
                self._transport.write(CONTINUE)
        self.deadline = min(now + bounds.pause_seconds, self._body_until)

    # --- Serving ----------------------------------------------------------------------------------

    def _begin_serving(self) -> None:
        request = self._request = self._incoming.take()
        closes = self.is_draining or not request.keeps_alive
        answer = self._answer = Answer(request.method, request.version, closes)
        self._move(SERVING)
        self._task = self._loop.create_task(self._serve(self._scope(request), answer))

    def _scope(self, request: Request) -> dict[str, Any]:
        place = request.place
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": request.version,
            "method": request.method,
            "scheme": self._shared.scheme,
            "path": place.path,
            "raw_path": place.raw_path,
            "query_string": place.query,
            "root_path": "",
            "headers": request.fields,
            "client": self._client,
            "server": self._server,
        }
        if place.authority is not None:
            scope["extensions"] = {"stepout.authority": place.authority}
        return scope

    async def _serve(self, scope: dict[str, Any], answer: Answer) -> None:
        try:
            await self._shared.app(scope, self._receive, self._send)
            if answer.state is not ENDED and self.state is SERVING:
                raise RuntimeError("The app ended before its answer did.")
        except asyncio.CancelledError:
            # Nobody would answer this connection any more, nor close it.
            self._transport.abort()
            raise
        except Exception:  # noqa: BLE001 — a bug of the app ends a connection, not the server
            _log.exception("app failed", extra={"fields": {"path": scope["path"]}})
            if self.state is SERVING:
                self._fail(answer)
        else:
            if self.state is SERVING:
                self._end_serving(answer)

    async def _receive(self) -> Message:
        request, self._request = self._request, None
        if request is not None:
            return {"type": "http.request", "body": request.body, "more_body": False}
        answer = self._answer
        if self.state is SERVING and answer is not None and answer.state is not ENDED:
            if self._gone is None:
                self._gone = self._loop.create_future()
            await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        answer = self._answer
        if answer is None or self.state is not SERVING:
            # The client is gone; the app is told so when it asks.
            return
        if message["type"] == "http.response.start":
            answer.begin(message["status"], message.get("headers", ()))
            return
        is_last = not message.get("more_body", False)
        self._transport.write(answer.part(message.get("body", b""), is_last, self._shared.date))
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def _end_serving(self, answer: Answer) -> None:
        self._answer = self._request = self._task = None
        if answer.closes:
            self._part()
            return
        self._move(IDLE)
        if self._held:
            held, self._held = self._held, b""
            self._read(held, self._at)
            if not self._held and not self._transport.is_closing():
                self._transport.resume_reading()

    def _fail(self, answer: Answer) -> None:
        """Answer 500 where nothing has been said yet; half an answer is cut off, not ended."""
        if answer.state is SENDING:
            self._transport.abort()
            return
        if answer.state is not ENDED:
            error = error_answer(faults.INTERNAL, answer.method, self._shared.date)
            self._transport.write(error)
        self._part()

    # --- Ending -----------------------------------------------------------------------------------

    def _refuse(self, error: ServiceError) -> None:
        """Tell why nothing of this connection is served any more."""
        self._log("refused", {"status": error.status, "error": error.code, "why": error.message})
        request = self._incoming.request
        method = "" if request is None else request.method
        self._transport.write(error_answer(error, method, self._shared.date))
        self._linger()

    def _log(self, event: str, fields: dict[str, object]) -> None:
        _log.info(event, extra={"fields": {**fields, "client": self.address}})

    def _part(self) -> None:
        """End the connection behind an answer."""
        if self._held:
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        self._move(LINGERING)
        self._held = b""
        self._incoming.clear()
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _move(self, state: str) -> None:
        if state not in MOVES[self.state]:
            raise RuntimeError(f"A connection cannot move from {self.state} to {state}.")
        self.state = state
        if state not in READING:
            self._shared.held -= self._shared.unfinished.pop(self, 0)
        self.deadline = self._loop.time() + self._shared.patience[state]


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


def _address(name: object) -> tuple[str, int] | None:
    """Host and port; a Unix socket has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
