"""A gateway: one state machine that calls APIs, with plain requests and responses around it."""

from __future__ import annotations

import asyncio
import json as jsonlib
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlencode, urlsplit, urlunsplit

from stepout.client import blocking, tracing
from stepout.client.endpoint import Endpoint
from stepout.client.exchange import (
    Answer,
    Pause,
    Policy,
    Step,
    Timeout,
    Times,
    WireError,
    answer_limit,
    exchange,
)
from stepout.config import PAYLOAD_LIMIT, READ_SECONDS, ClientSettings, load_client
from stepout.errors import SettingsError, StepoutError
from stepout.gateway.carried import is_field_value
from stepout.gateway.codec import Encoded, encode
from stepout.gateway.messages import Headers, Pair, Request, Response
from stepout.gateway.upstreams import Upstreams

__all__ = ["AsyncGateway", "Call", "Gateway", "default_gateway"]

_log = logging.getLogger("stepout.client")

TRACE_VARIABLE: Final = "_X_AMZN_TRACE_ID"
"""Where Lambda says which trace an invocation belongs to."""

HeaderTypes: TypeAlias = Headers | Mapping[str, str] | Iterable[Pair]
ParamTypes: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]] | str
DataTypes: TypeAlias = bytes | str | Mapping[str, Any] | Sequence[tuple[str, Any]]
Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Call:
    """What a hook is told of a call that is over. Seconds; no headers, no bodies, no query."""

    method: str
    url: str
    upstream: str | None
    status: int | None
    """Of the API's answer; None where there is none."""
    error: str | None
    times: Times
    dropped: tuple[str, ...]


Hook: TypeAlias = Callable[[Call], None]


class _Base:
    """What both gateways know: the machine, the upstreams, what may be repeated."""

    def __init__(
        self,
        state_machine_arn: str,
        *,
        upstreams: Upstreams | Path | str | None = None,
        endpoint_url: str | None = None,
        timeout: float = READ_SECONDS,
        retries: int = 0,
        payload_limit: int = PAYLOAD_LIMIT,
        hooks: Iterable[Hook] = (),
        session: Any = None,
    ) -> None:
        """A gateway to the machine of an ARN.

        `upstreams` is the upstreams file: with it, what no upstream has is refused before the call,
        and callers' credentials are dropped where the connection has one. `endpoint_url` is the
        endpoint, unless botocore's settings name it. `timeout` are seconds to wait for an answer;
        less than the 60 of an HTTP Task may leave a call running whose answer nobody gets.
        `retries` repeats idempotent requests that failed on their way. `payload_limit` is that of
        the server, 262,144 bytes on AWS. `hooks` are plain functions, told each call that is over;
        one that raises is logged and changes nothing. `session` is a botocore session, for
        credentials of its own. Raises `SettingsError`.
        """
        if isinstance(upstreams, Path | str):
            upstreams = Upstreams.load(Path(upstreams))
        self._hooks = tuple(hooks)
        if problems := [*_problems(timeout, retries, payload_limit, self._hooks)]:
            raise SettingsError("\n".join(problems))
        self.upstreams = upstreams
        self.endpoint = Endpoint(state_machine_arn, endpoint_url, session)
        self.timeout = Timeout(read=timeout)
        self._policy = Policy(retries=retries)
        self.payload_limit = payload_limit

    @classmethod
    def from_config(cls, file: Path | None = None, **options: Any) -> Self:
        """A gateway as `STEPOUT_*` and the table `[client]` of stepout.toml have it.

        `options` are those of the constructor and come first. Raises `SettingsError`.
        """
        arn = options.pop("state_machine_arn", None)
        return cls.of(load_client({"state_machine_arn": arn}, os.environ, file), **options)

    @classmethod
    def of(cls, settings: ClientSettings, **options: Any) -> Self:
        """A gateway as settings have it; `options` come first. Raises `SettingsError`."""
        given = {setting.name: getattr(settings, setting.name) for setting in fields(settings)}
        return cls(**{**given, **options})

    def _encode(self, request: Request) -> Encoded:
        encoded = encode(request, self.upstreams, self.payload_limit)
        trace = os.environ.get(TRACE_VARIABLE)
        is_usable = trace and trace.isascii() and is_field_value(trace)
        return replace(encoded, trace=trace) if is_usable and not encoded.trace else encoded

    def _steps(
        self, encoded: Encoded, credentials: Any, times: Times
    ) -> Generator[Step, Answer | None, Response]:
        return exchange(encoded, self.endpoint, credentials, self._policy, times)

    @contextmanager
    def _observed(self, encoded: Encoded, times: Times) -> Iterator[list[Response]]:
        """Tell log, hooks and tracer of a call when it is over, however it ends."""
        request, url = encoded.request, encoded.url
        answers: list[Response] = []
        error: str | None = None
        started = time.perf_counter()
        with tracing.span(request.method, url, encoded.upstream) as span:
            try:
                yield answers
            except BaseException as raised:
                error = type(raised).__name__
                raise
            finally:
                times.total = time.perf_counter() - started
                status = answers[0].status_code if answers else None
                call = Call(
                    request.method, url, encoded.upstream, status, error, times, encoded.dropped
                )
                tracing.conclude(span, call.status, call.error, times)
                self._tell(call)

    def _tell(self, call: Call) -> None:
        if _log.isEnabledFor(logging.INFO):
            _log.info(
                "call method=%s url=%s upstream=%s status=%s error=%s attempts=%d total_ms=%.1f "
                "network_ms=%.1f execution_ms=%.1f execution=%s",
                *(call.method, call.url, call.upstream, call.status, call.error),
                *(call.times.attempts, call.times.total * 1e3, call.times.network * 1e3),
                *(call.times.execution * 1e3, call.times.execution_arn),
            )
        for hook in self._hooks:
            try:
                hook(call)
            except Exception:  # noqa: BLE001 — told here
                # The call may have had its effect: its answer, or its own error, is not given away
                # for that of a watcher.
                _log.exception("hook failed")


