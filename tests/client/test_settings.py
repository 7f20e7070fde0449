"""What the client is told by variables and stepout.toml, and what it needs installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
from tests.client.raw import FINE, MACHINE, AsyncCaller, Caller, RawServer, serving
from tests.client.world import OPEN, UPSTREAMS, World

import stepout
from stepout import config
from stepout.client import AsyncGateway, Gateway
from stepout.client.gateway import default_gateway
from stepout.config import ClientSettings, load_client
from stepout.errors import NotCarried, SettingsError
from stepout.gateway.messages import Response


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without stepout.toml, and no variables but a test's own."""
    monkeypatch.chdir(tmp_path)
    for setting in fields(ClientSettings):
        monkeypatch.delenv(f"STEPOUT_{setting.name.upper()}", raising=False)
    return tmp_path


@pytest.fixture(params=[Caller(), AsyncCaller()], ids=["blocking", "async"])
def call(request: pytest.FixtureRequest) -> Caller:
    return cast("Caller", request.param)


def load(environ: Mapping[str, str], **flags: Any) -> ClientSettings:
    return load_client(flags, {"STEPOUT_STATE_MACHINE_ARN": MACHINE, **environ})


# --- load_client ----------------------------------------------------------------------------------


def test_only_the_machine_has_to_be_said() -> None:
    assert load({}) == ClientSettings(state_machine_arn=MACHINE)
    found = load({})
    assert (found.upstreams, found.endpoint_url, found.timeout) == (None, None, 305.0)
    assert (found.retries, found.payload_limit) == (0, 262_144)


def test_a_flag_beats_a_variable_and_a_variable_beats_the_file(elsewhere: Path) -> None:
    (elsewhere / "stepout.toml").write_text(
        '[client]\nstate_machine_arn = "of the file"\nretries = 1\ntimeout = 10\npayload_limit = 300_000\n'
        '[server]\nport = "not of the client"\n'
    )
    environ = {"STEPOUT_RETRIES": "2", "STEPOUT_TIMEOUT": "20.5"}
    found = load_client({"retries": 3}, environ)
    assert (found.state_machine_arn, found.retries, found.timeout) == ("of the file", 3, 20.5)
    assert found.payload_limit == 300_000


