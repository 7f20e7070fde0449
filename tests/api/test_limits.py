"""Fairness: over a limit a quick refusal, for everybody else nothing changes, memory is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stepout.api import limits as module
from stepout.api.limits import LONG_POLLS, SHARE, Limits, Quotas, Ticket, Visit
from stepout.errors import ServiceError

START, LIST, POLL = "StartSyncExecution", "ListStateMachines", "GetActivityTask"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Book:
    """Limits with what they need and what they told."""

    def __init__(self, **quotas: Any) -> None:
        self.clock = Clock()
        self.refusals: Counter[str] = Counter()
        self.limits = Limits(Quotas(**quotas), self.clock, self._count)

    def _count(self, reason: str) -> None:
        self.refusals[reason] += 1

    def visit(self, principal: str = "a", operation: str = START, size: int = 0) -> Visit:
        """A request of a principal, let in and not released; nothing stays of one refused."""
        visit = self.limits.enter()
        try:
            visit.read(size)
            visit.identify(principal, operation)
        except ServiceError:
            visit.release()
            raise
        return visit

    def calls(self, count: int, principal: str = "a", operation: str = START) -> int:
        """How many of so many short requests at one moment are served."""
        return sum(
            is_let_in(lambda: self.visit(principal, operation).release()) for _ in range(count)
        )


def is_let_in(call: Callable[[], object]) -> bool:
    """Whether a call goes through; a refusal has AWS's shape."""
    refusal = None
    try:
        call()
    except ServiceError as error:
        refusal = (error.code, error.message, error.status)
    assert refusal in (None, ("ThrottlingException", "Rate exceeded", 400))
    return refusal is None


def fill(enter: Callable[[], object]) -> int:
    """Enter until it is refused; answers how often it was let in."""
    count = 0
    while is_let_in(enter):
        count += 1
    return count


# --- Rooms ----------------------------------------------------------------------------------------


def test_requests_in_flight_are_bounded_before_anything_is_known_of_them() -> None:
    book = Book(requests=3)
    visits = [book.limits.enter() for _ in range(3)]
    assert not is_let_in(book.limits.enter)
    assert book.refusals == {"max-requests": 1}
    visits[0].release()
    assert is_let_in(book.limits.enter)


def test_the_bytes_of_bodies_in_flight_are_bounded_and_counted_as_they_come() -> None:
    book = Book(bodies=100)
    one, other = book.limits.enter(), book.limits.enter()
    one.read(60)
    other.read(40)
    assert not is_let_in(lambda: other.read(1))
    assert book.refusals == {"max-bodies": 1}
    one.release()
    other.read(60)
    other.release()
    assert is_let_in(lambda: book.limits.enter().read(100))


def test_a_release_gives_back_once() -> None:
    book = Book(requests=2, executions=2)
    visits = [book.visit() for _ in range(2)]
    tickets = [book.limits.execution("a") for _ in range(2)]
    for _ in range(3):
        visits[0].release()
        tickets[0].release()
    assert fill(book.limits.enter) == 1
    assert fill(lambda: book.limits.execution("b")) == 1


def test_a_request_is_identified_once() -> None:
    visit = Book().limits.enter()
    visit.identify("a", START)
    with pytest.raises(ValueError, match="once"):
        visit.identify("b", START)
    visit.release()
    with pytest.raises(ValueError, match="before it is released"):
        visit.identify("a", START)


@pytest.mark.parametrize("kind", ["requests", "executions"])
def test_a_quota_of_each_principal_bounds_it_and_nobody_else(kind: str) -> None:
    book = Book(**{f"principal_{kind}": 3})
    enter = book.visit if kind == "requests" else book.limits.execution
    assert fill(lambda: enter("a")) == 3
    assert fill(lambda: enter("b")) == 3
    assert book.refusals == {f"principal-{kind}": 2}


