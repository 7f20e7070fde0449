"""Whether a caller may do what it asks, and a machine's role what the machine does.

A request is held against the endpoint's policy and the caller's own, by the operation's action and
resource; who hands a role to a machine needs `iam:PassRole` on it. A version or an alias counts as
its machine, and the condition key `states:StateMachineQualifier` tells which (Step Functions
developer guide, "Authorization for versions and aliases"). In open mode nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from stepout.api import faults
from stepout.api.caller import Caller, Operation
from stepout.api.identities import Directories, Directory, Role
from stepout.api.services import Services
from stepout.api.tagging import Tags
from stepout.asl.values import Json
from stepout.aws.arn import Arn, split_qualifier
from stepout.aws.iam import Decision, Grants, Kind, Policy, Principal, Request, decide_trust
from stepout.aws.iam.request import Values
from stepout.errors import ServiceError

__all__ = ["Judgement", "RolePermissions", "asks_for_tags", "judge", "may_run_as", "tags_of"]

STATES: Final = "states.amazonaws.com"
"""What roles of machines are passed to."""

_RESOURCE_TAG: Final = "aws:ResourceTag/"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a caller may do something, and why."""

    action: str
    resource: str
    reason: str
    """A stable word, and the policy and statement that decided."""
    refusal: ServiceError | None = None
    """What the caller is told."""


def judge(
    caller: Caller,
    operation: Operation,
    request: Mapping[str, Json],
    directories: Directories | None,
    now: int,
    tags: Tags = (),
) -> Judgement:
    """Judge a request whose members fit the model; `now` in milliseconds since the epoch.

    `tags` are those of the machine that it is about, which count where `asks_for_tags`.
    """
    if operation.resource is None:
        return Judgement(operation.action, "*", "not-asked")
    named = operation.resource(caller, request)
    if operation.assumes:
        role = None if directories is None else directories.current.roles.get(named)
        return _judge_becoming(caller, named, role, request, now)
    if caller.grants is None:
        return Judgement(operation.action, named, "open")
    resource, qualifier = split_qualifier(named)
    context = Circumstances(caller, request, now, qualifier, tags)
    asked = Request(caller.principal, operation.action, resource, context)
    judgement = _judged(caller.grants, asked, named)
    if judgement.refusal is not None:
        return judgement
    for further in _further(operation, asked, request):
        judged = _judged(caller.grants, further, further.resource)
        if judged.refusal is not None:
            return judged
    return judgement


def _further(
    operation: Operation, asked: Request, request: Mapping[str, Json]
) -> Iterator[Request]:
    """What the request needs besides the operation itself."""
    for member, action in operation.besides.items():
        if request.get(member):
            yield replace(asked, action=action)
    passes = operation.passes
    if passes is not None and passes in request:
        passing = {
            **asked.context,
            "iam:PassedToService": STATES,
            "iam:AssociatedResourceArn": asked.resource,
        }
        # What is asked for is the role: the tags are not its own.
        own = {name: value for name, value in passing.items() if not name.startswith(_RESOURCE_TAG)}
        yield Request(asked.principal, "iam:PassRole", request[passes], own)


def asks_for_tags(caller: Caller) -> bool:
    """Whether the caller's policies look at the tags of what is asked for."""
    return caller.grants is not None and caller.grants.asks_for(_RESOURCE_TAG.lower())


async def tags_of(
    services: Services, caller: Caller, operation: Operation, request: Mapping[str, Json]
) -> Tags:
    """The tags of the machine that a request is about; none where it is about something else."""
    if operation.resource is None:
        return ()
    machine, _ = split_qualifier(operation.resource(caller, request))
    record = await services.store.machines.get(machine)
    return () if record is None else record.tags


def _judge_becoming(
    caller: Caller, arn: str, role: Role | None, request: Mapping[str, Json], now: int
) -> Judgement:
    """By the role's trust policy, and by the caller's own unless that names the very caller.

    Who names tags or a source identity, which policies believe, asks for each of them besides (IAM
    user guide, "Pass session tags in AWS STS"). A role that is not there is refused like one that
    trusts nobody, so that nobody learns which roles there are.
    """
    trust = _TRUSTS_NOBODY if role is None else role.trust
    context = _of_session(caller, request, now)
    actions = ["sts:AssumeRole", *(name for member, name in _ASKED.items() if member in request)]
    judgements = []
    for action in actions:
        asked = Request(caller.principal, action, arn, context)
        if caller.grants is None:
            decision = decide_trust(trust, asked)
        else:
            decision = caller.grants.decide(asked, resource=trust)
        judgements.append(_judgement(asked, decision, arn))
    refused = (one for one in judgements if one.refusal is not None)
    return next(refused, judgements[0])


