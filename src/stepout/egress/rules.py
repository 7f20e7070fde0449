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
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from stepout.egress import destination
from stepout.egress.addresses import Network, is_metadata, network
from stepout.egress.paths import read_path
from stepout.egress.policy import EVERY_HOST, Effect, Policy, Rule
from stepout.errors import EgressRefused, SettingsError

__all__ = ["METHODS", "load", "parse", "upstream_rules"]

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
"""What an HTTP Task can send (developer guide, HTTP Task)."""

DEFAULT_PORT: Final = 443

MAX_FILE: Final = 4_194_304
"""Characters of a file; ours."""

Raw: TypeAlias = Any


def load(
    path: Path, *, networks: Iterable[Network] = (), upstreams: Sequence[Rule] | None = None
) -> Policy:
    """The policy of a file; raises `SettingsError` with every problem.

    `networks` may be dialled by all, besides what the file says. `upstreams` are the rules that
    stand for `upstreams = true`, None where there is no upstreams file.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"The egress policy {path} cannot be read: {error}.") from None
    if not text.strip():
        # Not a way to forbid everything: whoever writes a file anew empties it first.
        raise SettingsError(f"{path}: Expected rules, or a mode, found an empty file.")
    return parse(text, str(path), networks=networks, upstreams=upstreams)


def parse(
    text: str,
    name: str = "The egress policy",
    *,
    networks: Iterable[Network] = (),
    upstreams: Sequence[Rule] | None = None,
) -> Policy:
    """As `load`, of a text."""
    if len(text) > MAX_FILE:
        raise SettingsError(f"{name}: expected at most {MAX_FILE} characters, found {len(text)}.")
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name} is not TOML: {error}.") from None
    reading = _Reading()
    policy = reading.policy(tables, tuple(networks), upstreams)
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

Read: TypeAlias = Callable[[Raw], Raw]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._'/()-]{0,126}[A-Za-z0-9.')])?")
_PATTERN: Final = re.compile(r"\*|arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:[^\s]+")
_SHOWN: Final = 200


class _Reading:
    """Takes what can be read and notes what cannot."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def policy(
        self,
        tables: Mapping[str, Raw],
        networks: tuple[Network, ...],
        upstreams: Sequence[Rule] | None,
    ) -> Policy:
        self._known("", tables, (*_SETTINGS, "allow", "deny"))
        settings = self._members("", tables, _SETTINGS)
        rules = [*self._rules("allow", tables), *self._rules("deny", tables)]
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

    def _rules(self, effect: Effect, tables: Mapping[str, Raw]) -> Iterator[Rule]:
        given = tables.get(effect, [])
        if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
            self.problems.append(f"{effect}: expected tables [[{effect}]], found {_shown(given)}.")
            return
        for at, table in enumerate(given):
            before = len(self.problems)
            place = f"{effect}[{at}]"
            self._known(f"{place}.", table, tuple(_RULE))
            members = self._members(f"{place}.", table, _RULE)
            for key in _NEEDED[effect]:
                if key not in table:
                    self.problems.append(f"{place}: expected the key '{key}', found none.")
            if len(self.problems) == before:
                if effect == "allow":
                    members.setdefault("ports", (DEFAULT_PORT,))
                yield Rule(effect=effect, **members)

    def _known(self, place: str, table: Mapping[str, Raw], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                near = _ELSEWHERE.get(key) or next(iter(get_close_matches(key, known, 1)), None)
                hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(known)}."
                shown = key if key.isidentifier() else _shown(key)
                self.problems.append(f"{place}{shown}: there is no such key; {hint}")

    def _members(
        self, place: str, table: Mapping[str, Raw], readers: Mapping[str, Read]
    ) -> dict[str, Raw]:
        found = {}
        for key, read in readers.items():
            if key in table:
                try:
                    found[key] = read(table[key])
                except _Problems as problems:
                    self.problems += [f"{place}{key}{problem}" for problem in problems.found]
        return found


class _Problems(Exception):
    def __init__(self, *found: str) -> None:
        self.found = found
        super().__init__(*found)


def _problem(expected: str, raw: Raw) -> _Problems:
    return _Problems(f": expected {expected}, found {_shown(raw)}.")


def _shown(raw: Raw) -> str:
    text = repr(raw)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _doubles(rules: Iterable[Rule]) -> Iterator[str]:
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            yield f"expected each name once, found two rules named '{rule.name}'."
        seen.add(rule.name)


