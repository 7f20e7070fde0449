"""JSONata in the fields of a state: which texts are expressions, what they see, how they fail.

A text is an expression when it begins with `{%` and ends with `%}`; texts inside objects and arrays
count as well (developer guide, "Transforming data with JSONata"). Every failure is
States.QueryEvaluationError, which can be caught, and names the field it happened in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from stepout.asl import jsonata
from stepout.asl.flow import NOTHING, Left, variables
from stepout.asl.jsonata import Query, QueryError
from stepout.asl.states_error import QUERY_EVALUATION_ERROR, Failure, StatesError
from stepout.asl.templates import Context, Template, pay
from stepout.asl.values import Document, Json, Missing, dumps

__all__ = [
    "QueryExit",
    "compile_field",
    "expression",
    "expressions",
    "kind_of",
    "query_failure",
    "typed",
    "unexpected",
]

Evaluate: TypeAlias = Callable[["View"], Json]

_OPEN: Final = "{%"
_CLOSE: Final = "%}"


@dataclass(slots=True)
class View:
    """What an expression sees of an execution."""

    context: Context
    documents: Mapping[str, Document]

    def member(self, name: str) -> Document | None:
        """See `jsonata.Roots`."""
        if name == "context":
            return Document(self.context.context())
        return self.documents.get(name)

    def variable(self, name: str) -> Document | None:
        """See `jsonata.Roots`."""
        return self.context.variable(name)


def expression(value: Json) -> str | None:
    """The JSONata of a text, or None where it is none."""
    if isinstance(value, str) and value.startswith(_OPEN) and value.endswith(_CLOSE):
        return value[len(_OPEN) : -len(_CLOSE)].strip()
    return None


def expressions(value: Json, location: str) -> Iterator[tuple[str, str]]:
    """All expressions of a field with their locations, such as `Output/a/b[0]`."""
    text = expression(value)
    if text is not None:
        yield text, location
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from expressions(member, f"{location}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions(item, f"{location}[{index}]")


def compile_field(value: Json, location: str) -> Template:
    """A field whose expressions see `$states.input` and `$states.context`."""
    evaluate = _compile(value, location)
    if evaluate is None:
        return Template(lambda _source, _context: value)
    found = evaluate
    return Template(lambda source, context: found(View(context, {"input": source})))


def typed(value: Json, location: str, kind: str) -> Callable[[Document, Context], Json] | None:
    """A field that must give one type of value; None where it is no expression."""
    text = expression(value)
    if text is None:
        return None
    evaluate = _query(text, location)

    def evaluate_typed(source: Document, context: Context) -> Json:
        found = evaluate(View(context, {"input": source}))
        if kind_of(found) != kind:
            raise unexpected(text, location, kind, found)
        return found

    return evaluate_typed


@dataclass(frozen=True, slots=True)
class QueryExit:
    """JSONata's way out of a state, a rule of Choice or a catcher."""

    output: Evaluate | None
    assign: Evaluate | None
    is_result: bool
    """Without an Output the result is the output, else the input."""
    result_name: Literal["result", "errorOutput"] = "result"

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Json],
        *,
        is_result: bool,
        at: str = "",
        result_name: Literal["result", "errorOutput"] = "result",
    ) -> QueryExit:
        """From the fields Output and Assign of an object at a location such as `Catch[0]/`."""
        output = _whole(fields["Output"], f"{at}Output") if "Output" in fields else None
        assign = _whole(fields["Assign"], f"{at}Assign") if fields.get("Assign") else None
        return cls(output, assign, is_result, result_name)

    def leave(self, raw: Document, result: Document, context: Context) -> Left:
        has_result = self.is_result or self.result_name == "errorOutput"
        documents = {"input": raw, self.result_name: result} if has_result else {"input": raw}
        view = View(context, documents)
        if self.output is not None:
            output = Document(self.output(view))
        else:
            output = result if self.is_result else raw
        return Left(output, NOTHING if self.assign is None else variables(self.assign(view)))


def query_failure(cause: str, location: str | None = None) -> Failure:
    return Failure(StatesError(QUERY_EVALUATION_ERROR, cause), location)


def unexpected(text: str, location: str, expected: str, found: Json) -> Failure:
    """A value of another type than the field takes, worded as recorded on AWS."""
    cause = (
        f"{_specified(text, location)} returned an unexpected result type. Expected '{expected}', "
        f"but was '{kind_of(found)}' for value: {dumps(found).decode()}"
    )
    return query_failure(cause, location)


def kind_of(value: Json) -> str:
    """The name of a JSON value's type as AWS's messages use it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _whole(value: Json, location: str) -> Evaluate:
    return _compile(value, location) or (lambda _view: value)


def _compile(value: Json, location: str) -> Evaluate | None:
    """The evaluator of a value, or None for one that is a constant."""
    text = expression(value)
    if text is not None:
        return _query(text, location)
    if isinstance(value, dict):
        return _compile_object(value, location)
    if isinstance(value, list):
        return _compile_list(value, location)
    return None


def _compile_object(members: dict[str, Json], location: str) -> Evaluate | None:
    found = {key: _compile(value, f"{location}/{key}") for key, value in members.items()}
    if all(evaluate is None for evaluate in found.values()):
        return None
    steps = [(key, evaluate or _constant(members[key])) for key, evaluate in found.items()]
    return lambda view: {key: evaluate(view) for key, evaluate in steps}


def _compile_list(items: list[Json], location: str) -> Evaluate | None:
    found = [_compile(item, f"{location}[{index}]") for index, item in enumerate(items)]
    if all(evaluate is None for evaluate in found):
        return None
    steps = [evaluate or _constant(item) for evaluate, item in zip(found, items, strict=True)]
    return lambda view: [evaluate(view) for evaluate in steps]


def _constant(value: Json) -> Evaluate:
    return lambda _view: value


def _query(text: str, location: str) -> Evaluate:
    query = jsonata.compile(text)
    return lambda view: _evaluate(query, location, view)


def _evaluate(query: Query, location: str, view: View) -> Json:
    try:
        value = query.evaluate(view, view.context)
    except QueryError as error:
        raise query_failure(_threw(query.text, location, error), location) from None
    if isinstance(value, Missing):
        cause = f"{_specified(query.text, location)} returned nothing (undefined)."
        raise query_failure(cause, location)
    return pay(value, view.context)


def _threw(text: str, location: str, error: QueryError) -> str:
    if error.message == jsonata.UNSUPPORTED_RESULT:
        return f"{_specified(text, location)} {error.message}"
    told = f": {error.message}" if error.code is None else f". {error.code}: {error.message}"
    return f"{_specified(text, location)} threw an error during evaluation{told}"


def _specified(text: str, location: str) -> str:
    return f"The JSONata expression '{text}' specified for the field '{location}'"
