"""`stepout demo`: the main job on this machine, step by step.

Where Linux lets us, the function runs in a network namespace without a route to anywhere. The only
thing inside is the server's listening socket on port 443, under the names of AWS's endpoints, as an
interface endpoint with private DNS has them: the handler runs unmodified, without any endpoint
setting. Elsewhere the function runs beside the server, and the demo says that it skipped this.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import boto3
import click
from botocore.config import Config

from stepout.api.identities import MACHINE_TRUST
from stepout.api.server import Server
from stepout.certificates import Authority
from stepout.cli.env import Target, variables
from stepout.cli.subnet import Subnet, Unavailable
from stepout.config import ServerSettings
from stepout.functions import (
    NOTICE,
    Function,
    FunctionSettings,
    InProcessFunction,
    Invocation,
    has_runtime_client,
)
from stepout.origin import Origin

__all__ = ["command"]

REGION: Final = "us-east-1"
URL: Final = "https://api.example.com/config/items.json"
"""The document of our own origin; `example.com` is reserved and never asked (RFC 2606)."""

ENDPOINTS: Final = tuple(f"{name}.{REGION}.amazonaws.com" for name in ("sync-states", "states"))
ROLE: Final = "arn:aws:iam::123456789012:role/stepout-demo"
TIMEOUT_S: Final = 70.0

DIRECT: Final = """
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5)
except OSError as error:
    print(getattr(error, "reason", error))
else:
    sys.exit("The direct request succeeded: the function is not isolated.")
"""
"""A direct request, which must fail inside the subnet."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a demo has set up."""

    target: Target
    """The server, as programs outside of the subnet reach it."""
    subnet: Subnet | Unavailable
    origin: Origin | None
    """The origin on this machine, unless a real one is called."""
    url: str
    teller: Teller


@click.command("demo")
@click.option("--url", help="An https URL to call, in place of an origin on this machine.")
def command(*, url: str | None) -> None:
    """Call an HTTPS API from a Lambda function that has no way out.

    Starts a server with TLS and a key of its own, and an HTTPS origin unless --url names a real
    one; makes a connection and a state machine with boto3; runs the handler under AWS's own runtime
    client, on Linux in a network namespace without a route. The exit status is 0 only when the
    API's answer arrived.
    """
    if url is not None and not url.startswith("https://"):
        raise click.BadParameter(f"Expected an https URL, found {url!r}.", param_hint="--url")
    sys.exit(asyncio.run(_demo(url)))


async def _demo(url: str | None) -> int:
    async with contextlib.AsyncExitStack() as resources:
        stage = await _set_up(url, resources)
        arns = await asyncio.to_thread(_create, stage)
        await _isolate(stage)
        invocation = await _invoke(stage, arns)
        return _conclude(stage, invocation)


# --- Setting up -----------------------------------------------------------------------------------


async def _set_up(url: str | None, resources: contextlib.AsyncExitStack) -> Stage:
    directory = Path(resources.enter_context(tempfile.TemporaryDirectory()))
    origin = None if url is not None else resources.enter_context(_origin())
    subnet = await asyncio.to_thread(Subnet.open, [443, 0], names=ENDPOINTS)
    if isinstance(subnet, Subnet):
        resources.callback(subnet.close)
    secret = secrets.token_urlsafe(30)
    settings = _settings(directory, secret, origin)
    server = Server(
        settings,
        connect_to=None if origin is None else origin.connect_to,
        sockets=subnet.listeners[:1] if isinstance(subnet, Subnet) else (),
    )
    await resources.enter_async_context(_running(server))
    target = Target(server.url, REGION, "AKIDSTEPOUTDEMO", secret, directory / "ca.pem")
    teller = Teller()
    teller.step(
        "A server with its own certificate and access key",
        f"{server.url}, Step Functions and EventBridge connections",
    )
    if origin is not None:
        teller.say(f"An HTTPS origin stands in for the internet: {URL}")
    return Stage(target, subnet, origin, url or URL, teller)


@contextlib.contextmanager
def _origin() -> Any:
    """An origin with a document of some 6 KB that is JSON and called text/plain."""
    items = {f"configuration.item.{number:03}": "string" for number in range(160)}
    document = json.dumps({"version": "1.3", "accountId": "string", **items}, indent=2).encode()
    with Origin() as origin:
        origin.get(URL).document(document, "text/plain; charset=utf-8")
        yield origin


@contextlib.asynccontextmanager
async def _running(server: Server) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def _settings(directory: Path, secret: str, origin: Origin | None) -> ServerSettings:
    authority = Authority.create("stepout demo")
    leaf = authority.leaf("localhost", "127.0.0.1", *ENDPOINTS)
    _write(directory / "ca.pem", authority.certificate_pem)
    _write(directory / "chain.pem", leaf.chain_pem)
    _write(directory / "key.pem", leaf.key_pem)
    _write(directory / "identities.toml", _identities(secret).encode())
    if origin is not None:
        _write(directory / "origin.pem", origin.certificate_pem)
    return ServerSettings(
        port=0,
        region=REGION,
        tls_cert=directory / "chain.pem",
        tls_key=directory / "key.pem",
        identities=directory / "identities.toml",
        egress_ca=() if origin is None else (directory / "origin.pem",),
        drain_seconds=5,
    )


