"""What can be wrong with a signature: AWS's codes and texts.

Where no text of AWS is known, ours takes the form of its nearest one.
"""

from __future__ import annotations

from collections.abc import Iterable

from stepout.errors import ServiceError

__all__ = [
    "bad_credential",
    "bad_date",
    "bad_expires",
    "bad_payload",
    "both_ways",
    "expired",
    "expired_token",
    "half_header",
    "half_query",
    "mismatch",
    "missing",
    "no_pair",
    "not_yet",
    "too_long",
    "unknown_key",
    "unsigned",
    "unsupported",
    "wrong_scope",
]


def missing() -> ServiceError:
    return ServiceError(
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
        status=403,
    )


def both_ways() -> ServiceError:
    return _invalid(
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
    )


def too_long(what: str, limit: int) -> ServiceError:
    return _incomplete(f"{what} must not be longer than {limit} bytes.")


def no_pair(part: str, authorization: str) -> ServiceError:
    return _incomplete(
        f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: "
        f"'{authorization}'."
    )


def half_header(
    names: Iterable[str], authorization: str, *, is_dated: bool, is_repeated: bool
) -> ServiceError:
    wrong = [f"Authorization header requires '{name}' parameter. " for name in names]
    if not is_dated:
        wrong.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if is_repeated:
        wrong.append("Authorization header requires each parameter once. ")
    return _incomplete(f"{''.join(wrong)}Authorization={authorization}")


def half_query(names: Iterable[str], *, is_repeated: bool) -> ServiceError:
    wrong = [f"AWS query-string parameters must include '{name}'. " for name in names]
    if is_repeated:
        wrong.append("AWS query-string parameters must include each parameter once. ")
    return _incomplete(f"{''.join(wrong)}Re-examine the query-string parameters.")


def bad_date(date: str) -> ServiceError:
    return _incomplete(
        f"Date must be in ISO-8601 'basic format'. Got '{date}'. See "
        "http://en.wikipedia.org/wiki/ISO_8601"
    )


def bad_expires(expires: str, most: int) -> ServiceError:
    return _incomplete(
        f"X-Amz-Expires must be a number of seconds from 1 to {most}. Got '{expires}'."
    )


def expired(then: str, earliest: str, now: str, lifetime: int) -> ServiceError:
    return _invalid(
        f"Signature expired: {then} is now earlier than {earliest} ({now} - {lifetime / 60:g} min.)"
    )


def not_yet(then: str, latest: str, now: str, skew: int) -> ServiceError:
    return _invalid(
        f"Signature not yet current: {then} is still later than {latest} "
        f"({now} + {skew / 60:g} min.)"
    )


def unsigned(name: str) -> ServiceError:
    return _invalid(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def unsupported(algorithm: str) -> ServiceError:
    return _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'")


def bad_credential(credential: str) -> ServiceError:
    return _incomplete(
        "Credential must have exactly 5 slash-delimited elements, e.g. "
        f"keyid/date/region/service/term, got '{credential}'"
    )


def wrong_scope(
    *,
    region: str | None,
    service: str | None,
    terminator: tuple[str, str] | None,
    date: tuple[str, str] | None,
) -> ServiceError:
    """For each part that is wrong: the region found, the service expected, else both."""
    wrong = ""
    if region is not None:
        wrong += f"Credential should be scoped to a valid region, not '{region}'. "
    if service is not None:
        wrong += f"Credential should be scoped to correct service: '{service}'. "
    if terminator is not None:
        expected, found = terminator
        wrong += (
            f"Credential should be scoped with a valid terminator: '{expected}', not '{found}'. "
        )
    if date is not None:
        found, stamp = date
        wrong += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{found}' != '{stamp[:8]}', from '{stamp}'. "
        )
    return _invalid(wrong)


def unknown_key() -> ServiceError:
    """Also for a session token that is missing, wrong, or given with a key that has none."""
    return ServiceError(
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        status=403,
    )


def mismatch() -> ServiceError:
    return _invalid(
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details."
    )


def bad_payload() -> ServiceError:
    return _invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")


def expired_token() -> ServiceError:
    return ServiceError(
        "ExpiredTokenException",
        "The security token included in the request is expired",
        status=403,
    )


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidSignatureException", message, status=403)


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteSignatureException", message, status=403)
