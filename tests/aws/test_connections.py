"""Connections: what a request makes of them, what answers show, what the secret holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepout.aws.connections import (
    ApiKeyAuth,
    BasicAuth,
    Credential,
    HttpParameters,
    credential_from_request,
    describe_auth,
    from_secret_json,
    to_secret_json,
    updated_credential,
)
from stepout.errors import ServiceError
from stepout.secret import Secret

BASIC = {"BasicAuthParameters": {"Username": "ann", "Password": "open sesame"}}
API_KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "k-1"}}
PARAMETERS = {
    "HeaderParameters": [{"Key": "x-team", "Value": "blue", "IsValueSecret": False}],
    "QueryStringParameters": [{"Key": "version", "Value": "2"}],
    "BodyParameters": [{"Key": "pin", "Value": "1234", "IsValueSecret": True}],
}
OAUTH = {
    "OAuthParameters": {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s-1"},
        "AuthorizationEndpoint": "https://id.example.com/token",
        "HttpMethod": "POST",
        "OAuthHttpParameters": {"BodyParameters": [{"Key": "scope", "Value": "all"}]},
    },
    "InvocationHttpParameters": PARAMETERS,
}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("BASIC", BASIC),
    ("API_KEY", API_KEY),
    ("OAUTH_CLIENT_CREDENTIALS", OAUTH),
    ("API_KEY", {**API_KEY, "InvocationHttpParameters": {}}),
]


@pytest.mark.parametrize(("kind", "parameters"), REQUESTS)
def test_a_credential_survives_its_secret(kind: str, parameters: dict[str, Any]) -> None:
    credential = credential_from_request(kind, parameters)
    assert from_secret_json(kind, to_secret_json(credential)) == credential


@pytest.mark.parametrize(("kind", "parameters"), REQUESTS)
def test_no_secret_is_seen_in_a_repr_or_an_answer(kind: str, parameters: dict[str, Any]) -> None:
    credential = credential_from_request(kind, parameters)
    shown = f"{credential!r} {credential} {json.dumps(describe_auth(credential))}"
    for secret in ("open sesame", "k-1", "s-1", "1234"):
        assert secret not in shown


def test_the_secret_has_the_keys_and_the_order_recorded_on_aws() -> None:
    written = json.loads(to_secret_json(credential_from_request("OAUTH_CLIENT_CREDENTIALS", OAUTH)))
    assert list(written) == [
        "client_id",
        "client_secret",
        "authorization_endpoint",
        "http_method",
        "oauth_http_parameters",
        "invocation_http_parameters",
    ]
    assert written["invocation_http_parameters"]["body_parameters"] == [
        {"key": "pin", "value": "1234", "is_value_secret": True}
    ]


def test_describing_shows_parameters_without_secret_values_and_fills_in_the_flag() -> None:
    shown = describe_auth(credential_from_request("OAUTH_CLIENT_CREDENTIALS", OAUTH))
    assert shown == {
        "OAuthParameters": {
            "ClientParameters": {"ClientID": "me"},
            "AuthorizationEndpoint": "https://id.example.com/token",
            "HttpMethod": "POST",
            "OAuthHttpParameters": {
                "BodyParameters": [{"Key": "scope", "Value": "all", "IsValueSecret": False}]
            },
        },
        "InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "x-team", "Value": "blue", "IsValueSecret": False}],
            "QueryStringParameters": [{"Key": "version", "Value": "2", "IsValueSecret": False}],
            "BodyParameters": [{"Key": "pin", "IsValueSecret": True}],
        },
    }


def test_describing_shows_an_empty_object_that_was_sent_empty() -> None:
    empty = credential_from_request("API_KEY", {**API_KEY, "InvocationHttpParameters": {}})
    assert describe_auth(empty)["InvocationHttpParameters"] == {}
    assert "InvocationHttpParameters" not in describe_auth(
        credential_from_request("API_KEY", API_KEY)
    )
    assert describe_auth(None) == {}


@pytest.mark.parametrize(
    ("kind", "parameters", "found"),
    [
        ("BASIC", API_KEY, "Found: ApiKeyAuthParameters"),
        ("BASIC", {}, "Found: none"),
        ("BASIC", {**BASIC, **API_KEY}, "Found: BasicAuthParameters, ApiKeyAuthParameters"),
    ],
)
def test_parameters_must_fit_the_type(kind: str, parameters: dict[str, Any], found: str) -> None:
    with pytest.raises(ServiceError, match=found) as caught:
        credential_from_request(kind, parameters)
    assert caught.value.code == "ValidationException"


def test_an_update_keeps_what_it_does_not_name() -> None:
    old = credential_from_request("BASIC", {**BASIC, "InvocationHttpParameters": PARAMETERS})
    new = updated_credential(old, "BASIC", {"BasicAuthParameters": {"Password": "new"}})
    assert new == Credential(BasicAuth("ann", Secret("new")), old.invocation)


def test_an_update_may_change_the_type() -> None:
    old = credential_from_request("BASIC", BASIC)
    assert updated_credential(old, "API_KEY", API_KEY).auth == ApiKeyAuth(
        "x-api-key", Secret("k-1")
    )
    with pytest.raises(ServiceError, match="must hold ApiKeyName"):
        updated_credential(old, "API_KEY", {"ApiKeyAuthParameters": {"ApiKeyValue": "k"}})


def test_an_update_after_deauthorizing_needs_everything() -> None:
    with pytest.raises(ServiceError, match="must hold Username"):
        updated_credential(None, "BASIC", {"BasicAuthParameters": {"Password": "new"}})
    assert updated_credential(None, "BASIC", BASIC).invocation is None


@pytest.mark.parametrize(("kind", "parameters"), [(None, BASIC), ("BASIC", None), ("BASIC", {})])
def test_an_update_needs_the_type_with_its_parameters(
    kind: str | None, parameters: dict[str, Any] | None
) -> None:
    with pytest.raises(ServiceError, match=r"^ValidationException: Failed to update the conn"):
        updated_credential(credential_from_request("BASIC", BASIC), kind, parameters)


def test_a_parameter_without_a_key_is_refused() -> None:
    wrong = {**BASIC, "InvocationHttpParameters": {"BodyParameters": [{"Value": "x"}]}}
    with pytest.raises(ServiceError, match="must have a Key"):
        credential_from_request("BASIC", wrong)


def test_nothing_given_is_not_the_same_as_something_empty() -> None:
    given = credential_from_request("BASIC", {**BASIC, "InvocationHttpParameters": {}})
    assert given.invocation == HttpParameters()
    assert credential_from_request("BASIC", BASIC).invocation is None