def _identities(secret: str) -> str:
    """One user who may do everything, and the role of the machine, which may do one thing."""
    role = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "states:InvokeHTTPEndpoint",
                "Resource": "arn:aws:states:*:*:stateMachine:stepout-demo",
                "Condition": {"StringEquals": {"states:HTTPMethod": "GET"}},
            },
            {
                "Effect": "Allow",
                "Action": "events:RetrieveConnectionCredentials",
                "Resource": "arn:aws:events:*:*:connection/demo/*",
            },
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
                "Resource": "arn:aws:secretsmanager:*:*:secret:events!connection/demo/*",
            },
        ],
    }
    return f"""
[user.demo]
access_key_id = "AKIDSTEPOUTDEMO"
secret_access_key = "{secret}"
policies = ["AdministratorAccess"]

[role.stepout-demo]
policies = ["call"]
trust = '''{json.dumps(MACHINE_TRUST)}'''

[policy]
call = '''{json.dumps(role)}'''
"""


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


# --- The steps ------------------------------------------------------------------------------------


def _create(stage: Stage) -> Mapping[str, str]:
    """Create the connection and the machine; answers the variables of the handler."""
    stage.teller.step("boto3 creates a connection and an Express state machine")
    events, states = (_client(service, stage.target) for service in ("events", "stepfunctions"))
    # An HTTP Task needs a connection even where the API asks for no credential.
    connection = events.create_connection(
        Name="demo",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "demo"}},
    )["ConnectionArn"]
    machine = states.create_state_machine(
        name="stepout-demo",
        type="EXPRESS",
        roleArn=ROLE,
        definition=(_example() / "machine.json").read_text(),
    )["stateMachineArn"]
    stage.teller.say(connection, machine)
    return {
        "CONNECTION_ARN": connection,
        "STATE_MACHINE_ARN": machine,
        "HTTPS_ENDPOINT": stage.url,
    }


def _client(service: str, target: Target) -> Any:
    connect: Any = boto3.client
    return connect(
        service,
        endpoint_url=target.url,
        region_name=target.region,
        aws_access_key_id=target.access_key_id,
        aws_secret_access_key=target.secret_access_key,
        verify=str(target.ca),
        config=Config(inject_host_prefix=False),
    )


async def _isolate(stage: Stage) -> None:
    """Show that there is no way out: requests from inside fail, by name and to an address."""
    subnet, teller = stage.subnet, stage.teller
    if isinstance(subnet, Unavailable):
        teller.step("No isolation here", f"The function runs beside the server: {subnet.reason}.")
        return
    teller.step(f"The subnet: a network namespace without a route ({subnet.mode})")
    for url in (stage.url, "https://192.0.2.1/"):
        program = [*subnet.command_prefix, sys.executable, "-c", DIRECT, url]
        process = await asyncio.create_subprocess_exec(
            *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        answer, trouble = await process.communicate()
        if process.returncode != 0:
            raise click.ClickException(trouble.decode(errors="replace").strip())
        teller.say(f"GET {url} fails: {answer.decode().strip()}")


async def _invoke(stage: Stage, arns: Mapping[str, str]) -> Invocation:
    subnet = stage.subnet if isinstance(stage.subnet, Subnet) else None
    settings = FunctionSettings(
        handler="handler.lambda_handler",
        directory=_example(),
        name="stepout-demo",
        region=REGION,
        timeout_s=TIMEOUT_S,
        environment={**_environment(stage), **arns},
        log=sys.stderr.fileno(),
        command_prefix=() if subnet is None else subnet.command_prefix,
    )
    if not has_runtime_client():
        stage.teller.step("The function calls start_sync_execution, in this process", NOTICE)
        return await _call(InProcessFunction(settings))
    stage.teller.step(
        "The function calls start_sync_execution, under AWS's runtime client (awslambdaric)"
    )
    return await _call(Function(settings, listener=subnet.listeners[1] if subnet else None))


async def _call(function: Function | InProcessFunction) -> Invocation:
    async with function:
        return await function.invoke(b"{}")


def _environment(stage: Stage) -> Mapping[str, str]:
    """The function's variables. Inside the subnet no endpoint is set: AWS's names lead there."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given = variables(stage.target)
    if isinstance(stage.subnet, Subnet):
        given = {
            name: value
            for name, value in given.items()
            if not name.startswith(("AWS_ENDPOINT_URL", "AWS_DISABLE_HOST_PREFIX"))
        }
    return {**kept, **given}


def _conclude(stage: Stage, invocation: Invocation) -> int:
    """Tell what came of it; answers the exit status."""
    teller = stage.teller
    if invocation.error is not None:
        teller.say(f"The function failed: {invocation.payload.decode(errors='replace')}")
        return 1
    if stage.origin is not None:
        _tell_exchange(stage.origin, teller)
    text = json.dumps(json.loads(invocation.payload), ensure_ascii=False)
    shown = text if len(text) <= 100 else f"{text[:70]} … {text[-20:]}"
    teller.step(
        "The API's answer is back in the function",
        shown,
        f"{len(text)} characters, in {invocation.duration_ms:.0f} ms",
    )
    return 0


def _tell_exchange(origin: Origin, teller: Teller) -> None:
    request, answer = origin.exchanges[-1]
    teller.step(
        "What the origin saw and said",
        f"{request.method} {request.target}",
        *(f"{name}: {request.header(name)}" for name in ("User-Agent", "Range")),
        f"→ {answer.status} {HTTPStatus(answer.status).phrase}, {len(answer.body)} bytes",
    )


def _example() -> Path:
    """Where the handler and the machine are: in the package, or in the repository."""
    here = Path(__file__).resolve()
    packaged = here.with_name("example")
    return packaged if packaged.exists() else here.parents[3] / "examples" / "lambda"


class Teller:
    """Tells people what happens, in numbered steps."""

    def __init__(self) -> None:
        self._steps = 0

    def step(self, text: str, *lines: str) -> None:
        """Begin a step."""
        self._steps += 1
        click.secho(f"\n{self._steps}. {text}", bold=True)
        self.say(*lines)

    def say(self, *lines: str) -> None:
        """Tell more of the step."""
        for line in lines:
            click.echo(f"   {line}")
