"""A call as steps without a wire: what is sent, what is sent again, and what it comes to."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.client import exchange as exchanges
from stepout.client.endpoint import Credentials, Endpoint
from stepout.client.exchange import Answer, Pause, Policy, Send, Step, Times, WireError, exchange
from stepout.errors import CallFailed, CallRefused, CallTimedOut, GatewayError
from stepout.gateway.codec import encode
from stepout.gateway.messages import Headers, Request, Response
from stepout.secret import Secret

ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:gateway"
API = "https://a.example.com/x"
OUTPUT = '{"Headers":{},"ResponseBody":"fine","StatusCode":200,"StatusText":"OK"}'
KEY = Credentials("AKIDTEST", Secret("secret"), None)

FINE = Answer(
    200,
    json.dumps(
        {"status": "SUCCEEDED", "output": OUTPUT, "startDate": 5.0, "stopDate": 5.25, "executionArn": "arn:x"}
    ).encode(),
)  # fmt: skip


def refusal(code: str, status: int = 400, **members: Any) -> Answer:
    return Answer(status, json.dumps({"__type": code, "message": "why", **members}).encode())


THROTTLED = refusal("ThrottlingException")
UNSENT = WireError("unsent", "connection refused")
LATE = WireError("late", "305 seconds are over")
BROKEN = WireError("broken", "connection reset")
FAILURE = refusal("InternalFailure", 500)


class Played:
    """A call, its wire played by what it answers in turn."""

    def __init__(
        self,
        *answers: Answer | WireError,
        method: str = "GET",
        policy: Policy | None = None,
        credentials: Credentials = KEY,
        headers: Sequence[tuple[str, str]] = (),
        url: str = API,
    ) -> None:
        self.times = Times()
        self.sent: list[Send] = []
        self.pauses: list[float] = []
        self.response: Response | None = None
        self.error: GatewayError | None = None
        encoded = encode(Request(method, url, Headers(headers)))
        endpoint = Endpoint(ARN, "https://sync-states.eu-west-1.amazonaws.com/")
        steps = exchange(encoded, endpoint, credentials, policy or Policy(), self.times)
        left = list(answers)
        try:
            step: Step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    step = next(steps)
                    continue
                self.sent.append(step)
                answer = left.pop(0)
                step = steps.throw(answer) if isinstance(answer, WireError) else steps.send(answer)
        except StopIteration as end:
            self.response = end.value
        except GatewayError as error:
            self.error = error
        assert not left

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0].headers}


# --- What is sent ---------------------------------------------------------------------------------


def test_a_call_is_one_signed_request() -> None:
    played = Played(FINE)
    assert played.response is not None
    assert (played.response.text, len(played.sent), played.pauses) == ("fine", 1, [])
    headers = played.headers
    assert headers["x-amz-target"] == "AWSStepFunctions.StartSyncExecution"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert headers["host"] == "sync-states.eu-west-1.amazonaws.com"
    assert "/eu-west-1/states/aws4_request" in headers["authorization"]
    body = json.loads(played.sent[0].body)
    assert set(body) == {"stateMachineArn", "input"}
    assert body["stateMachineArn"] == ARN
    assert json.loads(body["input"])["url"] == API


def test_the_session_token_and_the_trace_header_are_signed() -> None:
    played = Played(
        FINE,
        credentials=Credentials("AKIDTEST", Secret("secret"), "the token"),
        headers=[("X-Amzn-Trace-Id", "Root=1-2-3")],
    )
    assert played.headers["x-amz-security-token"] == "the token"
    assert played.headers["x-amzn-trace-id"] == "Root=1-2-3"
    signed = played.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} <= set(signed.split(";"))


def test_no_secret_is_sent_or_printed() -> None:
    played = Played(FINE, credentials=Credentials("AKIDTEST", Secret("s3cr3t"), None))
    assert b"s3cr3t" not in played.sent[0].body + b"".join(
        name + value for name, value in played.sent[0].headers
    )
    assert "s3cr3t" not in repr(KEY) + repr(Credentials("A", Secret("s3cr3t"), None))


def test_each_attempt_is_signed_anew_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is good for 15 minutes, and a call may take 5 and pause."""
    now = iter([1_700_000_000.0, 1_700_000_900.0])
    monkeypatch.setattr(time, "time", lambda: next(now))
    played = Played(THROTTLED, FINE)
    first, second = played.sent
    assert first.body == second.body
    dates = [dict(send.headers)[b"x-amz-date"] for send in played.sent]
    assert dates == [b"20231114T221320Z", b"20231114T222820Z"]


