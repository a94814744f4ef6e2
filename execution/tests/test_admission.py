"""Who may begin to enter now: everybody in good time, nobody alone with their bought legs."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import admission, lifecycle
from execution.admission import PATIENCE, SHARE, Entrant, Line, lined_up
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.entries.entry_queue import ENOUGH, MANY, EntryQueue
from execution.state import LiveExecution, LiveRun
from execution.tests.inmemory import LOT, committed, live_run
from execution.tests.parts import Parts
from marketplace.definition import StrategySpec
from marketplace.tests.factories import leg_spec, strategy_spec
from quantleap.core import clock

NOW: Final = 1000.0
GRACE: Final = 30.0
WINDOW: Final = 20
TICK: Final = 0.05
#: An account of four legs.
FOUR: Final = 4


def at_broker(_number: int) -> bool:
    """Nobody waits for us."""
    return False


def entrants(count: int, work: int = FOUR, first: int = 0) -> list[Entrant]:
    """A run's, in line from NOW on."""
    numbers = range(first, first + count)
    return lined_up([(n, work, math.inf) for n in numbers], start=NOW, end=NOW + GRACE)


class Toy:
    """An executor that follows up ``speed`` orders a second, first come first served, of accounts
    whose broker answers after ``answers[number]`` seconds; inf: it hangs."""

    def __init__(self, line: Line, works: dict[int, int], answers: dict[int, float], speed: float):
        self.line, self.works, self.answers, self.speed = line, works, answers, speed
        self.begun: dict[int, float] = {}
        self.followed: dict[int, float] = {}
        self._queue: list[int] = []
        self._heard: set[int] = set()

    def is_ours(self, number: int) -> bool:
        return number in self._queue

    def play(self, until: float) -> None:
        now, done = NOW, 0.0
        while now <= until:
            for number in self.line.admit(now, self.is_ours):
                assert number not in self.begun, "begun twice"
                self.begun[number] = now
            for number, at in self.begun.items():
                if number not in self._heard and at + self.answers[number] <= now:
                    self._heard.add(number)
                    self._queue.append(number)
            done += self.speed * TICK
            while self._queue and done >= self.works[self._queue[0]]:
                number = self._queue.pop(0)
                done -= self.works[number]
                self.followed[number] = now
                self.line.done(number)
            done = done if self._queue else 0.0
            now += TICK

    def alone(self) -> list[float]:
        """Seconds from each account's fills to its sold legs."""
        return [at - self.begun[n] - self.answers[n] for n, at in self.followed.items()]


answers = st.lists(st.sampled_from((0.1, 0.15, 0.7, 3.0, math.inf)), min_size=1, max_size=60)


@given(answers, st.integers(1, 12), st.sampled_from((20.0, 80.0, 400.0)))
def test_everybody_begins_once_within_half_the_grace(
    seconds: list[float], work: int, speed: float
) -> None:
    """Slow and silent brokers keep nobody from beginning, in the order of the line."""
    line, waits = Line(WINDOW), dict(enumerate(seconds))
    toy = Toy(line, dict.fromkeys(waits, work), waits, speed)
    line.join(entrants(len(waits), work))
    toy.play(NOW + SHARE * GRACE)
    assert sorted(toy.begun) == sorted(waits)
    assert len(line) == 0
    assert list(toy.begun) == list(waits), "in the order of the line"


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 7))
def test_no_more_than_the_window_are_under_way(count: int, work: int, every: int) -> None:
    """Only an entry whose latest start has come begins although the window is full."""
    line, all_of_them = Line(WINDOW, math.inf), entrants(count, work)
    line.join(all_of_them)
    forced = 0
    for step in range(100):
        now = NOW + step * TICK
        forced += sum(all_of_them[number].by <= now for number in line.admit(now, at_broker))
        assert line.weight <= max(WINDOW, work) + forced * work
        assert line.weight == work * len(line.under_way)
        for number in list(line.under_way)[::every]:
            line.done(number)


