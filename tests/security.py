"""Published suites of bad input, used in place: `$STEPOUT_SECURITY`, else `../shared/security`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["SECURITY", "needs_security"]

SECURITY: Final = Path(
    os.environ.get(
        "STEPOUT_SECURITY", Path(__file__).parents[1].resolve().parent / "shared" / "security"
    )
)

needs_security = pytest.mark.skipif(
    not SECURITY.is_dir(), reason="The suites are not beside the repository."
)
