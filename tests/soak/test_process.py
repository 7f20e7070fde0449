"""A process is seen as it is: this one, with what it opens."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.soak.process import limit_files, sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's.")


def test_descriptors_and_threads_are_counted() -> None:
    before = sample(os.getpid(), 1.0)
    may_end = threading.Event()
    thread = threading.Thread(target=may_end.wait)
    thread.start()
    with Path("/dev/null").open(), Path("/dev/zero").open():
        after = sample(os.getpid(), 2.0)
    may_end.set()
    thread.join()
    assert after.files - before.files == 2
    assert after.threads - before.threads == 1
    assert after.descriptors == after.files + after.sockets.total()
    assert 0 < after.pss <= after.rss < 10_000


def test_sockets_are_counted_by_their_state() -> None:
    before = sample(os.getpid(), 1.0).sockets
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX),
    ):
        datagrams.bind(("127.0.0.1", 0))
        opened = sample(os.getpid(), 2.0).sockets - before
        client.shutdown(socket.SHUT_RDWR)
        assert server.recv(1) == b""
        half = sample(os.getpid(), 3.0).sockets - before
    assert opened == {"LISTEN": 1, "ESTABLISHED": 2, "UDP": 1, "other": 1}
    assert half == {"LISTEN": 1, "CLOSE_WAIT": 1, "FIN_WAIT2": 1, "UDP": 1, "other": 1}


def test_a_process_whose_files_are_limited_writes_no_more(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for line in sys.stdin:\n"
        f"    try: open({str(tmp_path / 'file')!r}, 'ab', buffering=0).write(b'line')\n"
        "    except OSError: print('refused', flush=True)\n"
        "    else: print('written', flush=True)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for size in (resource.RLIM_INFINITY, 4, resource.RLIM_INFINITY):
            limit_files(process.pid, size)
            process.stdin.write("\n")
            process.stdin.flush()
            answers.append(process.stdout.readline().strip())
        process.stdin.close()
    assert answers == ["written", "refused", "written"]
