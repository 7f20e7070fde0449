"""One table from one run: the States Language, IAM policies and the egress's decisions in this
process, calls over the wire, the ways of a program to an API."""

from __future__ import annotations

import argparse

from benchmarks import calls, door, egress, language, policies, ways

PARTS = {
    "language": lambda options: language.run(options.rounds),
    "policies": lambda options: policies.run(options.rounds),
    "door": lambda options: door.run(options.rounds),
    "egress": lambda options: egress.run(options.rounds),
    "calls": calls.run,
    "ways": ways.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*PARTS], help="one part of the table")
    parser.add_argument("--requests", type=int, default=4_000, help="requests of a row and round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--calls", type=int, default=20_000, help="calls of the memory row")
    options = parser.parse_args()
    for name, run in PARTS.items():
        if options.only in (None, name):
            run(options)


if __name__ == "__main__":
    main()
