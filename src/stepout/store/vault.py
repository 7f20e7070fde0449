"""Encryption of secrets at rest: AES-256-GCM with one key for a store.

Whoever has the key and the database has the secrets; without the key the database gives none away.
Each sealed text is bound to what it belongs to, so that it cannot be put elsewhere, and names its
key, so that a wrong key is told apart from a damaged text.

    layout 1 (schema 1)     nonce (12)  ciphertext and tag
    layout 2                2 (1)  key id (8)  nonce (12)  ciphertext and tag; all before the nonce
                            and the owner are authenticated
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stepout.errors import StoreError

__all__ = ["KEY_BYTES", "Key", "Vault", "key_id_of"]

KEY_BYTES: Final = 32

_LAYOUT: Final = b"\x02"
_ID_BYTES: Final = 8
_HEAD_BYTES: Final = len(_LAYOUT) + _ID_BYTES
_NONCE_BYTES: Final = 12
"""A fresh random nonce for each sealing (NIST SP 800-38D, 8.2.2)."""


class Key:
    """A key of 32 random bytes; `id` names it and gives nothing of it away."""

    __slots__ = ("_secret", "id")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        digest = hashlib.blake2b(secret, digest_size=_ID_BYTES, person=b"stepout key id")
        self.id = digest.hexdigest()

    @classmethod
    def make(cls) -> Key:
        return cls(os.urandom(KEY_BYTES))

    def reveal(self) -> bytes:
        return self._secret

    def __repr__(self) -> str:
        return f"Key({self.id})"

    def __reduce__(self) -> str:
        raise TypeError("A Key is not copied or pickled.")

    def __getstate__(self) -> object:
        return self.__reduce__()


class Vault:
    """Seals and opens texts with a key."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._head = _LAYOUT + bytes.fromhex(key.id)
        self._cipher = AESGCM(key.reveal())

    def seal(self, text: bytes, owner: str) -> bytes:
        """Encrypt a text that belongs to `owner`."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, text, self._head + owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """Decrypt what was sealed for `owner`; raises `StoreError` where it is not that."""
        found = key_id_of(sealed)
        if found is not None and found != self.key.id:
            raise StoreError(
                f"The secret of {owner} is sealed with the key {found}, not with {self.key.id}."
            )
        why = "it was changed or damaged"
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        return self._open(rest, head + owner.encode(), owner, why)

    def unseal_1(self, sealed: bytes, owner: str) -> bytes:
        """As `unseal`, for layout 1, which does not tell a wrong key from a damaged text."""
        why = "it is sealed with another key, or was changed or damaged"
        return self._open(sealed, owner.encode(), owner, why)

    def _open(self, sealed: bytes, bound: bytes, owner: str, why: str) -> bytes:
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, bound)
        except (InvalidTag, ValueError):
            raise StoreError(
                f"The secret of {owner} cannot be opened with the key {self.key.id}: {why}."
            ) from None


def key_id_of(sealed: bytes) -> str | None:
    """The id of the key of a sealed text; None where it is no text of layout 2."""
    if not sealed.startswith(_LAYOUT) or len(sealed) < _HEAD_BYTES:
        return None
    return sealed[len(_LAYOUT) : _HEAD_BYTES].hex()
