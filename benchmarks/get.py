"""The bare HTTPS GET: the server's own client, without a server around it.

Reads lines `IN_FLIGHT REQUESTS` and answers each with one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.origin import URL
from benchmarks.processes import quantile
from stepout.cli.event_loop import new_event_loop
from stepout.egress.http import Egress
from stepout.egress.message import Request
from stepout.egress.policy import Policy
from stepout.egress.trust import trust

REQUEST = Request(
    method="GET", url=URL, headers=(("User-Agent", "bench"), ("Range", "bytes=0-262144"))
)


async def measure(egress: Egress, in_flight: int, requests: int) -> dict[str, float]:
    latencies: list[float] = []
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            started = time.perf_counter()
            await egress.request(REQUEST, max_body=262_144)
            latencies.append(time.perf_counter() - started)

    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    latencies.sort()
    return {
        "rate": requests / seconds,
        "p50": quantile(latencies, 0.5),
        "p99": quantile(latencies, 0.99),
        "cpu": cpu / requests,
    }


async def main(certificate: str, port: int) -> None:
    connect_to = {("api.example.com", 443): ("127.0.0.1", port)}
    egress = Egress(Policy(), trust=trust([Path(certificate)]), connect_to=connect_to)
    print("ready", flush=True)
    for line in sys.stdin:
        in_flight, requests = map(int, line.split())
        print(json.dumps(await measure(egress, in_flight, requests)), flush=True)
    await egress.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
