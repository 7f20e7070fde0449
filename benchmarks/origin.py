"""The HTTPS origin of the measurements: a JSON document of some 6 KB."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from stepout.origin import Origin

URL = "https://api.example.com/v1/document"
DOCUMENT = {"items": [{"id": number, "name": f"item {number}"} for number in range(190)]}


def main() -> None:
    origin = Origin()
    origin.get(URL).respond(json=DOCUMENT)
    Path(sys.argv[1]).write_bytes(origin.certificate_pem)
    with origin:
        # For those that come directly, without the server's connect-to.
        origin.get(URL.replace("example.com", f"example.com:{origin.port}")).respond(json=DOCUMENT)
        print(origin.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    assert 5_000 < len(json.dumps(DOCUMENT)) < 7_000
    main()
