"""A compiled state machine: frozen, shared by all executions of a revision.

All states stand in one table, those of branches and item processors too: a name is unique in the
whole machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from stepout.asl.choice import Test
from stepout.asl.fields import Language
from stepout.asl.flow import Exit
from stepout.asl.jsonpath import Path
from stepout.asl.resources import Resource
from stepout.asl.settings import Setting
from stepout.asl.templates import Template
from stepout.asl.values import Json, Missing

__all__ = [
    "Catcher",
    "Choice",
    "Fail",
    "Kind",
    "Machine",
    "Map",
    "Parallel",
    "Pass",
    "Retrier",
    "Rule",
    "State",
    "Succeed",
    "Task",
    "Wait",
]


@dataclass(frozen=True, slots=True)
class Retrier:
    """Delays are in seconds; `max_delay` None means no cap."""

    errors: tuple[str, ...]
    interval: int = 1
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay: int | None = None
    has_full_jitter: bool = False


@dataclass(frozen=True, slots=True)
class Catcher:
    errors: tuple[str, ...]
    next: str
    exit: Exit


@dataclass(frozen=True, slots=True)
class Pass:
    result: Json | Missing


@dataclass(frozen=True, slots=True)
class Task:
    """`timeout` and `heartbeat` are in seconds, or None for no limit of its own."""

    resource: Resource
    timeout: Setting[int | None] = None
    heartbeat: Setting[int | None] = None


@dataclass(frozen=True, slots=True)
class Succeed:
    pass


@dataclass(frozen=True, slots=True)
class Fail:
    error: Setting[str | None]
    cause: Setting[str | None]


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds, or a timestamp in nanoseconds since the epoch."""

    seconds: Setting[int | None] = None
    timestamp: Setting[int | None] = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A top-level rule of a Choice: where to go when the test holds."""

    test: Test
    next: str
    exit: Exit


@dataclass(frozen=True, slots=True)
class Choice:
    """Rules in their order, and where to go when none holds."""

    rules: tuple[Rule, ...]
    default: str | None


@dataclass(frozen=True, slots=True)
class Parallel:
    """The first state of each branch."""

    branches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """The first state of an iteration, the items, and how much may run or fail at once."""

    start_at: str
    items: Items
    item_selector: Template | None
    concurrency: Setting[int | None]
    """0 and None: as many as the service allows."""
    tolerated_count: Setting[int | None]
    tolerated_percentage: Setting[float | None]
    is_distributed: bool = False
    unserved: str | None = None
    """A field that stepout does not serve: ItemReader, ItemBatcher or ResultWriter."""


@dataclass(frozen=True, slots=True)
class Items:
    """Where a Map's items come from: a path (JSONPath) or a field (JSONata); or the input."""

    path: Path | None = None
    field: Template | None = None
    text: str = ""
    """The field's expression, for messages; empty where it is a literal array."""


Kind: TypeAlias = Pass | Task | Wait | Choice | Succeed | Fail | Parallel | Map


@dataclass(frozen=True, slots=True)
class State:
    """One state: what all types have, and `kind` with what only its type has."""

    name: str
    type: str
    kind: Kind
    input_path: Path | None
    """`$` in JSONata; None for `null`."""
    arguments: Template | None
    """Parameters or Arguments."""
    exit: Exit
    next: str | None
    language: Language = "JSONPath"
    retry: tuple[Retrier, ...] = ()
    catch: tuple[Catcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    start_at: str
    states: Mapping[str, State]
    timeout: int | None
    """Seconds an execution may take; None for no limit of its own."""

    @classmethod
    def parse(cls, text: str, *, is_express: bool = False) -> Machine:
        """Compile a definition, JSON of the Amazon States Language.

        Raises `DefinitionError` with all problems at once. `is_express` also refuses what an
        Express machine may not have.
        """
        given: object = text
        if not isinstance(given, str):
            raise TypeError(f"Expected a definition as a JSON text, found {type(text).__name__}.")
        # `parse` builds on this module.
        from stepout.asl.parse import parse

        return parse(text, is_express=is_express)
