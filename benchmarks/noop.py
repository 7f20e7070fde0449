"""The bare front: the server's own HTTP front with an app that answers a fixed JSON document.

With the argument `uvicorn` the same app behind uvicorn's protocol, which has the same parser and no
limits: what the front is held against.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import uvicorn

from stepout.api.front import Front, listen
from stepout.cli.event_loop import new_event_loop

ANSWER = json.dumps(
    {"executionArn": "arn", "startDate": 1.0, "stopDate": 1.0, "status": "SUCCEEDED", "output": "1"}
).encode()
HEADERS = [
    (b"content-type", b"application/x-amz-json-1.0"),
    (b"content-length", str(len(ANSWER)).encode()),
]


async def app(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def serve_own(listener: socket.socket) -> None:
    await Front(app, None).start([listener])


async def serve_uvicorn(listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.on_tick(0)
    await server.startup(sockets=[listener])


FRONTS = {"own": serve_own, "uvicorn": serve_uvicorn}


async def main(front: str) -> None:
    listener = listen("127.0.0.1", 0)
    await FRONTS[front](listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        runner.run(main(*sys.argv[1:] or ["own"]))
