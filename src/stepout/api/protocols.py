"""The two ways in which AWS's services are spoken to: JSON with a target header, and forms that are
answered in XML. Each finds the operation that a request names, and writes its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

import orjson

from stepout.api import faults
from stepout.api.exchange import Answer, Exchange
from stepout.asl.values import Json, loads
from stepout.aws import query
from stepout.aws.query import Query
from stepout.aws.shapes import Service
from stepout.aws.sigv4 import SignedRequest
from stepout.errors import JsonError, ServiceError

__all__ = ["Asked", "Named", "Protocols", "WireProtocol"]

Named: TypeAlias = Mapping[bytes, bytes]
"""Headers by lower-case name, the last of each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation that a request names, before anybody knows who asks."""

    service: str
    """The name that signatures use."""
    operation: str
    members: Callable[[], dict[str, Json]]
    """Checks the request's members and gives them; raises `ServiceError`."""
    encode: Callable[[dict[str, Json], str], bytes]
    """The body of the answer: of its members, and the request's id."""


class WireProtocol(Protocol):
    """How requests are read and answers written."""

    def read(self, request: SignedRequest, named: Named, exchange: Exchange) -> Asked:
        """What a request asks for; raises `ServiceError` where it names no operation."""

    def content_type(self, named: Named) -> bytes:
        """Of the answer to a request with these headers."""

    def refusal(self, error: ServiceError, request_id: str, named: Named) -> Answer:
        """The answer that tells an error."""


class Protocols:
    """The protocol that a request speaks, by its headers; `models` are the services served."""

    def __init__(self, models: Iterable[Service]) -> None:
        models = list(models)
        self._json = _JsonTargets(model for model in models if model.protocol == "json")
        self._query = _Forms(model for model in models if model.protocol == "query")

    def of(self, method: str, query_string: bytes, named: Named) -> WireProtocol:
        if b"x-amz-target" in named:
            return self._json
        is_form = named.get(b"content-type", b"").startswith(_FORM)
        is_query = method in ("GET", "HEAD") and b"Action=" in query_string
        return self._query if is_form or is_query else self._json


_FORM: Final = b"application/x-www-form-urlencoded"


# --- JSON -----------------------------------------------------------------------------------------


class _JsonTargets:
    """`X-Amz-Target: AWSStepFunctions.StartSyncExecution`, members and answers as JSON."""

    def __init__(self, models: Iterable[Service]) -> None:
        self._models = {model.target_prefix: model for model in models}

    def read(self, request: SignedRequest, named: Named, exchange: Exchange) -> Asked:
        model, name = self._find(named)
        operation = None if model is None else model.operations.get(name)
        if operation is not None:
            exchange.operation = name
        if request.method != "POST" or request.path != "/":
            raise faults.not_post(request.method, request.path)
        members = _members(request.body)
        if model is None or operation is None:
            target = named.get(b"x-amz-target")
            raise faults.unknown_operation(None if target is None else target.decode("latin-1"))
        return Asked(model.name, name, partial(operation.check, members), _written)

    def content_type(self, named: Named) -> bytes:
        model, _ = self._find(named)
        return b"application/x-amz-json-" + (model.json_version if model else "1.0").encode()

    def refusal(self, error: ServiceError, _request_id: str, named: Named) -> Answer:
        body = faults.body_of(error)
        return Answer(error.status, self.content_type(named), body, error.code)

    def _find(self, named: Named) -> tuple[Service | None, str]:
        prefix, _, name = named.get(b"x-amz-target", b"").decode("latin-1").partition(".")
        return self._models.get(prefix), name


def _members(body: bytes) -> dict[str, Json]:
    """The request's members; an empty body has none."""
    try:
        members = loads(body) if body else {}
    except JsonError as error:
        raise faults.unreadable(str(error)) from None
    if not isinstance(members, dict):
        raise faults.unreadable("Expected the request's body to be a JSON object.")
    return members


def _written(members: dict[str, Json], _request_id: str) -> bytes:
    return orjson.dumps(members)


# --- Forms ----------------------------------------------------------------------------------------


class _Forms:
    """`Action=AssumeRole&Version=2011-06-15&…` in the body or the query string, answers in XML."""

    def __init__(self, models: Iterable[Service]) -> None:
        self._models = {model.api_version: (model, Query(model)) for model in models}
        """By API version: those of the services that are served differ."""

    def read(self, request: SignedRequest, _named: Named, exchange: Exchange) -> Asked:
        if request.path != "/":
            raise faults.not_post(request.method, request.path)
        form = request.query.encode("latin-1") if request.method != "POST" else request.body
        given = query.parameters(form)
        model, codec = self._find(given)
        operation = codec.operation(given)
        exchange.operation = operation.name
        return Asked(
            model.name,
            operation.name,
            partial(codec.decode, operation, given),
            partial(codec.encode, operation),
        )

    def content_type(self, _named: Named) -> bytes:
        return query.CONTENT_TYPE.encode()

    def refusal(self, error: ServiceError, request_id: str, named: Named) -> Answer:
        code, status = _OF_FORMS.get(error.code, (error.code, error.status))
        _, codec = self._find(())
        is_sender = status < _SERVER_ERRORS
        body = codec.encode_error(code, error.message, request_id, sender=is_sender)
        return Answer(status, self.content_type(named), body, code)

    def _find(self, given: query.Parameters) -> tuple[Service, Query]:
        version = next((text for name, text in given if name == "Version"), "")
        return self._models.get(version) or next(iter(self._models.values()))


_SERVER_ERRORS: Final = 500

_OF_FORMS: Final[Mapping[str, tuple[str, int]]] = {
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "IncompleteSignatureException": ("IncompleteSignature", 400),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "ThrottlingException": ("Throttling", 400),
    "UnknownOperationException": ("InvalidAction", 400),
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
}
"""Code of the JSON protocol → code and status of the Query protocol (STS, common errors)."""
