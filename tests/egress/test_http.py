"""The egress against real HTTPS origins: what it sends, what it reads, what it refuses."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest

from stepout.certificates import Authority
from stepout.egress.addresses import Address
from stepout.egress.http import Egress
from stepout.egress.message import Request, Response
from stepout.egress.policy import Policy
from stepout.egress.pool import Network, Pool, _Connector
from stepout.egress.resolve import DnsResolver
from stepout.egress.trust import trust
from stepout.errors import EgressFailed, EgressRefused, SettingsError
from stepout.origin import Origin

URL = "https://api.example.com/v1/x"
LIMIT = 262_144


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


def believing(origin: Origin) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=origin.certificate_pem.decode())


@pytest.fixture
async def egress(origin: Origin) -> AsyncIterator[Egress]:
    client = Egress(Policy(), trust=believing(origin), connect_to=origin.connect_to)
    yield client
    await client.close()


async def fetch(egress: Egress, url: str = URL, method: str = "GET", **more: object) -> Response:
    request = Request(method=method, url=url, **more)  # type: ignore[arg-type] # a test's own words
    async with asyncio.timeout(10):
        return await egress.request(request, max_body=LIMIT)


def _network() -> Network:
    return Network(trust=trust(), resolver=DnsResolver(), connect_to={})


class FixedResolver:
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.found = [ip_address(address) for address in addresses]
        self.asked: list[str] = []

    async def addresses(self, host: str) -> list[Address]:
        self.asked.append(host)
        return self.found

    async def close(self) -> None: ...


async def test_headers_go_out_as_given_and_nothing_is_added(egress: Egress, origin: Origin) -> None:
    route = origin.post(URL).respond(text="ok")
    given = (("X-Two", "b"), ("x-one", "a"), ("Zero", ""))
    await fetch(egress, method="POST", headers=given, body=b"body")
    received = route.requests[0]
    assert received.headers == (("Host", "api.example.com"), *given, ("Content-Length", "4"))
    assert received.body == b"body"


async def test_names_that_differ_in_case_only_are_one_header_with_all_values(
    egress: Egress, origin: Origin
) -> None:
    route = origin.get(URL).respond(text="ok")
    await fetch(egress, headers=(("X-Two", "b"), ("x-one", "a"), ("x-TWO", "c"), ("X-Two", "d")))
    assert route.requests[0].headers[1:] == (("X-Two", "b,c,d"), ("x-one", "a"))


async def test_an_answer_keeps_the_senders_case_order_and_repetition(
    egress: Egress, origin: Origin
) -> None:
    headers = [("X-B", "1"), ("x-a", "2"), ("X-B", "3"), ("Set-Cookie", "a=b")]
    origin.get(URL).respond(206, text="hé", headers=headers, reason="Some")
    response = await fetch(egress)
    assert (response.status, response.reason) == (206, "Some")
    assert [
        pair for pair in response.headers if pair[0] not in ("Content-Type", "Content-Length")
    ] == [*headers]
    assert response.body == "hé".encode()


async def test_no_cookie_is_kept_and_no_redirect_followed(egress: Egress, origin: Origin) -> None:
    elsewhere = origin.get("https://other.example.com/").respond(text="no")
    route = origin.get(URL).respond(
        302, headers=[("Location", "https://other.example.com/"), ("Set-Cookie", "a=b")]
    )
    assert (await fetch(egress)).status == 302
    await fetch(egress)
    assert route.requests[1].header("cookie") is None
    assert elsewhere.requests == []


async def test_a_compressed_body_is_handed_on_as_it_came(egress: Egress, origin: Origin) -> None:
    origin.get(URL).respond(body=b"\x1f\x8b not really", headers={"Content-Encoding": "gzip"})
    assert (await fetch(egress)).body == b"\x1f\x8b not really"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_body_is_read_whatever_its_framing(
    egress: Egress, origin: Origin, framing: str
) -> None:
    origin.get(URL).respond(body=b"x" * 100_000, framing=framing)  # type: ignore[arg-type] # a table
    assert (await fetch(egress)).body == b"x" * 100_000


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_body_over_the_limit_is_cut_off(
    egress: Egress, origin: Origin, framing: str
) -> None:
    origin.get(URL).respond(body=b"x" * (LIMIT + 1), framing=framing)  # type: ignore[arg-type] # a table
    response = await fetch(egress)
    assert response.status == 200
    assert response.body is None


async def test_a_large_body_is_cut_off_while_it_comes() -> None:
    """The origin has 64 MiB to send, and gets rid of little more than the limit."""
    authority = Authority.create("endless")
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range(1_024):
                writer.write(b"x" * 65_536)
                await asyncio.sleep(0)
                await writer.drain()
                sent += 65_536
        writer.close()

    context = authority.server_context("api.example.com")
    server = await asyncio.start_server(pour, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    believed = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    target = {("api.example.com", 443): ("127.0.0.1", port)}
    client = Egress(Policy(), trust=believed, connect_to=target)
    assert (await fetch(client)).body is None
    assert sent < 16 * 1_048_576
    await client.close()
    server.close()


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_an_answer_without_a_body_is_whole(
    egress: Egress, origin: Origin, status: int
) -> None:
    origin.get(URL).respond(status)
    assert (await fetch(egress)).body == b""


async def test_head_has_no_body_whatever_length_it_tells(egress: Egress, origin: Origin) -> None:
    origin.head(URL).respond(body=b"x" * (LIMIT + 1))
    response = await fetch(egress, method="HEAD")
    assert response.body == b""
    assert ("Content-Length", str(LIMIT + 1)) in response.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "HEAD"])
async def test_nothing_is_sent_twice(egress: Egress, origin: Origin, method: str) -> None:
    """Not even on a pooled connection that turns out to be closed."""
    route = origin.route(method, URL)
    route.respond(204).reset()
    assert (await fetch(egress, method=method)).status == 204
    with pytest.raises(EgressFailed):
        await fetch(egress, method=method)
    assert len(route.requests) == 2


async def test_connections_are_pooled(egress: Egress, origin: Origin) -> None:
    origin.get(URL).respond(text="ok")
    for _ in range(3):
        await fetch(egress)
    (pool,) = egress._pools.values()
    assert sum(map(len, pool._connector._conns.values())) == 1


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda route: route.reset(), "closed the connection|Connection reset|exchange with"),
        (lambda route: route.raw(b""), "closed the connection before it answered"),
        (lambda route: route.raw(b"SSH-2.0-OpenSSH\r\n"), "is not HTTP"),
        (lambda route: route.raw(b"HTTP/1.1 abc OK\r\n\r\n"), "is not HTTP"),
        (
            lambda route: route.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
            "is not HTTP",
        ),
        (lambda route: route.respond(body=b"x" * 1000, ending="truncate"), "broke off"),
        (
            lambda route: route.respond(body=b"x" * 1000, framing="chunked", ending="truncate"),
            "broke off",
        ),
    ],
)
async def test_what_fails_on_the_way_says_what_and_where(
    egress: Egress, origin: Origin, arrange: object, message: str
) -> None:
    arrange(origin.get(URL))  # type: ignore[operator] # a table of functions
    with pytest.raises(EgressFailed, match=message) as caught:
        await fetch(egress, f"{URL}?token=sesame")
    assert "api.example.com:443" in str(caught.value)
    assert "sesame" not in str(caught.value)


async def test_a_failed_exchange_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer answers no HTTP, and never reads TLS's farewell."""
    authority = Authority.create("rude")
    done = asyncio.Event()

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport reads
        await done.wait()
        writer.transport.abort()

    opened: list[socket.socket] = []
    open_one = _Connector.open

    def remember(self: _Connector, info: object) -> socket.socket:
        opened.append(open_one(self, info))
        return opened[-1]

    monkeypatch.setattr(_Connector, "open", remember)
    context = authority.server_context("api.example.com")
    server = await asyncio.start_server(babble, "127.0.0.1", 0, ssl=context)
    target = {("api.example.com", 443): server.sockets[0].getsockname()}
    believed = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    client = Egress(Policy(), trust=believed, connect_to=target)
    with pytest.raises(EgressFailed, match="is not HTTP"):
        await fetch(client)
    await client.close()
    await asyncio.sleep(0)
    assert [one.fileno() for one in opened] == [-1]
    done.set()
    server.close()


