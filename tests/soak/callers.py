"""Habits of those who call: honest ones with all kinds of machines, and those who must be refused."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Final

from tests.soak.client import Client, habit
from tests.soak.ledger import Broken
from tests.soak.machines import CALLS, HEAVY, TASK_SECONDS
from tests.soak.origin import BAD_HOSTS, PATHS
from tests.soak.wire import Key, signed

from stepout.secret import Secret

_LIMIT: Final = 262_144

_API: Final = "https://api.example.com"

_WAITING: Final = 65.0
"""For what waits for others as long as it may: 60 seconds for a token, and what is around it."""

_FAILED: Final = (
    "200 FAILED States.Http",
    "200 FAILED States.Timeout",
    "200 FAILED States.DataLimitExceeded",
    "200 FAILED States.Runtime",
    "200 FAILED Events.ConnectionResource",
    "200 SUCCEEDED",
)
"""How a call may end whose API misbehaves."""

_NAMES: Final = ("hang", "babble", "nobody", "local", "metadata", "inner", "forbidden")
"""First parts of names that a name server of its own answers, or does not."""

_SECRETS: Final = re.compile(rb"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<")


# --- Calls ----------------------------------------------------------------------------------------


@habit("calls", 60)
async def call_pass(client: Client) -> str:
    number = client.random.random()
    reply = await client.run("pass", {"n": number})
    outcome = client.expect(reply, "200 SUCCEEDED")
    if outcome == "200 SUCCEEDED" and json.loads(reply.document["output"]) != {"n": number}:
        raise Broken("answered with the output of another execution.")
    return outcome


@habit("calls", 40)
async def call_API(client: Client) -> str:  # noqa: N802 — a word of the table
    """A good API is reached whatever others do to it, and answers its own answer."""
    name = client.random.choice(["key", "basic"])
    reply = await client.run(f"call-{name}", {"url": f"{_API}/ok?{client.random.random()}"})
    outcome = client.expect(reply, "200 SUCCEEDED")
    if outcome == "200 SUCCEEDED":
        answer = json.loads(reply.document["output"])["ResponseBody"]
        if answer != {"ok": True}:
            raise Broken(f"got the answer of another request: {answer!r}.")
    return outcome


@habit("calls", 6)
async def call_with_token(client: Client) -> str:
    reply = await client.run("call-oauth", {"url": f"{_API}/ok"})
    return client.expect(reply, "200 SUCCEEDED", "200 FAILED Events.ConnectionResource.AuthIn")


@habit("calls", 1, _WAITING)
async def call_without_token(client: Client) -> str:
    name = client.random.choice(["no-token", "bad-token"])
    reply = await client.run(f"call-{name}", {"url": f"{_API}/ok"})
    return client.expect(reply, "200 FAILED Events.ConnectionResource", "200 FAILED States.Timeout")


@habit("calls", 12, TASK_SECONDS + 30.0)
async def call_bad_API(client: Client) -> str:  # noqa: N802 — a word of the table
    name = client.random.choice(CALLS[:3])
    url = f"{_API}/{client.random.choice(sorted(PATHS))}"
    return client.expect(await client.run(f"call-{name}", {"url": url}), *_FAILED)


@habit("calls", 2, TASK_SECONDS + 30.0)
async def call_broken_host(client: Client) -> str:
    url = f"https://{client.random.choice(BAD_HOSTS)}.example.com/ok"
    return client.expect(await client.run("call-key", {"url": url}), *_FAILED[:2])


@habit("calls", 2, TASK_SECONDS + 30.0)
async def call_odd_name(client: Client) -> str:
    number = client.random.randrange(1_000)
    url = f"https://{client.random.choice(_NAMES)}-{number}.example.com/ok"
    return client.expect(await client.run("call-key", {"url": url}), *_FAILED[:2])


@habit("calls", 1, TASK_SECONDS + 30.0)
async def call_with_retries(client: Client) -> str:
    url = f"{_API}/{client.random.choice(['hang', 'failure', 'reset'])}"
    return client.expect(await client.run("again", {"url": url}), *_FAILED[:2])


@habit("calls", 3)
async def evaluate(client: Client) -> str:
    machine = client.random.choices(HEAVY, [10, 10, 4, 1])[0]
    return client.expect(await client.run(machine, {}), "200 SUCCEEDED")


@habit("calls", 3)
async def large_input(client: Client) -> str:
    text = "x" * (_LIMIT - 2)
    reply = await client.run(client.random.choice(["pass", "logged"]), text)
    outcome = client.expect(reply, "200 SUCCEEDED")
    if outcome == "200 SUCCEEDED" and reply.document["output"] != f'"{text}"':
        raise Broken("answered with another output.")
    return outcome


@habit("calls", 2)
async def too_large_input(client: Client) -> str:
    size = client.random.choice([_LIMIT - 1, 2 * _LIMIT, 1_200_000])
    reply = await client.run("pass", "x" * size)
    return client.expect(reply, "400 ValidationException", "413")


@habit("calls", 6)
async def logged(client: Client) -> str:
    return client.expect(await client.run("logged", {"a": 1}), "200 SUCCEEDED")


@habit("calls", 2)
async def fail(client: Client) -> str:
    return client.expect(await client.run("fail", {}), "200 FAILED Mine")


@habit("calls", 3)
async def start(client: Client) -> str:
    """An execution that nobody waits for."""
    machine = client.random.choice(["pass", "wait", "map"])
    members = {"stateMachineArn": client.world.machine(machine), "input": "{}"}
    return client.expect(await client.ask(client.app, "StartExecution", members), "200")


@habit("calls", 3)
async def read(client: Client) -> str:
    machine = {"stateMachineArn": client.world.machine("pass")}
    operation, members, service = client.random.choice(
        [
            ("DescribeStateMachine", machine, "states"),
            ("ListStateMachines", {"maxResults": 10}, "states"),
            ("DescribeConnection", {"Name": client.random.choice(CALLS)}, "events"),
            ("ListConnections", {}, "events"),
            ("GetCallerIdentity", {}, "sts"),
        ]
    )
    return client.expect(await client.ask(client.app, operation, members, service=service), "200")


@habit("calls", 3)
async def send_again(client: Client) -> str:
    """A call that is sent again, under way or after, has one execution (`--repeats join`)."""
    machine = client.random.choice(["wait", "pass"])
    members = {"stateMachineArn": client.world.machine(machine), "input": "{}"}
    mark = {"amz-sdk-invocation-id": f"{client.random.getrandbits(64):x}"}
    key = client.app
    request = signed(key, "StartSyncExecution", members, headers=mark)

    async def once() -> str:
        async with client.fresh() as link:
            await link.send(request)
            reply = await link.reply()
            client.check(reply)
            client.expect(reply, "200 SUCCEEDED")
            arn: str = reply.document.get("executionArn", "")
            return arn

    arns = {*await asyncio.gather(once(), once()), await once()} - {""}
    if len(arns) > 1:
        raise Broken(f"{len(arns)} executions for one call.")
    return "200 SUCCEEDED"


# --- Who must be refused --------------------------------------------------------------------------


@habit("calls", 3)
async def wrong_signature(client: Client) -> str:
    key = Key(client.app.id, Secret("wrong"))
    return client.expect(await client.run("pass", {}, key), "403 InvalidSignatureException")


@habit("calls", 3)
async def unknown_key(client: Client) -> str:
    reply = await client.run("pass", {}, client.world.random_key())
    return client.expect(reply, "403 UnrecognizedClientException")


@habit("calls", 2)
async def old_signature(client: Client) -> str:
    at = time.time() + client.random.choice([-3_600, 3_600])
    return client.expect(await client.run("pass", {}, at=at), "403 InvalidSignatureException")


@habit("calls", 3)
async def denied(client: Client) -> str:
    reply = await client.run("pass", {}, client.world.keys["nobody"])
    return client.expect(reply, "400 AccessDeniedException")


@habit("calls", 1)
async def unsigned(client: Client) -> str:
    request = (
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n"
        b"x-amz-target: AWSStepFunctions.StartSyncExecution\r\n\r\n{}"
    )
    return client.expect(await client.tell(request), "403 MissingAuthenticationTokenException")


@habit("calls", 2)
async def odd_members(client: Client) -> str:
    members = client.random.choice(
        [{}, {"stateMachineArn": 1}, {"stateMachineArn": "x"}, {"input": None}, ["a"], "a", None]
    )
    reply = await client.ask(client.app, "StartSyncExecution", members)
    return client.expect(reply, "400")


@habit("calls", 1)
async def odd_operation(client: Client) -> str:
    operation = client.random.choice(["Nothing", "SendTaskSuccess", "", "x" * 5_000])
    return client.expect(await client.ask(client.app, operation, {}), "400")


@habit("calls", 2)
async def assume_role(client: Client) -> str:
    """A session of its own; half of them of a role that comes and goes."""
    role = client.random.choice(["staying", "coming"])
    members = {
        "RoleArn": f"arn:aws:iam::123456789012:role/{role}",
        "RoleSessionName": "soak",
        "DurationSeconds": "900",
    }
    reply = await client.ask(client.app, "AssumeRole", members, service="sts")
    outcome = client.expect(reply, "200", "403 AccessDenied", "400 Throttling")
    if reply.status == 200:
        found = {name.decode(): text.decode() for name, text in _SECRETS.findall(reply.body)}
        secret, token = found["SecretAccessKey"], found["SessionToken"]
        client.world.canaries.given("the secret of a session", secret)
        client.world.canaries.given("the token of a session", token)
        client.state[role] = Key(found["AccessKeyId"], Secret(secret), Secret(token))
        if role == "staying":
            client.state.setdefault("oldest", (time.time(), client.state[role]))
    return outcome


@habit("calls", 3)
async def use_session(client: Client) -> str:
    """Sessions of a role that is gone are unknown."""
    role = client.random.choice(["staying", "coming"])
    if role not in client.state:
        return "no session yet"
    reply = await client.run("pass", {}, client.state[role])
    gone = ["403 UnrecognizedClientException"] if role == "coming" else []
    return client.expect(reply, "200 SUCCEEDED", *gone)


@habit("calls", 1)
async def expired_session(client: Client) -> str:
    begun, key = client.state.get("oldest", (time.time(), None))
    if time.time() < begun + 901:
        return "not expired yet"
    return client.expect(await client.run("pass", {}, key), "403 ExpiredTokenException")


@habit("calls", 1)
async def forged_session(client: Client) -> str:
    key = client.state.get("staying")
    if key is None:
        return "no session yet"
    forged = Key(key.id, key.secret, Secret(f"{key.token.reveal()[:-4]}AAAA"))
    reply = await client.run("pass", {}, forged)
    return client.expect(reply, "403")


@habit("greedy", 1)
async def greedy(client: Client) -> str:
    """One caller who wants everything: refused beyond its rate, at once."""
    what = client.random.randrange(4)
    key = client.world.keys["greedy"]
    if what == 0:
        role = "arn:aws:iam::123456789012:role/staying"
        members = {"RoleArn": role, "RoleSessionName": "storm", "DurationSeconds": "900"}
        reply = await client.ask(key, "AssumeRole", members, service="sts")
    else:
        reply = await client.run("pass", {}, key)
    return client.expect(reply, "200", "400 Throttling")
