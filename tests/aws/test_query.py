"""The Query protocol: forms in, XML out, in AWS's words; and an unmodified boto3 in between."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import boto3
import botocore.model
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from stepout.aws import shapes
from stepout.aws.query import _MOST_PARAMETERS, CONTENT_TYPE, Query, parameters
from stepout.aws.shapes import Operation, Service
from stepout.errors import ServiceError, StepoutError

STS = shapes.load("sts")
STACKS = shapes.load("cloudformation")
QUERY = Query(STS)

ROLE = "arn:aws:iam::123456789012:role/service/reader"
ASSUME = f"Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=session"


def decoded(form: str, query: Query = QUERY) -> dict[str, Any]:
    found = parameters(form.encode())
    return query.decode(query.operation(found), found)


def refused(form: str, query: Query = QUERY) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        decoded(form, query)
    return caught.value


# Which operation


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ("", "MissingAction", "The request is missing an action or a required parameter."),
        (
            "Version=2011-06-15",
            "MissingAction",
            "The request is missing an action or a required parameter.",
        ),
        (
            "Action=NoSuchAction&Version=2011-06-15",
            "InvalidAction",
            "Could not find operation NoSuchAction for version 2011-06-15",
        ),
        (
            "Action=GetCallerIdentity",
            "InvalidAction",
            "Could not find operation GetCallerIdentity for version NO_VERSION_SPECIFIED",
        ),
        (
            "Action=GetCallerIdentity&Version=",
            "InvalidAction",
            "Could not find operation GetCallerIdentity for version ",
        ),
        (
            "Action=GetCallerIdentity&Version=2000-01-01",
            "InvalidAction",
            "Could not find operation GetCallerIdentity for version 2000-01-01",
        ),
        (
            "Action=&Version=2011-06-15",
            "InvalidAction",
            "Could not find operation  for version 2011-06-15",
        ),
        (
            "Action=getcalleridentity&Version=2011-06-15",
            "InvalidAction",
            "Could not find operation getcalleridentity for version 2011-06-15",
        ),
    ],
)
def test_a_request_that_names_no_operation_is_refused_in_aws_words(
    form: str, code: str, message: str
) -> None:
    error = refused(form)
    assert (error.code, error.message, error.status) == (code, message, 400)


def test_of_several_values_of_a_name_the_first_counts() -> None:
    form = f"{ASSUME}&Action=NoSuchAction&Version=2000-01-01&RoleSessionName=bad/name"
    form += "&DurationSeconds=900&DurationSeconds=899&Tags.member.1.Key=a&Tags.member.1.Key=b"
    form += "&Tags.member.1.Value=v"
    assert decoded(form) == {
        "RoleArn": ROLE,
        "RoleSessionName": "session",
        "DurationSeconds": 900,
        "Tags": [{"Key": "a", "Value": "v"}],
    }
    invalid_first = f"RoleSessionName=bad/name&{ASSUME}"
    assert "Value 'bad/name' at 'roleSessionName'" in refused(invalid_first).message


def test_a_presigned_query_string_is_read_like_a_body() -> None:
    client = sts_client("https://sts.eu-central-1.amazonaws.com")
    url = client.generate_presigned_url("get_caller_identity")
    found = parameters(url.partition("?")[2].encode())
    operation = QUERY.operation(found)
    assert operation.name == "GetCallerIdentity"
    assert "X-Amz-Signature" in dict(found)
    assert QUERY.decode(operation, found) == {}


# Forms


def test_names_and_values_are_decoded_as_forms_are() -> None:
    assert parameters(b"a+b=c+d%20e&%C3%A9=%e2%82%ac&x&y=&&z==1%26&w=1;v=2&\xc3\xa9=1") == [
        ("a b", "c d e"),
        ("é", "€"),
        ("x", ""),
        ("y", ""),
        ("z", "=1&"),
        ("w", "1;v=2"),
        ("é", "1"),
    ]
    assert parameters(b"") == []


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (b"Action=%", "Expected two hexadecimal digits after each percent sign."),
        (b"Action=%4", "Expected two hexadecimal digits after each percent sign."),
        (b"%zz=1", "Expected two hexadecimal digits after each percent sign."),
        (b"Action=%+1", "Expected two hexadecimal digits after each percent sign."),
        (b"Action=%ff", "Expected the parameters to be UTF-8."),
        (b"\xed\xa0\x80=1", "Expected the parameters to be UTF-8."),
        (b"a=1&" * _MOST_PARAMETERS, "Expected at most 10000 parameters."),
        (b"&" * 1_000_000, "Expected at most 10000 parameters."),
    ],
)
def test_a_malformed_form_is_refused(form: bytes, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parameters(form)
    error = caught.value
    assert (error.code, error.message, error.status) == ("MalformedQueryString", message, 404)


def test_as_many_parameters_as_allowed_are_read() -> None:
    assert len(parameters(b"&".join([b"a=1"] * _MOST_PARAMETERS))) == _MOST_PARAMETERS


# Names


def test_lists_are_in_the_order_of_their_numbers_whatever_their_gaps() -> None:
    form = ASSUME
    for number, key in ((10, "ten"), (1_000_000_000, "last"), (9, "nine"), (0, "zero")):
        form += f"&Tags.member.{number}.Value=v&Tags.member.{number}.Key={key}"
    keys = [tag["Key"] for tag in decoded(form)["Tags"]]
    assert keys == ["zero", "nine", "ten", "last"]


@pytest.mark.parametrize(
    "unknown",
    [
        "Unknown=value",
        "Unknown.member.1.Key=value",
        "Tags.member.1.Unknown=value",
        "Tags.member.1.Unknown.Key.1=value",
        "roleArn=value",
        "RoleArn+=value",
        ".=value",
        "=value",
        f"{'u.' * 30}=value",
    ],
)
def test_names_that_the_model_does_not_have_are_ignored(unknown: str) -> None:
    form = f"{ASSUME}&Tags.member.1.Key=k&Tags.member.1.Value=v"
    assert decoded(f"{form}&{unknown}") == decoded(form)


def test_an_unknown_name_makes_nothing() -> None:
    assert decoded(f"{ASSUME}&Tags.member.1.Unknown=value").keys() == {"RoleArn", "RoleSessionName"}


def test_an_empty_value_of_a_list_is_an_empty_list() -> None:
    assert decoded(f"{ASSUME}&PolicyArns=")["PolicyArns"] == []
    assert decoded(f"{ASSUME}&PolicyArns.member=")["PolicyArns"] == []


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("RoleArn.member.1=x", "Start of list found where not expected"),
        ("DurationSeconds.1=900", "Start of list found where not expected"),
        ("Tags=x", "Unexpected list element termination"),
        ("Tags.1.Key=x", "Unexpected list element termination"),
        ("Tags.member=x", "Unexpected list element termination"),
        ("Tags.member.x.Key=k", "Unexpected list element termination"),
        ("Tags.member.-1.Key=k", "Unexpected list element termination"),
        ("Tags.member.%D9%A1.Key=k", "Unexpected list element termination"),
        ("Tags.member.10000000000.Key=k", "Unexpected list element termination"),
        ("Tags.member.1=x", "Unexpected complex element termination"),
        ("Tags=&Tags.member.1.Key=k", "Start of list found where not expected"),
        ("Tags.member.1.Key=k&Tags=", "Unexpected complex element termination"),
        ("DurationSeconds=", "missing value for decimal type"),
        ("DurationSeconds=abc", "Expected an integer of 32 bits at 'DurationSeconds'."),
        ("DurationSeconds=900.0", "Expected an integer of 32 bits at 'DurationSeconds'."),
        ("DurationSeconds=%20900", "Expected an integer of 32 bits at 'DurationSeconds'."),
        ("DurationSeconds=9e2", "Expected an integer of 32 bits at 'DurationSeconds'."),
        (
            "DurationSeconds=%D9%A9%D9%A0%D9%A0",
            "Expected an integer of 32 bits at 'DurationSeconds'.",
        ),
        ("DurationSeconds=2147483648", "Expected an integer of 32 bits at 'DurationSeconds'."),
        ("DurationSeconds=-2147483649", "Expected an integer of 32 bits at 'DurationSeconds'."),
        (
            f"DurationSeconds={'9' * 100_000}",
            "Expected an integer of 32 bits at 'DurationSeconds'.",
        ),
    ],
)
def test_what_does_not_fit_a_shape_is_malformed_input(added: str, message: str) -> None:
    error = refused(f"{ASSUME}&{added}")
    assert (error.code, error.message, error.status) == ("MalformedInput", message, 400)


@pytest.mark.parametrize(("text", "number"), [("+900", 900), ("0900", 900), ("43200", 43200)])
def test_integers_are_read_as_java_reads_them(text: str, number: int) -> None:
    assert decoded(f"{ASSUME}&DurationSeconds={text.replace('+', '%2B')}")["DurationSeconds"] == (
        number
    )


def test_a_name_of_very_many_parts_is_refused() -> None:
    error = refused(f"{ASSUME}&{'Tags.member.1.' * 50_000}=x")
    assert (error.code, error.message) == (
        "MalformedQueryString",
        "Expected names of at most 32 parts.",
    )


def test_texts_are_taken_as_they_are() -> None:
    policy = json.dumps({"Statement": [{"Resource": "a b+c%&=\n"}]})
    quoted = urllib.parse.quote_plus(policy)
    assert decoded(f"{ASSUME}&Policy={quoted}")["Policy"] == policy


# Constraints


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=session",
            "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: "
            "Member must not be null",
        ),
        (
            f"{ASSUME}&DurationSeconds=899",
            "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy "
            "constraint: Member must have value greater than or equal to 900",
        ),
        (
            f"{ASSUME}&DurationSeconds=-2147483648",
            "1 validation error detected: Value '-2147483648' at 'durationSeconds' failed to "
            "satisfy constraint: Member must have value greater than or equal to 900",
        ),
        (
            f"Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=bad/name",
            "1 validation error detected: Value 'bad/name' at 'roleSessionName' failed to satisfy "
            r"constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*",
        ),
        (
            f"{ASSUME}&Tags.member.7.Key=&Tags.member.7.Value=v",
            "2 validation errors detected: Value '' at 'tags.1.member.key' failed to satisfy "
            "constraint: Member must have length greater than or equal to 1; Value '' at "
            "'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular "
            r"expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+",
        ),
    ],
)
def test_what_does_not_satisfy_a_constraint_is_a_validation_error(form: str, message: str) -> None:
    error = refused(form)
    assert (error.code, error.message, error.status) == ("ValidationError", message, 400)


def test_a_character_beyond_the_basic_plane_is_none_of_a_role_arn() -> None:
    """Observed, though the pattern looks as if it were: Java reads `\\u10000` as two characters."""
    message = refused(ASSUME.replace(ROLE, "😀" * 2048)).message
    assert message.startswith("1 validation error detected: ")
    assert "Member must satisfy regular expression pattern: " in message


def test_a_secret_is_not_repeated_in_an_error() -> None:
    form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=abc"
    message = refused(f"{form}&RoleArn={ROLE}&RoleSessionName=session").message
    assert "Value at 'webIdentityToken' failed to satisfy constraint: " in message
    assert "abc" not in message


# Answers


def operation_of(name: str, service: Service = STS) -> Operation:
    return service.operations[name]


def test_an_answer_reads_as_the_api_reference_shows_it() -> None:
    user = {"UserId": "AIDAEXAMPLE", "Account": "123456789012", "Arn": "arn:aws:iam::1:user/a"}
    assert QUERY.encode(operation_of("GetCallerIdentity"), user, "request-1") == (
        b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        b"<GetCallerIdentityResult>"
        b"<UserId>AIDAEXAMPLE</UserId><Account>123456789012</Account>"
        b"<Arn>arn:aws:iam::1:user/a</Arn>"
        b"</GetCallerIdentityResult>"
        b"<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>"
        b"</GetCallerIdentityResponse>"
    )


def test_an_operation_without_output_answers_with_its_request_id_alone() -> None:
    stacks = Query(STACKS)
    deleted = operation_of("DeleteStack", STACKS)
    assert stacks.encode(deleted, {}, "r") == (
        b'<DeleteStackResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        b"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DeleteStackResponse>"
    )
    with pytest.raises(StepoutError, match="Expected no result of DeleteStack, found StackId"):
        stacks.encode(deleted, {"StackId": "s"}, "r")


def test_times_are_written_in_iso_8601_and_none_counts_as_absent() -> None:
    keys = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t"}
    result = {"Credentials": {**keys, "Expiration": 1_790_231_648.662}, "SourceIdentity": None}
    body = QUERY.encode(operation_of("AssumeRole"), result, "r")
    assert b"<Expiration>2026-09-24T06:34:08.662Z</Expiration>" in body
    assert b"SourceIdentity" not in body


def test_markup_is_escaped_and_what_xml_cannot_hold_is_replaced() -> None:
    text = '<a b="c">&\'\t\n\r\x00\x1f\x7f\ufffe\ud800😀]]>'
    body = QUERY.encode(operation_of("GetCallerIdentity"), {"Arn": text}, "<r>")
    root = ET.fromstring(body)
    space = "{https://sts.amazonaws.com/doc/2011-06-15/}"
    found = root.findtext(f"{space}GetCallerIdentityResult/{space}Arn")
    assert found == '<a b="c">&\'\t\n\r\ufffd\ufffd\x7f\ufffd\ufffd😀]]>'
    assert root.findtext(f"{space}ResponseMetadata/{space}RequestId") == "<r>"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"Nobody": 1}, "AssumeRoleResponse has no member Nobody."),
        ({"Credentials": {"Secret": "s"}}, "Credentials has no member Secret."),
        ({"Credentials": ["s"]}, "A list is no value of Credentials."),
        ({"PackedPolicySize": "6"}, "A str is no value of nonNegativeIntegerType."),
        ({"PackedPolicySize": True}, "A bool is no value of nonNegativeIntegerType."),
        ({"SourceIdentity": b"b"}, "A bytes is no value of sourceIdentityType."),
    ],
)
def test_a_result_that_does_not_fit_the_model_is_an_error_of_ours(
    result: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepoutError) as caught:
        QUERY.encode(operation_of("AssumeRole"), result, "r")
    assert not isinstance(caught.value, ServiceError)
    assert str(caught.value) == message


def test_errors_name_who_is_at_fault() -> None:
    assert QUERY.encode_error("AccessDenied", "No & never", "r", sender=True) == (
        b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        b"<Error><Type>Sender</Type><Code>AccessDenied</Code>"
        b"<Message>No &amp; never</Message></Error>"
        b"<RequestId>r</RequestId></ErrorResponse>"
    )
    assert b"<Type>Receiver</Type>" in QUERY.encode_error("InternalFailure", "", "r", sender=False)
    # As observed: what arises before a service is found is in a namespace of its own.
    unknown = QUERY.encode_error("InvalidAction", "m", "r", sender=True)
    assert b'xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"' in unknown


# All that shapes can be; the models of STS and CloudFormation have only some of it.

FORMATS: dict[str, Any] = {
    "metadata": {"protocol": "query", "apiVersion": "1", "endpointPrefix": "x", "serviceId": "X"},
    "operations": {
        "Put": {
            "name": "Put",
            "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "All"},
            "output": {"shape": "All", "resultWrapper": "PutResult"},
        }
    },
    "shapes": {
        "All": {
            "type": "structure",
            "members": {
                "Texts": {"shape": "Texts"},
                "Flat": {"shape": "Flat"},
                "FlatNamed": {"shape": "FlatNamed"},
                "Renamed": {"shape": "NamedItems", "locationName": "Other"},
                "Map": {"shape": "Map"},
                "FlatMap": {"shape": "FlatMap"},
                "Self": {"shape": "All"},
                "Selves": {"shape": "Selves"},
                "Long": {"shape": "Long"},
                "Double": {"shape": "Double"},
                "Float": {"shape": "Float"},
                "Flag": {"shape": "Flag"},
                "When": {"shape": "When"},
                "Blob": {"shape": "Blob"},
            },
        },
        "Texts": {"type": "list", "member": {"shape": "Text"}},
        "Flat": {"type": "list", "flattened": True, "member": {"shape": "Text"}},
        "FlatNamed": {
            "type": "list",
            "flattened": True,
            "member": {"shape": "All", "locationName": "Named"},
        },
        "NamedItems": {"type": "list", "member": {"shape": "Text", "locationName": "Item"}},
        "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Texts"}},
        "FlatMap": {
            "type": "map",
            "flattened": True,
            "key": {"shape": "Text", "locationName": "Name"},
            "value": {"shape": "Long", "locationName": "Count"},
        },
        "Selves": {"type": "list", "member": {"shape": "All"}},
        "Text": {"type": "string"},
        "Long": {"type": "long"},
        "Double": {"type": "double"},
        "Float": {"type": "float"},
        "Flag": {"type": "boolean"},
        "When": {"type": "timestamp"},
        "Blob": {"type": "blob"},
    },
}

ALL: dict[str, Any] = {
    "Texts": ["a", "", "c"],
    "Flat": ["x", "y"],
    "FlatNamed": [{"Flag": True}, {"Flag": False}],
    "Renamed": ["r"],
    "Map": {"k": ["v", "w"], "é": []},
    "FlatMap": {"n": 1 << 62},
    "Self": {"Self": {"Self": {"Flag": False}}},
    "Selves": [{"Selves": [{"Texts": ["deep"]}]}],
    "Long": -(1 << 63),
    "Double": 1e-300,
    "Float": 2.5,
    "When": 1_790_231_648.662,
    "Blob": b"\x00\xff",
}


@pytest.fixture(scope="module")
def formats() -> Query:
    compiler = shapes._Compiler(FORMATS["shapes"])
    model = FORMATS["operations"]["Put"]
    put = shapes._operation("Put", model, "query", compiler)
    return Query(Service("x", "query", "1", "", "", "urn:x", {"Put": put}, FORMATS["shapes"]))


def put(formats: Query, form: str) -> dict[str, Any]:
    return decoded(f"Action=Put&Version=1&{form}", formats)


def test_every_kind_of_shape_is_read_as_botocore_writes_it(formats: Query) -> None:
    model = botocore.model.ServiceModel(FORMATS).operation_model("Put")
    given = {**ALL, "When": "2026-09-24T06:34:08.662Z"}
    body = create_serializer("query").serialize_to_request(given, model)["body"]
    assert {"Flat.2", "Named.1.Flag", "Other.Item.1", "FlatMap.1.Count"} <= body.keys()
    pairs = [(name, str(text)) for name, text in body.items()]
    assert formats.decode(formats.operation(pairs), pairs) == ALL


def test_every_kind_of_shape_is_written_as_botocore_reads_it(formats: Query) -> None:
    model = botocore.model.ServiceModel(FORMATS).operation_model("Put")
    body = formats.encode(formats.operation([("Action", "Put"), ("Version", "1")]), ALL, "r")
    response = {"headers": {}, "body": body, "status_code": 200}
    assert model.output_shape is not None
    parsed = create_parser("query").parse(response, model.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "r"
    parsed["When"] = parsed["When"].timestamp()
    assert parsed == ALL


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_not_finite_are_answered_but_not_taken(
    formats: Query, number: float
) -> None:
    operation = formats.operation([("Action", "Put"), ("Version", "1")])
    body = formats.encode(operation, {"Double": number}, "r")
    text = ET.fromstring(body).findtext("{urn:x}PutResult/{urn:x}Double")
    assert text in ("Infinity", "-Infinity", "NaN")
    assert refused(f"Action=Put&Version=1&Double={text}", formats).code == "MalformedInput"


@pytest.mark.parametrize(
    ("form", "members"),
    [
        ("Flag=true", {"Flag": True}),
        ("Flag=FALSE", {"Flag": False}),
        ("When=2026-09-24T06:34:08Z", {"When": 1_790_231_648}),
        ("When=2026-09-24T08:34:08.500%2B02:00", {"When": 1_790_231_648.5}),
        ("When=2026-09-24T06:34:08.000000000Z", {"When": 1_790_231_648}),
        ("When=1969-12-31T23:59:59.250Z", {"When": -0.75}),
        ("When=0001-01-01T00:00:00Z", {"When": -62_135_596_800}),
        ("Double=-1.5e3&Float=.5", {"Double": -1500.0, "Float": 0.5}),
        ("Long=9223372036854775807", {"Long": (1 << 63) - 1}),
        ("Blob=", {"Blob": b""}),
        ("Map=&FlatMap=&Self=", {"Map": {}, "FlatMap": {}, "Self": {}}),
        (
            "FlatMap.2.Name=b&FlatMap.2.Count=2&FlatMap.1.Count=1&FlatMap.1.Name=a",
            {"FlatMap": {"a": 1, "b": 2}},
        ),
        (
            "FlatMap.1.Name=a&FlatMap.1.Count=1&FlatMap.2.Name=a&FlatMap.2.Count=2",
            {"FlatMap": {"a": 1}},
        ),
    ],
)
def test_values_are_read(formats: Query, form: str, members: dict[str, Any]) -> None:
    assert put(formats, form) == members


@pytest.mark.parametrize(
    "form",
    [
        "Flag=1",
        "Flag=yes",
        "Flag=",
        "Long=9223372036854775808",
        "Double=1e999",
        "Double=0x10",
        "Double=1_000",
        "Double=nan",
        "When=1790231648",
        "When=2026-09-24",
        "When=2026-13-24T06:34:08Z",
        "When=2026-09-24T25:34:08Z",
        "When=2026-09-24T06:34:08",
        "When=2026-09-24T06:34:08123Z",
        "When=20260924T063408Z",
        "When=2026-09-24T06:34:08%2B99:00",
        "When=0000-01-01T00:00:00Z",
        "Blob=%00",
        "Blob=YQ",
        "Blob=YQ==!",
        "Self=x",
        "Map=x",
        "Map.1.key=x",
        "Map.entry.1.key=x",
        "Map.entry.1.value.member.1=x",
        "FlatMap.x.Name=x",
    ],
)
def test_values_of_the_wrong_form_are_malformed_input(formats: Query, form: str) -> None:
    assert refused(f"Action=Put&Version=1&{form}", formats).code == "MalformedInput"


def test_a_shape_that_holds_itself_is_read_to_a_bounded_depth(formats: Query) -> None:
    deepest = put(formats, f"{'Self.' * 31}Flag=true")
    for _ in range(31):
        deepest = deepest["Self"]
    assert deepest == {"Flag": True}
    error = refused(f"Action=Put&Version=1&{'Self.' * 32}Flag=true", formats)
    assert error.code == "MalformedQueryString"


# An unmodified boto3


class Sts(BaseHTTPRequestHandler):
    """Answers STS by the codec alone."""

    requests: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_GET(self) -> None:
        self._answer(self.path.partition("?")[2].encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, form: bytes) -> None:
        try:
            found = parameters(form)
            operation = QUERY.operation(found)
            members = QUERY.decode(operation, found)
            self.requests.append((operation.name, members))
            body = QUERY.encode(operation, ANSWERS[operation.name], "request-1")
            self._send(200, body)
        except ServiceError as error:
            body = QUERY.encode_error(error.code, error.message, "request-2", sender=True)
            self._send(error.status, body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


CALLER = {
    "UserId": "AROAEXAMPLE:session",
    "Account": "123456789012",
    "Arn": "arn:aws:sts::123456789012:assumed-role/reader/session",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "GetCallerIdentity": CALLER,
    "AssumeRole": {
        "Credentials": {
            "AccessKeyId": "ASIAEXAMPLEEXAMPLE12",
            "SecretAccessKey": "a+secret/<&>",
            "SessionToken": "t" * 400,
            "Expiration": 1_790_231_648,
        },
        "AssumedRoleUser": {"AssumedRoleId": CALLER["UserId"], "Arn": CALLER["Arn"]},
        "PackedPolicySize": 6,
    },
}


@pytest.fixture
def sts_url() -> Iterator[str]:
    Sts.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Sts) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def sts_client(url: str) -> Any:
    return boto3.client(
        "sts",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_boto3_gets_the_caller_identity(sts_url: str) -> None:
    answer = sts_client(sts_url).get_caller_identity()
    assert answer.pop("ResponseMetadata")["RequestId"] == "request-1"
    assert answer == CALLER


def test_boto3_assumes_a_role_with_tags_and_policies(sts_url: str) -> None:
    policy = json.dumps({"Statement": [{"Resource": "é & <*>"}]}, ensure_ascii=False)
    asked = {
        "RoleArn": ROLE,
        "RoleSessionName": "session@example.com",
        "PolicyArns": [{"arn": f"arn:aws:iam::aws:policy/P{number}"} for number in range(1, 11)],
        "Policy": policy,
        "DurationSeconds": 900,
        "Tags": [{"Key": "Team é", "Value": "a+b=c/d"}, {"Key": "empty", "Value": ""}],
        "TransitiveTagKeys": ["Team é"],
        "ExternalId": "external:id",
    }
    answer = sts_client(sts_url).assume_role(**asked)
    assert Sts.requests == [("AssumeRole", asked)]
    credentials = answer["Credentials"]
    assert credentials["SecretAccessKey"] == "a+secret/<&>"
    assert credentials["Expiration"].timestamp() == 1_790_231_648
    assert answer["AssumedRoleUser"]["Arn"] == CALLER["Arn"]
    assert answer["PackedPolicySize"] == 6


def test_boto3_raises_what_the_codec_refuses(sts_url: str) -> None:
    client = sts_client(sts_url)
    with pytest.raises(ClientError) as caught:
        client.assume_role(RoleArn=ROLE, RoleSessionName="bad name")
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationError"
    assert error["Error"]["Type"] == "Sender"  # type: ignore[typeddict-item] # Query alone has it.
    assert "at 'roleSessionName' failed" in error["Error"]["Message"]
    assert error["ResponseMetadata"]["RequestId"] == "request-2"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_presigned_url_of_boto3_is_answered(sts_url: str) -> None:
    url = sts_client(sts_url).generate_presigned_url("get_caller_identity")
    with urllib.request.urlopen(url) as response:
        body = response.read()
    assert b"<Arn>arn:aws:sts::123456789012:assumed-role/reader/session</Arn>" in body
