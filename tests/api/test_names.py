"""ARNs in requests: of machines, versions and aliases, and how AWS refuses the rest."""

from __future__ import annotations

import pytest

from stepout.api.names import alias_arn, machine_arn, version_arn
from stepout.aws.arn import split_qualifier
from stepout.errors import ServiceError

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:orders"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:orders:e"


@pytest.mark.parametrize(
    ("qualifier", "is_version", "number"),
    [
        ("1", True, 1),
        ("1000", True, 1_000),
        ("01", True, None),
        ("0", True, None),
        ("9" * 200, True, None),
        ("PROD", False, None),
        ("1a", False, None),
        ("-", False, None),
        ("¹", False, None),
        ("٣", False, None),
    ],
)
def test_a_qualifier_is_a_number_or_a_name(
    qualifier: str, is_version: bool, number: int | None
) -> None:
    arn = machine_arn(f"{MACHINE}:{qualifier}")
    assert (arn.machine, arn.qualifier) == (MACHINE, qualifier)
    assert arn.is_qualified
    assert (arn.is_version, arn.number) == (is_version, number)


def test_a_machine_has_no_qualifier() -> None:
    arn = machine_arn(MACHINE)
    assert (arn.machine, arn.qualifier) == (MACHINE, "")
    assert not arn.is_qualified
    assert not arn.is_version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "Invalid Arn: 'Invalid ARN prefix: nonsense'"),
        (f"{MACHINE}:1:2", f"Invalid Arn: 'Invalid ARN prefix: {MACHINE}:1:2'"),
        (f"{MACHINE}:", f"Invalid Arn: 'Invalid ARN prefix: {MACHINE}:'"),
        (EXECUTION, "Invalid Arn: 'Resource type not valid in this context: execution'"),
        (
            "arn:aws:states:us-east-1:1:stateMachine:",
            "Invalid Arn: 'Resource type not valid in this context: stateMachine'",
        ),
        (
            MACHINE.replace(":states:", ":sqs:"),
            f"Invalid Arn: 'Invalid ARN prefix: {MACHINE.replace(':states:', ':sqs:')}'",
        ),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        machine_arn(text)
    assert (caught.value.code, caught.value.message) == ("InvalidArn", message)


def test_a_labelled_arn_is_refused_with_its_reason() -> None:
    with pytest.raises(ServiceError) as caught:
        machine_arn(f"{MACHINE}/label")
    assert caught.value.code == "ValidationException"
    assert caught.value.members == {"reason": "API_DOES_NOT_SUPPORT_LABELED_ARNS"}


def test_a_version_is_no_alias_and_a_machine_is_neither() -> None:
    assert version_arn(f"{MACHINE}:1").number == 1
    assert alias_arn(f"{MACHINE}:PROD").qualifier == "PROD"
    for read, text in (
        (version_arn, f"{MACHINE}:PROD"),
        (version_arn, MACHINE),
        (alias_arn, f"{MACHINE}:1"),
        (alias_arn, MACHINE),
    ):
        with pytest.raises(ServiceError, match="InvalidArn"):
            read(text)


@pytest.mark.parametrize(
    "text", [MACHINE, EXECUTION, "", "a:b:c:d:e:f:g:h", f"{MACHINE}:1:2", "arn:aws:s3:::b"]
)
def test_what_is_no_version_and_no_alias_is_not_split(text: str) -> None:
    assert split_qualifier(text) == (text, "")


@pytest.mark.parametrize("qualifier", ["1", "PROD", ""])
def test_a_version_and_an_alias_are_split_from_their_machine(qualifier: str) -> None:
    assert split_qualifier(f"{MACHINE}:{qualifier}") == (MACHINE, qualifier)
