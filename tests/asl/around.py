"""What surrounds an evaluation in tests: a context object, variables and known draws."""

from __future__ import annotations

from typing import Any

from stepout.asl.allowance import Allowance
from stepout.asl.values import Document


class Around:
    """See `templates.Context`; each draw gives the same 32 bytes."""

    def __init__(self, *, is_inline: bool = True, **variables: Any) -> None:
        self.allowance = Allowance(is_inline=is_inline)
        self.now = 1_700_000_000_000
        self._variables = {name: Document(value) for name, value in variables.items()}

    def context(self) -> Any:
        return {"State": {"Name": "S"}}

    def variable(self, name: str) -> Document | None:
        return self._variables.get(name)

    def draw(self) -> bytes:
        return bytes(range(32))
