"""Secrets are nowhere but in the calls they are for: a real server, every way of failing, a search.

The server logs at DEBUG with its libraries, asyncio's debug mode is on, and every exception that
passes through its code is written down as `repr` and `str` show it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.e2e.calls import ROLE, ServerProcess, one_task

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.certificates import Authority
from stepout.origin import Answer, Received
from stepout.secret import Secret
from stepout.testing import Origin

pytestmark = pytest.mark.skipif(os.name != "posix", reason="The processes are POSIX's.")

API, TOKENS = "https://api.example.com", "https://auth.example.com"

EVERYTHING = """
import atexit, logging, os, sys, threading, traceback

atexit.register(lambda: logging.getLogger("probe").debug("debug reaches the log"))

set_level = logging.Logger.setLevel
logging.Logger.setLevel = lambda logger, _level: set_level(logger, logging.DEBUG)
seen = open(os.environ["EXCEPTIONS"], "a", buffering=1)

def trace(frame, event, argument):
    if event == "call":
        if "/stepout/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines = False
        return trace
    if event == "exception":
        kind, error, _ = argument
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            # How coroutines give their values.
            return trace
        if "/egress/" in frame.f_code.co_filename and kind.__module__.startswith("aiohttp"):
            # They carry the request that they are about, and the egress lets none of them out.
            return trace
        told = "".join(traceback.format_exception(error))
        seen.write(f"{kind.__module__}.{kind.__name__} {error!r} {error} {error.args!r} {told}\\n")
    return trace

if os.environ.get("EXCEPTIONS"):
    threading.settrace(trace)
    sys.settrace(trace)
"""
"""Python's `sitecustomize`: every logger at DEBUG, every exception on record."""