async def test_a_certificate_for_another_host_is_not_accepted(
    egress: Egress, origin: Origin
) -> None:
    origin.get(URL).respond(text="ok")
    origin.present("api.example.com", origin.authority.server_context("other.example.com"))
    with pytest.raises(EgressFailed, match=r"certificate of api\.example\.com:443 was not acc"):
        await fetch(egress)


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(origin: Origin) -> None:
    origin.get(URL).respond(text="ok")
    client = Egress(Policy(), trust=trust(), connect_to=origin.connect_to)
    with pytest.raises(EgressFailed, match=r"was not accepted: (self-signed|unable to get)"):
        await fetch(client)
    await client.close()


async def test_a_port_without_tls_fails_in_the_handshake() -> None:
    async def shout(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = {("api.example.com", 443): ("127.0.0.1", port)}
    client = Egress(Policy(), trust=trust(), connect_to=target)
    with pytest.raises(EgressFailed, match=r"(TLS handshake|connection to|exchange with)"):
        await fetch(client)
    await client.close()
    server.close()


async def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    target = {("api.example.com", 443): ("127.0.0.1", port)}
    client = Egress(Policy(), trust=trust(), connect_to=target)
    with pytest.raises(EgressFailed, match=r"connection to api\.example\.com:443 failed"):
        await fetch(client)
    await client.close()


async def test_a_cancelled_request_leaves_the_next_one_right(
    egress: Egress, origin: Origin
) -> None:
    slow = "https://api.example.com/slow"
    origin.get(slow).respond(text="late", delay=0.2)
    origin.get(URL).respond(text="ok")
    async with asyncio.timeout(5):
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await egress.request(Request(method="GET", url=slow), max_body=LIMIT)
            assert (await fetch(egress)).body == b"ok"


async def test_a_name_is_dialled_at_judged_addresses_only(origin: Origin) -> None:
    """The name has a private and an allowed address; only the allowed one is dialled."""
    origin.get(f"https://api.example.com:{origin.port}/").respond(text="ok")
    resolver = FixedResolver("10.0.0.1", "127.0.0.1")
    policy = Policy(networks=(ip_network("127.0.0.1/32"),))
    client = Egress(policy, trust=believing(origin), resolver=resolver)
    response = await fetch(client, f"https://api.example.com:{origin.port}/")
    assert response.body == b"ok"
    assert resolver.asked == ["api.example.com"]
    await client.close()


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["10.0.0.1"], "address-private: 10.0.0.0/8"),
        (["127.0.0.1", "::1"], "address-loopback: 127.0.0.0/8"),
        (["169.254.169.254"], "metadata: 169.254.169.254"),
        (["::ffff:192.168.0.1"], "address-private: 192.168.0.0/16"),
    ],
)
async def test_a_name_of_special_addresses_is_refused(addresses: list[str], reason: str) -> None:
    client = Egress(Policy(), trust=trust(), resolver=FixedResolver(*addresses))
    with pytest.raises(EgressRefused) as caught:
        await fetch(client)
    assert caught.value.reason == reason
    await client.close()