def test_executions_are_refused_when_all_places_are_taken() -> None:
    book = Book(executions=2)
    book.limits.execution("a")
    ticket = book.limits.execution("b")
    assert not is_let_in(lambda: book.limits.execution("c"))
    assert book.refusals == {"max-executions": 1}
    ticket.release()
    assert is_let_in(lambda: book.limits.execution("c"))


@pytest.mark.parametrize("kind", ["requests", "executions"])
def test_without_a_quota_one_principal_gets_four_fifths_and_the_next_finds_a_place(
    kind: str,
) -> None:
    book = Book(**{kind: 1_000})
    enter = book.visit if kind == "requests" else book.limits.execution
    assert fill(lambda: enter("greedy")) == 800
    assert fill(lambda: enter("greedy, too")) == 160
    assert fill(lambda: enter("late")) == 32
    assert is_let_in(lambda: enter("latest"))


def test_one_principal_gets_four_fifths_of_the_bytes_of_bodies() -> None:
    """By the last request more: a body is not cut."""
    book = Book(bodies=1_000)
    assert fill(lambda: book.visit("greedy", size=10)) == 80
    assert is_let_in(lambda: book.visit("late", size=10))
    assert book.refusals == {"principal-bodies": 1}


@given(
    size=st.integers(1, 300),
    greedy=st.lists(st.sampled_from("abcdef"), max_size=400),
)
def test_whoever_comes_new_finds_a_place_while_there_is_one(size: int, greedy: list[str]) -> None:
    """However the others behave; and each has what the rule lets it have, not a place more."""
    book = Book(executions=size)
    held: Counter[str] = Counter()
    for principal in greedy:
        free = size - held.total()
        is_in = is_let_in(lambda: book.limits.execution(principal))  # noqa: B023 — called at once
        assert is_in == (free > 0 and held[principal] < SHARE * free)
        held[principal] += is_in
    assert is_let_in(lambda: book.limits.execution("new")) == (held.total() < size)


def test_a_refusal_leaves_nothing_behind() -> None:
    book = Book(requests=10, bodies=100, principal_requests=2, principal_executions=2)
    for _ in range(2):
        book.visit(size=10)
        book.limits.execution("a")
    for _ in range(100):
        assert not is_let_in(lambda: book.visit(size=10))
        assert not is_let_in(lambda: book.visit("b", size=200))
        assert not is_let_in(lambda: book.limits.execution("a"))
    assert taken(book) == {"requests": 2, "polls": 0, "bodies": 20, "executions": 2}
    assert held(book) == {
        "requests": {"a": 2},
        "polls": {},
        "bodies": {"a": 20},
        "executions": {"a": 2},
    }


def rooms(book: Book) -> dict[str, Any]:
    inside = book.limits
    return {
        "requests": inside._requests,
        "polls": inside._polls,
        "bodies": inside._bodies,
        "executions": inside._executions,
    }


def taken(book: Book) -> dict[str, int]:
    return {name: room._taken for name, room in rooms(book).items()}


def held(book: Book) -> dict[str, dict[str, int]]:
    return {name: dict(room._held) for name, room in rooms(book).items()}


# --- Long polls -----------------------------------------------------------------------------------


def test_those_who_wait_for_work_take_no_place_from_those_who_work() -> None:
    (poll,) = LONG_POLLS
    book = Book(requests=10)
    assert fill(lambda: book.visit("worker", poll)) == 8
    assert fill(lambda: book.visit("caller", START)) == 8
    assert taken(book)["polls"] == 8


def test_polls_are_bounded_by_themselves() -> None:
    book = Book(requests=10, principal_requests=3)
    visits = [book.visit("worker", POLL) for _ in range(3)]
    assert not is_let_in(lambda: book.visit("worker", POLL))
    for visit in visits:
        visit.release()
    assert taken(book) == {"requests": 0, "polls": 0, "bodies": 0, "executions": 0}
    assert is_let_in(lambda: book.visit("worker", POLL))


