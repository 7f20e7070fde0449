"""What may go out: a pure decision with its reason, made for every request and every address.

Theory. A request is judged twice, and both times by what it is, never by what it was before.

1. `Policy.judge` takes the URL, the method and who asks. The URL's host is made canonical once
   (`destination`); rules were brought into the same form when they were read, so that comparing is
   comparing texts. *Deny wins*: a matching deny rule refuses, whatever else matches. Otherwise one
   matching allow rule is enough, and with the default `allow-public` none is needed.
2. `Reach.judge` takes an address: of a URL that holds one at once, of a name after it was resolved,
   of a pooled connection before it is used again. Only judged addresses are dialled. The answer is
   no for whatever is not the public internet, unless a network holds it that was named for all or
   by an allow rule that matched the request; and for what a deny rule's networks hold.

A `Reach` is what a policy's verdict lets a connection do. It is one object for all requests that
matched the same rules, and each has its own pool of connections: a connection that one rule's
networks made possible never serves a request that other rules let out.

In the mode `report`, what rules refuse goes out and is logged. What is no rule's matter is refused
there, too: metadata services, addresses that are not public, and URLs that have no one host. When a
request is denied, no allow rule lends it networks: a further deny never opens anything.

Which rule a decision names does not depend on the order of a file: it is the one with the most
exact host and, among those, the first by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from stepout.egress.addresses import (
    Address,
    Network,
    carried,
    embedded,
    is_metadata,
    special_range,
)
from stepout.egress.destination import Destination, parse
from stepout.egress.message import Request
from stepout.egress.paths import Path, is_under, read_path
from stepout.errors import EgressRefused

__all__ = [
    "Considered",
    "Decision",
    "Default",
    "Effect",
    "Explanation",
    "Mode",
    "Policy",
    "Reach",
    "Rule",
    "Ruling",
    "Verdict",
]

Default: TypeAlias = Literal["deny", "allow-public"]
Effect: TypeAlias = Literal["allow", "deny"]
Mode: TypeAlias = Literal["enforce", "report"]
Matches: TypeAlias = Callable[[str], object]

EVERY_HOST: Final = "*"
_METHOD: Final = re.compile(r"[A-Z]{1,32}")
_MAX_REMEMBERED: Final = 1_024
"""Combinations of rules, and of hosts and askers, that are remembered; ours."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request goes out, and why.

    `reason` begins with a stable word. `rule` is the rule that decided, None where it was the
    default or no rule's matter. `would_refuse` tells a request that goes out in the mode `report`
    alone. `host` and `port` are None where the URL has none; `addresses` are those that were judged
    so far.
    """

    allowed: bool
    reason: str
    rule: str | None = None
    mode: Mode = "enforce"
    would_refuse: bool = False
    method: str = ""
    host: str | None = None
    port: int | None = None
    addresses: tuple[Address, ...] = ()

    def with_address(self, address: Address, ruling: Ruling) -> Decision:
        """The decision once an address of the destination has been judged."""
        refused = not ruling.allowed
        if refused or (not self.would_refuse and (ruling.would_refuse or self.rule is None)):
            reason, rule = ruling.reason, ruling.rule
        else:
            reason, rule = self.reason, self.rule
        return Decision(
            not refused,
            reason,
            rule,
            self.mode,
            not refused and (self.would_refuse or ruling.would_refuse),
            self.method,
            self.host,
            self.port,
            self.addresses if address in self.addresses else (*self.addresses, address),
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a reach says of one address."""

    allowed: bool
    reason: str
    rule: str | None = None
    would_refuse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a request must be for the rule to match; what is left empty matches everything.

    `hosts` are canonical names and addresses, `*.name` for whatever is below a name, or `*`.
    `paths` are prefixes that end at a slash or at the end. `roles`, `machines` and `connections`
    are ARNs in which `*` stands for any characters but, before the last part, a colon. `networks`
    of an allow rule may be dialled although they are not public; those of a deny rule make it a
    matter of the address instead of the request.
    """

    name: str
    effect: Effect
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Which addresses a connection may have: `allowed` though not public, `denied` though public.

    Compared by identity: a pool of connections belongs to it.
    """

    allowed: tuple[tuple[str | None, Network], ...]
    denied: tuple[tuple[str, Network], ...]
    mode: Mode

    def judge(self, address: Address) -> Ruling:
        """Whether an address may be dialled."""
        if is_metadata(address):
            return Ruling(allowed=False, reason=f"metadata: {address}")
        banned = self._banned(address) if self.denied else None
        if banned is not None and self.mode == "enforce":
            return banned
        special = special_range(address)
        if special is None:
            return _PUBLIC if banned is None else replace(banned, allowed=True, would_refuse=True)
        reached = embedded(address) or address
        for rule, network in self.allowed if banned is None else ():
            if reached in network:
                return Ruling(allowed=True, reason=f"allowed: {network}", rule=rule)
        return Ruling(allowed=False, reason=f"address-{special}")

    def _banned(self, address: Address) -> Ruling | None:
        spelled = (address, *carried(address))
        for rule, network in self.denied:
            if any(one in network for one in spelled):
                return Ruling(allowed=False, reason=f"denied: {rule} ({network})", rule=rule)
        return None


