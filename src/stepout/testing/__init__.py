"""Step Functions and an HTTPS origin inside your tests: real servers on loopback, nothing mocked.

    def test_it(stepout_origin, stepout_server, sfn):
        stepout_origin.get("https://api.example.com/v1/x").respond(402, json={"error": "no money"})
        …

The fixtures come with the pytest plugin that this package installs.
"""

from stepout.origin import Answer, Origin, Received, Route
from stepout.testing.server import Server

__all__ = ["Answer", "Origin", "Received", "Route", "Server"]
