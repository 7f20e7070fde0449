"""What an error of AWS, the server or the machine means for a caller, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stepout.gateway.definition import METHOD_NOT_ALLOWED, NOT_CLOSED, UNKNOWN_UPSTREAM

__all__ = ["is_refusal", "is_time_out", "words"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What an error means. `is_refused`: nothing reached the API."""

    error: re.Pattern[str]
    text: str
    is_refused: bool = False
    is_late: bool = False
    cause: re.Pattern[str] | None = None

    def fits(self, error: str, cause: str | None) -> bool:
        if not self.error.fullmatch(error):
            return False
        return self.cause is None or self.cause.search(cause or "") is not None


def _advice(error: str, text: str, *, cause: str | None = None, **kinds: bool) -> Advice:
    pattern = None if cause is None else re.compile(cause)
    return Advice(re.compile(error), text, cause=pattern, **kinds)


_ADVICE: Final = (
    _advice(
        r"AccessDenied(Exception)?",
        "The endpoint's policy does not let this caller through. Allow states:StartSyncExecution "
        "on the machine in the policy of the VPC endpoint.",
        cause="VPC endpoint policy",
        is_refused=True,
    ),
    _advice(
        r"AccessDenied(Exception)?",
        "This caller may not start the machine. Allow states:StartSyncExecution on its ARN in the "
        "caller's IAM policy.",
        is_refused=True,
    ),
    _advice(
        r"UnrecognizedClientException|InvalidSignatureException|IncompleteSignature.*"
        r"|MissingAuthenticationToken.*|ExpiredToken.*|InvalidClientTokenId|NotAuthorized"
        r"|RequestExpired|SignatureDoesNotMatch",
        "The caller's AWS credentials were not accepted. Are they those of the account and not "
        "expired, and is this machine's clock right?",
        is_refused=True,
    ),
    _advice(
        r"StateMachine(DoesNotExist|Deleting)",
        "There is no such machine. Is the ARN right, and its region?",
        is_refused=True,
    ),
    _advice(
        r"StateMachineTypeNotSupported",
        "The machine is not of the type EXPRESS, which StartSyncExecution needs.",
        is_refused=True,
    ),
    _advice(
        r"Kms(AccessDenied|InvalidState)Exception",
        "The machine is encrypted with a key that this caller may not use, or that is not in "
        "use. Allow kms:Decrypt and kms:GenerateDataKey on it.",
        is_refused=True,
    ),
    _advice(
        r"UnknownOperation(Exception)?",
        "The endpoint does not know StartSyncExecution. Is it that of sync-states?",
        is_refused=True,
    ),
    _advice(
        r"HTTP \d{3}",
        "What answered is not Step Functions: a proxy between, a firewall, another server?",
    ),
    _advice(
        r"(Kms)?Throttling.*|TooManyRequestsException",
        "The service takes no more calls at this rate. Call less often, or ask AWS for more.",
        is_refused=True,
    ),
    _advice(
        r"Invalid(Arn|ExecutionInput|Name)|ValidationException|SerializationException",
        "The service did not take the call.",
        is_refused=True,
    ),
    _advice(
        re.escape(UNKNOWN_UPSTREAM),
        "The gateway machine has no upstream with this URL. Add it to the upstreams file and "
        "deploy the machine again.",
        is_refused=True,
    ),
    _advice(
        re.escape(METHOD_NOT_ALLOWED),
        "The upstream does not take this method. Add it to its methods in the upstreams file.",
        is_refused=True,
    ),
    _advice(
        re.escape(NOT_CLOSED),
        "The URL has dot segments, backslashes or a query where a path should be.",
        is_refused=True,
    ),
    _advice(
        r"States\.Http\.AccessDenied",
        "The machine's role may not call this URL. Allow states:InvokeHTTPEndpoint with the URL in "
        "states:HTTPEndpoint and the method in states:HTTPMethod; a new policy takes some seconds.",
        is_refused=True,
    ),
    _advice(
        r"Events\.ConnectionResource\.AccessDenied",
        "The machine's role may not read the connection's credential. Allow "
        "events:RetrieveConnectionCredentials on the connection, secretsmanager:GetSecretValue and "
        "secretsmanager:DescribeSecret on its secret.",
        is_refused=True,
    ),
    _advice(
        r"Events\.ConnectionResource\.(Invalid.*State|AuthInProgress)",
        "The upstream's connection is not authorized. Update it with a valid credential "
        "(UpdateConnection); one that has just been made needs a moment.",
        is_refused=True,
    ),
    _advice(
        r"Events\.ConnectionResource\..*",
        "The upstream's connection could not be used.",
        is_refused=True,
    ),
    _advice(
        r"States\.Http\.Socket",
        "The URL's address is none of the public internet. The server's setting --egress-allow "
        "names networks that may be called all the same.",
        cause=r"^(address-[a-z-]+|metadata): ",
        is_refused=True,
    ),
    _advice(
        r"States\.Http\.Socket",
        "The server's egress policy does not let this call out. stepout explain tells which rule "
        "refuses it, or which one is missing.",
        cause=r"^(denied|not-allowed|path-ambiguous): ",
        is_refused=True,
    ),
    _advice(
        r"States\.Http\.Socket",
        "The server's egress lets out no request that is written like this; stepout explain tells "
        "what it makes of a URL.",
        cause=r"^(scheme|credentials|url-too-long|(host|port|method)-invalid|header-managed): ",
        is_refused=True,
    ),
    _advice(
        r"States\.Http\.Socket",
        "No answer came within 60 seconds, which is the most that an HTTP Task waits.",
        cause=r"60 seconds",
        is_late=True,
    ),
    _advice(
        r"States\.Http\.Socket",
        "The API could not be reached or gave no answer in HTTP: DNS, TCP, TLS, or a time-out.",
    ),
    _advice(
        r"States\.Timeout",
        "The call took longer than the machine or the upstream's timeout allows.",
        is_late=True,
    ),
    _advice(
        r"States\.DataLimitExceeded",
        "The answer is larger than the 262,144 bytes that an execution can carry. Ask the API for "
        "less, for pages, or for fewer fields.",
    ),
    _advice(
        r"States\.Runtime",
        "The answer is not a text: an HTTP Task carries no octet streams, images, audio and video.",
        cause="content-type",
    ),
    _advice(
        r"States\.Runtime",
        "The answer's body is no text in the charset that its Content-Type names, or in UTF-8 "
        "where it names none: compressed though nobody asked, binary under the type of a text, or "
        "in another charset. The API has to say which one, or to send UTF-8.",
        cause="valid .* string",
    ),
    _advice(r"States\.Runtime", "The machine could not make the request as it was given."),
)
"""Looked through in this order."""

_UNKNOWN: Final = Advice(re.compile(""), "The execution failed.")


def _find(error: str, cause: str | None) -> Advice:
    return next((advice for advice in _ADVICE if advice.fits(error, cause)), _UNKNOWN)


def words(error: str, cause: str | None, url: str) -> str:
    """A sentence for people, with the error inside."""
    told = f"{error}: {cause}" if cause else error or "an error without a name."
    return f"{_find(error, cause).text} {url}: {told}"


def is_refusal(error: str, cause: str | None) -> bool:
    """Nothing reached the API."""
    return _find(error, cause).is_refused


def is_time_out(error: str, cause: str | None) -> bool:
    """No answer in time."""
    return _find(error, cause).is_late
