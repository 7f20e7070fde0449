"""One function per API operation, registered by `@operation`."""

from __future__ import annotations

__all__ = ["load"]


def load() -> None:
    """Import the modules below, so that their operations are registered."""
    from stepout.api.operations import (  # noqa: F401
        aliases,
        connections,
        executions,
        machines,
        tags,
        tokens,
        versions,
    )
