"""A forward proxy on loopback: HTTPS requests of unmodified programs go out through the gateway.

    CONNECT api.example.com:443     judged: has any upstream this host?
      └ TLS, ended here             with a leaf of the local authority, HTTP/1.1 alone
          └ GET /v1/items           read whole, sent by `AsyncGateway`, answered; and again

Nothing is tunnelled: whoever speaks anything but HTTP in TLS gets no connection. A connection is
one task (`channel`), which serves its requests in their order; the task's end closes the
connection, and the client's leaving cancels the task, and with it the call in flight.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import h11

from stepout.certificates import Authority
from stepout.client.channel import Channel
from stepout.client.gateway import AsyncGateway
from stepout.client.intake import (
    admit,
    build,
    chunks_problem,
    head_problem,
    header,
    left_out,
    plain_refusal,
    unservable,
)
from stepout.client.leaves import Leaves
from stepout.client.lines import Line, tell_connect
from stepout.client.replies import Reply, closing, reply_to, reply_with, told
from stepout.errors import NotCarried, StepoutError

__all__ = ["CERTIFICATE", "HEALTH", "Limits", "Proxy"]

_log = logging.getLogger("stepout.proxy")

HEALTH: Final = "/_stepout/health"
CERTIFICATE: Final = "/_stepout/ca.pem"
"""For a program beside the proxy that does not share its files."""

ACCEPTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

MARGIN: Final = 65_536
"""Bytes of a body over the gateway's limit that are read all the same: the gateway says exactly how
much is too much."""

FRAMED: Final = 8
"""How often the bytes of the largest body may come, with those that frame it: a chunk of one byte
takes six."""

Event: TypeAlias = "type[h11.NEED_DATA | h11.PAUSED] | h11.Event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may use."""

    connections: int = 400
    """At one time. Each may need a second one to the endpoint, and 1,024 open files is a usual
    limit of a process."""
    head: int = 65_536
    """Bytes of a request's first line and headers, give or take what is read at once."""
    handshake_seconds: float = 10.0
    idle_seconds: float = 75.0
    """Until a request begins; longer than the 60 seconds that many clients keep a connection."""
    head_seconds: float = 15.0
    """From a head's first bytes to its last."""
    body_seconds: float = 60.0
    write_seconds: float = 60.0
    """For a client that does not read its answer."""