def _each(read: Read) -> Read:
    """A list of at least one; each member that cannot be read is a problem with its place."""

    def read_list(raw: Raw) -> tuple[Raw, ...]:
        if not isinstance(raw, list) or not raw:
            raise _problem("a list with at least one member", raw)
        found: list[Raw] = []
        problems: list[str] = []
        for at, member in enumerate(raw):
            try:
                found.append(read(member))
            except _Problems as error:
                problems += [f"[{at}]{problem}" for problem in error.found]
        if problems:
            raise _Problems(*problems)
        return tuple(dict.fromkeys(found))

    return read_list


def _one_of(*words: str) -> Read:
    def read(raw: Raw) -> str:
        if raw not in words:
            raise _problem(" or ".join(f"'{word}'" for word in words), raw)
        return str(raw)

    return read


def _boolean(raw: Raw) -> bool:
    if not isinstance(raw, bool):
        raise _problem("true or false", raw)
    return raw


def _name(raw: Raw) -> str:
    if not isinstance(raw, str) or not _NAME.fullmatch(raw):
        raise _problem("a name of letters, digits, blanks and . _ - / ' ( ), 128 at most", raw)
    return raw


def _host(raw: Raw) -> str:
    """A name or address as it is judged; `*.` in front of a name, or `*` alone."""
    if raw == EVERY_HOST:
        return EVERY_HOST
    expected = "a host such as api.example.com, *.example.com or *"
    if not isinstance(raw, str) or not raw:
        raise _problem(expected, raw)
    if "://" in raw or "/" in raw:
        raise _problem("a host without scheme and path (there is the key 'paths')", raw)
    below = raw.startswith("*.")
    text = raw.removeprefix("*.")
    if "*" in text:
        raise _problem(f"{expected}: a * is a whole label, the first", raw)
    if re.fullmatch(r".+:\d+", text) and text.count(":") == 1:
        raise _problem("a host without a port (there is the key 'ports')", raw)
    try:
        host, address = destination.host(f"[{text}]" if ":" in text and text[0] != "[" else text)
    except EgressRefused as error:
        raise _problem(f"{expected} ({error.reason.partition(': ')[2]})", raw) from None
    if address is not None and is_metadata(address):
        raise _problem("no metadata service: none is ever let out", raw)
    if address is not None and below:
        raise _problem(expected, raw)
    return f"*.{host}" if below else host


def _port(raw: Raw) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 < raw < 65_536:
        raise _problem("a port from 1 to 65535", raw)
    return raw


def _path(raw: Raw) -> str:
    """A prefix as it is sent, which nobody reads in two ways."""
    if not isinstance(raw, str) or not raw.startswith("/") or "?" in raw or "#" in raw:
        raise _problem("the beginning of a path, such as /v1/, without a query", raw)
    text = quote(raw.encode("utf-8", "replace"), safe=destination.TARGET_SAFE)
    if "//" in raw or "*" in raw or read_path(text).is_ambiguous:
        raise _problem("a path of plain names, without //, dot segments and *", raw)
    return text


def _arn(raw: Raw) -> str:
    if not isinstance(raw, str) or not _PATTERN.fullmatch(raw):
        raise _problem("an ARN, in which * stands for any characters of a part", raw)
    return raw


def _network(raw: Raw) -> Network:
    try:
        found = network(raw if isinstance(raw, str) else "")
    except ValueError as error:
        expected = "a network such as 10.1.0.0/16"
        raise _problem(f"{expected} ({error})" if isinstance(raw, str) else expected, raw) from None
    if found.num_addresses == 1 and is_metadata(found.network_address):
        raise _problem("no metadata service: none is ever let out", raw)
    return found


_SETTINGS: Final[Mapping[str, Read]] = {
    "default": _one_of("deny", "allow-public"),
    "mode": _one_of("enforce", "report"),
    "upstreams": _boolean,
}

_RULE: Final[Mapping[str, Read]] = {
    "name": _name,
    "hosts": _each(_host),
    "ports": _each(_port),
    "methods": _each(_one_of(*METHODS)),
    "paths": _each(_path),
    "roles": _each(_arn),
    "machines": _each(_arn),
    "connections": _each(_arn),
    "networks": _each(_network),
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
