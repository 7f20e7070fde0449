"""Requests to the machine's input and results to responses, without a wire."""

from __future__ import annotations

import json
import re
import tracemalloc
from contextlib import suppress
from encodings.aliases import aliases
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.config import PAYLOAD_LIMIT
from stepout.errors import (
    BodyNotCarried,
    CallFailed,
    CallRefused,
    CallTimedOut,
    NotCarried,
    TruncatedResponse,
    UnknownUpstream,
)
from stepout.gateway.codec import _ONE_SPELLING, decode, encode
from stepout.gateway.messages import Headers, Request, Response, codec_of
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


@pytest.mark.parametrize(
    ("headers", "is_lost"),
    [
        ({"Content_Length": ["8"], "Content_Type": ["image/png"]}, True),
        ({"Content_Length": ["8"]}, True),
        ({"Content_Type": ["image/png"], "Transfer_Encoding": ["chunked"]}, True),
        ({"Content_Length": ["0"], "Content_Type": ["text/plain"]}, False),
        ({"X_Id": ["7"]}, False),
        ({}, False),
    ],
)
def test_a_body_that_the_server_did_not_keep_is_not_taken_for_an_empty_one(
    headers: dict[str, Any], is_lost: bool
) -> None:
    output = {"Error": "States.Http.StatusCode.402", "Cause": result(None, 402, **headers)}
    response = answered(output)
    assert response.is_body_carried is not is_lost
    assert response.extensions["body"] == ("not carried" if is_lost else "exact")
    assert response.headers.get("x-id") == headers.get("X_Id", [None])[0]
    # An answer to HEAD tells of a body and has none.
    (found,) = (decode({"status": "SUCCEEDED", "output": json.dumps(output)}, URL, "HEAD"),)
    assert (found.is_body_carried, found.extensions["body"]) == (True, "exact")


@pytest.mark.parametrize(
    ("text", "charset", "content", "state"),
    [
        ("häuser", "iso-8859-1", b"h\xe4user", "exact"),
        ("häuser", "windows-1252", b"h\xe4user", "exact"),
        ("häuser", "UTF-8", "häuser".encode(), "exact"),
        ("plain", "us-ascii", b"plain", "exact"),
        ("häuser €", "us-ascii", b"h?user ?", "replaced"),
        ("a\ufffdb", "utf-8", "a\ufffdb".encode(), "replaced"),
        ("häuser", "utf-16", "häuser".encode("utf-16"), "recoded"),
        ("日本", "shift_jis", "日本".encode("shift_jis"), "recoded"),
        ("häuser", "x-nobody-knows", "häuser".encode(), "recoded"),
    ],
)
def test_what_a_charset_lost_is_told(text: str, charset: str, content: bytes, state: str) -> None:
    output = result(json.dumps(text), Content_Type=[f"text/plain; charset={charset}"])
    response = answered(output)
    assert (response.content, response.extensions["body"]) == (content, state)


def test_codecs_said_to_be_exact_spell_every_byte_in_one_way() -> None:
    found = {codec_of(name) for name in set(aliases.values()) if is_known(name)}
    exact = {name for name in found if _ONE_SPELLING.fullmatch(name)}
    assert {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "koi8-r"} <= exact
    for name in exact - {"utf-8"}:
        for byte in range(256):
            for code in (bytes([byte]), bytes([byte, 65]), bytes([65, byte])):
                try:
                    text = code.decode(name)
                except UnicodeDecodeError:
                    continue
                assert text.encode(name) == code


def is_known(name: str) -> bool:
    try:
        return bool(codec_of(name))
    except LookupError:
        return False


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


# --- URLs, attacked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["https://a.example.com/x%2f..%2fy", "https://a.example.com/..;/x", "https://a.example.com/.%2E",
     "https://a.example.com/x\\..\\y", "https://a.example.com/.\t./x", "https://a.example.com/x%5Cy",
     "ht\ntps://a.example.com/.\r./x"],
)  # fmt: skip
def test_a_path_that_may_lead_out_is_refused(url: str) -> None:
    with pytest.raises(NotCarried, match="dot segments or backslashes"):
        sent("GET", url)


@pytest.mark.parametrize(
    "url",
    ["https://a.example.com.evil.test/", "https://a.example.com./", "https://a.example.com:444/",
     "https://evil.test/https://a.example.com/", "https://a.example.com:0/"],
)  # fmt: skip
def test_another_host_is_no_upstreams(url: str) -> None:
    with pytest.raises(UnknownUpstream, match="nothing was sent"):
        sent("GET", url)