async def test_the_socket_is_judged_even_when_the_resolver_is_not_asked() -> None:
    """What is dialled passes the policy whichever way it came to be dialled."""
    pool = Pool(Policy().judge(Request("GET", URL)).reach, _network())
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 443))
    with pytest.raises(EgressRefused, match="address-loopback"):
        pool._connector.open(info)
    await pool.close()


async def test_connect_to_never_reaches_a_metadata_service() -> None:
    target = {("api.example.com", 443): ("169.254.169.254", 80)}
    client = Egress(Policy(), trust=trust(), connect_to=target)
    with pytest.raises(EgressRefused, match="metadata"):
        await fetch(client)
    await client.close()


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection"])
async def test_headers_that_frame_a_request_cannot_be_given(
    egress: Egress, origin: Origin, name: str
) -> None:
    route = origin.get(URL).respond(text="ok")
    with pytest.raises(EgressRefused, match=f"header-managed: {name} cannot be set"):
        await fetch(egress, headers=((name, "x"),))
    assert route.requests == []


async def test_a_failure_keeps_nothing_of_the_request(egress: Egress, origin: Origin) -> None:
    """aiohttp's errors hold the request, in whose headers the credential is."""
    origin.get(URL).raw(b"this is no HTTP\r\n\r\n")
    with pytest.raises(EgressFailed) as caught:
        await fetch(egress, headers=(("Authorization", "canary"),))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"canary\r\n\r\n", "Bad status line: Expected HTTP/, RTSP/ or ICE/"),
        (b"HTTP/1.1 200 OK\r\nbad header canary\r\n\r\n", "Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"canary" * 5_000), "Got more than 16384 bytes"),
        (b"HTTP/1.1 200 %b\r\n\r\n" % (b"canary" * 5_000), "Got more than 16384 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n", "Invalid character in Content-Leng"),
        (b"HTTP/9.9 200 canary\r\n\r\n", "Invalid HTTP version"),
    ],
)
async def test_an_answer_that_is_not_http_is_not_quoted(
    egress: Egress, origin: Origin, answer: bytes, why: str
) -> None:
    """What is sent back may be what was sent: the credential, in an error and in the log."""
    origin.get(URL).raw(answer)
    with pytest.raises(EgressFailed, match=f"is not HTTP: .*{why}") as caught:
        await fetch(egress)
    assert "canary" not in str(caught.value)


async def test_a_url_that_is_refused_is_not_resolved() -> None:
    resolver = FixedResolver("1.1.1.1")
    client = Egress(Policy(), trust=trust(), resolver=resolver)
    for url in ("http://api.example.com/", "https://127.0.0.1/", "https://u:p@api.example.com/"):
        with pytest.raises(EgressRefused):
            await fetch(client, url)
    assert resolver.asked == []
    await client.close()


async def test_a_decision_is_logged_without_path_query_or_headers(
    egress: Egress, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stepout.egress")
    origin.get("https://api.example.com/hook/sesame").respond(text="ok")
    await fetch(
        egress,
        "https://api.example.com/hook/sesame?key=sesame",
        headers=(("Authorization", "Bearer sesame"),),
        machine="arn:of:machine",
    )
    with pytest.raises(EgressRefused):
        await fetch(egress, "https://ann:sesame@api.example.com/")
    first, second = (vars(record)["fields"] for record in caplog.records)
    assert (first["host"], first["decision"], first["status"]) == (
        "api.example.com",
        "allowed",
        200,
    )
    assert first["machine"] == "arn:of:machine"
    assert (second["decision"], second["host"]) == ("refused", None)
    assert "sesame" not in f"{first}{second}{caplog.text}"


def test_a_file_without_certificates_is_a_clear_error(tmp_path: object) -> None:
    with pytest.raises(SettingsError, match=r"Expected .*nothing\.pem to hold certificates in PEM"):
        trust([tmp_path / "nothing.pem"])  # type: ignore[operator] # pytest gives a Path
