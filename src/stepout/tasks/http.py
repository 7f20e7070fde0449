"""The HTTP Task, `arn:aws:states:::http:invoke`.

Arguments and connection → one request, sent once → `{Headers, ResponseBody, StatusCode,
StatusText}`, or a failure that Retry and Catch can name. Texts are those recorded on AWS where one
is known; the rest are listed in docs/fidelity.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stepout.asl.states_error import RUNTIME, StatesError, too_large
from stepout.asl.values import Json, dumps, loads
from stepout.aws.connections import Connection, HttpParameter, HttpParameters
from stepout.egress.message import Request, Response
from stepout.errors import EgressError, JsonError, TokenRefused
from stepout.gateway.messages import codec_of
from stepout.tasks import Ports, Scope, integration
from stepout.tasks.credentials import auth_headers
from stepout.tasks.encoding import Pair, encode, form, query_pairs

__all__ = ["DEADLINE_SECONDS", "HttpInvoke"]

DEADLINE_SECONDS: Final = 60.0
"""From the start of the task to the last byte of the answer (developer guide, HTTP Task quotas)."""

RANGE: Final = "bytes=0-262144"
"""Sent with every request; the reason why file servers answer 206 (developer guide)."""

JSON_TYPE: Final = "application/json; charset=UTF-8"

_MANAGED: Final = frozenset({"user-agent", "range"})
"""Headers that the service sets, whatever the task says."""

_NEW_TOKEN_STATUS: Final = frozenset({401, 407})
"""Answers after which EventBridge asks for a new token (EventBridge user guide, OAuth)."""


@integration("arn:aws:states:::http:invoke")
class HttpInvoke:
    """Calls an HTTPS API with the credential of a connection."""

    def __init__(self, ports: Ports, deadline: float = DEADLINE_SECONDS) -> None:
        self._ports = ports
        self._deadline = deadline

    async def __call__(self, arguments: Json, scope: Scope) -> Json | StatesError:
        """Send the request; see `Integration`."""
        try:
            async with asyncio.timeout(self._deadline):
                return await self._invoke(arguments, scope)
        except TimeoutError:
            return _socket(f"The HTTP call did not end within {self._deadline:g} seconds.")

    async def _invoke(self, arguments: Json, scope: Scope) -> Json | StatesError:
        denied = self._denied_call(arguments, scope)
        if denied is not None:
            return denied
        connection = await self._usable(arguments, scope)
        if isinstance(connection, StatesError):
            return connection
        body = _body(arguments, _invocation(connection))
        if isinstance(body, StatesError):
            return body
        try:
            auth = await auth_headers(connection, self._ports.tokens)
        except TokenRefused as error:
            return StatesError("Events.ConnectionResource.InternalError", str(error))
        except EgressError as error:
            return _socket(str(error))
        request = Request(
            method=arguments["Method"],
            url=_url(arguments, _invocation(connection)),
            headers=_headers(arguments, auth, connection, scope.region, has_body=body is not None),
            body=body,
            role=scope.role_arn,
            machine=scope.machine_arn,
            connection=connection.arn,
        )
        return await self._exchange(request, connection, scope)

    def _denied_call(self, arguments: Json, scope: Scope) -> StatesError | None:
        """Why the machine's role does not let it call the endpoint; asked before all else."""
        url, method = arguments["ApiEndpoint"], arguments["Method"]
        context = {"states:HTTPEndpoint": url, "states:HTTPMethod": method}
        if self._allows(scope, "states:InvokeHTTPEndpoint", scope.machine_arn, context):
            return None
        return StatesError(
            "States.Http.AccessDenied",
            "AWS Step Functions is not authorized to perform states:InvokeHTTPEndpoint on API "
            f"Endpoint {url}. Ensure that the StateMachine role contains the "
            "states:InvokeHTTPEndpoint permission for the given API Endpoint",
        )

    def _allows(
        self, scope: Scope, action: str, resource: str, context: Mapping[str, str] | None = None
    ) -> bool:
        permissions = self._ports.permissions
        return permissions is None or permissions.allows(
            scope.role_arn, scope.machine_arn, action, resource, context
        )

    async def _usable(self, arguments: Json, scope: Scope) -> Connection | StatesError:
        """The connection, if it can be used; its ARN may stand in either of two places."""
        given = arguments.get("InvocationConfig") or arguments["Authentication"]
        arn = given["ConnectionArn"]
        if not self._allows(scope, "events:RetrieveConnectionCredentials", arn):
            return _connection_error("AccessDenied", _NO_RETRIEVAL)
        connection = await self._ports.connections.connection(arn)
        if connection is None:
            return _connection_error("ResourceNotFound", f"Connection '{arn}' does not exist.")
        error = _UNUSABLE.get(connection.state)
        if error is not None:
            cause = f"Connection '{arn}' is in the state {connection.state}."
            return _connection_error(error, cause)
        secret = connection.secret_arn
        if not all(self._allows(scope, action, secret) for action in _SECRET_ACTIONS):
            return _connection_error("AccessDenied", _UNREADABLE)
        return connection

    async def _exchange(
        self, request: Request, connection: Connection, scope: Scope
    ) -> Json | StatesError:
        try:
            response = await self._ports.egress.request(request, max_body=self._ports.payload_limit)
        except EgressError as error:
            return _socket(str(error))
        if response.status in _NEW_TOKEN_STATUS:
            self._ports.tokens.forget(connection)
        if 200 <= response.status < 300:
            return _result(response, scope)
        kept = self._ports.keeps_error_bodies
        cause = _kept(response, scope) if kept else _PHRASES.get(response.status)
        return StatesError(f"States.Http.StatusCode.{response.status}", cause)


