"""The process that makes a fresh network namespace a subnet, and holds it open.

`stepout.cli.subnet` runs this file by its path inside the new namespaces, with a bare interpreter:
it needs the standard library only. Arguments: the number of an inherited socket, and JSON with
`ports` and `names`. It answers one message over the socket, `{"problem": …}` or the listening
sockets themselves, and stays until the other end of that socket is closed, however that happens.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 0x1
MS_BIND: Final = 0x1000

RESOLVER_DIRECTORIES: Final = (
    "/run/nscd",
    "/var/run/nscd",
    "/run/systemd/resolve",
    "/run/avahi-daemon",
)
"""Where daemons of the machine listen for questions about names. A network namespace does not hide
them, because a socket in the file system is reached through the file system."""

RESOLV_CONF: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Nothing answers at this address in the subnet, and loopback says so at once."""

NSSWITCH: Final = Path("/etc/nsswitch.conf")


def main(arguments: list[str]) -> int:
    """Set the namespace up, hand the sockets out and wait."""
    control = socket.socket(fileno=int(arguments[0]))
    wanted = json.loads(arguments[1])
    try:
        raise_loopback()
        replace_resolver(wanted["names"])
        listeners = [socket.create_server(("127.0.0.1", port)) for port in wanted["ports"]]
    except OSError as error:
        control.sendall(json.dumps({"problem": str(error)}).encode())
        return 1
    socket.send_fds(control, [b"{}"], [listener.fileno() for listener in listeners])
    for listener in listeners:
        listener.close()
    control.recv(1)
    return 0


def raise_loopback() -> None:
    """Bring `lo` up, which a new network namespace has, but down."""
    interface = struct.pack("16sH22x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, interface)


def replace_resolver(names: Iterable[str]) -> None:
    """Let names be looked up in the subnet's own hosts file and nowhere else."""
    directory = Path(tempfile.mkdtemp())
    try:
        hidden = directory / "empty"
        hidden.mkdir(mode=0o755)
        for path in RESOLVER_DIRECTORIES:
            if Path(path).is_dir():
                bind(hidden, Path(path))
        for number, (target, text) in enumerate(resolver_files(names).items()):
            if target.is_file():
                source = directory / str(number)
                source.write_text(text)
                source.chmod(0o644)
                bind(source, target)
    finally:
        # What is mounted lives on; only the names go, so that nothing stays behind.
        shutil.rmtree(directory)


def resolver_files(names: Iterable[str]) -> Mapping[Path, str]:
    """Give the files that say how names are looked up, as the subnet has them."""
    known = "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *names))
    return {
        Path("/etc/hosts"): known,
        Path("/etc/resolv.conf"): RESOLV_CONF,
        NSSWITCH: hosts_from_files(NSSWITCH.read_text() if NSSWITCH.is_file() else ""),
    }


def hosts_from_files(nsswitch: str) -> str:
    """Have the C library read host names from its hosts file only; other lines stay."""
    others = [line for line in nsswitch.splitlines() if not line.startswith("hosts:")]
    return "\n".join([*others, "hosts: files", ""])


def bind(source: Path, target: Path) -> None:
    """Put one file or directory in another's place, in this mount namespace only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(MS_BIND), None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
