"""What the HTTP Task takes is checked when the machine is saved, and again when it runs."""

from __future__ import annotations

from typing import Any

import pytest

from stepout.asl.resources import resource_of

HTTP = resource_of("arn:aws:states:::http:invoke")
CONNECTION = {"ConnectionArn": "arn:aws:events:us-east-1:123456789012:connection/c/u"}
LEAST: dict[str, Any] = {
    "ApiEndpoint": "https://api.example.com/v1",
    "Method": "GET",
    "Authentication": CONNECTION,
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Headers": {"Accept": "text/html", "X-Two": ["a", "b"]}},
        {"Headers": {"User-Agent": "mine", "Range": "bytes=0-1"}},
        {"QueryParameters": {"a": [1, 2]}},
        {"QueryParameters": "a=b"},
        {"RequestBody": None},
        {"Transform": {"RequestBodyEncoding": "URL_ENCODED"}},
        {"Transform": {"RequestEncodingOptions": {"ArrayFormat": "COMMAS"}}},
        {"InvocationConfig": CONNECTION},
    ],
)
def test_what_aws_documents_is_taken(more: dict[str, Any]) -> None:
    assert HTTP.check_template({**LEAST, **more}) == []
    assert HTTP.check_arguments({**LEAST, **more}) == []


def test_a_template_may_take_everything_from_the_input() -> None:
    template = {
        "ApiEndpoint.$": "$.url",
        "Method.$": "$.method",
        "Authentication": {"ConnectionArn.$": "$.connection"},
        "Headers.$": "$.headers",
        "QueryParameters.$": "$.query",
        "RequestBody.$": "$.body",
        "Transform.$": "$.transform",
    }
    assert HTTP.check_template(template) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Colour": 1}, 'The field "Colour" is not supported by Step Functions'),
        (
            {"Method": None},
            "The value for 'Method' must be one of the values: [GET, POST, PUT, DELETE, PATCH, OPTIONS, HEAD] but was 'null'",
        ),
        (
            {"Method": "get"},
            "The value for 'Method' must be one of the values: [GET, POST, PUT, DELETE, PATCH, OPTIONS, HEAD] but was 'get'",
        ),
        ({"ApiEndpoint": 1}, "The value of the field 'ApiEndpoint' has an invalid format"),
        (
            {"ApiEndpoint": "http://api.example.com"},
            "The value for the field 'ApiEndpoint' must be a URL that starts with 'https://'",
        ),
        ({"Authentication": {}}, "The field 'ConnectionArn' is required but was missing"),
        ({"Authentication": 1}, "The value of the field 'Authentication' has an invalid format"),
        ({"Headers": []}, "The value of the field 'Headers' has an invalid format"),
        (
            {"Headers": {"Authorization": "x", "X-Amz-Date": "y"}},
            "The 'Headers' field contains unsupported values: [authorization, x-amz-date]",
        ),
        (
            {"Headers": {"Accept": 1}},
            "The value of the field 'Headers' has an invalid format",
        ),
        (
            {"Headers": {"Accept": "a\r\nHost: b"}},
            "The value of the header 'Accept' contains a control character",
        ),
        (
            {"Headers": {"A B": "c"}},
            "The 'Headers' field contains a name that is no HTTP header name: 'A B'",
        ),
        (
            {"QueryParameters": 1},
            "The value of the field 'QueryParameters' has an invalid format",
        ),
        (
            {"Transform": {"RequestBodyEncoding": "FORM"}},
            "The value for 'RequestBodyEncoding' must be one of the values: [NONE, URL_ENCODED] but was 'FORM'",
        ),
        (
            {"Transform": {"RequestEncodingOptions": {"ArrayFormat": "NONE"}}},
            "The value for 'ArrayFormat' must be one of the values: [INDICES, REPEAT, COMMAS, BRACKETS] but was 'NONE'",
        ),
    ],
)
def test_a_literal_that_cannot_work_is_refused_when_the_machine_is_saved(
    change: dict[str, Any], message: str
) -> None:
    assert HTTP.check_template({**LEAST, **change}) == [message]


@pytest.mark.parametrize("name", ["ApiEndpoint", "Method", "Authentication"])
def test_what_is_required_is_missed_in_the_template_and_in_the_arguments(name: str) -> None:
    without = {key: value for key, value in LEAST.items() if key != name}
    message = [f"The field '{name}' is required but was missing"]
    assert HTTP.check_template(without) == message
    assert HTTP.check_arguments(without) == message


@pytest.mark.parametrize("name", ["x-forwarded-for", "X-AMZN-Trace-Id", "HTTP2-Settings", "tE"])
def test_forbidden_headers_are_known_in_any_case(name: str) -> None:
    assert HTTP.check_arguments({**LEAST, "Headers": {name: "x"}}) == [
        f"The 'Headers' field contains unsupported values: [{name.lower()}]"
    ]


def test_a_forbidden_header_is_found_behind_a_path() -> None:
    template = {**LEAST, "Headers": {"authorization.$": "$.token"}}
    assert HTTP.check_template(template) == [
        "The 'Headers' field contains unsupported values: [authorization]"
    ]


def test_arguments_are_shown_in_the_order_recorded_on_aws() -> None:
    names = [
        "ApiEndpoint",
        "Method",
        "Authentication",
        "Headers",
        "QueryParameters",
        "RequestBody",
        "Transform",
    ]
    assert list(HTTP.shown(dict.fromkeys(names))) == [
        "Authentication",
        "Headers",
        "ApiEndpoint",
        "Method",
        "QueryParameters",
        "Transform",
        "RequestBody",
    ]
