"""The server's certificate: from files, and from the same files again when they change."""

from __future__ import annotations

import ssl
from pathlib import Path

from stepout.api.reload import Reloading
from stepout.errors import SettingsError

__all__ = ["Certificate"]


class Certificate:
    """A certificate chain and its key in PEM files; raises `SettingsError` where they do not fit.

    `context` is what a listener is given: each handshake takes the certificate of that moment, and
    connections that are open stay. A new pair is loaded into a context of its own, so that half of
    one is never served, nor an old certificate of another type of key beside the new one.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self.files = Reloading("certificate", [chain, key], lambda: _loaded(chain, key))
        self.context = self.files.value
        self.context.sni_callback = self._take

    def _take(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called by every handshake, also where the client names no server."""
        tls.context = self.files.value


def _loaded(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The certificate {chain} and key {key} cannot be loaded: {error}."
        ) from None
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal, and wait."""
    raise ValueError("the key is encrypted, and a server cannot ask for its password")
