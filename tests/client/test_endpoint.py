"""Where the service is and who calls it, as botocore's settings have it."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import DeferredRefreshableCredentials, RefreshableCredentials
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.session import Session
from tests.client.raw import FINE, MACHINE, RawServer, serving

from stepout.certificates import Authority
from stepout.client import AsyncGateway, Gateway
from stepout.client.endpoint import Endpoint
from stepout.errors import SettingsError

REAL = "https://sync-states.eu-west-1.amazonaws.com/"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but a test's own."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def configured(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)


# --- The ARN --------------------------------------------------------------------------------------


def arn(partition: str = "aws", region: str = "eu-west-1", name: str = "gateway") -> str:
    return f"arn:{partition}:states:{region}:123456789012:stateMachine:{name}"


@pytest.mark.parametrize(
    ("machine", "region", "host"),
    [
        (arn(), "eu-west-1", "sync-states.eu-west-1.amazonaws.com"),
        (arn(region="us-gov-west-1", partition="aws-us-gov"), "us-gov-west-1", "sync-states.us-gov-west-1.amazonaws.com"),
        (arn(region="cn-north-1", partition="aws-cn"), "cn-north-1", "sync-states.cn-north-1.amazonaws.com.cn"),
        (arn(region="us-iso-east-1", partition="aws-iso"), "us-iso-east-1", "sync-states.us-iso-east-1.c2s.ic.gov"),
        (arn(region="eusc-de-east-1", partition="aws-eusc"), "eusc-de-east-1", "sync-states.eusc-de-east-1.amazonaws.eu"),
        (arn(name="gateway:PROD"), "eu-west-1", "sync-states.eu-west-1.amazonaws.com"),
        (arn(name="gateway:12"), "eu-west-1", "sync-states.eu-west-1.amazonaws.com"),
        (arn(name="g_ä.1-x"), "eu-west-1", "sync-states.eu-west-1.amazonaws.com"),
    ],
)  # fmt: skip
def test_the_arn_says_region_and_host(machine: str, region: str, host: str) -> None:
    endpoint = Endpoint(machine)
    assert (endpoint.machine_arn, endpoint.region) == (machine, region)
    assert (endpoint.url, endpoint.host, endpoint.hostname) == (f"https://{host}/", host, host)
    assert (endpoint.port, endpoint.path, endpoint.is_tls) == (443, "/", True)


def test_the_domain_of_every_partition_is_that_of_botocore() -> None:
    for partition in Loader().load_data("endpoints")["partitions"]:
        region = next(iter(partition["regions"]))
        endpoint = Endpoint(arn(partition["partition"], region))
        assert endpoint.url == f"https://sync-states.{region}.{partition['dnsSuffix']}/"


@pytest.mark.parametrize(
    "machine",
    ["", "gateway", "arn:aws:states:eu-west-1:123456789012:execution:gateway:x", "arn:aws:states:eu-west-1:1234:stateMachine:g",
     "arn:aws:states::123456789012:stateMachine:g", "arn:aws:events:eu-west-1:123456789012:connection/x/y",
     "arn:aws:states:eu-west-1:123456789012:express:g:x:y", f"{arn()}\n", f" {arn()}", arn(name=""), arn(name="a b"),
     arn(region="evil.test/"), arn(region="a@evil.test#"), arn(name="x" * 81)],
)  # fmt: skip
def test_what_is_no_arn_of_a_machine_is_refused(machine: str) -> None:
    with pytest.raises(SettingsError, match="Expected the ARN of a state machine, such as"):
        Endpoint(machine)


# --- The endpoint ---------------------------------------------------------------------------------

CONFIG = """
[default]
endpoint_url = http://config-global:1
services = mine
[services mine]
sfn =
  endpoint_url = http://config-service:1
