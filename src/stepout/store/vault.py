"""Encryption of secrets at rest: AES-256-GCM with a key in a file of its own.

Whoever has the key file and the database has the secrets; without the key file the database gives
none away. Each sealed text is bound to what it belongs to, so that it cannot be put elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stepout.errors import StoreError

__all__ = ["KEY_FILE", "Vault"]

KEY_FILE: Final = "secret.key"

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
"""A fresh random nonce for each sealing (NIST SP 800-38D, 8.2.2)."""


class Vault:
    """Seals and opens texts with the key of a directory."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, directory: Path, *, may_create: bool) -> Vault:
        """The vault of a directory; raises `StoreError` where its key is lost or broken."""
        path = directory / KEY_FILE
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            if not may_create:
                raise StoreError(
                    f"The key file {path} is missing, and {directory} holds secrets that only it "
                    "opens. Put it back, or start with an empty data directory."
                ) from None
            key = _create(path)
        except OSError as error:
            raise StoreError(f"The key file {path} cannot be read: {error}.") from None
        if len(key) != _KEY_BYTES:
            raise StoreError(
                f"Expected {_KEY_BYTES} bytes in the key file {path}, found {len(key)}."
            )
        return cls(key)

    def seal(self, text: bytes, owner: str) -> bytes:
        """Encrypt a text that belongs to `owner`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """Decrypt what was sealed for `owner`; raises `StoreError` where it is not that."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, owner.encode())
        except (InvalidTag, ValueError):
            raise StoreError(
                f"The secret of {owner} cannot be opened: it was changed, or sealed with another "
                "key."
            ) from None


def _create(path: Path) -> bytes:
    key = os.urandom(_KEY_BYTES)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key
