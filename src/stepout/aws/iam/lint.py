"""What a policy that is correct may say without being meant to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from stepout.aws.iam.conditions import Condition
from stepout.aws.iam.document import Policy, Statement
from stepout.aws.iam.keys import is_unknown, meant
from stepout.aws.iam.kind import Kind
from stepout.aws.iam.patterns import MANY, Pattern, Variable

__all__ = ["Finding", "closed_host", "warnings"]

_ENDPOINT: Final = "states:httpendpoint"
_INVOKE: Final = "states:invokehttpendpoint"

_SCHEME: Final = re.compile(r"https?://")
_HOST: Final = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def closed_host(pattern: str) -> str | None:
    """Why a StringLike pattern for URLs lets other hosts in; None where it does not.

    `https://api.example.com/*` is closed. `*` stands for slashes, too, so that a host is closed
    only if a slash ends it before the first wildcard or variable.
    """
    try:
        parts = Pattern.read(pattern).parts
    except ValueError as error:
        return str(error)
    first = parts[0] if parts else ""
    start = first if isinstance(first, str) else ""
    scheme = _SCHEME.match(start)
    if scheme is None:
        return "it does not begin with https:// and a host, and so may match URLs of any"
    host, slash, _ = start[scheme.end() :].partition("/")
    if not slash and len(parts) > 1:
        return _open_end(scheme[0], host, parts[1])
    if _HOST.fullmatch(host) is None:
        return f"'{host[:60]}' is no host and port"
    return None


def _open_end(scheme: str, host: str, part: object) -> str:
    if isinstance(part, Variable):
        return f"the variable ${{{part.key}}} may bring another host: no slash stands before it"
    example = f"{scheme}{host}.evil.example/" if host else f"{scheme}evil.example/"
    if part is MANY:
        return f"no slash ends the host before the first *, so that it matches {example}, too"
    return "no slash ends the host before the first ?, which may itself be a slash"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something at a place of a policy that may not be meant; `code` is stable."""

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} at {self.path}"


def warnings(policy: Policy) -> list[Finding]:
    """What may not be meant in a policy, in the order of its statements."""
    found: list[Finding] = []
    for statement in policy.statements:
        for check in _CHECKS:
            found += check(statement)
        if policy.kind is Kind.IDENTITY:
            found += _http_endpoints(statement)
        if not policy.has_variables:
            found += _variables_of_old_version(statement)
    return found


def _unknown_keys(statement: Statement) -> Iterator[Finding]:
    for condition in statement.conditions:
        yield from _unknown_key(condition.key, _place(statement, condition))
        for pattern in condition.values:
            for key in pattern.variables():
                yield from _unknown_key(key, _place(statement, condition))
    if statement.resources is not None:
        for pattern in statement.resources.patterns:
            for key in pattern.variables():
                yield from _unknown_key(key, f"{statement.path}.Resource")


def _unknown_key(key: str, path: str) -> Iterator[Finding]:
    if is_unknown(key):
        like = meant(key)
        hint = f"; did you mean {like}?" if like else "."
        yield Finding("unknown-key", path, f"There is no condition key {key[:60]}{hint}")


def _place(statement: Statement, condition: Condition) -> str:
    return f"{statement.path}.Condition.{condition.operator.name}.{condition.key[:60]}"


def _negations(statement: Statement) -> Iterator[Finding]:
    if not statement.allows:
        return
    if statement.actions.is_negated:
        yield Finding(
            "allow-not-action",
            f"{statement.path}.NotAction",
            "Allow with NotAction allows every other action of every service.",
        )
    if statement.spares:
        yield Finding(
            "allow-not-principal",
            f"{statement.path}.NotPrincipal",
            "Allow with NotPrincipal allows everyone else.",
        )
    if statement.resources is not None and statement.resources.is_negated:
        yield Finding(
            "allow-not-resource",
            f"{statement.path}.NotResource",
            "Allow with NotResource allows every other resource.",
        )


def _set_operators(statement: Statement) -> Iterator[Finding]:
    for condition in statement.conditions:
        is_for_all = condition.operator.set_operator == "ForAllValues"
        if statement.allows and is_for_all and not _must_exist(statement, condition.key):
            yield Finding(
                "for-all-values",
                _place(statement, condition),
                "ForAllValues is true when the request has no such key; "
                f'add "Null": {{"{condition.key[:60]}": "false"}}.',
            )


def _must_exist(statement: Statement, key: str) -> bool:
    return any(
        condition.operator.base == "Null"
        and condition.key.lower() == key.lower()
        and [value.text.lower() for value in condition.values] == ["false"]
        for condition in statement.conditions
    )


def _http_endpoints(statement: Statement) -> Iterator[Finding]:
    """An HTTP Task goes where this lets it: with the credential of a connection."""
    if not statement.allows or not statement.speaks_of(_INVOKE):
        return
    resources = statement.resources
    if resources is not None and any(_is_any_machine(each) for each in resources.patterns):
        yield Finding(
            "any-machine",
            f"{statement.path}.Resource",
            "Every state machine with this role may send requests; name the machine.",
        )
    conditions = [c for c in statement.conditions if c.key.lower() == _ENDPOINT]
    if not any(c.operator.base in _RESTRICTING and not c.operator.fails_open for c in conditions):
        yield Finding(
            "any-host",
            f"{statement.path}.Condition",
            "No condition restricts states:HTTPEndpoint: requests may go to any host.",
        )
    for condition in conditions:
        if condition.operator.base in _RESTRICTING:
            yield from _open_hosts(statement, condition)


_RESTRICTING: Final = ("StringLike", "StringEquals", "StringEqualsIgnoreCase")


def _open_hosts(statement: Statement, condition: Condition) -> Iterator[Finding]:
    for pattern in condition.values:
        if condition.operator.base != "StringLike" and not pattern.is_open:
            continue
        why = closed_host(pattern.text)
        if why is not None:
            yield Finding(
                "open-host", _place(statement, condition), f"'{pattern.text[:80]}' is open: {why}."
            )


def _is_any_machine(pattern: Pattern) -> bool:
    """`*`, or an ARN whose resource or name is `*`."""
    text = pattern.text
    return not text.strip("*") or (text.endswith(":*") and text.count(":") < _QUALIFIER)


_QUALIFIER: Final = 7
"""Colons of the ARN of a machine's version or alias."""


_CHECKS: Final[tuple[Callable[[Statement], Iterator[Finding]], ...]] = (
    _unknown_keys,
    _negations,
    _set_operators,
)


def _variables_of_old_version(statement: Statement) -> Iterator[Finding]:
    resources = () if statement.resources is None else statement.resources.patterns
    values = [value for condition in statement.conditions for value in condition.values]
    if any("${" in pattern.text for pattern in (*resources, *values)):
        yield Finding(
            "version-without-variables",
            statement.path,
            'Variables are plain text without "Version": "2012-10-17".',
        )
