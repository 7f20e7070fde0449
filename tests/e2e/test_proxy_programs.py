"""Unmodified programs under `stepout exec`: each finds the proxy and believes its certificate."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.world import OPEN, UPSTREAMS, World, opened
from tests.e2e.test_sdks import refuse

HERE = Path(__file__).parent
UNDICI = HERE / "undici"
URL = f"{OPEN}/orders"
BODY = "two words"
ANSWER = {"status": 201, "body": "taken"}

PYTHON = {
    "requests": """
import requests
answer = requests.post(url, data=body, headers={"Content-Type": "text/plain"})
status, text = answer.status_code, answer.text
""",
    "httpx": """
import httpx
answer = httpx.post(url, content=body)
status, text = answer.status_code, answer.text
""",
    "urllib": """
import urllib.request
request = urllib.request.Request(url, body.encode(), {"Content-Type": "text/plain"})
with urllib.request.urlopen(request) as answer:
    status, text = answer.status, answer.read().decode()
""",
    "aiohttp": """
import aiohttp, asyncio
async def call():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.post(url, data=body) as answer:
            return answer.status, await answer.text()
status, text = asyncio.run(call())
""",
    "http.client, tunnelled by hand": """
import http.client, os, urllib.parse
proxy, there = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"]), urllib.parse.urlsplit(url)
connection = http.client.HTTPSConnection(proxy.hostname, proxy.port)
connection.set_tunnel(there.hostname)
connection.request("POST", there.path, body)
answer = connection.getresponse()
status, text = answer.status, answer.read().decode()
""",
}
AROUND = """
import json, sys
url, body = sys.argv[1:]
{}
print(json.dumps({{"status": status, "body": text}}))
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened() as found:
        found.origin.post(URL).respond(201, text="taken")
        yield found


def under_exec(world: World, directory: Path, *program: str, **env: str) -> str:
    """What a program prints that knows nothing of stepout."""
    upstreams = directory / "upstreams.toml"
    upstreams.write_text(UPSTREAMS)
    done = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "exec", "--", *program],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "AWS_ACCESS_KEY_ID": "AKIDTEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "STEPOUT_STATE_MACHINE_ARN": world.machine,
            "STEPOUT_ENDPOINT_URL": world.server.url,
            "STEPOUT_UPSTREAMS": str(upstreams),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def the_body(world: World) -> str:
    return world.origin.post(URL).requests[-1].body.decode()


@pytest.mark.parametrize("library", PYTHON)
def test_a_python_program(world: World, tmp_path: Path, library: str) -> None:
    program = AROUND.format(PYTHON[library])
    printed = under_exec(world, tmp_path, sys.executable, "-c", program, URL, BODY)
    assert json.loads(printed) == ANSWER
    assert the_body(world) == BODY


def test_curl(world: World, tmp_path: Path) -> None:
    curl = installed("curl")
    flags = ["--silent", "--show-error", "--data", BODY, "--write-out", " %{http_code}"]
    assert under_exec(world, tmp_path, curl, *flags, URL, URL) == "taken 201taken 201"
    assert the_body(world) == BODY


def test_curl_with_a_large_body_asks_before_it_sends(world: World, tmp_path: Path) -> None:
    curl = installed("curl")
    (tmp_path / "body").write_text("x" * 200_000)
    flags = ["--silent", "--data", f"@{tmp_path}/body", "-H", "Expect: 100-continue"]
    assert under_exec(world, tmp_path, curl, *flags, URL) == "taken"
    assert len(the_body(world)) == 200_000


def test_pip_reads_an_index_again_and_again(world: World, tmp_path: Path) -> None:
    """With conditions and wishes to caches that an HTTP Task does not take; files are no texts."""
    page = b'<!DOCTYPE html><a href="/f/thing-1.5-py3-none-any.whl">thing-1.5-py3-none-any.whl</a>'
    headers = {"Content-Type": "text/html", "ETag": '"1"', "Cache-Control": "max-age=600"}
    index = world.origin.get(f"{OPEN}/simple/thing/").respond(200, body=page, headers=headers)
    if importlib.util.find_spec("pip") is None:
        refuse("pip is not installed.")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "index", "versions"]
    for _ in range(2):
        printed = under_exec(world, tmp_path, *pip, "thing", "--index-url", f"{OPEN}/simple/")
        assert "Available versions: 1.5" in printed
    assert len(index.requests) == 2


def test_node_with_undici(world: World, tmp_path: Path) -> None:
    node = installed_undici()
    printed = under_exec(world, tmp_path, node, str(UNDICI / "fetch.mjs"), URL, BODY)
    assert json.loads(printed) == ANSWER


def test_node_s_own_fetch_where_it_reads_the_environment(world: World, tmp_path: Path) -> None:
    node = installed("node")
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    major, minor = map(int, done.stdout.lstrip("v").split(".")[:2])
    if (major, minor) < (22, 21) or major == 23:
        pytest.skip(f"The fetch of Node {done.stdout.strip()} reads no HTTPS_PROXY.")
    program = (
        "fetch(process.argv[1], {method: 'POST', body: process.argv[2]})"
        ".then(async a => console.log(JSON.stringify({status: a.status, body: await a.text()})))"
    )
    printed = under_exec(world, tmp_path, node, "-e", program, URL, BODY)
    assert json.loads(printed) == ANSWER


def test_java_told_where_the_proxy_is(world: World, tmp_path: Path) -> None:
    """As docs/proxy.md has it: a trust store made of the bundle, and two properties."""
    keytool, java = shutil.which("keytool"), shutil.which("java")
    modules = java and subprocess.run([java, "--list-modules"], capture_output=True, text=True)
    if not keytool or not modules or "jdk.compiler" not in modules.stdout:
        pytest.skip("No Java development kit is installed.")
    script = (
        'keytool -importcert -noprompt -alias stepout -file "$NODE_EXTRA_CA_CERTS" '
        '-keystore "$HOME/trust.p12" -storepass changeit >&2 && '
        'proxy="${HTTPS_PROXY#http://}" && '
        'java -Dhttps.proxyHost="${proxy%:*}" -Dhttps.proxyPort="${proxy#*:}" '
        '-Djavax.net.ssl.trustStore="$HOME/trust.p12" -Djavax.net.ssl.trustStorePassword=changeit '
        f'"{HERE / "Fetch.java"}" "{URL}" "{BODY}"'
    )
    assert json.loads(under_exec(world, tmp_path, "sh", "-c", script)) == ANSWER


def test_aws_s_sdk_goes_past_the_proxy(world: World, tmp_path: Path) -> None:
    program = """
import boto3, sys
from botocore.utils import get_environ_proxies
sfn = boto3.client("stepfunctions", endpoint_url=sys.argv[1])
print(len(sfn.list_state_machines()["stateMachines"]))
for host in ("states.eu-west-1.amazonaws.com", "states.cn-north-1.amazonaws.com.cn", "sfn.api.aws"):
    print(get_environ_proxies(f"https://{host}/"))
"""
    printed = under_exec(world, tmp_path, sys.executable, "-c", program, world.server.url)
    assert printed.split() == ["1", "{}", "{}", "{}"]


def installed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        refuse(f"{program} is not installed.")
    return str(found)


def installed_undici() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        refuse("Node.js and npm are not installed.")
    elif not (UNDICI / "node_modules" / "undici").exists():
        flags = ["--no-audit", "--no-fund", "--loglevel", "error"]
        done = subprocess.run([npm, "ci", *flags], cwd=UNDICI, capture_output=True, text=True)
        if done.returncode != 0:
            refuse(f"undici cannot be installed: {done.stderr}")
    return str(node)
