"""HTTP/1.1 between a socket and the ASGI app: our own, with bounds and a time for everything."""

from stepout.api.http.bounds import OVERFLOW, Bounds
from stepout.api.http.connection import TOO_MANY, AsgiApp, Connection, Shared

__all__ = ["OVERFLOW", "TOO_MANY", "AsgiApp", "Bounds", "Connection", "Shared"]
