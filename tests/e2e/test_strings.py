"""Texts of every kind come through unharmed: as input, query, body, header and answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import ROLE, URL, one_task, output_of

from stepout.testing import Answer, Origin, Received, Server

SUITE = Path(__file__).parents[2].parent / "shared/security/strings/blns.json"

OWN = [
    "",
    " ",
    "é",
    "𝒳",
    "a\u0000b",
    "\u202e",
    "\r\nX: y",
    "%0d%0a",
    "${x}",
    "$.x",
    "\\",
    '"',
    "+&=;#?",
    "x" * 81,
]


def strings() -> list[str]:
    found: list[str] = json.loads(SUITE.read_text()) if SUITE.exists() else []
    # What UTF-8 cannot write is no text of JSON either.
    return [*OWN, *(text for text in found if text.isascii() or is_writable(text))]


def is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def echo(request: Received) -> Answer:
    """Give the query and the body back."""
    query = unquote(request.target.partition("?q=")[2])
    body = json.dumps({"query": query, "body": json.loads(request.body)}).encode()
    return Answer(headers=(("Content-Type", "application/json"),), body=body)


def test_every_text_comes_through(
    stepout_origin: Origin, stepout_server: Server, sfn: SFNClient, connection: str
) -> None:
    stepout_origin.post(URL).handle(echo)
    parameters = {"Method": "POST", "QueryParameters": {"q.$": "$.t"}, "RequestBody.$": "$"}
    machine = sfn.create_state_machine(
        name="m",
        type="EXPRESS",
        roleArn=ROLE,
        definition=json.dumps(one_task(connection, Parameters=parameters)),
    )["stateMachineArn"]
    for text in strings():
        answer: Any = sfn.start_sync_execution(
            stateMachineArn=machine, input=json.dumps({"t": text})
        )
        assert output_of(answer)["ResponseBody"] == {"query": text, "body": {"t": text}}, repr(text)


def test_a_header_takes_what_http_lets_it_take_and_nothing_gets_around_it(
    stepout_origin: Origin, sfn: SFNClient, connection: str
) -> None:
    route = stepout_origin.get(URL).respond(text="ok")
    machine = sfn.create_state_machine(
        name="m",
        type="EXPRESS",
        roleArn=ROLE,
        definition=json.dumps(one_task(connection, Parameters={"Headers": {"X-Text.$": "$.t"}})),
    )["stateMachineArn"]
    for text in strings():
        answer = sfn.start_sync_execution(stateMachineArn=machine, input=json.dumps({"t": text}))
        if answer["status"] == "FAILED":
            assert answer["error"] in ("States.Runtime", "States.Http.Socket"), repr(text)
    names = {name.lower() for request in route.requests for name, _ in request.headers}
    assert names == {"host", "user-agent", "range", "x-api-key", "x-text"}


def test_a_name_is_taken_whole_or_refused(sfn: SFNClient) -> None:
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    refused: set[str] = set()
    for text in strings():
        try:
            created = sfn.create_state_machine(name=text, roleArn=ROLE, definition=definition)
        except ClientError as error:
            refused.add(error.response["Error"]["Code"])
            continue
        except ParamValidationError:
            # boto3 refuses an empty name by itself.
            continue
        described = sfn.describe_state_machine(stateMachineArn=created["stateMachineArn"])
        assert described["name"] == text
    assert refused == {"InvalidName", "ValidationException"}


def test_the_suite_is_found_where_it_is() -> None:
    if not SUITE.exists():
        pytest.skip("The suite of naughty strings is not beside the repository.")
    assert len(strings()) > 400
