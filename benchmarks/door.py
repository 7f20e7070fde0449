"""What a request costs before it does anything: whose signature is it, and may it do that?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.identities import identities
from stepout.api import operations
from stepout.api.access import judge
from stepout.api.auth import Auth
from stepout.api.caller import OPERATIONS, Arrival
from stepout.api.identities import Directories, Directory
from stepout.api.sessions import Sessions
from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.runtime.clock import SystemClock
from stepout.secret import Secret

ACCOUNT, REGION = "123456789012", "us-east-1"
KEY, SECRET = "AKIDBENCH", "secret"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:orders"
CALLS = 3_000


def run(rounds: int) -> None:
    """Print the rows of the door; CPU time."""
    operations.load()
    clock = SystemClock()
    directories = Directories(_directory())
    auth = Auth(directories, Sessions(), clock, ACCOUNT, is_open=False)
    request, arrival = _request(clock), Arrival("10.0.1.7", is_secure=True, user_agent="Boto3")
    members = {"stateMachineArn": MACHINE, "input": "{}"}
    operation = OPERATIONS["states", "StartSyncExecution"]

    def both() -> None:
        judge(
            auth.identify(request, "states", arrival), operation, members, directories, clock.now()
        )

    print(f"\n{'at the door':45}µs")
    for name, measured in (
        ("whose signature is it?", lambda: auth.identify(request, "states", arrival)),
        ("and may it? (100 policies of 20 statements)", both),
    ):
        print(f"  {name:43}{_best(rounds, measured) * 1e6:>5.1f}")


def _directory() -> Directory:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "identities.toml")
        path.write_text(identities(KEY, SECRET))
        return Directory.load(path, account=ACCOUNT, region=REGION, environ={})


def _request(clock: SystemClock) -> SignedRequest:
    """StartSyncExecution as boto3 sends it."""
    body = f'{{"stateMachineArn": "{MACHINE}", "input": "{{}}"}}'.encode()
    bare = SignedRequest(
        "POST",
        "/",
        "",
        [
            (b"host", b"sync-states.us-east-1.amazonaws.com"),
            (b"content-type", b"application/x-amz-json-1.0"),
            (b"x-amz-target", b"AWSStepFunctions.StartSyncExecution"),
        ],
        body,
    )
    signed = sigv4.sign(
        bare,
        access_key_id=KEY,
        secret=Secret(SECRET),
        region=REGION,
        service="states",
        now=clock.now() / 1_000,
    )
    unsigned = [
        (b"user-agent", b"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11"),
        (b"accept-encoding", b"identity"),
        (b"amz-sdk-invocation-id", b"4b1f1b0e-7a57-4c0e-9f56-0d1f5e6a7b8c"),
        (b"amz-sdk-request", b"attempt=1"),
        (b"content-length", str(len(body)).encode()),
    ]
    return replace(bare, headers=[*signed, *unsigned])


def _best(rounds: int, measured: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    best = float("inf")
    for _ in range(rounds + 2):
        started = time.process_time()
        for _ in range(CALLS):
            measured()
        best = min(best, (time.process_time() - started) / CALLS)
    return best