def _problems(
    timeout: Any, retries: Any, payload_limit: Any, hooks: Iterable[Any]
) -> Iterator[str]:
    try:
        Timeout(read=timeout)
    except ValueError as error:
        yield str(error)
    for name, value, least in (("retries", retries, 0), ("payload_limit", payload_limit, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"Expected {name} to be a whole number from {least}, found {value!r}."
    for hook in hooks:
        if not callable(hook) or iscoroutinefunction(hook):
            yield f"Expected a hook to be a plain function, found {hook!r}."


def _concluded(response: Response, encoded: Encoded, times: Times) -> Response:
    """The response with what is known of its call."""
    known = {
        "upstream": encoded.upstream,
        "dropped": encoded.dropped,
        "execution_arn": times.execution_arn,
        "times": times,
    }
    return replace(response, extensions={**response.extensions, **known})


class Gateway(_Base):
    """Calls APIs through a state machine; blocks. Safe to share among threads.

    gateway = Gateway("arn:aws:states:eu-west-1:123456789012:stateMachine:stepout-gateway")
    gateway.request("GET", "https://api.example.com/v1/items").json()
    """

    def __init__(self, state_machine_arn: str, **options: Any) -> None:
        super().__init__(state_machine_arn, **options)
        self._wire = blocking.Wire(self.endpoint, answer_limit(self.payload_limit))

    __init__.__doc__ = _Base.__init__.__doc__

    def request(
        self,
        method: str,
        url: str,
        *,
        params: ParamTypes | None = None,
        headers: HeaderTypes | None = None,
        json: Json = None,
        data: DataTypes | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Call an API; see `build` for the arguments and `send` for what is raised.

        `timeout` are seconds above 0; `ValueError` for anything else.
        """
        request = build(method, url, params=params, headers=headers, json=json, data=data)
        return self.send(request, None if timeout is None else Timeout(read=timeout))

    def send(self, request: Request, timeout: Timeout | None = None) -> Response:
        """Call an API with a request as it is.

        Raises `NotCarried` and `UnknownUpstream` before anything is sent; then `CallRefused`,
        `CallFailed`, `CallTimedOut` and `TruncatedResponse`.
        """
        encoded, times = self._encode(request), Times()
        with self._observed(encoded, times) as answers:
            steps = self._steps(encoded, self.endpoint.credentials(), times)
            response = self._perform(steps, timeout or self.timeout)
            answers.append(response)
        return _concluded(response, encoded, times)

    def _perform(
        self, steps: Generator[Step, Answer | None, Response], timeout: Timeout
    ) -> Response:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    answer = self._wire.send(step, timeout)
                except WireError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            response: Response = end.value
            return response

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncGateway(_Base):
    """Calls APIs through a state machine, on asyncio. Needs h11 (`stepout[async]`).

    Event loops may share it: each has connections of its own.
    """

    def __init__(self, state_machine_arn: str, **options: Any) -> None:
        try:
            from stepout.client.streams import Wire
        except ModuleNotFoundError as error:
            raise StepoutError(
                f"The asynchronous client needs {error.name}, which is not installed: "
                "pip install 'stepout[async]'"
            ) from None
        super().__init__(state_machine_arn, **options)
        self._wire = Wire(self.endpoint, answer_limit(self.payload_limit))

    __init__.__doc__ = _Base.__init__.__doc__

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: ParamTypes | None = None,
        headers: HeaderTypes | None = None,
        json: Json = None,
        data: DataTypes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 — as httpx and requests have it
    ) -> Response:
        """Call an API; see `build` for the arguments and `send` for what is raised.

        `timeout` are seconds above 0; `ValueError` for anything else.
        """
        request = build(method, url, params=params, headers=headers, json=json, data=data)
        return await self.send(request, None if timeout is None else Timeout(read=timeout))

    async def send(self, request: Request, timeout: Timeout | None = None) -> Response:  # noqa: ASYNC109
        """Call an API with a request as it is; raises what `Gateway.send` raises.

        Cancelling ends the wait and the connection; the execution goes on, as on AWS.
        """
        encoded, times = self._encode(request), Times()
        with self._observed(encoded, times) as answers:
            endpoint = self.endpoint
            credentials = (
                await asyncio.to_thread(endpoint.credentials)
                if endpoint.needs_time
                else endpoint.credentials()
            )
            steps = self._steps(encoded, credentials, times)
            response = await self._perform(steps, timeout or self.timeout)
            answers.append(response)
        return _concluded(response, encoded, times)

    async def _perform(
        self, steps: Generator[Step, Answer | None, Response], limits: Timeout
    ) -> Response:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    answer = await self._wire.send(step, limits)
                except WireError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            response: Response = end.value
            return response

    async def close(self) -> None:
        """Close the connections that are kept open."""
        self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def build(
    method: str,
    url: str,
    *,
    params: ParamTypes | None = None,
    headers: HeaderTypes | None = None,
    json: Json = None,
    data: DataTypes | None = None,
) -> Request:
    """A request from the arguments that httpx and requests take.

    `params` are added to the URL's query; `json` is written as JSON; `data` is a text, bytes, or
    the fields of a form. A Content-Type is added unless `headers` have one.
    """
    found = Headers(headers.pairs if isinstance(headers, Headers) else headers or ())
    content_type, body = _body(json, data)
    if content_type is not None and "content-type" not in found:
        found = Headers((*found.pairs, ("Content-Type", content_type)))
    return Request(method.upper(), _with_params(url, params), found, body)


def _body(json: Json, data: DataTypes | None) -> tuple[str | None, bytes]:
    if json is not None and data is not None:
        raise TypeError("Expected json or data, found both.")
    if json is not None:
        text = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return "application/json", text.encode()
    if data is None:
        return None, b""
    if isinstance(data, str):
        return "text/plain; charset=utf-8", data.encode()
    if isinstance(data, bytes):
        return None, data
    return "application/x-www-form-urlencoded", _urlencoded(data).encode()


def _with_params(url: str, params: ParamTypes | None) -> str:
    if not params:
        return url
    added = params if isinstance(params, str) else _urlencoded(params)
    if not added:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # refused in words when it is encoded
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))


def _urlencoded(fields: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Names and values; one that is None is left out, as requests does."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return urlencode([(name, value) for name, value in pairs if value is not None], doseq=True)


@lru_cache(1)
def default_gateway() -> Gateway:
    """The gateway of `stepout.get` and the like, made at the first call by `from_config`."""
    return Gateway.from_config()


def request(method: str, url: str, **arguments: Any) -> Response:
    """Call an API by the default gateway; see `Gateway.request`."""
    return default_gateway().request(method, url, **arguments)


def get(url: str, **arguments: Any) -> Response:
    """GET by the default gateway; see `Gateway.request`."""
    return request("GET", url, **arguments)


def post(url: str, **arguments: Any) -> Response:
    """POST by the default gateway; see `Gateway.request`."""
    return request("POST", url, **arguments)
