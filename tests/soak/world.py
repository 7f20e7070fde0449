"""The server under the soak, with everything that is around it: files, disks, origins, secrets."""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from tests.soak.canaries import Canaries
from tests.soak.machines import CALLS, ROLE, definitions, logging_to
from tests.soak.origin import BAD_HOSTS, GOOD_HOSTS
from tests.soak.wire import Key, Link, Reply, signed

from stepout.api.identities import MACHINE_TRUST
from stepout.certificates import Authority
from stepout.secret import Secret

__all__ = ["APPS", "CONNECTIONS", "DRAIN_SECONDS", "World"]

APPS: Final = 10
"""Honest users."""

DRAIN_SECONDS: Final = 10
RATE: Final = 400
"""Requests a second of one caller and operation."""

CONNECTIONS: Final = 1_500

_USERS: Final = {
    "admin": ["everything"],
    "probe": ["everything"],
    "greedy": ["everything"],
    "nobody": [],
    **{f"app{number}": ["everything"] for number in range(APPS)},
}

_EVERYTHING: Final = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_ANYBODY: Final = {
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "123456789012"}}
    ]
}

_POLICY: Final = """
[[allow]]
name = "everything of ours"
hosts = ["*.example.com"]
[[deny]]
name = "one host"
hosts = ["forbidden.example.com"]
[[deny]]
name = "changes"
hosts = ["changes.example.com"]
paths = ["/%d/"]
"""

_UPSTREAMS: Final = """
[upstream.soaked]
url = "https://api.example.com/"
auth = "api-key"
secret = { file = "%s" }
"""


