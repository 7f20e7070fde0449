"""A subnet without a route, five APIs, and programs that know plain HTTP: the README, as a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from stepout.certificates import Authority
from stepout.cli.subnet import Subnet, Unavailable
from stepout.testing import Origin, Server

pytestmark = pytest.mark.namespaces

ENDPOINTS = ("sync-states.us-east-1.amazonaws.com", "states.us-east-1.amazonaws.com")

UPSTREAMS = """
[upstream.items]
url = "https://items.example.com/v1/"
methods = ["GET", "POST"]
auth = "api-key"
header = "Authorization"
prefix = "Bearer "

[upstream.orders]
url = "https://orders.example.org/"
auth = "basic"
username = "shop"

[upstream.tokens]
url = "https://tokens.example.com/v2/"
auth = "oauth"
client_id = "me"
token_url = "https://auth.example.com/token"

[upstream.hooks]
url = "https://hooks.example.net/in/"
methods = ["POST"]
auth = "api-key"
header = "X-Api-Key"

[upstream.open]
url = "https://open.example.com/"
"""
SECRETS = {"ITEMS": "first", "ORDERS": "pw", "TOKENS": "client secret", "HOOKS": "hook key"}
KEYS = {"app": "app-secret", "admin": "admin-secret"}

IDENTITIES = f"""
[user.app]
access_key_id = "AKIDAPP"
secret_access_key = "{KEYS["app"]}"
policies = ["call"]

[[policy.call.Statement]]
Effect = "Allow"
Action = "states:StartSyncExecution"
Resource = "arn:aws:states:us-east-1:123456789012:stateMachine:stepout-gateway"

[user.admin]
access_key_id = "AKIDADMIN"
secret_access_key = "{KEYS["admin"]}"
policies = ["AdministratorAccess"]
"""

ITEMS = "https://items.example.com/v1/items"
ORDERS = "https://orders.example.org/list"
TOKENS = "https://tokens.example.com/v2/me"
HOOKS = "https://hooks.example.net/in/1"
OPEN = "https://open.example.com/free"
MISSING = "https://open.example.com/missing"


@dataclass(frozen=True, slots=True)
class Place:
    """The subnet, the server at its endpoint, and the internet behind it."""

    subnet: Subnet
    server: Server
    origin: Origin
    directory: Path

    def run(self, *program: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside the subnet, with what an instance there would have."""
        return subprocess.run(
            [*self.subnet.command_prefix, *program],
            env={
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.directory),
                "AWS_ACCESS_KEY_ID": "AKIDAPP",
                "AWS_SECRET_ACCESS_KEY": KEYS["app"],
                "AWS_REGION": "us-east-1",
                "AWS_CA_BUNDLE": str(self.directory / "ca.pem"),
                "STEPOUT_STATE_MACHINE_ARN": self.server.gateway_arn or "",
                "STEPOUT_UPSTREAMS": str(self.directory / "upstreams.toml"),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )

    def python(self, program: str) -> str:
        """What a Python program prints inside the subnet."""
        done = self.run(sys.executable, "-c", program)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("way-out")
    opened = Subnet.open([443], names=ENDPOINTS)
    if isinstance(opened, Unavailable):
        # Not every place that runs tests lets its root make namespaces.
        pytest.skip(opened.reason)
    with opened, Origin() as origin, pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(f"STEPOUT_SECRET_{name}", secret)
        _answer(origin)
        with _server(opened, origin, directory) as server:
            yield Place(opened, server, origin, directory)


def _answer(origin: Origin) -> None:
    origin.post("https://auth.example.com/token").respond(200, json={"access_token": "tok-1"})
    for url in (ITEMS, ORDERS, TOKENS, OPEN):
        origin.get(url).respond(200, json={"url": url})
    origin.post(HOOKS).respond(202, json={"url": HOOKS})
    origin.get(MISSING).respond(404, json={"why": "gone"})


def _server(subnet: Subnet, origin: Origin, directory: Path) -> Server:
    authority = Authority.create("the test's own")
    leaf = authority.leaf("127.0.0.1", *ENDPOINTS)
    for name, content in {
        "ca.pem": authority.certificate_pem,
        "chain.pem": leaf.chain_pem,
        "key.pem": leaf.key_pem,
        "identities.toml": IDENTITIES.encode(),
        "upstreams.toml": UPSTREAMS.encode(),
    }.items():
        (directory / name).write_bytes(content)
    return Server(
        origin=origin,
        sockets=subnet.listeners,
        tls_cert=directory / "chain.pem",
        tls_key=directory / "key.pem",
        identities=directory / "identities.toml",
        upstreams=directory / "upstreams.toml",
    )