def test_2500_accounts_waited_two_seconds_for_sold_legs() -> None:
    """Seen where all entered in one second: the bought legs left in the first milliseconds, and the
    p99 of the sold ones was 2 s (0.77 ms an account)."""
    count = 2500
    numbers, speed = range(count), 4 / 0.00077

    def alone(window: int) -> float:
        line = Line(window)
        line.join(entrants(count))
        waits = dict.fromkeys(numbers, 0.15)
        toy = Toy(line, dict.fromkeys(numbers, FOUR), waits, speed)
        toy.play(NOW + 6)
        assert len(toy.followed) == count
        return sorted(toy.alone())[count * 99 // 100]

    assert alone(10**9) > 1.8, "the control: nobody waits in line"
    assert alone(admission.WINDOW) < 0.5


def test_the_whole_takes_little_longer() -> None:
    count, speed = 2500, 4 / 0.00077

    def last(window: int) -> float:
        line = Line(window)
        line.join(entrants(count))
        toy = Toy(line, dict.fromkeys(range(count), FOUR), dict.fromkeys(range(count), 0.15), speed)
        toy.play(NOW + 6)
        return max(toy.followed.values()) - NOW

    assert last(admission.WINDOW) <= 1.3 * last(10**9)


def test_an_account_that_hangs_keeps_its_place_only_briefly() -> None:
    """An account whose broker is silent occupies the window for at most ``PATIENCE`` seconds."""

    def followed(patience: float) -> int:
        line = Line(FOUR, patience)  # one account at a time
        waits = {0: math.inf, 1: 0.1, 2: 0.1, 3: 0.1}
        toy = Toy(line, dict.fromkeys(waits, FOUR), waits, 400.0)
        line.join(lined_up([(n, FOUR, math.inf) for n in waits], start=NOW, end=NOW + 1000))
        toy.play(NOW + 2 * PATIENCE)
        return len(toy.followed)

    assert followed(PATIENCE) == 3
    assert followed(math.inf) == 0, "the control: a window that counts who hangs"


def test_who_waits_for_us_keeps_their_place() -> None:
    line = Line(FOUR)
    line.join(lined_up([(0, FOUR, math.inf), (1, FOUR, math.inf)], start=NOW, end=NOW + 1000))
    assert line.admit(NOW, at_broker) == [0]
    assert line.admit(NOW + 2 * PATIENCE, lambda number: number == 0) == []
    assert line.admit(NOW + 3 * PATIENCE, at_broker) == [1]


def test_an_entry_larger_than_the_window_begins_alone() -> None:
    """An entry of 100 orders begins as soon as the window of 20 is empty."""
    line = Line(WINDOW)
    line.join(lined_up([(0, FOUR, math.inf), (1, 100, math.inf)], start=NOW, end=NOW + 1000))
    assert line.admit(NOW, at_broker) == [0]
    assert line.admit(NOW + TICK, at_broker) == []
    line.done(0)
    assert line.admit(NOW + 2 * TICK, at_broker) == [1]


def test_a_small_run_beside_a_large_one_is_not_last() -> None:
    """Ten strategies may enter in one second: the line is ordered by when each has to begin."""
    line = Line(WINDOW)
    line.join(entrants(500))
    line.join(entrants(5, first=1000))
    begun: list[int] = []
    for step in itertools.count():
        begun += line.admit(NOW + step * TICK, at_broker)
        if len(line) == 0:
            break
        for number in list(line.under_way):
            line.done(number)
    places = [begun.index(number) for number in range(1000, 1005)]
    assert places == sorted(places)
    assert places[0] <= WINDOW // FOUR
    assert places[2] < 300


def test_a_later_run_does_not_begin_before_its_second() -> None:
    line = Line(WINDOW)
    line.join(lined_up([(0, FOUR, math.inf)], start=NOW + 5, end=NOW + 35))
    assert line.admit(NOW + 4.9, at_broker) == []
    assert line.admit(NOW + 4, at_broker, ahead=1.0) == [0]


def test_who_needs_the_grace_does_not_wait_in_line() -> None:
    """An account whose own pace takes up the grace begins while it can still send all of its
    orders."""
    slow, quick = lined_up([(0, 1, math.inf), (1, 100, NOW + 2)], start=NOW, end=NOW + 30)[::-1]
    assert slow.by == NOW + 2
    assert quick.by == NOW


def test_who_is_over_is_forgotten_and_who_has_begun_stays_begun() -> None:
    line = Line(FOUR)
    line.join(entrants(3))
    assert line.admit(NOW, at_broker) == [0]
    line.leave(1)
    line.done(0)
    assert line.has_begun(0)
    assert line.admit(NOW, at_broker) == [2]
    line.leave(0)
    assert not line.has_begun(0)
    line.join(entrants(3))  # 2 has begun
    assert len(line) == 2


def test_time_passing_is_noticed_only_where_somebody_waits() -> None:
    line = Line(FOUR)
    line.join(entrants(1))
    assert line.admit(NOW, at_broker) == [0]
    assert not line.is_due(NOW + 2 * PATIENCE)
    line.join(entrants(1, first=1))
    line.admit(NOW, at_broker)
    line.join(lined_up([(2, FOUR, math.inf), (3, FOUR, math.inf)], start=NOW, end=NOW + 1000))
    line.admit(NOW, at_broker)
    assert not line.is_due(NOW + PATIENCE / 2)
    assert line.is_due(NOW + PATIENCE)


# -- what an entry waits for -----------------------------------------------------------------------
def spread() -> StrategySpec:
    return strategy_spec([leg_spec("BUY", "CE", key="ce"), leg_spec("SELL", "PE", key="pe")])


def entries(*states: str) -> LiveExecution:
    """A bought and a sold leg's order in these states."""
    execution = committed(spread())
    for intent, state in zip(execution.intents, states, strict=True):
        intent.state, intent.sends = state, int(state != lifecycle.PLANNED)
        intent.filled_quantity = LOT if state == lifecycle.FILLED else 0
    return execution


@pytest.mark.parametrize(
    ("bought", "sold", "followed_up", "ours", "new"),
    [
        (lifecycle.PLANNED, lifecycle.PLANNED, False, True, True),
        (lifecycle.SENDING, lifecycle.PLANNED, False, False, False),
        (lifecycle.ACCEPTED, lifecycle.PLANNED, False, False, False),
        (lifecycle.UNKNOWN, lifecycle.PLANNED, False, False, False),
        (lifecycle.FILLED, lifecycle.PLANNED, False, True, False),
        (lifecycle.FILLED, lifecycle.SENDING, False, False, False),
        (lifecycle.FILLED, lifecycle.ACCEPTED, True, False, False),
        (lifecycle.REJECTED, lifecycle.PLANNED, True, False, False),
        (lifecycle.MISSED, lifecycle.MISSED, True, False, False),
    ],
)
def test_what_an_entry_waits_for(
    bought: str, sold: str, followed_up: bool, ours: bool, new: bool
) -> None:
    intents = entries(bought, sold).intents
    assert admission.is_followed_up(intents) is followed_up
    assert admission.waits_for_us(intents, NOW) is ours
    assert admission.has_to_stand_in_line(intents) is new


def test_a_sold_leg_that_has_left_waits_for_its_broker_alone() -> None:
    execution = entries(lifecycle.FILLED, lifecycle.SENDING)
    execution.intents[1].sent_mono = NOW
    assert admission.is_followed_up(execution.intents)


def test_one_that_found_no_connection_waits_for_nobodys_work() -> None:
    execution = entries(lifecycle.PLANNED, lifecycle.PLANNED)
    execution.intents[0].unconnected, execution.intents[0].not_before_mono = 1, NOW + 1
    assert not admission.waits_for_us(execution.intents, NOW)
    assert not admission.has_to_stand_in_line(execution.intents), "it has had its turn"


# -- the desk --------------------------------------------------------------------------------------
class Setup:
    """What the desk asks for, and whom it asked to be looked at."""

    def __init__(self, *, trusted: bool = True) -> None:
        self.asked: list[int] = []
        self.parts = Parts(
            work=SimpleNamespace(schedule_ids=lambda numbers: self.asked.extend(numbers)),
            streams=SimpleNamespace(trusts=lambda actor: trusted),
        )
        self.executions = self.parts.day.executions
        self.adopt = self.parts.day.adopt

    @property
    def desk(self) -> EntryQueue:
        """Made when it is first asked for: its window is that of then."""
        return self.parts.queue


def run_in(seconds: float, strategy: StrategySpec | None = None) -> LiveRun:
    entry_at = clock.now() + dt.timedelta(seconds=seconds)
    grace = entry_at + dt.timedelta(seconds=GRACE)
    return live_run(strategy or spread(), entry_at=entry_at, grace_until=grace)


def plans_of(run: LiveRun, count: int) -> list[EntryPlan]:
    executions = [committed(run.strategy, run=run) for _ in range(count)]
    return [EntryPlan(execution, execution.intents) for execution in executions]


def first_states(plans: Sequence[EntryPlan]) -> list[str]:
    return [plan.intents[0].state for plan in plans]


@pytest.fixture
def setup() -> Any:
    return Setup()


def test_who_has_no_room_at_t_is_planned_and_nothing_else(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "WINDOW", 6)
    desk, run = setup.desk, run_in(1)
    plans = plans_of(run, 5)
    desk.line_up(run, plans)
    assert first_states(plans) == [lifecycle.SENDING] * 3 + [lifecycle.PLANNED] * 2
    assert [plan.intents[0].sends for plan in plans] == [1, 1, 1, 0, 0]
    assert [desk.is_waiting(plan) for plan in plans] == [False] * 3 + [True] * 2
    assert len(desk) == 2
    assert desk.may_start(plans[0].execution)
    assert not desk.may_start(plans[4].execution)


def test_the_window_is_the_executors_and_not_the_runs(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "WINDOW", 6)
    desk, run, other_run = setup.desk, run_in(1), run_in(1)
    first, second = plans_of(run, 2), plans_of(other_run, 2)
    desk.line_up(run, first)
    desk.line_up(other_run, second)
    assert first_states(first + second) == [lifecycle.SENDING] * 3 + [lifecycle.PLANNED]


def test_small_runs_and_runs_of_one_group_fire_as_ever(setup: Any) -> None:
    """A run that fits into the window, or whose orders are all of one group, does not queue."""
    desk = setup.desk
    small, single = run_in(1), run_in(1, strategy_spec([leg_spec("SELL", "CE", key="ce")]))
    plans, single_plans = plans_of(small, 500), plans_of(single, 2000)
    desk.line_up(small, plans)
    desk.line_up(single, single_plans)
    assert set(first_states(plans + single_plans)) == {lifecycle.SENDING}
    assert not desk.has_news(sent=True)


def test_accounts_whose_book_has_to_be_read_are_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "WINDOW", 16)
    states = []
    for trusted in (True, False):
        setup: Any = Setup(trusted=trusted)
        plans = plans_of(run := run_in(1), 8)
        setup.desk.line_up(run, plans)
        states.append(first_states(plans).count(lifecycle.SENDING))
    assert states == [8, 2]


