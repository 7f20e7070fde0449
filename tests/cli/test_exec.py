"""`stepout exec`: what the command gets, what it passes on, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.client.world import OPEN, UPSTREAMS, World, opened

from stepout.certificates import Authority
from stepout.cli.proxied import bypassed, variables
from stepout.errors import SettingsError
from stepout.gateway.upstreams import Upstreams

PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened() as found:
        yield found


@pytest.fixture
def environment(world: World, tmp_path: Path) -> dict[str, str]:
    upstreams = tmp_path / "upstreams.toml"
    upstreams.write_text(UPSTREAMS)
    (tmp_path / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path / "tmp"),
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "STEPOUT_STATE_MACHINE_ARN": world.machine,
        "STEPOUT_ENDPOINT_URL": world.server.url,
        "STEPOUT_UPSTREAMS": str(upstreams),
    }


@pytest.fixture
def run(environment: Mapping[str, str]) -> Run:
    def run(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stepout.cli", "exec", *arguments],
            env={**environment, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


# --- The way out ----------------------------------------------------------------------------------


def test_a_program_that_knows_nothing_goes_out(world: World, run: Run) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="from outside")
    done = run("--", sys.executable, "-c", GET, f"{OPEN}/x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "from outside\n", "")


def test_what_goes_wrong_on_the_way_is_told_on_standard_error(run: Run) -> None:
    done = run("--", sys.executable, "-c", GET, "https://nowhere.example.com/x")
    assert done.returncode == 1
    assert "connect host=nowhere.example.com:443 status=403 error=UnknownUpstream" in done.stderr
    assert "Tunnel connection failed: 403 No upstream has the URL" in done.stderr


def test_with_log_every_request_is_told(world: World, run: Run) -> None:
    world.origin.get(f"{OPEN}/told").respond(200, text="x")
    done = run("--log", "--", sys.executable, "-c", GET, f"{OPEN}/told?a=b")
    assert re.search(
        r"Z request method=GET host=open.example.com path=/told status=200", done.stderr
    )


def test_its_log_may_be_json(run: Run) -> None:
    done = run(
        *("--log-format", "json", "--", sys.executable, "-c", GET, "https://nowhere.example.com/x")
    )
    told = json.loads(done.stderr.splitlines()[0])
    assert (told["event"], told["error"], told["status"]) == ("connect", "UnknownUpstream", 403)
    done = run("--", sys.executable, "-c", GET, "https://nowhere.example.com/x", STEPOUT_LOG_FORMAT="json")  # fmt: skip
    assert json.loads(done.stderr.splitlines()[0])["event"] == "connect"


# --- The environment ------------------------------------------------------------------------------


def test_the_variables_are_set_for_the_command(world: World, run: Run) -> None:
    done = run(
        *("--", sys.executable, "-c", PRINT_ENVIRONMENT),
        NO_PROXY="internal.example.com,127.0.0.1",
        no_proxy="internal.example.com,127.0.0.1, other.example.com",
        AWS_LAMBDA_RUNTIME_API="lambda.internal:9001",
        HTTP_PROXY="http://kept:1",
    )
    env = json.loads(done.stdout)
    assert env["HTTPS_PROXY"] == env["https_proxy"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", env["HTTPS_PROXY"])
    assert env["HTTP_PROXY"] == "http://kept:1"
    assert "http_proxy" not in env
    assert "AWS_CA_BUNDLE" not in env
    assert env["NO_PROXY"] == env["no_proxy"]
    assert env["NO_PROXY"].split(",") == [
        *("internal.example.com", "127.0.0.1", "other.example.com", "localhost", "::1"),
        *("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23"),
        *(".amazonaws.com", ".amazonaws.com.cn", ".api.aws", "lambda.internal"),
    ]
    assert env["NODE_USE_ENV_PROXY"] == "1"


def test_aws_s_own_bundle_is_left_alone(run: Run) -> None:
    done = run("--", sys.executable, "-c", PRINT_ENVIRONMENT, AWS_CA_BUNDLE="/mine.pem")
    assert json.loads(done.stdout)["AWS_CA_BUNDLE"] == "/mine.pem"


def test_the_bundles_are_gone_when_the_command_is(run: Run, environment: Mapping[str, str]) -> None:
    done = run("--", sys.executable, "-c", PRINT_ENVIRONMENT)
    bundle = Path(json.loads(done.stdout)["SSL_CERT_FILE"])
    assert bundle.is_relative_to(environment["TMPDIR"])
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


AUTHORITY = Authority.create("stepout exec test").certificate_pem
OTHER = Authority.create("an authority that is set already").certificate_pem


def made(directory: Path, **environ: str) -> dict[str, str]:
    return variables(
        environ,
        proxy="http://127.0.0.1:1",
        endpoint="vpce-1.example.com",
        authority=AUTHORITY,
        directory=directory,
    )


def names(bundle: str) -> list[str]:
    """The common names in a bundle, as Python's own TLS reads it."""
    found: list[Any] = list(ssl.create_default_context(cafile=bundle).get_ca_certs())
    return [dict(pair for (pair,) in one["subject"]).get("commonName", "") for one in found]


