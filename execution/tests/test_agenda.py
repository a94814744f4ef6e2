"""Between the moments that are named, time alone changes nothing; and only who is due is asked."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Side
from execution import lifecycle
from execution.agenda import Agenda, next_moment, phase
from execution.engine import rounds as rounds_module
from execution.engine.database.writer import Batch, Written
from execution.engine.rounds import AT_ONCE, MANY, PATIENCE
from execution.next_steps import next_steps
from execution.price_changes import ASKED, DONE, KEPT, REFUSED, TAKEN, UNKNOWN, Change
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation, Steps
from execution.tests.inmemory import ENTRY_AT, LOT, committed, live_execution, live_intent, live_run
from execution.tests.parts import OwnsAll, Parts
from marketplace.definition import StrategySpec
from marketplace.tests.factories import leg_spec, strategy_spec
from quantleap.core import clock

NOW = 10_000.0
STATES = (
    lifecycle.PLANNED,
    lifecycle.SENDING,
    lifecycle.UNKNOWN,
    lifecycle.ACCEPTED,
    lifecycle.PARTIAL,
    lifecycle.FILLED,
    lifecycle.REJECTED,
    lifecycle.CANCELLED,
    lifecycle.MISSED,
)


def straddle() -> StrategySpec:
    return strategy_spec([leg_spec("SELL", kind, key=kind.lower()) for kind in ("CE", "PE")])


CHANGED = (ASKED, TAKEN, DONE, REFUSED, UNKNOWN, KEPT)
around_now = st.just(0.0) | st.floats(NOW - 200, NOW + 200)


@st.composite
def executions(draw: Any) -> LiveExecution:
    """A straddle somewhere in its day, with exits of its own, every clock of it at odds."""
    execution = committed(straddle())
    execution.status = draw(st.sampled_from(("COMMITTED", "OPEN", "EXITING")))
    for entry in list(execution.intents):
        if draw(st.booleans()):
            live_intent(
                execution,
                leg_key=entry.leg_key,
                contract_id=entry.contract_id,
                purpose=lifecycle.EXIT,
                side=Side.BUY,
                attempt_group=draw(st.integers(0, 4)),
            )
    for intent in execution.intents:
        intent.state = draw(st.sampled_from(STATES))
        intent.sends = draw(st.integers(0, 3))
        intent.filled_quantity = {lifecycle.FILLED: intent.quantity, lifecycle.PARTIAL: 1}.get(
            intent.state, 0
        )
        intent.broker_order_id = "1"
        intent.not_before_mono = draw(around_now)
        intent.cancel_after_mono = draw(around_now)
        intent.cancel_sent_mono = draw(around_now)
        intent.cancel_since_mono = draw(around_now)
        intent.cancels = draw(st.integers(0, 6))
        intent.sent_mono, intent.seen_mono = draw(around_now), draw(around_now)
        intent.unknown_since_mono = draw(around_now)
        intent.watch_until_mono = draw(around_now)
        intent.changes = tuple(
            Change(intent.price, intent.price + 1, ENTRY_AT, state=state)
            for state in draw(st.lists(st.sampled_from(CHANGED), max_size=2))
        )
        intent.change_mono, intent.unchanged_mono = draw(around_now), draw(around_now)
        intent.round_mono = draw(around_now)
    return execution


def steps_at(execution: LiveExecution, now_mono: float, **fields: Any) -> Steps:
    return next_steps(
        execution, Situation(now_mono=now_mono, **{"grace_over": False, "exit_due": True, **fields})
    )


@given(
    execution=executions(),
    part=st.floats(0.001, 0.999),
    grace_over=st.booleans(),
    exit_due=st.booleans(),
    most_changes=st.sampled_from((0, 2, 25)),
)
def test_between_two_moments_there_is_nothing_new_to_do(
    execution: LiveExecution, part: float, grace_over: bool, exit_due: bool, most_changes: int
) -> None:
    moment = min(next_moment(execution, NOW), NOW + 1000)
    facts = {"grace_over": grace_over, "exit_due": exit_due, "most_changes": most_changes}
    later = NOW + part * (moment - NOW)
    assert steps_at(execution, later, **facts) == steps_at(execution, NOW, **facts)


def test_a_moment_that_is_left_out_is_noticed() -> None:
    """The control: a resting exit is cancelled at its own time, and nobody would ask then."""
    execution = committed(straddle())
    execution.status = "EXITING"
    for intent in execution.intents:
        intent.state, intent.filled_quantity = lifecycle.FILLED, intent.quantity
    first = execution.intents[0]
    resting = live_intent(
        execution,
        leg_key=first.leg_key,
        purpose=lifecycle.EXIT,
        side=Side.BUY,
        state=lifecycle.ACCEPTED,
    )
    resting.broker_order_id, resting.cancel_after_mono = "1", NOW + 3
    assert next_moment(execution, NOW) == NOW + 3
    assert not steps_at(execution, NOW + 2.9).cancel
    assert steps_at(execution, NOW + 3).cancel == [resting]


def test_a_run_moves_everybody_at_its_own_times() -> None:
    run = live_run()
    second = dt.timedelta(seconds=1)
    before = phase(run, ENTRY_AT - second, "")
    assert phase(run, ENTRY_AT, "") != before
    assert phase(run, run.grace_until + second, "") != phase(run, run.grace_until, "")
    assert phase(run, run.exit_at, "") != phase(run, run.exit_at - second, "")
    assert phase(run, ENTRY_AT, "KILL_SWITCH") != phase(run, ENTRY_AT, "")
    was = phase(run, ENTRY_AT, "")
    run.leg_exits["leg-0"] = "STOP"
    assert phase(run, ENTRY_AT, "") != was


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=40))
def test_the_agenda_gives_everybody_once_at_their_earliest(puts: list[tuple[int, float]]) -> None:
    agenda, earliest = Agenda(), dict[int, float]()
    for number, at in puts:
        agenda.put(number, at)
        earliest[number] = min(at, earliest.get(number, math.inf))
    assert sorted(agenda.due(50)) == sorted(n for n, at in earliest.items() if at <= 50)
    assert sorted(agenda.due(100)) == sorted(n for n, at in earliest.items() if at > 50)
    assert agenda.due(1e9) == []


# -- d19 -----------------------------------------------------------------------------------------
class Setup:
    """What rounds ask for, with ``count`` open executions of one run."""

    def __init__(self, count: int, status: str = "COMMITTED") -> None:
        run = live_run(
            entry_at=clock.now() - dt.timedelta(seconds=60),
            exit_at=clock.now() + dt.timedelta(hours=3),
            grace_until=clock.now() - dt.timedelta(seconds=30),
        )
        self.ownership = OwnsAll()
        control = SimpleNamespace(current=SimpleNamespace(blocked=lambda *_: ""))
        parts = Parts(ownership=self.ownership, control=control)
        parts.day.runs[run.id] = run
        self.executions = parts.day.executions
        for _ in range(count):
            execution = live_execution(run, status=status)
            execution.run = run
            now = clock.monotonic()
            live_intent(
                execution, state=lifecycle.ACCEPTED, sends=1, sent_mono=now, cancel_sent_mono=now
            )
            parts.day.adopt([execution])
        self.work = parts.work
        self.rounds = parts.rounds


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Executions of which it was asked what is next, in order."""
    seen: list[int] = []

    def count(execution: LiveExecution, situation: Situation) -> Steps:
        seen.append(execution.id)
        return next_steps(execution, situation)

    monkeypatch.setattr(rounds_module, "next_steps", count)
    return seen


