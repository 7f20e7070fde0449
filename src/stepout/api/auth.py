"""Who calls: the signature of a request, checked against the keys that the server knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stepout.api import faults
from stepout.api.caller import Caller
from stepout.aws import sigv4
from stepout.aws.sigv4 import Identity, SignedRequest
from stepout.runtime.clock import Clock
from stepout.secret import Secret

__all__ = ["Auth"]

_ACCOUNT_DIGITS: Final = 12


class Auth:
    """Verifies signatures.

    In open mode a key that the server does not know is let in unverified, as emulators do; a
    request signed with a known key is verified in every mode.
    """

    def __init__(
        self, keys: Mapping[str, Secret], clock: Clock, account: str, *, is_open: bool
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._account = account
        self._is_open = is_open

    def identify(self, request: SignedRequest, service: str) -> Caller:
        """The caller; raises `ServiceError` with AWS's code for each failure."""
        claim = sigv4.parse(request)
        if self._is_open and claim.access_key_id not in self._keys:
            if "origin" in claim.headers:
                # Any web page could sign with any key, once it is at a name that leads here.
                raise faults.from_browser()
            return self._caller(claim.identity(service))
        identity = sigv4.verify(
            request,
            claim,
            secret_of=self._keys.get,
            service=service,
            now=self._clock.now() / 1_000,
        )
        return self._caller(identity)

    def _caller(self, identity: Identity) -> Caller:
        """A 12-digit access key names the account, as in other emulators."""
        access_key_id = identity.access_key_id
        names_account = len(access_key_id) == _ACCOUNT_DIGITS and access_key_id.isdigit()
        return Caller(
            account=access_key_id if names_account else self._account,
            region=identity.region,
            access_key_id=access_key_id,
        )
