"""`make soak`: a server at full load with everything going wrong around it, and what it promises."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import secrets
import subprocess
import sys
from random import Random

from tests.soak.run import LONG, SHORT, Soak
from tests.soak.world import World

from stepout.cli.event_loop import new_event_loop

_INSIDE = "--inside"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts [10]")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run")
    parser.add_argument("--short", action="store_true", help="20 s, for the tests: looser bounds")
    parser.add_argument(_INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.stderr.write("The soak reads /proc: it needs Linux.\n")
        return 2
    if not options.inside and _may_mount():
        command = [*_MOUNTS, sys.executable, "-m", "tests.soak", *sys.argv[1:], _INSIDE]
        os.execvp(command[0], command)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    plan = SHORT if options.short else LONG
    seconds = plan.seconds if options.short else options.minutes * 60
    with World(Random(seed), has_mounts=options.inside) as world:
        soak = Soak(world, plan, seed, seconds)
        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            runner.run(soak.run())
        sys.stdout.write(soak.report())
        return 1 if soak.ledger.broken else 0


_MOUNTS = [
    *("unshare", "--mount", "--propagation", "private"),
    *([] if os.geteuid() == 0 else ["--map-root-user"]),
    "--",
]


def _may_mount() -> bool:
    """Whether small file systems can be had, which are filled."""
    try:
        mount = ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run([*_MOUNTS, *mount], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
