"""Input and output processing, in the order of the States Language.

JSONPath: InputPath → Parameters → the work → ResultSelector → ResultPath (into the raw input) →
OutputPath. JSONata: Arguments → the work → Output (`queries`). In both, Assign sees the values at
the state's end and its variables are seen from the next state on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.states_error import DATA_LIMIT_EXCEEDED, RUNTIME, Failure, StatesError
from stepout.asl.templates import Context, Template, read
from stepout.asl.values import PAYLOAD_LIMIT, Document, Json

__all__ = [
    "Exit",
    "Left",
    "PathExit",
    "Variables",
    "payload_of",
    "place",
    "read_path",
    "select",
    "variables",
]

Variables = Mapping[str, Document]

NOTHING: Final[Variables] = {}


class Left(NamedTuple):
    """What a state leaves behind: its output, and the variables that it assigned."""

    output: Document
    assigned: Variables


class Exit(Protocol):
    """The way out of a state, a rule of Choice or a catcher."""

    def leave(self, raw: Document, result: Document, context: Context) -> Left:
        """From the state's raw input and its result, which is the error output in a catcher."""


@dataclass(frozen=True, slots=True)
class PathExit:
    """JSONPath's way out; None stands for `null`, or not given."""

    result_selector: Template | None
    result_path: Path | None
    output_path: Path | None
    assign: Template | None

    def leave(self, raw: Document, result: Document, context: Context) -> Left:
        selected = payload_of(self.result_selector, result, context)
        output = select(self.output_path, place(self.result_path, raw, selected), context)
        if self.assign is None:
            return Left(output, NOTHING)
        return Left(output, variables(self.assign.evaluate(result, context)))


def variables(values: Mapping[str, Json]) -> Variables:
    """The variables of one Assign, within AWS's limits: 256 KiB each and together."""
    documents = {name: Document(value) for name, value in values.items()}
    if sum(document.size for document in documents.values()) > PAYLOAD_LIMIT:
        cause = (
            "The variables of one Assign field have more than the maximum of "
            f"{PAYLOAD_LIMIT} bytes together."
        )
        raise Failure(StatesError(DATA_LIMIT_EXCEEDED, cause))
    return documents


def payload_of(template: Template | None, source: Document, context: Context) -> Document:
    """The source after Parameters, Arguments or ResultSelector."""
    return source if template is None else Document(template.evaluate(source, context))


def place(path: Path | None, raw: Document, result: Document) -> Document:
    """Put the result into the raw input where ResultPath says; `null` discards it."""
    if path is None:
        return raw
    if path.text == "$":
        return result
    try:
        return Document(path.write(raw.value, result.value))
    except PathMiss as miss:
        cause = f"Unable to apply step \"{path.text}\" to input '{raw.text}': {miss}"
        raise Failure(StatesError("States.ResultPathMatchFailure", cause)) from None


def select(path: Path | None, source: Document, context: Context) -> Document:
    """The source after InputPath or OutputPath; `null` gives an empty object."""
    if path is None:
        return Document({}, b"{}")
    if path.text == "$":
        return source
    return Document(read_path(path, source, context))


def read_path(path: Path, source: Document, context: Context) -> Json:
    """The value of a path field of a state; a miss is States.Runtime, worded as recorded on AWS."""
    try:
        return read(path, source, context)
    except PathMiss as miss:
        cause = f"Invalid path '{path.text}' : {miss}"
        raise Failure(StatesError(RUNTIME, cause)) from None