# Texts as recorded on AWS.
_NO_RETRIEVAL: Final = (
    "No permissions to call RetrieveConnectionCredentials on the connection resource."
)
_UNREADABLE: Final = (
    "No permissions to call DescribeSecret and/or GetSecretValue on the secret associated with the "
    "connection resource."
)
_SECRET_ACTIONS: Final = ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret")

_UNUSABLE: Final[Mapping[str, str]] = {
    "AUTHORIZING": "AuthInProgress",
    "CREATING": "AuthInProgress",
    "DEAUTHORIZED": "InvalidConnectionState",
    "DEAUTHORIZING": "InvalidConnectionState",
    "DELETING": "InvalidConnectionState",
    "FAILED_CONNECTIVITY": "InvalidPrivateConnectionState",
}
"""State of a connection → the error of a task that would use it."""


def _connection_error(name: str, cause: str) -> StatesError:
    return StatesError(f"Events.ConnectionResource.{name}", cause)


def _socket(cause: str) -> StatesError:
    return StatesError("States.Http.Socket", cause)


# --- The request ----------------------------------------------------------------------------------


def _invocation(connection: Connection) -> HttpParameters:
    """What the connection adds to every call."""
    credential = connection.credential
    return (credential and credential.invocation) or HttpParameters()


def _merged(task: list[Pair], connection: tuple[HttpParameter, ...]) -> list[Pair]:
    """The connection wins for an equal key, which keeps its place; its other keys follow."""
    added = {parameter.key: parameter.value.reveal() for parameter in connection}
    merged = [(name, added.get(name, value)) for name, value in task]
    names = {name for name, _ in task}
    return merged + [(name, value) for name, value in added.items() if name not in names]


def _url(arguments: Json, invocation: HttpParameters) -> str:
    endpoint: str = arguments["ApiEndpoint"].partition("#")[0]
    query = _query(arguments.get("QueryParameters"), invocation)
    if not query:
        return endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"


def _query(given: Json, invocation: HttpParameters) -> str:
    """QueryParameters as an object is encoded; a text, or an array of texts, is so already."""
    if isinstance(given, dict):
        return encode(_merged(list(query_pairs(given)), invocation.query))
    texts = given if isinstance(given, list) else [given or ""]
    added = encode(_merged([], invocation.query))
    return "&".join(filter(None, [*map(str, texts), added]))


def _headers(
    arguments: Json, auth: list[Pair], connection: Connection, region: str, *, has_body: bool
) -> tuple[Pair, ...]:
    """The service's, the connection's, the task's.

    Keys of the connection's parameters are compared exactly, as on AWS: a task's header in another
    case stays and becomes a second value. That of the credential stands alone, whatever the case.
    """
    owned = [*auth, *_merged([], _invocation(connection).headers)]
    names = {name for name, _ in owned}
    credential = {name.lower() for name, _ in auth}
    given = [
        (name, item)
        for name, value in arguments.get("Headers", {}).items()
        if name not in names and name.lower() not in credential
        for item in (value if isinstance(value, list) else [value])
    ]
    free = [(name, value) for name, value in owned + given if name.lower() not in _MANAGED]
    if has_body and all(name.lower() != "content-type" for name, _ in free):
        free.append(("Content-Type", JSON_TYPE))
    agent = f"Amazon|StepFunctions|HttpInvoke|{region}"
    return (("User-Agent", agent), ("Range", RANGE), *free)