@pytest.mark.parametrize(
    "name",
    ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"],
)
def test_a_bundle_holds_the_usual_authorities_and_ours(tmp_path: Path, name: str) -> None:
    found = names(made(tmp_path)[name])
    assert "stepout exec test" in found
    assert len(found) > 50


def test_a_bundle_that_is_set_already_is_believed_as_before_and_ours_beside_it(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine.pem"
    mine.write_bytes(OTHER)
    both = ["an authority that is set already", "stepout exec test"]
    found = made(tmp_path, CURL_CA_BUNDLE=str(mine), NODE_EXTRA_CA_CERTS=str(mine))
    # requests and pip look there, too, where they have no bundle of their own.
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
        assert names(found[name]) == both
    assert len(names(found["SSL_CERT_FILE"])) > 50


def test_a_directory_of_certificates_is_read_whole(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.pem").write_bytes(OTHER)
    found = made(tmp_path, REQUESTS_CA_BUNDLE=str(mine))
    assert len(names(found["REQUESTS_CA_BUNDLE"])) == 2


def test_a_bundle_that_cannot_be_read_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="Expected certificates in /nowhere.pem, which PIP_CERT"
    ):
        made(tmp_path, PIP_CERT="/nowhere.pem")


def test_node_gets_our_authority_alone_beside_its_own(tmp_path: Path) -> None:
    assert Path(made(tmp_path)["NODE_EXTRA_CA_CERTS"]).read_bytes() == AUTHORITY


@pytest.mark.parametrize(
    ("no_proxy", "found"),
    [
        ("", []),
        ("example.org,xample.com", []),
        ("*", ["keyed", "open"]),
        ("api.example.com", ["keyed"]),
        (".example.com", ["keyed", "open"]),
        ("EXAMPLE.com", ["keyed", "open"]),
    ],
)
def test_upstreams_that_would_go_past_the_proxy_are_found(no_proxy: str, found: list[str]) -> None:
    upstreams = Upstreams.parse(
        '[upstream.open]\nurl = "https://open.example.com/"\n'
        '[upstream.keyed]\nurl = "https://api.example.com/v1/"\n'
    )
    assert sorted(upstream.name for upstream in bypassed(upstreams, no_proxy)) == found


def test_an_upstream_that_goes_past_the_proxy_is_warned_of(run: Run) -> None:
    done = run("--", "true", NO_PROXY="open.example.com")
    assert done.returncode == 0
    assert "Warning: NO_PROXY has the host of the upstream 'open' (https://open" in done.stderr


# --- The command ----------------------------------------------------------------------------------


def test_the_exit_status_is_the_command_s(run: Run) -> None:
    assert run("--", "sh", "-c", "exit 7").returncode == 7


def test_a_command_that_a_signal_ended_is_128_and_its_number(run: Run) -> None:
    assert run("--", "sh", "-c", "kill -KILL $$").returncode == 128 + 9


def test_the_streams_are_the_command_s(run: Run) -> None:
    done = run("sh", "-c", "cat; echo error >&2", stdin="through and through")
    assert (done.stdout, done.stderr) == ("through and through", "error\n")


def test_files_that_were_given_are_the_command_s(environment: Mapping[str, str]) -> None:
    """As a shell does with <(…) and 3<file."""
    readable, writable = os.pipe()
    os.write(writable, b"from the shell")
    os.close(writable)
    done = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "exec", "--", "cat", f"/dev/fd/{readable}"],
        env=environment,
        pass_fds=[readable],
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(readable)
    assert (done.stdout, done.stderr) == ("from the shell", "")


