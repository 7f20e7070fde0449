"""Task mocks: what Tasks answer in tests, from a file or from Python functions.

The file is Step Functions Local's MockConfigFile: for a machine and a test case, which state gets
which response at which invocation. Functions stand for a state, by its name, or for a resource, by
its ARN.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from stepout.asl.states_error import RUNTIME, StatesError
from stepout.asl.values import MAX_DEPTH, Json, dumps, is_too_deep, loads
from stepout.errors import JsonError, SettingsError, TaskFailed, writable
from stepout.tasks import Integration, Scope

__all__ = ["Functions", "Mocks", "TaskFunction"]

TaskFunction: TypeAlias = Callable[[Json], Any]
"""Takes a Task's arguments; gives its result, at once or awaited, or raises `TaskFailed`."""


# --- Functions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Functions:
    """Python functions by the name of a state or the ARN of a resource; the state comes first."""

    functions: Mapping[str, TaskFunction]

    def find(self, resource: str, scope: Scope) -> Integration | None:
        for name in (scope.state_name, resource):
            if name in self.functions:
                return _integration(self.functions[name])
        return None


def _integration(function: TaskFunction) -> Integration:
    async def call(arguments: Json, _scope: Scope) -> Json | StatesError:
        try:
            # A copy: what the function changes in it is its own.
            result = function(loads(dumps(arguments)))
            if inspect.isawaitable(result):
                result = await result
        except TaskFailed as failed:
            return StatesError(failed.error, failed.cause)
        except Exception as error:  # noqa: BLE001 — the user's function may raise anything
            # As a Python function on Lambda fails: its class, and JSON that says what it said.
            told = {"errorMessage": writable(str(error)), "errorType": type(error).__name__}
            return StatesError(type(error).__name__, dumps(told).decode())
        return _as_json(result)

    return call


def _as_json(result: Any) -> Json | StatesError:
    """The result as JSON would carry it: a copy, with lists for tuples."""
    try:
        if is_too_deep(result):
            raise JsonError(f"it nests deeper than {MAX_DEPTH} levels, or holds itself")
        return loads(dumps(result))
    except (TypeError, ValueError) as error:
        told = str(error).rstrip(".")
        return StatesError(RUNTIME, f"The function of a Task must give JSON: {told}.")


# --- The file -------------------------------------------------------------------------------------

_Answers: TypeAlias = Mapping[int, Json | StatesError]
"""Invocation, from 0 → what it answers."""


@dataclass(frozen=True, slots=True)
class Mocks:
    """Machine name → test case → state → answers."""

    machines: Mapping[str, Mapping[str, Mapping[str, _Answers]]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Mocks:
        """Read a MockConfigFile; raises `SettingsError` with every problem."""
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise SettingsError(f"The mock file {path} cannot be read: {error}.") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "The mock file") -> Mocks:
        """As `load`, of a text."""
        try:
            config = loads(text)
        except JsonError as error:
            raise SettingsError(f"{name} is not JSON: {error}.") from None
        problems: list[str] = []
        machines = _machines(config, problems)
        if problems:
            raise SettingsError("\n".join(f"{name}: {problem}" for problem in problems))
        return cls(machines)

    def cases(self, machine: str) -> Sequence[str]:
        """The test cases of a machine."""
        return tuple(self.machines.get(machine, ()))

    def find(self, _resource: str, scope: Scope) -> Integration | None:
        """What answers for a state in the test case of its execution."""
        if scope.test_case is None:
            return None
        cases = self.machines.get(scope.machine_name, {})
        answers = cases.get(scope.test_case, {}).get(scope.state_name)
        return None if answers is None else _answering(answers)


def _answering(answers: _Answers) -> Integration:
    async def call(_arguments: Json, scope: Scope) -> Json | StatesError:
        if scope.invocation in answers:
            return answers[scope.invocation]
        return StatesError(
            RUNTIME,
            f"The mock of the state '{scope.state_name}' has no response for invocation "
            f"{scope.invocation} in the test case '{scope.test_case}'.",
        )

    return call


def _machines(config: Json, problems: list[str]) -> dict[str, dict[str, Mapping[str, _Answers]]]:
    if not isinstance(config, dict):
        problems.append("Expected an object with StateMachines and MockedResponses.")
        return {}
    responses = {
        name: _answers(response, f"MockedResponses.{name}", problems)
        for name, response in _members(config, "MockedResponses", "", problems)
    }
    machines: dict[str, dict[str, Mapping[str, _Answers]]] = {}
    for machine, value in _members(config, "StateMachines", "", problems):
        at = f"StateMachines.{machine}"
        machines[machine] = {
            case: _case(states, responses, f"{at}.TestCases.{case}", problems)
            for case, states in _members(value, "TestCases", at, problems)
        }
    return machines


def _case(
    states: Json, responses: Mapping[str, _Answers], at: str, problems: list[str]
) -> dict[str, _Answers]:
    """A test case: state name → name of a mocked response."""
    if not isinstance(states, dict):
        problems.append(f"{at}: expected an object of states, found {_shown(states)}.")
        return {}
    found: dict[str, _Answers] = {}
    for state, name in states.items():
        if isinstance(name, str) and name in responses:
            found[state] = responses[name]
        else:
            problems.append(f"{at}.{state}: no mocked response is called {_shown(name)}.")
    return found


_ATTEMPTS: Final = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)
_MOST: Final = 100_000
"""Invocations that one range may cover; ours."""


def _answers(response: Json, at: str, problems: list[str]) -> dict[int, Json | StatesError]:
    """A mocked response: attempt `"2"` or range `"0-1"` → Return or Throw."""
    if not isinstance(response, dict):
        problems.append(f"{at}: expected an object of attempts, found {_shown(response)}.")
        return {}
    found: dict[int, Json | StatesError] = {}
    for attempts, value in response.items():
        match = _ATTEMPTS.fullmatch(attempts)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else -1
        if match is None or not 0 <= last - first < _MOST:
            expected = 'an attempt such as "0" or a range such as "1-3"'
            problems.append(f"{at}: expected {expected}, found {_shown(attempts)}.")
            continue
        answer = _answer(value, f"{at}.{attempts}", problems)
        found |= dict.fromkeys(range(first, last + 1), answer)
    return found


def _answer(value: Json, at: str, problems: list[str]) -> Json | StatesError:
    is_one = isinstance(value, dict) and len(value) == 1
    if is_one and "Return" in value:
        return value["Return"]
    thrown = value.get("Throw") if is_one else None
    if isinstance(thrown, dict) and isinstance(thrown.get("Error"), str):
        cause = thrown.get("Cause")
        if cause is None or isinstance(cause, str):
            return StatesError(thrown["Error"], cause)
    problems.append(
        f"{at}: expected either Return, or Throw with the texts Error and Cause, found "
        f"{_shown(value)}."
    )
    return None


def _members(value: Json, name: str, at: str, problems: list[str]) -> Iterator[tuple[str, Json]]:
    members = value.get(name) if isinstance(value, dict) else None
    if isinstance(members, dict):
        yield from members.items()
    else:
        where = f"{at}.{name}" if at else name
        problems.append(f"{where}: expected an object, found {_shown(members)}.")


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
