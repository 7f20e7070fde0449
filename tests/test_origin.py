"""The programmable origin does what its routes say, in turn."""

from __future__ import annotations

import contextlib
import gc
import http.client
import socket
import ssl
import warnings

import pytest

from stepout.origin import Answer, Origin
from stepout.testing import Server

HOST = "api.example.com"
URL = f"https://{HOST}/v1/x"


def fetch(
    origin: Origin, method: str = "GET", path: str = "/v1/x", **headers: str
) -> http.client.HTTPResponse:
    context = ssl.create_default_context(cadata=origin.certificate_pem.decode())
    connection = http.client.HTTPSConnection(HOST, context=context, timeout=5)
    address = origin.connect_to[HOST, 443]
    raw = socket.create_connection(address, 5)
    connection.sock = context.wrap_socket(raw, server_hostname=HOST)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined] # kept beside the response
    connection.close()
    return response


def test_answers_come_in_turn_and_the_last_stays() -> None:
    with Origin() as origin:
        route = origin.get(URL).respond(503).respond(402, json={"error": "no money"})
        assert [fetch(origin).status for _ in range(3)] == [503, 402, 402]
        assert [request.target for request in route.requests] == ["/v1/x"] * 3
        assert [answer.status for _, answer in origin.exchanges] == [503, 402, 402]


def test_what_has_no_route_is_404() -> None:
    with Origin() as origin:
        origin.get(URL)
        assert fetch(origin).status == 200
        missing = fetch(origin, path="/other")
        assert missing.status == 404
        assert b"no route for GET /other on api.example.com" in missing.body  # type: ignore[attr-defined]
        assert fetch(origin, method="POST").status == 404


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=0-262144", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("pages=1-2", 200, b"0123456789", None),
    ],
)
def test_a_document_is_served_in_ranges(
    asked: str | None, status: int, body: bytes, content_range: str | None
) -> None:
    with Origin() as origin:
        origin.get(URL).document(b"0123456789", "text/plain")
        response = fetch(origin, **({"Range": asked} if asked else {}))
        assert response.status == status
        assert response.body == body  # type: ignore[attr-defined]
        assert response.getheader("content-range") == content_range


def test_a_handler_sees_the_request() -> None:
    with Origin() as origin:
        origin.get(URL).handle(lambda request: Answer(body=request.target.encode()))
        assert fetch(origin, path="/v1/x?a=b").body == b"/v1/x?a=b"  # type: ignore[attr-defined]


def test_many_origins_stand_beside_each_other() -> None:
    with Origin() as one, Origin() as two:
        one.get(URL).respond(text="one")
        two.get(URL).respond(text="two")
        assert fetch(one).body == b"one"  # type: ignore[attr-defined]
        assert fetch(two).body == b"two"  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["http://api.example.com/", "/v1", "https:///x"])
def test_only_https_urls_have_routes(url: str) -> None:
    origin = Origin()
    with pytest.raises(ValueError, match="Expected an https URL"):
        origin.get(url)
    origin.stop()


def test_servers_stand_beside_each_other() -> None:
    with Server() as one, Server() as two:
        assert one.url != two.url
        one.client("stepfunctions").list_state_machines()


def test_a_server_that_cannot_start_says_why() -> None:
    from stepout.errors import SettingsError

    with Server() as one:
        taken = int(one.url.rpartition(":")[2])
        with pytest.raises(SettingsError, match="cannot listen on"):
            Server(port=taken).start()


def test_the_plugin_gives_fixtures_to_any_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(stepout_origin, stepout_server, sfn, events):
            assert sfn.list_state_machines()["stateMachines"] == []
            assert events.list_connections()["Connections"] == []
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


pytest_plugins = ["pytester"]


def test_a_handshake_that_is_under_way_ends_with_the_origin() -> None:
    """Its transport would be left open, and warned of whenever garbage is collected."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        with (
            Origin() as origin,
            socket.create_connection(("127.0.0.1", origin.port), 5) as client,
        ):
            client.sendall(b"\x16\x03\x01")  # the beginning of a ClientHello
            # An exchange after it: the half one has been accepted by then.
            origin.get(URL).respond(200)
            assert fetch(origin).status == 200
            origin.stop()
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        gc.collect()
    assert [str(one.message) for one in told if "unclosed" in str(one.message)] == []
