"""The wire of the blocking client: urllib3, which botocore brings."""

from __future__ import annotations

import ssl
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from stepout.client.endpoint import Endpoint
from stepout.client.exchange import Answer, Send, Timeout, WireError

__all__ = ["Wire"]

CONNECTIONS: Final = 64
"""Kept open at most; more are opened when they are needed and closed after use."""


class _Connection(HTTPSConnection):
    """Tells what breaks in TLS once it is set up from what keeps it from being set up.

    urllib3 has `SSLError` for both, and only the second may be sent again.
    """

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError:
            # In the handshake; urllib3 would call it a time-out of the answer.
            raise ConnectTimeoutError(self, "no TLS in time") from None

    def request(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().request(*args, **kwargs)
        except ssl.SSLError as error:
            raise ProtocolError(str(error)) from None

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        try:
            return super().getresponse()
        except (ssl.SSLError, SSLError) as error:
            raise ProtocolError(str(error)) from None


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class Wire:
    """Connections to the endpoint, kept open between calls; safe to share among threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.url
        options: dict[str, Any] = {
            "maxsize": CONNECTIONS,
            "retries": False,
            "ssl_context": endpoint.tls(),
        }
        proxy = endpoint.proxy
        self._pool: urllib3.PoolManager = (
            urllib3.PoolManager(**options)
            if proxy is None
            else urllib3.ProxyManager(proxy.url, proxy_headers=dict(proxy.headers), **options)
        )
        self._pool.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": _Pool}

    def send(self, request: Send, timeout: Timeout) -> Answer:
        """Send a request once; raises `WireError`."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=timeout.connect, read=timeout.read),
                redirect=False,
            )
        except (ConnectTimeoutError, NewConnectionError, ProxyError, SSLError) as error:
            raise WireError("unsent", _told(error)) from None
        except ReadTimeoutError:
            raise WireError("late", f"{timeout.read:g} seconds are over") from None
        except (ProtocolError, MaxRetryError, HTTPError) as error:
            raise WireError("broken", _told(error)) from None
        return Answer(response.status, response.data)

    def close(self) -> None:
        self._pool.clear()


def _told(error: Exception) -> str:
    """What happened, without urllib3's own objects in front of it."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
