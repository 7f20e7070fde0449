"""Policy documents: from text to statements, or all that is wrong with them.

Source: IAM user guide, "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy
language". Where IAM is lenient and the policy would not do what it seems to say (an empty list, an
operator without keys, a variable that is not closed), this reader is not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias, TypeGuard

from stepout.aws.iam import principals
from stepout.aws.iam.conditions import Condition, Operator, operand, operator_of, suggestion
from stepout.aws.iam.kind import Kind, Rules, rules_of
from stepout.aws.iam.patterns import Pattern, Variable
from stepout.aws.iam.principals import Naming, Principals
from stepout.aws.iam.request import Context, Principal
from stepout.aws.iam.spelling import nearest
from stepout.errors import PolicyError, PolicyProblem

__all__ = ["LONGEST", "Policy", "Selection", "Statement"]

Json: TypeAlias = Any

LONGEST: Final = 131_072
"""Characters of a document with its white space (IAM API reference, CreatePolicy)."""

_MOST_PROBLEMS: Final = 100
"""So many are told; finding more of them in a hostile document helps nobody."""

# IAM and STS quotas, "IAM name requirements".
_FOREIGN: Final = re.compile(r"[^\t\n\r\x20-\xff]")

_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_ELEMENTS: Final = ("Version", "Id", "Statement")
_STATEMENT: Final = (
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource"),
    *("NotResource", "Condition"),
)
_EFFECTS: Final = ("Allow", "Deny")

_SID: Final = re.compile(r"[0-9A-Za-z]*")
_ACTION: Final = re.compile(r"\*+|[0-9A-Za-z*?-]+:[0-9A-Za-z*?]+")
_ANY_RESOURCE: Final = re.compile(r"\*+")
_KEY: Final = re.compile(r"[0-9A-Za-z-]+:[^*?]+")

_SEGMENTS: Final = 5
"""Colons of an ARN before its resource, where variables may stand."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Action or Resource, or (`is_negated`) everything but NotAction or NotResource."""

    patterns: tuple[Pattern, ...]
    is_negated: bool

    def covers(self, text: str, context: Context) -> bool:
        return any(each.matches(text, context) for each in self.patterns) is not self.is_negated


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `actions` are in lower case; without `resources` it speaks of its own."""

    label: str
    """How it is called: its Sid or, where it has none, `Statement[2]`."""
    path: str
    allows: bool
    actions: Selection
    resources: Selection | None
    principals: Principals | None
    spares: bool
    """Whether `principals` are those of NotPrincipal."""
    conditions: tuple[Condition, ...]

    def speaks_of(self, action: str) -> bool:
        """Whether an action, in lower case, is one of its own."""
        covered = any(pattern.covers(action) for pattern in self.actions.patterns)
        return covered is not self.actions.is_negated

    def is_about(self, resource: str, context: Context) -> bool:
        return self.resources is None or self.resources.covers(resource, context)

    def asked_keys(self) -> Iterator[str]:
        """The condition keys that it looks at, in lower case: those of its conditions, and those
        that stand as variables in its resources and values."""
        patterns = () if self.resources is None else self.resources.patterns
        yield from _variables(patterns)
        for condition in self.conditions:
            yield condition.key.lower()
            yield from _variables(condition.values)

    def naming(self, principal: Principal) -> Naming | None:
        """How it names the principal; None where it speaks of others."""
        if self.principals is None:
            return Naming.ITSELF
        if self.spares:
            # Whom NotPrincipal does not spare it speaks of as it speaks of everyone.
            return None if self.principals.spares(principal) else Naming.ITSELF
        return self.principals.naming(principal)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read and compiled; `name` is what reasons call it."""

    name: str
    kind: Kind
    has_variables: bool
    """Whether its version knows variables."""
    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, name: str, document: str | Mapping[str, Json], *, kind: Kind) -> Policy:
        """Read a document; raises `PolicyError` with every problem."""
        reader = _Reader(kind)
        statements: tuple[Statement, ...] = ()
        with suppress(_Stop):
            statements = reader.statements(document)
        if reader.problems:
            raise PolicyError(name, reader.problems)
        return cls(name, kind, reader.has_variables, statements)


def _variables(patterns: Iterable[Pattern]) -> Iterator[str]:
    return (part.key for each in patterns for part in each.parts if isinstance(part, Variable))


class _Stop(Exception):
    """There is nothing more to read, or problems enough."""