def test_a_poll_that_finds_no_place_gives_back_the_one_it_came_in_with() -> None:
    book = Book(requests=2)
    for name in ("a", "b"):
        book.visit(name, POLL)
    assert not is_let_in(lambda: book.visit("c", POLL))
    assert taken(book)["requests"] == 0


# --- Rates ----------------------------------------------------------------------------------------


def test_without_a_rate_any_number_of_requests_is_served() -> None:
    assert Book().calls(5_000) == 5_000


def test_a_burst_is_served_and_then_the_rate() -> None:
    book = Book(rate=10, burst=25)
    assert book.calls(100) == 25
    for _ in range(50):
        book.clock.now += 0.1
        assert book.calls(3) == 1
    book.clock.now += 1
    assert book.calls(100) == 10
    book.clock.now += 1_000
    assert book.calls(100) == 25
    assert book.refusals.keys() == {"principal-rate"}


@pytest.mark.parametrize(("rate", "expected"), [(7, 7), (0.5, 1), (2.9, 2)])
def test_a_burst_that_is_not_set_is_what_one_second_has(rate: float, expected: int) -> None:
    assert Book(rate=rate).calls(50) == expected


def test_a_refusal_costs_nothing_so_that_who_hammers_gets_the_rate_all_the_same() -> None:
    book = Book(rate=10, burst=1)
    served = 0
    for _ in range(1_000):
        book.clock.now += 0.01
        served += book.calls(1)
    assert 99 <= served <= 101


def test_each_principal_and_each_operation_has_a_rate_of_its_own() -> None:
    """Polling with one operation starves no other one, nor another caller."""
    book = Book(rate=5)
    assert book.calls(50, "a", LIST) == 5
    assert book.calls(50, "a", START) == 5
    assert book.calls(50, "b", LIST) == 5


@given(
    rate=st.sampled_from([0.5, 1, 3, 10, 1_000]),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=80),
)
def test_a_bucket_does_what_counting_tokens_does(
    rate: float, burst: int, steps: list[tuple[str, float]]
) -> None:
    """Forgetting full buckets changes nothing that a caller can see."""
    book = Book(rate=rate, burst=burst)
    tokens: dict[str, float] = dict.fromkeys("abc", float(burst))
    for principal, seconds in steps:
        book.clock.now += seconds
        tokens = {name: min(burst, has + seconds * rate) for name, has in tokens.items()}
        served = book.calls(1, principal)
        # Where it hangs on the last digit of a float either is right.
        if abs(tokens[principal] - 1) > 0.002:
            assert served == (tokens[principal] >= 1)
        tokens[principal] -= served


# --- Memory ---------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKETS", 100)


def buckets(book: Book) -> Any:
    return book.limits._buckets


def test_buckets_that_are_full_again_are_forgotten() -> None:
    book = Book(rate=10, burst=10)
    for n in range(500):
        book.visit(f"caller {n}").release()
    assert len(buckets(book)) == 500
    book.clock.now += 0.2
    book.visit().release()
    assert len(buckets(book)) == len(buckets(book)._ahead) == 1


@pytest.mark.usefixtures("small")
def test_a_million_names_take_no_more_memory_and_reset_nobodys_bucket() -> None:
    book = Book(rate=1, burst=10)
    assert book.calls(20, "spent") == 10
    served = sum(book.calls(1, f"name {n}") for n in range(20_000))
    # 99 buckets of their own, and one that all the others share.
    assert served == 99 + 10
    assert len(buckets(book)) == len(buckets(book)._ahead) == 100
    assert book.calls(20, "spent") == 0
    book.clock.now += 1
    assert book.calls(20, "spent") == 1


@pytest.mark.usefixtures("small")
def test_who_was_there_before_a_flood_of_names_keeps_their_rate() -> None:
    book = Book(rate=10, burst=10)
    served = 0
    for n in range(5_000):
        served += book.calls(1, "honest")
        book.calls(5, f"name {n}")
        book.clock.now += 0.1
    assert served == 5_000


