"""The connection of an upstream, as CreateConnection takes it (EventBridge API reference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from stepout.gateway.upstreams import Auth, Upstream
from stepout.secret import Secret

__all__ = ["connection_name", "connection_request"]

Json = dict[str, Any]


def connection_name(upstream: Upstream) -> str:
    return f"stepout-{upstream.name}"


def connection_request(upstream: Upstream, secret: Secret | None) -> Json:
    """The members of CreateConnection, the secret in clear; None for an API without one."""
    kind, parameters = _KINDS[upstream.auth]
    return {
        "Name": connection_name(upstream),
        "Description": f"{upstream.url} for the stepout gateway",
        "AuthorizationType": kind,
        "AuthParameters": parameters(upstream, "" if secret is None else secret.reveal()),
    }


def _none(_upstream: Upstream, _secret: str) -> Json:
    # An HTTP Task needs a connection even where the API asks for nothing.
    return {"ApiKeyAuthParameters": {"ApiKeyName": "X-No-Auth", "ApiKeyValue": "none"}}


def _api_key(upstream: Upstream, secret: str) -> Json:
    value = f"{upstream.prefix}{secret}"
    return {"ApiKeyAuthParameters": {"ApiKeyName": upstream.header, "ApiKeyValue": value}}


def _basic(upstream: Upstream, secret: str) -> Json:
    return {"BasicAuthParameters": {"Username": upstream.username, "Password": secret}}


def _oauth(upstream: Upstream, secret: str) -> Json:
    # EventBridge adds nothing of its own but the client's id and secret (recorded on AWS).
    body = {"grant_type": "client_credentials", "scope": upstream.scope}
    parameters = [
        {"Key": key, "Value": value, "IsValueSecret": False} for key, value in body.items() if value
    ]
    return {
        "OAuthParameters": {
            "AuthorizationEndpoint": upstream.token_url,
            "HttpMethod": "POST",
            "ClientParameters": {"ClientID": upstream.client_id, "ClientSecret": secret},
            "OAuthHttpParameters": {"BodyParameters": parameters},
        }
    }


_KINDS: Final[Mapping[Auth, tuple[str, Callable[[Upstream, str], Json]]]] = {
    "none": ("API_KEY", _none),
    "api-key": ("API_KEY", _api_key),
    "basic": ("BASIC", _basic),
    "oauth": ("OAUTH_CLIENT_CREDENTIALS", _oauth),
}
"""Kind of auth → authorization type, and its parameters."""
