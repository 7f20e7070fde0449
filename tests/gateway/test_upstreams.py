"""The upstreams file: closed prefixes, secrets that do not stand in it, all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepout.errors import SettingsError, UnknownUpstream
from stepout.gateway.connections import connection_request
from stepout.gateway.upstreams import METHODS, Source, Upstreams


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
        ({"auth": '"magic"'}, "expected one of none, api-key, basic, oauth"),
        ({"auth": '"basic"'}, "'username' is missing."),
        ({"header": '"X-Key"'}, "'header' does not go with auth = \"none\"."),
        ({"auth": '"api-key"', "username": '"me"'}, "'username' does not go with auth"),
        ({"auth": '"api-key"', "header": '"X Key"'}, "expected a header's name"),
        ({"auth": '"api-key"', "secret": '{ env = "A", file = "b" }'}, "say where it is"),
        ({"retries": "9"}, "expected a whole number from 0 to 5, found 9"),
        ({"retries": "true"}, "expected a whole number"),
        ({"timeout": "0"}, "expected a whole number from 1 to 60"),
        ({"caller_auth": '"keep"'}, "expected one of refuse, drop"),
        ({"colour": '"red"'}, "there is no setting 'colour'; there are: url, methods"),
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
