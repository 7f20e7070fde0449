"""What a connection adds to a request: one function for each auth type, and OAuth's tokens.

The token request is a generator without I/O: it yields the request to send and is sent the answer.
Tokens are kept in memory only. A token is asked for once, however many calls wait for it, and the
request goes on when the call that began it is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from stepout.asl.values import Json, loads
from stepout.aws.connections import (
    ApiKeyAuth,
    BasicAuth,
    Connection,
    HttpParameter,
    HttpParameters,
    OAuthAuth,
)
from stepout.egress.message import Client, Request, Response
from stepout.errors import EgressError, EgressFailed, JsonError, TokenRefused
from stepout.tasks import Tokens
from stepout.tasks.encoding import Pair, encode

__all__ = ["CANNOT_CONNECT", "TokenCache", "auth_headers", "client_credentials"]

REFRESH_SECONDS: Final = 60.0
"""A token that expires sooner is renewed first (EventBridge user guide, OAuth)."""

TOKEN_SECONDS: Final = 60.0
"""For one token request, whoever waits for it."""

MAX_ANSWER: Final = 65_536
"""Bytes of a token endpoint's answer; ours."""

MAX_TOKENS: Final = 4_096
"""Tokens that are kept; the oldest is asked for anew when it is needed again."""

CANNOT_CONNECT: Final = "Could not connect to the specified endpoint."
"""StateReason of a connection whose token endpoint is out of reach (recorded on AWS)."""

_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")


# --- Headers ------------------------------------------------------------------------------------


async def auth_headers(connection: Connection, tokens: Tokens) -> list[Pair]:
    """The headers of a connection's auth type; raises `EgressError` when a token is not got."""
    credential = connection.credential
    if credential is None:
        return []
    match credential.auth:
        case BasicAuth(username, password):
            pair = f"{username}:{password.reveal()}".encode()
            return [("Authorization", f"Basic {b64encode(pair).decode()}")]
        case ApiKeyAuth(name, value):
            return [(name, value.reveal())]
        case OAuthAuth():
            return [("Authorization", f"Bearer {await tokens.token(connection)}")]
        case _:
            assert_never(credential.auth)


# --- OAuth client credentials (RFC 6749, 4.4), as seen at a token endpoint ------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `lifetime` in seconds, None where the endpoint gives none."""

    text: str
    lifetime: float | None


TokenFlow: TypeAlias = Generator[Request, Response, Token]


def client_credentials(auth: OAuthAuth, connection_arn: str) -> TokenFlow:
    """Ask for a token; raises `TokenRefused` where the answer holds none.

    The parameters of the connection come first, then the client's secret and id, in the body. For
    GET, which has no body, they are put into the query.
    """
    parameters = auth.parameters or HttpParameters()
    client = [("client_secret", auth.client_secret.reveal()), ("client_id", auth.client_id)]
    body = [*_pairs(parameters.body), *client]
    query = _pairs(parameters.query)
    headers = _pairs(parameters.headers)
    if auth.method == "GET":
        query, body = [*query, *body], []
    else:
        headers = [_FORM, *headers]
    response = yield Request(
        method=auth.method,
        url=_with_query(auth.endpoint, query),
        headers=tuple(headers),
        body=encode(body).encode() if body else None,
        connection=connection_arn,
    )
    return _token(response)


def _token(response: Response) -> Token:
    if not 200 <= response.status < 300:
        raise TokenRefused(
            f"The authorization endpoint answered with the status {response.status}."
        )
    answer = _answer(response)
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise TokenRefused("The authorization endpoint's answer holds no access_token.")
    return Token(token, _lifetime(answer.get("expires_in")))


def _answer(response: Response) -> dict[str, Json]:
    try:
        answer = loads(response.body or b"")
    except JsonError:
        answer = None
    if not isinstance(answer, dict):
        raise TokenRefused("The authorization endpoint's answer is not a JSON object.")
    return answer


def _lifetime(given: Json) -> float | None:
    """Seconds; some endpoints send them as a text."""
    try:
        return float(given)
    except (TypeError, ValueError):
        return None


def _pairs(parameters: tuple[HttpParameter, ...]) -> list[Pair]:
    return [(parameter.key, parameter.value.reveal()) for parameter in parameters]


def _with_query(url: str, query: list[Pair]) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{encode(query)}"


# --- Tokens that are kept -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    token: str
    expires: float | None


class TokenCache:
    """Tokens of OAuth connections, by connection and version of its secret."""

    def __init__(
        self,
        egress: Client,
        seconds: float = TOKEN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._egress = egress
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._requests: dict[tuple[str, int], asyncio.Task[str]] = {}

    async def token(self, connection: Connection) -> str:
        """A token that is good for a while; raises `EgressError`."""
        kept = self._kept.get(connection.arn)
        if kept is not None and kept.version == connection.secret_version and self._lasts(kept):
            return kept.token
        return await self._requested(connection)

    def forget(self, connection: Connection) -> None:
        """The API did not accept the token: the next call asks for a new one."""
        self._kept.pop(connection.arn, None)

    async def authorise(self, connection: Connection) -> str | None:
        """Ask for a first token; answers the connection's StateReason where that fails."""
        self.forget(connection)
        try:
            await self._requested(connection)
        except TokenRefused as error:
            return str(error)
        except EgressError:
            return CANNOT_CONNECT
        return None

    async def close(self) -> None:
        """End the requests that are under way."""
        requests = list(self._requests.values())
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    def _lasts(self, kept: _Kept) -> bool:
        return kept.expires is None or kept.expires - self._clock() > REFRESH_SECONDS

    async def _requested(self, connection: Connection) -> str:
        key = (connection.arn, connection.secret_version)
        request = self._requests.get(key)
        if request is None:
            request = self._requests[key] = asyncio.create_task(self._request(connection))
            request.add_done_callback(lambda done: self._done(key, done))
        # Shielded: a waiter that leaves does not end the request for the others.
        return await asyncio.shield(request)

    def _done(self, key: tuple[str, int], request: asyncio.Task[str]) -> None:
        del self._requests[key]
        if not request.cancelled():
            # Every waiter may have left; its failure was then nobody's, and is no news.
            request.exception()

    async def _request(self, connection: Connection) -> str:
        credential = connection.credential
        if credential is None or not isinstance(credential.auth, OAuthAuth):
            raise TokenRefused("The connection holds no OAuth client.")
        token = await self._exchange(client_credentials(credential.auth, connection.arn))
        expires = None if token.lifetime is None else self._clock() + token.lifetime
        self._kept.pop(connection.arn, None)
        self._kept[connection.arn] = _Kept(connection.secret_version, token.text, expires)
        while len(self._kept) > MAX_TOKENS:
            del self._kept[next(iter(self._kept))]
        return token.text

    async def _exchange(self, flow: TokenFlow) -> Token:
        """Drive a token flow over the egress."""
        try:
            async with asyncio.timeout(self._seconds):
                request = next(flow)
                while True:
                    response = await self._egress.request(request, max_body=MAX_ANSWER)
                    request = flow.send(response)
        except StopIteration as end:
            token: Token = end.value
            return token
        except TimeoutError:
            raise EgressFailed(
                f"The authorization endpoint did not answer in {self._seconds:g} seconds."
            ) from None
