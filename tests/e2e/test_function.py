"""Lambda handlers that never heard of stepout: our example, and the one of the article."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import ROLE

from stepout.testing import Origin, Server

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "lambda"
ARTICLE = ROOT.parent / "shared" / "article.txt"
URL = "https://raw.example.com/schema/item.json"
DOCUMENT = {"version": "string", "accountId": "string", "items": ["string"] * 300}


def stepout(server: Server, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "env", "--url", server.url, "--", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "HTTPS_ENDPOINT": URL},
    )


def invoke(server: Server, handler: str, cwd: Path, **environment: str) -> Any:
    """Call a handler by `stepout env -- stepout invoke`."""
    pairs = [part for pair in environment.items() for part in ("--env", "=".join(pair))]
    program = [sys.executable, "-m", "stepout.cli", "invoke", handler, "--timeout", "20"]
    done = stepout(server, *program, *pairs, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def create(sfn: SFNClient, definition: str) -> str:
    arn: str = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    return arn


@pytest.mark.parametrize("is_text", [True, False])
def test_the_example_gives_the_apis_answer(
    stepout_origin: Origin,
    stepout_server: Server,
    sfn: SFNClient,
    connection: str,
    is_text: bool,
) -> None:
    route = stepout_origin.get(URL)
    if is_text:
        route.document(json.dumps(DOCUMENT).encode(), "text/plain; charset=utf-8")
    else:
        route.respond(json=DOCUMENT)
    machine = create(sfn, (EXAMPLE / "machine.json").read_text())
    result = invoke(
        stepout_server,
        "handler.lambda_handler",
        EXAMPLE,
        STATE_MACHINE_ARN=machine,
        CONNECTION_ARN=connection,
        HTTPS_ENDPOINT=URL,
    )
    assert result == {"result": DOCUMENT}


def test_the_example_says_why_a_call_failed(
    stepout_origin: Origin, stepout_server: Server, sfn: SFNClient, connection: str
) -> None:
    stepout_origin.get(URL).respond(403)
    machine = create(sfn, (EXAMPLE / "machine.json").read_text())
    program = [sys.executable, "-m", "stepout.cli", "invoke", "handler.lambda_handler"]
    pairs = ["--env", f"STATE_MACHINE_ARN={machine}", "--env", f"CONNECTION_ARN={connection}"]
    done = stepout(stepout_server, *program, *pairs, cwd=EXAMPLE)
    assert done.returncode == 1
    failure = json.loads(done.stdout)
    assert failure["errorType"] == "CallFailed"
    assert failure["errorMessage"] == "States.Http.StatusCode.403: Forbidden"


@pytest.mark.skipif(not ARTICLE.exists(), reason="The article is not beside the repository.")
def test_the_articles_handler_and_machine_run_unmodified(
    stepout_origin: Origin,
    stepout_server: Server,
    sfn: SFNClient,
    connection: str,
    tmp_path: Path,
) -> None:
    text = ARTICLE.read_text("utf-8")
    handler = re.search(
        r"^import json\n.*?^    return \{.*?^    \}\n", text, re.DOTALL | re.MULTILINE
    )
    assert handler is not None
    (tmp_path / "article.py").write_text(handler[0], "utf-8")
    start = text.rindex("{", 0, text.index('"StartAt"'))
    definition, _ = json.JSONDecoder().raw_decode(text[start:])
    stepout_origin.get(URL).document(json.dumps(DOCUMENT).encode(), "text/plain")
    result = invoke(
        stepout_server,
        "article.lambda_handler",
        tmp_path,
        STATE_MACHINE_ARN=create(sfn, json.dumps(definition)),
        CONNECTION_ARN=connection,
        HTTPS_ENDPOINT=URL,
    )
    assert result == {"result": DOCUMENT}
    # The same without the Lambda runtime, as a plain program.
    program = "import article, json; print(json.dumps(article.lambda_handler({}, None)))"
    machine = sfn.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    given = [f"STATE_MACHINE_ARN={machine}", f"CONNECTION_ARN={connection}"]
    done = stepout(stepout_server, "env", *given, sys.executable, "-c", program, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == {"result": DOCUMENT}, done.stderr