def test_every_setting_can_be_a_variable_and_in_a_file_of_any_name(elsewhere: Path) -> None:
    values = {
        "state_machine_arn": "arn",
        "upstreams": "~/u.toml",
        "endpoint_url": "http://x/",
        "timeout": "1",
        "retries": "2",
        "payload_limit": "400000",
    }
    assert set(values) == {setting.name for setting in fields(ClientSettings)}
    by_variable = load_client(
        {}, {f"STEPOUT_{name.upper()}": value for name, value in values.items()}
    )
    lines = [f'{name} = "{value}"' for name, value in values.items()]
    (elsewhere / "my.toml").write_text("\n".join(["[client]", *lines]))
    assert load_client({}, {}, elsewhere / "my.toml") == by_variable
    assert by_variable.upstreams == Path("~/u.toml").expanduser()
    assert (by_variable.timeout, by_variable.retries, by_variable.payload_limit) == (
        1.0,
        2,
        400_000,
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"STEPOUT_TIMEOUT": "0"}, "STEPOUT_TIMEOUT: Expected seconds above 0, found '0'."),
        ({"STEPOUT_TIMEOUT": "-1"}, "STEPOUT_TIMEOUT: Expected seconds from 0 to 3600, found '-1'."),
        ({"STEPOUT_TIMEOUT": "nan"}, "STEPOUT_TIMEOUT: Expected seconds from 0 to 3600, found 'nan'."),
        ({"STEPOUT_TIMEOUT": "inf"}, "STEPOUT_TIMEOUT: Expected seconds from 0 to 3600, found 'inf'."),
        ({"STEPOUT_TIMEOUT": "1m"}, "STEPOUT_TIMEOUT: Expected seconds from 0 to 3600, found '1m'."),
        ({"STEPOUT_RETRIES": "11"}, "STEPOUT_RETRIES: Expected a whole number from 0 to 10, found '11'."),
        ({"STEPOUT_RETRIES": "1.5"}, "STEPOUT_RETRIES: Expected a whole number from 0 to 10, found '1.5'."),
        ({"STEPOUT_PAYLOAD_LIMIT": "1"}, "STEPOUT_PAYLOAD_LIMIT: Expected a whole number from 262144 to"),
        ({"STEPOUT_ENDPOINT_URL": ""}, "STEPOUT_ENDPOINT_URL: Expected a text, found ''."),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_origin(
    environ: Mapping[str, str], problem: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert str(caught.value).startswith(problem)


def test_all_problems_are_told_at_once(elsewhere: Path) -> None:
    (elsewhere / "stepout.toml").write_text('[client]\nretries = "x"\ncolour = 1\nport = 1\n')
    with pytest.raises(SettingsError) as caught:
        load({"STEPOUT_TIMEOUT": "x"})
    assert str(caught.value).splitlines() == [
        "STEPOUT_TIMEOUT: Expected seconds from 0 to 3600, found 'x'.",
        "retries in stepout.toml: Expected a whole number from 0 to 10, found 'x'.",
        "stepout.toml: [client] has no setting 'colour'.",
        "stepout.toml: [client] has no setting 'port'.",
    ]


@pytest.mark.parametrize("file", [None, Path("my.toml")])
def test_a_machine_that_is_not_named_is_asked_for(elsewhere: Path, file: Path | None) -> None:
    (elsewhere / "my.toml").write_text("[client]\nretries = 1\n")
    with pytest.raises(
        SettingsError, match="Set STEPOUT_STATE_MACHINE_ARN, or state_machine_arn in"
    ):
        load_client({}, {}, file)


@pytest.mark.parametrize("text", ["client = 1", "[client", "\xff"])
def test_a_file_that_cannot_be_read_is_told(elsewhere: Path, text: str) -> None:
    (elsewhere / "stepout.toml").write_text(text, "latin-1")
    with pytest.raises(SettingsError, match="stepout.toml"):
        load({})
    with pytest.raises(SettingsError, match="nowhere.toml cannot be read"):
        load_client({}, {}, elsewhere / "nowhere.toml")


def test_every_setting_is_documented_where_it_stands() -> None:
    source = Path(config.__file__).read_text().partition("class ClientSettings")[2]
    for setting in fields(ClientSettings):
        after = source.split(f"\n    {setting.name}: ", 1)[1]
        assert after.split("\n", 2)[1].strip().startswith('"""'), setting.name


# --- from_config ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Gateway, AsyncGateway])
def test_a_gateway_is_made_of_the_settings(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Any]
) -> None:
    (elsewhere / "upstreams.toml").write_text(UPSTREAMS)
    (elsewhere / "stepout.toml").write_text(
        f'[client]\nstate_machine_arn = "{MACHINE}"\nupstreams = "upstreams.toml"\ntimeout = 7\n'
    )
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", "http://127.0.0.1:9/")
    gateway = kind.from_config()
    assert gateway.endpoint.machine_arn == MACHINE
    assert gateway.endpoint.url == "http://127.0.0.1:9/"
    assert "open" in gateway.upstreams.names
    assert gateway.timeout.read == 7.0


def test_what_a_program_says_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", "no ARN at all")
    monkeypatch.setenv("STEPOUT_TIMEOUT", "7")
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", "http://of-a-variable/")
    gateway = Gateway.from_config(state_machine_arn=MACHINE, endpoint_url="http://127.0.0.1:9/")
    assert gateway.endpoint.machine_arn == MACHINE
    assert gateway.endpoint.url == "http://127.0.0.1:9/"
    assert gateway.timeout.read == 7.0
    with pytest.raises(SettingsError, match="Expected the ARN of a state machine"):
        Gateway.from_config()


def test_a_gateway_without_settings_says_what_is_missing() -> None:
    default_gateway.cache_clear()
    for call in (Gateway.from_config, AsyncGateway.from_config, lambda: stepout.get(OPEN)):
        with pytest.raises(SettingsError, match="STEPOUT_STATE_MACHINE_ARN"):
            call()


def test_upstreams_that_are_broken_are_told_when_the_gateway_is_made(elsewhere: Path) -> None:
    (elsewhere / "u.toml").write_text('[upstream.a]\nurl = "http://a/"\n')
    for kind in (Gateway, AsyncGateway):
        for name in ("u.toml", "nowhere.toml"):
            with pytest.raises(SettingsError, match=name):
                kind(MACHINE, upstreams=name)


def test_retries_and_limits_of_the_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", MACHINE)
    monkeypatch.setenv("STEPOUT_PAYLOAD_LIMIT", "300000")
    with (
        RawServer(serving(FINE)) as server,
        Gateway.from_config(endpoint_url=server.url) as gateway,
    ):
        assert gateway.request("POST", f"{OPEN}/x", data="x" * 290_000).text == "fine"
        with pytest.raises(NotCarried, match="300,000 is the most"):
            gateway.request("POST", f"{OPEN}/x", data="x" * 300_000)
    assert len(server.requests) == 1


