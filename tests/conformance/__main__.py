"""Print how stepout scores in the corpus: `make conformance`."""

from __future__ import annotations

import sys

from tests.conformance.corpus import CORPUS, SUITES, Result

from stepout.testing import Server


def main() -> int:
    if not (CORPUS / "run.py").exists():
        sys.stderr.write(
            f"Expected the corpus of recorded cases in {CORPUS}, found nothing there; "
            "name its directory: make conformance STEPOUT_CORPUS=DIR\n"
        )
        return 2
    width = max(len(suite.title) for suite in SUITES)
    sys.stdout.write(f"{'':{width}}  {'cases':>6} {'level 1':>14} {'level 2':>14}  later\n")
    results = []
    with Server() as server:
        for suite in SUITES:
            results.append(suite.run(server.url))
            sys.stdout.write(f"{_row(results[-1], width)}\n")
    sys.stdout.write("\nLater: cases that need what is not served yet; they do not count.\n")
    unexplained = [case for result in results for case in result.unexplained()]
    sys.stdout.writelines(
        f"Fails and is not in docs/conformance.md: {case}\n" for case in unexplained
    )
    return 1 if unexplained else 0


def _row(result: Result, width: int) -> str:
    total = len(result.counted)
    first, second = (f"{score:>5} ({score / total:6.1%})" for score in result.scores)
    later = len(result.cases) - total
    return f"{result.suite.title:{width}}  {total:>6} {first} {second}  {later:>5}"


if __name__ == "__main__":
    sys.exit(main())
