"""The upstreams file: closed prefixes, secrets that do not stand in it, all problems at once."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.egress.http import _FRAMING
from stepout.errors import SettingsError, UnknownUpstream
from stepout.gateway.codec import encode
from stepout.gateway.connections import connection_request
from stepout.gateway.definition import gateway_machine
from stepout.gateway.messages import Request
from stepout.gateway.upstreams import METHODS, OWN_STATES, Upstreams
from stepout.secret import Source


def one(**settings: str) -> Upstreams:
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    return Upstreams.parse(f"[upstream.a]\n{lines}")


def problem_of(**settings: str) -> str:
    with pytest.raises(SettingsError) as caught:
        one(**{"url": '"https://a.example.com/"', **settings})
    (line,) = str(caught.value).splitlines()
    return line.removeprefix("The upstreams file: [upstream.a]: ")


def test_little_has_to_be_said() -> None:
    (upstream,) = one(
        url='"https://api.stripe.com/v1/"', methods='["GET", "POST"]', auth='"api-key"'
    )
    assert (upstream.name, upstream.url) == ("a", "https://api.stripe.com/v1/")
    assert upstream.methods == ("GET", "POST")
    assert (upstream.header, upstream.credential_header) == ("x-api-key", "x-api-key")
    assert upstream.secret == Source("env", "STEPOUT_SECRET_A")
    assert (upstream.caller_auth, upstream.retries, upstream.timeout) == ("drop", 0, 60)


def test_an_api_without_a_credential_takes_every_method_and_no_credential_of_callers() -> None:
    (upstream,) = one(url='"https://a.example.com"')
    assert (upstream.url, upstream.methods) == ("https://a.example.com/", METHODS)
    assert (upstream.caller_auth, upstream.credential_header) == ("refuse", None)
    assert upstream.secret is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a.example.com/", "begins with https://"),
        ("https://a.example.com/v1", "end it with a slash: 'https://a.example.com/v1/'"),
        ("https://a.example.com/?x=1", "without user, query and fragment"),
        ("https://a.example.com/#x", "without user, query and fragment"),
        ("https://me@a.example.com/", "without user, query and fragment"),
        ("https://A.example.com/", "a host name in lower case"),
        ("https://ä.example.com/", "a host name in lower case and in ASCII"),
        ("https://127.0.0.1/", "a host name"),
        ("https://[::1]/", "a host name"),
        ("https://*.example.com/", "a host name"),
        ("https:///", "a host name"),
        ("https://a.example.com./", "a host name"),
        ("https://a.example.com:x/", "expected a URL"),
        ("https://a.example.com/../", "a path of plain names"),
        ("https://a.example.com/%2e%2e/", "a path of plain names"),
        ("https://a.example.com/*/", "a path of plain names"),
        ("https://a.example.com//x/", "a path of plain names"),
        ("", "expected a text"),
    ],
)
def test_a_prefix_that_is_not_closed_is_refused(url: str, message: str) -> None:
    assert message in problem_of(url=f"'{url}'")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": '["get"]'}, "expected a list of GET, POST"),
        ({"methods": "[]"}, "expected a list of GET, POST"),
        ({"auth": '"magic"'}, "expected 'none' or 'api-key' or 'basic' or 'oauth'"),
        ({"auth": '"basic"'}, "'username' is missing."),
        ({"header": '"X-Key"'}, "'header' does not go with auth = \"none\"."),
        ({"auth": '"api-key"', "username": '"me"'}, "'username' does not go with auth"),
        ({"auth": '"api-key"', "header": '"X Key"'}, "expected a header's name"),
        ({"auth": '"api-key"', "secret": '{ env = "A", file = "b" }'}, "say where it is"),
        ({"retries": "9"}, "expected a whole number from 0 to 5, found 9"),
        ({"retries": "true"}, "expected a whole number"),
        ({"timeout": "0"}, "expected a whole number from 1 to 60"),
        ({"caller_auth": '"keep"'}, "expected 'refuse' or 'drop'"),
        ({"colour": '"red"'}, "colour: there is no such key; there are: url, methods"),
    ],
)
def test_what_a_setting_may_be(settings: dict[str, str], message: str) -> None:
    assert message in problem_of(**settings)


def test_a_secret_in_the_file_is_refused_and_not_shown() -> None:
    told = problem_of(auth='"api-key"', secret='"sk_live_4711"')
    assert "a secret does not stand in this file" in told
    assert "4711" not in told


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "upstreams.toml"
    file.write_text(
        '[gatway]\n[upstream.a]\nurl = "http://a/"\nfoo = 1\n[upstream.b]\nauth = "oauth"\n'
        '[upstream."c d"]\nurl = "https://c.example.com/"\n'
    )
    with pytest.raises(SettingsError) as caught:
        Upstreams.load(file)
    told = str(caught.value).splitlines()
    assert len(told) == 7
    assert all(line.startswith(f"{file}: ") for line in told)


@pytest.mark.parametrize("text", ["", "upstream = 1", "[upstream]", "url = "])
def test_a_file_without_upstreams_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        Upstreams.parse(text)


def test_two_upstreams_of_one_url_are_refused() -> None:
    text = '[upstream.a]\nurl = "https://a.example.com"\n[upstream.b]\nurl = "https://a.example.com:443/"'
    with pytest.raises(
        SettingsError, match=r"\[upstream\.b\] and \[upstream\.a\] have the same url"
    ):
        Upstreams.parse(text)


def test_a_url_belongs_to_the_longest_prefix() -> None:
    upstreams = Upstreams.parse(
        '[upstream.a]\nurl = "https://a.example.com/"\n[upstream.b]\nurl = "https://a.example.com/b/"'
    )
    assert upstreams.route("https://a.example.com/b/x").name == "b"
    assert upstreams.route("https://a.example.com/bx").name == "a"
    with pytest.raises(UnknownUpstream, match="a: https://a.example.com/") as caught:
        upstreams.route("https://b.example.com/")
    assert caught.value.known == {"b": "https://a.example.com/b/", "a": "https://a.example.com/"}


# --- Secrets --------------------------------------------------------------------------------------


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("in a file\r\n")
    assert Source("env", "A").read({"A": "in a variable"}).reveal() == "in a variable"
    assert Source("file", str(tmp_path / "secret")).read({}).reveal() == "in a file"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source("env", "A"), "a secret in the variable A, found nothing"),
        (Source("file", "/nowhere/at/all"), "The secret in /nowhere/at/all cannot be read"),
        (Source("file", "/dev/null"), "a secret in the file /dev/null, found nothing"),
    ],
)
def test_a_secret_that_is_nowhere_is_told(source: Source, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        source.read({"A": ""})


@pytest.mark.parametrize(
    ("settings", "kind", "parameters"),
    [
        ({}, "API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": "X-No-Auth", "ApiKeyValue": "none"}}),
        (
            {"auth": '"api-key"', "header": '"Authorization"', "prefix": '"Bearer "'},
            "API_KEY",
            {"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": "Bearer s3"}},
        ),
        (
            {"auth": '"basic"', "username": '"me"'},
            "BASIC",
            {"BasicAuthParameters": {"Username": "me", "Password": "s3"}},
        ),
        (
            {"auth": '"oauth"', "client_id": '"id"', "token_url": '"https://t.example.com/"', "scope": '"r w"'},
            "OAUTH_CLIENT_CREDENTIALS",
            {
                "OAuthParameters": {
                    "AuthorizationEndpoint": "https://t.example.com/",
                    "HttpMethod": "POST",
                    "ClientParameters": {"ClientID": "id", "ClientSecret": "s3"},
                    "OAuthHttpParameters": {
                        "BodyParameters": [
                            {"Key": "grant_type", "Value": "client_credentials", "IsValueSecret": False},
                            {"Key": "scope", "Value": "r w", "IsValueSecret": False},
                        ]
                    },
                }
            },
        ),
    ],
)  # fmt: skip
def test_the_connection_of_each_kind(
    settings: dict[str, str], kind: str, parameters: dict[str, object]
) -> None:
    (upstream,) = one(url='"https://a.example.com/"', **settings)
    secret = upstream.secret.read({"STEPOUT_SECRET_A": "s3"}) if upstream.secret else None
    request = connection_request(upstream, secret)
    assert (request["Name"], request["AuthorizationType"]) == ("stepout-a", kind)
    assert request["AuthParameters"] == parameters
    assert "s3" not in repr(upstream)


# --- Headers for keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Host", "host", "Range", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Expect",
     "User-Agent", "Content-Type", "If-None-Match", "X-Amzn-Trace-Id"],
)  # fmt: skip
def test_a_header_that_frames_or_changes_the_request_holds_no_key(name: str) -> None:
    found = problem_of(auth='"api-key"', header=f'"{name}"')
    assert found.startswith(f"header: expected a header that may hold a key, found '{name}'")


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "X-Api-Key", "x-amz-access-token", "Origin"]
)
def test_every_other_header_may_hold_a_key(name: str) -> None:
    (upstream,) = one(url='"https://a.example.com/"', auth='"api-key"', header=f'"{name}"')
    assert upstream.credential_header == name.lower()


def test_no_header_that_frames_a_request_may_hold_a_key() -> None:
    """What the server's guard would refuse with every request is refused where it is written."""
    for name in _FRAMING:
        assert problem_of(auth='"api-key"', header=f'"{name}"').startswith("header: ")


