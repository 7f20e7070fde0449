"""What came of the soak: outcomes by kind of client, times of the probe, samples, broken promises."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Broken", "Ledger", "Sample", "growth", "quantile"]


class Broken(Exception):
    """A promise that was not kept, as a sentence."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's process at one moment; memory in MB, None where it cannot be read."""

    second: float
    rss: float
    pss: float
    threads: int
    sockets: Counter[str]
    """State → sockets."""
    files: int
    """Descriptors that are no sockets."""
    tasks: int | None = None
    executions: int | None = None

    @property
    def descriptors(self) -> int:
        return self.files + sum(self.sockets.values())


@dataclass(slots=True)
class Ledger:
    """Everything that is told at the end."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Kind → outcome → how often."""
    probe: list[float] = field(default_factory=list)
    """Seconds of each call."""
    samples: list[Sample] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    """Sentence → how often."""

    def count(self, kind: str, outcome: str) -> None:
        self.outcomes[kind][outcome] += 1

    def breaks(self, sentence: str) -> None:
        self.broken[sentence] += 1

    @property
    def requests(self) -> int:
        return sum(outcomes.total() for outcomes in self.outcomes.values())


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of them is; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def growth(values: Sequence[float]) -> float:
    """By how much the last fifth of a series is above its third fifth: what no longer warms up and
    still grows. Medians, so that one moment counts for little; 0 where there is too little."""
    fifth = len(values) // 5
    if not fifth:
        return 0.0
    return median(values[-fifth:]) - median(values[2 * fifth : 3 * fifth])
