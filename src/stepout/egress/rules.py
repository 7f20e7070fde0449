"""The policy file: what may be called, by whom, and what must not be.

    default = "deny"              # or "allow-public"
    mode = "enforce"              # or "report"
    upstreams = true              # allow what the upstreams file names

    [[allow]]
    name = "items"
    hosts = ["api.example.com", "*.example.org"]
    methods = ["GET"]
    paths = ["/v1/"]

    [[deny]]
    name = "not the admins' part"
    paths = ["/v1/admin/"]

`policy.Rule` says what each key means; the theory is in `policy`. All problems of a file are told
at once, each with its place, what was expected and what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final
from urllib.parse import quote

from stepout import tables
from stepout.egress import destination
from stepout.egress.addresses import Network, is_metadata, network
from stepout.egress.paths import read_path
from stepout.egress.policy import EVERY_HOST, Effect, Policy, Rule
from stepout.errors import EgressRefused, SettingsError
from stepout.tables import Raw, Read, Unexpected, boolean, each, members, one_of, shown, unknown

__all__ = ["METHODS", "load", "parse", "upstream_rules"]

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
"""What an HTTP Task can send (developer guide, HTTP Task)."""

DEFAULT_PORT: Final = 443


def load(
    path: Path, *, networks: Iterable[Network] = (), upstreams: Sequence[Rule] | None = None
) -> Policy:
    """The policy of a file; raises `SettingsError` with every problem.

    `networks` may be dialled by all, besides what the file says. `upstreams` are the rules that
    stand for `upstreams = true`, None where there is no upstreams file.
    """
    return _read(tables.load(path, "The egress policy"), str(path), networks, upstreams)


def parse(
    text: str,
    name: str = "The egress policy",
    *,
    networks: Iterable[Network] = (),
    upstreams: Sequence[Rule] | None = None,
) -> Policy:
    """As `load`, of a text."""
    return _read(tables.parse(text, name), name, networks, upstreams)


def _read(
    given: Mapping[str, Raw],
    name: str,
    networks: Iterable[Network],
    upstreams: Sequence[Rule] | None,
) -> Policy:
    reading = _Reading()
    policy = reading.policy(given, tuple(networks), upstreams)
    if reading.problems:
        raise SettingsError("\n".join(f"{name}: {problem}" for problem in reading.problems))
    return policy


def upstream_rules(
    name: str, url: str, methods: Iterable[str], token_url: str = ""
) -> tuple[Rule, ...]:
    """The rules that let out what an upstream needs: its URLs, and where its tokens come from.

    `url` is an https URL whose path is a prefix; `token_url` is called with POST, nothing else.
    """
    rules = [_upstream_rule(f"upstream:{name}", url, tuple(methods))]
    if token_url:
        rules.append(_upstream_rule(f"upstream:{name}:token", token_url, ("POST",)))
    return tuple(rules)


def _upstream_rule(name: str, url: str, methods: tuple[str, ...]) -> Rule:
    place = destination.parse(url)
    return Rule(
        name=name,
        effect="allow",
        hosts=(place.host,),
        ports=(place.port,),
        methods=methods,
        paths=(place.path,),
    )


# --- Reading --------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._'/()-]{0,126}[A-Za-z0-9.')])?")
_PATTERN: Final = re.compile(r"\*|arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:[^\s]+")


class _Reading:
    """Takes what can be read and notes what cannot."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def policy(
        self,
        given: Mapping[str, Raw],
        networks: tuple[Network, ...],
        upstreams: Sequence[Rule] | None,
    ) -> Policy:
        self.problems += unknown("", given, (*_SETTINGS, "allow", "deny"), _ELSEWHERE)
        own = {key: value for key, value in given.items() if key in _SETTINGS}
        settings = members("", own, _SETTINGS, self.problems)
        rules = [*self._rules("allow", given), *self._rules("deny", given)]
        self.problems += _doubles(rules)
        if settings.pop("upstreams", False):
            if upstreams is None:
                self.problems.append(
                    "upstreams: expected a server with --upstreams FILE, found one without."
                )
            rules += upstreams or ()
        return Policy(
            networks=networks,
            rules=tuple(rules),
            default=settings.get("default", "deny"),
            mode=settings.get("mode", "enforce"),
        )

    def _rules(self, effect: Effect, file: Mapping[str, Raw]) -> Iterator[Rule]:
        given = file.get(effect, [])
        if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
            self.problems.append(f"{effect}: expected tables [[{effect}]], found {shown(given)}.")
            return
        for at, table in enumerate(given):
            before = len(self.problems)
            place = f"{effect}[{at}]"
            found = members(f"{place}.", table, _RULE, self.problems, _ELSEWHERE)
            for key in _NEEDED[effect]:
                if key not in table:
                    self.problems.append(f"{place}: expected the key '{key}', found none.")
            if len(self.problems) == before:
                if effect == "allow":
                    found.setdefault("ports", (DEFAULT_PORT,))
                yield Rule(effect=effect, **found)


