"""One table from one run: the States Language in this process, then calls over the wire."""

from __future__ import annotations

import argparse

from benchmarks import calls, language


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["language", "calls"], help="one half of the table")
    parser.add_argument("--requests", type=int, default=4_000, help="requests of a row and round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--calls", type=int, default=20_000, help="calls of the memory row")
    options = parser.parse_args()
    if options.only != "calls":
        language.run(options.rounds)
    if options.only != "language":
        calls.run(options)


if __name__ == "__main__":
    main()
