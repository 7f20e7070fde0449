"""Resources that a Task may name: what each checks of its arguments, before and while it runs.

Those of the HTTP Task are checked in full. Any other integration of AWS is a resource as well, so
that its machines are accepted and can be run with mocks; of their arguments only those are asked
for that AWS asks for when a machine is created.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from stepout.asl.integrations import Form, Pattern, Style, form_of
from stepout.asl.queries import expression
from stepout.asl.values import Json, dumps

__all__ = ["Resource", "resource_of"]

Messages: TypeAlias = Iterator[str]
Check: TypeAlias = Callable[[Json], Messages]


@dataclass(frozen=True, slots=True)
class Resource:
    """A service integration as the language knows it; `tasks` performs it.

    `type`, `name` and `style` are those of history events. `check_template` sees the definition's
    Parameters or Arguments, `check_arguments` the resolved ones; `shown` puts resolved arguments
    into the order in which AWS prints them.
    """

    arn: str
    style: Style
    type: str
    name: str
    pattern: Pattern
    check_template: Callable[[dict[str, Json]], Sequence[str]]
    check_arguments: Callable[[Json], Sequence[str]]
    shown: Callable[[Json], Json]


# --- The HTTP Task (developer guide, "Call HTTPS APIs in Step Functions workflows") -------------

_FORBIDDEN_HEADERS: Final = frozenset(
    [
        "a-im",
        "accept-charset",
        "accept-datetime",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-md5",
        "date",
        "expect",
        "forwarded",
        "from",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authorization",
        "referer",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "warning",
    ]
)
_FORBIDDEN_PREFIXES: Final = ("x-forwarded-", "x-amz-", "x-amzn-")

_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_ENCODINGS: Final = ("NONE", "URL_ENCODED")
_ARRAY_FORMATS: Final = ("INDICES", "REPEAT", "COMMAS", "BRACKETS")

_HTTP_FIELDS: Final = (
    "ApiEndpoint",
    "Method",
    "Authentication",
    "InvocationConfig",
    "Headers",
    "QueryParameters",
    "RequestBody",
    "Transform",
)
_HTTP_REQUIRED: Final = (("ApiEndpoint",), ("Method",), ("Authentication", "InvocationConfig"))
"""One of each group must be given; a missing group is named by its first."""

# What may stand in a header: a token, and visible characters, blanks and tabs (RFC 9110, 5.1, 5.5).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")


_UNKNOWN: Final = object()
"""Stands in a template for a value that a path will give when the Task runs."""


def _http_template(parameters: dict[str, Json]) -> list[str]:
    """Problems of literal parameters; those given by a path are checked when they are resolved."""
    foreseen = _foreseen(parameters)
    unknown = [
        f'The field "{name}" is not supported by Step Functions'
        for name in foreseen
        if name not in _HTTP_FIELDS
    ]
    endpoint = foreseen.get("ApiEndpoint")
    if isinstance(endpoint, str) and "://" not in endpoint:
        # AWS accepts such a text when a machine is created, and fails when the Task runs.
        foreseen["ApiEndpoint"] = _UNKNOWN
    return [*unknown, *_http_arguments(foreseen)]


def _foreseen(template: Json) -> Json:
    """What a template will give, as far as it is known before it runs."""
    if isinstance(template, str) and expression(template) is not None:
        return _UNKNOWN
    if isinstance(template, list):
        return [_foreseen(item) for item in template]
    if not isinstance(template, dict):
        return template
    return {
        key.removesuffix(".$"): _UNKNOWN if key.endswith(".$") else _foreseen(value)
        for key, value in template.items()
    }


def _http_arguments(arguments: Json) -> list[str]:
    if not isinstance(arguments, dict):
        return ["The Parameters must be an object"]
    return [*_missing(arguments, _HTTP_REQUIRED), *_wrong(arguments, _HTTP_CHECKS)]


def _missing(arguments: dict[str, Json], required: Sequence[tuple[str, ...]]) -> list[str]:
    return [
        f"The field '{group[0]}' is required but was missing"
        for group in required
        if arguments.keys().isdisjoint(group)
    ]


def _wrong(value: dict[str, Json], checks: Mapping[str, Check]) -> Messages:
    for name, check in checks.items():
        if name in value and value[name] is not _UNKNOWN:
            yield from check(value[name])


def _invalid_format(field: str) -> str:
    """A value of a wrong type, worded as recorded on AWS for Headers."""
    return f"The value of the field '{field}' has an invalid format"


def _endpoint(value: Json) -> Messages:
    if not isinstance(value, str):
        yield _invalid_format("ApiEndpoint")
    elif not value.lower().startswith("https://"):
        yield "The value for the field 'ApiEndpoint' must be a URL that starts with 'https://'"


def _one_of(field: str, allowed: tuple[str, ...]) -> Check:
    def check(value: Json) -> Messages:
        if isinstance(value, dict | list):
            yield _invalid_format(field)
        elif value not in allowed:
            found = value if isinstance(value, str) else dumps(value).decode()
            yield (
                f"The value for '{field}' must be one of the values: [{', '.join(allowed)}] "
                f"but was '{found}'"
            )

    return check


def _object_of(field: str, checks: Mapping[str, Check], *required: str) -> Check:
    def check(value: Json) -> Messages:
        if not isinstance(value, dict):
            yield _invalid_format(field)
            return
        for name in required:
            if name not in value:
                yield f"The field '{name}' is required but was missing"
        yield from _wrong(value, checks)

    return check


def _connection_arn(value: Json) -> Messages:
    if not isinstance(value, str):
        yield _invalid_format("ConnectionArn")


def _headers(value: Json) -> Messages:
    """A header's value is a string or an array of strings."""
    if not isinstance(value, dict):
        yield _invalid_format("Headers")
        return
    unsupported = [name.lower() for name in value if _is_forbidden(name.lower())]
    if unsupported:
        yield f"The 'Headers' field contains unsupported values: [{', '.join(unsupported)}]"
    for name, member in value.items():
        if not _HEADER_NAME.fullmatch(name):
            yield f"The 'Headers' field contains a name that is no HTTP header name: '{name}'"
        for item in member if isinstance(member, list) else [member]:
            yield from _header_value(name, item)