class LoudServer(ServerProcess):
    """`stepout serve`, its standard output in a file."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        self._resources = ExitStack()
        self.output, self.log = directory / "stdout", directory / "stderr"
        self.exceptions = directory / "exceptions"
        hooks = directory / "hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / "sitecustomize.py").write_text(EVERYTHING)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stepout.cli", "serve", "--port", "0", *arguments],
            stdout=self._resources.enter_context(self.output.open("w")),
            stderr=self._resources.enter_context(self.log.open("a")),
            env={
                **os.environ,
                "PYTHONPATH": str(hooks),
                "PYTHONASYNCIODEBUG": "1",
                "EXCEPTIONS": str(self.exceptions),
                **environ,
            },
            text=True,
        )
        self.ready_line = self._ready()
        self.url = self.ready_line.split()[2]

    def _ready(self) -> str:
        for _ in range(3_000):
            found = re.search(r"^stepout serves http.*$", self.output.read_text(), re.MULTILINE)
            if found:
                return found[0]
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        raise AssertionError(self.log.read_text())


class Canaries:
    """Texts that are secret, and every form in which they would show."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def __call__(self, name: str, more: str = "") -> str:
        """A new secret."""
        text = f"Canary{name}{len(self.texts):02}+{name[::-1]}/7391{more}"
        self.texts[name] = text
        return text

    def found_in(self, place: str, content: bytes) -> list[str]:
        return [
            f"{name} in {place}: {content[max(0, at - 80) : at + 80]!r}"
            for name, text in self.texts.items()
            for form in self._forms(text)
            for at in [content.find(form)]
            if at >= 0
        ]

    def _forms(self, text: str) -> Iterator[bytes]:
        """As it is, escaped, in a URL, in hexadecimal, in base64 wherever it begins."""
        raw = text.encode()
        yield raw
        # A half of it would be bad enough.
        yield raw[: len(raw) // 2]
        yield json.dumps(text)[1:-1].encode()
        yield quote_plus(text).encode()
        yield raw.hex().encode()
        for before in range(3):
            skipped = -(-before * 4 // 3)
            yield b64encode(b"x" * before + raw)[skipped + 1 : -4]


def parameters(canary: Canaries, name: str) -> dict[str, Any]:
    """Parameters of every place, secret ones and one that is none."""
    return {
        "HeaderParameters": [
            {"Key": "x-own", "Value": canary(f"{name}Header"), "IsValueSecret": True},
            {"Key": "x-known", "Value": "not-a-secret", "IsValueSecret": False},
        ],
        "QueryStringParameters": [
            {"Key": "own", "Value": canary(f"{name}Query"), "IsValueSecret": True}
        ],
        "BodyParameters": [{"Key": "own", "Value": canary(f"{name}Body"), "IsValueSecret": True}],
    }


def oauth(canary: Canaries, name: str, method: str) -> dict[str, Any]:
    return {
        "OAuthParameters": {
            "ClientParameters": {"ClientID": name, "ClientSecret": canary(f"{name}Client")},
            "AuthorizationEndpoint": f"{TOKENS}/{name}",
            "HttpMethod": method,
            "OAuthHttpParameters": parameters(canary, f"{name}OAuth"),
        },
        "InvocationHttpParameters": parameters(canary, f"{name}Call"),
    }


def auths(canary: Canaries, turn: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of a connection → its type and parameters, with secrets of their own in each turn."""
    password = canary(f"Password{turn}")
    canary.texts[f"Basic{turn}"] = b64encode(f"me:{password}".encode()).decode()
    return {
        "key": (
            "API_KEY",
            {
                "ApiKeyAuthParameters": {
                    "ApiKeyName": "x-key",
                    "ApiKeyValue": canary(f"Key{turn}"),
                },
                "InvocationHttpParameters": parameters(canary, f"Key{turn}"),
            },
        ),
        "basic": ("BASIC", {"BasicAuthParameters": {"Username": "me", "Password": password}}),
        "post": ("OAUTH_CLIENT_CREDENTIALS", oauth(canary, f"post{turn}", "POST")),
        "get": ("OAUTH_CLIENT_CREDENTIALS", oauth(canary, f"get{turn}", "GET")),
    }


class World:
    """A server, an origin, and everything that was answered."""

    def __init__(self, server: LoudServer, origin: Origin, canary: Canaries) -> None:
        self.server = server
        self.origin = origin
        self.canary = canary
        self.answers: list[str] = []
        self.statuses: dict[str, str] = {}
        once = {"retries": {"total_max_attempts": 1}}
        self.events = server.client("events", **once)
        self.sfn = server.client("stepfunctions", **once)

    def note(self, call: Callable[..., Any], **members: Any) -> Any:
        """Call an operation and keep what it answers, or how it fails."""
        try:
            answer = call(**members)
        except ClientError as error:
            self.answers.append(f"{error!r} {error} {error.response}")
            return None
        self.answers.append(str(answer))
        return answer

    def connect(self, turn: str) -> dict[str, str]:
        """Make the connections, or change them; their ARNs by name."""
        change = self.events.create_connection if turn == "1" else self.events.update_connection
        found = {}
        for name, (kind, given) in auths(self.canary, turn).items():
            if kind.startswith("OAUTH"):
                self._serve_tokens(f"{name}{turn}")
            made = self.note(change, Name=name, AuthorizationType=kind, AuthParameters=given)
            found[name] = made["ConnectionArn"]
            self._await_authorisation(name)
        self.note(self.events.list_connections)
        return found

    def _serve_tokens(self, name: str) -> None:
        token = self.canary(f"Token{name}")
        for method in ("POST", "GET"):
            self.origin.route(method, f"{TOKENS}/{name}").respond(
                json={"access_token": token, "token_type": "Bearer", "expires_in": 3_600}
            )

    def _await_authorisation(self, name: str) -> None:
        for _ in range(3_000):
            described = self.note(self.events.describe_connection, Name=name)
            if described["ConnectionState"] == "AUTHORIZED":
                return
            time.sleep(0.01)
        raise AssertionError(described)

    def run(self, name: str, connection: str, url: str, **fields: Any) -> Any:
        """A machine of one HTTP Task, with all data in its log; answers the execution."""
        group = "arn:aws:logs:us-east-1:123456789012:log-group:canaries:*"
        machine = self.note(
            self.sfn.create_state_machine,
            name=name,
            type="EXPRESS",
            roleArn=ROLE,
            definition=json.dumps(
                one_task(connection, Parameters={"ApiEndpoint": url, **fields}, TimeoutSeconds=20)
            ),
            loggingConfiguration={
                "level": "ALL",
                "includeExecutionData": True,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
            },
        )
        arn = machine["stateMachineArn"]
        self.note(self.sfn.describe_state_machine, stateMachineArn=arn)
        done = self.note(self.sfn.start_sync_execution, stateMachineArn=arn, input='{"a": 1}')
        self.statuses[name] = done.get("error") or done["status"]
        return done

    def own(self, path: str) -> None:
        with urllib.request.urlopen(f"{self.server.url}/_stepout/{path}", timeout=10) as answer:
            self.answers.append(answer.read().decode())

    def send(self, operation: str, body: bytes) -> None:
        """A request that no SDK would make."""
        host = self.server.url.removeprefix("http://")
        headers = sigv4.sign(
            SignedRequest(
                "POST",
                "/",
                "",
                [(b"host", host.encode()), (b"x-amz-target", f"AWSEvents.{operation}".encode())],
                body,
            ),
            access_key_id="any",
            secret=Secret("any"),
            region="us-east-1",
            service="events",
            now=time.time(),
        )
        sent = {name.decode(): value.decode("latin-1") for name, value in headers}
        request = urllib.request.Request(self.server.url, body, sent, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.answers.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                self.answers.append(f"{error.code} {error.headers} {error.read().decode()}")

    def leaks(self, *directories: Path) -> list[str]:
        """Every place where a secret shows."""
        found = self.canary.found_in("an answer", "\n".join(self.answers).encode())
        for directory in directories:
            for path in directory.rglob("*"):
                if path.is_file() and path.suffix != ".pem":
                    found += self.canary.found_in(str(path), path.read_bytes())
        return found


def arrange(origin: Origin) -> None:
    """APIs that succeed and fail in every way."""
    for path, route in {
        path: origin.post(f"{API}/{path}")
        for path in ("ok", "401", "500", "binary", "reset", "garbage", "redirect", "huge")
    }.items():
        match path:
            case "ok":
                route.respond(json={"fine": True})
            case "401" | "500":
                route.respond(int(path), json={"problem": "no"}, headers={"x-why": "because"})
            case "binary":
                route.respond(body=bytes(range(256)), headers={"Content-Type": "image/png"})
            case "reset":
                route.reset()
            case "garbage":
                route.raw(b"SMTP ready\r\n\r\n")
            case "redirect":
                route.respond(302, headers={"Location": f"{API}/ok"})
            case _:
                route.respond(text="x" * 400_000)
    origin.present("untrusted.example.com", Authority.create("other").server_context("other"))


@pytest.fixture
def origin(stepout_origin: Origin) -> Origin:
    arrange(stepout_origin)
    return stepout_origin


@pytest.fixture
def flags(origin: Origin, tmp_path: Path) -> list[str]:
    """The server keeps data, logs and error bodies, and reaches the origin."""
    certificate = tmp_path / "origin.pem"
    certificate.write_bytes(origin.certificate_pem)
    hosts = ("api.example.com", "auth.example.com", "untrusted.example.com")
    reach = [f"--egress-connect={host}:443=127.0.0.1:{origin.port}" for host in hosts]
    return [
        *reach,
        "--egress-connect=closed.example.com:443=127.0.0.1:1",
        *("--egress-ca", str(certificate)),
        *("--data", str(tmp_path / "data")),
        "--error-bodies",
    ]


FAILURES = {
    "ok": "SUCCEEDED",
    "401": "States.Http.StatusCode.401",
    "500": "States.Http.StatusCode.500",
    "binary": "States.Runtime",
    "reset": "States.Http.Socket",
    "garbage": "States.Http.Socket",
    "redirect": "States.Http.StatusCode.302",
    "huge": "States.DataLimitExceeded",
}
"""Path of the API → how a call of it ends."""

ELSEWHERE = {
    "tls": "https://untrusted.example.com/",
    "refused": "https://10.0.0.1/",
    "closed": "https://closed.example.com/",
    "dns": "https://no-such-name.invalid/",
    "port": f"{API}:99999/",
}


def exercise(world: World) -> None:
    """Everything that a connection can be used for, and what goes wrong with it."""
    for turn in ("1", "2"):
        connections = world.connect(turn)
        for name, arn in connections.items():
            for path in FAILURES:
                world.run(
                    f"{name}-{turn}-{path}",
                    arn,
                    f"{API}/{path}",
                    Method="POST",
                    RequestBody={"b": 1},
                    QueryParameters={"q": "1"},
                )
        for place, url in ELSEWHERE.items():
            world.run(f"key-{turn}-{place}", connections["key"], url)
    malformed(world)
    world.note(world.events.deauthorize_connection, Name="basic")
    world.run("deauthorized", connections["basic"], f"{API}/ok")
    world.note(world.events.delete_connection, Name="post")
    world.run("deleted", connections["post"], f"{API}/ok")
    for path in ("metrics", "health", "ready"):
        world.own(path)


def malformed(world: World) -> None:
    """Secrets that cannot be: control characters, wrong types, half characters, half a request."""
    canary, create = world.canary, world.events.create_connection
    for number, text in enumerate(
        (
            canary("Newline", "\n"),
            canary("Control", "\x01"),
            canary("Long", "x" * 600),
            canary("Snow", "☃"),
        )
    ):
        for kind, given in (
            ("API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": "x", "ApiKeyValue": text}}),
            ("BASIC", {"BasicAuthParameters": {"Username": "u", "Password": text}}),
        ):
            name = f"bad-{number}-{kind}"
            made = world.note(create, Name=name, AuthorizationType=kind, AuthParameters=given)
            if made is not None:
                world.run(f"with-{name}", made["ConnectionArn"], f"{API}/ok", Method="POST")
    half, wrong = canary("Half"), canary("Wrong")
    for value in (f'"{half}\\ud800"', f'["{wrong}"]', f'{{"{wrong}": 1}}', f'"{half}'):
        world.send(
            "CreateConnection",
            b'{"Name":"half","AuthorizationType":"API_KEY","AuthParameters":'
            b'{"ApiKeyAuthParameters":{"ApiKeyName":"x-key","ApiKeyValue":%b}}}' % value.encode(),
        )
    world.send("DescribeConnection", b'{"Name":"half"}')
    world.note(
        create, Name="key", AuthorizationType="BASIC", AuthParameters=auths(canary, "3")["key"][1]
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_shows_nowhere_but_in_the_calls_it_is_for(
    origin: Origin, flags: list[str], tmp_path: Path, log_format: str
) -> None:
    where = tmp_path / "server"
    where.mkdir()
    logs = tmp_path / "logs" if log_format == "text" else None
    flags += ["--execution-log", "-" if logs is None else str(logs), "--log-format", log_format]
    with LoudServer(where, *flags) as server:
        world = World(server, origin, Canaries())
        exercise(world)
        while_it_runs = world.leaks(tmp_path)
        assert server.end() == 0
    assert "\n".join(while_it_runs) == ""
    assert "\n".join(world.leaks(tmp_path)) == ""
    it_was_not_idle(world, tmp_path)


def it_was_not_idle(world: World, directory: Path) -> None:
    """The calls were made, with the secrets, and the places that were searched are full."""
    for turn in ("1", "2"):
        for name in ("key", "basic", "post", "get"):
            found = {path: world.statuses[f"{name}-{turn}-{path}"] for path in FAILURES}
            assert found == FAILURES
        assert {world.statuses[f"key-{turn}-{place}"] for place in ELSEWHERE} == {
            "States.Http.Socket"
        }
    sent = b"".join(
        received.target.encode() + str(received.headers).encode() + received.body
        for received, _ in world.origin.exchanges
    )
    arrived = {text.split()[0] for text in world.canary.found_in("what was sent", sent)}
    assert arrived >= {name for name in world.canary.texts if name[-1] in "12" and "Call" in name}
    assert len(arrived) > 30
    logged = world.server.log.read_text()
    records = b"".join(path.read_bytes() for path in (directory / "logs").glob("*"))
    records += world.server.output.read_bytes()
    assert logged.count("StartSyncExecution") > 70
    assert "debug reaches the log" in logged
    assert b'"TaskScheduled"' in records
    assert b"not-a-secret" not in records
    assert "not-a-secret" in "".join(world.answers)
    exceptions = world.server.exceptions.read_text()
    assert exceptions.count("\n") > 100
    assert "EgressFailed" in exceptions


def test_what_an_api_sends_back_is_its_own_doing(
    origin: Origin, flags: list[str], tmp_path: Path
) -> None:
    """A secret that an API repeats is in the output, as on AWS, and in no log of the server."""

    def echo(received: Received) -> Answer:
        text = json.dumps({"got": received.header("x-key")})
        return Answer(headers=(("Content-Type", "application/json"),), body=text.encode())

    origin.post(f"{API}/echo").handle(echo)
    where = tmp_path / "server"
    where.mkdir()
    with LoudServer(where, *flags, "--execution-log", str(tmp_path / "logs")) as server:
        world = World(server, origin, Canaries())
        secret = world.canary("Echo")
        made = world.events.create_connection(
            Name="echo",
            AuthorizationType="API_KEY",
            AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": secret}},
        )
        done = world.run("echo", made["ConnectionArn"], f"{API}/echo", Method="POST")
        server.end()
    assert json.loads(done["output"])["ResponseBody"] == {"got": secret}
    world.answers.clear()
    assert "\n".join(world.leaks(where, tmp_path / "data")) == ""
    records = (tmp_path / "logs" / "canaries.jsonl").read_text().splitlines()
    told = {json.loads(line)["type"] for line in records if secret in line}
    assert told == {"TaskSucceeded", "TaskStateExited", "ExecutionSucceeded"}


def test_the_secrets_of_users_and_sessions_are_in_no_log_nor_audit(
    flags: list[str], origin: Origin, tmp_path: Path
) -> None:
    canary = Canaries()
    users = tmp_path / "users.pem"  # so that it is not searched
    users.write_text(
        f'''
        [user.admin]
        access_key_id = "AKIDADMIN"
        secret_access_key = "{canary("User")}"
        policies = ["AdministratorAccess"]
        [role.helper]
        trust = '{{"Statement": {{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": \\
          {{"AWS": "123456789012"}}}}}}'
        policies = ["AdministratorAccess"]
        '''.replace("\\\n", "")
    )
    where = tmp_path / "server"
    where.mkdir()
    more = ["--identities", str(users), "--audit", str(where / "audit"), "--log-format", "json"]
    with LoudServer(where, *flags, *more) as server:
        world = World(server, origin, canary)

        def client(service: str, key: str, secret: str, token: str | None = None) -> Any:
            connect: Any = boto3.client
            return connect(
                service,
                endpoint_url=server.url,
                region_name="us-east-1",
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                aws_session_token=token,
            )

        user = canary.texts["User"]
        assert world.note(client("stepfunctions", "AKIDADMIN", user).list_state_machines)
        assert not world.note(client("stepfunctions", "AKIDADMIN", "wrong").list_state_machines)
        session = client("sts", "AKIDADMIN", user).assume_role(
            RoleArn="arn:aws:iam::123456789012:role/helper", RoleSessionName="canary"
        )["Credentials"]
        canary.texts["SessionKey"] = secret = session["SecretAccessKey"]
        canary.texts["SessionToken"] = token = session["SessionToken"]
        key = session["AccessKeyId"]
        assert client("stepfunctions", key, secret, token).list_state_machines()
        for wrong in ((key, "wrong", token), (key, secret, None), ("AKIDADMIN", user, token)):
            with pytest.raises(ClientError):
                client("stepfunctions", *wrong).list_state_machines()
        server.end()
    assert "\n".join(world.leaks(where, tmp_path / "data")) == ""
    assert (where / "audit").read_text().count("ListStateMachines") >= 3


# --- The key --------------------------------------------------------------------------------------


def test_the_key_of_a_variable_is_gone_from_the_server_s_environment_and_files(
    flags: list[str], origin: Origin, tmp_path: Path
) -> None:
    key = bytes(range(200, 232))
    text = b64encode(key).decode()
    where = tmp_path / "server"
    where.mkdir()
    flags += ["--secret-key-source", "env:MY_KEY"]
    with LoudServer(where, *flags, MY_KEY=text) as server:
        world = World(server, origin, Canaries())
        world.connect("1")
        server.end()
    for path in (*where.rglob("*"), *(tmp_path / "data").iterdir()):
        content = path.read_bytes() if path.is_file() else b""
        assert key not in content, path
        assert text.encode() not in content, path
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"stepout.db"}
    with LoudServer(where, *flags, MY_KEY=text) as again:
        names = {item["Name"] for item in again.client("events").list_connections()["Connections"]}
    assert names == {"key", "basic", "post", "get"}


def test_a_wrong_key_is_told_before_anything_is_served(
    flags: list[str], origin: Origin, tmp_path: Path
) -> None:
    where = tmp_path / "server"
    where.mkdir()
    with LoudServer(where, *flags) as server:
        World(server, origin, Canaries()).connect("1")
        server.end(signal.SIGKILL)
    wrong = b64encode(os.urandom(32)).decode()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stepout.cli", "serve", "--port", "0", *flags),
            *("--secret-key-source", "env:WRONG"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "WRONG": wrong},
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.search("are sealed with the key .*, and the variable WRONG has the key", done.stderr)
    assert "Traceback" not in done.stderr
    assert wrong not in done.stderr
    with LoudServer(where, *flags) as again:
        assert len(again.client("events").list_connections()["Connections"]) == 4


def test_the_shown_settings_hide_the_arguments_of_a_command(tmp_path: Path) -> None:
    shown = subprocess.check_output(
        [
            *(sys.executable, "-m", "stepout.cli", "serve", "--show-config"),
            *("--data", str(tmp_path), "--secret-key-source", "command:vault read -token=sesame"),
        ],
        text=True,
    )
    assert re.search("secret_key_source +command:vault … +--secret-key-source", shown)
    assert "sesame" not in shown


def test_a_source_of_the_key_without_data_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "serve", "--secret-key-source", "env:K"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--secret-key-source belongs to --data, which is missing" in done.stderr


def test_a_server_s_memory_is_closed_to_other_programs_of_its_user(
    flags: list[str], tmp_path: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("prctl is Linux's.")
    where = tmp_path / "server"
    where.mkdir()
    with LoudServer(where, *flags) as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        server._process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(server.pid, 0)
        server._process.returncode = -os.WTERMSIG(status)
    assert re.search(r"Max core file size +0 ", limits)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)


# --- The certificate ------------------------------------------------------------------------------


def admin_ca(directory: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        subprocess.check_output(
            [
                *(sys.executable, "-m", "stepout.cli", "admin", "ca", "--json"),
                *("--dir", str(directory), *arguments),
            ]
        )
    )
    return found


def test_a_running_server_takes_the_certificate_that_admin_ca_makes(tmp_path: Path) -> None:
    made = admin_ca(tmp_path / "ca")
    with LoudServer(
        tmp_path, "--tls-cert", made["certificate"], "--tls-key", made["key"]
    ) as server:
        connect: Any = boto3.client
        client = connect(
            "stepfunctions",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="stepout",
            aws_secret_access_key="stepout",
            verify=made["ca"],
        )
        assert client.list_state_machines()["stateMachines"] == []
        place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        first = ssl.get_server_certificate(place)
        assert admin_ca(tmp_path / "ca", "127.0.0.1", "new.example")["is_new"]
        expected = Path(made["certificate"]).read_text().partition("-----END")[0]
        for _ in range(600):
            if ssl.get_server_certificate(place).startswith(expected):
                break
            time.sleep(0.05)
        assert not first.startswith(expected)
        assert ssl.get_server_certificate(place).startswith(expected)
        # Over the connection that was open all the time.
        assert client.list_state_machines()["stateMachines"] == []
        Path(made["key"]).write_text("half a ke")
        for _ in range(600):
            if "not reloaded" in server.log.read_text():
                break
            time.sleep(0.05)
        assert ssl.get_server_certificate(place).startswith(expected)
        client.close()
        assert server.end() == 0
    lines = [line for line in server.log.read_text().splitlines() if "what=certificate" in line]
    assert [re.sub(r" what=.*", "", line[25:]) for line in lines] == ["reloaded", "not reloaded"]
