"""Suites of bad input that others have published, used where they are and never copied.

They lie beside the repository (`$STEPOUT_SECURITY`, else `../shared/security`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["SECURITY", "needs_suites"]

_REPOSITORY: Final = Path(__file__).parents[1]
SECURITY: Final = Path(
    os.environ.get("STEPOUT_SECURITY", _REPOSITORY.parent / "shared" / "security")
)

needs_suites: Final = pytest.mark.skipif(
    not SECURITY.is_dir(), reason=f"The suites of bad input are not in {SECURITY}."
)