_PUBLIC: Final = Ruling(allowed=True, reason="public")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, where a request goes that may go, and what its connection may reach."""

    decision: Decision
    destination: Destination | None
    reach: Reach


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule beside a request: `missed` is the first of its keys that does not match, or None."""

    rule: Rule
    missed: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict without a name's addresses, and every rule that was looked at for it."""

    verdict: Verdict
    considered: tuple[Considered, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, what holds where none matches, and networks that may be dialled by all."""

    networks: tuple[Network, ...] = ()
    rules: tuple[Rule, ...] = ()
    default: Default = "allow-public"
    mode: Mode = "enforce"
    _index: _Index = field(init=False, repr=False, compare=False)
    _reaches: dict[tuple[_Compiled, ...], Reach] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", _Index(self.rules))

    def judge(self, request: Request) -> Verdict:
        """The verdict on a request. Addresses of a name are judged later, by its reach."""
        method = request.method.upper()
        try:
            if not (request.method.isascii() and _METHOD.fullmatch(method)):
                raise EgressRefused("method-invalid: expected a method of letters")
            destination = parse(request.url)
        except EgressRefused as error:
            decision = Decision(allowed=False, reason=error.reason, mode=self.mode, method=method)
            return Verdict(decision, None, self._reach(()))
        asked = _Asked(request, method, destination)
        verdict = self._judged(asked)
        if destination.address is not None and verdict.decision.allowed:
            address = destination.address
            decision = verdict.decision.with_address(address, verdict.reach.judge(address))
            return replace(verdict, decision=decision)
        return verdict

    def explain(self, request: Request) -> Explanation:
        """The verdict, and what each rule has to do with it; asks and dials nobody."""
        verdict = self.judge(request)
        if verdict.destination is None:
            return Explanation(verdict, ())
        asked = _Asked(request, verdict.decision.method, verdict.destination)
        return Explanation(
            verdict,
            tuple(
                Considered(one.rule, one.missed(asked) if one.has_host(asked) else "hosts")
                for one in self._index.all
            ),
        )

    def judge_address(self, address: Address) -> Ruling:
        """Whether an address may be dialled for a request that no rule speaks of."""
        return self._reach(()).judge(address)

    def _judged(self, asked: _Asked) -> Verdict:
        matching = self._index.matching(asked)
        denies = [one for one in matching if one.rule.effect == "deny" and not one.rule.networks]
        allows = [one for one in matching if one.rule.effect == "allow"]
        if denies:
            name = denies[0].rule.name
            decision = self._refused(asked, f"denied: {name}", name)
            lending = [one for one in matching if one.rule.effect == "deny"]
        elif allows:
            name = allows[0].rule.name
            decision = self._decided(asked, reason=f"allowed: {name}", rule=name)
            lending = matching
        elif self.default == "allow-public":
            decision = self._decided(asked, reason="public")
            lending = matching
        else:
            candidates = self._index.candidates(asked.destination)
            decision = self._refused(asked, _nearest(candidates, asked), None)
            lending = matching
        reach = self._reach(tuple(one for one in lending if one.rule.networks))
        return Verdict(decision, asked.destination, reach)

    def _refused(self, asked: _Asked, reason: str, rule: str | None) -> Decision:
        reports = self.mode == "report"
        return self._decided(asked, allowed=reports, would_refuse=reports, reason=reason, rule=rule)

    def _decided(
        self,
        asked: _Asked,
        *,
        reason: str,
        rule: str | None = None,
        allowed: bool = True,
        would_refuse: bool = False,
    ) -> Decision:
        return Decision(
            allowed=allowed,
            reason=reason,
            rule=rule,
            mode=self.mode,
            would_refuse=would_refuse,
            method=asked.method,
            host=asked.destination.host,
            port=asked.destination.port,
        )

    def _reach(self, rules: tuple[_Compiled, ...]) -> Reach:
        """The reach of these rules: the same object each time."""
        known = self._reaches
        reach = known.get(rules)
        if reach is None:
            if len(known) >= _MAX_REMEMBERED:
                known.clear()
            reach = known[rules] = Reach(
                (*((None, network) for network in self.networks), *_lent(rules, "allow")),
                tuple(_lent(rules, "deny")),
                self.mode,
            )
        return reach


def _lent(rules: Iterable[_Compiled], effect: Effect) -> Iterator[tuple[str, Network]]:
    for one in rules:
        if one.rule.effect == effect:
            for network in one.rule.networks:
                yield one.rule.name, network


def _nearest(candidates: Iterable[_Compiled], asked: _Asked) -> str:
    """Why no rule allows a request, by the rule that comes nearest."""
    where = f"{asked.destination.host}:{asked.destination.port}"
    missed = {one.rule.name: one.missed(asked) for one in candidates if one.rule.effect == "allow"}
    best = min(missed, key=lambda name: (-_RANK[missed[name] or ""], name), default=None)
    if best is None:
        return f"not-allowed: no rule has the host {where}"
    if missed[best] == "paths" and asked.path.is_ambiguous:
        return f"path-ambiguous: {best} compares paths, and servers may read this one in two ways"
    return f"not-allowed: {best} has the host {where}, but other {missed[best]}"


# --- Matching -------------------------------------------------------------------------------------


class _Asked:
    """A request as rules see it."""

    __slots__ = ("destination", "method", "request", "who")

    def __init__(self, request: Request, method: str, destination: Destination) -> None:
        self.request = request
        self.destination = destination
        self.method = method
        self.who = (method, request.role, request.machine, request.connection)

    @property
    def path(self) -> Path:
        return read_path(self.destination.path)


_RANK: Final[Mapping[str, int]] = {
    key: rank
    for rank, key in enumerate(
        ("", "hosts", "ports", "methods", "roles", "machines", "connections", "paths")
    )
}
"""Key of a rule → its place in the order in which keys are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class _Compiled:
    """A rule, with its lists as sets and its patterns as regular expressions; None: everything."""

    rule: Rule
    ports: frozenset[int] | None
    methods: frozenset[str] | None
    roles: Matches | None
    machines: Matches | None
    connections: Matches | None
    paths: tuple[str, ...]

    @classmethod
    def of(cls, rule: Rule) -> _Compiled:
        read = map(read_path, rule.paths)
        return cls(
            rule,
            frozenset(rule.ports) or None,
            frozenset(rule.methods) or None,
            _matching(rule.roles),
            _matching(rule.machines),
            _matching(rule.connections),
            tuple(
                path.text if rule.effect == "allow" else path.finest.rstrip("/") for path in read
            ),
        )

    def has_host(self, asked: _Asked) -> bool:
        hosts = self.rule.hosts
        return not hosts or any(key in hosts for key in _keys(asked.destination))

    def missed(self, asked: _Asked) -> str | None:
        """The first key besides the host that does not match."""
        return self.missed_but_paths(asked) or (None if self.has_path(asked) else "paths")

    def missed_but_paths(self, asked: _Asked) -> str | None:
        if self.ports is not None and asked.destination.port not in self.ports:
            return "ports"
        if self.methods is not None and asked.method not in self.methods:
            return "methods"
        if self.roles is not None and not self.roles(asked.request.role):
            return "roles"
        if self.machines is not None and not self.machines(asked.request.machine):
            return "machines"
        if self.connections is not None and not self.connections(asked.request.connection):
            return "connections"
        return None

    def has_path(self, asked: _Asked) -> bool:
        """An allow rule has a path that every server reads below its prefix; a deny rule one that
        some server might, with other letters or a slash less."""
        if not self.paths:
            return True
        path = asked.path
        if self.rule.effect == "allow":
            return not path.is_ambiguous and any(
                is_under(path.text, prefix) for prefix in self.paths
            )
        return path.is_ambiguous or any(is_under(path.finest, prefix) for prefix in self.paths)


def _matching(patterns: tuple[str, ...]) -> Matches | None:
    """Whether an ARN has one of the patterns. As in IAM's ArnLike, a `*` stays in its part."""
    if not patterns:
        return None
    return re.compile("|".join(map(_pattern, patterns)), re.DOTALL).fullmatch


def _pattern(text: str) -> str:
    if text == "*":
        return ".+"
    parts = text.split(":", 5)
    last = len(parts) - 1
    return ":".join(
        (".*" if at == last else "[^:]*").join(map(re.escape, part.split("*")))
        for at, part in enumerate(parts)
    )


def _keys(destination: Destination) -> Iterator[str]:
    """What a rule may have among its hosts to match a destination, the most exact first."""
    host, address = destination.host, destination.address
    yield host
    if address is not None:
        yield from map(str, carried(address))
    else:
        at = host.find(".")
        while at >= 0:
            yield f"*{host[at:]}"
            at = host.find(".", at + 1)
    yield EVERY_HOST


class _Index:
    """Rules by host: what is looked at for a request does not grow with other hosts' rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        ordered = sorted(rules, key=lambda rule: rule.name)
        self.all = tuple(map(_Compiled.of, ordered))
        self._by_host: dict[str, list[_Compiled]] = {}
        self._remembered: dict[
            tuple[tuple[str, ...], int, str, str, str, str], list[_Compiled]
        ] = {}
        for one in self.all:
            for host in dict.fromkeys(one.rule.hosts or (EVERY_HOST,)):
                self._by_host.setdefault(host, []).append(one)

    def candidates(self, destination: Destination) -> list[_Compiled]:
        """Rules that have a destination's host, those that name it most exactly first."""
        return self._of(self._known(destination))

    def matching(self, asked: _Asked) -> list[_Compiled]:
        """Rules that match a request, those that name its host most exactly first.

        All but the path is remembered: there are few askers and names in rules, and many paths.
        """
        key = (self._known(asked.destination), asked.destination.port, *asked.who)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            found = [one for one in self._of(key[0]) if one.missed_but_paths(asked) is None]
            self._remembered[key] = found
        return [one for one in found if one.has_path(asked)]

    def _known(self, destination: Destination) -> tuple[str, ...]:
        return tuple(key for key in _keys(destination) if key in self._by_host)

    def _of(self, keys: Iterable[str]) -> list[_Compiled]:
        return list(dict.fromkeys(one for key in keys for one in self._by_host[key]))