@pytest.mark.parametrize(
    "url",
    ["", "https://", "https:///x", "https://?x", "https://[::1]/", "https://[::1", "https://a.example.com:99999/",
     "//a.example.com/", "file:///etc/passwd", "https://a.example.com:x/", "https://\ud800/", "https://a.example.com/\ud800",
     "https://a.example.com/?\ud800", "https:a.example.com", "javascript:alert(1)", "https://аpple.com/", "https:// /",
     "https://a.example.com\\.evil.test/", "https://a.example.com%2f/", "https://*.example.com/", "https://a\x00b/",
     "https://a\x1b[0m/", f"https://{'a' * 254}/", "https://a.example.com,b.example.com/"],
)  # fmt: skip
@pytest.mark.parametrize("upstreams", [UPSTREAMS, None])
def test_what_is_no_url_of_an_api_is_refused(url: str, upstreams: Upstreams | None) -> None:
    with pytest.raises(NotCarried, match="nothing was sent") as caught:
        encode(Request("GET", url), upstreams)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "url",
    ["http://me:4711@a.example.com/", "https://me:4711@a.example.com/", "https://me:4711@a.example.com:x/",
     "https://a.example.com/..?key=4711", "https://a.example.com/..#key=4711", "http://a.example.com/?key=4711",
     "https://ä.example.com/?key=4711", "https://b.example.com/x?key=4711", "https://b.example.com/#4711"],
)  # fmt: skip
def test_no_message_shows_what_may_be_secret(url: str) -> None:
    with pytest.raises(NotCarried) as caught:
        sent("GET", url)
    assert "4711" not in str(caught.value)


def test_the_url_without_query_and_fragment_is_kept_for_logs() -> None:
    request = Request("GET", "https://A.example.com:443/a b\n?key=4711#token=4711")
    encoded = encode(request, UPSTREAMS)
    assert encoded.url == "https://a.example.com/a%20b"
    assert encoded.request is request


def test_a_query_of_control_characters_cannot_leave_its_member() -> None:
    found = sent("GET", f"{URL}?a=1\x00&b=%0d%0aX:y&c=#frag")
    assert (found["url"], found["query"]) == (URL, {"a": "1\x00", "b": "\r\nX:y", "c": ""})


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.text(st.characters(exclude_categories=["Cs"])),
        )
    )
)
def test_any_query_means_the_same_on_the_other_side(pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs)
    found = sent("GET", f"{URL}?{query}")["query"]
    text = urlencode(found, quote_via=quote) if isinstance(found, dict) else found
    assert parse_qsl(text, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True)


# --- Bodies, attacked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/plain; charset=UTF-8", "text/plain; charset=\"utf-8\"", "text/plain;charset=utf8", "text/plain; charset=",
     "text/plain; charset", "; charset=utf-8", "text/plain; charset=utf-8; charset=latin-1", ""],
)  # fmt: skip
def test_a_body_in_utf8_is_taken_however_that_is_said(content_type: str) -> None:
    assert sent(body="ä€😀".encode(), Content_Type=content_type)["body"] == "ä€😀"


@pytest.mark.parametrize(
    "charset",
    ["utf-16", "utf-7", "idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined", "rot13", "base64",
     "hex", "zlib", "a%00b", "utf-8-sig", "cp037"],
)  # fmt: skip
def test_a_body_in_a_charset_that_spells_otherwise_is_refused(charset: str) -> None:
    with pytest.raises(NotCarried, match="is not a text in UTF-8"):
        sent(body=b"a+b\\n\xc3\xa4", Content_Type=f"text/plain; charset={charset}")


@pytest.mark.parametrize(
    "body", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc3"]
)
def test_a_body_of_broken_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(NotCarried, match=r"of no type, \d bytes"):
        sent(body=body)


def test_the_size_is_that_of_the_input_with_all_its_escapes() -> None:
    for body, size in ((b'"' * 131_000, 2), (b"\x00" * 43_000, 6), ("€".encode() * 87_000, 3)):
        encoded = encode(Request("POST", URL, Headers(), body), UPSTREAMS)
        assert len(encoded.input.encode()) - len(sent()["body"]) > size * 40_000
        with pytest.raises(NotCarried, match="is the most that an execution's input may have"):
            encode(Request("POST", URL, Headers(), body * 2), UPSTREAMS)


