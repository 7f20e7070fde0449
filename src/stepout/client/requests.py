"""A gateway below requests: programs and SDKs that use requests stay as they are.

    session = requests.Session()
    session.mount("https://api.example.com", Adapter())
    session.get("https://api.example.com/v1/items").json()

Needs requests (`stepout[requests]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from io import BytesIO
from typing import Any, Final

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import HTTPHeaderDict, HTTPResponse

from stepout.client.exchange import Timeout
from stepout.client.face import Row, gather, look_up
from stepout.client.gateway import Gateway
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

__all__ = ["Adapter", "Response"]

_ERRORS: Final[tuple[Row[type[requests.RequestException]], ...]] = (
    (NotCarried, None, requests.exceptions.InvalidSchema),
    (CallRefused, None, requests.exceptions.ProxyError),
    (CallTimedOut, None, requests.exceptions.ReadTimeout),
    (CallFailed, None, requests.exceptions.ConnectionError),
    (TruncatedResponse, None, requests.exceptions.ChunkedEncodingError),
    (GatewayError, None, requests.exceptions.RequestException),
)
"""The first that fits."""

READ_SIZE: Final = 65_536


class Response(requests.Response):
    """requests' response; its `stepout` are the extensions of the gateway's."""

    __attrs__ = [*requests.Response.__attrs__, "stepout"]  # noqa: RUF012 — requests' own
    """What is pickled."""
    stepout: Mapping[str, Any]

    def json(self, **options: Any) -> Any:
        """The body as JSON; raises `BodyNotCarried` where there is none to read."""
        if self.stepout["body"] == "not carried":
            raise _BodyNotCarried(self.status_code, self.url)
        return super().json(**options)


class Adapter(BaseAdapter):
    """Sends requests through a gateway, by default the one of the settings (`from_config`)."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        super().__init__()
        self._is_own = gateway is None
        self._gateway = gateway or Gateway.from_config()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 — requests' own signature
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 — requests' own signature
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Call an API; raises requests' errors from the gateway's, with the same message.

        `verify`, `cert` and `proxies` have no effect: the HTTP Task makes the connection to the
        API. Nor has `stream`, but that the body is read when it is asked for; it has come whole.
        """
        del stream, verify, cert, proxies
        gateway = self._gateway
        limits = _limits(timeout, gateway.timeout)
        try:
            body = gather(_pieces(request.body), gateway.payload_limit)
            return self._theirs(request, gateway.send(_ours(request, body), limits))
        except GatewayError as error:
            raise look_up(error, _ERRORS)(str(error), request=request) from error

    def close(self) -> None:
        """Close the gateway, where it is the adapter's own."""
        if self._is_own:
            self._gateway.close()

    def _theirs(self, request: requests.PreparedRequest, ours: messages.Response) -> Response:
        """As `HTTPAdapter.build_response`, which makes no class but its own."""
        response = Response()
        response.request = request
        response.status_code = ours.status_code
        response.reason = ours.reason
        response.url = request.url or ""
        response.raw = _raw(request, ours)
        response.headers = CaseInsensitiveDict(response.raw.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        extract_cookies_to_jar(response.cookies, request, response.raw)  # type: ignore[no-untyped-call]  # the stubs leave it out
        response.connection = self  # type: ignore[assignment]  # the stubs know but one adapter
        response.stepout = ours.extensions
        return response


def _raw(request: requests.PreparedRequest, ours: messages.Response) -> HTTPResponse:
    """urllib3's response over a body that is there already."""
    original: Any = _Original(ours.headers.pairs)
    return HTTPResponse(
        BytesIO(ours.content),
        headers=HTTPHeaderDict(ours.headers.pairs),
        status=ours.status_code,
        version=11,
        version_string="HTTP/1.1",
        reason=ours.reason,
        preload_content=False,
        original_response=original,
        # A Content-Length that stayed tells of a body that was not handed on.
        enforce_content_length=False,
        request_method=request.method,
        request_url=request.url,
    )


class _Original:
    """What is asked of the standard library's response, where the cookies are looked for."""

    def __init__(self, pairs: Iterable[messages.Pair]) -> None:
        self.msg = Message()
        for name, value in pairs:
            self.msg[name] = value

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to close."""


def _ours(request: requests.PreparedRequest, body: bytes) -> messages.Request:
    pairs = [(_text(name), _text(value)) for name, value in request.headers.items()]
    return messages.Request(request.method or "", request.url or "", messages.Headers(pairs), body)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _pieces(body: Any) -> Iterator[bytes]:
    """A body as urllib3 takes it: a text, bytes, a file or what can be iterated over."""
    if body is None:
        return
    pieces = body
    if isinstance(body, str | bytes | bytearray | memoryview):
        pieces = [body]
    elif hasattr(body, "read"):
        pieces = iter(lambda: body.read(READ_SIZE) or b"", b"")
    for piece in pieces:
        yield piece.encode() if isinstance(piece, str) else bytes(piece)


def _limits(timeout: Any, default: Timeout) -> Timeout:
    """requests' limits: seconds, a pair, urllib3's object; None stands for the gateway's."""
    if isinstance(timeout, tuple):
        try:
            connect, read = timeout
        except ValueError:
            raise ValueError(
                f"Expected a timeout of seconds or a pair (connect, read), found {timeout!r}."
            ) from None
    elif isinstance(timeout, urllib3.Timeout):
        connect, read = _parts(timeout)
    else:
        connect = read = timeout
    return Timeout(
        connect=default.connect if connect is None else connect,
        read=default.read if read is None else read,
    )


def _parts(timeout: urllib3.Timeout) -> tuple[float | None, float | None]:
    """Seconds to connect and to read of urllib3's object; None where it leaves them open."""
    begun = timeout.clone()
    # Without a beginning it does not say what is left of a total.
    begun.start_connect()
    read, connect = begun.read_timeout, begun.connect_timeout
    return (connect if isinstance(connect, int | float) else None), read


class _NotJson(requests.exceptions.JSONDecodeError):
    """What requests raises for a body that is not JSON, with a message of ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)
        self.args = (message,)


class _BodyNotCarried(BodyNotCarried, _NotJson):
    """Caught as ours, and by programs that expect bodies which are not JSON."""
