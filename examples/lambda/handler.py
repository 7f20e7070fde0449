"""A Lambda function in a subnet without a way out: Step Functions makes the HTTPS call for it.

Variables: STATE_MACHINE_ARN, an Express machine with one HTTP Task; CONNECTION_ARN, the EventBridge
connection with the API's credential; HTTPS_ENDPOINT, the URL. The machine takes the last two from
its input, as `method`, `url` and `connectionArn`.
"""

import json
import os

import boto3
from botocore.config import Config

# One client for all calls of this function. A call may take the minute that an HTTP Task may take,
# and is not repeated behind our back: each attempt would be another call of the API.
states = boto3.client(
    "stepfunctions", config=Config(read_timeout=70, retries={"total_max_attempts": 1})
)


class CallFailed(Exception):
    """The machine ended without the API's answer; the message holds its error and cause."""


def lambda_handler(event, context):
    """Fetch HTTPS_ENDPOINT and give back what it answers, as `{"result": …}`."""
    execution = states.start_sync_execution(
        stateMachineArn=os.environ["STATE_MACHINE_ARN"],
        input=json.dumps(
            {
                "method": event.get("method", "GET"),
                "url": os.environ["HTTPS_ENDPOINT"],
                "connectionArn": os.environ["CONNECTION_ARN"],
            }
        ),
    )
    if execution["status"] != "SUCCEEDED":
        raise CallFailed(f"{execution.get('error')}: {execution.get('cause')}")
    body = json.loads(execution["output"])["ResponseBody"]
    # JSON that its server calls text/plain arrives as text.
    return {"result": json.loads(body) if isinstance(body, str) else body}