def _doubles(rules: Iterable[Rule]) -> Iterator[str]:
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            yield f"expected each name once, found two rules named '{rule.name}'."
        seen.add(rule.name)


def _name(raw: Raw) -> str:
    if not isinstance(raw, str) or not _NAME.fullmatch(raw):
        raise Unexpected("a name of letters, digits, blanks and . _ - / ' ( ), 128 at most", raw)
    return raw


def _host(raw: Raw) -> str:
    """A name or address as it is judged; `*.` in front of a name, or `*` alone."""
    if raw == EVERY_HOST:
        return EVERY_HOST
    expected = "a host such as api.example.com, *.example.com or *"
    if not isinstance(raw, str) or not raw:
        raise Unexpected(expected, raw)
    if "://" in raw or "/" in raw:
        raise Unexpected("a host without scheme and path (there is the key 'paths')", raw)
    below = raw.startswith("*.")
    text = raw.removeprefix("*.")
    if "*" in text:
        raise Unexpected(f"{expected}: a * is a whole label, the first", raw)
    if re.fullmatch(r".+:\d+", text) and text.count(":") == 1:
        raise Unexpected("a host without a port (there is the key 'ports')", raw)
    try:
        host, address = destination.host(f"[{text}]" if ":" in text and text[0] != "[" else text)
    except EgressRefused as error:
        raise Unexpected(f"{expected} ({error.reason.partition(': ')[2]})", raw) from None
    if address is not None and is_metadata(address):
        raise Unexpected("no metadata service: none is ever let out", raw)
    if address is not None and below:
        raise Unexpected(expected, raw)
    return f"*.{host}" if below else host


def _port(raw: Raw) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 < raw < 65_536:
        raise Unexpected("a port from 1 to 65535", raw)
    return raw


def _path(raw: Raw) -> str:
    """A prefix as it is sent, which nobody reads in two ways."""
    if not isinstance(raw, str) or not raw.startswith("/") or "?" in raw or "#" in raw:
        raise Unexpected("the beginning of a path, such as /v1/, without a query", raw)
    text = quote(raw.encode("utf-8", "replace"), safe=destination.TARGET_SAFE)
    if "//" in raw or "*" in raw or read_path(text).is_ambiguous:
        raise Unexpected("a path of plain names, without //, dot segments and *", raw)
    return text


def _arn(raw: Raw) -> str:
    if not isinstance(raw, str) or not _PATTERN.fullmatch(raw):
        raise Unexpected("an ARN, in which * stands for any characters of a part", raw)
    return raw


def _network(raw: Raw) -> Network:
    try:
        found = network(raw if isinstance(raw, str) else "")
    except ValueError as error:
        expected = "a network such as 10.1.0.0/16"
        raise Unexpected(
            f"{expected} ({error})" if isinstance(raw, str) else expected, raw
        ) from None
    if found.num_addresses == 1 and is_metadata(found.network_address):
        raise Unexpected("no metadata service: none is ever let out", raw)
    return found


_SETTINGS: Final[Mapping[str, Read]] = {
    "default": one_of("deny", "allow-public"),
    "mode": one_of("enforce", "report"),
    "upstreams": boolean,
}

_RULE: Final[Mapping[str, Read]] = {
    "name": _name,
    "hosts": each(_host),
    "ports": each(_port),
    "methods": each(one_of(*METHODS)),
    "paths": each(_path),
    "roles": each(_arn),
    "machines": each(_arn),
    "connections": each(_arn),
    "networks": each(_network),
}
assert {"effect", *_RULE} == {field.name for field in fields(Rule)}  # noqa: S101 — one table

_NEEDED: Final[Mapping[Effect, tuple[str, ...]]] = {"allow": ("name", "hosts"), "deny": ("name",)}
"""Every host in an allow rule has to be said: `hosts = ["*"]`."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "rule": "[[allow]]' or '[[deny]]",
    "rules": "[[allow]]' or '[[deny]]",
    "effect": "[[allow]]' or '[[deny]]",
    "url": "hosts' and 'paths",
    "urls": "hosts' and 'paths",
    "cidr": "networks",
    "domains": "hosts",
}
"""Words that others use for it → ours."""
