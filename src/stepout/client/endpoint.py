"""Where the service is, and who calls it: what botocore knows of the surroundings."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.session import Session
from botocore.utils import get_environ_proxies

from stepout.config import is_loopback
from stepout.errors import SettingsError
from stepout.secret import Secret

__all__ = ["Credentials", "Endpoint", "Proxy"]

_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):states:(?P<region>[a-z0-9-]+):\d{12}:stateMachine:"
    r"[^\s:]{1,80}(:[^\s:]{1,80})?(#[^\s#]{1,80})?"
)

_SUFFIXES: Final[Mapping[str, str]] = {
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""Partition → its domain; amazonaws.com for the others."""


_NO_ENDPOINT: Final = "Expected the http or https URL of an endpoint, found {}."


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and what it wants to be sent; its URL may hold a password."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a call is signed with."""

    access_key_id: str
    secret: Secret
    token: str | None


class Endpoint:
    """The endpoint of StartSyncExecution for a machine, and the credentials to call it with.

    In this order: the URL that is given, botocore's settings (AWS_ENDPOINT_URL_SFN,
    AWS_ENDPOINT_URL, endpoint_url in the AWS config file), AWS's own name for the machine's region,
    which an interface endpoint with private DNS takes over.
    """

    def __init__(
        self, machine_arn: str, url: str | None = None, session: Session | None = None
    ) -> None:
        """Raises `SettingsError` for an ARN or a URL that is none."""
        match = _ARN.fullmatch(machine_arn)
        if match is None:
            raise SettingsError(
                "Expected the ARN of a state machine, such as arn:aws:states:us-east-1:"
                f"123456789012:stateMachine:stepout-gateway, found {machine_arn!r}."
            )
        self.machine_arn = machine_arn
        self.region = match["region"]
        self._session: Any = session or Session()
        domain = _SUFFIXES.get(match["partition"], "amazonaws.com")
        self.url = url or self._configured() or f"https://sync-states.{self.region}.{domain}/"
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise SettingsError(_NO_ENDPOINT.format(self.url)) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(_NO_ENDPOINT.format(self.url))
        self.is_tls = parts.scheme == "https"
        self.hostname = parts.hostname
        self.port = port or (443 if self.is_tls else 80)
        self.path = parts.path or "/"
        # The host as it is signed and sent: without the port where it is the scheme's own.
        self.host = parts.netloc.rpartition("@")[2].lower()
        self._credentials: Any = None

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that the environment names for the endpoint, as boto3 would take it.

        None for this machine itself: no proxy elsewhere reaches it.
        """
        if is_loopback(self.hostname):
            return None
        found = ProxyConfiguration(get_environ_proxies(self.url))
        url = found.proxy_url_for(self.url)
        return Proxy(url, found.proxy_headers_for(url)) if url else None

    def tls(self) -> ssl.SSLContext | None:
        """Believes what botocore believes: AWS_CA_BUNDLE, ca_bundle, else the usual authorities."""
        if not self.is_tls:
            return None
        bundle = self._session.get_config_variable("ca_bundle") or get_cert_path(True)
        try:
            return ssl.create_default_context(cafile=bundle)
        except OSError as error:
            raise SettingsError(f"The CA bundle {bundle} cannot be read: {error}.") from None

    @property
    def needs_time(self) -> bool:
        """Whether credentials have to be looked for or renewed, which may ask the network."""
        needed = getattr(self._credentials, "refresh_needed", None)
        return self._credentials is None or (needed is not None and needed())

    def credentials(self) -> Credentials:
        """From botocore's chain, renewed when they expire; raises `SettingsError` without any."""
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            found = self._credentials and self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError) as error:
            # botocore has no class of its own for what it renewed and is expired all the same.
            raise SettingsError(f"The AWS credentials cannot be read: {error}") from None
        if not found or not found.access_key or not found.secret_key:
            raise SettingsError(
                "No AWS credentials were found. Inside AWS they come with the role; elsewhere set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            )
        return Credentials(found.access_key, Secret(found.secret_key), found.token)

    def _configured(self) -> str | None:
        try:
            if self._session.get_config_variable("ignore_configured_endpoint_urls"):
                return None
            found: str | None = ConfiguredEndpointProvider(
                full_config=self._session.full_config,
                scoped_config=self._session.get_scoped_config(),
                client_name="stepfunctions",
            ).provide()
        except BotoCoreError as error:
            raise SettingsError(f"The AWS settings cannot be read: {error}") from None
        return found
