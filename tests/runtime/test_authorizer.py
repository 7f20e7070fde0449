"""OAuth connections are authorised in the background, and a change meanwhile wins."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stepout.aws.connections import Connection, credential_from_request
from stepout.errors import StoreError
from stepout.runtime.authorizer import Authorizer
from stepout.runtime.clock import SystemClock
from stepout.store.memory import MemoryConnections

OAUTH = {
    "OAuthParameters": {
        "ClientParameters": {"ClientID": "i", "ClientSecret": "s"},
        "AuthorizationEndpoint": "https://id.example.com/",
        "HttpMethod": "POST",
    }
}


def connection() -> Connection:
    return Connection(
        arn="arn:aws:events:us-east-1:123456789012:connection/c/u",
        name="c",
        authorization_type="OAUTH_CLIENT_CREDENTIALS",
        state="AUTHORIZING",
        state_reason=None,
        secret_arn="arn",
        secret_version=1,
        credential=credential_from_request("OAUTH_CLIENT_CREDENTIALS", OAUTH),
        description=None,
        connectivity=None,
        kms_key=None,
        created=1,
        modified=1,
        authorized=0,
    )


class Endpoint:
    """Answers with a reason, when it is told to."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        self.may_answer = asyncio.Event()

    async def authorise(self, _connection: Connection) -> str | None:
        await self.may_answer.wait()
        return self.reason


async def settled(store: MemoryConnections, endpoint: Endpoint) -> Connection | None:
    endpoint.may_answer.set()
    await asyncio.sleep(0.01)
    return await store.connection(connection().arn)


async def test_a_token_makes_it_authorized() -> None:
    store, endpoint = MemoryConnections([connection()]), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    found = await settled(store, endpoint)
    assert found is not None
    assert (found.state, found.state_reason) == ("AUTHORIZED", None)
    assert found.authorized > 1_700_000_000


async def test_a_failure_leaves_it_authorizing_with_its_reason() -> None:
    store, endpoint = MemoryConnections([connection()]), Endpoint("why")
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    found = await settled(store, endpoint)
    assert found is not None
    assert (found.state, found.state_reason, found.authorized) == ("AUTHORIZING", "why", 0)


async def test_a_change_meanwhile_is_not_overwritten() -> None:
    store, endpoint = MemoryConnections([connection()]), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    changed = replace(connection(), state="DEAUTHORIZED", credential=None)
    assert await store.replace(connection(), changed)
    assert await settled(store, endpoint) == changed


async def test_a_change_that_is_being_saved_is_not_overwritten() -> None:
    """A disk takes a while; the change was answered, and must stand."""
    may_save = asyncio.Event()

    async def save(_was: Connection | None, _now: Connection | None) -> None:
        await may_save.wait()

    store, endpoint = MemoryConnections([connection()], save), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    changed = replace(connection(), state="DEAUTHORIZED", credential=None)
    changing = asyncio.create_task(store.replace(connection(), changed))
    await asyncio.sleep(0)
    assert await settled(store, endpoint) == connection()
    may_save.set()
    assert await changing
    assert await settled(store, endpoint) == changed


async def test_a_connection_that_is_gone_stays_gone() -> None:
    store, endpoint = MemoryConnections([connection()]), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    await store.remove(connection().arn)
    assert await settled(store, endpoint) is None


async def test_a_store_that_fails_is_told_and_nothing_is_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def save(_was: Connection | None, _now: Connection | None) -> None:
        raise StoreError("The disk is full.")

    store, endpoint = MemoryConnections([connection()], save), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    assert await settled(store, endpoint) == connection()
    assert [vars(record)["fields"]["reason"] for record in caplog.records] == ["The disk is full."]


async def test_closing_ends_what_is_under_way() -> None:
    store, endpoint = MemoryConnections([connection()]), Endpoint(None)
    authorizer = Authorizer(store, endpoint.authorise, SystemClock())
    authorizer.begin(connection())
    await authorizer.close()
    assert await settled(store, endpoint) == connection()
