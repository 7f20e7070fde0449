"""Versions and aliases as edits of a machine: numbers, limits, routing, and exact shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.kept import ACCOUNT, REGION, alias, machine, with_versions

from stepout.api.caller import Caller
from stepout.api.operations.machines import find_revision
from stepout.api.publishing import (
    MAX_ALIASES,
    MAX_VERSIONS,
    aliased,
    current_version,
    draw,
    published,
    referring,
    routes_of,
    routing_of,
    unpublished,
)
from stepout.api.services import Services
from stepout.aws.iam import Principal
from stepout.errors import ServiceError
from stepout.store.memory import open_memory
from stepout.store.records import KeptMachine, Route

RECORD = machine("orders")
ARN = RECORD.arn
CALLER = Caller(ACCOUNT, REGION, "AKID", Principal("user", ACCOUNT, "User"))


def revised(kept: KeptMachine, revision: str) -> KeptMachine:
    return replace(kept, record=replace(kept.record, revision_id=revision))


def with_many_versions(count: int) -> KeptMachine:
    kept = KeptMachine(RECORD)
    for number in range(count):
        kept = published(revised(kept, f"r{number}"), None, number)
    return kept


def route(arn: str, weight: int) -> dict[str, Any]:
    return {"stateMachineVersionArn": arn, "weight": weight}


# --- Versions -------------------------------------------------------------------------------------


def test_a_version_keeps_the_revision_as_it_was_without_its_tags() -> None:
    kept = published(KeptMachine(RECORD), "first", 7)
    changed = replace(kept, record=replace(kept.record, definition="{}", revision_id="r2"))
    version = changed.versions[1]
    assert (version.arn, version.description, version.created) == (f"{ARN}:1", "first", 7)
    assert version.revision == replace(RECORD, tags=())


def test_a_revision_has_one_version() -> None:
    once = published(KeptMachine(RECORD), "first", 7)
    assert published(once, "second", 8) is once
    twice = published(revised(once, "r2"), "second", 8)
    assert list(twice.versions) == [1, 2]
    assert current_version(twice) == twice.versions[2]


def test_no_number_is_used_twice() -> None:
    kept = unpublished(with_many_versions(3), 3)
    assert current_version(kept) is None
    assert list(published(kept, None, 9).versions) == [1, 2, 4]


def test_a_version_more_than_there_may_be_is_refused_but_not_one_that_is_there() -> None:
    full = with_many_versions(MAX_VERSIONS)
    assert published(full, None, 1) is full
    with pytest.raises(ServiceError, match="1000 versions") as caught:
        published(revised(full, "another"), None, 1)
    assert (caught.value.code, caught.value.status) == ("ServiceQuotaExceededException", 402)
    fewer = unpublished(full, 500)
    assert list(published(revised(fewer, "another"), None, 1).versions)[-1] == 1_001


def test_a_version_that_an_alias_leads_to_stays() -> None:
    kept = aliased(with_versions(RECORD), alias(RECORD, "OTHER", Route(10, 100)))
    assert [each.name for each in referring(kept, 10)] == ["PROD", "OTHER"]
    with pytest.raises(ServiceError, match=r"referencing this version: \[PROD, OTHER\]$") as caught:
        unpublished(kept, 10)
    assert (caught.value.code, caught.value.status) == ("ConflictException", 409)
    assert unpublished(kept, 99) is kept


# --- Aliases --------------------------------------------------------------------------------------


def test_a_routing_configuration_is_read_and_shown_alike() -> None:
    kept = with_versions(RECORD)
    shown: Any = routing_of(kept, kept.aliases["PROD"])
    assert shown == [route(f"{ARN}:1", 90), route(f"{ARN}:10", 10)]
    assert routes_of(shown) == (ARN, kept.aliases["PROD"].routes)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ([route(ARN, 100)], "must contain state machine version ARNs"),
        ([route(f"{ARN}:PROD", 100)], "must contain state machine version ARNs"),
        ([route(f"{ARN}:1", 50), route(f"{ARN}:1", 50)], "must contain distinct"),
        ([route(f"{ARN}:1", 50), route(f"{ARN}s:1", 50)], "versions of the same state machine"),
        ([route(f"{ARN}:1", 99)], r"weights must equal 100. Received: \[99\]$"),
        ([route(f"{ARN}:1", 70), route(f"{ARN}:2", 31)], r"Received: \[70, 31\]$"),
    ],
)
def test_a_routing_configuration_that_leads_nowhere_is_refused(
    configuration: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        routes_of(configuration)
    assert caught.value.code == "ValidationException"
    assert caught.value.members == {"reason": "INVALID_ROUTING_CONFIGURATION"}


def test_a_number_with_zeros_before_is_no_version() -> None:
    with pytest.raises(ServiceError, match="ResourceNotFound"):
        routes_of([route(f"{ARN}:01", 100)])


def test_an_alias_leads_to_versions_that_are_there() -> None:
    with pytest.raises(ServiceError, match="ResourceNotFound"):
        aliased(with_versions(RECORD), alias(RECORD, "NEW", Route(1, 50), Route(2, 50)))


def test_an_alias_more_than_there_may_be_is_refused_but_not_a_change_of_one() -> None:
    kept = published(KeptMachine(RECORD), None, 1)
    for number in range(MAX_ALIASES):
        kept = aliased(kept, alias(RECORD, f"a{number}", Route(1, 100)))
    with pytest.raises(ServiceError, match="100 aliases") as caught:
        aliased(kept, alias(RECORD, "another", Route(1, 100)))
    assert caught.value.code == "ServiceQuotaExceededException"
    changed = replace(kept.aliases["a7"], description="changed")
    assert list(aliased(kept, changed).aliases) == list(kept.aliases)


# --- Shares ---------------------------------------------------------------------------------------


@given(st.integers(0, 100))
def test_of_all_that_can_be_drawn_each_version_gets_exactly_its_share(weight: int) -> None:
    split = alias(RECORD, "SPLIT", Route(3, weight), Route(10, 100 - weight))

    def always(number: int) -> Callable[[int], int]:
        def below(limit: int) -> int:
            assert limit == 100
            return number

        return below

    drawn = [draw(split, always(number)) for number in range(100)]
    assert drawn.count(3) == weight
    assert drawn.count(10) == 100 - weight


def test_an_alias_of_one_version_draws_nothing() -> None:
    def below(_limit: int) -> int:
        raise AssertionError("drawn")

    assert draw(alias(RECORD, "ONE", Route(3, 100)), below) == 3


@given(st.lists(st.integers(0, 99), max_size=20))
async def test_each_execution_of_an_alias_draws_anew(numbers: list[int]) -> None:
    store = open_memory()
    await store.machines.add(with_versions(RECORD))
    services = services_of(store, iter(numbers).__next__)
    for number in numbers:
        found = await find_revision(services, CALLER, f"{ARN}:PROD")
        assert found.alias_arn == f"{ARN}:PROD"
        assert found.version is not None
        assert found.version.number == (1 if number < 90 else 10)
        assert found.record is found.version.revision


def services_of(store: Any, draw_next: Callable[[], int]) -> Services:
    """Services that have a store and nothing else."""
    absent = cast("Any", None)
    return Services(
        store=store,
        machines=absent,
        express=absent,
        logs=absent,
        mocks=absent,
        authorizer=absent,
        clock=absent,
        sessions=absent,
        limits=absent,
        random_below=lambda _limit: draw_next(),
    )
