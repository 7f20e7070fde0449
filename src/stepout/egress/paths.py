"""How a path may be read, for rules that compare paths.

Servers and the proxies before them disagree: some take `%2e%2e` for `..`, some a backslash for a
slash, some decode twice, some cut `;…` off a segment. So a path is not made canonical but judged in
its readings. Without a dot segment in any of them, readings differ only in where segments end, and
none of them leaves a prefix that the text has.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["Path", "is_under", "read_path"]

_ROUNDS: Final = 4
"""How often a path is decoded to find out what it hides; ours. Then it is ambiguous."""

_PLAIN: Final = re.compile(r"(?:/(?![^/]*\.(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?|/")
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SLASH: Final = re.compile(r"[/\\]")
_SLASHES: Final = re.compile(r"[/\\]+")


@dataclass(frozen=True, slots=True)
class Path:
    """A path of a request: `text` as it is sent, `finest` split, decoded and stripped as far as it
    goes, in lower case, `is_ambiguous` where a server may find a dot segment in it or worse."""

    text: str
    finest: str
    is_ambiguous: bool


@lru_cache(1_024)
def read_path(text: str) -> Path:
    """The readings of a path that begins with a slash."""
    if _PLAIN.fullmatch(text):
        return Path(text, text.lower().rstrip("/"), is_ambiguous=False)
    decoded = _decoded(text)
    if decoded is None:
        return Path(text, text.casefold(), is_ambiguous=True)
    segments = _SLASHES.split(decoded)
    finest = "/".join(["", *filter(None, map(_bare, segments))])
    is_ambiguous = (
        any(map(_is_dots, segments))
        or _CONTROL.search(decoded) is not None
        # Where parameters end depends on when slashes are decoded.
        or (";" in decoded and len(_SLASH.findall(decoded)) > text.count("/"))
    )
    return Path(text, finest.casefold(), is_ambiguous)


def is_under(path: str, prefix: str) -> bool:
    """Whether a path is a prefix or goes on from it behind a slash."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _decoded(text: str) -> str | None:
    """The text when no decoding changes it any more, look-alike characters replaced; or None."""
    if _BROKEN.search(text):
        return None
    for _ in range(_ROUNDS):
        try:
            decoded = unicodedata.normalize("NFKC", unquote_to_bytes(text).decode())
        except UnicodeDecodeError:
            # Overlong forms of dots and slashes, for one.
            return None
        if decoded == text:
            return decoded
        text = decoded
    return None


def _bare(segment: str) -> str:
    """A segment without its parameters, and without dots and blanks at the end, which some file
    systems drop."""
    return segment.partition(";")[0].rstrip(" .")


def _is_dots(segment: str) -> bool:
    """Whether a segment is `.` or `..` to someone."""
    name = segment.partition(";")[0]
    return bool(name) and not name.strip(" .")
