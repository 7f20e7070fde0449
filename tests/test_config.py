"""Settings: where each value comes from, what is refused, and all of it at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from stepout import config
from stepout.config import ServerSettings, is_loopback, load, parse_connect, parse_proxy
from stepout.errors import SettingsError
from stepout.secret import Secret


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = load({}, {}).server
    assert settings == ServerSettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8083)
    assert (settings.account, settings.region) == ("123456789012", "us-east-1")
    assert settings.data is None


def test_a_flag_beats_a_variable_and_a_variable_beats_the_file(elsewhere: Path) -> None:
    (elsewhere / "stepout.toml").write_text(
        '[server]\nport = 1\nregion = "eu-west-1"\naccount = "111111111111"\n'
    )
    environ = {"STEPOUT_PORT": "2", "STEPOUT_REGION": "eu-west-2"}
    loaded = load({"port": "3", "account": None}, environ)
    assert (loaded.server.port, loaded.server.region) == (3, "eu-west-2")
    assert loaded.server.account == "111111111111"
    assert loaded.origins["port"] == "--port"
    assert loaded.origins["region"] == "STEPOUT_REGION"
    assert loaded.origins["account"] == "account in stepout.toml"
    assert loaded.origins["host"] == "default"


def test_lists_come_repeated_separated_or_as_arrays(elsewhere: Path) -> None:
    networks = ("10.0.0.0/8", "fd00::/8")
    assert load({"egress_allow": networks}, {}).server.egress_allow == networks
    environ = {"STEPOUT_EGRESS_ALLOW": "10.0.0.0/8, fd00::/8"}
    assert load({}, environ).server.egress_allow == networks
    file = elsewhere / "my.toml"
    file.write_text('[server]\negress_allow = ["10.0.0.0/8", "fd00::/8"]\n')
    assert load({"egress_allow": ()}, {}, file).server.egress_allow == networks


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"port": "x"}, "--port: Expected a port from 0 to 65535, found 'x'."),
        ({"port": "65536"}, "--port: Expected a port from 0 to 65535, found '65536'."),
        ({"region": "US"}, "--region: Expected a region such as us-east-1, found 'US'."),
        ({"account": "12"}, "--account: Expected an account of 12 digits, found '12'."),
        ({"log_format": "xml"}, "--log-format: Expected text or json, found 'xml'."),
        ({"drain_seconds": "-1"}, "--drain-seconds: Expected seconds from 0 to 3600, found '-1'."),
        ({"repeats": "yes"}, "--repeats: Expected warn, join or off, found 'yes'."),
        ({"max_executions": "0"}, "--max-executions: Expected a whole number from 1 to 1000000"),
        ({"max_requests": "x"}, "--max-requests: Expected a whole number from 1 to 1000000"),
        ({"principal_requests": "-1"}, "--principal-requests: Expected a whole number from 0"),
        ({"principal_rate": "nan"}, "--principal-rate: Expected a rate from 0.001 to 1000000 or 0"),
        ({"principal_rate": "fast"}, "--principal-rate: Expected a rate from 0.001 to 1000000 or"),
        ({"principal_burst": "5"}, "--principal-burst has no meaning without --principal-rate."),
        ({"egress_allow": ("10.0.0.1/8",)}, "--egress-allow: Expected a network such as"),
        ({"egress_connect": ("a:1=b:2",)}, "--egress-connect: Expected HOST:PORT=ADDRESS:PORT"),
        ({"egress_connect": ("1=2",)}, "--egress-connect: Expected HOST:PORT=ADDRESS:PORT"),
        ({"egress_proxy": "https://proxy:1"}, "--egress-proxy: Expected http://HOST:PORT or"),
        ({"egress_proxy": "http://proxy:0"}, "--egress-proxy: Expected http://HOST:PORT or"),
        ({"egress_connections": "0"}, "Expected a whole number from 1 to 65536, found '0'."),
        ({"tls_cert": "c.pem"}, "--tls-cert and --tls-key belong together"),
        ({"host": "0.0.0.0"}, "which others can reach: that needs --tls-cert and --tls-key, or"),
        ({"host": "::"}, "that needs --identities"),
        ({"host": "::", "open": "true"}, "--open lets anybody in; it is for loopback"),
        ({"open": "false"}, "--closed needs --identities"),
        ({"host": "example.com", "egress_connect": ("a:1=127.0.0.1:2",)}, "on loopback only"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_origin(flags: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags, {})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://proxy.internal:3128", ("proxy.internal", 3128, None)),
        ("http://[::1]:3128/", ("::1", 3128, None)),
        ("http://ann:p%40ss:w%2F@10.0.0.1:80", ("10.0.0.1", 80, Secret("ann:p@ss:w/"))),
    ],
)
def test_a_proxy_is_a_url_whose_password_is_not_shown(
    url: str, parts: tuple[str, int, Secret | None]
) -> None:
    settings = load({"egress_proxy": url}, {}).server
    assert settings.egress_proxy is not None
    assert parse_proxy(settings.egress_proxy) == parts
    assert "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["http://ann:sesame@", "http://ann:sesame@a:b@c:1", "sesame", "http://sesame@a:1"]
)
def test_a_proxy_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"egress_proxy": url}, {})
    assert "sesame" not in str(caught.value)


def test_all_problems_are_told_at_once(elsewhere: Path) -> None:
    file = elsewhere / "stepout.toml"
    file.write_text('[server]\nport = "x"\ncolour = 1\n')
    with pytest.raises(SettingsError) as caught:
        load({}, {"STEPOUT_REGION": "?"})
    assert str(caught.value).splitlines() == [
        "port in stepout.toml: Expected a port from 0 to 65535, found 'x'.",
        "STEPOUT_REGION: Expected a region such as us-east-1, found '?'.",
        "stepout.toml: [server] has no setting 'colour'.",
    ]


@pytest.mark.parametrize("text", ["[server", "server = 1", "\xff"])
def test_a_file_that_cannot_be_read_is_told(elsewhere: Path, text: str) -> None:
    (elsewhere / "stepout.toml").write_text(text, "latin-1")
    with pytest.raises(SettingsError, match="stepout.toml"):
        load({}, {})


def test_a_file_that_is_named_must_exist(elsewhere: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere.toml cannot be read"):
        load({}, {}, elsewhere / "nowhere.toml")


def test_every_setting_is_documented_where_it_stands() -> None:
    source = Path(config.__file__).read_text()
    for setting in fields(ServerSettings):
        after = source.split(f"\n    {setting.name}: ", 1)[1]
        assert after.split("\n", 2)[1].strip().startswith('"""'), setting.name


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def test_connect_entries_name_a_host_and_an_address() -> None:
    assert parse_connect(["API.example.com:443=127.0.0.1:9443", "b.example:1=[::1]:2"]) == {
        ("api.example.com", 443): ("127.0.0.1", 9443),
        ("b.example", 1): ("::1", 2),
    }


@pytest.mark.parametrize(
    ("flags", "is_open"),
    [
        ({}, True),
        ({"identities": "users.toml"}, False),
        ({"identities": "users.toml", "open": "true"}, True),
        ({"host": "0.0.0.0", "insecure_network": "true"}, True),
        ({"host": "0.0.0.0", "insecure_network": "true", "identities": "users.toml"}, False),
    ],
)
def test_unknown_keys_are_let_in_where_there_are_no_identities(
    flags: dict[str, Any], is_open: bool
) -> None:
    assert load(flags, {}).server.is_open is is_open
