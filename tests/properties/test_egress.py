"""The guard holds for every spelling, every order of rules and every way of reading a path."""

from __future__ import annotations

import asyncio
import re
import ssl
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote_to_bytes

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from stepout.egress.addresses import _METADATA, _SPECIAL, Address, Network, special_range
from stepout.egress.destination import parse
from stepout.egress.http import Egress
from stepout.egress.message import Request
from stepout.egress.paths import is_under
from stepout.egress.policy import Policy, Rule
from stepout.errors import EgressError, EgressRefused

EVERYTHING = tuple(map(ip_network, ("0.0.0.0/0", "::/0", "2000::/3", "2002::/16", "64:ff9b::/32")))

# --- Spellings ------------------------------------------------------------------------------------

RANGES = [ip_network(text) for texts in _SPECIAL.values() for text in texts]
V4_RANGES = [found for found in RANGES if found.version == 4]
METADATA = sorted(str(address) for address in _METADATA)


def within(found: Network) -> st.SearchStrategy[Address]:
    last = found.num_addresses - 1
    offsets = st.one_of(st.sampled_from([0, last]), st.integers(0, last))
    return offsets.map(found.__getitem__)


DENIED_V4 = st.sampled_from(V4_RANGES).flatmap(within).map(lambda found: IPv4Address(int(found)))
DENIED = st.one_of(
    st.sampled_from(RANGES).flatmap(within), st.sampled_from(METADATA).map(ip_address)
)
METADATA_V4 = st.sampled_from([one for one in METADATA if "." in one]).map(IPv4Address)

Embed = Callable[[int], int]

EMBEDDINGS: dict[str, Embed] = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "nat64": lambda v4: 0x0064_FF9B << 96 | v4,
    "local nat64 /96": lambda v4: 0x0064_FF9B_0001 << 80 | v4,
    "local nat64 /48": lambda v4: 0x0064_FF9B_0001 << 80 | v4 >> 16 << 64 | (v4 & 0xFFFF) << 40,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "teredo server": lambda v4: 0x2001_0000 << 96 | v4 << 64 | 0x1234,
    "teredo client": lambda v4: 0x2001_0000 << 96 | ~v4 & 0xFFFF_FFFF,
}
OF_METADATA: dict[str, Embed] = {
    **EMBEDDINGS,
    "isatap": lambda v4: 0x2A00_1450 << 96 | 0x5EFE << 32 | v4,
    "a network's own nat64": lambda v4: 0x2A00_1450_0064 << 80 | v4,
}


def embedded_in(v4: IPv4Address, how: str) -> IPv6Address:
    return IPv6Address(OF_METADATA[how](int(v4)))


def number(value: int, base: str) -> str:
    return {"d": f"{value}", "o": f"0{value:o}", "x": f"0x{value:x}", "X": f"0X{value:08X}"}[base]


@st.composite
def v4_texts(draw: st.DrawFn, address: IPv4Address) -> str:
    """An IPv4 address in one to four numbers of any base, as inet_aton would read it."""
    count = draw(st.integers(1, 4))
    octets = address.packed
    parts = [*octets[: count - 1], int.from_bytes(octets[count - 1 :], "big")]
    return ".".join(number(part, draw(st.sampled_from("dddoxX"))) for part in parts)


@st.composite
def v6_texts(draw: st.DrawFn, address: IPv6Address) -> str:
    text = draw(
        st.sampled_from(
            [
                address.compressed,
                address.exploded,
                address.compressed.upper(),
                f"{IPv6Address(int(address) >> 32 << 32).exploded[:29]}:{IPv4Address(int(address) & 0xFFFF_FFFF)}",
            ]
        )
    )
    return f"[{text}{draw(st.sampled_from(['', '', '%25eth0', '%eth0', '%1']))}]"


def wide(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)


