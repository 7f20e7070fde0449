"""ARNs are read whole and made with the partition of their region."""

from __future__ import annotations

import pytest

from stepout.aws import arn
from stepout.aws.arn import Arn

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders"


@pytest.mark.parametrize(
    "text",
    [
        MACHINE,
        "arn:aws:iam::123456789012:role/x",
        "arn:aws:states:::http:invoke",
        "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a:b/c",
    ],
)
def test_reading_and_writing_an_arn_gives_it_back(text: str) -> None:
    assert str(Arn.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "x", "arn:aws:states", "ARN:aws:states:r:a:x", "arn::states:r:a:x", "arn:aws:s:r:a:"],
)
def test_what_is_no_arn_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(ValueError, match=f"found '{text}'"):
        Arn.parse(text)


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_the_region_names_the_partition(region: str, partition: str) -> None:
    made = Arn.parse(arn.state_machine(region, "123456789012", "m"))
    assert made == Arn(partition, "states", region, "123456789012", "stateMachine:m")


def test_an_express_execution_is_named_after_its_machine() -> None:
    assert (
        arn.express_execution(MACHINE, "n", "u")
        == "arn:aws:states:eu-west-1:123456789012:express:orders:n:u"
    )


def test_a_connection_and_its_secret_have_names_of_their_own() -> None:
    assert (
        arn.connection("us-east-1", "123456789012", "c", "u")
        == "arn:aws:events:us-east-1:123456789012:connection/c/u"
    )
    assert arn.connection_secret("us-east-1", "123456789012", "c", "u", "AbCdEf") == (
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:events!connection/c/u-AbCdEf"
    )
