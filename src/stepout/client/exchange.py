"""One call of an API as steps without I/O: what to send, how long to pause, what it comes to.

A generator yields `Send` and `Pause` and gets back an `Answer`; failures of the wire are thrown
into it as `WireError`. The blocking and the asynchronous client perform the same steps.

Nothing is sent twice in silence: StartSyncExecution has no token that would make a repetition
harmless. Repeated is what was refused unseen (throttling, a connection that never came about), and,
where the caller asks for it, requests that are idempotent.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.client.endpoint import Credentials, Endpoint
from stepout.errors import CallFailed, CallTimedOut, GatewayError
from stepout.gateway.codec import Encoded, decode, failure
from stepout.gateway.messages import Response
from stepout.gateway.upstreams import IDEMPOTENT

__all__ = [
    "Answer",
    "Pause",
    "Policy",
    "Send",
    "Step",
    "Timeout",
    "Times",
    "WireError",
    "answer_limit",
    "exchange",
]

TARGET: Final = b"AWSStepFunctions.StartSyncExecution"
CONTENT_TYPE: Final = b"application/x-amz-json-1.0"

_ESCAPED: Final = 6
"""Bytes at most that JSON takes for one of a text: a control character is `\\u0000`."""

_ENVELOPE: Final = 131_072
"""Bytes for what stands around input and output, with an error's cause of 32,768 characters."""

_THROTTLED: Final = (
    *("ThrottlingException", "Throttling", "TooManyRequestsException"),
    "KmsThrottlingException",
)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be repeated and how often."""

    throttled: int = 4
    """Attempts in all of a call that was throttled or could not connect."""
    retries: int = 0
    """Further attempts of an idempotent request that failed on its way."""


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds for the connection to the endpoint, and for a request with its answer.

    Raises `ValueError` for what is no number above 0; more than a day is a day.
    """

    connect: float = 5.0
    read: float = 305.0

    def __post_init__(self) -> None:
        for name in ("connect", "read"):
            object.__setattr__(self, name, _seconds_above_0(getattr(self, name)))


_DAY: Final = 86_400.0
"""An execution ends after 5 minutes, so nobody waits longer; sockets take no number at will."""


def _seconds_above_0(value: Any) -> float:
    # Zero is refused, too: libraries differ in whether it means at once or without end.
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value) if value < _DAY else _DAY
    raise ValueError(f"Expected a timeout of seconds above 0, found {value!r}.")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request to the endpoint, signed."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def answer_limit(payload_limit: int) -> int:
    """Bytes at most of an answer of StartSyncExecution, which holds the input and the output."""
    return 2 * _ESCAPED * payload_limit + _ENVELOPE


class WireError(Exception):
    """The wire failed: before anything was sent, after too long, midway, by too large an answer."""

    def __init__(self, kind: Literal["unsent", "late", "broken", "large"], message: str) -> None:
        self.kind = kind
        super().__init__(message)


Step: TypeAlias = Send | Pause


@dataclass(slots=True)
class Times:
    """Seconds that a call took; `network` is what is left of the whole."""

    sign: float = 0.0
    execution: float = 0.0
    total: float = 0.0
    attempts: int = 0
    execution_arn: str | None = None

    @property
    def network(self) -> float:
        return max(self.total - self.sign - self.execution, 0.0)


def exchange(
    encoded: Encoded,
    endpoint: Endpoint,
    credentials: Credentials,
    policy: Policy,
    times: Times,
) -> Generator[Step, Answer | None, Response]:
    """The steps of a call; raises the errors of `decode`."""
    body = json.dumps(
        {"stateMachineArn": endpoint.machine_arn, "input": encoded.input}, ensure_ascii=False
    ).encode("utf-8", "surrogatepass")
    is_repeatable = encoded.request.method in IDEMPOTENT
    while True:
        times.attempts += 1
        try:
            answer = yield _signed(body, encoded.trace, endpoint, credentials, times)
            assert answer is not None  # noqa: S101 — a `Send` is answered
            return _read(answer, encoded, times)
        except WireError as error:
            trouble: GatewayError = _wire_trouble(error, endpoint)
            most = policy.throttled if error.kind == "unsent" else 1
            if error.kind == "large":  # and would be again
                raise trouble from None
        except _Throttled as error:
            trouble, most = error.trouble, policy.throttled
        except _Broken as error:
            trouble, most = error.trouble, 1
        if is_repeatable:
            most = max(most, 1 + policy.retries)
        if times.attempts >= most:
            raise trouble from None
        yield Pause(_pause(times.attempts))


