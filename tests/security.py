"""Published suites of bad input: third-party data beside the repository, used in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["SECURITY", "needs_security"]

SECURITY: Final = Path(
    os.environ.get("STEPOUT_SECURITY", Path(__file__).parents[2] / "shared" / "security")
)

needs_security: Final = pytest.mark.skipif(
    not SECURITY.exists(),
    reason="The suites of bad input are not beside the repository; STEPOUT_SECURITY names them.",
)