def test_who_takes_over_puts_what_was_never_sent_in_line(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "WINDOW", 2)
    desk, run = setup.desk, run_in(-1)
    unsent = [entries(lifecycle.PLANNED, lifecycle.PLANNED) for _ in range(2)]
    begun = entries(lifecycle.FILLED, lifecycle.PLANNED)
    for execution in (*unsent, begun):
        execution.run = run
        setup.adopt([execution])
    assert desk.may_start(begun), "its bought leg stands alone"
    assert [desk.may_start(execution) for execution in unsent] == [False, False]
    assert desk.has_news(sent=False)
    assert desk.begin() == [unsent[0].id]
    unsent[0].intents[0].state = lifecycle.REJECTED
    desk.look(unsent[0])
    assert desk.begin() == [unsent[1].id]


def test_a_commit_that_failed_keeps_no_place(setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "WINDOW", 2)
    desk, run = setup.desk, run_in(1)
    plans = plans_of(run, 2)
    desk.line_up(run, plans)
    desk.forget(plan.execution.id for plan in plans)
    again = plans_of(run, 1)
    desk.line_up(run, again)
    assert first_states(again) == [lifecycle.SENDING]


def test_what_can_wait_waits_while_many_are_followed_up(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: a quarter of the interpreter's time was spent on collecting garbage. Such work waits
    for a few seconds at most."""
    few, desk = Setup().desk, setup.desk
    run, single = run_in(1), run_in(1, strategy_spec([leg_spec("SELL", "CE", key="ce")]))
    few.expect(run, MANY - 1)
    few.expect(single, 1000)
    assert not few.is_busy
    desk.expect(run, MANY)
    assert desk.is_busy
    desk.line_up(run, plans_of(run, 2 * MANY))
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 1.5)
    assert desk.is_busy
    monkeypatch.setattr(clock, "monotonic", lambda: now + 1 + 2 * PATIENCE)
    assert not desk.is_busy


def test_no_more_are_committed_than_are_enough_to_go_on_with(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: the rows of two thousand were written while the first 300 waited for 1.2 s."""
    monkeypatch.setattr(admission, "WINDOW", 2)
    desk, run = setup.desk, run_in(1)
    plans = plans_of(run, ENOUGH + 2)
    desk.line_up(run, plans)
    assert not desk.is_supplied(run), "nobody is committed"
    setup.adopt(plan.execution for plan in plans)
    assert desk.is_supplied(run)
    desk.forget([plans[-1].execution.id])
    assert not desk.is_supplied(run)


def test_a_stop_waits_for_the_line_but_not_for_ever(
    setup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, run = setup.desk, run_in(1)
    assert not desk.is_near()
    desk.line_up(run, plans_of(run, 1))
    assert desk.is_near()
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 10)
    assert not desk.is_near()
