"""What a Task's Resource may name: the forms of its ARN and the optimised integrations of AWS.

The table is that of the developer guide, "Integrating services with Step Functions"; whether an
integration is served is not asked here, but by whoever performs the Task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Form", "Pattern", "Style", "form_of", "is_resource_arn"]

Style = Literal["Task", "LambdaFunction", "Activity"]
"""How the events of a Task are called: `TaskScheduled`, `LambdaFunctionScheduled`, …"""

Pattern = Literal["", ".sync", ".sync:2", ".waitForTaskToken"]


@dataclass(frozen=True, slots=True)
class Form:
    """A Resource taken apart; `type` and `name` are those of history events."""

    style: Style
    type: str
    name: str
    pattern: Pattern = ""

    @property
    def service(self) -> str:
        """`lambda:invoke` of `arn:aws:states:::lambda:invoke.waitForTaskToken`."""
        return f"{self.type}:{self.name.removesuffix(self.pattern)}"


_SYNC: Final = (".sync",)
_TOKEN: Final = (".waitForTaskToken",)
_BOTH: Final = (".sync", ".waitForTaskToken")

_OPTIMISED: Final[Mapping[str, Mapping[tuple[str, ...], tuple[str, ...]]]] = {
    "lambda": {("invoke",): _TOKEN},
    "dynamodb": {("getItem", "putItem", "updateItem", "deleteItem"): ()},
    "sqs": {("sendMessage",): _TOKEN},
    "sns": {("publish",): _TOKEN},
    "events": {("putEvents",): _TOKEN},
    "states": {("startExecution",): (".sync", ".sync:2", ".waitForTaskToken")},
    "apigateway": {("invoke",): _TOKEN},
    "ecs": {("runTask",): _BOTH},
    "batch": {("submitJob",): _BOTH},
    "glue": {("startJobRun",): _SYNC},
    "databrew": {("startJobRun",): _SYNC},
    "codebuild": {
        ("startBuild", "startBuildBatch", "retryBuildBatch"): _SYNC,
        (
            "stopBuild",
            "batchDeleteBuilds",
            "batchGetReports",
            "stopBuildBatch",
            "deleteBuildBatch",
        ): (),
    },
    "athena": {
        ("startQueryExecution",): _SYNC,
        ("stopQueryExecution", "getQueryExecution", "getQueryResults"): (),
    },
    "eks": {
        (
            "createCluster",
            "deleteCluster",
            "createNodegroup",
            "deleteNodegroup",
            "createFargateProfile",
            "deleteFargateProfile",
            "runJob",
        ): _BOTH,
        ("call",): _TOKEN,
    },
    "elasticmapreduce": {
        ("createCluster", "terminateCluster", "addStep"): _SYNC,
        (
            "setClusterTerminationProtection",
            "cancelStep",
            "modifyInstanceFleetByName",
            "modifyInstanceGroupByName",
        ): (),
    },
    "emr-containers": {
        ("startJobRun", "deleteVirtualCluster"): _SYNC,
        ("createVirtualCluster",): (),
    },
    "emr-serverless": {
        (
            "createApplication",
            "startApplication",
            "stopApplication",
            "deleteApplication",
            "startJobRun",
            "cancelJobRun",
        ): _SYNC,
    },
    "sagemaker": {
        (
            "createTrainingJob",
            "createTransformJob",
            "createHyperParameterTuningJob",
            "createLabelingJob",
            "createProcessingJob",
        ): _SYNC,
        ("createModel", "createEndpoint", "createEndpointConfig", "updateEndpoint"): (),
    },
    "mediaconvert": {("createJob",): _SYNC},
    "bedrock": {("invokeModel",): _TOKEN, ("createModelCustomizationJob",): _BOTH},
    "http": {("invoke",): ()},
}
"""Service → actions → the patterns that they know besides Request Response."""

_ARN: Final = re.compile(r"arn:[\w-]+:[^:\s]+:[^:\s]*:[^:\s]*:\S+")
_STATES: Final = re.compile(
    r"arn:[\w-]+:states:[^:]*:[^:]*:(?P<type>(?:aws-sdk:)?[\w-]+):(?P<action>\w+)"
    r"(?P<pattern>\.sync:2|\.sync|\.waitForTaskToken)?",
    re.ASCII,
)
_ACTIVITY: Final = re.compile(r"arn:[\w-]+:states:[^:]+:\d*:activity:\S+")
_LAMBDA: Final = re.compile(r"arn:[\w-]+:lambda:[^:]*:[^:]*:function:\S+")

_OPEN_SERVICES: Final = ("bedrock-agentcore",)
"""Optimised integrations whose actions the documents do not list."""


def is_resource_arn(text: str) -> bool:
    """Whether a Resource has the form of an ARN at all."""
    return _ARN.fullmatch(text) is not None


def form_of(arn: str) -> Form | None:
    """What a Resource names, or None where AWS knows no such integration."""
    if _ACTIVITY.fullmatch(arn):
        return Form("Activity", "activity", arn)
    if _LAMBDA.fullmatch(arn):
        return Form("LambdaFunction", "lambda", arn)
    match = _STATES.fullmatch(arn)
    if match is None or not _is_known(match["type"], match["action"], match["pattern"] or ""):
        return None
    pattern: Pattern = match["pattern"] or ""  # type: ignore[assignment]  # as the expression has it
    return Form("Task", match["type"], match["action"] + pattern, pattern)


def _is_known(service: str, action: str, pattern: str) -> bool:
    if service.startswith("aws-sdk:"):
        return pattern in ("", ".waitForTaskToken")
    if service in _OPEN_SERVICES:
        return True
    for actions, patterns in _OPTIMISED.get(service, {}).items():
        if action in actions:
            return pattern in ("", *patterns)
    return False
