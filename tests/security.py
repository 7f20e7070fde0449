"""Published bad-input suites, used in place: `$STEPOUT_SECURITY`, else `../shared/security`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parents[1]
SECURITY: Final = Path(
    os.environ.get("STEPOUT_SECURITY", REPOSITORY.parent / "shared" / "security")
)

needs_security = pytest.mark.skipif(
    not SECURITY.exists(), reason="The security suites are not beside the repository."
)


def http1(kind: str) -> list[Path]:
    """The `valid` or the `invalid` requests."""
    return sorted((SECURITY / "http1" / kind).glob("*.http"))


def request_of(path: Path) -> bytes:
    """The bytes that a file stands for: real line ends are layout, escapes are bytes."""
    return _ESCAPE.sub(_byte, path.read_bytes().replace(b"\n", b""))


_ESCAPE: Final = re.compile(rb"\\(r|n|t|0|x[0-9A-Fa-f]{2})")

_BYTES: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}


def _byte(match: re.Match[bytes]) -> bytes:
    return _BYTES.get(match[1]) or bytes.fromhex(match[1][1:].decode())