class World(AbstractContextManager["World"]):
    """Made once; the server is started and ended in it."""

    def __init__(self, random: Random, *, has_mounts: bool) -> None:
        self.random = random
        self.has_mounts = has_mounts
        self.canaries = Canaries()
        self.connections: dict[str, str] = {}
        self.is_flooded = False
        """The server has as many connections as it may: others are refused or closed."""
        self.is_ending = False
        """The server was told to stop."""
        self.full: set[str] = set()
        """Disks that are full now."""
        self.disks_filled: Counter[str] = Counter()
        self.floods = 0
        self.kept: dict[str, str] = {}
        """Machines that were created for good: name → comment of the definition, empty where it may
        have either."""
        self._resources = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.directory = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        self.keys = {name: self._key(name) for name in _USERS}
        self.authority = Authority.create("Server of the soak")
        self.tls = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        self._mount()
        self.temporary.mkdir()
        self.write_identities(0)
        self.write_certificate()
        self.write_policy(0)
        password = self.directory / "upstream.secret"
        password.write_text(self.canaries.new("Upstream"))
        (self.directory / "upstreams.toml").write_text(_UPSTREAMS % password)
        self._start_origins()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._resources.close()

    # --- Directories and files --------------------------------------------------------------------

    def disk(self, name: str) -> Path:
        """`data`, `audit` or `logs`: a file system of its own where mounts are had."""
        return self.directory / name

    @property
    def temporary(self) -> Path:
        """The server's TMPDIR."""
        return self.directory / "tmp"

    @property
    def outputs(self) -> list[Path]:
        """Files that the server appends to."""
        logs = sorted(self.disk("logs").rglob("*.jsonl"))
        return [self.directory / "stdout", self.directory / "stderr", self.audit, *logs]

    @property
    def audit(self) -> Path:
        return self.disk("audit") / "audit.jsonl"

    def _mount(self) -> None:
        for name in ("data", "audit", "logs"):
            path = self.disk(name)
            path.mkdir(mode=0o700)
            if self.has_mounts:
                mount = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(path)]
                subprocess.run(mount, check=True)
                self._resources.callback(subprocess.run, ["umount", "-l", str(path)], check=False)

    def write_identities(self, turn: int) -> None:
        """The identities file; the role `coming` is in it in every other turn only."""
        users = [
            f'[user.{name}]\naccess_key_id = "{self.keys[name].id}"\n'
            f'secret_access_key = "{self.keys[name].secret.reveal()}"\n'
            f"policies = {json.dumps(policies)}\n"
            for name, policies in _USERS.items()
        ]
        roles = {"machines": MACHINE_TRUST, "staying": _ANYBODY, "coming": _ANYBODY}
        if turn % 2:
            del roles["coming"]
        written = [
            f"[role.{name}]\npolicies = [\"everything\"]\ntrust = '''{json.dumps(trust)}'''\n"
            for name, trust in roles.items()
        ]
        policy = f"[policy.everything]\ndocument = '''{json.dumps(_EVERYTHING)}'''\n"
        text = f"# Turn {turn}\n" + "\n".join([*users, *written, policy])
        (self.directory / "identities.toml").write_text(text)

    def write_policy(self, turn: int) -> None:
        (self.directory / "egress.toml").write_text(_POLICY % turn)

    def write_certificate(self) -> None:
        leaf = self.authority.leaf("localhost", "127.0.0.1")
        (self.directory / "server.pem").write_bytes(leaf.chain_pem)
        key = self.directory / "server-key.pem"
        key.touch(0o600)
        key.write_bytes(leaf.key_pem)

    def _key(self, name: str) -> Key:
        return Key(f"AKIA{name.upper()}", Secret(self.canaries.new(f"User{name}")))

    # --- Processes --------------------------------------------------------------------------------

    def _start_origins(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.origin", str(self.directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._resources.callback(process.wait)
        self._resources.callback(process.kill)
        assert process.stdout is not None
        self._resources.enter_context(process.stdout)
        self._origins = json.loads(process.stdout.readline())
        if self.has_mounts:
            names = self.directory / "resolv.conf"
            names.write_text(f"nameserver 127.0.0.1:{self._origins['names']}\n")
            subprocess.run(["mount", "--bind", str(names), "/etc/resolv.conf"], check=True)
            self._resources.callback(
                subprocess.run, ["umount", "-l", "/etc/resolv.conf"], check=False
            )

    def start(self) -> None:
        """Start the server, and wait until it is ready."""
        output = self.directory / "stdout"
        said = output.stat().st_size if output.exists() else 0
        with output.open("ab") as stdout, (self.directory / "stderr").open("ab") as stderr:
            # As most systems start a process: the server has to ask for more descriptors itself.
            limited = ["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh"]
            self._process = subprocess.Popen(
                [*limited, sys.executable, "-m", "stepout.cli", "serve", *self._flags()],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )
        for _ in range(3_000):
            line = output.read_bytes()[said:]
            if line.endswith(b"\n"):
                break
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        if not line.startswith(b"stepout serves"):
            raise RuntimeError((self.directory / "stderr").read_text()[-4_000:])
        self.port = int(line.split()[2].rpartition(b":")[2])

    def _flags(self) -> list[str]:
        at, origins = self.directory, self._origins
        places = {
            **dict.fromkeys(GOOD_HOSTS, origins["good"]),
            **{f"{host}.example.com": origins[host] for host in BAD_HOSTS},
        }
        connect = [f"{host}:443=127.0.0.1:{port}" for host, port in places.items()]
        return [
            *("--port", "0", "--log-format", "json", "--repeats", "join"),
            *("--data", str(self.disk("data")), "--audit", str(self.audit)),
            *("--execution-log", str(self.disk("logs"))),
            *("--tls-cert", str(at / "server.pem"), "--tls-key", str(at / "server-key.pem")),
            *("--identities", str(at / "identities.toml")),
            *("--upstreams", str(at / "upstreams.toml")),
            *("--egress-policy", str(at / "egress.toml"), "--egress-ca", str(at / "origins.pem")),
            *("--egress-connections-per-host", "128", "--max-connections", str(CONNECTIONS)),
            *("--principal-rate", str(RATE), "--drain-seconds", str(DRAIN_SECONDS)),
            *(part for entry in connect for part in ("--egress-connect", entry)),
        ]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The server's exit status; None while it lives."""
        assert self._process is not None
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, seconds: float) -> int | None:
        """Wait for the end of a server that was told to stop; None where it takes longer."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    # --- What it is made to know ------------------------------------------------------------------

    def machine(self, name: str) -> str:
        return f"arn:aws:states:us-east-1:123456789012:stateMachine:{name}"

    async def set_up(self) -> None:
        """Make the connections and the machines that stay."""
        link = await Link.open(self.port, self.tls)
        for name in CALLS:
            kind, parameters = self.credential(name)
            members = {"Name": name, "AuthorizationType": kind, "AuthParameters": parameters}
            reply = await self._admin(link, "CreateConnection", members, service="events")
            self.connections[name] = reply.document["ConnectionArn"]
        for name, definition in definitions(self.connections).items():
            members = {"name": name, "type": "EXPRESS", "roleArn": ROLE, "definition": definition}
            if name == "logged":
                members["loggingConfiguration"] = logging_to("soak/logged")
            await self._admin(link, "CreateStateMachine", members)
        link.close()

    async def _admin(self, link: Link, operation: str, members: Any, **more: Any) -> Reply:
        await link.send(signed(self.keys["admin"], operation, members, **more))
        reply = await link.reply()
        if reply.status != 200:
            raise RuntimeError(f"{operation}: {reply.body.decode()}")
        return reply

    def credential(self, name: str) -> tuple[str, dict[str, Any]]:
        """Type and parameters of a connection, with new secrets in every place that has one."""
        new = self.canaries.new
        more = {
            "InvocationHttpParameters": {
                "HeaderParameters": [
                    {"Key": "x-own", "Value": new(f"{name}Header"), "IsValueSecret": True}
                ],
                "QueryStringParameters": [
                    {"Key": "own", "Value": new(f"{name}Query"), "IsValueSecret": True}
                ],
            }
        }
        match name.partition("-"):
            case ("key", _, _):
                auth = {"ApiKeyName": "x-key", "ApiKeyValue": new("Key")}
                return "API_KEY", {"ApiKeyAuthParameters": auth, **more}
            case ("basic", _, _):
                user = {"Username": "me", "Password": new("Password")}
                return "BASIC", {"BasicAuthParameters": user, **more}
        path = {"no-token": "hang", "bad-token": "garbage"}.get(name, "token")
        oauth = {
            "ClientParameters": {"ClientID": name, "ClientSecret": new("Client")},
            "AuthorizationEndpoint": f"https://auth.example.com/{path}",
            "HttpMethod": "POST",
        }
        return "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": oauth, **more}

    def random_key(self) -> Key:
        """One that nobody knows."""
        return Key(f"AKIA{secrets.token_hex(8).upper()}", Secret("unknown"))