def test_headers_and_query_count_as_the_body_does() -> None:
    for request in (
        Request("GET", URL, Headers({"X-A": "x" * PAYLOAD_LIMIT})),
        Request("GET", f"{URL}?{'x' * PAYLOAD_LIMIT}"),
        Request("GET", URL + "x" * PAYLOAD_LIMIT),
    ):
        with pytest.raises(NotCarried, match="262,144 is the most"):
            encode(request, UPSTREAMS)
    assert (
        len(encode(Request("GET", URL, Headers({"X-A": "x" * 400_000})), None, 500_000).input)
        < 500_000
    )


def test_without_upstreams_every_method_of_a_task_and_every_host_is_taken() -> None:
    encoded = encode(Request("PATCH", "https://nowhere.example.com:8443/x"))
    assert (encoded.upstream, encoded.url) == (None, "https://nowhere.example.com:8443/x")
    with pytest.raises(NotCarried, match="An HTTP Task takes GET"):
        encode(Request("get", URL))


# --- Answers, attacked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "unicode_escape", "undefined", "rot13", "hex", "no-such", "a\x00b", "\ud800"]
)  # fmt: skip
def test_an_answer_in_what_is_no_charset_is_read_as_utf8(charset: str) -> None:
    for text in ("grüße €\\x", "x" * 100_000, ".", "..ä.."):
        response = answered(
            result(json.dumps(text), Content_Type=[f"text/plain; charset={charset}"])
        )
        assert (response.content, response.text) == (text.encode(), text)
        response = answered(
            result(json.dumps([text]), Content_Type=[f"application/json; charset={charset}"])
        )
        assert response.json() == [text]


@pytest.mark.parametrize(
    "output",
    [
        '{"StatusCode":"200"}',
        '{"StatusCode":null}',
        '{"StatusCode":2e2}',
        '{"StatusCode":[200]}',
        '{"StatusCode":200,"Headers":[]}',
        '{"StatusCode":200,"Headers":null}',
        '{"StatusCode":200,"Headers":"x"}',
        '{"Error":5}',
        '{"Error":null}',
        '{"Error":["States.Http.StatusCode.404"]}',
        '{"Error":"States.Http.StatusCode.404","Cause":5}',
        '{"Error":"States.Http.StatusCode.404","Cause":"{\\"StatusCode\\":true}"}',
        '{"Error":' + "[" * 100_000 + "]" * 100_000 + "}",
        "",
        "{",
        "not JSON",
        '{"a"}',
    ],
)
def test_a_broken_output_of_another_machine_is_told_and_nothing_else_is_raised(output: str) -> None:
    with pytest.raises(CallFailed, match="Does the ARN name a gateway machine") as caught:
        answered(output)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "answer", [{}, {"output": None}, {"output": 5}, {"output": {"StatusCode": 200}}]
)
def test_an_answer_of_another_server_without_an_output_is_told(answer: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match="Does the ARN name a gateway machine"):
        decode({"status": "SUCCEEDED", **answer}, URL)


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED", ""])
def test_whatever_has_not_succeeded_has_failed(status: str) -> None:
    with pytest.raises(CallFailed, match="The execution failed"):
        decode({"status": status}, URL)


def test_members_are_found_whatever_stands_around_them() -> None:
    output = (
        '\n{ "Other" : {"StatusCode":500,"ResponseBody":"no"} , "StatusText" : "OK",\t'
        '"\\u0053tatusCode" :201 ,"ResponseBody"\r\n: [ 1.0 , "}]\\"{" ] ,"Headers":{"a":["1"],"A":["2"]}}\n'
    )
    response = answered(output)
    assert (response.status_code, response.content) == (201, b'[ 1.0 , "}]\\"{" ]')
    assert response.headers.get_all("a") == ["1", "2"]


def test_the_last_of_doubled_members_counts_as_in_any_json() -> None:
    assert (
        answered('{"StatusCode":500,"ResponseBody":1,"StatusCode":200,"ResponseBody":2}').content
        == b"2"
    )


@pytest.mark.parametrize(
    "text",
    ["1.0", "-0", "-0.0", "1E400", "1e-400", "0.1000", "9" * 5_000, '"\\ud83d\\ude00\\u0041\\/"', '"\\ud800"', "null",
     "false", "[ ]", '{"a":1,"a":2}', '{"":{"\\u0000":[]}}', '"' + "\\\\" * 1_000 + '"', '"\\""', '"{"'],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["application/json", "text/json", "application/vnd.api+json; v=1", "APPLICATION/JSON"])  # fmt: skip
