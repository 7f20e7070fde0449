"""GetCallerIdentity and AssumeRole (STS API reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stepout.api import faults
from stepout.api.caller import Caller, of_role, operation
from stepout.api.identities import Role
from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws.iam import Kind, Policy
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


@operation("sts", "AssumeRole", of_role, assumes=True)
async def assume_role(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Begin a session of a role that lets the caller in."""
    role = _role(services, request["RoleArn"])
    _check_tags(request)
    source_identity = _source_identity(caller, request)
    session = services.sessions.begin(
        role,
        request["RoleSessionName"],
        holder=caller.account_holder,
        now=services.clock.now(),
        seconds=_seconds(caller, role, request),
        policies=_session_policies(services, request),
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
        source_identity=source_identity,
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
        "SourceIdentity": source_identity or None,
    }


def _role(services: Services, arn: str) -> Role:
    """The role, which was there when the caller was let in."""
    known = services.directories
    if known is None:
        raise faults.denied(f"There is no role {arn}.")
    return known.current.roles[arn]


def _check_tags(request: Mapping[str, Json]) -> None:
    """A condition asks for one value of a tag, in whatever case its key is written."""
    keys = [tag["Key"].lower() for tag in request.get("Tags", ())]
    if len(set(keys)) < len(keys):
        raise ServiceError(
            "InvalidParameterValue",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        )
    if request.get("TransitiveTagKeys"):
        raise ServiceError("ValidationError", "stepout hands no tags on from session to session.")


def _source_identity(caller: Caller, request: Mapping[str, Json]) -> str:
    """Once set it stays, through all roles (IAM user guide, "Monitor and control actions taken with
    assumed roles")."""
    set_: str = caller.principal.source_identity
    asked: str = request.get("SourceIdentity", set_)
    if set_ and asked != set_:
        raise faults.denied("The source identity of a session cannot be changed.")
    return asked


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