def _body(arguments: Json, invocation: HttpParameters) -> bytes | StatesError | None:
    """Merge, transform, serialise; a text is sent as it is."""
    body = arguments.get("RequestBody")
    if invocation.body:
        if not isinstance(body, dict | None):
            return StatesError(
                RUNTIME, "Cannot merge connection body authorization parameters with request body."
            )
        added = {parameter.key: parameter.value.reveal() for parameter in invocation.body}
        body = {**(body or {}), **added}
    if body is None or body == "":
        return None
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    transform = arguments.get("Transform", {})
    if transform.get("RequestBodyEncoding") != "URL_ENCODED":
        return dumps(body)
    if not isinstance(body, dict):
        return StatesError(RUNTIME, "A RequestBody must be an object to be URL-encoded.")
    options = transform.get("RequestEncodingOptions", {})
    return form(body, options.get("ArrayFormat", "INDICES")).encode()


# --- The result -----------------------------------------------------------------------------------

_REFUSED_TYPES: Final = re.compile(
    r"application/octet-stream|(?:image|video|audio)/.*", re.IGNORECASE
)
_JSON_TYPES: Final = re.compile(r"application/json|text/json|[^/]+/[^/]+\+json", re.IGNORECASE)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


def _kept(response: Response, scope: Scope) -> str:
    """The cause of an error with the whole answer in it, as the result of a Task has it.

    A body that cannot be carried is left out, as AWS leaves out every one.
    """
    result = _result(response, scope)
    if isinstance(result, StatesError):
        result = _result(replace(response, body=b""), scope)
    return dumps(result).decode()


def _result(response: Response, scope: Scope) -> Json | StatesError:
    result: dict[str, Json] = {"Headers": _grouped(response)}
    if response.body != b"":
        body = _text(response, scope)
        if isinstance(body, StatesError):
            return body
        result["ResponseBody"] = _parsed(response, body)
    result["StatusCode"] = response.status
    result["StatusText"] = _PHRASES.get(response.status, response.reason)
    return result


def _grouped(response: Response) -> dict[str, list[str]]:
    """Values by name, in the sender's case; names are equal in any case."""
    spelled: dict[str, str] = {}
    grouped: dict[str, list[str]] = {}
    for name, value in response.headers:
        grouped.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return grouped


def _text(response: Response, scope: Scope) -> str | StatesError:
    content_type = _content_type(response)
    media_type = _media_type(content_type)
    if _REFUSED_TYPES.fullmatch(media_type):
        return StatesError(
            RUNTIME,
            f"Unsupported response content-type '{media_type}'. Please see documentation for list "
            "of unsupported content-types.",
        )
    if response.body is None:
        return too_large(scope.state_name)
    charset = _CHARSET.search(content_type)
    encoding = charset[1] if charset else "UTF-8"
    try:
        text = response.body.decode(codec_of(encoding))
        if charset:
            # Some encodings can spell halves of characters, which JSON cannot be written with.
            text.encode()
    except (LookupError, ValueError):
        return StatesError(RUNTIME, f"The response body is not a valid {encoding} string.")
    return text


def _parsed(response: Response, body: str) -> Json:
    """JSON where the answer says so and is so; else the text."""
    if not _JSON_TYPES.fullmatch(_media_type(_content_type(response))):
        return body
    try:
        return loads(body.removeprefix("\ufeff"))
    except JsonError:
        return body


def _content_type(response: Response) -> str:
    return next((value for name, value in response.headers if name.lower() == "content-type"), "")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip()


# Python's own table differs between its versions, and knows codes that AWS gives no phrase for.
_PHRASES: Final[Mapping[int, str]] = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Entity",
    423: "Locked",
    424: "Failed Dependency",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
    511: "Network Authentication Required",
}
"""Status → its standard phrase (RFC 9110, 4918, 6585, with the names of Java's libraries)."""
