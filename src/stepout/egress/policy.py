"""What may go out: a pure decision with its reason, made for every request and every address.

Theory: the URL's host is made canonical once (`destination`). A host that is an address is judged
at once; a name is resolved, and each of its addresses is judged. Only judged addresses are dialled,
and the socket's own address is judged again before it connects. The answer is no for whatever is
not the public internet, unless a network of `allow` holds it; for metadata services it always is.
"""

from __future__ import annotations

from dataclasses import dataclass

from stepout.egress.addresses import Address, Network, embedded, is_metadata, special_range
from stepout.egress.destination import Destination, parse
from stepout.errors import EgressRefused

__all__ = ["Decision", "Policy"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and by which rule; the reason begins with a stable word."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything public, and the networks of `allow`."""

    allow: tuple[Network, ...] = ()

    def judge_url(self, url: str) -> Destination:
        """The URL's destination; raises `EgressRefused`. Addresses of a name are judged later."""
        destination = parse(url)
        if destination.address is not None:
            decision = self.judge_address(destination.address)
            if not decision.allowed:
                raise EgressRefused(decision.reason)
        return destination

    def judge_address(self, address: Address) -> Decision:
        """Whether an address may be dialled."""
        if is_metadata(address):
            return Decision(allowed=False, reason=f"metadata: {address}")
        inner = embedded(address)
        for network in self.allow:
            if address in network or (inner is not None and inner in network):
                return Decision(allowed=True, reason=f"allowed: {network}")
        special = special_range(address)
        if special is None:
            return Decision(allowed=True, reason="public")
        return Decision(allowed=False, reason=f"address-{special}")
