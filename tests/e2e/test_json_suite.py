"""JSON that is right, wrong or strange, at every place where a text comes in: the server reads it or
refuses it in words, and goes on. nst/JSONTestSuite says what is right and what is wrong."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import orjson
import pytest
from tests.e2e.calls import API_KEY, ROLE, URL, ServerProcess, one_task
from tests.security import SECURITY, needs_security

from stepout.asl.values import dumps
from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret
from stepout.testing import Answer, Origin, Received

PASS = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
SUITE = sorted((SECURITY / "json" / "test_parsing").glob("*.json"))

Read: TypeAlias = Callable[[bytes], tuple[bool, Any]]
"""Give a text to the server: whether it was read as JSON, and as what."""


def lenient(text: bytes) -> str:
    """Bytes that are no UTF-8 become halves of characters, which JSON can spell."""
    return text.decode("utf-8", "surrogateescape")


def exactly(text: str) -> Any:
    """Read what the server wrote: each digit, and deeper than Python's reader goes."""
    try:
        return json.loads(text)
    except RecursionError:
        return orjson.loads(text)


class Door:
    """A server process, called with bytes that no SDK would send; its HTTP Task gets any body."""

    def __init__(self, server: ServerProcess, origin: Origin) -> None:
        self._host = server.url.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._host, timeout=30)
        self._body = b""
        origin.get(URL).handle(self._answer)
        created = server.client("events").create_connection(
            Name="c", AuthorizationType="API_KEY", AuthParameters=API_KEY
        )
        self._calling = self.create("calling", json.dumps(one_task(created["ConnectionArn"])))
        self._passing = self.create("passing", PASS)

    def _answer(self, _request: Received) -> Answer:
        return Answer(headers=(("Content-Type", "application/json"),), body=self._body)

    def post(self, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer, which is in AWS's shape and no 500 whatever is sent."""
        target = f"AWSStepFunctions.{operation}"
        headers = sigv4.sign(
            SignedRequest(
                "POST",
                "/",
                "",
                [(b"host", self._host.encode()), (b"x-amz-target", target.encode())],
                body,
            ),
            access_key_id="any",
            secret=Secret("any"),
            region="us-east-1",
            service="states",
            now=time.time(),
        )
        self._connection.request("POST", "/", body, {n.decode(): v.decode() for n, v in headers})
        response = self._connection.getresponse()
        document = json.loads(response.read())
        assert response.status in (200, 400), document
        assert (response.status == 400) == ("__type" in document)
        return response.status, document

    def close(self) -> None:
        self._connection.close()

    def create(self, name: str, definition: str) -> str:
        request = {"name": name, "type": "EXPRESS", "roleArn": ROLE, "definition": definition}
        status, document = self.post("CreateStateMachine", json.dumps(request).encode())
        assert status == 200, document
        return str(document["stateMachineArn"])

    def run(self, machine: str, source: str = "{}") -> tuple[int, dict[str, Any]]:
        request = {"stateMachineArn": machine, "input": source}
        return self.post("StartSyncExecution", json.dumps(request).encode())

    # --- The places where a text comes in ---------------------------------------------------------

    def as_request(self, text: bytes) -> tuple[bool, Any]:
        """The whole body of a request, which must be an object; what it is read as is not seen."""
        status, document = self.post("ListStateMachines", text)
        if status == 200:
            return True, None
        assert document["__type"] == "SerializationException", text
        return document["message"] == "Expected the request's body to be a JSON object.", None

    def as_member(self, text: bytes) -> tuple[bool, Any]:
        """A member of a request that no operation knows."""
        status, document = self.post("ListStateMachines", b'{"Unknown": ' + text + b"}")
        assert status == 200 or document["__type"] == "SerializationException", text
        return status == 200, None

    def as_input(self, text: bytes) -> tuple[bool, Any]:
        status, document = self.run(self._passing, lenient(text))
        if status == 400:
            refusals = {"InvalidExecutionInput", "SerializationException"}
            assert document["__type"] in refusals, text
            return False, None
        assert document["status"] == "SUCCEEDED", text
        return True, document["output"]

    def as_definition(self, text: bytes) -> tuple[bool, Any]:
        """The whole of a definition: JSON as it may be, it is no state machine."""
        definition = lenient(text) or " "
        body = {"name": "d", "roleArn": ROLE, "definition": definition}
        _, document = self.post("CreateStateMachine", json.dumps(body).encode())
        if document["__type"] == "SerializationException":
            return False, None
        assert document["__type"] == "InvalidDefinition", text
        # A blank text is told what a number is told: that it is no object.
        is_json = "INVALID_JSON_DESCRIPTION" not in document["message"]
        return is_json and not definition.isspace(), None

    def as_result(self, text: bytes) -> tuple[bool, Any]:
        """The Result of a Pass state in a definition."""
        definition = PASS.replace('"Pass"', '"Pass","Result":' + lenient(text))
        body = {"name": "r", "type": "EXPRESS", "roleArn": ROLE, "definition": definition}
        status, document = self.post("CreateStateMachine", json.dumps(body).encode())
        if status == 400:
            refusals = {"InvalidDefinition", "SerializationException"}
            assert document["__type"] in refusals, text
            return False, None
        machine = document["stateMachineArn"]
        _, document = self.run(machine)
        self.post("DeleteStateMachine", json.dumps({"stateMachineArn": machine}).encode())
        assert document["status"] == "SUCCEEDED", text
        return True, document["output"]

    def as_answer(self, text: bytes) -> tuple[bool, Any]:
        """The body of an API's answer that says it is JSON; where it is not, it stays a text."""
        self._body = text
        _, document = self.run(self._calling)
        if document["status"] == "FAILED":
            assert document["error"] in ("States.Runtime", "States.DataLimitExceeded"), text
            return False, None
        output = exactly(document["output"])
        if "ResponseBody" not in output:
            assert text == b""
            return False, None
        is_text = output["ResponseBody"] == text.decode("utf-8", "replace")
        return not is_text, dumps(output["ResponseBody"]).decode()


PLACES = ("as_request", "as_member", "as_input", "as_definition", "as_result", "as_answer")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory = tmp_path_factory.mktemp("json")
    authority, log = directory / "origin.pem", directory / "server.log"
    with Origin() as origin:
        authority.write_bytes(origin.certificate_pem)
        where = f"api.example.com:443=127.0.0.1:{origin.port}"
        with ServerProcess(
            "--egress-ca", str(authority), "--egress-connect", where, log=log
        ) as server:
            running = Door(server, origin)
            yield running
            running.close()
    assert "Traceback" not in log.read_text()


# --- The suite ------------------------------------------------------------------------------------


@needs_security
def test_the_suite_is_whole() -> None:
    kinds = Counter(path.name[0] for path in SUITE)
    assert kinds == {"y": 95, "n": 188, "i": 35}


@needs_security
@pytest.mark.parametrize("place", PLACES)
def test_right_texts_are_read_and_wrong_ones_refused(door: Door, place: str) -> None:
    """Texts of the third kind may be either; nothing is answered out of AWS's shape."""
    read: Read = getattr(door, place)
    found = {path.name: read(path.read_bytes()) for path in SUITE}
    assert [name for name, (is_read, _) in found.items() if name[0] == "y" and not is_read] == []
    assert [name for name, (is_read, _) in found.items() if name[0] == "n" and is_read] == (
        # An empty body has no members; SDKs of AWS send some.
        ["n_structure_no_data.json"] if place == "as_request" else []
    )


@needs_security
@pytest.mark.parametrize("place", ["as_input", "as_result", "as_answer"])
def test_right_texts_are_read_as_what_they_say(door: Door, place: str) -> None:
    read: Read = getattr(door, place)
    for path in SUITE:
        if path.name[0] == "y":
            text = path.read_bytes()
            assert json.loads(read(text)[1]) == json.loads(text), path.name


# --- What the suite leaves open, on purpose -------------------------------------------------------

DEEPEST = 1_000


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def digits(count: int) -> bytes:
    return b"9" * count


READ = {
    "a key twice: the last one": (b'{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
    "a long integer: every digit": (digits(308), digits(308).decode()),
    "a small number: zero": (b"1e-400", "0.0"),
    "a pair of surrogates: one character": (b'"\\ud83d\\ude00"', '"😀"'),
    "a control character, escaped": (b'"\\u0000"', '"\\u0000"'),
}
REFUSED = {
    "an integer that is no double": digits(309),
    "a number that is no double": b"1e400",
    "half of a pair of surrogates": b'"\\ud83d"',
    "the other half": b'"\\ude00"',
    "half of a pair as a key": b'{"\\ud83d":1}',
    "a surrogate in UTF-8": b'"\xed\xa0\xbd"',
    "not a number": b"NaN",
    "an endless number": b"-Infinity",
    "a comment": b"/* */ 1",
    "a comma at the end": b"[1,]",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", READ)
def test_what_is_read_although_others_may_not(door: Door, place: str, what: str) -> None:
    text, value = READ[what]
    is_read, found = getattr(door, place)(text)
    assert is_read
    if place in ("as_result", "as_answer"):
        assert json.loads(found) == json.loads(value)
    if place == "as_input":
        # A Pass state hands on the text that came in.
        assert found == text.decode()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_although_others_may_read_it(door: Door, place: str, what: str) -> None:
    assert getattr(door, place)(REFUSED[what])[0] is False


@pytest.mark.parametrize("place", PLACES)
def test_a_byte_order_mark_is_left_out_of_answers_and_refused_elsewhere(
    door: Door, place: str
) -> None:
    is_read, found = getattr(door, place)(b"\xef\xbb\xbf{}")
    assert (is_read, found) == ((True, "{}") if place == "as_answer" else (False, None))


@pytest.mark.parametrize(
    ("place", "deepest"),
    [
        ("as_request", DEEPEST),
        ("as_member", DEEPEST - 1),
        ("as_input", DEEPEST),
        ("as_result", 200 - 3),
        # The result around it makes it one deeper; it is made, not read.
        ("as_answer", DEEPEST),
    ],
)
def test_texts_nest_to_a_limit(door: Door, place: str, deepest: int) -> None:
    """1,000 levels, 200 in a definition; those around the text count."""
    read: Read = getattr(door, place)
    assert read(nested(deepest))[0]
    assert not read(nested(deepest + 1))[0]
    assert not read(nested(100_000))[0]
    assert not read(b"[" * 250_000)[0]


def test_a_member_of_a_request_that_comes_twice_counts_once(door: Door) -> None:
    """What was checked is what is used: the last one."""
    right, wrong = b'"maxResults": 1', b'"maxResults": -1'
    assert door.post("ListStateMachines", b"{" + wrong + b", " + right + b"}")[0] == 200
    assert door.post("ListStateMachines", b"{" + right + b", " + wrong + b"}")[0] == 400


def test_a_state_that_is_defined_twice_is_the_last_one(door: Door) -> None:
    first = '"States":{"P":{"Type":"Fail"},'
    machine = door.create("twice", PASS.replace('"States":{', first))
    assert door.run(machine)[1]["status"] == "SUCCEEDED"
