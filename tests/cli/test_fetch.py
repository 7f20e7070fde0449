"""`stepout fetch`: one URL, a file of them, and a run that goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepout.testing import Origin, Server

UPSTREAMS = '[upstream.open]\nurl = "https://open.example.com/"\n'
OPEN = "https://open.example.com"


class World:
    """A server with a gateway, and the command in a process of its own."""

    def __init__(self, origin: Origin, server: Server, directory: Path) -> None:
        self.origin = origin
        self.directory = directory
        self._server = server

    def fetch(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        settings = {
            "STEPOUT_STATE_MACHINE_ARN": self._server.gateway_arn or "",
            "STEPOUT_UPSTREAMS": str(self.directory / "upstreams.toml"),
            "AWS_ENDPOINT_URL_SFN": self._server.url,
            "AWS_ACCESS_KEY_ID": "AKIDTEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        return subprocess.run(
            [sys.executable, "-m", "stepout.cli", "fetch", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={**os.environ, **settings},
            timeout=60,
        )

    def write(self, name: str, *lines: Any) -> str:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (self.directory / name).write_text(text)
        return name

    def results(self, name: str) -> dict[int, Any]:
        lines = (self.directory / name).read_text().splitlines()
        return {line["line"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("fetch")
    file = directory / "upstreams.toml"
    file.write_text(UPSTREAMS)
    with Origin() as origin, Server(origin=origin, upstreams=file) as server:
        yield World(origin, server, directory)


def test_the_body_alone_is_on_standard_output(world: World) -> None:
    world.origin.get(f"{OPEN}/a").respond(200, text="häuser\n")
    done = world.fetch(f"{OPEN}/a")
    assert (done.returncode, done.stdout, done.stderr) == (0, "häuser\n", "")


def test_method_headers_body_and_output_are_as_curl_has_them(world: World) -> None:
    route = world.origin.put(f"{OPEN}/p").respond(201, text="made", headers={"X-A": "1"})
    done = world.fetch(
        *("-X", "PUT", "-H", "X-Mine: yes", "-d", "a=1&a=2", "-i", "-o", "answer", f"{OPEN}/p")
    )
    assert done.returncode == 0
    (request,) = route.requests
    assert request.header("x-mine") == "yes"
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    assert request.body == b"a=1&a=2"
    head, _, body = (world.directory / "answer").read_bytes().partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 201 Created"
    assert b"X-A: 1" in head.splitlines()
    assert body == b"made"


def test_data_makes_it_a_post_and_may_come_from_a_file_or_standard_input(world: World) -> None:
    route = world.origin.post(f"{OPEN}/d").respond(200, text="")
    (world.directory / "body").write_text("from a file")
    assert world.fetch("-d", "@body", f"{OPEN}/d").returncode == 0
    assert world.fetch("-d", "@-", f"{OPEN}/d", stdin="from a pipe").returncode == 0
    assert [request.body for request in route.requests] == [b"from a file", b"from a pipe"]


def test_a_failing_status_is_an_exit_status_where_it_is_asked_for(world: World) -> None:
    world.origin.get(f"{OPEN}/gone").respond(410)
    done = world.fetch(f"{OPEN}/gone")
    assert done.returncode == 0
    assert "410 Gone: the body was not carried" in done.stderr
    assert world.fetch("-f", f"{OPEN}/gone").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["https://nowhere.example.com/"], 1, "No upstream has the URL"),
        (["http://open.example.com/"], 1, "does not begin with https://"),
        ([], 2, "Expected a URL or --input"),
        ([f"{OPEN}/", "--input", "x"], 2, "Expected a URL or --input"),
        (["--input", "x"], 2, "--input needs --output"),
        (["-H", "nothing", f"{OPEN}/"], 2, "Expected NAME: VALUE"),
        (["-d", "@nowhere", f"{OPEN}/"], 2, "The body cannot be read"),
        (["--retries", "x", f"{OPEN}/"], 2, "Expected a whole number from 0 to 10"),
        (["--input", "nowhere", "--output", "y"], 1, "The files cannot be used"),
    ],
)
def test_a_call_that_cannot_work_is_told_in_one_sentence(
    world: World, arguments: list[str], status: int, message: str
) -> None:
    done = world.fetch(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_each_line_of_a_file_has_a_result_or_an_error(world: World) -> None:
    world.origin.get(f"{OPEN}/1").respond(200, json={"n": 1})
    route = world.origin.post(f"{OPEN}/2").respond(201, text="two", headers={"X-A": "1"})
    source = world.write(
        "in.jsonl",
        f"{OPEN}/1",
        {"id": "b", "url": f"{OPEN}/2", "method": "POST", "json": {"x": 1}},
        "https://nowhere.example.com/",
        {"url": f"{OPEN}/1", "colour": "red"},
        5,
    )
    done = world.fetch("--input", source, "--output", "out.jsonl", "--concurrency", "3")
    results = world.results("out.jsonl")
    assert done.returncode == 1
    assert "Lines: 5, done before: 0, errors: 3." in done.stderr
    assert (results[1]["status"], results[1]["body"]) == (200, '{"n":1}')
    assert (results[2]["id"], results[2]["body"], results[2]["headers"]["X-A"]) == (
        "b",
        "two",
        ["1"],
    )
    assert results[3]["error"] == "UnknownUpstream"
    assert "found 'colour'" in results[4]["message"]
    assert "Expected a URL" in results[5]["message"]
    assert route.requests[0].body == b'{"x":1}'


def test_an_interrupted_run_goes_on_where_it_stopped(world: World) -> None:
    route = world.origin.get(f"{OPEN}/n").respond(200, text="x")
    source = world.write("many.jsonl", *[f"{OPEN}/n"] * 6)
    kept = "".join(f"{json.dumps({'line': n, 'status': 200})}\n" for n in (1, 2, 4))
    (world.directory / "half.jsonl").write_text(kept + '{"line": 5, "sta')
    done = world.fetch("--input", source, "--output", "half.jsonl")
    assert done.returncode == 0
    assert "Lines: 6, done before: 3, errors: 0." in done.stderr
    assert sorted(world.results("half.jsonl")) == [1, 2, 3, 4, 5, 6]
    assert len(route.requests) == 3


def test_a_file_of_something_else_is_not_written_over(world: World) -> None:
    source = world.write("one.jsonl", f"{OPEN}/n")
    (world.directory / "other.txt").write_text("mine\n")
    done = world.fetch("--input", source, "--output", "other.txt")
    assert done.returncode == 1
    assert "holds a line that is no result" in done.stderr
    assert (world.directory / "other.txt").read_text() == "mine\n"


def test_data_that_is_no_text_is_refused_in_words(world: World) -> None:
    done = world.fetch("-d", os.fsdecode(b"\xff\xfe"), f"{OPEN}/d")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The body (application/x-www-form-urlencoded, 2 bytes)")


def test_a_broken_line_is_a_result_and_the_others_go_on(world: World) -> None:
    """Whatever is wrong with it: the calls beside it may have had their effect."""
    world.origin.get(f"{OPEN}/beside").respond(200, text="fine")
    url = f"{OPEN}/beside"
    lines = [
        *("[" * 100_000, json.dumps({"url": url, "id": "\ud800"})),
        *(json.dumps({"url": url, name: 5}) for name in ("method", "params", "body")),
        json.dumps({"url": url, "json": "\ud800"}),
        json.dumps(url),
    ]
    (world.directory / "broken").write_text("\n".join(lines))
    done = world.fetch("--input", "broken", "-o", "broken results")
    assert done.returncode == 1
    assert "Lines: 7, done before: 0, errors: 5." in done.stderr
    found = world.results("broken results")
    assert [found[number].get("body") for number in (2, 7)] == ["fine", "fine"]
    assert found[2]["id"] == "\ud800"
    assert found[1]["message"] == "Expected a URL or an object, found JSON of too many levels."
    assert found[3]["message"] == "Expected method to be a text, found 5."
    assert found[4]["message"] == "Expected params to be an object or a text, found 5."
