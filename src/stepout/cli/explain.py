"""`stepout explain URL --as ROLE`: who would let a call out or hold it up, and why."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from stepout import config
from stepout.api.access import may_run_as
from stepout.api.identities import Directory, Role, machine_role, role_arn
from stepout.api.outward import policy_of
from stepout.aws import arn as arns
from stepout.aws.iam import Grants, Policy, Principal, Request, misses
from stepout.config import ServerSettings
from stepout.egress import message
from stepout.egress.policy import Explanation
from stepout.errors import SettingsError
from stepout.gateway.connections import connection_name
from stepout.gateway.permissions import role_policy
from stepout.gateway.upstreams import Upstreams

__all__ = ["command"]

MOST_MISSES: Final = 3
"""Statements that came close, of those that are shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """One question that is asked on the way, and its answer."""

    question: str
    allowed: bool
    reason: str
    hints: tuple[str, ...] = ()
    """What came close, where nothing allowed it."""


@dataclass(frozen=True, slots=True)
class Case:
    """The call that is explained."""

    settings: ServerSettings
    directory: Directory | None
    url: str
    method: str
    role: str
    machine: str
    connection: str | None
    caller: str | None


@click.command("explain")
@click.argument("url")
@click.option("--as", "role", metavar="ROLE", help="The machine's role, by its name or ARN.")
@click.option("--method", default="GET", show_default=True, help="The HTTP method.")
@click.option("--machine", metavar="NAME", help="The state machine [that of the upstreams file].")
@click.option("--connection", metavar="NAME", help="The connection [that of the upstream].")
@click.option("--caller", metavar="USER|ROLE", help="Who starts the machine, by name.")
@click.option("--identities", metavar="FILE", help="Users, roles and policies.")
@click.option("--egress-policy", metavar="FILE", help="Rules: what may be called, and by whom.")
@click.option("--upstreams", metavar="FILE", help="The upstreams file.")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file; stepout.toml is read where it exists.",
)
def command(
    *,
    url: str,
    role: str | None,
    method: str,
    machine: str | None,
    connection: str | None,
    caller: str | None,
    as_json: bool,
    file: Path | None,
    **flags: Any,
) -> None:
    """Tell who would let a call out: endpoint policy, IAM, egress policy, in their order.

    Asks no server, resolves no name and calls nobody. Settings are those of `stepout serve`. Exit
    status: 0 where the call would go out, 1 where it would not.
    """
    try:
        settings = config.load(flags, os.environ, file).server
        case = _case(settings, url, method.upper(), role, machine, connection, caller)
        steps = list(_steps(case))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    click.echo(_as_json(case, steps) if as_json else _as_text(case, steps))
    sys.exit(not all(step.allowed for step in steps))


def _case(
    settings: ServerSettings,
    url: str,
    method: str,
    role: str | None,
    machine: str | None,
    connection: str | None,
    caller: str | None,
) -> Case:
    """What is not given follows from the upstreams file, where there is one."""
    upstreams = None if settings.upstreams is None else Upstreams.load(settings.upstreams)
    directory = None
    if settings.identities is not None:
        directory = Directory.load(
            settings.identities,
            account=settings.account,
            region=settings.region,
            environ=_Anything(),
        )
        if upstreams is not None:
            directory = directory.with_roles([_gateway_role(settings, upstreams)])
    gateway = None if upstreams is None else upstreams.machine
    name = machine or gateway
    if name is None or (role or gateway) is None:
        raise SettingsError(
            "Expected --as ROLE and --machine NAME, or --upstreams FILE, whose machine it is then."
        )
    if connection is None and upstreams is not None and name == gateway:
        found = [item for item in upstreams if url.startswith(item.url)]
        connection = connection_name(found[0]) if found else None
    return Case(
        settings=settings,
        directory=directory,
        url=url,
        method=method,
        role=_arn_of(role or str(gateway), settings),
        machine=arns.state_machine(settings.region, settings.account, name),
        connection=connection,
        caller=caller,
    )


class _Anything(dict[str, str]):
    """Variables that all have a value: secrets are not needed to explain."""

    def get(self, key: str, default: Any = None) -> Any:
        del default
        return f"the secret in {key}"


def _arn_of(role: str, settings: ServerSettings) -> str:
    if role.startswith("arn:"):
        return role
    return role_arn(role, settings.account, settings.region)


def _gateway_role(settings: ServerSettings, upstreams: Upstreams) -> Role:
    """The role that `stepout serve --upstreams` makes."""
    region, account = settings.region, settings.account
    names = [connection_name(upstream) for upstream in upstreams]
    policy = role_policy(
        upstreams,
        arns.state_machine(region, account, upstreams.machine),
        [_connection_arn(settings, name) for name in names],
        [_secret_arn(settings, name) for name in names],
    )
    return machine_role(upstreams.machine, account, region, policy)


_UUID: Final = "00000000-0000-0000-0000-000000000000"
"""In place of the UUID that a connection gets when it is made."""


