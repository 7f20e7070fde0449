"""The search for secrets finds them in every form in which they would show."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote_plus

import pytest
from tests.soak.canaries import Canaries

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda secret: b"x" + secret + b"y",
    "JSON": lambda secret: json.dumps({"a": secret.decode()}).encode(),
    "URL": lambda secret: quote_plus(secret).encode(),
    "hexadecimal": lambda secret: secret.hex().encode(),
    "capital hexadecimal": lambda secret: secret.hex().upper().encode(),
    **{
        f"base64 behind {before} bytes": lambda secret, before=before: b64encode(  # type: ignore[misc] # a default
            b"u" * before + secret
        )
        for before in range(6)
    },
    "base64 of URLs": urlsafe_b64encode,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["Key", "Password", "x"])
def test_a_secret_is_found_in_every_form(form: str, name: str) -> None:
    canaries = Canaries()
    content = b"before\n" + FORMS[form](canaries.new(name).encode()) + b"\nafter"
    (sentence,) = canaries.found_in("the log", content)
    assert sentence.startswith("the log holds a secret ")
    assert "Canary" not in sentence


def test_a_secret_of_the_server_is_found() -> None:
    canaries = Canaries()
    canaries.given("a token", "made-by-the-server")
    assert canaries.found_in("the log", b"... made-by-the-server ...") == ["the log holds a token."]
    assert canaries.count == 1


def test_nothing_is_found_where_nothing_is() -> None:
    canaries = Canaries()
    canaries.new("Key")
    assert canaries.found_in("the log", b"Canary, Soak, 7391, and " + bytes(range(256))) == []
