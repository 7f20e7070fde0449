"""The least that the gateway machine's role needs: its upstreams, by method, and their connections.

Source: developer guide, "Call HTTPS APIs in Step Functions workflows", permissions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from stepout.gateway.upstreams import Upstream

__all__ = ["role_policy"]

Json: TypeAlias = Any


def role_policy(
    upstreams: Iterable[Upstream],
    machine: Json,
    connections: Iterable[Json],
    secrets: Iterable[Json],
) -> dict[str, Json]:
    """An IAM policy document; ARNs are texts, or what a template has in their place."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            *(_call(upstream, machine, number) for number, upstream in enumerate(upstreams, 1)),
            {
                "Sid": "UseConnections",
                "Effect": "Allow",
                "Action": "events:RetrieveConnectionCredentials",
                "Resource": list(connections),
            },
            {
                "Sid": "ReadTheirSecrets",
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
                "Resource": list(secrets),
            },
        ],
    }


def _call(upstream: Upstream, machine: Json, number: int) -> Mapping[str, Json]:
    """The host is closed by the slash that ends it: `https://api.example.com*` would not be.

    A Sid is of letters and digits; the number tells apart names that differ in other characters.
    """
    return {
        "Sid": f"Call{number}{''.join(filter(str.isalnum, upstream.name.title()))}",
        "Effect": "Allow",
        "Action": "states:InvokeHTTPEndpoint",
        "Resource": machine,
        "Condition": {
            "StringLike": {"states:HTTPEndpoint": f"{upstream.url}*"},
            "StringEquals": {"states:HTTPMethod": list(upstream.methods)},
        },
    }