def test_no_file_of_ours_is_the_command_s(run: Run) -> None:
    listing = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[3:-1])"
    if not Path("/proc/self/fd").exists():
        pytest.skip("Open files cannot be listed here.")
    assert run("--", sys.executable, "-c", listing).stdout == "[]\n"


def test_a_program_that_becomes_another_user_can_read_its_bundles(run: Run) -> None:
    program = (
        "import os, stat; path = os.environ['SSL_CERT_FILE'];"
        "print([oct(stat.S_IMODE(os.stat(p).st_mode)) for p in (path, os.path.dirname(path))])"
    )
    assert run("--", sys.executable, "-c", program).stdout == "['0o644', '0o755']\n"


def test_options_after_the_command_are_the_command_s(run: Run) -> None:
    done = run(sys.executable, "-c", "import sys; print(sys.argv[1:])", "--log", "--", "-h")
    assert done.stdout == "['--log', '--', '-h']\n"


def test_a_command_that_is_not_there_is_127(run: Run) -> None:
    done = run("--", "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "Error: the command no-such-command was not found.\n"


def test_a_command_that_cannot_be_run_is_126(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("no program")
    done = run("--", str(file))
    assert done.returncode == 126
    assert "cannot be run: Permission denied." in done.stderr
    file.chmod(0o755)
    assert run("--", str(file)).returncode == 126


def test_a_command_that_writes_into_a_closed_pipe_ends_as_usual(run: Run) -> None:
    script = "sh -c 'trap \"\" EXIT; while :; do echo x; done' | true; echo ended"
    assert run("--", "sh", "-c", script).stdout == "ended\n"


@pytest.mark.parametrize("arguments", [[], ["--"]])
def test_without_a_command_it_is_wrongly_called(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_without_a_machine_it_is_wrongly_called(run: Run) -> None:
    done = run("--", "true", STEPOUT_STATE_MACHINE_ARN="")
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGQUIT"])
def test_signals_reach_the_command(environment: Mapping[str, str], name: str) -> None:
    number = getattr(signal, name)
    program = (
        "import signal, sys; "
        f"signal.signal({int(number)}, lambda *_: sys.exit(40 + {int(number)})); "
        "print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "exec", "--", sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(20) == 40 + number


def test_the_command_ends_though_a_call_of_it_hangs(
    world: World, environment: Mapping[str, str]
) -> None:
    route = world.origin.get(f"{OPEN}/hang").hang()
    started = len(route.requests)
    with subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "exec", "--", sys.executable, "-c", GET, f"{OPEN}/hang"],
        env=environment,
    ) as process:  # fmt: skip
        while len(route.requests) == started:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


ORPHAN = """
import os, sys, time
readable, writable = os.pipe()
if os.fork() == 0:
    pid = os.fork()
    if pid:
        os.write(writable, str(pid).encode())
    os._exit(0)
os.wait()
pid = int(os.read(readable, 20))
deadline = time.monotonic() + 20
while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
    time.sleep(0.001)
print(os.getppid(), os.path.exists(f"/proc/{pid}"))
sys.exit(5)
"""


@pytest.mark.namespaces
def test_as_the_first_process_it_cleans_up_after_others(environment: Mapping[str, str]) -> None:
    unshare = shutil.which("unshare")
    flags = ["--fork", "--pid", "--mount-proc", "--map-root-user", "--user"]
    if unshare is None or subprocess.run([unshare, *flags, "true"], capture_output=True).returncode:
        pytest.skip("This place makes no namespaces for processes.")
    done = subprocess.run(
        [unshare, *flags, sys.executable, "-m", "stepout.cli", "exec", "--", sys.executable, "-c", ORPHAN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("1 False\n", 5), done.stderr
