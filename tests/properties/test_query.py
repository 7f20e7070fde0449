"""What botocore writes, the codec of the Query protocol reads, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepout.aws import shapes
from stepout.aws.query import Query, parameters
from stepout.aws.shapes import Service, _pattern
from stepout.errors import ServiceError

Values = st.SearchStrategy[Any]

OURS = ("sts", "cloudformation")
OTHERS = ("sdb", "ses", "sns", "elasticache", "elasticbeanstalk", "rds")
"""Services that flatten lists, rename members and carry blobs, which ours do not."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IDS = "8a2b4c6d-request"

some = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@cache
def service(name: str) -> Service:
    return shapes.load(name)


@cache
def codec(name: str) -> Query:
    return Query(service(name))


@cache
def botocore_model(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def operations(*names: str) -> list[tuple[str, str]]:
    return [(name, operation) for name in names for operation in service(name).operations]


# Values of a model


def structures(name: str, named: str, *, valid: bool) -> Values:
    """Values of a structure: what is required and a few more members."""
    shape = service(name).shapes[named]
    members = shape["members"]
    required = set(shape.get("required", ())) if valid else set()
    optional = sorted(members.keys() - required)
    least = 1 if optional and not required else 0
    most = 1 if shape.get("union") else 4
    chosen = (
        st.sets(st.sampled_from(optional), min_size=least, max_size=most)
        if optional
        else st.just(set())
    )
    return chosen.flatmap(
        lambda more: st.fixed_dictionaries(
            {
                member: values(name, members[member]["shape"], valid=valid)
                for member in sorted(required | more)
            }
        )
    )


def lists(name: str, named: str, *, valid: bool) -> Values:
    shape = service(name).shapes[named]
    # An empty flattened list leaves no trace of its own.
    least = max(shape.get("min", 0) if valid else 0, 1 if shape.get("flattened") else 0)
    items = values(name, shape["member"]["shape"], valid=valid)
    return st.lists(
        items, min_size=least, max_size=min(shape.get("max", 3), max(least, 3)) if valid else 3
    )


def maps(name: str, named: str, *, valid: bool) -> Values:
    shape = service(name).shapes[named]
    keys = values(name, shape["key"]["shape"], valid=valid)
    # An empty map has no form of its own: it cannot be told from an absent one.
    least = 1 if valid else 0
    return st.dictionaries(
        keys, values(name, shape["value"]["shape"], valid=valid), min_size=least, max_size=3
    )


def strings(name: str, named: str, *, valid: bool) -> Values:
    shape = service(name).shapes[named]
    if not valid:
        return texts_of_xml
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    least = shape.get("min", 0)
    most = min(shape.get("max", 4_096), max(least, 400))
    if "pattern" not in shape:
        return st.text(min_size=least, max_size=min(most, least + 8))
    pattern = _pattern(shape["pattern"])

    def grown(text: str) -> str:
        """Most patterns are a run of one class: what is too short is repeated."""
        return (text * (least // len(text) + 1))[:most] if 0 < len(text) < least else text

    return (
        st.from_regex(pattern, fullmatch=True)
        .map(grown)
        .filter(lambda text: least <= len(text) <= most and pattern.fullmatch(text))
    )


texts_of_xml = st.text(
    st.one_of(
        st.sampled_from("\t\n\r<>&'\"]]>"),
        st.characters(
            min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"
        ),
    ),
    max_size=8,
)


def integers(name: str, named: str, *, valid: bool) -> Values:
    shape = service(name).shapes[named]
    bits = 31 if shape["type"] == "integer" else 63
    if not valid:
        return st.integers(-(1 << bits), (1 << bits) - 1)
    return st.integers(shape.get("min", -(1 << bits)), shape.get("max", (1 << bits) - 1))


@cache
def values(name: str, named: str, *, valid: bool) -> Values:
    """Values of a shape; `valid` ones satisfy the constraints and can be written as a form."""
    kind = service(name).shapes[named]["type"]
    made = {"structure": structures, "list": lists, "map": maps, "string": strings}
    if kind in ("integer", "long"):
        return integers(name, named, valid=valid)
    if kind in made:
        return st.deferred(lambda: made[kind](name, named, valid=valid))
    return {
        "boolean": st.booleans(),
        "double": st.floats(allow_nan=False, allow_infinity=not valid),
        "float": st.floats(allow_nan=False, allow_infinity=not valid),
        "blob": st.binary(max_size=9),
        # Forms have microseconds, answers milliseconds.
        "timestamp": st.integers(-(10**12), 10**13).map(
            lambda number: (
                EPOCH + timedelta(**{"microseconds" if valid else "milliseconds": number})
            )
        ),
    }[kind]


def ours(value: Any) -> Any:
    """Botocore's times as ours."""
    if isinstance(value, datetime):
        passed = (value - EPOCH) / timedelta(microseconds=1)
        return round(passed) / 1_000_000
    if isinstance(value, dict):
        return {key: ours(item) for key, item in value.items()}
    return [ours(item) for item in value] if isinstance(value, list) else value


# Requests


def form_of(name: str, operation: str, members: Mapping[str, Any]) -> bytes:
    model = botocore_model(name).operation_model(operation)
    request = create_serializer("query").serialize_to_request(members, model)
    body = AWSRequest("POST", "https://aws.test/", data=request["body"]).prepare().body
    assert isinstance(body, str)
    return body.encode()


@pytest.mark.parametrize(("name", "operation"), operations(*OURS))
@some
@given(st.data())
def test_a_request_of_botocore_is_read_as_it_was_meant(
    name: str, operation: str, data: st.DataObject
) -> None:
    asked = service(name).operations[operation]
    members = data.draw(values(name, asked.input["shape"], valid=True)) if asked.input else {}
    found = parameters(form_of(name, operation, members))
    assert codec(name).operation(found) is asked
    assert codec(name).decode(asked, found) == ours(members)


@pytest.mark.parametrize("name", OTHERS)
@settings(some, max_examples=60)
@given(st.data())
def test_requests_of_other_services_are_read_as_they_were_meant(
    name: str, data: st.DataObject
) -> None:
    asked = service(name).operations[data.draw(st.sampled_from(sorted(service(name).operations)))]
    members = data.draw(values(name, asked.input["shape"], valid=True)) if asked.input else {}
    found = parameters(form_of(name, asked.name, members))
    assert codec(name).decode(asked, found) == ours(members)


# Answers


def read_by_botocore(name: str, operation: str, body: bytes, status: int = 200) -> dict[str, Any]:
    model = botocore_model(name).operation_model(operation)
    response = {"headers": {}, "body": body, "status_code": status}
    parsed: dict[str, Any] = create_parser("query").parse(response, model.output_shape)
    return parsed


def check_answer(name: str, operation: str, data: st.DataObject) -> None:
    asked = service(name).operations[operation]
    result = data.draw(values(name, asked.output["shape"], valid=False)) if asked.output else {}
    parsed = read_by_botocore(name, operation, codec(name).encode(asked, ours(result), IDS))
    assert parsed.pop("ResponseMetadata")["RequestId"] == IDS
    assert ours(parsed) == ours(result)


@pytest.mark.parametrize(("name", "operation"), operations(*OURS))
@some
@given(st.data())
def test_an_answer_is_read_by_botocore_as_it_was_meant(
    name: str, operation: str, data: st.DataObject
) -> None:
    check_answer(name, operation, data)


@pytest.mark.parametrize("name", OTHERS)
@settings(some, max_examples=60)
@given(st.data())
def test_answers_of_other_services_are_read_as_they_were_meant(
    name: str, data: st.DataObject
) -> None:
    check_answer(name, data.draw(st.sampled_from(sorted(service(name).operations))), data)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (name, shape["error"]["code"])
        for name in OURS
        for shape in service(name).shapes.values()
        if "error" in shape
    ],
)
@some
@given(message=st.text(max_size=20), sender=st.booleans())
def test_every_error_of_the_models_is_read_by_botocore(
    name: str, code: str, message: str, *, sender: bool
) -> None:
    body = codec(name).encode_error(code, message, IDS, sender=sender)
    operation = next(iter(service(name).operations))
    parsed = read_by_botocore(name, operation, body, 400 if sender else 500)
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"]["Type"] == ("Sender" if sender else "Receiver")
    assert parsed["ResponseMetadata"]["RequestId"] == IDS
    held = parsed["Error"].get("Message") or ""
    assert len(held) == len(message)
    assert all(
        mine == theirs or theirs == "\ufffd" for mine, theirs in zip(message, held, strict=True)
    )


# Hostile requests

NAMES = ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Tags", "PolicyArns"]
parts = st.one_of(
    st.sampled_from(["member", "entry", "Key", "Value", "arn", "1", "0", "01", "10000000000", ""]),
    st.text(max_size=3),
)
names = st.tuples(st.sampled_from([*NAMES, ""]), st.lists(parts, max_size=5)).map(
    lambda found: ".".join([found[0], *found[1]])
)


def refusal(call: Callable[[], object]) -> ServiceError | None:
    try:
        call()
    except ServiceError as error:
        return error
    return None


@given(
    st.lists(st.tuples(names, st.one_of(st.sampled_from(["", "900", "true"]), st.text(max_size=9))))
)
@settings(max_examples=400, deadline=None)
def test_whatever_names_say_a_request_is_read_or_refused_by_an_error_of_aws(
    pairs: list[tuple[str, str]],
) -> None:
    asked = service("sts").operations["AssumeRole"]
    required = [("RoleArn", "arn:aws:iam::123456789012:role/r"), ("RoleSessionName", "session")]
    for found in (pairs, required + pairs):
        error = refusal(lambda found=found: codec("sts").decode(asked, found))  # type: ignore[misc]
        codes = ("MalformedInput", "MalformedQueryString", "ValidationError")
        assert error is None or error.code in codes


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_form_or_a_malformed_one(body: bytes) -> None:
    error = refusal(lambda: parameters(body))
    assert error is None or (error.code, error.status) == ("MalformedQueryString", 404)


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=9)), max_size=5))
@settings(deadline=None)
def test_a_form_is_read_as_the_standard_library_reads_it(pairs: list[tuple[bytes, bytes]]) -> None:
    def quoted(raw: bytes) -> bytes:
        """Only what must be is quoted, so that control characters and line ends go as they are."""
        return re.sub(rb"[%&+=]", lambda found: b"%%%02x" % found[0][0], raw).replace(b" ", b"+")

    form = b"&".join(quoted(name) + b"=" + quoted(value) for name, value in pairs)
    error = refusal(lambda: parameters(form))
    try:
        expected = [(name.decode(), value.decode()) for name, value in pairs]
    except UnicodeDecodeError:
        assert error is not None
    else:
        assert error is None
        assert parameters(form) == expected
        fully = urlencode(expected).encode()
        assert parameters(fully) == parse_qsl(fully.decode(), keep_blank_values=True) == expected