"""


@pytest.mark.parametrize(
    ("given", "environ", "config", "url"),
    [
        (None, {}, "", REAL),
        ("http://given:1", {"AWS_ENDPOINT_URL_SFN": "http://service:1"}, CONFIG, "http://given:1"),
        (None, {"AWS_ENDPOINT_URL_SFN": "http://service:1", "AWS_ENDPOINT_URL": "http://all:1"}, CONFIG, "http://service:1"),
        (None, {"AWS_ENDPOINT_URL": "http://all:1"}, CONFIG, "http://all:1"),
        (None, {}, CONFIG, "http://config-service:1"),
        (None, {}, "[default]\nendpoint_url = http://config-global:1", "http://config-global:1"),
        (None, {"AWS_PROFILE": "p"}, "[profile p]\nendpoint_url = http://of-p:1", "http://of-p:1"),
        (None, {"AWS_ENDPOINT_URL_EVENTBRIDGE": "http://other:1"}, "", REAL),
        (None, {"AWS_ENDPOINT_URL_SFN": ""}, "", REAL),
    ],
)  # fmt: skip
def test_the_endpoint_is_found_in_the_order_of_botocore(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: str | None,
    environ: Mapping[str, str],
    config: str,
    url: str,
) -> None:
    configured(tmp_path, config)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Endpoint(MACHINE, given).url == url


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, CONFIG),
        ({}, CONFIG.replace("[default]", "[default]\nignore_configured_endpoint_urls = true")),
    ],
)  # fmt: skip
def test_configured_endpoints_are_ignored_where_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: Mapping[str, str], config: str
) -> None:
    configured(tmp_path, config)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "http://service:1")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Endpoint(MACHINE).url == REAL
    # What a program gives itself is not configured.
    assert Endpoint(MACHINE, "http://given:1").url == "http://given:1"


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://127.0.0.1:8083", "127.0.0.1:8083", 8083, "/"),
        ("https://vpce-1.sync-states.eu-west-1.vpce.amazonaws.com", "vpce-1.sync-states.eu-west-1.vpce.amazonaws.com", 443, "/"),
        ("HTTP://Host.Example.com/base/", "host.example.com", 80, "/base/"),
        ("http://[::1]:8083/", "[::1]:8083", 8083, "/"),
    ],
)  # fmt: skip
def test_an_endpoint_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    endpoint = Endpoint(MACHINE, url)
    assert (endpoint.host, endpoint.port, endpoint.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8083", "ftp://x/", "http://", "http:///x", "http://[::1", "http://x:99999/", "http://x:y/", "localhost", "//x"],
)  # fmt: skip
@pytest.mark.parametrize("by_variable", [False, True])
def test_what_is_no_endpoint_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, by_variable: bool
) -> None:
    if by_variable:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", url)
    with pytest.raises(SettingsError, match="Expected the http or https URL of an endpoint, found"):
        Endpoint(MACHINE, None if by_variable else url)


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(SettingsError, match="nowhere"):
        Endpoint(MACHINE)


def test_a_config_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    configured(tmp_path, "[default\n")
    with pytest.raises(SettingsError, match="The AWS settings cannot be read: "):
        Endpoint(MACHINE)


# --- TLS and proxies ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["variable", "config"])
def test_the_ca_bundle_of_botocore_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    authority = Authority.create("mine")
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    if where == "variable":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    else:
        configured(tmp_path, f"[default]\nca_bundle = {tmp_path / 'ca.pem'}\n")
    with (
        RawServer(serving(FINE), context=authority.server_context("127.0.0.1")) as server,
        Gateway(MACHINE, endpoint_url=server.url) as gateway,
    ):
        assert gateway.request("GET", "https://a.example.com/").text == "fine"


def test_tls_checks_names_and_takes_nothing_old() -> None:
    context = Endpoint(MACHINE).tls()
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 50
    assert Endpoint(MACHINE, "http://x/").tls() is None


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_bundle_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    for kind in (Gateway, AsyncGateway):
        with pytest.raises(SettingsError, match=r"The CA bundle .*ca\.pem cannot be read"):
            kind(MACHINE)


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, REAL, None),
        ({"https_proxy": "http://p:1"}, REAL, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, REAL, "http://p:1"),
        ({"http_proxy": "http://p:1"}, REAL, None),
        ({"http_proxy": "http://p:1"}, "http://x/", "http://p:1"),
        ({"https_proxy": "p:1"}, REAL, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": ".amazonaws.com"}, REAL, None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, REAL, None),
        ({"https_proxy": "http://p:1", "no_proxy": "other"}, REAL, "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.7"}, "http://10.0.0.7:8083", None),
        ({"http_proxy": "http://p:1"}, "http://127.0.0.1:8083", None),
        ({"https_proxy": "http://p:1"}, "https://localhost:8083", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://[::1]:8083/", None),
        ({"all_proxy": "http://p:1"}, "https://LOCALHOST/", None),
        ({"http_proxy": "http://p:1"}, "http://localhost.example.com/", "http://p:1"),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = Endpoint(MACHINE, url).proxy
    assert (None if found is None else found.url) == proxy


def test_a_proxy_shows_neither_its_password_nor_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:s3cr3t@p:1")
    proxy = Endpoint(MACHINE).proxy
    assert proxy is not None
    assert proxy.host == "p:1"
    assert proxy.headers == {"Proxy-Authorization": "Basic bWU6czNjcjN0"}
    assert "s3cr3t" not in repr(proxy)
    assert "bWU6czNjcjN0" not in repr(proxy)


# --- Credentials ----------------------------------------------------------------------------------


def test_credentials_come_from_the_environment_with_their_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the token")
    endpoint = Endpoint(MACHINE)
    assert endpoint.needs_time
    found = endpoint.credentials()
    assert (found.access_key_id, found.secret.reveal(), found.token) == ("AKIDTEST", "s3cr3t", "the token")  # fmt: skip
    assert not endpoint.needs_time
    assert "s3cr3t" not in repr(found)


@pytest.mark.parametrize("file", ["config", "credentials"])
def test_credentials_come_from_a_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    head = "[profile p]" if file == "config" else "[p]"
    (tmp_path / "config").write_text("[profile p]\n")
    (tmp_path / file).write_text(f"{head}\naws_access_key_id = AKIDP\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_PROFILE", "p")
    assert Endpoint(MACHINE).credentials().access_key_id == "AKIDP"


def test_credentials_of_a_session_of_ones_own_are_taken() -> None:
    session = Session()
    session.set_credentials("AKIDOWN", "s", "t")
    found = Endpoint(MACHINE, session=session).credentials()
    assert (found.access_key_id, found.token) == ("AKIDOWN", "t")


def test_no_credentials_are_told_and_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(MACHINE)
    with pytest.raises(SettingsError, match="No AWS credentials were found. Inside AWS they come"):
        endpoint.credentials()
    assert endpoint.needs_time
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    # botocore keeps the environment that it saw first; a new session sees the new one.
    assert Endpoint(MACHINE).credentials().access_key_id == "AKIDTEST"


async def test_both_gateways_tell_that_there_are_no_credentials_and_send_nothing() -> None:
    with RawServer(serving(FINE)) as server:
        with Gateway(MACHINE, endpoint_url=server.url) as gateway, pytest.raises(SettingsError):
            gateway.request("GET", "https://a.example.com/")
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as async_gateway:
            with pytest.raises(SettingsError):
                await async_gateway.request("GET", "https://a.example.com/")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIDTEST"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "broken"}, "cannot be read"),
    ],
)
def test_credentials_by_halves_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: Mapping[str, str], told: str
) -> None:
    configured(
        tmp_path,
        "[profile broken]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = nowhere\n",
    )
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=told):
        Endpoint(MACHINE).credentials()


class Renewed:
    """A source of credentials that end after a quarter of an hour; counts what it gave."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> dict[str, str]:
        self.given += 1
        return {
            "access_key": f"AKID{self.given}",
            "secret_key": "s",
            "token": f"token {self.given}",
            "expiry_time": (datetime.now(UTC) + timedelta(hours=6)).isoformat(),
        }


