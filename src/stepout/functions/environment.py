"""The variables that Lambda sets for a function, and the function's ARN."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import replace
from typing import Final

from stepout.aws.arn import Arn, state_machine
from stepout.functions.invocation import FunctionSettings

__all__ = ["RESERVED", "function_arn", "variables"]

VERSION: Final = "$LATEST"

RESERVED: Final = frozenset(
    {
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
    }
)
"""Names that are Lambda's own here; a function's configuration cannot set them.

Lambda reserves the access key as well; off AWS somebody has to be able to give one.
"""


def function_arn(settings: FunctionSettings) -> str:
    """Give the ARN by which the function is invoked."""
    neighbour = Arn.parse(state_machine(settings.region, settings.account, settings.name))
    return str(replace(neighbour, service="lambda", resource=f"function:{settings.name}"))


def variables(settings: FunctionSettings, runtime_api: str, now: float) -> dict[str, str]:
    """Give the program's whole environment (Lambda, "Defined runtime environment variables")."""
    root = str(settings.directory)
    own_path = settings.environment.get("PYTHONPATH")
    day = time.strftime("%Y/%m/%d", time.gmtime(now))
    return {
        "TZ": ":UTC",
        **settings.environment,
        "PYTHONPATH": f"{root}:{own_path}" if own_path else root,
        # boto3 reads the second of the two, many programs the first; Lambda sets both.
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": settings.name,
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{day}/[{VERSION}]{uuid.uuid4().hex}",
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "LAMBDA_TASK_ROOT": root,
        "_HANDLER": settings.handler,
    }
