"""Out through a proxy: it is told an address that was judged, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from tests.egress.servers import ConnectProxy, FakeResolver, TlsServer

from stepout.egress.addresses import network
from stepout.egress.destination import parse
from stepout.egress.http import Egress
from stepout.egress.message import Request, Response
from stepout.egress.policy import Decision, Policy
from stepout.egress.pool import Exchange, Network, Pool
from stepout.egress.proxy import Proxy
from stepout.egress.trust import trust
from stepout.errors import EgressFailed, EgressRefused
from stepout.secret import Secret

LOOPBACK = Policy((network("127.0.0.0/8"),))


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    async with TlsServer(("api.example.com", "127.0.0.1")).running() as running:
        yield running


def through(
    proxy: ConnectProxy | int,
    server: TlsServer | None = None,
    *,
    policy: Policy = LOOPBACK,
    resolver: FakeResolver | None = None,
    host: str = "127.0.0.1",
    credentials: str | None = None,
) -> Egress:
    return Egress(
        policy,
        trust=trust() if server is None else server.trust,
        resolver=resolver or FakeResolver("127.0.0.1"),
        proxy=Proxy(
            host,
            proxy if isinstance(proxy, int) else proxy.port,
            None if credentials is None else Secret(credentials),
        ),
    )


async def get(client: Egress, url: str) -> Response:
    async with asyncio.timeout(10):
        return await client.request(Request("GET", url), max_body=1_000)


async def test_the_proxy_is_told_the_address_and_the_origin_the_name(server: TlsServer) -> None:
    async with ConnectProxy().running() as proxy:
        resolver = FakeResolver("127.0.0.1")
        client = through(proxy, server, resolver=resolver)
        url = f"https://api.example.com:{server.port}/x?y"
        assert (await get(client, url)).body == b"ok"
        assert (await get(client, url)).body == b"ok"
        target = f"127.0.0.1:{server.port}"
        assert proxy.asked == [(target, {"Host": target})]
        assert resolver.asked == ["api.example.com"]
        assert [(seen.connection, seen.sni, seen.host) for seen in server.seen] == [
            (1, "api.example.com", f"api.example.com:{server.port}")
        ] * 2
        await client.close()


async def test_an_address_in_the_url_goes_through_the_proxy_too(server: TlsServer) -> None:
    async with ConnectProxy().running() as proxy:
        client = through(proxy, server)
        await get(client, f"https://127.0.0.1:{server.port}/")
        assert [target for target, _ in proxy.asked] == [f"127.0.0.1:{server.port}"]
        await client.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="There is no IPv6 here.")
async def test_an_ipv6_address_is_asked_for_in_brackets() -> None:
    async with (
        TlsServer(("api.example.com",), "::1").running() as server,
        ConnectProxy().running() as proxy,
    ):
        policy = Policy((network("::1/128"),))
        client = through(proxy, server, policy=policy, resolver=FakeResolver("::1"))
        await get(client, f"https://api.example.com:{server.port}/")
        assert [target for target, _ in proxy.asked] == [f"[::1]:{server.port}"]
        await client.close()


@pytest.mark.parametrize(
    ("url", "answers", "reason"),
    [
        ("https://api.example.com/", ["10.0.0.1"], "address-private"),
        ("https://api.example.com/", ["169.254.169.254"], "metadata"),
        ("https://169.254.169.254/", [], "metadata"),
        ("https://10.0.0.1/", [], "address-private"),
    ],
)
async def test_what_is_refused_does_not_reach_the_proxy(
    url: str, answers: list[str], reason: str
) -> None:
    async with ConnectProxy().running() as proxy:
        client = through(proxy, resolver=FakeResolver(*answers))
        with pytest.raises(EgressRefused, match=reason):
            await get(client, url)
        assert proxy.asked == []
        await client.close()


async def test_what_the_proxy_is_told_is_judged_whichever_way_it_came() -> None:
    async with ConnectProxy().running() as proxy:
        reach = Policy().judge(Request("GET", "https://8.8.8.8/")).reach
        shared = Network(trust(), FakeResolver(), {}, Proxy("127.0.0.1", proxy.port))
        pool = Pool(reach, shared)
        exchange = Exchange(Decision(allowed=True, reason="forged", method="GET"))
        url = "https://10.0.0.1/"
        with pytest.raises(EgressRefused, match="address-private"):
            await pool.send(Request("GET", url), parse(url), [], exchange, 1)
        assert proxy.asked == []
        await pool.close()


async def test_the_proxys_own_name_is_resolved_and_its_address_not_judged(
    server: TlsServer,
) -> None:
    """Its address is loopback, which requests may not have here."""
    async with ConnectProxy(b"HTTP/1.1 403 Forbidden\r\n\r\n").running() as proxy:
        resolver = FakeResolver("127.0.0.1")
        client = through(proxy, policy=Policy(), resolver=resolver, host="proxy.internal")
        with pytest.raises(EgressFailed, match=r"does not let 8\.8\.8\.8:443 \(8\.8\.8\.8\)"):
            await get(client, "https://8.8.8.8/")
        assert resolver.asked == ["proxy.internal"]
        assert [target for target, _ in proxy.asked] == ["8.8.8.8:443"]
        await client.close()


async def test_credentials_go_to_the_proxy_alone_and_into_no_log(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with ConnectProxy(
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    ).running() as proxy:
        client = through(proxy, server, credentials="ann:ses:ame")
        with pytest.raises(EgressFailed) as caught:
            await get(client, f"https://api.example.com:{server.port}/")
        expected = f"Basic {b64encode(b'ann:ses:ame').decode()}"
        assert proxy.asked[0][1]["Proxy-Authorization"] == expected
        assert len(proxy.asked) == 1
        told = f"{caught.value}{caplog.text}{[vars(record) for record in caplog.records]}{client!r}"
        assert "ses:" not in told
        assert expected not in told
        assert str(caught.value) == (
            f"The proxy 127.0.0.1:{proxy.port} wants credentials, or others than those in "
            "--egress-proxy: it answered 407."
        )
        await client.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not let 127.0.0.1:1 (api.example.com) through"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "did not connect to 127.0.0.1:1"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "something else than HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "something else than HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "no whole HTTP head"),
        (b"", "no whole HTTP head"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", "no whole HTTP head"),
    ],
)
async def test_what_the_proxy_says_is_explained(answer: bytes, message: str) -> None:
    async with ConnectProxy(answer).running() as proxy:
        client = through(proxy)
        with pytest.raises(EgressFailed) as caught:
            await get(client, "https://api.example.com:1/")
        assert message in str(caught.value)
        assert f"proxy 127.0.0.1:{proxy.port}" in str(caught.value)
        await client.close()


async def test_a_proxy_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = through(port)
    with pytest.raises(EgressFailed, match=rf"The proxy 127\.0\.0\.1:{port} cannot be reached: "):
        await get(client, "https://api.example.com/")
    await client.close()


async def test_where_one_address_cannot_be_had_the_next_is_asked_for(server: TlsServer) -> None:
    async with ConnectProxy().running() as proxy:
        client = through(proxy, server, resolver=FakeResolver("127.0.0.2", "127.0.0.1"))
        await get(client, f"https://api.example.com:{server.port}/")
        asked = [target for target, _ in proxy.asked]
        assert asked == [f"127.0.0.2:{server.port}", f"127.0.0.1:{server.port}"]
        await client.close()


async def test_the_origins_certificate_is_checked_behind_the_proxy(server: TlsServer) -> None:
    async with ConnectProxy().running() as proxy:
        client = through(proxy, server)
        with pytest.raises(
            EgressFailed, match=r"certificate of other\.example\.com.* not accepted"
        ):
            await get(client, f"https://other.example.com:{server.port}/")
        assert server.seen == []
        await client.close()


async def test_a_port_without_tls_behind_the_proxy_fails_in_the_handshake() -> None:
    async def shout(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with ConnectProxy().running() as proxy:
        client = through(proxy)
        with pytest.raises(EgressFailed, match="TLS handshake|connection to"):
            await get(client, f"https://api.example.com:{plain.sockets[0].getsockname()[1]}/")
        await client.close()
    plain.close()


async def test_a_proxy_that_hangs_is_given_up_with_the_callers_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ConnectProxy(gate=asyncio.Event()).running() as proxy:
        client = through(proxy)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.request(Request("GET", "https://api.example.com/"), max_body=1)
        monkeypatch.setattr("stepout.egress.pool.CONNECT_SECONDS", 0.02)
        with pytest.raises(EgressFailed, match="was not made in"):
            await get(client, "https://api.example.com/")
        await client.close()


def test_a_proxy_shows_where_it_is_and_no_credentials() -> None:
    proxy = Proxy("::1", 3128, Secret("ann:sesame"))
    assert str(proxy) == "[::1]:3128"
    assert "sesame" not in f"{proxy!r} {proxy}"
