"""Users, roles and policies of one file, as IAM has them.

    [user.app]
    access_key_id = "AKIA…"
    secret_access_key = { env = "APP_SECRET" }
    policies = ["call-the-gateway"]

    [role.orders]                                # what machines run as
    policies = ["call-orders"]
    trust = { file = "states-may-assume.json" }

    [policy.call-the-gateway]
    file = "call-the-gateway.json"               # IAM's own JSON, or a TOML table of it

    [endpoint]                                   # as an interface endpoint's
    policy = { file = "endpoint.json" }

All problems of the file and its policies are told at once, never with a secret in them.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from stepout import tables
from stepout.aws.arn import Arn, partition_of
from stepout.aws.iam import Grants, Kind, Policy, Principal
from stepout.errors import PolicyError, SettingsError
from stepout.secret import Secret, Source, source
from stepout.tables import Raw

__all__ = [
    "MACHINE_TRUST",
    "Directories",
    "Directory",
    "Endpoint",
    "Role",
    "User",
    "machine_role",
    "role_arn",
]

MANAGED: Final[Mapping[str, Raw]] = {
    name: {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
    }
    for name, action in {
        "AdministratorAccess": "*",
        "AWSStepFunctionsFullAccess": "states:*",
    }.items()
}
"""AWS's managed policies that can be named without being written down."""

MAX_KEYS: Final = 2
"""Access keys of a user (IAM quotas): one in use, one that takes its place."""

DEFAULT_SESSION: Final = 3_600
"""Seconds that a role's session may last where the role does not say (IAM user guide)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with access keys."""

    name: str
    arn: str
    id: str
    keys: Mapping[str, Secret] = field(repr=False)
    """Access key id → secret access key."""
    policies: tuple[Policy, ...]
    grants: Grants
    principal: Principal


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a machine runs as, or a user becomes for a while."""

    name: str
    arn: str
    id: str
    trust: Policy
    """Who may assume it."""
    policies: tuple[Policy, ...]
    boundary: Policy | None
    grants: Grants
    """Of the role as a machine's, which comes through no endpoint."""
    max_session: int
    """Seconds."""
    tags: Mapping[str, str]

    def as_session(
        self, name: str, tags: Mapping[str, str] | None = None, source_identity: str = ""
    ) -> Principal:
        """Who somebody is in a session of this role (STS API reference, AssumedRoleUser)."""
        arn = Arn.parse(self.arn)
        return Principal(
            f"arn:{arn.partition}:sts::{arn.account}:assumed-role/{self.name}/{name}",
            arn.account,
            "AssumedRole",
            user_id=f"{self.id}:{name}",
            role_arn=self.arn,
            tags={**self.tags, **(tags or {})},
            source_identity=source_identity,
        )

    def as_caller(self, endpoint: Endpoint, session: Sequence[Policy] = ()) -> Grants:
        """What a session of this role may do that calls through an endpoint."""
        return Grants(
            self.policies, boundary=self.boundary, session=session, endpoint=endpoint.policy
        )

    @cached_property
    def as_machine(self) -> Principal:
        """Who a machine with this role is."""
        return self.as_session("StepFunctions")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The interface endpoint that callers come through."""

    id: str
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Everybody that a server knows."""

    users: Mapping[str, User] = field(default_factory=dict)
    """By name."""
    keys: Mapping[str, User] = field(default_factory=dict)
    """By access key id."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """By ARN."""
    endpoint: Endpoint = Endpoint("")
    documents: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Text of each policy that has a name."""
    files: tuple[Path, ...] = ()
    """Further files that were read: policies and secrets."""

    @classmethod
    def load(
        cls, path: Path, *, account: str, region: str, environ: Mapping[str, str]
    ) -> Directory:
        """Read a file; raises `SettingsError` with every problem."""
        found = tables.load(path, "The identities file")
        reader = _Reader(path, account, partition_of(region), environ)
        directory = reader.read(found)
        if reader.problems:
            raise SettingsError("\n".join(f"{path}: {problem}" for problem in reader.problems))
        return directory

    def with_roles(self, roles: Iterable[Role]) -> Directory:
        """With further roles; those of the file come first."""
        added = {role.arn: role for role in roles}
        return replace(self, roles={**added, **self.roles})


class Directories:
    """The directory in force: that of the file as it is now, and the roles that the server made."""

    def __init__(self, directory: Directory) -> None:
        self._file = directory
        self._made: list[Role] = []
        self.current = directory

    def take(self, directory: Directory) -> None:
        """The file has changed."""
        self._file = directory
        self.current = directory.with_roles(self._made)

    def add(self, role: Role) -> None:
        """The server has made a role, in place of an earlier one of its own."""
        self._made = [other for other in self._made if other.arn != role.arn] + [role]
        self.take(self._file)


def role_arn(name: str, account: str, region: str) -> str:
    return f"arn:{partition_of(region)}:iam::{account}:role/{name}"