# --- What is sent again ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "trouble",
    [
        THROTTLED,
        UNSENT,
        refusal("Throttling"),
        refusal("TooManyRequestsException", 429),
        refusal("KmsThrottlingException"),
        refusal("com.amazonaws.swf.service#ThrottlingException"),
        Answer(429, b"<html>slow down</html>"),
    ],
)
def test_what_was_refused_unseen_is_repeated_whatever_it_is(
    method: str, trouble: Answer | WireError
) -> None:
    played = Played(trouble, trouble, trouble, FINE, method=method)
    assert played.response is not None
    assert (len(played.sent), len(played.pauses), played.times.attempts) == (4, 3, 4)


@pytest.mark.parametrize(("trouble", "kind"), [(THROTTLED, CallRefused), (UNSENT, CallFailed)])
def test_four_attempts_are_enough(trouble: Answer | WireError, kind: type[GatewayError]) -> None:
    played = Played(trouble, trouble, trouble, trouble, method="POST")
    assert type(played.error) is kind
    assert len(played.sent) == 4


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "trouble", [LATE, BROKEN, FAILURE, Answer(502, b""), Answer(503, b"<html>")]
)
def test_what_may_have_reached_the_api_is_not_repeated(
    method: str, trouble: Answer | WireError
) -> None:
    played = Played(trouble, method=method)
    assert isinstance(played.error, CallFailed)
    assert len(played.sent) == 1


@pytest.mark.parametrize("trouble", [LATE, BROKEN, FAILURE])
@pytest.mark.parametrize(
    ("method", "attempts"), [("GET", 3), ("PUT", 3), ("DELETE", 3), ("HEAD", 3), ("OPTIONS", 3), ("POST", 1), ("PATCH", 1)]
)  # fmt: skip
def test_only_what_is_idempotent_is_repeated_where_the_caller_asks(
    trouble: Answer | WireError, method: str, attempts: int
) -> None:
    played = Played(*[trouble] * attempts, method=method, policy=Policy(retries=2))
    assert isinstance(played.error, CallFailed)
    assert len(played.sent) == attempts


def test_a_call_that_was_throttled_first_is_not_repeated_for_what_came_then() -> None:
    played = Played(THROTTLED, UNSENT, BROKEN, method="POST", policy=Policy(retries=9))
    assert isinstance(played.error, CallFailed)
    assert played.error.error == "Broken"


@pytest.mark.parametrize(
    "code",
    ["AccessDeniedException", "StateMachineDoesNotExist", "InvalidArn", "InvalidExecutionInput", "UnrecognizedClientException",
     "ValidationException", "ExpiredTokenException", "UnknownOperationException"],
)  # fmt: skip
def test_what_was_refused_for_good_is_not_repeated(code: str) -> None:
    played = Played(refusal(code), policy=Policy(retries=5))
    assert type(played.error) is CallRefused
    assert (played.error.error, played.error.cause) == (code, "why")


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
def test_an_execution_that_failed_is_not_repeated(status: str) -> None:
    members = {"status": status, "error": "States.Http.Socket", "startDate": 1, "stopDate": 2}
    played = Played(Answer(200, json.dumps(members).encode()), policy=Policy(retries=5))
    assert type(played.error) is CallFailed


@given(st.integers(1, 60))
def test_no_pause_is_longer_than_five_seconds(attempts: int) -> None:
    assert 0 <= exchanges._pause(attempts) <= min(5.0, 0.1 * 2**attempts)


def test_pauses_grow_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    played = Played(*[THROTTLED] * 9, FINE, policy=Policy(retries=9))
    assert played.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


