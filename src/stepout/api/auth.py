"""Who calls: the signature of a request, checked against the keys and sessions that are known."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from stepout.api import faults
from stepout.api.caller import Arrival, Caller
from stepout.api.identities import Directories, Directory
from stepout.api.sessions import Sessions
from stepout.aws import sigv4
from stepout.aws.arn import partition_of
from stepout.aws.iam import Principal
from stepout.aws.sigv4 import Credentials, Identity, SignedRequest
from stepout.runtime.clock import Clock

__all__ = ["Auth", "root"]

_ACCOUNT_DIGITS: Final = 12


class Auth:
    """Verifies signatures.

    In open mode a key that the server does not know is let in unverified, as emulators do, and may
    do everything; a request signed with a known key is verified in every mode.
    """

    def __init__(
        self,
        directories: Directories,
        sessions: Sessions,
        clock: Clock,
        account: str,
        *,
        is_open: bool,
    ) -> None:
        self._directories = directories
        self._sessions = sessions
        self._clock = clock
        self._account = account
        self._is_open = is_open

    def identify(self, request: SignedRequest, service: str, arrival: Arrival) -> Caller:
        """The caller; raises `ServiceError` with AWS's code for each failure."""
        claim = sigv4.parse(request)
        directory = self._directories.current
        if self._is_open and self._credentials(claim.access_key_id) is None:
            if "origin" in claim.headers:
                # Any web page could sign with any key, once it is at a name that leads here.
                raise faults.from_browser()
            return self._anybody(claim.identity(service), arrival)
        identity = sigv4.verify(
            request,
            claim,
            secret_of=self._credentials,
            service=service,
            now=self._clock.now() / 1_000,
        )
        return self._known(identity, directory, arrival)

    def _credentials(self, access_key_id: str) -> Credentials | None:
        user = self._directories.current.users.get(access_key_id)
        if user is not None:
            return Credentials(user.keys[access_key_id])
        session = self._sessions.find(access_key_id)
        if session is None:
            return None
        return Credentials(session.secret, session.token, session.expires / 1_000)

    def _known(self, identity: Identity, directory: Directory, arrival: Arrival) -> Caller:
        key = identity.access_key_id
        user = directory.users.get(key)
        if user is not None:
            return Caller(
                account=self._account,
                region=identity.region,
                access_key_id=key,
                principal=user.principal,
                grants=user.grants,
                arrival=arrival,
                endpoint=directory.endpoint.id,
            )
        session = self._sessions.find(key)
        grants = None if session is None else session.grants(directory)
        if session is None or grants is None:
            # The session's role is no longer there.
            raise faults.unknown_key()
        return Caller(
            account=self._account,
            region=identity.region,
            access_key_id=key,
            principal=session.principal,
            grants=grants,
            arrival=arrival,
            endpoint=directory.endpoint.id,
            issued=datetime.fromtimestamp(session.issued / 1_000, UTC).strftime(_ISO),
        )

    def _anybody(self, identity: Identity, arrival: Arrival) -> Caller:
        """A 12-digit access key names the account, as in other emulators."""
        key = identity.access_key_id
        names_account = len(key) == _ACCOUNT_DIGITS and key.isdigit()
        account = key if names_account else self._account
        return Caller(
            account=account,
            region=identity.region,
            access_key_id=key,
            principal=root(account, identity.region),
            arrival=arrival,
        )


_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"


@lru_cache(256)
def root(account: str, region: str) -> Principal:
    """The root user of an account."""
    arn = f"arn:{partition_of(region)}:iam::{account}:root"
    return Principal(arn, account, "Root", user_id=account)
