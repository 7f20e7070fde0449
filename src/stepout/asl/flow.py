"""Input and output processing of JSONPath states, in the order of the States Language:

InputPath → Parameters → the work → ResultSelector → ResultPath (into the raw input) → OutputPath.
"""

from __future__ import annotations

from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.machine import Flow
from stepout.asl.states_error import RUNTIME, Failure, StatesError
from stepout.asl.templates import Context, Template, read
from stepout.asl.values import Document, Json

__all__ = ["effective_input", "output_of", "payload_of", "place", "select"]


def effective_input(flow: Flow, raw: Document, context: Context) -> Document:
    """The input after InputPath."""
    return select(flow.input_path, raw, context)


def payload_of(template: Template | None, source: Document, context: Context) -> Document:
    """The source after Parameters or ResultSelector."""
    return source if template is None else Document(template.evaluate(source, context))


def output_of(flow: Flow, raw: Document, result: Document, context: Context) -> Document:
    """The result after ResultSelector, ResultPath and OutputPath."""
    selected = payload_of(flow.result_selector, result, context)
    return select(flow.output_path, place(flow.result_path, raw, selected), context)


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
