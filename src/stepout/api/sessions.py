"""Sessions of roles: the temporary credentials that AssumeRole gives out.

They are kept in memory and end with the server. What a session may do follows from its role as it
is now, not as it was when the session began.
"""

from __future__ import annotations

import heapq
import secrets
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stepout.api import faults
from stepout.api.identities import Directory, Role
from stepout.api.limits import SHARE
from stepout.aws.iam import Grants, Policy, Principal
from stepout.secret import Secret

__all__ = ["Session", "Sessions"]

MAX_SESSIONS: Final = 10_000
"""Sessions at one time; ours. A session is some kilobytes."""

_LETTERS: Final = string.ascii_uppercase + "234567"


@dataclass(slots=True)
class Session:
    """A role that somebody has become."""

    access_key_id: str
    secret: Secret
    token: Secret
    expires: int
    """Milliseconds since the epoch."""
    issued: int
    principal: Principal
    role_arn: str
    holder: str
    """Who began it, for counting."""
    policies: tuple[Policy, ...]
    """What the session has less than its role."""
    _grants: tuple[Directory, Grants | None] | None = field(default=None, repr=False)

    def grants(self, directory: Directory) -> Grants | None:
        """What the session may do by a directory; None where its role is gone."""
        if self._grants is None or self._grants[0] is not directory:
            role = directory.roles.get(self.role_arn)
            granted = None if role is None else role.as_caller(directory.endpoint, self.policies)
            self._grants = directory, granted
        return self._grants[1]


class Sessions:
    """The sessions that have not ended, by their access key id."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._ends: list[tuple[int, str]] = []
        """When each ends, the first at the top of this heap."""
        self._held: Counter[str] = Counter()
        """Who began how many."""

    def find(self, access_key_id: str) -> Session | None:
        """A session, also one that has expired since; the signature's check tells."""
        return self._sessions.get(access_key_id)

    def begin(
        self,
        role: Role,
        name: str,
        *,
        holder: str,
        now: int,
        seconds: int,
        policies: Sequence[Policy],
        tags: Mapping[str, str],
        source_identity: str = "",
    ) -> Session:
        """Begin a session; raises `ServiceError` where there are too many, or too many of its
        holder: as with other places, whoever comes next finds one (see `limits`)."""
        if not self._has_place(holder):
            self._forget_expired(now)
        if not self._has_place(holder):
            raise faults.throttled()
        session = Session(
            access_key_id=f"ASIA{_letters(16)}",
            secret=Secret(secrets.token_urlsafe(30)),
            token=Secret(secrets.token_urlsafe(192)),
            expires=now + seconds * 1_000,
            issued=now,
            principal=role.as_session(name, tags, source_identity),
            role_arn=role.arn,
            holder=holder,
            policies=tuple(policies),
        )
        self._sessions[session.access_key_id] = session
        self._held[holder] += 1
        heapq.heappush(self._ends, (session.expires, session.access_key_id))
        return session

    def _has_place(self, holder: str) -> bool:
        return self._held[holder] < SHARE * (MAX_SESSIONS - len(self._sessions))

    def _forget_expired(self, now: int) -> None:
        while self._ends and self._ends[0][0] <= now:
            session = self._sessions.pop(heapq.heappop(self._ends)[1])
            self._held[session.holder] -= 1
            if not self._held[session.holder]:
                del self._held[session.holder]


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