def test_wrong_headers_are_told_with_all_other_problems() -> None:
    with pytest.raises(SettingsError) as caught:
        Upstreams.parse(
            '[upstream.a]\nurl = "https://a.example.com/"\nauth = "api-key"\nheader = "Host"\nretries = 9\n'
            '[upstream.b]\nurl = "https://b.example.com/"\nauth = "api-key"\nheader = "Range"\n'
        )
    lines = str(caught.value).splitlines()
    assert ["Host" in lines[0], "retries" in lines[1], "Range" in lines[2]] == [True] * 3


# --- Hostile files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Answer", "Failed", "Outcome", "Route"])
def test_an_upstream_cannot_take_the_place_of_a_state(name: str) -> None:
    """With the name of Route, its Task would stand where the requests are routed."""
    with pytest.raises(SettingsError, match="a state of the gateway machine has this name"):
        Upstreams.parse(f'[upstream.{name}]\nurl = "https://a.example.com/"')


def test_every_state_of_the_machine_is_kept_from_upstreams() -> None:
    upstreams = one(url='"https://a.example.com/"', methods='["GET"]', retries="1")
    states = gateway_machine(upstreams, {"a": "arn"})["States"]
    own = {name for name, state in states.items() if state["Type"] != "Task"}
    # No name of an upstream has a blank.
    assert {name for name in own if " " not in name} == OWN_STATES


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://a.example.com/..;/", "a path of plain names"),
        ("https://a.example.com/..a/", "a path of plain names"),
        ("https://a.example.com/./", "a path of plain names"),
        ("https://a.example.com/a b/", "a path of plain names"),
        ("https://a.example.com/a\\b/", "a path of plain names"),
        ("https://a.example.com/ä/", "a path of plain names"),
        ("https://a.example.com/?", "without user, query and fragment"),
        ("https://a.example.com/#", "without user, query and fragment"),
        ("https://@a.example.com/", "without user, query and fragment"),
        ("https://a.example.com\\@b.example.com/", "without user, query and fragment"),
        ("https://a.example.com\\.b.example.com/", "a host name"),
        ("https://a.example.com%2fb/", "a host name"),
        ("https://a_b.example.com/", "a host name"),
        ("https://a..example.com/", "a host name"),
        ("https://-a.example.com/", "a host name"),
        ("https://1.2.3.4/", "a host name"),
        ("https://0x7f.1/", "a host name"),
        ("https://a.example.c/", "a host name"),
        (f"https://{'a' * 64}.example.com/", "a host name"),
        (f"https://{'a.' * 130}example.com/", "a host name"),
        ("https://a.example.com:0/", "a port from 1 to 65535"),
        ("https://a.example.com:65536/", "expected a URL"),
        ("https://[::1", "expected a URL"),
        ("//a.example.com/", "begins with https://"),
        ("https:a.example.com/", "a host name"),
        ("javascript:https://a.example.com/", "begins with https://"),
        (f"https://a.example.com/{'a' * 2_048}/", "expected a text"),
    ],
)  # fmt: skip
def test_a_hostile_prefix_is_refused(url: str, message: str) -> None:
    assert message in problem_of(url=f"'{url}'")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("HTTPS://a.example.com/", "https://a.example.com/"),
        ("https://a.example.com:", "https://a.example.com/"),
        ("https://a.example.com:443", "https://a.example.com/"),
        ("https://a.example.com:8443/v1/", "https://a.example.com:8443/v1/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://localhost/", "https://localhost/"),
        ("https://a.example.com/~me/a:b/x.y/", "https://a.example.com/~me/a:b/x.y/"),
    ],
)
def test_a_prefix_is_kept_in_one_spelling(url: str, kept: str) -> None:
    assert one(url=f'"{url}"').items[0].url == kept


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Z"]), max_size=30))
def test_every_prefix_that_is_taken_is_closed(tail: str) -> None:
    text = f"[upstream.a]\nurl = {json.dumps('https://a.example.com' + tail)}"
    try:
        (upstream,) = Upstreams.parse(text)
    except SettingsError:
        return
    host = upstream.url.split("/")[2]
    assert upstream.url.startswith("https://")
    assert upstream.url.endswith("/")
    assert not set("*?#@\\% ") & set(upstream.url)
    # The client takes what lies below it, or else nobody could.
    encoded = encode(Request("GET", f"{upstream.url}x"), Upstreams((upstream,)))
    assert encoded.url == f"{upstream.url}x"
    assert host.startswith("a.example.com")


