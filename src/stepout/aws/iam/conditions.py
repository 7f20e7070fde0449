"""Conditions: what a statement asks of the request's context.

A condition holds when the key's value matches one of the policy's values; a negated operator holds
exactly when the operator that it negates does not. So several values are *or*, after a negation
*neither … nor*, and an absent key fails the one and passes the other. Of a key with several values
a plain operator asks that one of them matches; `ForAnyValue:` and `ForAllValues:` ask the operator,
negated or not, of each.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Conditions with
multiple context keys or values".
"""

from __future__ import annotations

import operator as compare
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias

from stepout.aws.iam import operands
from stepout.aws.iam.index import Index
from stepout.aws.iam.patterns import Pattern
from stepout.aws.iam.request import Context, Values
from stepout.aws.iam.spelling import nearest

__all__ = ["Condition", "Operator", "operand", "operator_of", "suggestion"]

Test: TypeAlias = Callable[[str, Context], bool]
"""Whether a value of the request matches one of the policy's."""

Compile: TypeAlias = Callable[[Sequence[Pattern]], Test]


@dataclass(frozen=True, slots=True)
class _Base:
    """An operator without what may stand before and after its name."""

    compile: Compile
    is_negated: bool = False
    takes_variables: bool = False
    takes_wildcards: bool = False


_FEW: Final = 4
"""Up to so many patterns are tried one after the other; more are indexed."""


def _equal(patterns: Sequence[Pattern]) -> Test:
    exact = frozenset(pattern.prefix for pattern in patterns if not pattern.is_open)
    rest = [pattern for pattern in patterns if pattern.is_open]
    if not rest:
        return lambda value, _context: value in exact
    return lambda value, context: (
        value in exact or any(pattern.matches(value, context) for pattern in rest)
    )


def _equal_ignoring_case(patterns: Sequence[Pattern]) -> Test:
    exact = frozenset(pattern.prefix.casefold() for pattern in patterns if not pattern.is_open)
    rest = [pattern for pattern in patterns if pattern.is_open]

    def test(value: str, context: Context) -> bool:
        folded = value.casefold()
        if folded in exact:
            return True
        resolved = (pattern.resolved(context) for pattern in rest)
        return any(
            parts is not None and "".join(map(str, parts)).casefold() == folded
            for parts in resolved
        )

    return test


def _like(patterns: Sequence[Pattern]) -> Test:
    if len(patterns) == 1:
        return patterns[0].matches
    if len(patterns) <= _FEW:
        return lambda value, context: any(p.matches(value, context) for p in patterns)
    index = Index((pattern, None) for pattern in patterns)
    return lambda value, context: any(
        pattern.matches(value, context) for pattern, _ in index.candidates(value)
    )


def _arn_like(patterns: Sequence[Pattern]) -> Test:
    known = [operands.arn_matcher(p.known()) for p in patterns if not p.is_open]
    rest = [pattern for pattern in patterns if pattern.is_open]

    def test(value: str, context: Context) -> bool:
        parts = value.split(":", operands.ARN_PARTS - 1)
        if len(parts) != operands.ARN_PARTS:
            return False
        return any(matches(parts) for matches in known) or any(
            _is_arn(pattern, parts, context) for pattern in rest
        )

    return test


def _is_arn(pattern: Pattern, parts: Sequence[str], context: Context) -> bool:
    resolved = pattern.resolved(context)
    if resolved is None:
        return False
    try:
        return operands.arn_matcher(resolved)(parts)
    except ValueError:  # With its values it is no ARN.
        return False


def _boolean(patterns: Sequence[Pattern]) -> Test:
    for pattern in patterns:
        if not pattern.is_open:
            operands.boolean(pattern.prefix)
    return _equal_ignoring_case(patterns)


def _binary(patterns: Sequence[Pattern]) -> Test:
    wanted = frozenset(operands.binary(pattern.prefix) for pattern in patterns)

    def test(value: str, _context: Context) -> bool:
        try:
            return operands.binary(value) in wanted
        except ValueError:
            return False

    return test


def _in_network(patterns: Sequence[Pattern]) -> Test:
    networks = [operands.network(pattern.prefix) for pattern in patterns]

    def test(value: str, _context: Context) -> bool:
        found = operands.address(value)
        if found is None:
            return False
        version, bits = found
        return any(v == version and bits & mask == net for v, net, mask in networks)

    return test


def _ordered(
    read: Callable[[str], Decimal], relation: Callable[[Decimal, Decimal], bool]
) -> Compile:
    """Numbers and times, which compare in the same ways."""

    def compile_(patterns: Sequence[Pattern]) -> Test:
        wanted = [read(pattern.prefix) for pattern in patterns]

        def test(value: str, _context: Context) -> bool:
            try:
                found = read(value)
            except ValueError:
                return False
            return any(relation(found, each) for each in wanted)

        return test

    return compile_


def _null(patterns: Sequence[Pattern]) -> Test:
    """True or false, which `Condition.of` compares with whether the key is absent."""
    wanted = frozenset("true" if operands.boolean(p.prefix) else "false" for p in patterns)
    return lambda value, _context: value in wanted


def _and_negated(name: str, negated: str, base: _Base) -> dict[str, _Base]:
    opposite = _Base(
        base.compile,
        is_negated=True,
        takes_variables=base.takes_variables,
        takes_wildcards=base.takes_wildcards,
    )
    return {name: base, negated: opposite}