def test_nothing_gets_out_directly(place: Place) -> None:
    program = (
        "import socket\n"
        "for host in ('items.example.com', '192.0.2.1'):\n"
        "    try: socket.create_connection((host, 443), 5)\n"
        "    except OSError as error: print(type(error).__name__)\n"
    )
    assert place.python(program).split() == ["gaierror", "OSError"]


LIBRARIES = {
    "stepout": "import stepout as client",
    "httpx": "import httpx; from stepout.client.httpx import Transport\n"
    "client = httpx.Client(transport=Transport())",
    "requests": "import requests; from stepout.client.requests import Adapter\n"
    "client = requests.Session(); client.mount('https://', Adapter())",
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_reaches_all_five(place: Place, library: str) -> None:
    program = (
        f"{LIBRARIES[library]}\n"
        f"for url in {[ITEMS, ORDERS, TOKENS, OPEN]!r}:\n"
        "    print(client.get(url).json()['url'])\n"
        f"print(client.post({HOOKS!r}, json={{'a': 1}}).json()['url'])\n"
        f"print(client.get({MISSING!r}).status_code)\n"
    )
    assert place.python(program).split() == [ITEMS, ORDERS, TOKENS, OPEN, HOOKS, "404"]
    assert _credentials(place.origin) == {
        ITEMS: "Bearer first",
        ORDERS: "Basic c2hvcDpwdw==",
        TOKENS: "Bearer tok-1",
        OPEN: None,
    }
    assert place.origin.post(HOOKS).requests[-1].header("x-api-key") == "hook key"


def _credentials(origin: Origin) -> dict[str, str | None]:
    """The Authorization header that each API was sent last."""
    urls = (ITEMS, ORDERS, TOKENS, OPEN)
    return {url: origin.get(url).requests[-1].header("authorization") for url in urls}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_goes_through_exec(place: Place) -> None:
    done = place.run("stepout", "exec", "--", "curl", "--silent", "--fail", ITEMS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"url": ITEMS}
    missing = place.run("stepout", "exec", "--", "curl", "--silent", "--fail", MISSING)
    assert missing.returncode == 22  # what curl says of a 404


def test_fetch_prints_the_answer(place: Place) -> None:
    done = place.run("stepout", "fetch", ORDERS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"url": ORDERS}


def test_the_doctor_finds_every_part_of_the_way_open(place: Place) -> None:
    done = place.run("stepout", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = json.loads(done.stdout)["findings"]
    assert {one["probe"]: one["status"] for one in findings} == {
        **dict.fromkeys(
            ("settings", "endpoint", "credentials", "dns", "tcp", "tls", "service"), "ok"
        ),
        **{f"execution: {name}": "ok" for name in ("items", "orders", "tokens", "open")},
        "execution: hooks": "skipped",  # it takes POST alone
    }


def test_an_unknown_host_fails_before_the_call_and_lists_those_there_are(place: Place) -> None:
    done = place.run("stepout", "fetch", "https://unknown.example.com/")
    assert done.returncode == 1
    assert "No upstream has the URL https://unknown.example.com/; nothing was sent." in done.stderr
    assert "orders: https://orders.example.org/" in done.stderr


def test_a_secret_is_rotated_without_a_word_to_the_programs(place: Place) -> None:
    """Where the secrets are kept, not where the programs run."""
    events = boto3.client(
        "events",
        endpoint_url=place.server.url,
        region_name=place.server.region,
        aws_access_key_id="AKIDADMIN",
        aws_secret_access_key=KEYS["admin"],
        verify=str(place.directory / "ca.pem"),
    )
    events.update_connection(
        Name="stepout-items",
        AuthorizationType="API_KEY",
        AuthParameters={
            "ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": "Bearer second"}
        },
    )
    deadline = time.monotonic() + 10
    state = None
    while state != "AUTHORIZED" and time.monotonic() < deadline:
        state = events.describe_connection(Name="stepout-items")["ConnectionState"]
    assert place.python(f"import stepout; print(stepout.get({ITEMS!r}).status_code)") == "200"
    assert _credentials(place.origin)[ITEMS] == "Bearer second"