def _connection_arn(settings: ServerSettings, name: str) -> str:
    return arns.connection(settings.region, settings.account, name, _UUID)


def _secret_arn(settings: ServerSettings, name: str) -> str:
    return arns.connection_secret(settings.region, settings.account, name, _UUID, "AAAAAA")


# --- The steps ------------------------------------------------------------------------------------


def _steps(case: Case) -> Iterator[Step]:
    if case.directory is None:
        yield Step("IAM", True, "not asked: there is no identities file, so everybody may.")
    else:
        yield from _of_caller(case, case.directory)
        yield from _of_role(case, case.directory)
    yield _of_egress(case)


def _of_caller(case: Case, directory: Directory) -> Iterator[Step]:
    if case.caller is None:
        return
    found = _grants_of(case.caller, case, directory)
    if found is None:
        yield Step(f"who is {case.caller}?", False, "There is no such user or role.")
        return
    principal, grants, policies = found
    asked = Request(principal, "states:StartSyncExecution", case.machine)
    yield _decided(grants, policies, asked)


def _grants_of(
    name: str, case: Case, directory: Directory
) -> tuple[Principal, Grants, Sequence[Policy]] | None:
    user = directory.users.get(name)
    if user is not None:
        return user.principal, user.grants, user.policies
    role = directory.roles.get(_arn_of(name, case.settings))
    if role is None:
        return None
    return role.as_session("explain"), role.as_caller(directory.endpoint), role.policies


def _of_role(case: Case, directory: Directory) -> Iterator[Step]:
    if case.role not in directory.roles:
        yield Step(f"who is {case.role}?", False, "There is no such role.")
        return
    role = may_run_as(directory, case.role, case.machine)
    question = f"may states.amazonaws.com assume {case.role} for the machine?"
    if role is None:
        yield Step(question, False, "The role's trust policy does not let it.")
        return
    yield Step(question, True, "The role's trust policy lets it.")
    for action, resource, context in _asked_of_role(case):
        asked = Request(role.as_machine, action, resource, context)
        yield _decided(role.grants, role.policies, asked)


def _asked_of_role(case: Case) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    context = {"states:HTTPEndpoint": case.url, "states:HTTPMethod": case.method}
    yield "states:InvokeHTTPEndpoint", case.machine, context
    if case.connection is not None:
        connection = _connection_arn(case.settings, case.connection)
        yield "events:RetrieveConnectionCredentials", connection, {}
        secret = _secret_arn(case.settings, case.connection)
        yield "secretsmanager:GetSecretValue", secret, {}
        yield "secretsmanager:DescribeSecret", secret, {}


def _decided(grants: Grants, policies: Sequence[Policy], asked: Request) -> Step:
    decision = grants.decide(asked)
    near = () if decision.allowed or decision.by is not None else misses(policies, asked)
    return Step(
        f"may {asked.principal.arn} {asked.action} on {asked.resource}?",
        decision.allowed,
        decision.explain(),
        tuple(str(miss) for miss in near[:MOST_MISSES]),
    )


def _of_egress(case: Case) -> Step:
    request = message.Request(
        case.method,
        case.url,
        role=case.role,
        machine=case.machine,
        connection=""
        if case.connection is None
        else _connection_arn(case.settings, case.connection),
    )
    explanation = policy_of(case.settings).explain(request)
    decision = explanation.verdict.decision
    reason = decision.reason
    if decision.would_refuse:
        reason += " (it would be refused, and goes out because the policy only reports)"
    destination = explanation.verdict.destination
    if decision.allowed and destination is not None and destination.address is None:
        reason += "; each address of the name is judged when it is resolved"
    hints = () if decision.allowed else _near(explanation)
    return Step("does the egress policy let it out?", decision.allowed, reason, hints)


def _near(explanation: Explanation) -> tuple[str, ...]:
    """The rules for the host that do not match, and the first thing that does not."""
    return tuple(
        f"the rule {one.rule.name} ({one.rule.effect}) does not match by its {one.missed}"
        for one in explanation.considered
        if one.missed not in (None, "hosts")
    )[:MOST_MISSES]


# --- Printing -------------------------------------------------------------------------------------


def _as_text(case: Case, steps: Sequence[Step]) -> str:
    lines = []
    for step in steps:
        lines += [f"{'yes' if step.allowed else 'NO ':3}  {step.question}", f"     {step.reason}"]
        lines += [f"     - {hint}" for hint in step.hints]
    goes = "would go out" if all(step.allowed for step in steps) else "would not go out"
    return "\n".join([*lines, "", f"{case.method} {case.url} {goes}."])


def _as_json(case: Case, steps: Sequence[Step]) -> str:
    found = {
        "method": case.method,
        "url": case.url,
        "allowed": all(step.allowed for step in steps),
        "steps": [asdict(step) for step in steps],
    }
    return json.dumps(found, indent=2)