@pytest.mark.parametrize(
    "token_url",
    [
        "http://t.example.com/",
        "https:///token",
        "https://me:pw@t.example.com/",
        "https://t.example.com:x/",
        "https://t.example.com:0/",
        "https://[::1/",
        " https://t.example.com/",
        "https://t.example.com/#x",
        "",
    ],
)
def test_a_token_url_is_an_https_url(token_url: str) -> None:
    oauth = {"auth": '"oauth"', "client_id": '"id"'}
    assert problem_of(**oauth, token_url=f"'{token_url}'").startswith("token_url: expected ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": '["GET", 1]'}, "expected a list of GET, POST"),
        ({"methods": '"GET"'}, "expected a list of GET, POST"),
        ({"methods": "[[]]"}, "expected a list of GET, POST"),
        ({"auth": "[]"}, "expected 'none' or 'api-key'"),
        ({"auth": '"oauth"', "client_id": '"x"'}, "'token_url' is missing."),
        ({"auth": '"basic"', "username": '""'}, "expected a text"),
        ({"auth": '"basic"', "username": '"a\\tb"'}, "expected a text"),
        ({"auth": '"api-key"', "header": '"X-Key\\r\\nX: y"'}, "expected a header's name"),
        ({"auth": '"api-key"', "header": '""'}, "expected a header's name"),
        ({"auth": '"api-key"', "prefix": '"Bearer \\n"'}, "expected a text"),
        ({"scope": '"r"'}, "'scope' does not go with auth = \"none\"."),
        ({"secret": '{ env = "A" }'}, "'secret' does not go with auth = \"none\"."),
        ({"auth": '"api-key"', "secret": "{ env = 1 }"}, "say where it is"),
        ({"auth": '"api-key"', "secret": '{ env = "" }'}, "say where it is"),
        ({"auth": '"api-key"', "secret": "{}"}, "say where it is"),
        ({"retries": "-1"}, "expected a whole number from 0 to 5"),
        ({"retries": "1.0"}, "expected a whole number from 0 to 5"),
        ({"timeout": "61"}, "expected a whole number from 1 to 60"),
        ({"caller_auth": "true"}, "expected 'refuse' or 'drop'"),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_refused(settings: dict[str, str], message: str) -> None:
    assert message in problem_of(**settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[gateway]\nmachine = "a b"', r"[gateway]: machine: expected a name of a state machine"),
        ("[gateway]\npassthrough = 1", r"[gateway]: passthrough: expected true or false, found 1."),
        ("gateway = 1", r"[gateway]: expected a table, found 1."),
        ("[gateway]\nmachines = 1", "machines: there is no such key; did you mean 'machine'?"),
        ('[upstream."9a"]\nurl = "https://b.example.com/"', "that begins with a letter"),
        ('[upstream."a.b"]\nurl = "https://b.example.com/"', "letters, digits, '-' and '_'"),
        (f'[upstream.{"a" * 49}]\nurl = "https://b.example.com/"', "48 at most"),
    ],
)
def test_what_stands_beside_an_upstream_is_read_as_strictly(text: str, message: str) -> None:
    given = f'{text}\n[upstream.good]\nurl = "https://a.example.com/"\n'
    with pytest.raises(SettingsError) as caught:
        Upstreams.parse(given)
    (line,) = str(caught.value).splitlines()
    assert message in line


