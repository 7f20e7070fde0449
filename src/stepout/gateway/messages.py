"""A request and its response, as the gateway carries them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final, TypeAlias

from stepout.errors import AnswerFailed, BodyNotCarried

__all__ = ["Extensions", "Headers", "Pair", "Request", "Response", "header_bytes"]

Pair: TypeAlias = tuple[str, str]
"""A header's name and one of its values."""

Extensions: TypeAlias = Mapping[str, Any]


class Headers:
    """Headers in their order; a name may have several values, and its case does not matter."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str] | Iterable[Pair] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self._pairs: tuple[Pair, ...] = tuple(map(_pair, items))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Name and value of each, in order."""
        return self._pairs

    def get_all(self, name: str) -> list[str]:
        """Every value of a name."""
        wanted = name.lower()
        return [value for key, value in self._pairs if key.lower() == wanted]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The values of a name, joined by commas."""
        return ", ".join(self.get_all(name)) if name in self else default

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(key.lower() == name.lower() for key, _ in self._pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller wants of an API."""

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What the API answered.

    `extensions` says what a caller cannot see in an HTTP response; the keys are in docs/client.md.
    """

    status_code: int
    reason: str
    headers: Headers
    content: bytes
    url: str
    is_body_carried: bool = True
    """False for an error answer whose body AWS did not hand on; `content` is empty then."""
    extensions: Extensions = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """The status is below 400."""
        return self.status_code < 400

    @property
    def encoding(self) -> str:
        """The charset that the answer names, else UTF-8."""
        return charset_of(self.headers.get("content-type", "")) or "utf-8"

    @property
    def text(self) -> str:
        try:
            return self.content.decode(codec_of(self.encoding), "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises `BodyNotCarried` where there is none to read."""
        if not self.is_body_carried:
            raise BodyNotCarried(self.status_code, self.url)
        # Bytes are read as UTF-8, 16 or 32 alone, which JSON should be in (RFC 8259, 8.1).
        is_unicode = self.encoding.startswith("utf")
        return json.loads(self.content if is_unicode else self.text)

    def raise_for_status(self) -> Response:
        """This response, or `AnswerFailed` for 4xx and 5xx."""
        if not self.ok:
            raise AnswerFailed(self.status_code, self.reason, self.url)
        return self

    def __repr__(self) -> str:
        return f"<Response [{self.status_code} {self.reason}]>"


def header_bytes(text: str) -> bytes:
    """A header of an answer as the API sent it: one byte for each character, or UTF-8 where a
    character is more than a byte, and was decoded on the way."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _pair(pair: tuple[object, object]) -> Pair:
    name, value = pair
    if isinstance(name, str) and isinstance(value, str):
        return name, value
    # Not shown: it may be a credential.
    raise TypeError(
        f"Expected texts as a header's name and value, found {type(name).__name__} and "
        f"{type(value).__name__}."
    )


def charset_of(content_type: str | None) -> str | None:
    """The charset parameter of a Content-Type."""
    message = Message()
    # `Message` has another class for texts that are not ASCII.
    message[_CONTENT_TYPE] = (content_type or "").encode("ascii", "replace").decode()
    return message.get_content_charset()


def codec_of(charset: str) -> str:
    """The name under which Python knows a charset; raises `LookupError` where it does not, and for
    what is no charset of a text: some of those fail, or take time, by the text."""
    try:
        name = codecs.lookup(charset).name
        "".encode(name)  # to what is no bytes, or of what is no text: hex, rot13
    except ValueError:  # a NUL in it
        raise LookupError(charset) from None
    if name.replace("_", "-") in _PYTHONS_OWN:
        raise LookupError(charset)
    return name


def media_type_of(content_type: str | None) -> str:
    """The type of a Content-Type, in lower case, without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


_CONTENT_TYPE: Final = "Content-Type"

_PYTHONS_OWN: Final = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
"""Codecs for Python's own use (its documentation, Python Specific Encodings)."""
