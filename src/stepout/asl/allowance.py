"""What evaluations may cost: little on the event loop, as much as is bearable in the pool.

An evaluation pays for what can take long: nodes that a path looks at, bytes that a template
gathers, the time of a JSONata expression. On the event loop, who cannot pay raises `NeedsTime`, and
the turn is made again in the evaluation pool; there, who cannot pay fails in the words of the
States Language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["APART", "INLINE", "Allowance", "Costs", "NeedsTime"]


class NeedsTime(Exception):
    """The evaluation does not fit the event loop; ask again with an allowance that is apart."""


@dataclass(frozen=True, slots=True)
class Costs:
    nodes: int
    """Nodes of documents that paths and intrinsic functions look at; some 0.2 µs each."""
    bytes: int
    """JSON that templates gather."""
    seconds: float
    """Time in the JSONata engine."""


INLINE: Final = Costs(nodes=50_000, bytes=1_048_576, seconds=0.02)
"""For a turn on the event loop: some 20 ms at the most, in each kind."""

APART: Final = Costs(nodes=10_000_000, bytes=64 * 1_048_576, seconds=5.0)
"""For entering or leaving one state in the pool. Ours: AWS's limits are not known.

Nodes: every part of the largest document 80 times. Bytes: the largest document 256 times.
"""


class Allowance:
    """What is left to pay with."""

    __slots__ = ("_bytes", "_is_spent", "_nodes", "_seconds", "is_inline")

    def __init__(self, *, is_inline: bool = True) -> None:
        self.is_inline = is_inline
        self._is_spent = False
        self._fill()

    @property
    def seconds(self) -> float:
        """The time that an expression may take; raises `NeedsTime` where none is left inline."""
        if self._seconds <= 0 and self.is_inline:
            raise NeedsTime
        return max(self._seconds, 0.001)

    @property
    def is_low(self) -> bool:
        """So much has been paid that others should have their turn."""
        return self._is_spent or self._has_paid_much()

    def renew(self) -> None:
        """Another state is entered or left: apart, each may pay for itself."""
        if not self.is_inline:
            self._is_spent = self.is_low
            self._fill()

    def pay_nodes(self, count: int) -> bool:
        self._nodes -= count
        return self._nodes >= 0 or self._broke()

    def pay_bytes(self, count: int) -> bool:
        self._bytes -= count
        return self._bytes >= 0 or self._broke()

    def pay_seconds(self, seconds: float) -> None:
        """Paid when they are over: who had `seconds` for a limit cannot have taken much more."""
        self._seconds -= seconds

    def _fill(self) -> None:
        costs = INLINE if self.is_inline else APART
        self._nodes, self._bytes, self._seconds = costs.nodes, costs.bytes, costs.seconds

    def _has_paid_much(self) -> bool:
        costs = INLINE if self.is_inline else APART
        return (
            costs.nodes - self._nodes > INLINE.nodes / 2
            or costs.bytes - self._bytes > INLINE.bytes / 2
            or costs.seconds - self._seconds > INLINE.seconds / 2
        )

    def _broke(self) -> bool:
        if self.is_inline:
            raise NeedsTime
        return False