def _pause(attempts: int) -> float:
    """Exponential, with full jitter, so that many callers do not come again together."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempts)
    return random.uniform(0, longest)  # noqa: S311 — no secret


def _signed(
    body: bytes, trace: str | None, endpoint: Endpoint, credentials: Credentials, times: Times
) -> Send:
    started = time.perf_counter()
    headers = [
        (b"content-type", CONTENT_TYPE),
        (b"host", endpoint.host.encode()),
        (b"x-amz-target", TARGET),
    ]
    if trace is not None:
        headers.append((b"x-amzn-trace-id", trace.encode("latin-1", "replace")))
    if credentials.token is not None:
        headers.append((b"x-amz-security-token", credentials.token.encode()))
    signed = sigv4.sign(
        SignedRequest("POST", endpoint.path, "", headers, body),
        access_key_id=credentials.access_key_id,
        secret=credentials.secret,
        region=endpoint.region,
        service="states",
        now=time.time(),
    )
    times.sign += time.perf_counter() - started
    return Send(signed, body)


class _Trouble(Exception):
    """An answer that is no end yet; `trouble` is what it comes to if it is not repeated."""

    def __init__(self, trouble: GatewayError) -> None:
        self.trouble = trouble
        super().__init__(str(trouble))


class _Throttled(_Trouble):
    """Refused unseen: nothing was begun."""


class _Broken(_Trouble):
    """The service failed; nobody knows whether it had begun."""


def _read(answer: Answer, encoded: Encoded, times: Times) -> Response:
    members = _object(answer.body)
    if answer.status == 200 and "status" in members:
        times.execution = _seconds(members)
        times.execution_arn = members.get("executionArn")
        return decode(members, encoded.url, encoded.request.method)
    # `__type` may have a name space before a "#", and a URL after a ":" (as botocore reads it).
    code = str(members.get("__type", f"HTTP {answer.status}"))
    code = code.partition(":")[0].rpartition("#")[2]
    message = members.get("message", members.get("Message"))
    shown = answer.body[:200].decode("utf-8", "replace") if message is None else str(message)
    trouble = failure(code, shown, encoded.url)
    if code in _THROTTLED or answer.status == 429:
        raise _Throttled(trouble)
    if answer.status >= 500:
        raise _Broken(trouble)
    raise trouble


def _seconds(members: Mapping[str, Any]) -> float:
    """How long the execution took; 0 where the server does not say it in numbers, as AWS does."""
    start, stop = members.get("startDate"), members.get("stopDate")
    if not isinstance(start, int | float) or not isinstance(stop, int | float):
        return 0.0
    return max(stop - start, 0.0)


def _object(body: bytes) -> dict[str, Any]:
    """An answer's members; none where it is no JSON object, as that of a proxy between."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _wire_trouble(error: WireError, endpoint: Endpoint) -> CallFailed:
    if error.kind == "late":
        return CallTimedOut(
            f"No answer came from {endpoint.url} in time ({error}); the call may have reached the "
            "API. An HTTP Task may take 60 seconds, an execution 5 minutes.",
            "Timeout",
        )
    if error.kind == "unsent":
        return CallFailed(
            f"{endpoint.url} cannot be reached ({error}); nothing was sent. Inside a subnet: is "
            "there an interface endpoint sync-states with private DNS, and do the security groups "
            "let port 443 through?",
            "Unreachable",
        )
    if error.kind == "large":
        return CallFailed(
            f"The answer of {endpoint.url} is too large ({error}); the call may have reached the "
            "API. A server that takes larger inputs and outputs needs a client that is told so: "
            "payload_limit.",
            "AnswerTooLarge",
        )
    return CallFailed(
        f"The connection to {endpoint.url} broke ({error}); the call may have reached the API.",
        "Broken",
    )