class _Object(dict[str, Json]):
    """A JSON object that remembers keys that came twice."""

    def __init__(self, pairs: Sequence[tuple[str, Json]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(pairs) > len(self) else {}
        self.repeated = [key for key, count in counts.items() if count > 1]


class _Number(str):
    """A number, as the document writes it."""

    __slots__ = ()


def _is_text(value: Json) -> TypeGuard[str]:
    return isinstance(value, str) and not isinstance(value, _Number)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no value of JSON")


_KINDS_OF_JSON: Final = {dict: "an object", _Object: "an object", list: "a list", bool: "a boolean"}


def _shown(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, _Number):
        return f"the number {value[:40]}"
    if isinstance(value, str):
        return f"'{value[:60]}'"
    return _KINDS_OF_JSON[type(value)]


def _hint(meant: str | None) -> str:
    return f"; did you mean {meant}?" if meant else ""


class _Reader:
    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._rules: Rules = rules_of(kind)
        self.problems: list[PolicyProblem] = []
        self.has_variables = False

    def statements(self, document: str | Mapping[str, Json]) -> tuple[Statement, ...]:
        value = self._json(document)
        if not isinstance(value, _Object):
            self._problem("", f"expected an object, found {_shown(value)}")
            raise _Stop
        self._names("", value, _ELEMENTS)
        version = value.get("Version", _VERSIONS[0])
        if version not in _VERSIONS:
            self._problem("Version", f"expected {_either(_VERSIONS)}, found {_shown(version)}")
        self.has_variables = version == _VERSIONS[1]
        if not _is_text(value.get("Id", "")):
            self._problem("Id", f"expected a text, found {_shown(value['Id'])}")
        if "Statement" not in value:
            self._problem("Statement", "expected one statement or a list of them, found none")
            raise _Stop
        return tuple(self._statements(value["Statement"]))

    def _json(self, document: str | Mapping[str, Json]) -> Json:
        try:
            text = document if isinstance(document, str) else json.dumps(document, default=dict)
            if len(text) > LONGEST:
                self._problem("", f"expected at most {LONGEST:,} characters, found {len(text):,}")
                raise _Stop
            value = json.loads(
                text,
                object_pairs_hook=_Object,
                parse_int=_Number,
                parse_float=_Number,
                parse_constant=_refuse,
            )
        except RecursionError as error:
            self._problem("", "expected JSON of few levels, found too many")
            raise _Stop from error
        except (TypeError, ValueError) as error:
            self._problem("", f"expected JSON: {error}")
            raise _Stop from error
        self._measure(text)
        return value

    def _measure(self, text: str) -> None:
        size = sum(map(len, text.split()))
        largest = self._rules.largest
        if size > largest:
            found = f"found {size:,}"
            self._problem("", f"expected at most {largest:,} characters but for space, {found}")
            raise _Stop
        foreign = _FOREIGN.search(text)
        if foreign is not None:
            self._problem("", f"expected characters up to U+00FF, found U+{ord(foreign[0]):04X}")

    def _problem(self, path: str, message: str) -> None:
        end = "" if message.endswith("?") else "."
        self.problems.append(PolicyProblem(path, f"{message}{end}"))
        if len(self.problems) >= _MOST_PROBLEMS:
            raise _Stop

    def _names(self, path: str, value: _Object, known: Sequence[str]) -> None:
        self._repeated(path, value)
        for name in value:
            if name not in known:
                where = f"{path}.{name[:60]}" if path else name[:60]
                self._problem(where, f"there is no such element{_hint(nearest(name, known))}")

    def _repeated(self, path: str, value: _Object) -> None:
        for name in value.repeated:
            self._problem(path, f"expected each name once, found '{name[:60]}' again")

    def _statements(self, value: Json) -> Iterator[Statement]:
        listed = value if isinstance(value, list) else [value]
        if not listed:
            self._problem("Statement", "expected a statement, found an empty list")
        sids: set[str] = set()
        for index, item in enumerate(listed):
            path = f"Statement[{index}]"
            if not isinstance(item, _Object):
                self._problem(path, f"expected an object, found {_shown(item)}")
                continue
            sid = self._sid(path, item, sids)
            statement = self._statement(path, item, sid)
            if statement is not None:
                yield statement

    def _sid(self, path: str, item: _Object, sids: set[str]) -> str:
        sid = item.get("Sid", "")
        where = f"{path}.Sid"
        if not _is_text(sid):
            self._problem(where, f"expected a text, found {_shown(sid)}")
            return ""
        # Only IAM restricts the characters; Sids of resources hold others in AWS's own examples.
        free = self._kind in (Kind.RESOURCE, Kind.ENDPOINT)
        if not free and _SID.fullmatch(sid) is None:
            self._problem(where, f"expected letters and digits only, found '{sid[:60]}'")
        if sid and sid in sids:
            self._problem(where, f"expected each Sid once, found '{sid[:60]}' again")
        sids.add(sid)
        return sid

    def _statement(self, path: str, item: _Object, sid: str) -> Statement | None:
        self._names(path, item, _STATEMENT)
        effect = item.get("Effect")
        if effect not in _EFFECTS:
            found = "none" if effect is None else _shown(effect)
            self._problem(f"{path}.Effect", f"expected {_either(_EFFECTS)}, found {found}")
        actions = self._selection(path, item, "Action", self._action)
        resources = self._resources(path, item)
        named = self._principals(path, item)
        conditions = tuple(self._conditions(f"{path}.Condition", item))
        if actions is None:
            return None
        return Statement(
            label=sid or path,
            path=path,
            allows=effect == "Allow",
            actions=actions,
            resources=resources,
            principals=named,
            spares="NotPrincipal" in item,
            conditions=conditions,
        )

    def _either_element(self, path: str, item: _Object, name: str) -> str | None:
        """Which of an element and its negation there is, if there is exactly one."""
        found = [each for each in (name, f"Not{name}") if each in item]
        if len(found) == 1:
            return found[0]
        told = "both" if found else "neither"
        self._problem(path, f"expected either {name} or Not{name}, found {told}")
        return None

    def _selection(
        self, path: str, item: _Object, name: str, read: Callable[[str], Pattern]
    ) -> Selection | None:
        element = self._either_element(path, item, name)
        if element is None:
            return None
        where = f"{path}.{element}"
        patterns = []
        for place, text in self._texts(where, item[element]):
            try:
                patterns.append(read(text))
            except ValueError as error:
                self._problem(place, str(error))
        return Selection(tuple(patterns), is_negated=element != name)

    def _texts(
        self, path: str, value: Json, *, is_condition: bool = False
    ) -> Iterator[tuple[str, str]]:
        """The texts of a text or a list of texts, each with its place."""
        if isinstance(value, list):
            items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        else:
            items = [(path, value)]
        if not items:
            self._problem(path, "expected a text or several, found an empty list")
        for place, item in items:
            if is_condition and isinstance(item, bool):
                yield place, "true" if item else "false"
            elif _is_text(item) or (is_condition and isinstance(item, _Number)):
                yield place, str(item)
            else:
                self._problem(place, f"expected a text, found {_shown(item)}")

    def _action(self, text: str) -> Pattern:
        if _ACTION.fullmatch(text) is None:
            raise ValueError(f"expected '*' or service:Action, found '{text[:60]}'")
        if self._kind is Kind.TRUST and not text.lower().startswith("sts:"):
            raise ValueError(
                f"expected an action of sts, as in sts:AssumeRole, found '{text[:60]}'"
            )
        return Pattern.read(text.lower(), variables=False)

    def _resources(self, path: str, item: _Object) -> Selection | None:
        if self._rules.has_resource:
            return self._selection(path, item, "Resource", self._resource)
        for name in ("Resource", "NotResource"):
            if name in item:
                self._problem(
                    f"{path}.{name}", "expected none: the policy speaks of what it is attached to"
                )
        return None

    def _resource(self, text: str) -> Pattern:
        if _ANY_RESOURCE.fullmatch(text) is None and not text.startswith("arn:"):
            raise ValueError(f"expected '*' or an ARN, found '{text[:60]}'")
        pattern = Pattern.read(text, variables=self.has_variables)
        if pattern.is_open and pattern.prefix.count(":") < _SEGMENTS:
            raise ValueError(
                f"expected variables behind the fifth colon of an ARN only, found '{text[:60]}'"
            )
        return pattern

    def _principals(self, path: str, item: _Object) -> Principals | None:
        if self._rules.has_principal:
            element = self._either_element(path, item, "Principal")
            if element is None:
                return None
            return Principals.of(self._named(f"{path}.{element}", item[element]))
        for name in ("Principal", "NotPrincipal"):
            if name in item:
                self._problem(
                    f"{path}.{name}", "expected none: the policy speaks of who it is attached to"
                )
        return None

    def _named(self, path: str, value: Json) -> Iterator[tuple[str, str]]:
        if value == "*":
            value = _Object([("AWS", "*")])
        if not isinstance(value, _Object) or not value:
            found = "an empty object" if value == {} else _shown(value)
            self._problem(path, f"expected '*' or an object such as {{\"AWS\": …}}, found {found}")
            return
        self._names(path, value, principals.TYPES)
        for type_, texts in value.items():
            for place, text in self._texts(f"{path}.{type_[:60]}", texts):
                try:
                    named = principals.classify(type_, text)
                except ValueError as error:
                    self._problem(place, str(error))
                    continue
                if named is not None:
                    yield named

    def _conditions(self, path: str, item: _Object) -> Iterator[Condition]:
        for name, keys in self._members_of(path, item.get("Condition", _Object([]))):
            where = f"{path}.{name[:60]}"
            operator = operator_of(name)
            if operator is None:
                self._problem(where, f"there is no such operator{_hint(suggestion(name))}")
                continue
            if keys == {}:
                self._problem(where, "expected a key and its values, found an empty object")
            for key, values in self._members_of(where, keys):
                place = f"{where}.{key[:60]}"
                if _KEY.fullmatch(key) is None:
                    self._problem(place, "expected a key such as aws:SourceIp")
                yield Condition.of(operator, key, self._operands(operator, place, values))

    def _operands(self, operator: Operator, path: str, values: Json) -> list[Pattern]:
        found = []
        for place, text in self._texts(path, values, is_condition=True):
            try:
                found.append(operand(operator, text, variables=self.has_variables))
            except ValueError as error:
                self._problem(place, str(error))
        return found

    def _members_of(self, path: str, value: Json) -> Sequence[tuple[str, Json]]:
        if not isinstance(value, _Object):
            self._problem(path, f"expected an object, found {_shown(value)}")
            return ()
        self._repeated(path, value)
        return list(value.items())


def _either(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)
