"""Every address that is not the public internet is known by its kind."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from stepout.egress.addresses import carried, embedded, is_metadata, network, special_range
from stepout.egress.policy import Policy


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified: 0.0.0.0/8"),
        ("0.1.2.3", "unspecified: 0.0.0.0/8"),
        ("10.255.255.255", "private: 10.0.0.0/8"),
        ("100.64.0.1", "private: 100.64.0.0/10"),
        ("127.8.8.8", "loopback: 127.0.0.0/8"),
        ("169.254.1.1", "link-local: 169.254.0.0/16"),
        ("172.31.0.1", "private: 172.16.0.0/12"),
        ("192.0.0.8", "reserved: 192.0.0.0/24"),
        ("192.0.2.1", "documentation: 192.0.2.0/24"),
        ("192.88.99.1", "tunnel: 192.88.99.0/24"),
        ("192.168.0.1", "private: 192.168.0.0/16"),
        ("198.19.0.1", "reserved: 198.18.0.0/15"),
        ("198.51.100.1", "documentation: 198.51.100.0/24"),
        ("203.0.113.9", "documentation: 203.0.113.0/24"),
        ("224.0.0.1", "multicast: 224.0.0.0/4"),
        ("240.0.0.1", "reserved: 240.0.0.0/4"),
        ("255.255.255.255", "reserved: 240.0.0.0/4"),
        ("::", "unspecified: ::/128"),
        ("::1", "loopback: ::1/128"),
        ("::7f00:1", "tunnel: ::/96"),
        ("::ffff:127.0.0.1", "loopback: 127.0.0.0/8"),
        ("::ffff:0:1.2.3.4", "reserved: ::ffff:0:102:304/128"),
        ("64:ff9b::10.0.0.1", "private: 10.0.0.0/8"),
        ("64:ff9b:1::1", "private: 64:ff9b:1::/48"),
        ("100::1", "reserved: 100::/64"),
        ("2001::1", "tunnel: 2001::/32"),
        ("2001:2::1", "reserved: 2001::/23"),
        ("2001:db8::1", "documentation: 2001:db8::/32"),
        ("2002:7f00:1::", "tunnel: 2002::/16"),
        ("3fff::1", "documentation: 3fff::/20"),
        ("5f00::1", "reserved: 5f00::/16"),
        ("fc00::1", "private: fc00::/7"),
        ("fe80::1", "link-local: fe80::/10"),
        ("fec0::1", "private: fec0::/10"),
        ("ff02::1", "multicast: ff00::/8"),
        ("4000::1", "reserved: 4000::1/128"),
    ],
)
def test_a_special_address_is_refused_with_its_range(address: str, kind: str) -> None:
    assert special_range(ip_address(address)) == kind
    decision = Policy().judge_address(ip_address(address))
    assert not decision.allowed
    assert decision.reason == f"address-{kind}"


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert special_range(ip_address(address)) is None
    assert Policy().judge_address(ip_address(address)).allowed


def test_a_named_network_is_allowed_and_no_other() -> None:
    policy = Policy(networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    assert policy.judge_address(ip_address("10.1.2.3")).reason == "allowed: 10.1.0.0/16"
    assert policy.judge_address(ip_address("::ffff:10.1.2.3")).allowed
    assert policy.judge_address(ip_address("fd00::1")).allowed
    assert not policy.judge_address(ip_address("10.2.0.1")).allowed


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "169.254.170.2",
        "2002:a9fe:a9fe::",
        "2001:0:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "64:ff9b:1::169.254.169.254",
        "2a00:1450::5efe:169.254.169.254",
        "2a00:1450:64::a9fe:a9fe",
        "fd00:ec2::254",
        "169.254.42.42",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_metadata_services_are_never_allowed(address: str) -> None:
    everything = Policy((ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("2002::/16")))
    assert is_metadata(ip_address(address))
    decision = everything.judge_address(ip_address(address))
    assert not decision.allowed
    assert decision.reason.startswith("metadata: ")


def test_the_ipv4_address_inside_is_what_is_judged() -> None:
    assert str(embedded(ip_address("::ffff:1.2.3.4"))) == "1.2.3.4"
    assert embedded(ip_address("2002:102:304::")) is None
    assert embedded(ip_address("1.2.3.4")) is None


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("1.2.3.4", []),
        ("2606:4700::1", []),
        ("::ffff:1.2.3.4", ["1.2.3.4"]),
        ("::1.2.3.4", ["1.2.3.4"]),
        ("::ffff:0:1.2.3.4", ["1.2.3.4"]),
        ("64:ff9b::1.2.3.4", ["1.2.3.4"]),
        ("2002:102:304::1", ["1.2.3.4"]),
        ("2001:0:102:304:0:ffff:fafb:fcfd", ["1.2.3.4", "5.4.3.2"]),
        ("2606:4700::200:5efe:1.2.3.4", ["1.2.3.4"]),
    ],
)
def test_every_ipv4_address_that_is_spelled_is_found(address: str, inside: list[str]) -> None:
    assert [str(one) for one in carried(ip_address(address))] == inside


@pytest.mark.parametrize("address", ["64:ff9b:1:102:3:400::", "64:ff9b:1:1:2:304::"])
def test_a_local_nat64_is_read_with_every_length_of_its_prefix(address: str) -> None:
    assert "1.2.3.4" in map(str, carried(ip_address(address)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("64:ff9b::a00:0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_of_mapped_addresses_is_the_one_inside(text: str, found: str) -> None:
    assert str(network(text)) == found


def test_a_network_of_all_ipv6_addresses_holds_no_mapped_one() -> None:
    policy = Policy((network("::/0"),))
    assert policy.judge_address(ip_address("fd00::1")).allowed
    assert not policy.judge_address(ip_address("::ffff:10.0.0.1")).allowed