def tick(setup: Setup) -> None:
    """What happens four times a second."""
    setup.rounds.schedule_due()
    while setup.work.scheduled:
        asyncio.run(setup.rounds.once())


def test_5000_executions_were_all_decided_in_every_tick(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: one executor spent 76 ms of every 250 on executions of which nothing was due."""
    now = clock.monotonic()
    setup = Setup(5000)
    rounds = setup.rounds
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    tick(setup)
    assert sorted(asked) == sorted(setup.executions)
    asked.clear()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 0.25)
    tick(setup)
    assert len(asked) == 250  # one part in twenty of the slow sweep
    changed = next(iter(setup.executions.values()))
    asked.clear()
    setup.work.schedule([changed])
    asyncio.run(rounds.once())
    assert asked == [changed.id]


def test_nobody_is_forgotten_by_the_sweep(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(40, status="OPEN")
    tick(setup)
    asked.clear()
    now = clock.monotonic()
    for step in range(1, 30):
        monkeypatch.setattr(clock, "monotonic", lambda at=now + 0.25 * step: at)
        tick(setup)
    assert set(asked) == set(setup.executions)


def test_who_came_first_is_decided_first(asked: list[int]) -> None:
    """A round decides ``AT_ONCE`` executions, and the next round the rest."""
    setup = Setup(AT_ONCE + 10)
    rounds = setup.rounds
    late, early = list(setup.executions.values())[:10], list(setup.executions.values())[10:]
    setup.work.schedule(early)
    setup.work.schedule(late)
    asyncio.run(rounds.once())
    assert asked == [execution.id for execution in early]
    asyncio.run(rounds.once())
    assert asked[AT_ONCE:] == [execution.id for execution in late]


def test_an_open_fence_is_noticed_by_the_agenda(asked: list[int]) -> None:
    setup = Setup(1)
    setup.ownership.owned = False
    rounds = setup.rounds
    tick(setup)
    assert asked == []
    setup.ownership.owned = True
    (execution_id,) = setup.executions
    assert rounds._agenda.due(clock.monotonic() + 1) == [execution_id]


def test_a_send_whose_order_filled_meanwhile_is_not_sent() -> None:
    """It was PLANNED when the round decided, and filled by the time the database had granted it."""
    setup = Setup(1)
    rounds = setup.rounds
    intent: LiveIntent = next(iter(setup.executions.values())).intents[0]
    intent.state, intent.filled_quantity = lifecycle.FILLED, LOT
    batch = Batch(sending=[(intent, intent.tag)])
    granted = Written(frozenset({0}), sending=frozenset({intent.code}))
    rounds._granted(batch, granted, clock.now())
    assert (intent.state, intent.sends) == (lifecycle.FILLED, 1)


def test_answers_that_move_nothing_did_not_keep_sold_legs_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen: a round wrote a thousand answers for a second while the fills had come meanwhile."""
    setup = Setup(2)
    rounds = setup.rounds
    written: list[list[str]] = []

    async def write(batch: Batch, _now: dt.datetime) -> Written:
        written.append(sorted(intent.code for intent in batch.results))
        statuses = frozenset(change.execution.id for change in batch.statuses)
        return Written(frozenset({0}), statuses=statuses)

    monkeypatch.setattr(rounds, "_write", write)
    resting, filled = (execution.intents[0] for execution in setup.executions.values())

    async def main() -> None:
        setup.work.changed(resting)
        await rounds.once(patient=True)
        assert written == []
        filled.state, filled.filled_quantity = lifecycle.FILLED, LOT
        setup.work.changed(filled)
        await rounds.once(patient=True)
        assert written == [[filled.code]]
        at = clock.monotonic() + PATIENCE
        monkeypatch.setattr(clock, "monotonic", lambda: at)
        await rounds.once(patient=True)
        assert written == [[filled.code], [resting.code]]
        setup.work.changed(resting)
        await rounds.once()  # before the executor ends nothing is put off
        assert written[-1] == [resting.code]

    asyncio.run(main())


def test_no_line_of_the_log_is_written_during_a_round_for_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of what an entry of four legs cost was the log's."""
    busy: list[bool] = []

    def note(execution: LiveExecution, situation: Situation) -> Steps:
        busy.append(rounds.is_busy)
        return next_steps(execution, situation)

    monkeypatch.setattr(rounds_module, "next_steps", note)
    setup = Setup(MANY)
    rounds = setup.rounds
    setup.work.schedule(setup.executions.values())
    asyncio.run(rounds.once())
    assert busy == [True] * MANY
    assert not rounds.is_busy
    busy.clear()
    setup.work.schedule(list(setup.executions.values())[:1])
    asyncio.run(rounds.once())
    assert busy == [False]