def _header_value(name: str, value: Json) -> Messages:
    if value is _UNKNOWN:
        return
    if not isinstance(value, str):
        yield _invalid_format("Headers")
    elif not _HEADER_VALUE.fullmatch(value):
        yield f"The value of the header '{name}' contains a control character"


def _is_forbidden(name: str) -> bool:
    return name in _FORBIDDEN_HEADERS or name.startswith(_FORBIDDEN_PREFIXES)


def _query(value: Json) -> Messages:
    if not isinstance(value, dict | list | str):
        yield _invalid_format("QueryParameters")


_CONNECTION: Final = {"ConnectionArn": _connection_arn}

_HTTP_CHECKS: Final[Mapping[str, Check]] = {
    "ApiEndpoint": _endpoint,
    "Method": _one_of("Method", _METHODS),
    "Authentication": _object_of("Authentication", _CONNECTION, "ConnectionArn"),
    "InvocationConfig": _object_of("InvocationConfig", _CONNECTION, "ConnectionArn"),
    "Headers": _headers,
    "QueryParameters": _query,
    "Transform": _object_of(
        "Transform",
        {
            "RequestBodyEncoding": _one_of("RequestBodyEncoding", _ENCODINGS),
            "RequestEncodingOptions": _object_of(
                "RequestEncodingOptions", {"ArrayFormat": _one_of("ArrayFormat", _ARRAY_FORMATS)}
            ),
        },
    ),
}


def _in_java_order(arguments: Json) -> Json:
    """Arguments in the order of Java's HashMap, in which AWS prints them.

    Recorded once: Authentication, Headers, ApiEndpoint, Method, QueryParameters, Transform,
    RequestBody. That is the order of a HashMap with 16 buckets, the default; so the rest of the
    names is put where such a map has them.
    """
    if not isinstance(arguments, dict):
        return arguments
    return dict(sorted(arguments.items(), key=lambda item: _bucket(item[0])))


def _bucket(text: str) -> int:
    """The bucket of a string in a java.util.HashMap with 16 of them."""
    code = 0
    for character in text:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return (code ^ code >> 16) & 15


# --- All resources ------------------------------------------------------------------------------

_REQUIRED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "lambda:invoke": (("FunctionName",),),
    "sqs:sendMessage": (("QueueUrl",), ("MessageBody",)),
    "sns:publish": (("Message",),),
    "dynamodb:getItem": (("TableName",), ("Key",)),
    "dynamodb:putItem": (("TableName",), ("Item",)),
    "dynamodb:updateItem": (("TableName",), ("Key",)),
    "dynamodb:deleteItem": (("TableName",), ("Key",)),
    "states:startExecution": (("StateMachineArn",),),
    "events:putEvents": (("Entries",),),
    "ecs:runTask": (("TaskDefinition",),),
    "glue:startJobRun": (("JobName",),),
}
"""Fields whose absence AWS refuses when a machine is created (measured on AWS)."""


def resource_of(arn: str) -> Resource:
    """The resource of an ARN that `form_of` knows; raises `KeyError` for any other."""
    form = form_of(arn)
    if form is None:
        raise KeyError(arn)
    if form.service == "http:invoke":
        return _resource(arn, form, _http_template, _http_arguments, _in_java_order)
    required = _REQUIRED.get(form.service, ())
    return _resource(
        arn, form, lambda template: _missing(_foreseen(template), required), _accept, _as_given
    )


def _resource(
    arn: str,
    form: Form,
    check_template: Callable[[dict[str, Json]], Sequence[str]],
    check_arguments: Callable[[Json], Sequence[str]],
    shown: Callable[[Json], Json],
) -> Resource:
    return Resource(
        arn=arn,
        style=form.style,
        type=form.type,
        name=form.name,
        pattern=form.pattern,
        check_template=check_template,
        check_arguments=check_arguments,
        shown=shown,
    )


def _accept(_arguments: Json) -> Sequence[str]:
    return ()


def _as_given(arguments: Json) -> Json:
    return arguments