# --- What it comes to -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "cause"),
    [
        (b'{"__type":"InvalidArn","message":"m"}', "InvalidArn", "m"),
        (b'{"__type":"InvalidArn","Message":"m"}', "InvalidArn", "m"),
        (b'{"__type":"com.amazonaws.swf.service.v2#InvalidArn","message":"m"}', "InvalidArn", "m"),
        (b'{"__type":"InvalidArn:http://internal.amazon.com/coral/","message":"m"}', "InvalidArn", "m"),
        (b'{"__type":"a#InvalidArn:http://x/#y","message":"m"}', "InvalidArn", "m"),
        (b'{"__type":"InvalidArn"}', "InvalidArn", '{"__type":"InvalidArn"}'),
        (b'{"__type":"InvalidArn","message":null}', "InvalidArn", '{"__type":"InvalidArn","message":null}'),
        (b'{"__type":"InvalidArn","message":5}', "InvalidArn", "5"),
        (b'{"__type":5,"message":"m"}', "5", "m"),
        (b'{"message":"Missing Authentication Token"}', "HTTP 400", "Missing Authentication Token"),
        (b'["x"]', "HTTP 400", '["x"]'),
        (b"", "HTTP 400", ""),
    ],
)  # fmt: skip
def test_errors_of_aws_are_read_in_all_their_shapes(body: bytes, code: str, cause: str) -> None:
    error = Played(Answer(400, body)).error
    assert isinstance(error, CallRefused | CallFailed)
    assert (error.error, error.cause) == (code, cause)


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 407])
@pytest.mark.parametrize(
    "body", [b"<html><h1>Access denied by Zscaler</h1>", b"\xff\xfe", b"{", b"[" * 50_000, b"null"]
)
def test_an_answer_of_a_proxy_is_told_as_one(status: int, body: bytes) -> None:
    error = Played(Answer(status, body)).error
    assert type(error) is CallFailed
    assert error.error == f"HTTP {status}"
    assert "What answered is not Step Functions: a proxy between" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateway_error_of_a_proxy_is_told_as_one(status: int) -> None:
    error = Played(Answer(status, b"<html>Bad Gateway</html>")).error
    assert type(error) is CallFailed
    assert "a proxy between" in str(error)
    assert "<html>Bad Gateway" in str(error)


@pytest.mark.parametrize(
    ("trouble", "attempts", "kind", "told"),
    [
        (UNSENT, 4, CallFailed, "cannot be reached (connection refused); nothing was sent. Inside a subnet"),
        (LATE, 1, CallTimedOut, "in time (305 seconds are over); the call may have reached the API"),
        (BROKEN, 1, CallFailed, "broke (connection reset); the call may have reached the API"),
    ],
)  # fmt: skip
def test_what_the_wire_did_is_told(
    trouble: WireError, attempts: int, kind: type[GatewayError], told: str
) -> None:
    error = Played(*[trouble] * attempts).error
    assert type(error) is kind
    assert told in str(error)
    assert "https://sync-states.eu-west-1.amazonaws.com/" in str(error)


def test_the_url_of_an_error_has_neither_query_nor_fragment() -> None:
    error = Played(refusal("InvalidArn"), url=f"{API}?key=4711#token=4711").error
    assert API in str(error)
    assert "4711" not in str(error)


def test_the_time_of_an_execution_is_that_of_the_service() -> None:
    played = Played(THROTTLED, FINE)
    assert (played.times.execution, played.times.execution_arn) == (0.25, "arn:x")
    assert played.times.sign > 0
    played.times.total = 1.0
    assert 0 < played.times.network < 0.75


@pytest.mark.parametrize(
    "dates",
    [{}, {"startDate": 5}, {"startDate": "2026-01-01T00:00:00Z", "stopDate": "2026-01-01T00:00:01Z"},
     {"startDate": None, "stopDate": None}, {"startDate": 6, "stopDate": 5}],
)  # fmt: skip
def test_a_server_that_tells_no_times_is_good_enough(dates: dict[str, Any]) -> None:
    """Other emulators write dates as texts."""
    body = json.dumps({"status": "SUCCEEDED", "output": OUTPUT, **dates}).encode()
    played = Played(Answer(200, body))
    assert played.response is not None
    assert played.times.execution == 0.0


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]":,_type status1', max_size=60).map(str.encode),
    st.integers(100, 599),
)
def test_no_answer_whatever_it_is_raises_anything_else(body: bytes, status: int) -> None:
    endpoint = Endpoint(ARN, "http://127.0.0.1:1/")
    steps = exchange(encode(Request("POST", API)), endpoint, KEY, Policy(throttled=1), Times())
    next(steps)
    with pytest.raises((GatewayError, StopIteration)):
        steps.send(Answer(status, body))


def test_the_signature_is_one_that_the_server_takes() -> None:
    (send,) = Played(FINE).sent
    request = SignedRequest("POST", "/", "", send.headers, send.body)
    found = sigv4.verify(
        request,
        sigv4.parse(request),
        secret_of=lambda _: KEY.secret,
        service="states",
        now=time.time(),
        region="eu-west-1",
    )
    assert found.access_key_id == "AKIDTEST"
