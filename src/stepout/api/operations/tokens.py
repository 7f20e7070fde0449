"""GetCallerIdentity and AssumeRole (STS API reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stepout.api import faults
from stepout.api.access import Circumstances
from stepout.api.caller import Caller, operation
from stepout.api.identities import Role
from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws.iam import Kind, Policy, Request, decide_trust
from stepout.aws.iam.request import Values
from stepout.errors import PolicyError, ServiceError

CHAINED_SECONDS: Final = 3_600
"""The longest session that a session may begin (IAM user guide, role chaining)."""


@operation("sts", "GetCallerIdentity", None)
async def get_caller_identity(
    _services: Services, caller: Caller, _request: dict[str, Json]
) -> dict[str, Json]:
    """Whoever has a key may ask, whatever the policies say (API reference)."""
    principal = caller.principal
    return {"UserId": principal.user_id, "Account": caller.account, "Arn": principal.arn}


@operation("sts", "AssumeRole", None)
async def assume_role(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """The role's trust policy must let the caller in; the caller's own policies must allow it, too,
    unless the trust policy names the very caller."""
    now = services.clock.now()
    role = _trusting(services, caller, request, now)
    session = services.sessions.begin(
        role,
        request["RoleSessionName"],
        holder=caller.account_holder,
        now=now,
        seconds=_seconds(caller, role, request),
        policies=_session_policies(services, request),
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
    )
    return {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret.reveal(),
            "SessionToken": session.token.reveal(),
            "Expiration": session.expires / 1_000,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": session.principal.user_id,
            "Arn": session.principal.arn,
        },
        "SourceIdentity": request.get("SourceIdentity"),
    }


def _trusting(services: Services, caller: Caller, request: Mapping[str, Json], now: int) -> Role:
    """The role, where the caller may assume it. One that is not there is refused alike."""
    asked = Request(
        caller.principal, "sts:AssumeRole", request["RoleArn"], _context(caller, request, now)
    )
    known = services.directories
    role = None if known is None else known.current.roles.get(asked.resource)
    if role is None:
        raise faults.denied(_unknown(asked))
    decision = (
        decide_trust(role.trust, asked)
        if caller.grants is None
        else caller.grants.decide(asked, resource=role.trust)
    )
    if not decision.allowed:
        raise faults.denied(decision.message(asked))
    return role


def _unknown(asked: Request) -> str:
    # STS does not tell whether a role exists: its older text, without a reason, fits both cases.
    return (
        f"User: {asked.principal.arn} is not authorized to perform: {asked.action} on resource: "
        f"{asked.resource}"
    )


def _context(caller: Caller, request: Mapping[str, Json], now: int) -> Mapping[str, Values]:
    given = {
        "sts:ExternalId": request.get("ExternalId"),
        "sts:RoleSessionName": request["RoleSessionName"],
        "sts:SourceIdentity": request.get("SourceIdentity"),
    }
    tags = [{"key": tag["Key"], "value": tag["Value"]} for tag in request.get("Tags", ())]
    known = {name: value for name, value in given.items() if value is not None}
    return {**Circumstances(caller, {"tags": tags}, now), **known}


def _seconds(caller: Caller, role: Role, request: Mapping[str, Json]) -> int:
    """How long the session lasts; texts of the refusals as STS words them."""
    seconds: int = request.get("DurationSeconds", min(CHAINED_SECONDS, role.max_session))
    if caller.principal.type == "AssumedRole" and seconds > CHAINED_SECONDS:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining",
        )
    if seconds > role.max_session:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    return seconds


def _session_policies(services: Services, request: Mapping[str, Json]) -> list[Policy]:
    """What the session may do at most, besides what its role may."""
    names = [given["arn"].rpartition("/")[2] for given in request.get("PolicyArns", ())]
    known = {} if services.directories is None else services.directories.current.documents
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ServiceError("ValidationError", f"There is no policy {', '.join(unknown)}.")
    texts = {name: known[name] for name in names}
    if "Policy" in request:
        texts["of the session"] = request["Policy"]
    try:
        return [Policy.parse(name, text, kind=Kind.SESSION) for name, text in texts.items()]
    except PolicyError as error:
        raise ServiceError("MalformedPolicyDocument", str(error)) from None
