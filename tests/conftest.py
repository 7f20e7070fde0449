"""What all tests share: property tests are the same in every run, and no clock fails them.

`pytest --hypothesis-profile=explore` looks further, with other examples each time.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("default")