def machine_role(name: str, account: str, region: str, document: Raw) -> Role:
    """A role for machines, made by the server itself."""
    arn = role_arn(name, account, region)
    policy = Policy.parse(name, document, kind=Kind.IDENTITY)
    return Role(
        name=name,
        arn=arn,
        id=_unique("AROA", arn),
        trust=Policy.parse(f"trust of {name}", MACHINE_TRUST, kind=Kind.TRUST),
        policies=(policy,),
        boundary=None,
        grants=Grants([policy]),
        max_session=DEFAULT_SESSION,
        tags={},
    )


MACHINE_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "states.amazonaws.com"},
        }
    ],
}
"""Who may assume a machine's role: Step Functions (developer guide)."""


# --- Reading --------------------------------------------------------------------------------------

_NAME: Final = tables.matching(
    r"[A-Za-z0-9+=,.@_-]{1,64}", "a name of letters, digits and +=,.@_-, 64 at most"
)
_KEY_ID: Final = tables.matching(r"\w{4,128}", "an access key id of letters, digits and '_'")


def _tags(raw: Raw) -> Mapping[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise ValueError(f"expected a table of texts, found {raw!r}.")
    return dict(raw)


def _secret(raw: Raw) -> Secret | Source:
    """A secret access key, which may stand in the file: the file is as secret as it is."""
    if isinstance(raw, str) and raw:
        return Secret(raw)
    try:
        return source(raw)
    except ValueError:
        raise ValueError('expected a text, { env = "NAME" } or { file = "PATH" }.') from None


def _list(raw: Raw) -> list[Raw]:
    if not isinstance(raw, list):
        # Not shown: it may hold a secret.
        raise ValueError("expected a list of tables.")  # noqa: TRY004 — as all readers
    return raw


def _as_it_is(raw: Raw) -> Raw:
    return raw


_KEY: Final = {"access_key_id": _KEY_ID, "secret_access_key": _secret}
_PRINCIPAL: Final = {
    "policies": tables.each(tables.text, may_be_empty=True),
    "boundary": tables.text,
    "tags": _tags,
}
_USER: Final = {**_KEY, "access_keys": _list, **_PRINCIPAL}
_ROLE: Final = {
    "trust": _as_it_is,
    "max_session": tables.number(3_600, 43_200),
    **_PRINCIPAL,
}
_ENDPOINT: Final = {
    "id": tables.matching(r"vpce-[0-9a-z]{1,32}", "an endpoint's id such as vpce-0123abcd"),
    "policy": _as_it_is,
}
_TABLES: Final = {
    "user": _as_it_is,
    "role": _as_it_is,
    "policy": _as_it_is,
    "endpoint": _as_it_is,
}


class _Reader:
    """Reads one file; what is wrong with it gathers in `problems`."""

    def __init__(
        self, path: Path, account: str, partition: str, environ: Mapping[str, str]
    ) -> None:
        self.problems: list[str] = []
        self._directory = path.parent
        self._account = account
        self._prefix = f"arn:{partition}:iam::{account}"
        self._environ = environ
        self._documents: dict[str, Raw] = {}
        self._files: list[Path] = []
        self._texts: dict[str, str] = {}
        self._parsed: dict[tuple[str, Kind], Policy | None] = {}

    def read(self, found: Mapping[str, Raw]) -> Directory:
        given = tables.members("", found, _TABLES, self.problems)
        self._documents = {
            **MANAGED,
            **dict(self._named("policy", given)),
        }
        for name in self._documents:
            self._policy(name, Kind.IDENTITY, f"[policy.{name}]")
        endpoint = self._endpoint(given.get("endpoint", {}))
        users = [self._user(name, value, endpoint) for name, value in self._named("user", given)]
        roles = [self._role(name, value) for name, value in self._named("role", given)]
        return Directory(
            users={user.name: user for user in users},
            keys=self._by_key(users),
            roles={role.arn: role for role in roles if role is not None},
            endpoint=endpoint,
            documents=self._texts,
            files=tuple(self._files),
        )

    def _named(self, kind: str, given: Mapping[str, Raw]) -> list[tuple[str, Raw]]:
        """The tables `[kind.NAME]`."""
        value = given.get(kind, {})
        if not isinstance(value, dict):
            self.problems.append(f"[{kind}]: expected tables [{kind}.NAME], found {value!r}.")
            return []
        for name in value:
            try:
                _NAME(name)
            except ValueError as error:
                self.problems.append(f"[{kind}.{name}]: {error}")
        return list(value.items())

    def _user(self, name: str, value: Raw, endpoint: Endpoint) -> User:
        at = f"[user.{name}]"
        given = tables.members(f"{at}: ", _unseen(value), _USER, self.problems)
        arn = f"{self._prefix}:user/{name}"
        policies, boundary = self._policies(at, given)
        unique = _unique("AIDA", arn)
        return User(
            name=name,
            arn=arn,
            id=unique,
            keys=self._keys(at, given),
            policies=tuple(policies),
            grants=Grants(policies, boundary=boundary, endpoint=endpoint.policy),
            principal=Principal(
                arn, self._account, "User", user_id=unique, tags=given.get("tags", {})
            ),
        )

    def _by_key(self, users: Iterable[User]) -> Mapping[str, User]:
        found: dict[str, User] = {}
        for user in users:
            for key in user.keys:
                first = found.setdefault(key, user)
                if first is not user:
                    self.problems.append(
                        f"[user.{user.name}]: [user.{first.name}] has the access key {key}, too."
                    )
        return found

    def _keys(self, at: str, given: Mapping[str, Raw]) -> Mapping[str, Secret]:
        pairs: list[Mapping[str, Raw]] = [
            tables.members(f"{at}: access_keys[{index}].", _unseen(pair), _KEY, self.problems)
            for index, pair in enumerate(given.get("access_keys", ()))
        ]
        if "access_key_id" in given or "secret_access_key" in given:
            pairs.insert(0, given)
        if len(pairs) > MAX_KEYS:
            self.problems.append(f"{at}: expected {MAX_KEYS} access keys at most.")
        keys = {}
        for pair in pairs:
            missing = [f"'{name}' is missing." for name in _KEY if name not in pair]
            self.problems += [f"{at}: {problem}" for problem in missing]
            if not missing:
                keys[pair["access_key_id"]] = self._secret(at, pair["secret_access_key"])
        return keys

    def _secret(self, at: str, source: Secret | Source) -> Secret:
        if isinstance(source, Secret):
            return source
        if source.kind == "file":
            self._files.append(Path(source.name).expanduser())
        try:
            return source.read(self._environ)
        except SettingsError as error:
            self.problems.append(f"{at}: {error}")
            return Secret("")

    def _role(self, name: str, value: Raw) -> Role | None:
        at = f"[role.{name}]"
        given = tables.members(f"{at}: ", value, _ROLE, self.problems)
        arn = f"{self._prefix}:role/{name}"
        policies, boundary = self._policies(at, given)
        if "trust" not in given:
            self.problems.append(f"{at}: 'trust' is missing, which says who may assume it.")
            return None
        trust = self._document(f"trust of {name}", given["trust"], Kind.TRUST, f"{at}: trust")
        if trust is None:
            return None
        return Role(
            name=name,
            arn=arn,
            id=_unique("AROA", arn),
            trust=trust,
            policies=tuple(policies),
            boundary=boundary,
            grants=Grants(policies, boundary=boundary),
            max_session=given.get("max_session", DEFAULT_SESSION),
            tags=given.get("tags", {}),
        )

    def _endpoint(self, value: Raw) -> Endpoint:
        given = tables.members("[endpoint]: ", value, _ENDPOINT, self.problems)
        policy = given.get("policy")
        return Endpoint(
            given.get("id", ""),
            None
            if policy is None
            else self._document("of the endpoint", policy, Kind.ENDPOINT, "[endpoint]: policy"),
        )

    def _policies(self, at: str, given: Mapping[str, Raw]) -> tuple[list[Policy], Policy | None]:
        """What a user or role has: its policies, and its permissions boundary."""
        found = [
            self._policy(_short(name), Kind.IDENTITY, f"{at}: policies")
            for name in given.get("policies", ())
        ]
        name = given.get("boundary")
        boundary = (
            None if name is None else self._policy(_short(name), Kind.BOUNDARY, f"{at}: boundary")
        )
        return [policy for policy in found if policy is not None], boundary

    def _policy(self, name: str, kind: Kind, at: str) -> Policy | None:
        """A policy by its name, parsed once for each kind of use."""
        if name not in self._documents:
            known = ", ".join(self._documents)
            self.problems.append(f"{at}: there is no policy '{name}'; there are: {known}.")
            return None
        if (name, kind) not in self._parsed:
            where = f"[policy.{name}]"
            self._parsed[name, kind] = self._document(name, self._documents[name], kind, where)
        return self._parsed[name, kind]

    def _document(self, name: str, value: Raw, kind: Kind, at: str) -> Policy | None:
        """A policy that stands in a file, in a text or in the table itself."""
        try:
            text = self._text(value)
            if kind is Kind.IDENTITY:
                self._texts[name] = text
            return Policy.parse(name, text, kind=kind)
        except PolicyError as error:
            self.problems += [f"{at}: {problem}" for problem in error.problems]
        except (OSError, UnicodeError) as error:
            self.problems.append(f"{at}: the file cannot be read: {error}.")
        return None

    def _text(self, value: Raw) -> str:
        if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
            self._files.append(self._directory / value["file"])
            return self._files[-1].read_text("utf-8")
        if isinstance(value, dict) and set(value) == {"document"}:
            value = value["document"]
        if isinstance(value, str):
            return value
        return json.dumps(value, default=str)


def _unseen(value: Raw) -> Raw:
    """A table, or a word for what is none: it may be a secret at the wrong place."""
    return value if isinstance(value, dict) else "something else"


def _short(name: str) -> str:
    """A policy's name, also where its ARN is given."""
    return name.rpartition("/")[2] if name.startswith("arn:") else name


def _unique(prefix: str, arn: str) -> str:
    """An id such as IAM gives; the same for the same ARN."""
    return prefix + b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]
