"""EventBridge connections as data: from requests, to answers, to and from their managed secret.

The shapes are those of the EventBridge API and of the secret that EventBridge keeps in Secrets
Manager, as recorded on AWS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from stepout.errors import ServiceError
from stepout.secret import Secret

__all__ = [
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "Connection",
    "Credential",
    "HttpParameter",
    "HttpParameters",
    "OAuthAuth",
    "credential_from_request",
    "describe_auth",
    "from_secret_json",
    "to_secret_json",
    "updated_credential",
]

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class HttpParameter:
    """One parameter that a connection adds; `is_secret` hides its value from answers."""

    key: str
    value: Secret
    is_secret: bool


@dataclass(frozen=True, slots=True)
class HttpParameters:
    headers: tuple[HttpParameter, ...] = ()
    query: tuple[HttpParameter, ...] = ()
    body: tuple[HttpParameter, ...] = ()


@dataclass(frozen=True, slots=True)
class BasicAuth:
    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ApiKeyAuth:
    name: str
    value: Secret


@dataclass(frozen=True, slots=True)
class OAuthAuth:
    """OAuth 2.0 client credentials; `parameters` go with the token request."""

    client_id: str
    client_secret: Secret
    endpoint: str
    method: str
    parameters: HttpParameters | None


Auth: TypeAlias = BasicAuth | ApiKeyAuth | OAuthAuth


@dataclass(frozen=True, slots=True)
class Credential:
    """What a connection's secret holds; `invocation` goes with every call of the API."""

    auth: Auth
    invocation: HttpParameters | None


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection. Times are whole seconds since the epoch.

    `credential` is None after DeauthorizeConnection; `authorized` is 0 while an OAuth connection
    has not got its first token.
    """

    arn: str
    name: str
    authorization_type: str
    state: str
    state_reason: str | None
    secret_arn: str
    secret_version: int
    credential: Credential | None
    description: str | None
    connectivity: dict[str, Json] | None
    kms_key: str | None
    created: int
    modified: int
    authorized: int


# --- From requests --------------------------------------------------------------------------------


def credential_from_request(kind: str, parameters: dict[str, Json]) -> Credential:
    """The credential of CreateConnection; raises a ValidationException."""
    return _credential(None, kind, parameters)


def updated_credential(
    current: Credential | None, kind: str | None, parameters: dict[str, Json] | None
) -> Credential:
    """The credential after UpdateConnection: what is not given stays."""
    if kind is None or parameters is None or _MEMBERS[kind] not in parameters:
        raise _invalid(
            "Failed to update the connection(s). At least one of the following is required: "
            "Description, KmsKeyIdentifier, AuthorizationType with BasicAuthParameters, "
            "ApiKeyAuthParameters, or OAuthParameters."
        )
    return _credential(current, kind, parameters)


def _credential(current: Credential | None, kind: str, parameters: dict[str, Json]) -> Credential:
    member = _MEMBERS[kind]
    others = [name for name in _MEMBERS.values() if name != member and name in parameters]
    if member not in parameters or others:
        found = ", ".join(name for name in _MEMBERS.values() if name in parameters) or "none"
        raise _invalid(
            f"AuthParameters must hold {member}, and no other kind of authorization, when "
            f"AuthorizationType is {kind}. Found: {found}."
        )
    invocation = None if current is None else current.invocation
    if "InvocationHttpParameters" in parameters:
        invocation = _http_parameters(parameters["InvocationHttpParameters"])
    kept = {} if current is None else _members(current.auth)
    return Credential(_MAKERS[kind]({**kept, **_flat(parameters[member])}), invocation)


def _members(auth: Auth) -> dict[str, Json]:
    """The members of a request that would make this auth."""
    match auth:
        case BasicAuth():
            return {"Username": auth.username, "Password": auth.password}
        case ApiKeyAuth():
            return {"ApiKeyName": auth.name, "ApiKeyValue": auth.value}
        case OAuthAuth():
            return {
                "ClientID": auth.client_id,
                "ClientSecret": auth.client_secret,
                "AuthorizationEndpoint": auth.endpoint,
                "HttpMethod": auth.method,
                "OAuthHttpParameters": auth.parameters,
            }


def _flat(given: dict[str, Json]) -> dict[str, Json]:
    """The members of a request's auth, secrets hidden, the client's own brought up to the rest."""
    members = {**given, **given.get("ClientParameters", {})}
    members.pop("ClientParameters", None)
    for name in _SECRETS & members.keys():
        members[name] = Secret(members[name])
    if "OAuthHttpParameters" in members:
        members["OAuthHttpParameters"] = _http_parameters(members["OAuthHttpParameters"])
    return members


def _need(members: dict[str, Json], name: str) -> Json:
    if name not in members:
        raise _invalid(f"AuthParameters must hold {name}, and it was not given.")
    return members[name]


def _http_parameters(given: dict[str, Json]) -> HttpParameters:
    return HttpParameters(
        **{
            field: tuple(map(_http_parameter, given.get(member, ())))
            for field, member, _ in _PLACES
        }
    )


def _http_parameter(given: dict[str, Json]) -> HttpParameter:
    # A parameter without a key has no place to go; without a value it is sent empty.
    key = given.get("Key")
    if not key:
        raise _invalid("Each HTTP parameter of a connection must have a Key.")
    return HttpParameter(key, Secret(given.get("Value", "")), bool(given.get("IsValueSecret")))


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


_MEMBERS: Final[Mapping[str, str]] = {
    "BASIC": "BasicAuthParameters",
    "API_KEY": "ApiKeyAuthParameters",
    "OAUTH_CLIENT_CREDENTIALS": "OAuthParameters",
}
"""AuthorizationType → the member of AuthParameters that goes with it."""

_SECRETS: Final = frozenset({"Password", "ApiKeyValue", "ClientSecret"})

_MAKERS: Final[Mapping[str, Callable[[dict[str, Json]], Auth]]] = {
    "BASIC": lambda members: BasicAuth(_need(members, "Username"), _need(members, "Password")),
    "API_KEY": lambda members: ApiKeyAuth(
        _need(members, "ApiKeyName"), _need(members, "ApiKeyValue")
    ),
    "OAUTH_CLIENT_CREDENTIALS": lambda members: OAuthAuth(
        client_id=_need(members, "ClientID"),
        client_secret=_need(members, "ClientSecret"),
        endpoint=_need(members, "AuthorizationEndpoint"),
        method=_need(members, "HttpMethod"),
        parameters=members.get("OAuthHttpParameters"),
    ),
}

_PLACES: Final = (
    ("headers", "HeaderParameters", "header_parameters"),
    ("query", "QueryStringParameters", "query_string_parameters"),
    ("body", "BodyParameters", "body_parameters"),
)
"""Field of `HttpParameters`, its member in requests and answers, its key in the secret."""


# --- To answers -----------------------------------------------------------------------------------


def describe_auth(credential: Credential | None) -> dict[str, Json]:
    """AuthParameters of DescribeConnection: everything but secrets."""
    if credential is None:
        return {}
    described = _described(credential.auth)
    if credential.invocation is not None:
        described["InvocationHttpParameters"] = _described_parameters(credential.invocation)
    return described


def _described(auth: Auth) -> dict[str, Json]:
    match auth:
        case BasicAuth():
            return {"BasicAuthParameters": {"Username": auth.username}}
        case ApiKeyAuth():
            return {"ApiKeyAuthParameters": {"ApiKeyName": auth.name}}
        case OAuthAuth():
            shown: dict[str, Json] = {
                "ClientParameters": {"ClientID": auth.client_id},
                "AuthorizationEndpoint": auth.endpoint,
                "HttpMethod": auth.method,
            }
            if auth.parameters is not None:
                shown["OAuthHttpParameters"] = _described_parameters(auth.parameters)
            return {"OAuthParameters": shown}


def _described_parameters(parameters: HttpParameters) -> dict[str, Json]:
    """Lists that were not given are absent (as recorded on AWS)."""
    return {
        member: [_described_parameter(parameter) for parameter in getattr(parameters, field)]
        for field, member, _ in _PLACES
        if getattr(parameters, field)
    }


def _described_parameter(parameter: HttpParameter) -> dict[str, Json]:
    if parameter.is_secret:
        return {"Key": parameter.key, "IsValueSecret": True}
    return {"Key": parameter.key, "Value": parameter.value.reveal(), "IsValueSecret": False}


# --- The managed secret ---------------------------------------------------------------------------


def to_secret_json(credential: Credential) -> bytes:
    """The SecretString, keys in the order recorded on AWS."""
    written = _written(credential.auth)
    if credential.invocation is not None:
        written["invocation_http_parameters"] = _written_parameters(credential.invocation)
    return json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()


def from_secret_json(kind: str, text: bytes) -> Credential:
    """The credential of a SecretString that `to_secret_json` wrote."""
    read = json.loads(text)
    invocation = read.get("invocation_http_parameters")
    return Credential(_READ[kind](read), _read_parameters(invocation))


def _written(auth: Auth) -> dict[str, Json]:
    match auth:
        case BasicAuth():
            return {"username": auth.username, "password": auth.password.reveal()}
        case ApiKeyAuth():
            return {"api_key_name": auth.name, "api_key_value": auth.value.reveal()}
        case OAuthAuth():
            written: dict[str, Json] = {
                "client_id": auth.client_id,
                "client_secret": auth.client_secret.reveal(),
                "authorization_endpoint": auth.endpoint,
                "http_method": auth.method,
            }
            if auth.parameters is not None:
                written["oauth_http_parameters"] = _written_parameters(auth.parameters)
            return written


def _written_parameters(parameters: HttpParameters) -> dict[str, Json]:
    return {
        key: [
            {"key": item.key, "value": item.value.reveal(), "is_value_secret": item.is_secret}
            for item in getattr(parameters, field)
        ]
        for field, _, key in _PLACES
        if getattr(parameters, field)
    }


def _read_parameters(read: dict[str, Json] | None) -> HttpParameters | None:
    if read is None:
        return None
    return HttpParameters(
        **{
            field: tuple(
                HttpParameter(item["key"], Secret(item["value"]), item["is_value_secret"])
                for item in read.get(key, ())
            )
            for field, _, key in _PLACES
        }
    )


_READ: Final[Mapping[str, Callable[[dict[str, Json]], Auth]]] = {
    "BASIC": lambda read: BasicAuth(read["username"], Secret(read["password"])),
    "API_KEY": lambda read: ApiKeyAuth(read["api_key_name"], Secret(read["api_key_value"])),
    "OAUTH_CLIENT_CREDENTIALS": lambda read: OAuthAuth(
        client_id=read["client_id"],
        client_secret=Secret(read["client_secret"]),
        endpoint=read["authorization_endpoint"],
        method=read["http_method"],
        parameters=_read_parameters(read.get("oauth_http_parameters")),
    ),
}
