"""Signature Version 4: reading and verifying it, in a header or in the query, and making it.

Signer and verifier write the same text of a request, the canonical request, and put the same keyed
hash over it. So a verifier is safe if two things hold:

1. The text is unambiguous: requests that mean different things have different texts. Blanks in
   headers, dot segments of paths and spellings of percent-encoding are one text; nothing else is.
   What could make one text of two requests is refused before it is hashed: a header that is named
   and absent, names that are unsorted or repeated, a value with a line break in it.
2. Nothing that means something stands outside the text: Host and every X-Amz- header that is there
   must be signed. The one exception is the session token, which need not be since it is compared
   with the one that is known; AWS's suite has it both ways. User-Agent, amz-sdk-* and
   X-Amzn-Trace-Id change on their way and mean nothing to an operation.

`parse` finds what a request claims (`claim`), `verify` holds it against what is known
(`verification`), `sign` and `presign` make it (`signing`); `canonical` has the text and the hash.
Checks come in the order that AWS makes them: presence → its parts → date → Host signed → algorithm
→ credential scope → key → signature → payload → session token. The first that fails is told, in
AWS's words (`faults`).

Costs are linear in the request and bounded: lengths are checked before anything is hashed, and the
body is hashed last, for a key that is known. An unknown key is told sooner than a wrong signature;
nobody learns more from that than AWS's two different answers say.

Sources: IAM user guide, "Create a signed AWS API request"; AWS's test suite; botocore; texts as
recorded on services of the same framework.
"""

from __future__ import annotations

from stepout.aws.sigv4.canonical import canonical_request, string_to_sign
from stepout.aws.sigv4.claim import MAX_EXPIRES, Claim, Identity, parse
from stepout.aws.sigv4.request import SignedRequest
from stepout.aws.sigv4.signing import presign, sign
from stepout.aws.sigv4.verification import SKEW_SECONDS, Credentials, verify

__all__ = [
    "MAX_EXPIRES",
    "SKEW_SECONDS",
    "Claim",
    "Credentials",
    "Identity",
    "SignedRequest",
    "canonical_request",
    "parse",
    "presign",
    "sign",
    "string_to_sign",
    "verify",
]