def test_the_settings_of_the_gateway_are_taken() -> None:
    found = Upstreams.parse(
        '[gateway]\nmachine = "out"\npassthrough = true\n[upstream.a]\nurl = "https://a.example.com"'
    )
    assert (found.machine, found.has_passthrough) == ("out", True)


def test_problems_of_all_upstreams_are_told_with_their_places() -> None:
    with pytest.raises(SettingsError) as caught:
        Upstreams.parse(
            'other = 1\n[gateway]\nmachine = ""\n[upstream.a]\nretries = 9\ntimeout = 0\n'
            '[upstream.b]\nurl = "https://b.example.com"\nauth = "basic"\nscope = "x"\n',
            "it",
        )
    assert [line.split(" expected")[0].split(" found")[0] for line in str(caught.value).splitlines()] == [
        "it:",
        "it: [gateway]: machine:",
        "it: [upstream.a]: retries:",
        "it: [upstream.a]: timeout:",
        "it: [upstream.a]: 'url' is missing.",
        "it: [upstream.b]: 'username' is missing.",
        "it: [upstream.b]: 'scope' does not go with auth = \"basic\".",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[upstream", b"\x00"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "upstreams.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="upstreams.toml"):
        Upstreams.load(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        Upstreams.load(tmp_path)


@pytest.mark.parametrize(
    "line",
    ['key = "sk_live_4711"', 'secret = { key = "sk_live_4711" }', 'secret = ["sk_live_4711"]',
     'secret = { env = "A", value = "sk_live_4711" }', 'password = "sk_live_4711"', 'api_key = "sk_live_4711'],
)  # fmt: skip
def test_a_secret_in_a_wrong_place_is_not_shown(line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Upstreams.parse(f'[upstream.a]\nurl = "https://a.example.com/"\nauth = "api-key"\n{line}\n')
    assert "4711" not in str(caught.value)


def test_a_secret_stays_hidden_in_whatever_is_printed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk_live_4711\n")
    secret = Source("file", str(tmp_path / "key")).read({})
    assert "4711" not in f"{secret} {secret!r} {secret:>30} {[secret]}"


def test_an_upstream_below_another_has_its_own_requests_whatever_the_order_of_the_file() -> None:
    urls = ["https://a.example.com/", "https://a.example.com/b/c/", "https://a.example.com/b/"]
    for order in permutations(urls):
        text = "".join(f'[upstream.u{url.count("/")}]\nurl = "{url}"\n' for url in order)
        found = Upstreams.parse(text)
        assert found.names == ("u5", "u4", "u3")
        assert found.route("https://a.example.com/b/c/d").name == "u5"
        assert found.route("https://a.example.com/b/cd").name == "u4"


@pytest.mark.parametrize(("first", "second"), [("a-b", "a_b"), ("a", "A")])
def test_two_names_that_lead_to_one_variable_are_told(first: str, second: str) -> None:
    """One API would get the other's credential."""
    tables = [
        f'[upstream.{name}]\nurl = "https://{number}.example.com/"\nauth = "api-key"\n'
        for number, name in (("one", first), ("two", second))
    ]
    with pytest.raises(SettingsError, match="would have the same secret, STEPOUT_SECRET_A"):
        Upstreams.parse("".join(tables))
    # Whoever says so means it.
    tables[1] += 'secret = { env = "STEPOUT_SECRET_A" }\n'
    assert len(Upstreams.parse("".join(tables)).items) == 2
