"""The variables that lead a program through a proxy, with an authority of its own."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from stepout.errors import SettingsError
from stepout.gateway.upstreams import Upstream, Upstreams

__all__ = ["bypassed", "variables"]

_NEVER: Final = (
    *("localhost", "127.0.0.1", "::1"),
    # EC2's instance metadata; credentials of ECS tasks and of EKS pods.
    *("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23"),
    *(".amazonaws.com", ".amazonaws.com.cn", ".api.aws"),
)
"""Hosts that no proxy is to come between: this machine, and what the subnet reaches in AWS."""

_BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    "SSL_CERT_FILE": (),
    "CURL_CA_BUNDLE": ("SSL_CERT_FILE",),
    "REQUESTS_CA_BUNDLE": ("CURL_CA_BUNDLE",),
    "PIP_CERT": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "GIT_SSL_CAINFO": (),
    "CARGO_HTTP_CAINFO": (),
}
"""Variable that names all authorities that a program believes → where it looks without it.

AWS_CA_BUNDLE is not among them: AWS's SDKs go past the proxy, and believe what they believed.
"""

_ADDITIONS: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables that name authorities beside the usual ones."""

_USUAL: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Amazon Linux, Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def variables(
    environ: Mapping[str, str], *, proxy: str, endpoint: str, authority: bytes, directory: Path
) -> dict[str, str]:
    """What to set for a program; its bundles are written into the directory.

    `proxy` is the proxy's URL, `endpoint` the host that it itself calls, `authority` its
    certificate. Raises `SettingsError` for a bundle that is named already and cannot be read.

    HTTP_PROXY is not among them: plain HTTP cannot go out by this way, and inside the subnet it
    works without.
    """
    directory.chmod(0o755)
    no_proxy = _no_proxy(environ, endpoint)
    found = {
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), no_proxy),
        "NODE_USE_ENV_PROXY": "1",
    }
    for name, others in _BUNDLES.items():
        sources = (environ.get(other) for other in (name, *others))
        base = next(filter(None, sources), None)
        believed = _usual() if base is None else _read(name, Path(base))
        found[name] = _written(directory, believed + b"\n" + authority)
    for name in _ADDITIONS:
        more = _read(name, Path(environ[name])) + b"\n" if environ.get(name) else b""
        found[name] = _written(directory, more + authority)
    return found


def _no_proxy(environ: Mapping[str, str], endpoint: str) -> str:
    """What is set already, and what no proxy may come between; doubles once."""
    set_already = ",".join(environ.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    runtime = environ.get("AWS_LAMBDA_RUNTIME_API", "").rpartition(":")[0]
    entries = [*re.split(r"[,\s]+", set_already), *_NEVER, runtime, endpoint]
    return ",".join(dict.fromkeys(filter(None, entries)))


def _usual() -> bytes:
    """The authorities of this machine; where it has none, those that botocore brings."""
    paths = (ssl.get_default_verify_paths().cafile, *_USUAL)
    found = next((path for path in paths if path and Path(path).is_file()), None)
    return Path(found or str(get_cert_path(True))).read_bytes()


def _read(name: str, path: Path) -> bytes:
    """A bundle; requests also takes a directory of certificates."""
    try:
        if path.is_dir():
            files = [file for file in sorted(path.iterdir()) if file.is_file()]
        else:
            files = [path]
        return b"\n".join(file.read_bytes() for file in files)
    except OSError as error:
        raise SettingsError(
            f"Expected certificates in {path}, which {name} or a variable that stands for it "
            f"names, and it cannot be read: {error.strerror}."
        ) from None


def _written(directory: Path, content: bytes) -> str:
    """The file of a bundle; equal ones share it."""
    path = directory / f"{sha256(content).hexdigest()[:16]}.pem"
    path.write_bytes(content)
    # There is no secret in it, and the program may become another user (`gosu`, `su`).
    path.chmod(0o644)
    return os.fspath(path)


def bypassed(upstreams: Upstreams | None, no_proxy: str) -> Iterator[Upstream]:
    """The upstreams that a program would call past the proxy."""
    entries = [entry.lower().lstrip(".") for entry in no_proxy.split(",")]
    for upstream in upstreams or ():
        host = urlsplit(upstream.url).hostname or ""
        if any(entry in ("*", host) or host.endswith(f".{entry}") for entry in entries):
            yield upstream
