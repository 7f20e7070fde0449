"""Which certificates are believed."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from stepout.errors import SettingsError

__all__ = ["trust"]


def trust(extra: Iterable[Path] = ()) -> ssl.SSLContext:
    """The system's certificate authorities, and those in further PEM files; TLS 1.2 at least."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in extra:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"Expected {path} to hold certificates in PEM, and it cannot be loaded: {error}."
            ) from None
    return context
