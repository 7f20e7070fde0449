"""The bare front: the server's own HTTP front with an app that answers a fixed JSON document."""

from __future__ import annotations

import asyncio
import json
from typing import Any

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


async def main() -> None:
    listener = listen("127.0.0.1", 0)
    front = Front(app, None)
    await front.start([listener])
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        runner.run(main())