def test_credentials_that_end_are_renewed_before_a_call() -> None:
    source = Renewed()
    session: Any = Session()
    over = {**source(), "expiry_time": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    session._credentials = RefreshableCredentials.create_from_metadata(over, source, "test")
    endpoint = Endpoint(MACHINE, session=session)
    assert endpoint.credentials().token == "token 2"
    assert not endpoint.needs_time
    assert endpoint.credentials().token == "token 2"


async def test_a_renewed_token_is_what_a_call_is_signed_with() -> None:
    source = Renewed()
    session: Any = Session()
    session._credentials = DeferredRefreshableCredentials(source, "test")
    with RawServer(serving(FINE)) as server:
        with Gateway(MACHINE, endpoint_url=server.url, session=session) as gateway:
            gateway.request("GET", "https://a.example.com/")
        async with AsyncGateway(MACHINE, endpoint_url=server.url, session=session) as later:
            await later.request("GET", "https://a.example.com/")
    assert source.given == 1
    for request in server.requests:
        assert b"x-amz-security-token: token 1\r\n" in request
        assert b"AKID1/" in request


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "AccessDenied", "Message": "not this role"}}, "AssumeRole"),
        RuntimeError(
            "Credentials were refreshed, but the refreshed credentials are still expired."
        ),
    ],
)
def test_credentials_that_cannot_be_renewed_are_told(error: Exception) -> None:
    def fail() -> Any:
        raise error

    session: Any = Session()
    session._credentials = DeferredRefreshableCredentials(fail, "assume-role")
    with pytest.raises(SettingsError, match="The AWS credentials cannot be read: "):
        Endpoint(MACHINE, session=session).credentials()


def test_a_credential_process_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "keys"
    found = {"Version": 1, "AccessKeyId": "AKIDPROC", "SecretAccessKey": "s"}
    script.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    script.chmod(0o755)
    configured(tmp_path, f"[default]\ncredential_process = {script}\n")
    assert Endpoint(MACHINE).credentials().access_key_id == "AKIDPROC"
    script.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    with pytest.raises(SettingsError, match="The AWS credentials cannot be read: "):
        Endpoint(MACHINE).credentials()
