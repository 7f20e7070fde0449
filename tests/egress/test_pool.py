"""What is judged is what is dialled and named, on a new connection and on a pooled one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from tests.egress.servers import FakeResolver, TlsServer

from stepout.egress.http import MAX_POOLS, Egress
from stepout.egress.message import Request, Response
from stepout.egress.policy import Policy, Rule
from stepout.egress.trust import trust
from stepout.errors import EgressFailed, EgressRefused

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
NAMES = ("api.example.com", "other.example.com", "xn--strae-oqa.example", "127.0.0.1", "::1")


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    async with TlsServer(NAMES).running() as running:
        yield running


def egress(server: TlsServer, policy: Policy, resolver: FakeResolver | None = None) -> Egress:
    return Egress(policy, trust=server.trust, resolver=resolver or FakeResolver("127.0.0.1"))


async def get(client: Egress, url: str, **who: Any) -> Response:
    async with asyncio.timeout(10):
        return await client.request(Request("GET", url, **who), max_body=1_000)


def for_hosts(*hosts: str, name: str = "loopback", **keys: Any) -> Rule:
    return Rule(name=name, effect="allow", hosts=hosts, networks=LOOPBACK, **keys)


@pytest.mark.parametrize(
    ("spelled", "host", "sni"),
    [
        ("api.example.com", "api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com", "api.example.com"),
        ("api.example.com.", "api.example.com", "api.example.com"),
        ("ａｐｉ。example．com", "api.example.com", "api.example.com"),
        ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("XN--STRAE-OQA.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("127.0.0.1", "127.0.0.1", None),
        ("１２７.0.0.1", "127.0.0.1", None),
    ],
)
async def test_the_host_judged_is_resolved_dialled_and_named_in_tls_and_in_host(
    server: TlsServer, spelled: str, host: str, sni: str | None
) -> None:
    resolver = FakeResolver("127.0.0.1")
    client = egress(server, Policy(rules=(for_hosts(host),), default="deny"), resolver)
    assert (await get(client, f"https://{spelled}:{server.port}/x")).body == b"ok"
    (seen,) = server.seen
    assert (seen.sni, seen.host, seen.target) == (sni, f"{host}:{server.port}", "/x")
    assert resolver.asked == ([] if sni is None else [host])
    await client.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="There is no IPv6 here.")
async def test_an_ipv6_address_is_named_in_brackets() -> None:
    async with TlsServer(NAMES, "::1").running() as server:
        client = egress(server, Policy(LOOPBACK))
        await get(client, f"https://[0:0::1]:{server.port}/")
        assert [(seen.sni, seen.host) for seen in server.seen] == [(None, f"[::1]:{server.port}")]
        await client.close()


async def test_a_name_is_resolved_once_for_a_connection(server: TlsServer) -> None:
    """Rebinding: the second answer would be another address, and is not asked for."""
    resolver = FakeResolver("127.0.0.1")
    client = egress(server, Policy(LOOPBACK), resolver)
    url = f"https://api.example.com:{server.port}/"
    await get(client, url)
    resolver.answers = ["10.0.0.1"]
    await get(client, url)
    assert resolver.asked == ["api.example.com"]
    assert [seen.connection for seen in server.seen] == [1, 1]
    await client.close()


async def test_an_answer_that_changes_is_judged_anew_for_a_new_connection(
    server: TlsServer,
) -> None:
    resolver = FakeResolver("127.0.0.1")
    client = egress(server, Policy(LOOPBACK), resolver)
    url = f"https://api.example.com:{server.port}/"
    await get(client, url)
    client.use(Policy(LOOPBACK))
    resolver.answers = ["10.0.0.1"]
    with pytest.raises(EgressRefused, match="address-private"):
        await get(client, url)
    resolver.answers = ["127.0.0.1"]
    await get(client, url)
    assert [seen.connection for seen in server.seen] == [1, 2]
    await client.close()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["10.0.0.1", "127.0.0.1"], None),
        (["127.0.0.1", "169.254.169.254"], "metadata: 169.254.169.254"),
        (["127.0.0.1", "2002:a9fe:a9fe::"], "metadata: 2002:a9fe:a9fe::"),
        (["10.0.0.1"] * 63 + ["127.0.0.1"], None),
        (["10.0.0.1"] * 64 + ["127.0.0.1"], "address-private: 10.0.0.0/8"),
        (["127.0.0.1"] * 5_000, None),
    ],
)
async def test_of_a_names_addresses_those_that_are_refused_are_left_out(
    server: TlsServer, answers: list[str], reason: str | None
) -> None:
    """A name of a metadata service is refused whole; 64 addresses are looked at."""
    client = egress(server, Policy(LOOPBACK), FakeResolver(*answers))
    url = f"https://api.example.com:{server.port}/"
    if reason is None:
        assert (await get(client, url)).body == b"ok"
    else:
        with pytest.raises(EgressRefused) as caught:
            await get(client, url)
        assert caught.value.reason == reason
        assert server.opened == 0
    await client.close()


async def test_of_many_addresses_a_few_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []

    def refuse(*_: object, **__: object) -> socket.socket:
        dialled.append("once")
        raise OSError("no")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(socket, "socket", refuse)
    client = Egress(
        Policy(LOOPBACK),
        trust=trust(),
        resolver=FakeResolver(*(f"127.0.0.{number}" for number in range(1, 60))),
    )
    with pytest.raises(EgressFailed, match="connection to"):
        await get(client, f"https://api.example.com:{port}/")
    # All that are left, each time that the first has failed.
    assert 0 < len(dialled) <= sum(range(9))
    await client.close()


async def test_a_name_without_addresses_is_told() -> None:
    client = Egress(Policy(), trust=trust(), resolver=FakeResolver())
    with pytest.raises(EgressFailed, match=r"^The name api\.example\.com has no address\.$"):
        await get(client, "https://api.example.com/")
    await client.close()


async def test_a_name_that_hangs_holds_up_no_other(server: TlsServer) -> None:
    resolver = FakeResolver("127.0.0.1")
    gate = resolver.gates["other.example.com"] = asyncio.Event()
    client = egress(server, Policy(LOOPBACK), resolver)
    hanging = asyncio.create_task(get(client, f"https://other.example.com:{server.port}/"))
    await get(client, f"https://api.example.com:{server.port}/")
    assert not hanging.done()
    gate.set()
    await hanging
    await client.close()


async def test_a_callers_deadline_ends_the_wait_for_a_name() -> None:
    resolver = FakeResolver("127.0.0.1")
    resolver.gates["api.example.com"] = asyncio.Event()
    client = Egress(Policy(), trust=trust(), resolver=resolver)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.request(Request("GET", "https://api.example.com/"), max_body=1)
    await client.close()


# --- Pools ----------------------------------------------------------------------------------------


async def test_a_connection_of_one_rule_serves_no_request_of_another(server: TlsServer) -> None:
    """Both rules let the host go to loopback, one for each role: each has its own connection."""
    policy = Policy(
        rules=(
            for_hosts("api.example.com", name="a", roles=("arn:a:b:::a",)),
            for_hosts("api.example.com", name="b", roles=("arn:a:b:::b",)),
            Rule(name="c", effect="allow", hosts=("*",)),
        ),
        default="deny",
    )
    client = egress(server, policy)
    url = f"https://api.example.com:{server.port}/"
    for role in ("arn:a:b:::a", "arn:a:b:::b", "arn:a:b:::a"):
        await get(client, url, role=role)
    assert [seen.connection for seen in server.seen] == [1, 2, 1]
    # Only rule c lets this one out, to public addresses; the pooled connections are not for it.
    with pytest.raises(EgressRefused, match="address-loopback"):
        await get(client, url, role="arn:a:b:::c")
    assert len(server.seen) == 3
    await client.close()


async def test_a_pooled_connection_is_not_used_for_what_is_denied(server: TlsServer) -> None:
    policy = Policy(LOOPBACK, rules=(Rule(name="no", effect="deny", paths=("/admin",)),))
    client = egress(server, policy)
    await get(client, f"https://api.example.com:{server.port}/")
    with pytest.raises(EgressRefused, match="denied: no"):
        await get(client, f"https://api.example.com:{server.port}/admin")
    assert len(server.seen) == 1
    await client.close()


async def test_another_policy_uses_no_connection_of_the_last(server: TlsServer) -> None:
    client = egress(server, Policy(LOOPBACK))
    url = f"https://api.example.com:{server.port}/"
    await get(client, url)
    client.use(Policy())
    with pytest.raises(EgressRefused, match="address-loopback"):
        await get(client, url)
    client.use(Policy(LOOPBACK))
    await get(client, url)
    assert [seen.connection for seen in server.seen] == [1, 2]
    await client.close()


async def test_what_is_under_way_ends_under_its_policy_and_leaves_no_connection(
    server: TlsServer,
) -> None:
    server.gate = asyncio.Event()
    client = egress(server, Policy(LOOPBACK))
    url = f"https://api.example.com:{server.port}/"
    running = asyncio.create_task(get(client, url))
    await server.until(lambda: bool(server.seen))
    client.use(Policy(LOOPBACK))
    assert len(client._retired) == 1
    server.gate.set()
    assert (await running).body == b"ok"
    await get(client, url)
    assert [seen.connection for seen in server.seen] == [1, 2]
    await server.until(lambda: server.open <= 1)
    client.use(Policy(LOOPBACK))
    assert client._retired == []
    await client.close()


async def test_a_close_ends_what_is_under_way_under_an_older_policy(server: TlsServer) -> None:
    server.gate = asyncio.Event()
    client = egress(server, Policy(LOOPBACK))
    running = asyncio.create_task(get(client, f"https://api.example.com:{server.port}/"))
    await server.until(lambda: bool(server.seen))
    client.use(Policy(LOOPBACK))
    await client.close()
    with pytest.raises(EgressFailed):
        await running
    server.gate.set()


async def test_who_waited_while_the_policy_changed_is_judged_by_the_new_one(
    server: TlsServer,
) -> None:
    from stepout.egress.slots import Slots

    server.gate = asyncio.Event()
    client = Egress(
        Policy(LOOPBACK),
        trust=server.trust,
        resolver=FakeResolver("127.0.0.1"),
        slots=Slots(per_host=1),
    )
    url = f"https://api.example.com:{server.port}/"
    first = asyncio.create_task(get(client, url))
    second = asyncio.create_task(get(client, url))
    await server.until(lambda: bool(server.seen))
    client.use(Policy(LOOPBACK, default="deny"))
    server.gate.set()
    assert (await first).status == 200
    with pytest.raises(EgressRefused, match="not-allowed"):
        await second
    assert len(server.seen) == 1
    await client.close()


async def test_there_are_not_more_pools_than_may_be(server: TlsServer) -> None:
    roles = [f"arn:a:b:::{number}" for number in range(MAX_POOLS + 3)]
    rules = tuple(for_hosts("*", name=role[-3:].strip(":"), roles=(role,)) for role in roles)
    client = egress(server, Policy(rules=rules, default="deny"))
    for role in roles:
        await get(client, f"https://api.example.com:{server.port}/", role=role)
    assert len(client._pools) == MAX_POOLS
    await server.until(lambda: server.open <= MAX_POOLS)
    await client.close()


async def test_idle_connections_are_bounded(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepout.egress.pool.MAX_IDLE", 2)
    server.gate = asyncio.Event()
    client = egress(server, Policy(LOOPBACK))
    running = [
        asyncio.create_task(get(client, f"https://api.example.com:{server.port}/{number}"))
        for number in range(5)
    ]
    await server.until(lambda: len(server.seen) == 5)
    server.gate.set()
    await asyncio.gather(*running)
    await server.until(lambda: server.open <= 2)
    await client.close()


# --- The log --------------------------------------------------------------------------------------


async def test_a_decision_is_one_line_with_its_reason(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stepout.egress")
    policy = Policy(
        rules=(
            for_hosts("api.example.com", name="items"),
            Rule(name="no", effect="deny", hosts=("b.test",)),
        ),
        default="deny",
    )
    client = egress(server, policy)
    who = {"role": "arn:role", "machine": "arn:machine", "connection": "arn:connection"}
    await get(client, f"https://api.example.com:{server.port}/sesame?sesame", **who)
    await get(client, f"https://api.example.com:{server.port}/sesame?sesame", **who)
    with pytest.raises(EgressRefused):
        await get(client, "https://b.test/sesame")
    lines: list[dict[str, Any]] = [vars(record)["fields"] for record in caplog.records]
    assert all(line.pop("duration_ms") >= 0 for line in lines)
    assert lines[0] == lines[1]
    assert lines[1] == {
        "decision": "allowed",
        "reason": "allowed: items",
        "rule": "items",
        "mode": "enforce",
        "method": "GET",
        "host": "api.example.com",
        "port": server.port,
        "address": "127.0.0.1",
        **who,
        "status": 200,
    }
    assert lines[2]["decision"] == "refused"
    assert lines[2]["reason"] == "denied: no"
    assert lines[2]["address"] == ""
    assert "sesame" not in f"{lines}{caplog.text}"
    await client.close()


async def test_a_refused_address_is_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stepout.egress")
    client = Egress(Policy(), trust=trust(), resolver=FakeResolver("10.0.0.1"))
    with pytest.raises(EgressRefused):
        await get(client, "https://api.example.com/")
    (line,) = (vars(record)["fields"] for record in caplog.records)
    assert (line["decision"], line["reason"], line["address"]) == (
        "refused",
        "address-private: 10.0.0.0/8",
        "10.0.0.1",
    )
    await client.close()


async def test_what_report_mode_lets_out_is_logged_as_such(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stepout.egress")
    client = egress(server, Policy(LOOPBACK, default="deny", mode="report"))
    assert (await get(client, f"https://api.example.com:{server.port}/")).status == 200
    (line,) = (vars(record)["fields"] for record in caplog.records)
    assert (line["decision"], line["mode"], line["status"]) == ("would-refuse", "report", 200)
    assert line["reason"].startswith("not-allowed: ")
    await client.close()


async def test_a_request_that_is_given_up_is_logged(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stepout.egress")
    server.gate = asyncio.Event()
    client = egress(server, Policy(LOOPBACK))
    running = asyncio.create_task(get(client, f"https://api.example.com:{server.port}/"))
    await server.until(lambda: bool(server.seen))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (line,) = (vars(record)["fields"] for record in caplog.records)
    assert (line["decision"], line["failure"]) == ("allowed", "CancelledError")
    await client.close()