def _comparisons(prefix: str, read: Callable[[str], Decimal]) -> dict[str, _Base]:
    return {
        **_and_negated(f"{prefix}Equals", f"{prefix}NotEquals", _Base(_ordered(read, compare.eq))),
        f"{prefix}LessThan": _Base(_ordered(read, compare.lt)),
        f"{prefix}LessThanEquals": _Base(_ordered(read, compare.le)),
        f"{prefix}GreaterThan": _Base(_ordered(read, compare.gt)),
        f"{prefix}GreaterThanEquals": _Base(_ordered(read, compare.ge)),
    }


_TEXT: Final = _Base(_equal, takes_variables=True)
_FOLDED: Final = _Base(_equal_ignoring_case, takes_variables=True)
_LIKE: Final = _Base(_like, takes_variables=True, takes_wildcards=True)
_ARN: Final = _Base(_arn_like, takes_variables=True, takes_wildcards=True)

_BASES: Final[dict[str, _Base]] = {
    **_and_negated("StringEquals", "StringNotEquals", _TEXT),
    **_and_negated("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _FOLDED),
    **_and_negated("StringLike", "StringNotLike", _LIKE),
    **_comparisons("Numeric", operands.number),
    **_comparisons("Date", operands.moment),
    "Bool": _Base(_boolean, takes_variables=True),
    "BinaryEquals": _Base(_binary),
    **_and_negated("IpAddress", "NotIpAddress", _Base(_in_network)),
    **_and_negated("ArnEquals", "ArnNotEquals", _ARN),
    **_and_negated("ArnLike", "ArnNotLike", _ARN),
    "Null": _Base(_null),
}

_NULL: Final = "Null"
_ALL: Final = "ForAllValues"
_ANY: Final = "ForAnyValue"
_OPERATOR: Final = re.compile(rf"(?:({_ALL}|{_ANY}):)?([A-Za-z]+?)(IfExists)?")


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator as it is named: `ForAnyValue:StringLikeIfExists` in its parts."""

    name: str
    base: str
    set_operator: str | None
    if_exists: bool

    @property
    def is_negated(self) -> bool:
        return _BASES[self.base].is_negated

    @property
    def fails_open(self) -> bool:
        """Whether a key that is absent passes."""
        return self.if_exists or self.set_operator == _ALL or self.is_negated


def operator_of(name: str) -> Operator | None:
    """The operator of a name, if there is one; the case of names matters."""
    found = _OPERATOR.fullmatch(name)
    if found is None or found[2] not in _BASES:
        return None
    if found[2] == _NULL and name != _NULL:
        return None  # It takes neither IfExists nor a set operator.
    return Operator(name, found[2], found[1], found[3] is not None)


def suggestion(name: str) -> str | None:
    """The operator that a name may have been meant to be."""
    before, colon, rest = name.rpartition(":")
    base = rest.removesuffix("IfExists")
    fixed = nearest(base, _BASES)
    quantifier = nearest(before, (_ALL, _ANY)) if colon else ""
    if fixed is None or quantifier is None:
        return None
    meant = f"{quantifier}{colon}{fixed}{rest[len(base) :]}"
    return meant if operator_of(meant) else None


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of one operator, with the policy's values for it."""

    operator: Operator
    key: str
    values: tuple[Pattern, ...]
    holds: Callable[[Context], bool] = field(repr=False, compare=False)

    @classmethod
    def of(cls, operator: Operator, key: str, values: Sequence[Pattern]) -> Condition:
        """Compile a condition of values that `operand` has read."""
        test = _BASES[operator.base].compile(values)
        return cls(operator, key, tuple(values), _holds(operator, key.lower(), test))


def operand(operator: Operator, text: str, *, variables: bool) -> Pattern:
    """A value for an operator; raises `ValueError` with what was expected."""
    base = _BASES[operator.base]
    pattern = Pattern.read(
        text, wildcards=base.takes_wildcards, variables=variables and base.takes_variables
    )
    try:
        base.compile([pattern])
    except ValueError as error:
        raise ValueError(f"{error}, found '{text[:60]}'") from error
    return pattern


def _given(values: Values | None) -> Sequence[str]:
    if values is None:
        return ()
    return (values,) if isinstance(values, str) else values


def _holds(operator: Operator, key: str, test: Test) -> Callable[[Context], bool]:
    is_negated = operator.is_negated
    if operator.base == _NULL:
        return lambda context: test("false" if _given(context.get(key)) else "true", context)
    if operator.set_operator is None:
        return _plain(key, test, if_exists=operator.if_exists, is_negated=is_negated)
    return _of_each(
        key,
        test,
        quantifier=all if operator.set_operator == _ALL else any,
        absent=operator.if_exists or operator.set_operator == _ALL,
        is_negated=is_negated,
    )


def _plain(key: str, test: Test, *, if_exists: bool, is_negated: bool) -> Callable[[Context], bool]:
    absent = if_exists or is_negated

    def holds(context: Context) -> bool:
        value = context.get(key)
        if isinstance(value, str):
            return test(value, context) is not is_negated
        if not value:
            return absent
        return any(test(each, context) for each in value) is not is_negated

    return holds


def _of_each(
    key: str,
    test: Test,
    *,
    quantifier: Callable[[list[bool]], bool],
    absent: bool,
    is_negated: bool,
) -> Callable[[Context], bool]:
    def holds(context: Context) -> bool:
        values = _given(context.get(key))
        # Values that are all empty texts count as none (IAM user guide, "Set operators").
        if not any(values):
            return absent
        return quantifier([test(value, context) is not is_negated for value in values])

    return holds
