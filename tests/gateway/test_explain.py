"""What each error means: its class, and words that say what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.errors import CallFailed, CallRefused, CallTimedOut
from stepout.gateway.codec import failure
from stepout.gateway.explain import is_refusal, is_time_out, words

URL = "https://a.example.com/x"
R, F, T = CallRefused, CallFailed, CallTimedOut

DENIED = "User: arn:aws:sts::123456789012:assumed-role/f/f is not authorized to perform: states:StartSyncExecution on resource: arn:aws:states:us-east-1:123456789012:stateMachine:g because no "

ERRORS: list[tuple[str, str | None, type[Exception], str]] = [
    # StartSyncExecution itself (service model, common errors of AWS)
    ("AccessDeniedException", f"{DENIED}identity-based policy allows the states:StartSyncExecution action", R, "in the caller's IAM policy"),
    ("AccessDenied", None, R, "in the caller's IAM policy"),
    ("AccessDeniedException", f"{DENIED}VPC endpoint policy allows the states:StartSyncExecution action", R, "in the policy of the VPC endpoint"),
    ("UnrecognizedClientException", "The security token included in the request is invalid.", R, "credentials were not accepted"),
    ("InvalidSignatureException", "Signature expired", R, "is this machine's clock right"),
    ("SignatureDoesNotMatch", "x", R, "credentials were not accepted"),
    ("IncompleteSignature", "x", R, "credentials were not accepted"),
    ("IncompleteSignatureException", "x", R, "credentials were not accepted"),
    ("MissingAuthenticationTokenException", "x", R, "credentials were not accepted"),
    ("MissingAuthenticationToken", "x", R, "credentials were not accepted"),
    ("ExpiredTokenException", "x", R, "credentials were not accepted"),
    ("ExpiredToken", "x", R, "credentials were not accepted"),
    ("RequestExpired", "x", R, "credentials were not accepted"),
    ("InvalidClientTokenId", "x", R, "credentials were not accepted"),
    ("NotAuthorized", "x", R, "credentials were not accepted"),
    ("StateMachineDoesNotExist", "State Machine Does Not Exist: 'arn'", R, "There is no such machine"),
    ("StateMachineDeleting", "x", R, "There is no such machine"),
    ("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine", R, "not of the type EXPRESS"),
    ("ThrottlingException", "Rate exceeded", R, "no more calls at this rate"),
    ("TooManyRequestsException", "x", R, "no more calls at this rate"),
    ("KmsThrottlingException", "x", R, "no more calls at this rate"),
    ("KmsAccessDeniedException", "x", R, "kms:Decrypt"),
    ("KmsInvalidStateException", "x", R, "kms:Decrypt"),
    ("InvalidArn", "Invalid Arn: 'x'", R, "did not take the call"),
    ("InvalidExecutionInput", "x", R, "did not take the call"),
    ("InvalidName", "x", R, "did not take the call"),
    ("ValidationException", "x", R, "did not take the call"),
    ("SerializationException", "x", R, "did not take the call"),
    ("UnknownOperationException", None, R, "that of sync-states"),
    ("InternalFailure", "x", F, "The execution failed."),
    ("ServiceUnavailable", "x", F, "The execution failed."),
    ("HTTP 403", "<html>Blocked by policy</html>", F, "is not Step Functions"),
    ("HTTP 200", "<html>Sign in to the hotel</html>", F, "is not Step Functions"),
    # The gateway machine's own
    ("Gateway.UnknownUpstream", "No upstream has this URL; known: x", R, "Add it to the upstreams file"),
    ("Gateway.MethodNotAllowed", "x", R, "Add it to its methods"),
    ("Gateway.PathNotClosed", "x", R, "dot segments"),
    # The HTTP Task (developer guide, recordings)
    ("States.Http.AccessDenied", "AWS Step Functions is not authorized to perform states:InvokeHTTPEndpoint on API Endpoint https://a.example.com/x.", R, "states:HTTPEndpoint"),
    ("Events.ConnectionResource.AccessDenied", "No permissions to call RetrieveConnectionCredentials on the connection resource.", R, "secretsmanager:GetSecretValue"),
    ("Events.ConnectionResource.AccessDenied", "No permissions to call DescribeSecret and/or GetSecretValue on the secret associated with the connection resource.", R, "secretsmanager:DescribeSecret"),
    ("Events.ConnectionResource.InvalidConnectionState", None, R, "UpdateConnection"),
    ("Events.ConnectionResource.InvalidPrivateConnectionState", None, R, "UpdateConnection"),
    ("Events.ConnectionResource.AuthInProgress", None, R, "needs a moment"),
    ("Events.ConnectionResource.ResourceNotFound", None, R, "could not be used"),
    ("Events.ConnectionResource.ConcurrentModification", None, R, "could not be used"),
    ("Events.ConnectionResource.InternalError", None, R, "could not be used"),
    ("States.Http.Socket", None, F, "could not be reached"),
    ("States.Http.Socket", "connection refused", F, "could not be reached"),
    ("States.Http.Socket", "metadata: 169.254.169.254", R, "--egress-allow"),
    ("States.Http.Socket", "address-private: 10.0.0.0/8", R, "--egress-allow"),
    ("States.Http.Socket", "address-link-local: fe80::/10", R, "--egress-allow"),
    ("States.Http.Socket", "denied: stop", R, "stepout explain tells which rule"),
    ("States.Http.Socket", "denied: stop (10.1.0.0/16)", R, "stepout explain tells which rule"),
    ("States.Http.Socket", "not-allowed: no rule has the host a.example.com:443", R, "egress policy does not let this call out"),
    ("States.Http.Socket", "path-ambiguous: v1 compares paths, and servers may read this one in two ways", R, "egress policy does not let this call out"),
    ("States.Http.Socket", "credentials: a URL may not hold a user name or password", R, "written like this"),
    ("States.Http.Socket", "scheme: only https is let out", R, "written like this"),
    ("States.Http.Socket", "url-too-long: 70000 characters", R, "written like this"),
    ("States.Http.Socket", "host-invalid: '127.1' is not an IPv4 address", R, "written like this"),
    ("States.Http.Socket", "port-invalid: '0'", R, "written like this"),
    ("States.Http.Socket", "method-invalid: expected a method of letters", R, "written like this"),
    ("States.Http.Socket", "header-managed: Keep-Alive cannot be set", R, "written like this"),
    ("States.Http.Socket", "The HTTP call did not end within 60 seconds.", T, "60 seconds"),
    ("States.Timeout", None, T, "longer than"),
    ("States.DataLimitExceeded", "The state/task 'x' returned a result with a size exceeding the maximum number of bytes service limit.", F, "262,144 bytes"),
    ("States.Runtime", "Unsupported response content-type 'application/octet-stream'. Please see documentation for list of unsupported content-types.", F, "not a text"),
    ("States.Runtime", "The response body is not a valid UTF-8 string.", F, "no text in the charset that its Content-Type names"),
    ("States.Runtime", "The response body is not a valid latin1 string.", F, "The API has to say which one"),
    ("States.Runtime", "Cannot merge connection body authorization parameters with request body.", F, "could not make the request"),
    ("States.Runtime", None, F, "could not make the request"),
    # What nobody knows
    ("SomethingNew", "x", F, "The execution failed."),
    ("", "", F, "an error without a name"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "cause", "kind", "told"), ERRORS)
def test_each_error_has_its_class_and_its_words(
    error: str, cause: str | None, kind: type[Exception], told: str
) -> None:
    found = failure(error, cause, URL)
    assert type(found) is kind
    assert told in str(found)
    assert (found.error, found.cause) == (error, cause)
    # The error itself stands at the end, after the URL, so that it can be looked up.
    assert str(found).endswith(
        f"{URL}: {error}: {cause}" if cause else f"{URL}: {error or told + '.'}"
    )


@pytest.mark.parametrize(
    "error",
    ["XAccessDenied", "AccessDeniedExceptions", "States.TimeoutX", "HTTP 4033", "InvalidThing"],
)
def test_a_name_that_only_begins_alike_is_not_taken_for_another(error: str) -> None:
    assert type(failure(error, "x", URL)) is CallFailed
    assert words(error, "x", URL).startswith("The execution failed.")


def test_an_api_cannot_make_a_failed_call_look_refused() -> None:
    """Refused says: nothing reached the API. A cause with an API's own words must not say so."""
    for cause in (
        "see address-private: 10.0.0.1",
        "no metadata: x",
        "VPC endpoint policy",
        # Hosts that are called like our words
        "metadata:443 closed the connection before it answered.",
        "denied:443 closed the connection before it answered.",
        "address-book.example.com:443 closed the connection before it answered.",
    ):
        assert not is_refusal("States.Http.Socket", cause)


@given(st.text(), st.none() | st.text())
def test_any_error_is_one_thing_and_has_a_sentence(error: str, cause: str | None) -> None:
    assert not (is_refusal(error, cause) and is_time_out(error, cause))
    assert words(error, cause, URL)[0].isupper()
