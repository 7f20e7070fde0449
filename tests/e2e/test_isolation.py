"""A subnet without a way out, as a network namespace: nothing leaves it but by the server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stepout.cli.subnet import Mode, Subnet, Unavailable

pytestmark = pytest.mark.namespaces


@pytest.fixture(params=["root", "rootless"])
def subnet(request: pytest.FixtureRequest) -> Iterator[Subnet]:
    mode: Mode = request.param
    opened = Subnet.open([443, 0], names=["sync-states.us-east-1.amazonaws.com"], modes=[mode])
    if isinstance(opened, Unavailable):
        # Not every place that runs tests lets its root make namespaces.
        pytest.skip(opened.reason)
    with opened:
        yield opened


def inside(subnet: Subnet, program: str) -> str:
    """What a Python program prints inside; its exceptions as their text."""
    wrapped = (
        "import socket\ntry:\n"
        + "".join(f"    {line}\n" for line in program.splitlines())
        + "except OSError as error:\n    print(type(error).__name__, error.errno)\n"
    )
    done = subprocess.run(
        [*subnet.command_prefix, sys.executable, "-c", wrapped],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_address_outside_is_reached(subnet: Subnet) -> None:
    for address in ("192.0.2.1", "8.8.8.8", "169.254.169.254", "10.0.0.1"):
        program = f"socket.create_connection(({address!r}, 443), 5)\nprint('reached')"
        assert inside(subnet, program) == "OSError 101", address
    v6 = "socket.create_connection(('2606:4700::1', 443), 5)\nprint('reached')"
    assert inside(subnet, v6).startswith("OSError ")


def test_no_datagram_leaves(subnet: Subnet) -> None:
    program = (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'x', ('192.0.2.1', 53))\nprint('sent')"
    )
    assert inside(subnet, program) == "OSError 101"


def test_no_name_is_resolved_but_the_endpoints(subnet: Subnet) -> None:
    unknown = "print(socket.getaddrinfo('api.example.com', 443))"
    assert inside(subnet, unknown).startswith("gaierror")
    known = "print(socket.gethostbyname('sync-states.us-east-1.amazonaws.com'))"
    assert inside(subnet, known) == "127.0.0.1"


def test_the_machines_own_loopback_is_another(subnet: Subnet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program = f"socket.create_connection(('127.0.0.1', {port}), 5)\nprint('reached')"
        assert inside(subnet, program) == "ConnectionRefusedError 111"


def test_a_socket_that_was_handed_out_is_the_door(subnet: Subnet) -> None:
    """Made inside, accepted on outside: that is how the server stands in the subnet."""
    assert subnet.ports[0] == 443
    program = "with socket.create_connection(('127.0.0.1', 443), 5) as s: print(s.recv(5).decode())"
    process = subprocess.Popen(
        [*subnet.command_prefix, sys.executable, "-c", "import socket\n" + program],
        stdout=subprocess.PIPE,
        text=True,
    )
    subnet.listeners[0].settimeout(10)
    accepted, _ = subnet.listeners[0].accept()
    with accepted:
        accepted.sendall(b"hello")
    output, _ = process.communicate(timeout=10)
    assert output.strip() == "hello"


def test_it_ends_without_a_trace() -> None:
    opened = Subnet.open([0])
    if isinstance(opened, Unavailable):
        pytest.skip(opened.reason)
    agent = opened._agent.pid
    opened.close()
    with pytest.raises(ProcessLookupError):
        os.kill(agent, 0)


def test_what_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    opened = Subnet.open([0])
    assert isinstance(opened, Unavailable)
    assert "is not installed" in opened.reason or "need Linux" in opened.reason
