"""requests below which a gateway is: what is requests' own stays so; an SDK made on it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
import requests
import stripe
import urllib3
from requests.auth import HTTPBasicAuth
from tests.client.world import OPEN, World, opened

from stepout.client.exchange import Timeout
from stepout.client.requests import _ERRORS, Adapter, Response
from stepout.errors import BodyNotCarried, GatewayError, UnknownUpstream
from stepout.gateway import messages


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.origin._routes.clear()


@pytest.fixture
def session(world: World) -> Iterator[requests.Session]:
    with world.gateway() as gateway, requests.Session() as found:
        found.mount("https://", Adapter(gateway))
        yield found


def test_an_adapter_without_a_gateway_takes_that_of_the_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
    with requests.Session() as session:
        session.mount(OPEN, Adapter())
        assert session.get(f"{OPEN}/x").text == "x"


def test_the_response_knows_what_the_gateway_knows(world: World, session: requests.Session) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    response = session.get(f"{OPEN}/x")
    assert isinstance(response, Response)
    assert (response.stepout["upstream"], response.stepout["body"]) == ("open", "exact")
    assert (response.url, response.ok) == (f"{OPEN}/x", True)
    assert response.elapsed.total_seconds() > 0
    again = pickle.loads(pickle.dumps(response))
    assert (again.text, again.stepout["upstream"]) == ("x", "open")


def test_an_error_has_our_message_the_request_and_our_error(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.InvalidSchema, match="No upstream has") as caught:
        session.get("https://nowhere.example.com/x")
    assert isinstance(caught.value.__cause__, UnknownUpstream)
    assert str(caught.value) == str(caught.value.__cause__)
    assert caught.value.request is not None
    assert caught.value.request.url == "https://nowhere.example.com/x"


def test_every_error_of_a_call_has_one_of_requests() -> None:
    mapped = {ours for ours, _, _ in _ERRORS}
    unmapped = {"BodyNotCarried", "AnswerFailed"}
    for error in GatewayError.__subclasses__():
        assert error in mapped or error.__name__ in unmapped


def test_the_json_of_a_dropped_body_is_no_json_for_requests_either(
    world: World, session: requests.Session
) -> None:
    world.origin.get(f"{OPEN}/x").respond(404, json={"why": "gone"})
    response = session.get(f"{OPEN}/x")
    assert (response.text, response.reason) == ("", "Not Found")
    with pytest.raises(BodyNotCarried, match="drops the bodies") as caught:
        response.json()
    assert isinstance(caught.value, requests.exceptions.JSONDecodeError)
    assert str(caught.value).endswith("--error-bodies.")
    with pytest.raises(requests.HTTPError, match="404 Client Error: Not Found"):
        response.raise_for_status()


def test_a_server_that_keeps_error_bodies_hands_them_on_and_redirects_are_followed() -> None:
    with opened(error_bodies=True) as world, world.gateway() as gateway:
        world.origin.get(f"{OPEN}/x").respond(404, json={"why": "gone"})
        world.origin.get(f"{OPEN}/binary").respond(
            500, body=b"\xff" * 9, headers={"Content-Type": "image/png"}
        )
        world.origin.head(f"{OPEN}/head").respond(404, text="not here")
        cookie = [("Location", "/new"), ("Set-Cookie", "a=1")]
        world.origin.get(f"{OPEN}/old").respond(302, headers=cookie)
        new = world.origin.get(f"{OPEN}/new").respond(200, text="new")
        with requests.Session() as session:
            session.mount("https://", Adapter(gateway))
            assert session.get(f"{OPEN}/x").json() == {"why": "gone"}
            binary = session.get(f"{OPEN}/binary")
            assert (binary.content, binary.headers["content-type"]) == (b"", "image/png")
            assert binary.stepout["body"] == "not carried"  # type: ignore[attr-defined]  # ours
            with pytest.raises(BodyNotCarried):
                binary.json()
            assert session.head(f"{OPEN}/head").stepout["body"] == "exact"  # type: ignore[attr-defined]  # ours
            response = session.get(f"{OPEN}/old")
    assert (response.text, [each.status_code for each in response.history]) == ("new", [302])
    assert new.requests[0].header("cookie") == "a=1"


def test_a_response_can_be_streamed(world: World, session: requests.Session) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="one\ntwo\n")
    with session.get(f"{OPEN}/x", stream=True) as response:
        assert [*response.iter_lines(decode_unicode=True)] == ["one", "two"]
    with session.get(f"{OPEN}/x", stream=True) as response:
        assert [*response.iter_content(3)] == [b"one", b"\ntw", b"o\n"]
    with session.get(f"{OPEN}/x", stream=True) as response:
        assert response.raw.read() == b"one\ntwo\n"


def test_an_answer_to_head_may_say_how_long_it_would_be(
    world: World, session: requests.Session
) -> None:
    headers = {"Content-Length": "9", "Content-Encoding": "gzip"}
    world.origin.head(f"{OPEN}/x").respond(200, framing="close", headers=headers)
    response = session.head(f"{OPEN}/x")
    assert (response.headers["content-length"], response.content) == ("9", b"")


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/plain", "ISO-8859-1"),
        ("text/plain; charset=utf-8", "utf-8"),
        ("text/html; charset=Windows-1252", "Windows-1252"),
        ("application/json", "utf-8"),
        ("application/xml", None),
    ],
)
def test_the_encoding_is_guessed_as_requests_does(
    content_type: str, encoding: str | None, world: World, session: requests.Session
) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, body=b'"x"', headers={"Content-Type": content_type})
    assert session.get(f"{OPEN}/x").encoding == encoding


def test_hooks_are_called(world: World, session: requests.Session) -> None:
    world.origin.get(f"{OPEN}/x").respond(200, text="x")
    seen = []
    session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
    session.get(f"{OPEN}/x")
    assert seen == [200]


def test_a_login_of_requests_gives_way_to_that_of_the_connection(
    world: World, session: requests.Session
) -> None:
    route = world.origin.get("https://bearer.example.com/x").respond(200)
    session.get("https://bearer.example.com/x", auth=HTTPBasicAuth("me", "placeholder"))
    assert route.requests[0].header("authorization") == "Bearer real-token"


BODIES: list[tuple[Any, bytes]] = [
    ("grüße", "grüße".encode()),
    (b"bytes", b"bytes"),
    (io.BytesIO(b"file"), b"file"),
    (io.StringIO("text file ä"), "text file ä".encode()),
    (iter([b"a", b"b"]), b"ab"),
    ([("a", "1"), ("a", "2")], b"a=1&a=2"),
]


@pytest.mark.parametrize(("data", "sent"), BODIES)
def test_bodies_of_all_kinds_are_read(
    data: Any, sent: bytes, world: World, session: requests.Session
) -> None:
    route = world.origin.post(f"{OPEN}/x").respond(200)
    session.post(f"{OPEN}/x", data=data)
    assert route.requests[0].body == sent


def test_a_streamed_body_is_read_no_further_than_the_limit(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.InvalidSchema, match="more than 262,144 bytes"):
        session.post(f"{OPEN}/x", data=repeat(b"x" * 65_536))


LIMITS: list[tuple[Any, tuple[float, float]]] = [
    (None, (5.0, 305.0)),
    (2.0, (2.0, 2.0)),
    ((3, 1), (3, 1)),
    ((None, 7), (5.0, 7)),
    (urllib3.Timeout(connect=1, read=2), (1, 2)),
    (urllib3.Timeout(connect=1), (1, 305.0)),
    (urllib3.Timeout(), (5.0, 305.0)),
    (urllib3.Timeout(connect=1, read=9, total=5), (1, 5)),
    (urllib3.Timeout(total=3), (3, 3)),
]


@pytest.mark.parametrize(("given", "expected"), LIMITS)
def test_the_limits_of_requests_hold(
    given: Any, expected: tuple[float, float], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def send(_request: messages.Request, timeout: Timeout) -> messages.Response:
        found.append(timeout)
        return messages.Response(
            200, "OK", messages.Headers(), b"", OPEN, extensions={"body": "exact"}
        )

    with world.gateway() as gateway, requests.Session() as session:
        monkeypatch.setattr(gateway, "send", send)
        session.mount("https://", Adapter(gateway))
        session.get(f"{OPEN}/x", timeout=given)
    assert [(limits.connect, limits.read) for limits in found] == [pytest.approx(expected, abs=0.5)]


@pytest.mark.parametrize("given", [0, (1, 0), -1, float("nan"), (True, 1)])
def test_a_time_out_that_is_none_is_refused(session: requests.Session, given: Any) -> None:
    with pytest.raises(ValueError, match="Expected a timeout of seconds above 0, found"):
        session.get(f"{OPEN}/x", timeout=given)


def test_a_time_out_of_three_numbers_is_refused(session: requests.Session) -> None:
    with pytest.raises(ValueError, match=r"a pair \(connect, read\), found \(1, 2, 3\)"):
        session.get(f"{OPEN}/x", timeout=(1, 2, 3))  # type: ignore[arg-type]  # wrong on purpose


# --- An SDK, unmodified ---------------------------------------------------------------------------

STRIPE = """
[upstream.bearer]
url = "https://api.stripe.com/v1/"
auth = "api-key"
header = "Authorization"
prefix = "Bearer "
"""
API = "https://api.stripe.com/v1"


@pytest.fixture(scope="module")
def stripe_world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with opened(STRIPE, error_bodies=True) as found:
            yield found


@pytest.fixture
def shop(stripe_world: World) -> Iterator[stripe.StripeClient]:
    with stripe_world.gateway() as gateway, requests.Session() as session:
        session.mount("https://api.stripe.com", Adapter(gateway))
        http = stripe.RequestsClient(session=session)
        yield stripe.StripeClient("sk_placeholder", http_client=http)


def test_stripe_makes_a_customer_with_the_key_of_the_connection(
    stripe_world: World, shop: stripe.StripeClient
) -> None:
    route = stripe_world.origin.post(f"{API}/customers").respond(
        200, json={"id": "cus_1", "object": "customer", "name": "Zoë"}
    )
    customer = shop.v1.customers.create({"name": "Zoë", "metadata": {"a": "1"}})
    assert (customer.id, customer.name) == ("cus_1", "Zoë")
    (request,) = route.requests
    assert request.header("authorization") == "Bearer real-token"
    assert request.body == b"name=Zo%C3%AB&metadata[a]=1"
    assert request.header("idempotency-key")


def test_stripe_turns_pages(stripe_world: World, shop: stripe.StripeClient) -> None:
    def page(number: int, *, is_last: bool) -> dict[str, Any]:
        data = [{"id": f"cus_{number}", "object": "customer"}]
        return {"object": "list", "url": "/v1/customers", "data": data, "has_more": not is_last}

    route = stripe_world.origin.get(f"{API}/customers")
    route.respond(200, json=page(1, is_last=False)).respond(200, json=page(2, is_last=True))
    found = [each.id for each in shop.v1.customers.list({"limit": 1}).auto_paging_iter()]
    assert found == ["cus_1", "cus_2"]
    assert "starting_after=cus_1" in route.requests[1].target


def test_stripe_knows_its_errors_where_the_server_keeps_them(
    stripe_world: World, shop: stripe.StripeClient
) -> None:
    error = {"type": "card_error", "code": "card_declined", "message": "Declined."}
    stripe_world.origin.post(f"{API}/payment_intents").respond(402, json={"error": error})
    with pytest.raises(stripe.CardError, match="Declined") as caught:
        shop.v1.payment_intents.create({"amount": 1, "currency": "eur"})
    assert caught.value.code == "card_declined"


def test_on_aws_stripe_learns_the_status_of_an_error_and_no_more(
    world: World, session: requests.Session
) -> None:
    world.origin.post("https://bearer.example.com/v1/customers").respond(402, json={"error": {}})
    client = stripe.StripeClient(
        "sk_placeholder",
        base_addresses={"api": "https://bearer.example.com"},
        http_client=stripe.RequestsClient(session=session),
    )
    with pytest.raises(stripe.APIError, match="402") as caught:
        client.v1.customers.create({"name": "x"})
    assert caught.value.http_status == 402
