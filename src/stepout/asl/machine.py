"""A compiled state machine: frozen, shared by all executions of a revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from stepout.asl.choice import Rule
from stepout.asl.intrinsics import FunctionCall
from stepout.asl.jsonpath import Path
from stepout.asl.resources import Resource
from stepout.asl.templates import Template
from stepout.asl.values import Json, Missing

__all__ = [
    "Catcher",
    "Choice",
    "Fail",
    "Flow",
    "Kind",
    "Machine",
    "Pass",
    "Retrier",
    "State",
    "Succeed",
    "Task",
    "Text",
    "Wait",
]

Text: TypeAlias = str | Path | FunctionCall | None
"""A literal text, a path or a call that gives one, or nothing."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Input and output processing of a JSONPath state; None stands for `null`, or not given."""

    input_path: Path | None
    parameters: Template | None
    result_selector: Template | None
    result_path: Path | None
    output_path: Path | None


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
    result_path: Path | None


@dataclass(frozen=True, slots=True)
class Pass:
    result: Json | Missing


@dataclass(frozen=True, slots=True)
class Task:
    """`timeout` is in seconds, a path to them, or None for no limit of its own."""

    resource: Resource
    timeout: int | Path | None


@dataclass(frozen=True, slots=True)
class Succeed:
    pass


@dataclass(frozen=True, slots=True)
class Fail:
    error: Text
    cause: Text


@dataclass(frozen=True, slots=True)
class Wait:
    """Exactly one is set: seconds or a path to them, or a timestamp (ns) or a path to one."""

    seconds: int | Path | None = None
    timestamp: int | Path | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Rules in their order, and where to go when none holds."""

    rules: tuple[Rule, ...]
    default: str | None


Kind: TypeAlias = Pass | Task | Wait | Choice | Succeed | Fail


@dataclass(frozen=True, slots=True)
class State:
    """One state: what all types have, and `kind` with what only its type has."""

    name: str
    type: str
    kind: Kind
    flow: Flow
    next: str | None
    retry: tuple[Retrier, ...] = ()
    catch: tuple[Catcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    start_at: str
    states: Mapping[str, State]
    timeout: int | None
    """Seconds an execution may take; None for no limit of its own."""