@pytest.mark.usefixtures("small")
def test_one_bucket_that_is_empty_for_long_keeps_no_other_from_being_forgotten() -> None:
    """Else a single burst would push all newcomers into the bucket that they share."""
    book = Book(rate=1, burst=1_000)
    assert book.calls(2_000, "spent") == 1_000
    for n in range(99):
        book.visit(f"first {n}").release()
    book.clock.now += 1
    assert [book.calls(2, f"second {n}") for n in range(99)] == [2] * 99
    assert buckets(book)._shared_full_at == 0


def test_a_long_name_is_not_kept() -> None:
    book = Book(rate=1)
    long = "x" * 60_000
    visit = book.visit(long)
    ((kept, _),) = buckets(book)._full_at
    assert len(kept) == 64
    assert held(book)["requests"] == {kept: 1}
    assert not is_let_in(lambda: book.visit(long))
    assert is_let_in(lambda: book.visit(long[:-1]))
    visit.release()


def test_the_defaults_let_a_laptop_work() -> None:
    """No rate, and more at one time than a test suite has."""
    book = Book()
    assert fill(lambda: book.limits.execution("a")) == 4_000
    assert fill(book.visit) == 8_000


class Crowd(RuleBasedStateMachine):
    """Any order of arrivals, identifications, ends and refusals: the books balance."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(
            requests=8, bodies=1_000, executions=6, rate=2, burst=6, principal_requests=5
        )
        self.strangers: list[tuple[Visit, int]] = []
        self.known: list[tuple[Visit, str, str, int]] = []
        self.running: list[tuple[Ticket, str]] = []

    @rule(size=st.integers(0, 400))
    def arrive(self, size: int) -> None:
        here = len(self.strangers) + sum(poll != POLL for _, _, poll, _ in self.known)
        if not is_let_in(lambda: self.strangers.append((self.book.limits.enter(), 0))):
            assert here == 8
            return
        assert here < 8
        visit, _ = self.strangers.pop()
        if is_let_in(lambda: visit.read(size)):
            self.strangers.append((visit, size))
        else:
            visit.release()

    @precondition(lambda self: self.strangers)
    @rule(principal=st.sampled_from("abc"), operation=st.sampled_from([START, LIST, POLL]))
    def identify(self, principal: str, operation: str) -> None:
        visit, size = self.strangers.pop(0)
        if is_let_in(lambda: visit.identify(principal, operation)):
            self.known.append((visit, principal, operation, size))
        else:
            visit.release()

    @precondition(lambda self: self.known)
    @rule(which=st.integers(0, 20))
    def end(self, which: int) -> None:
        self.known.pop(which % len(self.known))[0].release()

    @precondition(lambda self: self.strangers)
    @rule()
    def go_away(self) -> None:
        self.strangers.pop()[0].release()

    @rule(principal=st.sampled_from("abc"))
    def execute(self, principal: str) -> None:
        is_let_in(lambda: self.running.append((self.book.limits.execution(principal), principal)))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 20))
    def finish(self, which: int) -> None:
        self.running.pop(which % len(self.running))[0].release()

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.book.clock.now += seconds

    @invariant()
    def the_books_balance(self) -> None:
        polls = Counter(name for _, name, operation, _ in self.known if operation == POLL)
        others = Counter(name for _, name, operation, _ in self.known if operation != POLL)
        bodies: Counter[str] = Counter()
        for _, name, _, size in self.known:
            bodies[name] += size
        assert taken(self.book) == {
            "requests": others.total() + len(self.strangers),
            "polls": polls.total(),
            "bodies": bodies.total() + sum(size for _, size in self.strangers),
            "executions": len(self.running),
        }
        assert held(self.book) == {
            "requests": others,
            "polls": polls,
            "bodies": +bodies,
            "executions": Counter(name for _, name in self.running),
        }
        assert all(room._taken <= room._most for room in rooms(self.book).values())
        assert max([*others.values(), *polls.values()], default=0) <= 5
        assert len(buckets(self.book)) <= 9


TestCrowd = Crowd.TestCase
