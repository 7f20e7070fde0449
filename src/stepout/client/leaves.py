"""TLS for any host: a context with a leaf of the local authority, made when it is asked for."""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from stepout.certificates import Authority, new_key

__all__ = ["Leaves"]

HOSTS: Final = 256
"""Contexts kept at most, those that were used last; one is some 100 KiB."""

LIFETIME: Final = timedelta(days=7)
RENEWED_AFTER: Final = timedelta(days=3).total_seconds()
"""A connection that is open does not look at the certificate again."""


class Leaves:
    """TLS contexts by host. All leaves share one key, which lives as long as the process."""

    def __init__(
        self, authority: Authority, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._key = new_key()
        self._contexts: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()

    def context(self, host: str) -> ssl.SSLContext:
        """A server's context for a host name or an address."""
        made, context = self._contexts.pop(host, (None, None))
        if made is None or context is None or self._clock() - made > RENEWED_AFTER:
            made, context = self._clock(), self._make(host)
        self._contexts[host] = (made, context)
        if len(self._contexts) > HOSTS:
            self._contexts.popitem(last=False)
        return context

    def _make(self, host: str) -> ssl.SSLContext:
        context = self._authority.server_context(host, key=self._key, lifetime=LIFETIME)
        # What is spoken inside is h11; a client that would rather have HTTP/2 takes this.
        context.set_alpn_protocols(["http/1.1"])
        return context