def test_the_window_calls_by_the_gateway_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    world.origin.get(f"{OPEN}/window").respond(200, text="seen")
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
    default_gateway.cache_clear()
    try:
        assert stepout.get(f"{OPEN}/window").text == "seen"
        assert stepout.request("get", f"{OPEN}/window", params={"a": "1"}).text == "seen"
    finally:
        default_gateway().close()
        default_gateway.cache_clear()


NONE_SUCH = [0, 0.0, -1, -0.5, float("nan"), float("-inf"), True, "5", None]


@pytest.mark.parametrize("seconds", NONE_SUCH)
async def test_a_time_out_of_a_program_has_to_be_seconds_above_0(seconds: Any) -> None:
    match = f"Expected a timeout of seconds above 0, found {seconds!r}"
    for kind in (Gateway, AsyncGateway):
        with pytest.raises(SettingsError, match=match):
            kind(MACHINE, timeout=seconds)
    if seconds is None:
        return  # that of the gateway
    with (
        Gateway(MACHINE, endpoint_url="http://127.0.0.1:9/") as gateway,
        pytest.raises(ValueError, match=match),
    ):
        gateway.request("GET", OPEN, timeout=seconds)
    async with AsyncGateway(MACHINE, endpoint_url="http://127.0.0.1:9/") as asynchronous:
        with pytest.raises(ValueError, match=match):
            await asynchronous.request("GET", OPEN, timeout=seconds)


@pytest.mark.parametrize("seconds", [0.5, 7, 1e30, float("inf")])
def test_a_time_out_may_be_as_long_as_one_likes(call: Caller, seconds: float) -> None:
    with RawServer(serving(FINE)) as server:
        (outcome,) = call(server, timeout=seconds)
    assert isinstance(outcome, Response)


def test_all_that_a_program_says_wrongly_is_told_at_once() -> None:
    wrong: dict[str, Any] = {"timeout": 0, "retries": -1, "payload_limit": 1.5}
    with pytest.raises(SettingsError) as caught:
        Gateway(MACHINE, **wrong)
    assert str(caught.value).splitlines() == [
        "Expected a timeout of seconds above 0, found 0.",
        "Expected retries to be a whole number from 0, found -1.",
        "Expected payload_limit to be a whole number from 1, found 1.5.",
    ]


# --- What has to be installed ---------------------------------------------------------------------

EXTRAS = (
    *("aiodns", "aiohttp", "awslambdaric", "boto3", "cryptography", "h11", "httptools", "httpx"),
    *("idna", "jlens", "opentelemetry", "orjson", "prometheus_client", "requests", "uvicorn"),
    *("uvloop", "yaml", "yarl"),
)

PROGRAM = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None
import stepout
from stepout.client import AsyncGateway, Gateway
from stepout.gateway.upstreams import Upstreams
machine, url, upstreams = sys.argv[1:]
with Gateway(machine, endpoint_url=url, upstreams=upstreams) as gateway:
    print(gateway.request("POST", "{OPEN}/base", json={{"a": 1}}).json())
    print(gateway.request("GET", "https://api.example.com/v1/base").status_code)
    try:
        gateway.request("GET", "https://nowhere.example.com/")
    except stepout.UnknownUpstream as error:
        print(sorted(error.known))
try:
    AsyncGateway(machine)
except stepout.StepoutError as error:
    print(error)
"""


def run(program: str, *args: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *args], capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_base_install_is_enough_to_call_apis(world: World, elsewhere: Path) -> None:
    world.origin.post(f"{OPEN}/base").respond(200, json={"b": 2})
    route = world.origin.get("https://api.example.com/v1/base").respond(404)
    (elsewhere / "u.toml").write_text(UPSTREAMS)
    assert run(PROGRAM, world.machine, world.server.url, "u.toml") == [
        "{'b': 2}",
        "404",
        "['bearer', 'keyed', 'open', 'read-only']",
        "The asynchronous client needs h11, which is not installed: pip install 'stepout[async]'",
    ]
    assert route.requests[0].header("x-api-key") == "real-key"


def test_the_client_imports_nothing_that_it_does_not_need() -> None:
    """A Lambda function pays for every import at its cold start."""
    program = (
        "import sys, stepout.client; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    (line,) = run(program)
    assert not set(EXTRAS) & set(line.split())


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://[", "https://[::1", "x", ""])
def test_a_url_that_is_none_is_told_with_params_too(url: str) -> None:
    with (
        Gateway(MACHINE, endpoint_url="http://127.0.0.1:9/") as gateway,
        pytest.raises(NotCarried, match="nothing was sent"),
    ):
        gateway.request("GET", url, params={"a": "1"})
