"""Who calls: known keys are verified everywhere, unknown ones let in on loopback only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepout.api.auth import Auth
from stepout.api.caller import Caller
from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.errors import ServiceError
from stepout.runtime.clock import SystemClock
from stepout.secret import Secret

KNOWN = {"AKIDKNOWN": Secret("right")}


def request(key: str, secret: str, service: str = "states") -> SignedRequest:
    bare = SignedRequest("POST", "/", "", [(b"host", b"localhost")], b"{}")
    headers = sigv4.sign(
        bare,
        access_key_id=key,
        secret=Secret(secret),
        region="eu-west-1",
        service=service,
        now=SystemClock().now() / 1_000,
    )
    return replace(bare, headers=headers)


def auth(*, is_open: bool) -> Auth:
    return Auth(KNOWN, SystemClock(), "123456789012", is_open=is_open)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_known_key_with_its_secret_is_let_in(is_open: bool) -> None:
    caller = auth(is_open=is_open).identify(request("AKIDKNOWN", "right"), "states")
    assert caller == Caller("123456789012", "eu-west-1", "AKIDKNOWN")


@pytest.mark.parametrize("is_open", [True, False])
def test_a_known_key_with_another_secret_is_refused(is_open: bool) -> None:
    with pytest.raises(ServiceError) as caught:
        auth(is_open=is_open).identify(request("AKIDKNOWN", "wrong"), "states")
    assert caught.value.code == "InvalidSignatureException"
    assert caught.value.status == 403


def test_an_unknown_key_is_let_in_in_open_mode_only() -> None:
    assert auth(is_open=True).identify(request("other", "x"), "states").access_key_id == "other"
    with pytest.raises(ServiceError) as caught:
        auth(is_open=False).identify(request("other", "x"), "states")
    assert caught.value.code == "UnrecognizedClientException"


def test_a_key_of_twelve_digits_names_its_account() -> None:
    caller = auth(is_open=True).identify(request("999999999999", "x"), "states")
    assert caller.account == "999999999999"


def test_a_signature_for_another_service_is_refused_in_open_mode_too() -> None:
    with pytest.raises(ServiceError, match="scoped to correct service: 'states'"):
        auth(is_open=True).identify(request("other", "x", "events"), "states")
