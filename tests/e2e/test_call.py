"""The flagship call, with boto3 and a real HTTPS origin."""

from __future__ import annotations

import json
from typing import Any

from mypy_boto3_events import EventBridgeClient
from mypy_boto3_stepfunctions import SFNClient

from stepout.testing import Origin

ROLE = "arn:aws:iam::123456789012:role/machine"
URL = "https://api.example.com/v1/orders"


def test_the_answer_of_the_api_comes_back(
    stepout_origin: Origin, sfn: SFNClient, events: EventBridgeClient
) -> None:
    route = stepout_origin.get(URL).respond(json={"orders": [1, 2]})
    connection = events.create_connection(
        Name="orders",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "k"}},
    )
    definition: dict[str, Any] = {
        "StartAt": "Call",
        "States": {
            "Call": {
                "Type": "Task",
                "Resource": "arn:aws:states:::http:invoke",
                "Parameters": {
                    "ApiEndpoint": URL,
                    "Method": "GET",
                    "Authentication": {"ConnectionArn": connection["ConnectionArn"]},
                },
                "End": True,
            }
        },
    }
    machine = sfn.create_state_machine(
        name="call", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
    )
    answer = sfn.start_sync_execution(stateMachineArn=machine["stateMachineArn"], input="{}")
    assert answer["status"] == "SUCCEEDED", answer
    output = json.loads(answer["output"])
    assert output["ResponseBody"] == {"orders": [1, 2]}
    assert list(output) == ["Headers", "ResponseBody", "StatusCode", "StatusText"]
    assert route.requests[0].header("x-api-key") == "k"
