"""The elements Principal and NotPrincipal: whom a policy of a resource speaks of.

Source: IAM user guide, "AWS JSON policy elements: Principal" and "NotPrincipal".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from stepout.aws.iam.request import Principal

__all__ = ["TYPES", "Naming", "Principals", "classify"]


class Naming(IntEnum):
    """How a principal is named; the more directly, the fewer other policies must agree."""

    ACCOUNT = 1
    """Its account, which may then grant it."""
    ROLE = 2
    """Its role."""
    ITSELF = 3
    """The user, the session, the service; or everyone."""


@dataclass(frozen=True, slots=True)
class Principals:
    """Those that an element names, by what names them."""

    everyone: bool = False
    accounts: frozenset[str] = frozenset()
    arns: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    """Unique ids, which IAM writes for users and roles that are deleted."""
    services: frozenset[str] = frozenset()

    @classmethod
    def of(cls, named: Iterable[tuple[str, str]]) -> Principals:
        """From what `classify` told."""
        texts = defaultdict[str, set[str]](set)
        for member, text in named:
            texts[member].add(text)
        return cls(
            everyone="everyone" in texts,
            accounts=frozenset(texts["accounts"]),
            arns=frozenset(texts["arns"]),
            ids=frozenset(texts["ids"]),
            services=frozenset(texts["services"]),
        )

    def naming(self, principal: Principal) -> Naming | None:
        """How the principal is named, most directly; None where it is not."""
        if self.everyone:
            return Naming.ITSELF
        if principal.type == "Service":
            return Naming.ITSELF if self.services.intersection(principal.services) else None
        if principal.type != "Root" and principal.arn in self.arns:
            return Naming.ITSELF
        unique = principal.user_id.partition(":")[0]
        if principal.role_arn is None:
            if unique in self.ids:
                return Naming.ITSELF
        elif principal.role_arn in self.arns or unique in self.ids:
            return Naming.ROLE
        return Naming.ACCOUNT if principal.account in self.accounts else None

    def spares(self, principal: Principal) -> bool:
        """Whether NotPrincipal leaves the principal out.

        AWS may ask for the account, then for the role, then for the session, and each that is not
        named is one that the statement is about; so all of them must be.
        """
        if self.everyone or principal.type == "Service":
            return self.naming(principal) is not None
        chain = [principal.role_arn] if principal.role_arn else []
        if principal.type != "Root":
            chain.append(principal.arn)
        return principal.account in self.accounts and self.arns.issuperset(chain)


TYPES: Final = ("AWS", "Service", "Federated", "CanonicalUser")
"""Of these the last two name nobody here: there are no federated users and no canonical ids."""

_ACCOUNT: Final = re.compile(r"(?:arn:aws[a-z-]*:iam::)?([0-9]{12})(?::root)?")
_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:user|role)|sts::[0-9]{12}:(?:assumed-role|federated-user))"
    r"/[^*?$]+"
)
_ID: Final = re.compile(r"A[A-Z0-9]{15,127}")
_SERVICE: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")

_EXPECTED: Final = {
    "AWS": "'*', an account or the full ARN of a user, a role or a session",
    "Service": "the name of a service such as states.amazonaws.com",
}


def classify(type_: str, text: str) -> tuple[str, str] | None:
    """The member of `Principals` that a text belongs to, and as what; None for nobody here.

    Raises `ValueError` with what was expected.
    """
    if type_ == "AWS":
        if text == "*":
            return "everyone", text
        if (account := _account(text)) is not None:
            return "accounts", account
        if _ARN.fullmatch(text):
            return "arns", text
        if _ID.fullmatch(text):
            return "ids", text
    elif type_ == "Service" and _SERVICE.fullmatch(text):
        return "services", text
    if type_ in _EXPECTED:
        raise ValueError(f"expected {_EXPECTED[type_]}, found '{text[:60]}'")
    return None


def _account(text: str) -> str | None:
    found = _ACCOUNT.fullmatch(text)
    if found is None or text.startswith("arn:") != text.endswith(":root"):
        return None
    return found[1]
