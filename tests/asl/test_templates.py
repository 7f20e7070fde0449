"""Payload templates: paths are replaced, the rest stays as it is and is not copied."""

from __future__ import annotations

from typing import Any

import pytest
from tests.asl.around import Around

from stepout.asl.states_error import Failure, StatesError
from stepout.asl.templates import compile_template, problems
from stepout.asl.values import Document

SOURCE = Document({"a": {"b": [1, 2]}, "name": "x", "null": None})


def evaluate(template: Any) -> Any:
    return compile_template(template).evaluate(SOURCE, Around(known={"a": [7]}))


@pytest.mark.parametrize(
    ("template", "payload"),
    [
        ({"v.$": "$.a.b[1]"}, {"v": 2}),
        ({"v.$": "$"}, {"v": SOURCE.value}),
        ({"v.$": "$$.State.Name"}, {"v": "S"}),
        ({"v.$": "$.null"}, {"v": None}),
        ({"v.$": "$known"}, {"v": {"a": [7]}}),
        ({"v.$": "$known.a[0]"}, {"v": 7}),
        ({"v.$": "States.Array($known.a, $$.State.Name)"}, {"v": [[7], "S"]}),
        ({"v.$": "$.a.b[*]"}, {"v": [1, 2]}),
        ({"v.$": "$.a.b[9]"}, {"v": None}),
        ({"v": "$.name"}, {"v": "$.name"}),
        ({"v.$": "States.Format('{} of {}', $.name, $.a.b)"}, {"v": "x of [1, 2]"}),
        ({"v.$": "States.Array($.a.b[9])"}, {"v": [None]}),
        ({"v.$": "States.UUID()"}, {"v": "00010203-0405-4607-8809-0a0b0c0d0e0f"}),
        ({"v": {"deep.$": "$.name", "kept": 0}}, {"v": {"deep": "x", "kept": 0}}),
        ({"v": [{"item.$": "$.name"}, "$.name", 5]}, {"v": [{"item": "x"}, "$.name", 5]}),
        ([{"v.$": "$.name"}], [{"v": "x"}]),
        ({}, {}),
        (5, 5),
        (None, None),
    ],
)
def test_paths_are_replaced_and_the_rest_stays(template: Any, payload: Any) -> None:
    assert evaluate(template) == payload


def test_a_constant_is_handed_on_without_a_copy() -> None:
    template = {"large": [1, 2, 3]}
    assert evaluate(template) is template
    partly = {"large": [1, 2, 3], "v.$": "$.name"}
    assert evaluate(partly)["large"] is partly["large"]


def test_the_context_object_is_made_only_for_those_who_ask() -> None:
    class Nothing(Around):
        def context(self) -> Any:
            raise AssertionError

    template = compile_template({"v.$": "$.name"})
    assert template.evaluate(SOURCE, Nothing()) == {"v": "x"}


def test_a_path_that_leads_nowhere_is_told_as_recorded_on_aws() -> None:
    with pytest.raises(Failure) as caught:
        evaluate({"v.$": "$.nope"})
    assert caught.value.error == StatesError(
        "States.Runtime",
        "The JSONPath '$.nope' specified for the field 'v.$' could not be found in the input "
        '\'{"a":{"b":[1,2]},"name":"x","null":null}\'',
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"v.$": 1}, "The value for the field 'v.$' must be a valid JSONPath"),
        ({"v.$": "x"}, "The value for the field 'v.$' must be a valid JSONPath"),
        ({"v.$": "$."}, "The value for the field 'v.$' must be a valid JSONPath"),
        ({"v.$": "States.Nope()"}, "The value for the field 'v.$' must be a valid JSONPath"),
        ({"a": [{"v.$": "x"}]}, "The value for the field 'v.$' must be a valid JSONPath"),
        ({"v.$": "$.a", "v": 1}, "The field 'v' is given twice, as 'v.$' too"),
    ],
)
def test_what_is_wrong_with_a_template(template: Any, message: str) -> None:
    (found,) = problems(template)
    assert found.startswith(message)