_TRUSTS_NOBODY: Final = Policy("trust", Kind.TRUST, has_variables=False, statements=())

_ASKED: Final = {"Tags": "sts:TagSession", "SourceIdentity": "sts:SetSourceIdentity"}
"""Member of AssumeRole → the action that it is asked for by."""


def _of_session(caller: Caller, request: Mapping[str, Json], now: int) -> Mapping[str, Values]:
    """The condition keys of a session that is to begin."""
    given = {
        "sts:ExternalId": request.get("ExternalId"),
        "sts:RoleSessionName": request["RoleSessionName"],
        "sts:SourceIdentity": request.get("SourceIdentity", caller.principal.source_identity),
    }
    tags = [{"key": tag["Key"], "value": tag["Value"]} for tag in request.get("Tags", ())]
    known = {name: value for name, value in given.items() if value}
    return {**Circumstances(caller, {"tags": tags}, now), **known}


def _judged(grants: Grants, asked: Request, named: str) -> Judgement:
    """What policies say of a request; `named` is how it named the resource."""
    return _judgement(asked, grants.decide(asked), named)


def _judgement(asked: Request, decision: Decision, named: str) -> Judgement:
    refusal = None if decision.allowed else faults.denied(decision.message(asked))
    return Judgement(asked.action, named, _reason(decision), refusal)


def _reason(decision: Decision) -> str:
    return decision.reason if decision.by is None else f"{decision.reason}: {decision.by}"


class Circumstances(Mapping[str, Values]):
    """The condition keys of a request, gathered when the first is asked for (IAM user guide, "AWS
    global condition context keys")."""

    __slots__ = ("_caller", "_now", "_qualifier", "_request", "_tags", "_values")

    def __init__(
        self,
        caller: Caller,
        request: Mapping[str, Json],
        now: int,
        qualifier: str = "",
        tags: Tags = (),
    ) -> None:
        self._caller = caller
        self._request = request
        self._now = now
        self._qualifier = qualifier
        self._tags = tags
        self._values: dict[str, Values] | None = None

    def __getitem__(self, key: str) -> Values:
        return self._gathered()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._gathered())

    def __len__(self) -> int:
        return len(self._gathered())

    def _gathered(self) -> dict[str, Values]:
        if self._values is None:
            values = _gather(self._caller, self._request, self._now)
            if self._qualifier:
                values["states:StateMachineQualifier"] = self._qualifier
            values.update((f"{_RESOURCE_TAG}{key}", value) for key, value in self._tags)
            self._values = values
        return self._values


def _gather(caller: Caller, request: Mapping[str, Json], now: int) -> dict[str, Values]:
    arrival = caller.arrival
    values: dict[str, Values] = {
        "aws:CurrentTime": datetime.fromtimestamp(now / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": str(now // 1_000),
        "aws:RequestedRegion": caller.region,
        "aws:SecureTransport": "true" if arrival.is_secure else "false",
        "aws:ViaAWSService": "false",
    }
    given = {
        "aws:SourceIp": arrival.source_ip,
        "aws:SourceVpce": caller.endpoint,
        "aws:UserAgent": arrival.user_agent,
        "aws:TokenIssueTime": caller.issued,
    }
    values.update((name, value) for name, value in given.items() if value)
    tags = {
        key: tag.get("value") or ""
        for tag in request.get("tags", ())
        if (key := tag.get("key")) is not None
    }
    keys: Sequence[str] = [*tags, *request.get("tagKeys", ())]
    if keys:
        values["aws:TagKeys"] = keys
    values.update((f"aws:RequestTag/{key}", value) for key, value in tags.items())
    return values


# --- Roles of machines ----------------------------------------------------------------------------


def may_run_as(directory: Directory, role_arn: str, machine_arn: str) -> Role | None:
    """The role, where there is one and Step Functions may assume it for the machine."""
    role = directory.roles.get(role_arn)
    if role is None:
        return None
    arn = Arn.parse(machine_arn)
    context = {"aws:SourceAccount": arn.account, "aws:SourceArn": machine_arn}
    service = Principal.service("states", arn.region)
    asked = Request(service, "sts:AssumeRole", role_arn, context)
    return role if decide_trust(role.trust, asked).allowed else None


class RolePermissions:
    """What machines may do, by the roles of the directory that is in force."""

    def __init__(self, directories: Directories) -> None:
        self._directories = directories

    def allows(
        self,
        role_arn: str,
        machine_arn: str,
        action: str,
        resource: str,
        context: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether a machine's role allows an action of the machine."""
        role = may_run_as(self._directories.current, role_arn, machine_arn)
        if role is None:
            return False
        asked = Request(role.as_machine, action, resource, context or {})
        return role.grants.decide(asked).allowed
