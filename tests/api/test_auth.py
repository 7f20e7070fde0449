"""Who calls: known keys are verified everywhere, unknown ones let in in open mode only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stepout.api.auth import Auth
from stepout.api.caller import Arrival, Caller
from stepout.api.identities import Directories, Directory, machine_role
from stepout.api.sessions import Sessions
from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.errors import ServiceError
from stepout.runtime.clock import SystemClock
from stepout.secret import Secret

FILE = """
[user.ann]
access_key_id = "AKIDKNOWN"
secret_access_key = "right"

[endpoint]
id = "vpce-1"
"""
ACCOUNT = "123456789012"
ARRIVAL = Arrival("203.0.113.7", is_secure=True, user_agent="test")


def request(
    key: str, secret: str, service: str = "states", *headers: tuple[bytes, bytes]
) -> SignedRequest:
    bare = SignedRequest("POST", "/", "", [(b"host", b"localhost"), *headers], b"{}")
    signed = sigv4.sign(
        bare,
        access_key_id=key,
        secret=Secret(secret),
        region="eu-west-1",
        service=service,
        now=SystemClock().now() / 1_000,
    )
    return replace(bare, headers=signed)


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    path = tmp_path / "identities.toml"
    path.write_text(FILE)
    return Directories(Directory.load(path, account=ACCOUNT, region="eu-west-1", environ={}))


def auth(directories: Directories, *, is_open: bool, sessions: Sessions | None = None) -> Auth:
    return Auth(directories, sessions or Sessions(), SystemClock(), ACCOUNT, is_open=is_open)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_known_key_with_its_secret_is_let_in(directories: Directories, is_open: bool) -> None:
    caller = auth(directories, is_open=is_open).identify(
        request("AKIDKNOWN", "right"), "states", ARRIVAL
    )
    user = directories.current.users["ann"]
    assert caller == Caller(
        account=ACCOUNT,
        region="eu-west-1",
        access_key_id="AKIDKNOWN",
        principal=user.principal,
        grants=user.grants,
        arrival=ARRIVAL,
        endpoint="vpce-1",
    )


@pytest.mark.parametrize("is_open", [True, False])
def test_a_known_key_with_another_secret_is_refused(
    directories: Directories, is_open: bool
) -> None:
    with pytest.raises(ServiceError) as caught:
        auth(directories, is_open=is_open).identify(
            request("AKIDKNOWN", "wrong"), "states", ARRIVAL
        )
    assert caught.value.code == "InvalidSignatureException"
    assert caught.value.status == 403


def test_an_unknown_key_is_let_in_in_open_mode_only(directories: Directories) -> None:
    caller = auth(directories, is_open=True).identify(request("other", "x"), "states", ARRIVAL)
    assert caller.access_key_id == "other"
    assert caller.principal.arn == "arn:aws:iam::123456789012:root"
    assert caller.grants is None
    with pytest.raises(ServiceError) as caught:
        auth(directories, is_open=False).identify(request("other", "x"), "states", ARRIVAL)
    assert caught.value.code == "UnrecognizedClientException"


def test_a_web_page_is_not_let_in_with_any_key(directories: Directories) -> None:
    page = request("other", "x", "states", (b"origin", b"https://evil.example"))
    with pytest.raises(ServiceError) as caught:
        auth(directories, is_open=True).identify(page, "states", ARRIVAL)
    assert caught.value.code == "AccessDeniedException"


def test_a_key_of_twelve_digits_names_its_account(directories: Directories) -> None:
    caller = auth(directories, is_open=True).identify(
        request("999999999999", "x"), "states", ARRIVAL
    )
    assert caller.account == "999999999999"


def test_an_unknown_key_must_still_name_the_service(directories: Directories) -> None:
    with pytest.raises(ServiceError) as caught:
        auth(directories, is_open=True).identify(
            request("other", "x", service="s3"), "states", ARRIVAL
        )
    assert "Credential should be scoped to correct service: 'states'." in caught.value.message


def test_a_session_is_known_by_its_token_until_it_ends(directories: Directories) -> None:
    role = machine_role("r", ACCOUNT, "eu-west-1", EVERYTHING)
    directories.add(role)
    now = SystemClock().now()
    sessions = Sessions()
    session = sessions.begin(
        role, "s", holder="u", now=now, seconds=900, policies=(), tags={"team": "shop"}
    )
    door = auth(directories, is_open=False, sessions=sessions)

    def identify(token: str) -> Caller:
        header = (b"x-amz-security-token", token.encode())
        signed = request(session.access_key_id, session.secret.reveal(), "states", header)
        return door.identify(signed, "states", ARRIVAL)

    caller = identify(session.token.reveal())
    assert caller.principal.arn == "arn:aws:sts::123456789012:assumed-role/r/s"
    assert caller.principal.tags == {"team": "shop"}
    with pytest.raises(ServiceError) as caught:
        identify("another")
    assert caught.value.code == "UnrecognizedClientException"
    session.expires = now - 1
    with pytest.raises(ServiceError) as caught:
        identify(session.token.reveal())
    assert caught.value.code == "ExpiredTokenException"


def test_a_session_ends_with_its_role(directories: Directories) -> None:
    role = machine_role("r", ACCOUNT, "eu-west-1", EVERYTHING)
    session = Sessions().begin(
        role, "s", holder="u", now=SystemClock().now(), seconds=900, policies=(), tags={}
    )
    assert session.grants(Directory(roles={role.arn: role})) is not None
    assert session.grants(Directory()) is None


EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
