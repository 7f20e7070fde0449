"""OAuth: what is asked of the authorization endpoint, and how its tokens are kept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from stepout.aws.connections import Connection, OAuthAuth, credential_from_request
from stepout.egress.message import Request, Response
from stepout.errors import EgressError, EgressFailed, EgressRefused, TokenRefused
from stepout.tasks.credentials import CANNOT_CONNECT, TokenCache, client_credentials


def oauth(method: str = "POST", endpoint: str = "https://id.example.com/token") -> dict[str, Any]:
    return {
        "OAuthParameters": {
            "ClientParameters": {"ClientID": "me", "ClientSecret": "s&s"},
            "AuthorizationEndpoint": endpoint,
            "HttpMethod": method,
            "OAuthHttpParameters": {
                "HeaderParameters": [{"Key": "X-Team", "Value": "blue"}],
                "QueryStringParameters": [{"Key": "tenant", "Value": "a b"}],
                "BodyParameters": [
                    {"Key": "grant_type", "Value": "client_credentials"},
                    {"Key": "scope", "Value": "owned-echo"},
                ],
            },
        }
    }


def connection_of(parameters: dict[str, Any] | None = None, **changes: Any) -> Connection:
    made = Connection(
        arn="arn:of:connection",
        name="c",
        authorization_type="OAUTH_CLIENT_CREDENTIALS",
        state="AUTHORIZED",
        state_reason=None,
        secret_arn="arn:of:secret",
        secret_version=1,
        credential=credential_from_request("OAUTH_CLIENT_CREDENTIALS", parameters or oauth()),
        description=None,
        connectivity=None,
        kms_key=None,
        created=0,
        modified=0,
        authorized=0,
    )
    return replace(made, **changes)


def request_of(parameters: dict[str, Any]) -> Request:
    auth = credential_from_request("OAUTH_CLIENT_CREDENTIALS", parameters).auth
    assert isinstance(auth, OAuthAuth)
    return next(client_credentials(auth, "arn:of:connection"))


def test_a_post_has_the_parameters_and_then_the_client_in_its_body() -> None:
    """As seen at a token endpoint that AWS called."""
    assert request_of(oauth()) == Request(
        method="POST",
        url="https://id.example.com/token?tenant=a%20b",
        headers=(("Content-Type", "application/x-www-form-urlencoded"), ("X-Team", "blue")),
        body=b"grant_type=client_credentials&scope=owned-echo&client_secret=s%26s&client_id=me",
        connection="arn:of:connection",
    )


def test_a_get_has_all_of_it_in_the_query() -> None:
    request = request_of(oauth("GET", "https://id.example.com/token?v=2"))
    assert request.body is None
    assert request.headers == (("X-Team", "blue"),)
    assert request.url == (
        "https://id.example.com/token?v=2&tenant=a%20b&grant_type=client_credentials"
        "&scope=owned-echo&client_secret=s%26s&client_id=me"
    )


class Endpoint:
    """An authorization endpoint behind a fake egress; its answers can be held back."""

    def __init__(self, *answers: Response | EgressError) -> None:
        self.answers = list(answers)
        self.requests = 0
        self.open = asyncio.Event()
        self.open.set()

    async def request(self, request: Request, *, max_body: int) -> Response:
        self.requests += 1
        number = self.requests
        await self.open.wait()
        if not self.answers:
            return token(f"t-{number}")
        answer = self.answers.pop(0)
        if isinstance(answer, EgressError):
            raise answer
        return answer


def token(text: object, **members: object) -> Response:
    return Response(200, "OK", (), json.dumps({"access_token": text, **members}).encode())


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_without_an_end_is_asked_for_once() -> None:
    endpoint = Endpoint()
    cache = TokenCache(endpoint)
    assert [await cache.token(connection_of()) for _ in range(3)] == ["t-1"] * 3
    assert endpoint.requests == 1


@pytest.mark.parametrize(
    ("lifetime", "passed", "requests"),
    [(3600, 3539, 1), (3600, 3541, 2), ("3600", 3539, 1), (30, 0, 2), ("soon", 10_000, 1)],
)
async def test_a_token_is_renewed_a_minute_before_its_end(
    lifetime: object, passed: float, requests: int
) -> None:
    endpoint = Endpoint(token("t-1", expires_in=lifetime))
    clock = Clock()
    cache = TokenCache(endpoint, clock=clock)
    await cache.token(connection_of())
    clock.now += passed
    await cache.token(connection_of())
    assert endpoint.requests == requests


async def test_a_forgotten_token_is_asked_for_anew() -> None:
    endpoint = Endpoint()
    cache = TokenCache(endpoint)
    await cache.token(connection_of())
    cache.forget(connection_of())
    assert await cache.token(connection_of()) == "t-2"


async def test_a_new_version_of_the_secret_has_a_token_of_its_own() -> None:
    endpoint = Endpoint()
    cache = TokenCache(endpoint)
    assert await cache.token(connection_of()) == "t-1"
    assert await cache.token(connection_of(secret_version=2)) == "t-2"


async def test_many_callers_share_one_request() -> None:
    endpoint = Endpoint()
    endpoint.open.clear()
    cache = TokenCache(endpoint)
    waiting = [asyncio.create_task(cache.token(connection_of())) for _ in range(50)]
    await asyncio.sleep(0)
    endpoint.open.set()
    assert set(await asyncio.gather(*waiting)) == {"t-1"}
    assert endpoint.requests == 1


async def test_the_request_outlives_the_waiter_that_began_it() -> None:
    endpoint = Endpoint()
    endpoint.open.clear()
    cache = TokenCache(endpoint)
    first, second = (asyncio.create_task(cache.token(connection_of())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    endpoint.open.set()
    assert await second == "t-1"
    assert first.cancelled()
    assert endpoint.requests == 1


async def test_a_failure_is_told_to_every_waiter_and_not_kept() -> None:
    endpoint = Endpoint(EgressFailed("down"))
    endpoint.open.clear()
    cache = TokenCache(endpoint)
    waiting = [asyncio.create_task(cache.token(connection_of())) for _ in range(3)]
    await asyncio.sleep(0)
    endpoint.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["down"] * 3
    assert await cache.token(connection_of()) == "t-2"


async def test_a_failure_that_nobody_waits_for_is_no_news() -> None:
    """An exception that is never looked at would be a warning, and warnings are errors here."""
    endpoint = Endpoint(EgressFailed("down"))
    endpoint.open.clear()
    cache = TokenCache(endpoint)
    waiter = asyncio.create_task(cache.token(connection_of()))
    await asyncio.sleep(0)
    waiter.cancel()
    endpoint.open.set()
    await asyncio.sleep(0.01)
    assert await cache.token(connection_of()) == "t-2"


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Response(400, "", (), b"{}"), "answered with the status 400"),
        (Response(302, "", (), b"{}"), "answered with the status 302"),
        (Response(200, "", (), b"<html>"), "is not a JSON object"),
        (Response(200, "", (), b"[]"), "is not a JSON object"),
        (Response(200, "", (), None), "is not a JSON object"),
        (Response(200, "", (), b"{}"), "holds no access_token"),
        (token(5), "holds no access_token"),
        (token(""), "holds no access_token"),
    ],
)
async def test_an_answer_without_a_token_says_what_is_wrong(
    response: Response, message: str
) -> None:
    cache = TokenCache(Endpoint(response))
    with pytest.raises(TokenRefused, match=message):
        await cache.token(connection_of())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (token("t"), None),
        (EgressFailed("refused"), CANNOT_CONNECT),
        (EgressRefused("address-private"), CANNOT_CONNECT),
        (
            Response(401, "", (), b""),
            "The authorization endpoint answered with the status 401.",
        ),
    ],
)
async def test_authorising_answers_the_state_reason(
    answer: Response | EgressError, reason: str | None
) -> None:
    assert await TokenCache(Endpoint(answer)).authorise(connection_of()) == reason


async def test_authorising_asks_even_where_a_token_is_kept() -> None:
    endpoint = Endpoint()
    cache = TokenCache(endpoint)
    await cache.token(connection_of())
    await cache.authorise(connection_of())
    assert endpoint.requests == 2
    assert await cache.token(connection_of()) == "t-2"


async def test_an_endpoint_that_hangs_is_given_up() -> None:
    endpoint = Endpoint()
    endpoint.open.clear()
    cache = TokenCache(endpoint, seconds=0.01)
    with pytest.raises(EgressFailed, match="did not answer in 0.01 seconds"):
        await cache.token(connection_of())
    assert await cache.authorise(connection_of()) == CANNOT_CONNECT


async def test_closing_ends_the_requests_under_way() -> None:
    endpoint = Endpoint()
    endpoint.open.clear()
    cache = TokenCache(endpoint)
    waiter = asyncio.create_task(cache.token(connection_of()))
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_the_number_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepout.tasks.credentials.MAX_TOKENS", 2)
    endpoint = Endpoint()
    cache = TokenCache(endpoint)
    for number in (1, 2, 3, 1):
        await cache.token(connection_of(arn=f"arn:{number}"))
    assert endpoint.requests == 4
