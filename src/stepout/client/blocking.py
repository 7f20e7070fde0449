"""The wire of the blocking client: urllib3, which botocore brings."""

from __future__ import annotations

import http.client
import io
import os
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)

from stepout.client.endpoint import Endpoint
from stepout.client.exchange import Answer, Send, Timeout, WireError

__all__ = ["Wire"]

CONNECTIONS: Final = 64
"""Kept open at most; more are opened when they are needed and closed after use."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of an exchange: seconds for request and answer, bytes of the answer."""

    seconds: float
    size: int


_BOUNDS: ContextVar[_Bounds] = ContextVar("bounds")
"""Those of the call that is made; urllib3 hands on no such thing."""


class _Clock:
    """The time that is left as a whole: a socket's own limit begins anew with each byte."""

    def __init__(self, seconds: float, late: WireError) -> None:
        self._end = time.monotonic() + seconds
        self.late = late

    def left(self) -> float:
        """Seconds, above 0; raises `WireError` where none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.late
        return left


class _Reader(io.RawIOBase):
    """What comes on a socket, as long as there is time, and so much at most.

    Counted is all that comes: heads and the sizes of chunks may be without end, too.
    """

    def __init__(self, raw: Any, sock: Any, clock: _Clock, size: int) -> None:
        self._raw = raw
        self._sock = sock
        self._clock = clock
        self._size = self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._clock.left())
        try:
            size: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            raise self._clock.late from None
        self._left -= size or 0
        if self._left < 0:
            raise _too_large(self._size)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Buffer(io.BufferedReader):
    """Makes no room for more than may come, whatever length an answer or a chunk says it has."""

    def __init__(self, reader: _Reader, size: int) -> None:
        super().__init__(reader)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._size:
            raise _too_large(self._size)
        return super().read(size)


def _too_large(size: int) -> WireError:
    return WireError("large", f"more than {size:,} bytes")


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, clock: _Clock, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        size = _BOUNDS.get().size
        self.fp = _Buffer(_Reader(self.fp.detach(), sock, clock, size), size)


class _Timed(HTTPConnection):
    """A connection that has its time for connecting, and each exchange on it its own."""

    _clock: _Clock

    def connect(self) -> None:
        seconds = float(self.timeout or 0)
        late = WireError("unsent", f"no connection within {seconds:g} seconds")
        self._clock = _Clock(seconds, late)
        super().connect()

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        seconds = _BOUNDS.get().seconds
        self._clock = _Clock(seconds, WireError("late", f"{seconds:g} seconds are over"))
        super().request(*args, **options)

    def send(self, data: Any) -> None:
        self.sock.settimeout(self._clock.left())
        try:
            super().send(data)
        except TimeoutError:
            raise self._clock.late from None

    def response_class(self, sock: Any, *args: Any, **options: Any) -> _Answer:  # type: ignore[override]  # called as the class would be
        """Made for what a proxy says to CONNECT, too."""
        return _Answer(sock, *args, clock=self._clock, **options)


class _Secure(_Timed, HTTPSConnection):
    """Tells what breaks in TLS once it is set up from what keeps it from being set up.

    urllib3 has `SSLError` for both, and only the second may be sent again.
    """

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError:
            # In the handshake; urllib3 would call it a time-out of the answer.
            raise ConnectTimeoutError(self, "no TLS in time") from None

    def request(self, *args: Any, **options: Any) -> None:
        try:
            super().request(*args, **options)
        except ssl.SSLError as error:
            raise ProtocolError(str(error)) from None

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        try:
            return super().getresponse()
        except (ssl.SSLError, SSLError) as error:
            raise ProtocolError(str(error)) from None


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Timed


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class Wire:
    """Connections to the endpoint, kept open between calls; safe to share among threads.

    A process that was forked has its own: on a connection of two, one would get the other's answer.
    """

    def __init__(self, endpoint: Endpoint, size: int) -> None:
        """To an endpoint; `size` are the bytes that an answer may have."""
        self._url = endpoint.url
        self._size = size
        self._tls = endpoint.tls()
        self._proxy = endpoint.proxy
        self._pool, self._process = self._new_pool(), os.getpid()

    def _new_pool(self) -> urllib3.PoolManager:
        proxy = self._proxy
        options: dict[str, Any] = {
            "maxsize": CONNECTIONS,
            "retries": False,
            "ssl_context": self._tls,
        }
        pool: urllib3.PoolManager = (
            urllib3.PoolManager(**options)
            if proxy is None
            else urllib3.ProxyManager(proxy.url, proxy_headers=dict(proxy.headers), **options)
        )
        pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return pool

    def _own_pool(self) -> urllib3.PoolManager:
        if self._process != os.getpid():
            self._pool, self._process = self._new_pool(), os.getpid()
        return self._pool

    def send(self, request: Send, timeout: Timeout) -> Answer:
        """Send a request once; raises `WireError`."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        _BOUNDS.set(_Bounds(timeout.read, self._size))
        try:
            response = self._own_pool().request(
                "POST",
                self._url,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=timeout.connect, read=timeout.read),
                redirect=False,
                # What nobody asked for is not unpacked: a little may become very much.
                decode_content=False,
            )
        except (ConnectTimeoutError, NewConnectionError, ProxyError, SSLError) as error:
            raise WireError("unsent", _told(error)) from None
        except (ProtocolError, MaxRetryError, HTTPError) as error:
            raise WireError("broken", _told(error)) from None
        return Answer(response.status, response.data)

    def close(self) -> None:
        self._pool.clear()


def _told(error: Exception) -> str:
    """What happened, without urllib3's own objects in front of it."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