DISGUISES: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: text,
    lambda text: f"{text}.",
    lambda text: f"{text}..",
    lambda text: text.replace(".", "\u3002"),
    lambda text: text.replace(".", "\uff0e"),
    lambda text: text.replace(".", "\uff61"),
    wide,
    lambda text: "".join(wide(one) if one.isdigit() else one for one in text),
    lambda text: "".join(f"%{ord(one):02x}" for one in text),
    lambda text: text.replace(".", "%2e"),
    lambda text: f"api.example.com@{text}",
    lambda text: f"{text}@api.example.com",
    lambda text: f"api.example.com\\@{text}",
    lambda text: f"{text}\\@api.example.com",
    lambda text: f"api.example.com#@{text}",
    lambda text: f"{text[:2]}\t{text[2:]}",
    lambda text: f"{text[:2]}\n{text[2:]}",
    lambda text: f" {text}",
    lambda text: f"{text} ",
    lambda text: f"{text}\x00",
    lambda text: f"{text}\u200b",
    lambda text: f"\xad{text}",
    lambda text: f"0{text}",
    lambda text: f"{text}:443",
    lambda text: f"{text}:0443",
    lambda text: f"/{text}",
    lambda text: f"\\{text}",
]


@st.composite
def spelled(draw: st.DrawFn, address: Address, embeddings: dict[str, Any] = EMBEDDINGS) -> str:
    """A URL that leads some client to an address."""
    if isinstance(address, IPv4Address):
        how = draw(st.sampled_from(["", "", *embeddings]))
        inner: Address = embedded_in(address, how) if how else address
    else:
        inner = address
    text = draw(v4_texts(inner) if isinstance(inner, IPv4Address) else v6_texts(inner))
    host = draw(st.sampled_from(DISGUISES))(text)
    return f"https://{host}{draw(st.sampled_from(['/', '', '/x?y', '#z']))}"


class HostileResolver:
    """Knows every name, and reads numbers as getaddrinfo does: all lead to one address."""

    def __init__(self, *answers: Address) -> None:
        self._answers = [*answers]

    async def addresses(self, host: str) -> list[Address]:
        return self._answers

    async def close(self) -> None: ...


class Dialled(OSError):
    """Instead of a connection."""


def dialled(policy: Policy, url: str, resolver: Any) -> list[tuple[str, str]]:
    """Where a request for a URL would have gone: TLS's host and the address."""
    found: list[tuple[str, str]] = []

    async def dial(
        _: object, *__: object, addr_infos: Any, server_hostname: str, **___: object
    ) -> None:
        found.extend((server_hostname, info[4][0]) for info in addr_infos)
        raise Dialled

    async def send() -> None:
        client = Egress(policy, trust=TRUST, resolver=resolver)
        with suppress(EgressError):
            await client.request(Request("GET", url), max_body=1)
        await client.close()

    with patch.object(aiohttp.TCPConnector, "_wrap_create_connection", dial):
        asyncio.run(send())
    return found


TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@given(DENIED.flatmap(lambda address: st.tuples(st.just(address), spelled(address))))
def test_no_spelling_of_a_denied_address_is_dialled(case: tuple[Address, str]) -> None:
    address, url = case
    assert dialled(Policy(), url, HostileResolver(address)) == []


@given(
    METADATA_V4.flatmap(lambda found: st.tuples(st.just(found), spelled(found, OF_METADATA))),
    st.sampled_from(["allow-public", "deny"]),
    st.sampled_from(["enforce", "report"]),
)
def test_no_spelling_of_a_metadata_service_is_dialled_whatever_the_policy(
    case: tuple[IPv4Address, str], default: Any, mode: Any
) -> None:
    address, url = case
    everything = Rule(name="all", effect="allow", hosts=("*",), networks=EVERYTHING)
    policy = Policy(EVERYTHING, rules=(everything,), default=default, mode=mode)
    assert dialled(policy, url, HostileResolver(address)) == []


