"""What AWS answered, recorded by others, against a server of our own: `make conformance`.

The corpus is third-party data beside the repository (`$STEPOUT_CORPUS`, else `../shared/conformance`)
with a runner, `run.py`. A suite is one run of it. docs/conformance.md has a section for each suite
and lists the cases that fail there, each with its reason; `test_corpus.py` holds it to that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]
CORPUS: Final = Path(os.environ.get("STEPOUT_CORPUS", REPOSITORY.parent / "shared" / "conformance"))
PAGE: Final = REPOSITORY / "docs" / "conformance.md"
_DRIVER: Final = Path(__file__).with_name("jsonata_driver.py")


@dataclass(frozen=True, slots=True)
class Case:
    """One case that ran. What the levels mean is a suite's; the second counts only with the first."""

    id: str
    first: bool
    second: bool


@dataclass(frozen=True, slots=True)
class Suite:
    """A part of the corpus and the least shares of its cases that must pass."""

    title: str
    """Also the heading of its section in docs/conformance.md."""
    arguments: tuple[str, ...]
    """For `run.py`; `{url}` is the server's."""
    read: Callable[[Any], Iterator[Case]]
    """From the runner's report to the cases that ran."""
    levels: tuple[str, str] = ("status, output, error and cause", "every recorded field")
    least: tuple[float, float] = (1.0, 1.0)
    later: tuple[str, ...] = ()
    """Patterns of the ids that need what stepout does not serve yet: they do not count."""

    def run(self, url: str) -> Result:
        with TemporaryDirectory() as directory:
            report = Path(directory, "report.json")
            command = [part.replace("{url}", url) for part in self.arguments]
            done = subprocess.run(
                [sys.executable, str(CORPUS / "run.py"), *command, "--json", str(report)],
                capture_output=True,
                text=True,
                timeout=300,
            )
            if not report.exists():
                raise RuntimeError(f"The runner wrote no report: {done.stdout}{done.stderr}")
            return Result(self, tuple(self.read(json.loads(report.read_text()))))


@dataclass(frozen=True, slots=True)
class Result:
    suite: Suite
    cases: tuple[Case, ...]

    @property
    def counted(self) -> tuple[Case, ...]:
        later = self.suite.later
        return tuple(case for case in self.cases if not _matches(case.id, later))

    @property
    def scores(self) -> tuple[int, int]:
        """How many of those that count pass each level."""
        return (
            sum(case.first for case in self.counted),
            sum(case.first and case.second for case in self.counted),
        )

    @property
    def failing(self) -> tuple[str, ...]:
        return tuple(case.id for case in self.cases if not (case.first and case.second))

    def unexplained(self) -> list[str]:
        """Failing cases that docs/conformance.md does not name."""
        return [case for case in self.failing if not _matches(case, explained(self.suite))]

    def outdated(self) -> list[str]:
        """What docs/conformance.md says fails, and does not."""
        return [
            pattern
            for pattern in explained(self.suite)
            if not any(_matches(case, (pattern,)) for case in self.failing)
        ]


def explained(suite: Suite) -> tuple[str, ...]:
    """The patterns in the first column of the tables of a suite's section."""
    _, _, rest = PAGE.read_text().partition(f"\n## {suite.title}\n")
    section = rest.partition("\n## ")[0]
    return tuple(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def _matches(case: str, patterns: Sequence[str]) -> bool:
    """Whether the id of a case is one of `patterns`, in which `*` stands for anything and `[` for itself."""
    return any(fnmatchcase(case, pattern.replace("[", "[[]")) for pattern in patterns)


def _calls(report: Any) -> Iterator[Case]:
    for case in report["cases"]:
        if case["status"] != "skipped":
            yield Case(case["id"], case["l1"], case["l2"])


def _verdicts(report: Any) -> Iterator[Case]:
    """Those of AWS itself, and published definitions; the rest are opinions of linters."""
    for case in report:
        if case["confidence"] != "linter":
            yield Case(case["id"], case["ok"], case["ok"])


def _opinions(report: Any) -> Iterator[Case]:
    for case in report:
        if case["confidence"] == "linter":
            yield Case(case["id"], case["ok"], case["ok"])


def _answers(report: Any) -> Iterator[Case]:
    for case in report["cases"]:
        yield Case(case["id"], case["ok"], case["exact"])


_CALLS: Final = ("sfn", "--endpoint", "{url}")
_DEFINITIONS: Final = ("definitions", "--endpoint", "{url}")
_SAME: Final = ("the verdict", "the verdict")

SUITES: Final = (
    Suite(
        "Executions recorded on Standard machines",
        (*_CALLS, "--express"),
        _calls,
        least=(0.98, 0.98),
    ),
    Suite(
        "Executions recorded on Express machines",
        (*_CALLS, "--kind", "express_sync,express_async"),
        _calls,
    ),
    Suite("ValidateStateMachineDefinition", (*_CALLS, "--kind", "validate"), _calls),
    Suite(
        "Other calls of the API",
        (*_CALLS, "--kind", "api,api_error"),
        _calls,
        levels=("status, error code and every recorded field", "the error's text as well"),
        later=(
            "test_sfn_api_activities::*",
            "*test_list_execution_invalid_arn",
            "*test_get_execution_history_invalid_arn",
        ),
    ),
    Suite(
        "Definitions that CreateStateMachine refuses",
        (*_CALLS, "--kind", "create_error"),
        _calls,
        levels=("the error", "its text as well"),
        least=(0.97, 0.93),
        later=("*test_illegal_activity_task*", "*test_map_state_label_*"),
    ),
    Suite("Definitions with AWS's verdict", _DEFINITIONS, _verdicts, levels=_SAME),
    Suite("Definitions with a linter's verdict", _DEFINITIONS, _opinions, _SAME, least=(0.8, 0.8)),
    Suite(
        "The official JSONata suite",
        ("jsonata", "--command", f"{sys.executable} {_DRIVER}"),
        _answers,
        levels=("the result, or an error", "the error's code as well"),
        least=(0.995, 0.99),
    ),
)