class Proxy:
    """The proxy; belongs to one event loop. The gateway stays its maker's, who closes it."""

    def __init__(
        self, gateway: AsyncGateway, authority: Authority, limits: Limits | None = None
    ) -> None:
        self.gateway = gateway
        self.limits = limits or Limits()
        self.leaves = Leaves(authority)
        self.is_draining = False
        self.own: Mapping[str, str] = {
            HEALTH: "ok",
            CERTIFICATE: authority.certificate_pem.decode().rstrip(),
        }
        """What the proxy itself answers, by path."""
        self.url = ""
        self._served: set[_Conversation] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Channel(self._serve), host, port)
        name, number = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"

    async def stop(self, seconds: float = 30.0) -> None:
        """Take no more requests, let those in flight end for some seconds, then cancel them."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for served in self._served:
            if not served.is_busy:
                served.channel.task.cancel()
        if tasks := {served.channel.task for served in self._served}:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, channel: Channel) -> None:
        conversation = _Conversation(self, channel)
        self._served.add(conversation)
        try:
            await conversation.run(is_full=len(self._served) > self.limits.connections)
            await channel.close()
        except (OSError, asyncio.CancelledError):
            # The client went away or does not read, or the proxy stops. Nobody but `stop` waits for
            # this task.
            pass
        except Exception:  # noqa: BLE001 — told here; the other connections go on
            _log.exception("connection failed")
        finally:
            channel.abort()
            self._served.discard(conversation)


class _Refused(Exception):
    """The conversation ends with this reply; `is_midway`: the client is still sending."""

    def __init__(self, reply: Reply, *, is_midway: bool = False) -> None:
        self.reply = reply
        self.is_midway = is_midway
        super().__init__(reply.status)


@dataclass(slots=True, eq=False)
class _Conversation:
    """What is said on one connection, first in plain, then in TLS."""

    proxy: Proxy
    channel: Channel
    is_busy: bool = False
    """A request is in flight."""
    authority: str = ""
    """Host and port of CONNECT, as a URL has them; empty before."""
    is_head: bool = False
    """The request is a HEAD, whose answers have no bodies."""
    http: h11.Connection = field(init=False)
    raw: bytearray = field(default_factory=bytearray)
    """What came since the last event that `_taken` was asked of."""

    async def run(self, *, is_full: bool) -> None:
        self._begin()
        try:
            if is_full:
                most = self.proxy.limits.connections
                raise _Refused(told(503, f"The proxy has {most} connections, which is its limit."))
            while (request := await self._next_request()) is not None:
                self.is_busy = True
                await self._serve_one(request)
                self.is_busy = False
                if self.proxy.is_draining or not self._goes_on():
                    return
        except _Refused as refused:
            await self._refuse(refused)
        except h11.RemoteProtocolError as error:
            await self._refuse(_no_http(error.error_status_hint, error))
        except OSError:  # of this connection, on which nobody is left to tell
            raise
        except Exception as error:  # noqa: BLE001 — told here, and answered
            await self._refuse(_Refused(_broken(error), is_midway=True))

    def _begin(self) -> None:
        limit = self.proxy.limits.head
        self.raw.clear()
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=limit)

    def _goes_on(self) -> bool:
        """Whether another request may follow; TLS has begun afresh."""
        if self.http.our_state is h11.IDLE:
            return True
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            return True
        return False

    async def _serve_one(self, request: h11.Request) -> None:
        if self.authority:
            await self._exchange(request)
        elif request.method == b"CONNECT":
            await self._connect(request.target)
        else:
            await self._front(request)

    # --- Before TLS ---

    async def _front(self, request: h11.Request) -> None:
        """A request to the proxy itself, or one that should have come through a tunnel."""
        text = self.proxy.own.get(request.target.decode("latin-1"))
        if text is None or request.method not in (b"GET", b"HEAD"):
            raise _Refused(plain_refusal(request), is_midway=True)
        await self._body()
        await self._answer(told(200, text))

    async def _connect(self, target: bytes) -> None:
        try:
            host, authority = admit(target, self.proxy.gateway.upstreams)
        except (NotCarried, ValueError) as error:
            reply = _connect_refusal(error)
            tell_connect(target, reply.status, type(error).__name__, str(error))
            raise _Refused(reply) from None
        await self._event()  # the end of CONNECT, which has no body
        if self.http.trailing_data[0] or self.channel.has_unread:
            text = "Expected TLS to begin after the answer to CONNECT, found it before."
            raise _Refused(told(400, text))
        context, limit = self.proxy.leaves.context(host), self.proxy.limits.handshake_seconds
        try:
            await self.channel.start_tls(ACCEPTED, context, limit)
        except OSError as error:
            # Commonly a client that does not believe the authority, and says so in TLS.
            tell_connect(target, 200, type(error).__name__, str(error))
            raise
        self.authority = authority
        self._begin()

    # --- In TLS ---

    async def _exchange(self, request: h11.Request) -> None:
        """Read a request, call the API, answer; the log has one line of it."""
        told_of = Line(request, self.authority)
        try:
            if (refusal := unservable(request, self.authority)) is not None:
                raise _Refused(refusal, is_midway=True)
            await self._go_on_with_body(request)
            body = await self._body()
            is_chunked = header(request, b"transfer-encoding") is not None
            if is_chunked and (problem := chunks_problem(self._taken())) is not None:
                raise _no_http(400, problem)
            reply = await self._call(request, body, told_of)
            told_of.reply = reply
            try:
                await self._answer(reply)
            except h11.LocalProtocolError as error:
                told_of.reply = _unwritable(error)
                await self._answer(told_of.reply)
        except h11.RemoteProtocolError as error:
            refused = _no_http(error.error_status_hint, error)
            told_of.reply = refused.reply
            raise refused from None
        except _Refused as refused:
            told_of.reply = refused.reply
            raise
        except BaseException as error:
            told_of.error = type(error).__name__
            raise
        finally:
            told_of.tell()

    async def _call(self, request: h11.Request, body: bytes, told_of: Line) -> Reply:
        try:
            response = await self.proxy.gateway.send(build(request, self.authority, body))
        except StepoutError as error:
            return reply_to(error)
        except Exception as error:  # noqa: BLE001 — told here, and answered
            return _broken(error)
        told_of.response = response
        try:
            return reply_with(response, request.method.decode("ascii"), left_out(request))
        except ValueError as error:
            return _unwritable(error)

    async def _go_on_with_body(self, request: h11.Request) -> None:
        """Refuse a body that says that it is too large; else let a client send it that asks."""
        length = int(header(request, b"content-length") or 0)
        if length > self._most:
            raise _Refused(self._too_large(f"{length:,} bytes"), is_midway=True)
        if self.http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._send(self.http.send(go_on) or b"")

    async def _body(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.proxy.limits.body_seconds):
                while isinstance(event := await self._event(), h11.Data):
                    pieces.append(bytes(event.data))
                    size += len(event.data)
                    if size > self._most:
                        found = f"more than {self._most:,} bytes"
                        raise _Refused(self._too_large(found), is_midway=True)
        except TimeoutError:
            raise _Refused(told(408, "The request's body did not come in time.")) from None
        return b"".join(pieces)

    @property
    def _most(self) -> int:
        return self.proxy.gateway.payload_limit + MARGIN

    def _too_large(self, found: str) -> Reply:
        text = (
            f"The request's body has {found}, and {self._most - MARGIN:,} is the most that "
            "an execution's input may have; nothing was sent. Send less at a time, or hand the "
            "data over by another way (S3, say)."
        )
        return told(413, text, error="NotCarried")

    # --- Reading and writing ---

    async def _next_request(self) -> h11.Request | None:
        """The next head; None where there is no more, or has not been for long."""
        limits = self.proxy.limits
        self.is_head = False
        self._taken()
        if not self.http.trailing_data[0]:
            try:
                async with asyncio.timeout(limits.idle_seconds):
                    await self._receive()
            except TimeoutError:
                return None
        try:
            async with asyncio.timeout(limits.head_seconds):
                event = await self._event()
        except TimeoutError:
            raise _Refused(told(408, "The request's head did not come in time.")) from None
        if not isinstance(event, h11.Request):
            return None
        if (problem := head_problem(self._taken())) is not None:
            raise _no_http(400, problem)
        self.is_head = event.method == b"HEAD"
        return event

    async def _event(self) -> Event:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            await self._receive()
        return event

    async def _receive(self) -> None:
        data = await self.channel.read()
        self.raw += data
        if len(self.raw) > FRAMED * self._most:
            raise _no_http(400, "Expected a body in chunks, found much more around them")
        self.http.receive_data(data)

    def _taken(self) -> bytes:
        """The bytes of what h11 has told since the last time: it is more lenient than a proxy."""
        end = len(self.raw) - len(self.http.trailing_data[0])
        taken = bytes(self.raw[:end])
        del self.raw[:end]
        return taken

    async def _answer(self, reply: Reply) -> None:
        await self._send(self._written(closing(reply) if self.proxy.is_draining else reply))

    async def _refuse(self, refused: _Refused) -> None:
        """Answer, and drop what the client is still sending."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return  # too late for another answer
        await self._send(self._written(closing(refused.reply)))
        if refused.is_midway:
            await self.channel.linger()

    def _written(self, reply: Reply) -> bytes:
        """Head and body in one piece, so that they share a packet.

        Raises `h11.LocalProtocolError` for a reply that is no HTTP.
        """
        head = h11.Response(status_code=reply.status, reason=reply.reason, headers=reply.headers)
        body = h11.Data(b"" if self.is_head else reply.body)
        parts = [self.http.send(part) for part in (head, body, h11.EndOfMessage())]
        return b"".join(part for part in parts if part)

    async def _send(self, data: bytes) -> None:
        await self.channel.write(data, self.proxy.limits.write_seconds)


# --- What is said in place of an API --------------------------------------------------------------


def _no_http(status: int, why: object) -> _Refused:
    reply = told(status, f"This is no HTTP that can be served: {why}.")
    return _Refused(reply, is_midway=True)


def _connect_refusal(error: NotCarried | ValueError) -> Reply:
    if isinstance(error, ValueError):
        return told(400, str(error))
    reason = str(error).partition(";")[0]
    text = (
        f"{error}\nHosts that the subnet reaches by itself, such as AWS's endpoints and internal "
        "services, belong in NO_PROXY."
    )
    # Most clients show the first line of a refused CONNECT and drop its body.
    return told(403, text, error=type(error).__name__, reason=reason)


def _broken(error: Exception) -> Reply:
    """What is answered where the proxy itself is wrong."""
    _log.error("request failed", exc_info=error)
    text = (
        f"The proxy is broken ({type(error).__name__}), and its log says where; a call may have "
        "reached the API."
    )
    return told(500, text, error="InternalError")


def _unwritable(error: Exception) -> Reply:
    text = f"The API's answer came, and it cannot be written as HTTP: {error}."
    return told(502, text, error="CallFailed")