@given(
    st.lists(
        st.tuples(DENIED_V4, st.sampled_from(["", *EMBEDDINGS])).map(
            lambda pair: embedded_in(*pair) if pair[1] else pair[0]
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_of_a_names_addresses_no_denied_one_is_dialled(
    found: list[Address], has_public: bool
) -> None:
    public = [ip_address("8.8.8.8")] if has_public else []
    resolver = HostileResolver(*found, *public)
    assert {address for _, address in dialled(Policy(), "https://api.example.com/", resolver)} <= {
        "8.8.8.8"
    }


@given(METADATA_V4, st.sampled_from([*OF_METADATA]))
def test_a_metadata_service_is_known_in_every_embedding(v4: IPv4Address, how: str) -> None:
    ruling = Policy(EVERYTHING).judge_address(embedded_in(v4, how))
    assert not ruling.allowed
    assert ruling.reason.startswith("metadata: ")


@given(DENIED_V4, st.sampled_from([*EMBEDDINGS]))
def test_an_embedding_makes_no_address_public(v4: IPv4Address, how: str) -> None:
    assert special_range(embedded_in(v4, how)) is not None


# --- Hosts ----------------------------------------------------------------------------------------

HOST_PIECES = st.sampled_from(
    [
        *(
            "api",
            "example",
            "com",
            "xn--wgv71a119e",
            "ß",
            "日本語",
            "．",
            "。",
            ".",
            "..",
            "-",
            "_",
            "A",
        ),
        *(
            "127",
            "0x7f",
            "1",
            "@",
            ":",
            "443",
            "[",
            "]",
            "::1",
            "%2e",
            "%",
            "\\",
            "/",
            "?",
            "#",
            " ",
        ),
        *("\t", "\n", "\u200b", "\u0130", "K", "ſ", "א", "ا", "\u0660", "★", "\ud800"),
    ]
)
URLS = st.lists(HOST_PIECES, max_size=12).map(lambda pieces: f"https://{''.join(pieces)}")


class NameResolver:
    """Gives each name a public address of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def addresses(self, host: str) -> list[Address]:
        self.asked.append(host)
        return [self.address(host)]

    def address(self, host: str) -> Address:
        return IPv4Address((8 << 24) + sum(host.encode()) % 65_536)

    async def close(self) -> None: ...


@given(URLS)
def test_the_host_judged_is_the_host_resolved_dialled_and_named(url: str) -> None:
    resolver = NameResolver()
    found = dialled(Policy(), url, resolver)
    try:
        destination = parse(url)
    except EgressRefused:
        assert (found, resolver.asked) == ([], [])
        return
    assert parse(destination.url) == destination
    if destination.address is None:
        assert resolver.asked == [destination.host]
        assert found == [(destination.host, str(resolver.address(destination.host)))]
    else:
        assert resolver.asked == []
        assert {address for _, address in found} <= {destination.host}


# --- Rules ----------------------------------------------------------------------------------------

HOSTS = ("a.test", "b.test", "x.a.test", "8.8.8.8")
ROLES = ("arn:aws:iam::1:role/a", "arn:aws:iam::1:role/b")
PATHS = ("/", "/v1/", "/v1", "/v1/x", "/V1/x", "/v1/../x", "/v2", "/%76%31/")
NETWORKS = tuple(map(ip_network, ("10.0.0.0/8", "10.1.0.0/16", "8.8.0.0/16", "::/0", "9.9.9.9/32")))
ADDRESSES = tuple(
    map(
        ip_address,
        (
            "8.8.8.8",
            "9.9.9.9",
            "10.1.2.3",
            "10.2.0.1",
            "::ffff:10.1.2.3",
            "fd00::1",
            "169.254.169.254",
        ),
    )
)


def some(values: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


def rules(effect: Any) -> st.SearchStrategy[Rule]:
    return st.builds(
        Rule,
        name=st.sampled_from("abcdefgh"),
        effect=st.just(effect),
        hosts=some((*HOSTS, "*.test", "*.a.test", "*")),
        ports=some((443, 8443)),
        methods=some(("GET", "POST")),
        paths=some(("/", "/v1/", "/v1", "/v2")),
        roles=some((*ROLES, "arn:aws:iam::*:role/*")),
        networks=some(NETWORKS),
    )


RULES = st.lists(
    st.one_of(rules("allow"), rules("deny")), max_size=5, unique_by=lambda rule: rule.name
)
POLICIES = st.builds(
    Policy,
    networks=some(NETWORKS[:1]),
    rules=RULES.map(tuple),
    default=st.sampled_from(["deny", "allow-public"]),
    mode=st.sampled_from(["enforce", "report"]),
)
REQUESTS = st.builds(
    lambda method, host, port, path, role: Request(
        method, f"https://{host}:{port}{path}", role=role
    ),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(HOSTS),
    st.sampled_from([443, 8443]),
    st.sampled_from(PATHS),
    st.sampled_from(["", *ROLES]),
)


def outcome(policy: Policy, request: Request, address: Address) -> tuple[bool, bool]:
    """Whether a request goes out to an address, and whether it would without the mode `report`."""
    verdict = policy.judge(request)
    if not verdict.decision.allowed:
        return False, False
    decision = verdict.decision.with_address(address, verdict.reach.judge(address))
    return decision.allowed, decision.allowed and not decision.would_refuse


@given(POLICIES, rules("deny"), REQUESTS, st.sampled_from(ADDRESSES))
def test_a_further_deny_never_lets_more_out(
    policy: Policy, further: Rule, request: Request, address: Address
) -> None:
    denied = Rule(
        **{**{name: getattr(further, name) for name in Rule.__slots__}, "name": "further"}
    )
    stricter = Policy(policy.networks, (*policy.rules, denied), policy.default, policy.mode)
    before, after = outcome(policy, request, address), outcome(stricter, request, address)
    assert after <= before
    assert after[1] <= before[1]


@given(POLICIES, REQUESTS, st.sampled_from(ADDRESSES), st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(
    policy: Policy, request: Request, address: Address, random: Any
) -> None:
    shuffled = [*policy.rules]
    random.shuffle(shuffled)
    other = Policy(policy.networks, tuple(shuffled), policy.default, policy.mode)
    one, two = policy.judge(request), other.judge(request)
    assert one.decision == two.decision
    assert one.reach.judge(address) == two.reach.judge(address)


@given(POLICIES, REQUESTS, st.sampled_from(ADDRESSES))
def test_report_mode_lets_out_what_enforce_does_and_otherwise_public_addresses_alone(
    policy: Policy, request: Request, address: Address
) -> None:
    both = {
        mode: outcome(Policy(policy.networks, policy.rules, policy.default, mode), request, address)
        for mode in ("enforce", "report")
    }
    assert both["report"][1] == both["enforce"][0]
    if both["report"][0] and not both["enforce"][0]:
        reached = policy.networks
        assert special_range(address) is None or any(
            one in network for one in (address, ip_address("10.1.2.3")) for network in reached
        )


@given(POLICIES, REQUESTS)
def test_an_explanation_agrees_with_the_judgement(policy: Policy, request: Request) -> None:
    explained = policy.explain(request)
    decision = policy.judge(request).decision
    assert explained.verdict.decision == decision
    assert len(explained.considered) == len(policy.rules)
    matching = {one.rule.name for one in explained.considered if one.missed is None}
    if decision.rule is not None:
        assert decision.rule in matching


# --- Paths ----------------------------------------------------------------------------------------

NOISE = (
    *(
        ".",
        "..",
        "...",
        "%2e",
        "%2E%2e",
        "%252e",
        "%2f",
        "%5c",
        "\\",
        "/",
        "//",
        "/x",
        "/..",
        "/../..",
        "/x/..",
    ),
    *(
        ";",
        ";a=b",
        "%3b",
        "%253b",
        "%20",
        " ",
        "%00",
        "..;",
        "/..;",
        "．",
        "／",
        "／..",
        "x",
        "%EF%BC%8E",
    ),
    *(
        "%EF%BC%8F",
        "%c0%ae",
        "%",
        "%zz",
        ";%2f",
        ";x%2f..",
        ";%2fx",
        ";%5c..",
        "\u2025",
        "/%2e%2e",
        "/.%20",
    ),
    *(
        "/;/",
        "/;a=b/..",
        "/%2e%2e;",
        "/%252e%252e",
        "//..",
        "/%2e/",
        "%2f..",
        "%252f..",
        "/ ",
        "/%20/..",
    ),
)
VARIANTS = {
    "/": ("//", "%2f", "%252F", "\\", "%5c", "/./", "／", "/%2e/", "/;/", "/x/../"),
    "v1": ("V1", "%761", "v%31", "%25761", "ｖ1"),
    "admin": ("Admin", "%61dmin", "%2561dmin", "ａdmin"),
    "x": ("", "..", "%2e%2e"),
}


def mutated(pieces: tuple[str, ...], at: int) -> list[tuple[str, ...]]:
    """The pieces with another spelling of one of them, or with noise behind it."""
    spelled_anew = [(*pieces[:at], new, *pieces[at + 1 :]) for new in VARIANTS.get(pieces[at], ())]
    return spelled_anew + [(*pieces[: at + 1], new, *pieces[at + 1 :]) for new in NOISE]


@st.composite
def paths_near(draw: st.DrawFn, *pieces: str) -> str:
    """A path that is two or three changes away from these pieces."""
    for _ in range(draw(st.integers(2, 3))):
        pieces = draw(st.sampled_from(mutated(pieces, draw(st.integers(0, len(pieces) - 1)))))
    return "".join(pieces) if pieces[0][:1] == "/" else f"/{''.join(pieces)}"


def one_change_from(*pieces: str) -> list[str]:
    found = [new for at in range(len(pieces)) for new in mutated(pieces, at)]
    return ["".join(new) for new in found if new[0][:1] == "/"]


def remove_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


SERVERS: tuple[Callable[[str], str], ...] = (
    lambda path: unquote_to_bytes(path).decode("latin-1"),
    lambda path: unquote_to_bytes(path).decode("utf-8", "replace"),
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub("/+", "/", path),
    lambda path: re.sub(";[^/]*", "", path),
    remove_dots,
    lambda path: "/".join(segment.rstrip(" .") or segment for segment in path.split("/")),
    lambda path: unicodedata.normalize("NFKC", path),
)
"""What servers and proxies do to a path."""

MAX_STEPS = 5


def readings(path: str) -> set[str]:
    """What any of these steps in any order make of a path, and whatever stands between two steps."""
    found = {path}
    newest = found
    for _ in range(MAX_STEPS):
        newest = {step(one) for one in newest for step in SERVERS} - found
        found |= newest
    return found


def sent(path: str) -> str:
    return parse(f"https://a.test{path}").path


ALLOWING = Policy(
    rules=(Rule(name="v1", effect="allow", hosts=("*",), paths=("/v1/",)),), default="deny"
)
DENYING = Policy(rules=(Rule(name="admin", effect="deny", paths=("/v1/admin/",)),))


def is_let_out(policy: Policy, path: str) -> bool:
    return policy.judge(Request("GET", f"https://a.test{path}")).decision.allowed


def check_paths(path: str) -> None:
    """No server reads an allowed path outside its prefix, nor one let out below a denied prefix."""
    if is_let_out(ALLOWING, path):
        assert [one for one in readings(sent(path)) if not is_under(one, "/v1")] == []
    if is_let_out(DENYING, path):
        assert [one for one in readings(sent(path)) if is_under(one.lower(), "/v1/admin")] == []


def test_one_change_to_a_path_leads_no_server_past_a_rule() -> None:
    found = {
        *one_change_from("/", "v1", "/", "admin", "/", "x"),
        *one_change_from("/", "v1", "/", "x"),
    }
    for path in found:
        check_paths(path)
    assert any(is_let_out(ALLOWING, path) for path in found)
    assert any(is_let_out(DENYING, path) for path in found)


@given(st.one_of(paths_near("/", "v1", "/", "admin", "/", "x"), paths_near("/", "v1", "/", "x")))
def test_several_changes_to_a_path_lead_no_server_past_a_rule(path: str) -> None:
    check_paths(path)


def test_the_steps_of_servers_do_climb() -> None:
    """Otherwise the two tests above would prove nothing."""
    path = reduce(lambda text, step: step(text), SERVERS, "/v1/%2e%2e;a/admin")
    assert path == "/admin"
    assert IPv6Address("2a00:1450::5efe:a9fe:a9fe") in IPv6Network("2a00:1450::/32")