def test_json_stands_as_it_stood(text: str, content_type: str) -> None:
    response = answered(result(text, Content_Type=[content_type]))
    assert (response.content, response.extensions["body"]) == (text.encode(), "rewritten")


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_no_nesting_is_too_deep(depth: int, pair: str) -> None:
    opening = pair[0] if pair == "[]" else '{"a":'
    text = opening * depth + "1" + pair[1] * depth
    response = answered(result(text, Content_Type=["application/json"]))
    assert response.content == text.encode()


def test_an_answer_of_many_megabytes_takes_no_more_memory_than_some_copies() -> None:
    """Where server and client allow more than AWS does. `resource` would count other tests."""
    text = result(json.dumps('x\\"' * 2_000_000), Content_Type=["text/plain"])
    tracemalloc.start()
    try:
        response = answered(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(response.content) == 6_000_000
    assert peak < 10 * len(text)


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes", "bytes 0-", "bytes 0-10", "bytes 0-10/", "bytes -10/11", "bytes 1-10/11", "bytes 0-10/12",
     "bytes 0-10/10", "items 0-10/11", "bytes 0-262144/262146", "bytes 0-262144/*", f"bytes 0-{'9' * 5_000}/{'9' * 5_000}",
     "bytes 0-٣/٤", "bytes 00-10/11, bytes 0-10/11"],
)  # fmt: skip
def test_a_range_that_is_not_the_whole_is_never_taken_for_it(content_range: str) -> None:
    with pytest.raises(TruncatedResponse, match="came in part"):
        answered(result('"x"', 206, Content_Type=["text/plain"], Content_Range=[content_range]))


def test_a_206_in_several_parts_stays_what_it_is() -> None:
    """Without Content-Range of its own: the parts have theirs (RFC 9110, 14.6)."""
    response = answered(result('"--x"', 206, Content_Type=["multipart/byteranges; boundary=x"]))
    assert (response.status_code, response.extensions.get("status")) == (206, None)


def test_a_range_of_another_status_is_left_alone() -> None:
    response = answered(result('"x"', 200, Content_Range=["bytes 0-3/9"]))
    assert (response.status_code, response.headers["content-range"]) == (200, "bytes 0-3/9")


def test_a_part_is_told_where_the_server_kept_it_too() -> None:
    cause = result('"x"', 404, Content_Type=["text/plain"], Content_Range=["bytes 0-3/9"])
    assert answered({"Error": "States.Http.StatusCode.404", "Cause": cause}).text == "x"


@pytest.mark.parametrize("cause", ["Not Found", "", "{", "{}", '{"why":"x"}', "{not JSON"])
def test_a_cause_that_is_no_kept_answer_is_the_reason(cause: str) -> None:
    response = answered({"Error": "States.Http.StatusCode.404", "Cause": cause})
    assert (response.status_code, response.reason, response.is_body_carried) == (404, cause, False)
    with pytest.raises(BodyNotCarried):
        response.json()


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-16-le"]),
)
def test_any_text_comes_back_in_any_unicode_charset(text: str, charset: str) -> None:
    raw = text.encode(charset)
    response = answered(
        result(json.dumps(raw.decode(charset)), Content_Type=[f"text/plain; charset={charset}"])
    )
    assert response.content.decode(charset) == text


@given(json_values, st.integers(0, 3), st.booleans())
def test_any_spelling_of_json_comes_back_byte_for_byte(
    value: Any, indent: int, is_ascii: bool
) -> None:
    text = json.dumps(value, indent=indent or None, ensure_ascii=is_ascii)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return
    response = answered(result(text, Content_Type=["application/json"]))
    assert response.content == encoded


@given(st.text(alphabet='{}[]":,\\ \n0aSE'))
def test_no_output_whatever_it_is_raises_anything_else(output: str) -> None:
    with suppress(CallFailed, CallRefused, TruncatedResponse):
        answered(output)
    with suppress(CallFailed, CallRefused, TruncatedResponse):
        answered(f'{{"StatusCode":200,"Headers":{output},"ResponseBody":{output}}}')


@given(st.text(max_size=60), st.sampled_from(["", "https://", URL, f"{URL}?"]))
def test_no_url_whatever_it_is_raises_anything_else(tail: str, head: str) -> None:
    with suppress(NotCarried):
        encoded = encode(Request("GET", head + tail))
        assert re.fullmatch(r"https://[!-~]+/[!-~]*", encoded.url)
        assert "?" not in encoded.url
        assert "#" not in encoded.url
