"""`stepout proxy` as a process: its line, its authority, its end."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from tests.client.world import OPEN, UPSTREAMS, World, opened

from stepout.certificates import Authority
from stepout.cli.proxy import _Json, _judge
from stepout.errors import SettingsError


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened() as found:
        yield found


def environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def flags(world: World, directory: Path) -> list[str]:
    upstreams = directory / "upstreams.toml"
    upstreams.write_text(UPSTREAMS)
    arn = ["--state-machine-arn", world.machine, "--endpoint-url", world.server.url]
    return [*arn, "--upstreams", str(upstreams)]


def refused(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "proxy", *arguments],
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_and_ends(world: World, tmp_path: Path, number: int) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="from outside")
    arguments = [*flags(world, tmp_path), "--port", "0", "--ca-dir", str(tmp_path / "ca")]
    with subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "proxy", *arguments],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        words = process.stdout.readline().split()
        certificate = tmp_path / "ca" / "ca.pem"
        assert words[:2] == ["stepout", "proxy"]
        assert words[3:] == [f"ca={certificate}", f"machine={world.machine}", "upstreams=4"]
        with requests.Session() as session:
            session.proxies = {"https": words[2]}
            session.trust_env = False
            session.verify = str(certificate)
            assert session.get(f"{OPEN}/x").text == "from outside"
        assert requests.get(f"{words[2]}/_stepout/health").status_code == 200
        process.send_signal(number)
        assert process.wait(20) == 0
        assert (
            "request method=GET host=open.example.com path=/x status=200" in process.stderr.read()
        )


def test_its_log_may_be_json_one_object_a_line(world: World, tmp_path: Path) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="from outside")
    arguments = [*flags(world, tmp_path), "--port", "0", "--log-format", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "proxy", *arguments],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[2]
        with requests.Session() as session:
            session.proxies = {"https": url}
            session.trust_env = False
            session.verify = str(tmp_path / ".stepout" / "ca" / "ca.pem")
            session.get(f"{OPEN}/x?token=hidden")
            session.get(f"{OPEN}/x", headers={"Range": "bytes=0-1"})
            with pytest.raises(requests.ConnectionError):
                session.get("https://nowhere.example.com/")
        process.terminate()
        fine, refused, unknown = map(json.loads, process.stderr.read().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fine.pop("time"))
    assert fine.pop("duration_ms") > 0
    assert fine.pop("execution").startswith("arn:aws:states:")
    assert fine == {
        "level": "info",
        "event": "request",
        "method": "GET",
        "host": "open.example.com",
        "path": "/x",
        "status": 200,
        "upstream": "open",
    }
    assert (refused["level"], refused["status"], refused["error"]) == ("warning", 501, "NotCarried")
    assert (unknown["event"], unknown["status"]) == ("connect", 403)
    assert unknown["host"] == "nowhere.example.com:443"


def test_a_fault_in_the_json_log_is_one_line_with_where_it_was() -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        members = {"msg": "request failed", "levelname": "ERROR", "exc_info": sys.exc_info()}
        record = logging.makeLogRecord(members)
    line = _Json().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["event"], found["level"]) == ("request failed", "error")
    assert "ValueError: line one\nline two" in found["exception"]


def test_a_second_signal_does_not_wait_for_calls_in_flight(world: World, tmp_path: Path) -> None:
    route = world.origin.get(f"{OPEN}/hang").hang()
    arguments = [*flags(world, tmp_path), "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "proxy", *arguments],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        port = int(url.rpartition(":")[2])
        with ThreadPoolExecutor() as pool:
            call = pool.submit(_get, url, f"{OPEN}/hang", tmp_path / ".stepout" / "ca" / "ca.pem")
            while not route.requests:
                pass
            process.send_signal(signal.SIGTERM)
            while _is_listening(port):
                pass
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert isinstance(call.exception(20), requests.ConnectionError)


def _get(proxy: str, url: str, ca: Path) -> None:
    requests.get(url, proxies={"https": proxy}, verify=str(ca))


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5):
            return True
    except ConnectionError:
        return False


def test_others_may_not_reach_it_unless_that_is_said(world: World, tmp_path: Path) -> None:
    told = refused(tmp_path, *flags(world, tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert "would listen on 0.0.0.0, and whoever reaches it may call every upstream" in told
    assert "--let-the-network-call-with-my-credentials" in told


def test_a_port_that_is_taken_is_told(world: World, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refused(tmp_path, *flags(world, tmp_path), "--port", port)
    assert f"The proxy cannot listen on 127.0.0.1, port {port}" in told


def test_a_key_that_others_can_read_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").touch(mode=0o644)
    told = refused(tmp_path, *flags(world, tmp_path), "--ca-dir", str(tmp_path), "--port", "0")
    assert "readable by nobody else" in told


def test_an_authority_in_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could put one of his own in its place when it is made."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid() == 0:
        os.chown(tmp_path, 65_534, -1)
    with pytest.raises(SettingsError, match="Expected the directory .* to be this user's"):
        _judge(tmp_path)


def test_a_directory_in_which_others_write_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o700)
    _judge(tmp_path)
    assert caplog.text == ""
    tmp_path.chmod(0o777)
    _judge(tmp_path)
    assert f"authority directory={tmp_path} mode=0777 others_write=True" in caplog.text


def test_a_link_in_place_of_the_certificate_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / "ca").mkdir(mode=0o700)
    (tmp_path / "ca" / "ca.pem").symlink_to(tmp_path / "theirs")
    authority = Authority.kept_in(tmp_path / "ca", "a test")
    assert (tmp_path / "theirs").read_text() == "precious"
    assert not (tmp_path / "ca" / "ca.pem").is_symlink()
    assert (tmp_path / "ca" / "ca.pem").read_bytes() == authority.certificate_pem
    assert (tmp_path / "ca" / "ca-key.pem").stat().st_mode & 0o777 == 0o600
