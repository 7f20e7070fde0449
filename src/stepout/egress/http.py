"""The way out: judge, wait for a slot, send over the reach's pool, log the decision."""

from __future__ import annotations

import logging
import re
import ssl
import time
from typing import Final

import aiohttp

from stepout.egress.destination import Destination
from stepout.egress.message import Request, Response
from stepout.egress.policy import Decision, Policy, Reach, Verdict
from stepout.egress.pool import CONNECT_SECONDS, ConnectTo, Exchange, Network, Place, Pool
from stepout.egress.proxy import Proxy
from stepout.egress.resolve import DnsResolver, Resolver
from stepout.egress.slots import Slots
from stepout.errors import EgressFailed, EgressRefused

__all__ = ["ConnectTo", "Egress", "Place"]

_log = logging.getLogger("stepout.egress")

MAX_POOLS: Final = 32
"""Reaches with open connections; the one that was used least lately makes room. Ours."""

_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that say whom a request is for and where it ends: the egress's own."""


class Egress:
    """Sends judged requests over pooled connections; made in the event loop that uses it."""

    def __init__(
        self,
        policy: Policy,
        *,
        trust: ssl.SSLContext,
        connect_to: ConnectTo | None = None,
        resolver: Resolver | None = None,
        proxy: Proxy | None = None,
        slots: Slots | None = None,
    ) -> None:
        self._policy = policy
        self._network = Network(
            trust=trust,
            resolver=resolver or DnsResolver(),
            connect_to={} if connect_to is None else connect_to,
            proxy=proxy,
        )
        self._slots = slots or Slots()
        self._pools: dict[Reach, Pool] = {}
        self._retired: list[Pool] = []

    def use(self, policy: Policy) -> None:
        """Judge by another policy from now on; no connection that was made before is used again.

        A request that is under way goes on as it was judged.
        """
        self._policy = policy
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            self._retire(pool)

    async def request(self, request: Request, *, max_body: int) -> Response:
        """Send a request once; see `Client`."""
        started = time.perf_counter()
        policy = self._policy
        verdict = policy.judge(request)
        exchange = Exchange(verdict.decision)
        outcome: dict[str, object] = {}
        try:
            response = await self._send(request, policy, verdict, exchange, max_body)
            outcome["status"] = response.status
        except EgressRefused as error:
            outcome["refused"] = error.reason
            raise
        except EgressFailed as error:
            outcome["failure"] = str(error)
            raise
        except BaseException as error:
            # The caller's deadline, above all: what was decided is told.
            outcome["failure"] = type(error).__name__
            raise
        finally:
            _report(request, exchange.decision, started, outcome)
        return response

    async def close(self) -> None:
        """Close all connections."""
        for pool in (*self._pools.values(), *self._retired):
            await pool.close()
        await self._network.resolver.close()

    async def _send(
        self,
        request: Request,
        policy: Policy,
        verdict: Verdict,
        exchange: Exchange,
        max_body: int,
    ) -> Response:
        destination = _let_out(verdict)
        headers = _folded(request.headers)
        place = f"{destination.host}:{destination.port}"
        await self._slots.take(place)
        try:
            if self._policy is not policy:
                # Another policy came while the request waited.
                verdict = self._policy.judge(request)
                exchange.decision = verdict.decision
                _let_out(verdict)
            # Nothing is awaited from the judgement to here: the pool is this policy's.
            pool = self._pool(verdict.reach)
            return await pool.send(request, destination, headers, exchange, max_body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _explain(error, destination)
        finally:
            self._slots.free(place)
        # Raised in the handler, it would keep aiohttp's error, whose repr may hold the headers.
        raise EgressFailed(failure)

    def _pool(self, reach: Reach) -> Pool:
        pool = self._pools.pop(reach, None)
        if pool is None:
            if len(self._pools) >= MAX_POOLS:
                self._retire(self._pools.pop(next(iter(self._pools))))
            pool = Pool(reach, self._network)
        self._pools[reach] = pool
        return pool

    def _retire(self, pool: Pool) -> None:
        pool.retire()
        self._retired = [one for one in (*self._retired, pool) if one.is_used]


def _let_out(verdict: Verdict) -> Destination:
    if verdict.destination is None or not verdict.decision.allowed:
        raise EgressRefused(verdict.decision.reason)
    return verdict.destination


def _folded(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Headers for aiohttp, which would drop all but the last of those that differ in case only:
    their values are joined, which means the same (RFC 9110, 5.3)."""
    spelled: dict[str, str] = {}
    folded: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in _FRAMING:
            raise EgressRefused(f"header-managed: {name} cannot be set")
        first = spelled.setdefault(name.lower(), name)
        folded.setdefault(first, []).append(value)
    return [(name, ",".join(values)) for name, values in folded.items()]


def _explain(error: Exception, destination: Destination) -> str:
    """What failed and where; never the path or query, which may hold secrets."""
    where = f"{destination.host}:{destination.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            certificate_error = error.certificate_error
            why = getattr(certificate_error, "verify_message", None) or certificate_error
            return f"The certificate of {where} was not accepted: {why}."
        case aiohttp.ClientConnectorSSLError():
            return f"The TLS handshake with {where} failed: {error.os_error}."
        case aiohttp.ServerTimeoutError():
            return f"The connection to {where} was not made in {CONNECT_SECONDS:g} seconds."
        case aiohttp.ClientConnectorError():
            return f"The connection to {where} failed: {error.os_error}."
        case aiohttp.ServerDisconnectedError():
            return f"{where} closed the connection before it answered."
        case aiohttp.ClientPayloadError():
            return f"The answer of {where} broke off."
        case aiohttp.ClientResponseError():
            return f"The answer of {where} is not HTTP: {_without_quotes(error.message)}."
    return f"The exchange with {where} failed: {error}."


_QUOTED: Final = re.compile(r"(?:bytearray\()?b['\"].*", re.DOTALL)


def _without_quotes(message: str) -> str:
    """aiohttp's reason without what it quotes of an answer, which may repeat the credential."""
    return " ".join(_QUOTED.sub("", message).split()).rstrip(" :.")


def _report(
    request: Request, decision: Decision, started: float, outcome: dict[str, object]
) -> None:
    """One line for each decision. Of the URL only host and port: the rest may hold secrets."""
    if not _log.isEnabledFor(logging.INFO):
        return
    refused = outcome.pop("refused", None)
    word = "refused" if refused else "would-refuse" if decision.would_refuse else "allowed"
    fields: dict[str, object] = {
        "decision": word,
        "reason": refused or decision.reason,
        "rule": decision.rule,
        "mode": decision.mode,
        "method": decision.method,
        "host": decision.host,
        "port": decision.port,
        "address": ",".join(map(str, decision.addresses)),
        "role": request.role,
        "machine": request.machine,
        "connection": request.connection,
        **outcome,
        "duration_ms": round((time.perf_counter() - started) * 1_000, 3),
    }
    _log.info("egress", extra={"fields": fields})
