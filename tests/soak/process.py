"""A process seen from outside: memory, threads, descriptors and sockets, from /proc."""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path
from typing import Final

from tests.soak.ledger import Sample

__all__ = ["limit_files", "sample"]

_STATES: Final = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}
"""States of TCP as the kernel numbers them (include/net/tcp_states.h)."""


def sample(pid: int, second: float) -> Sample:
    """What a process has at this moment."""
    process = Path(f"/proc/{pid}")
    status = _fields(process / "status")
    inodes, files = _descriptors(process)
    return Sample(
        second=second,
        rss=status["VmRSS"] / 1_024,
        pss=_fields(process / "smaps_rollup")["Pss"] / 1_024,
        threads=status["Threads"],
        sockets=_states(process, inodes),
        files=files,
    )


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond a size: a full disk for each of its files."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of `Name: number` lines."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0])
    return found


def _descriptors(process: Path) -> tuple[set[str], int]:
    """The inodes of the sockets, and how many other descriptors there are."""
    inodes, files = set(), 0
    for descriptor in (process / "fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
        else:
            files += 1
    return inodes, files


def _states(process: Path, inodes: set[str]) -> Counter[str]:
    states: Counter[str] = Counter()
    left = set(inodes)
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in (process / "net" / name).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[9] in left:
                left.discard(columns[9])
                states[_STATES.get(columns[3], columns[3]) if "tcp" in name else "UDP"] += 1
    # A socket that is neither is one of the event loop's own pair, or closed in this very moment.
    states["other"] += len(left)
    return +states
