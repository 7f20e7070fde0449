"""The way out of a server, made from its settings: the policy, and what sends by it."""

from __future__ import annotations

from collections import ChainMap

from stepout.config import ServerSettings, parse_connect, parse_proxy
from stepout.egress import rules
from stepout.egress.addresses import network
from stepout.egress.http import ConnectTo, Egress, Place
from stepout.egress.policy import Policy, Rule
from stepout.egress.proxy import Proxy
from stepout.egress.slots import Slots
from stepout.egress.trust import trust
from stepout.gateway.upstreams import Upstreams

__all__ = ["egress_of", "policy_of"]


def policy_of(settings: ServerSettings) -> Policy:
    """What may go out, by the files as they are now; raises `SettingsError`."""
    networks = tuple(map(network, settings.egress_allow))
    if settings.egress_policy is None:
        return Policy(networks)
    upstreams = None if settings.upstreams is None else _rules(Upstreams.load(settings.upstreams))
    return rules.load(settings.egress_policy, networks=networks, upstreams=upstreams)


def egress_of(settings: ServerSettings, policy: Policy, connect_to: dict[Place, Place]) -> Egress:
    """What sends by a policy; `connect_to` adds live entries to those of the settings."""
    proxy = None if settings.egress_proxy is None else parse_proxy(settings.egress_proxy)
    entries: ConnectTo = ChainMap(parse_connect(settings.egress_connect), connect_to)
    return Egress(
        policy,
        trust=trust(settings.egress_ca),
        connect_to=entries,
        proxy=None if proxy is None else Proxy(*proxy),
        slots=Slots(settings.egress_connections, settings.egress_connections_per_host),
    )


def _rules(upstreams: Upstreams) -> list[Rule]:
    """What upstreams need to be let out."""
    return [
        rule
        for upstream in upstreams
        for rule in rules.upstream_rules(
            upstream.name, upstream.url, upstream.methods, upstream.token_url
        )
    ]
