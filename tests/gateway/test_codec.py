"""Requests to the machine's input and results to responses, without a wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.errors import CallFailed, CallRefused, CallTimedOut, NotCarried, TruncatedResponse
from stepout.gateway.codec import PAYLOAD_LIMIT, decode, encode
from stepout.gateway.messages import Headers, Request, Response
from stepout.gateway.upstreams import Upstreams

URL = "https://a.example.com/x"
UPSTREAMS = Upstreams.parse(
    '[upstream.a]\nurl = "https://a.example.com/"\nmethods = ["GET", "POST"]\n'
    '[upstream.k]\nurl = "https://k.example.com/"\nauth = "api-key"\nheader = "X-Key"\n'
)


def sent(method: str = "POST", url: str = URL, body: bytes = b"", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return json.loads(encode(Request(method, url, Headers(named), body), UPSTREAMS).input)


def answered(result: Any, **members: Any) -> Response:
    text = result if isinstance(result, str) else json.dumps(result)
    return decode({"status": "SUCCEEDED", "output": text, **members}, URL)


def result(body: str | None = None, status: int = 200, **headers: Any) -> str:
    """The output of an HTTP Task, its body as the JSON text given."""
    grouped = {name.replace("_", "-"): value for name, value in headers.items()}
    middle = "" if body is None else f'"ResponseBody":{body},'
    return f'{{"Headers":{json.dumps(grouped)},{middle}"StatusCode":{status},"StatusText":"OK"}}'


# --- Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("https://a.example.com", "/", {}),
        ("https://a.example.com:443/x#top", "/x", {}),
        ("HTTPS://A.Example.com/x", "/x", {}),
        ("https://a.example.com/a b/ä", "/a%20b/%C3%A4", {}),
        ("https://a.example.com/%2F%zz", "/%2F%zz", {}),
        (f"{URL}?a=1&b=two%20words+more&c=%C3%A4", "/x", {"a": "1", "b": "two words more", "c": "ä"}),
        (f"{URL}?a=1&a=2", "/x", "a=1&a=2"),
        (f"{URL}?flag", "/x", "flag"),
        (f"{URL}?a=", "/x", {"a": ""}),
        (f"{URL}?a=%ff", "/x", "a=%ff"),
        (f"{URL}?a=1;b=2", "/x", "a=1;b=2"),
    ],
)  # fmt: skip
def test_the_url_and_its_query_are_apart(url: str, path: str, query: Any) -> None:
    found = sent("GET", url)
    assert (found["url"], found["query"]) == (f"https://a.example.com{path}", query)


@pytest.mark.parametrize(
    ("method", "url", "message"),
    [
        ("GET", "http://a.example.com/", "does not begin with https://"),
        ("GET", "a.example.com", "does not begin with https://"),
        ("GET", "https://me:pw@a.example.com/", "Put this credential in the connection"),
        ("GET", "https://ä.example.com/", "no host name in ASCII"),
        ("GET", "https://a.example.com:x/", "is no URL"),
        ("GET", "https://a.example.com/a/../b", "dot segments"),
        ("GET", "https://a.example.com/%2E%2E/b", "dot segments"),
        ("GET", "https://a.example.com/a\\b", "dot segments"),
        (
            "PUT",
            "https://a.example.com/",
            "The upstream 'a' takes GET, POST, and the request is PUT",
        ),
        ("TRACE", "https://k.example.com/", "takes GET, POST, PUT"),
    ],
)
def test_what_cannot_go_this_way_is_refused_in_words(method: str, url: str, message: str) -> None:
    with pytest.raises(NotCarried, match="nothing was sent") as caught:
        sent(method, url)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": 1.0,  "b": 123456789012345678901234567890}', "application/json"),
        (b"a=1&a=2&b=x+y", "application/x-www-form-urlencoded"),
        ("häuser\n€".encode(), "text/plain"),
        (b"plain", "text/plain; charset=iso-8859-1"),
        (b"\x00\x01", "text/plain"),
        (b"", ""),
    ],
)
def test_a_body_goes_out_as_it_was_written(body: bytes, content_type: str) -> None:
    assert sent(body=body, Content_Type=content_type)["body"].encode() == body


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x89PNG\xff", "image/png"),
        ("häuser".encode("latin-1"), "text/plain; charset=iso-8859-1"),
        ("häuser".encode(), "text/plain; charset=iso-8859-1"),
        (b"x", "text/plain; charset=no-such"),
    ],
)
def test_a_body_that_is_no_text_in_utf8_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(NotCarried, match="is not a text in UTF-8"):
        sent(body=body, Content_Type=content_type)


def test_the_input_may_be_as_large_as_an_execution_takes() -> None:
    empty = len(encode(Request("POST", URL), UPSTREAMS).input)
    most = b"x" * (PAYLOAD_LIMIT - empty)
    assert len(encode(Request("POST", URL, Headers(), most), UPSTREAMS).input) == PAYLOAD_LIMIT
    with pytest.raises(NotCarried, match="262,145 bytes"):
        sent(body=most + b"x")
    # Bytes are counted, not characters.
    with pytest.raises(NotCarried, match="262,144 is the most"):
        sent(body="ä".encode() * (len(most) // 2 + 1))


def test_headers_of_transport_are_left_out_and_told() -> None:
    headers = Headers(
        [("Host", "x"), ("accept-encoding", "gzip"), ("X-Forwarded-For", "1"), ("Accept", "a"),
         ("accept", "b"), ("Cookie", "c=1"), ("cookie", "d=2"), ("X-Amzn-Trace-Id", "Root=1")]
    )  # fmt: skip
    encoded = encode(Request("GET", URL, headers), UPSTREAMS)
    assert json.loads(encoded.input)["headers"] == {"Accept": "a, b", "Cookie": "c=1; d=2"}
    assert encoded.dropped == ("host", "accept-encoding", "x-forwarded-for")
    assert encoded.trace == "Root=1"


@pytest.mark.parametrize(
    "name",
    ["If-None-Match", "If-Modified-Since", "Range", "Cache-Control", "Pragma", "Content-Encoding",
     "Origin", "Referer", "X-Amz-Date", "Date"],
)  # fmt: skip
def test_headers_that_would_change_the_meaning_are_refused(name: str) -> None:
    with pytest.raises(NotCarried, match=f"The header {name} cannot be carried; nothing was sent"):
        encode(Request("GET", URL, Headers({name: "x"})), UPSTREAMS)


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(NotCarried, match="control characters"):
        sent(X_A="a\r\nX-B: b")


@pytest.mark.parametrize("name", ["Authorization", "X-Key", "x-key"])
def test_a_credential_is_dropped_only_where_the_connection_has_one(name: str) -> None:
    headers = Headers({name: "placeholder"})
    encoded = encode(Request("GET", "https://k.example.com/", headers), UPSTREAMS)
    assert json.loads(encoded.input)["headers"] == {}
    assert encoded.dropped == (name.lower(),)
    if name == "Authorization":
        for upstreams in (UPSTREAMS, None):
            with pytest.raises(NotCarried, match="Put this credential in the connection"):
                encode(Request("GET", URL, headers), upstreams)


# --- Responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"n":1.0,"big":123456789012345678901234567890,"e":1E400,"n":2}',
        '["\\u00e4","\\ud800",null,true]',
        '"a text"',
        "5",
        "[" * 1_000 + "]" * 1_000,
        '{"\\"}": "{["}',
    ],
)
def test_json_comes_back_as_it_stands_in_the_output(text: str) -> None:
    response = answered(result(text, Content_Type=["application/json"]))
    assert response.content == text.encode()
    assert response.extensions["body"] == "rewritten"


@pytest.mark.parametrize("text", ['{"looks": "like JSON"}', "123", '"', "", "ä€\n"])
def test_a_text_is_a_text_whatever_it_looks_like(text: str) -> None:
    response = answered(result(json.dumps(text), Content_Type=["text/plain; charset=utf-8"]))
    assert (response.content, response.text) == (text.encode(), text)
    assert response.extensions["body"] == "exact"


def test_a_text_comes_back_in_the_charset_that_it_names() -> None:
    response = answered(result('"h\\u00e4user"', Content_Type=["text/plain; charset=iso-8859-1"]))
    assert (response.content, response.text) == (b"h\xe4user", "häuser")


def test_headers_keep_their_values_apart_and_framing_is_left_behind() -> None:
    headers: dict[str, Any] = {
        "Set_Cookie": ["a=1", "b=2"],
        "Content_Length": ["5"],
        "Transfer_Encoding": ["chunked"],
    }
    response = answered(result('"x"', Content_Type=["text/plain"], **headers))
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert "content-length" not in response.headers
    assert "transfer-encoding" not in response.headers


def test_an_answer_to_head_keeps_the_length_that_it_tells() -> None:
    assert answered(result(Content_Length=["17"])).headers["content-length"] == "17"


@pytest.mark.parametrize(
    ("content_range", "is_whole"),
    [
        ("bytes 0-10/11", True),
        ("bytes 0-262143/262144", True),
        ("bytes 0-100/*", True),
        ("bytes 0-262144/*", False),
        ("bytes 0-262144/400000", False),
        ("bytes 5-10/11", False),
        ("bytes */11", False),
    ],
)
def test_a_range_that_is_the_whole_is_a_200(content_range: str, is_whole: bool) -> None:
    output = result('"x"', 206, Content_Type=["text/plain"], Content_Range=[content_range])
    if not is_whole:
        with pytest.raises(TruncatedResponse) as caught:
            answered(output)
        assert caught.value.content_range == content_range
        return
    response = answered(output)
    assert (response.status_code, response.reason) == (200, "OK")
    assert "content-range" not in response.headers
    assert (response.extensions["status"], response.extensions["content_range"]) == (
        206,
        content_range,
    )


def test_a_206_without_a_range_stays_one() -> None:
    assert answered(result('"x"', 206)).status_code == 206


def test_a_caught_status_is_a_response_without_a_body() -> None:
    response = answered({"Error": "States.Http.StatusCode.418", "Cause": ""})
    assert (response.status_code, response.reason, response.content) == (418, "", b"")
    assert not response.is_body_carried
    assert answered({"Error": "States.Http.StatusCode.404"}).status_code == 404


def test_a_caught_status_has_its_body_where_the_server_kept_it() -> None:
    kept = result('{"why":1.0}', 402, Content_Type=["application/json"], X_Id=["7"])
    response = answered({"Error": "States.Http.StatusCode.402", "Cause": kept})
    assert (response.status_code, response.content) == (402, b'{"why":1.0}')
    assert response.headers["x-id"] == "7"
    assert response.is_body_carried


@pytest.mark.parametrize("output", ["5", "[]", "{}", '"text"', "null", '{"x":{"StatusCode":200}}'])
def test_an_output_of_another_machine_is_told(output: str) -> None:
    with pytest.raises(CallFailed, match="Does the ARN name a gateway machine"):
        answered(output)


@pytest.mark.parametrize(
    ("error", "cause", "kind", "words"),
    [
        ("States.Http.AccessDenied", "no", CallRefused, "states:InvokeHTTPEndpoint"),
        ("Events.ConnectionResource.AccessDenied", "no", CallRefused, "events:RetrieveConnectionCredentials"),
        ("Events.ConnectionResource.InvalidConnectionState", "no", CallRefused, "not authorized"),
        ("Gateway.UnknownUpstream", "known: x", CallRefused, "Add it to the upstreams file"),
        ("States.Http.Socket", "address-private: 10.0.0.1", CallRefused, "--egress-allow"),
        ("States.Http.Socket", "connection reset", CallFailed, "could not be reached"),
        ("States.Http.Socket", "The HTTP call did not end within 60 seconds.", CallTimedOut, "60 seconds"),
        ("States.Timeout", None, CallTimedOut, "timeout"),
        ("States.DataLimitExceeded", "size", CallFailed, "262,144 bytes"),
        ("States.Runtime", "Unsupported response content-type 'image/png'.", CallFailed, "not a text"),
        ("", None, CallFailed, "The execution failed."),
    ],
)  # fmt: skip
def test_what_came_back_broken_is_explained(
    error: str, cause: str | None, kind: type[CallFailed | CallRefused], words: str
) -> None:
    with pytest.raises(kind) as caught:
        decode({"status": "FAILED", "error": error, "cause": cause}, URL)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert (caught.value.error, caught.value.cause) == (error, cause)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(json_values)
def test_any_json_body_comes_back(value: Any) -> None:
    text = json.dumps(value)
    response = answered(result(text, Content_Type=["application/problem+json; charset=utf-8"]))
    assert response.content == text.encode()
    assert response.json() == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_goes_out_and_comes_back(text: str) -> None:
    assert sent(body=text.encode(), Content_Type="text/plain")["body"] == text
    assert answered(result(json.dumps(text), Content_Type=["text/plain"])).text == text
