"""IAM's evaluation as a reader of the user guide would do it by hand: slowly, from the raw JSON.

It shares no code with `stepout.aws.iam`. Wildcards are a table of positions, variables and operators
are read anew for each request, every statement of every policy is looked at.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Context = Mapping[str, str | list[str]]
Letters = list[tuple[str, bool]]
"""Characters, each with whether it is a wildcard."""


def matches(letters: Letters, text: str) -> bool:
    row = [True] + [False] * len(text)
    for letter, is_wild in letters:
        fresh = [is_wild and letter == "*" and row[0]]
        for at, character in enumerate(text, 1):
            if is_wild and letter == "*":
                fresh.append(fresh[at - 1] or row[at])
            else:
                same = (is_wild and letter == "?") or letter == character
                fresh.append(row[at - 1] and same)
        row = fresh
    return row[-1]


def letters_of(
    text: str, context: Context, *, has_variables: bool, has_wildcards: bool = True
) -> Letters | None:
    """None where a variable has no value."""
    found: Letters = []
    rest = text
    while rest:
        variable = re.match(r"\$\{([^}]*)\}", rest) if has_variables else None
        if variable is None:
            found.append((rest[0], has_wildcards and rest[0] in "*?"))
            rest = rest[1:]
            continue
        rest = rest[variable.end() :]
        value = value_of(variable[1], context)
        if value is None:
            return None
        found += [(letter, False) for letter in value]
    return found


def value_of(variable: str, context: Context) -> str | None:
    if variable in ("*", "?", "$"):
        return variable
    key, *default = re.split(r"\s*,\s*", variable.strip(), maxsplit=1)
    value = lookup(context, key)
    if isinstance(value, str):
        return value
    if value is not None and len(value) == 1:
        return value[0]
    return default[0][1:-1] if default else None


def lookup(context: Context, key: str) -> str | list[str] | None:
    for name, value in context.items():
        if name.lower() == key.lower():
            return value
    return None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def seconds(text: str) -> float:
    if re.fullmatch(r"\d{5,}", text):
        return float(text)
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def one(base: str, wanted: str, found: str, context: Context, has_variables: bool) -> bool:
    """Whether a value of the request is a value of the policy, by an operator without *not*."""
    if base.startswith(("String", "Arn")):
        wild = base in ("StringLike", "ArnEquals", "ArnLike")
        letters = letters_of(wanted, context, has_variables=has_variables, has_wildcards=wild)
        if letters is None:
            return False
        if base.startswith("Arn"):
            return arn(letters, found)
        if base == "StringEqualsIgnoreCase":
            return "".join(letter for letter, _ in letters).casefold() == found.casefold()
        return matches(letters, found)
    if base == "Bool":
        return wanted.lower() == found.lower()
    if base == "BinaryEquals":
        return base64.b64decode(wanted) == base64.b64decode(found)
    if base == "IpAddress":
        return ipaddress.ip_address(found) in ipaddress.ip_network(wanted, strict=False)
    kind = "Numeric" if base.startswith("Numeric") else "Date"
    read = float if kind == "Numeric" else seconds
    left, right = read(found), read(wanted)
    return {
        "Equals": left == right,
        "LessThan": left < right,
        "LessThanEquals": left <= right,
        "GreaterThan": left > right,
        "GreaterThanEquals": left >= right,
    }[base.removeprefix(kind)]


def arn(letters: Letters, found: str) -> bool:
    if letters == [("*", True)]:
        return found.count(":") >= 5
    pattern: list[Letters] = [[]]
    for letter, is_wild in letters:
        if letter == ":" and len(pattern) < 6:
            pattern.append([])
        else:
            pattern[-1].append((letter, is_wild))
    parts = found.split(":", 5)
    return len(parts) == len(pattern) == 6 and all(map(matches, pattern, parts))


def condition(name: str, wanted: Any, value: Any, context: Context, has_variables: bool) -> bool:
    if name == "Null":
        return ("false" if value else "true") in [str(each).lower() for each in listed(wanted)]
    quantifier, _, base = name.rpartition(":")
    if_exists = base.endswith("IfExists")
    base = base.removesuffix("IfExists")
    negated = "Not" in base
    base = base.replace("Not", "")
    values = [] if value is None else listed(value)
    if quantifier and not any(values):
        values = []
    if not values:
        return if_exists or quantifier == "ForAllValues" or (negated and not quantifier)

    def hit(found: str) -> bool:
        return any(one(base, str(each), found, context, has_variables) for each in listed(wanted))

    if quantifier == "ForAllValues":
        return all(hit(found) != negated for found in values)
    if quantifier == "ForAnyValue":
        return any(hit(found) != negated for found in values)
    return any(hit(found) for found in values) != negated


def speaks(statement: Mapping[str, Any], asked: Mapping[str, Any], version: str) -> bool:
    """Whether a statement is about a request: `action`, `resource`, `context`, `names`, `chain`."""
    context, has_variables = asked["context"], version == "2012-10-17"

    def among(element: str, text: str, *, variables: bool) -> bool:
        patterns = [
            letters_of(each, context, has_variables=variables)
            for each in listed(statement[element])
        ]
        return any(letters is not None and matches(letters, text) for letters in patterns)

    def lowered(element: str) -> bool:
        patterns = [
            letters_of(e.lower(), {}, has_variables=False) for e in listed(statement[element])
        ]
        return any(matches(letters or [], asked["action"].lower()) for letters in patterns)

    if not (lowered("Action") if "Action" in statement else not lowered("NotAction")):
        return False
    if "Resource" in statement and not among(
        "Resource", asked["resource"], variables=has_variables
    ):
        return False
    if "NotResource" in statement and among(
        "NotResource", asked["resource"], variables=has_variables
    ):
        return False
    if "Principal" in statement and not set(principals(statement["Principal"])) & asked["names"]:
        return False
    if "NotPrincipal" in statement:
        spared = set(principals(statement["NotPrincipal"]))
        if "*" in spared or asked["chain"] <= spared:
            return False
    return all(
        condition(name, wanted, lookup(context, key), context, has_variables)
        for name, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def principals(element: Any) -> list[str]:
    return (
        ["*"] if element == "*" else [each for value in element.values() for each in listed(value)]
    )


def decide(layers: Mapping[str, Sequence[Mapping[str, Any]]], asked: Mapping[str, Any]) -> str:
    """`allowed`, `explicit-deny` or the first kind of policy that does not allow.

    `layers` are the documents of each kind that there is, in the order in which kinds are asked.
    """

    def any_that(documents: Sequence[Mapping[str, Any]], effect: str) -> bool:
        return any(
            statement["Effect"] == effect
            and speaks(statement, asked, document.get("Version", "2008-10-17"))
            for document in documents
            for statement in listed(document["Statement"])
        )

    if any(any_that(documents, "Deny") for documents in layers.values()):
        return "explicit-deny"
    for kind, documents in layers.items():
        if not any_that(documents, "Allow"):
            return f"no-{kind}-policy-allows"
    return "allowed"
