"""Random trading days of one execution against a toy broker: the rules hold in every one.

The machine plays the engine's round (execution/engine/rounds.py) without its threads: ask what is
next, check it against the rules, do it, ask again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from brokers.base import BookState, Cause, Outcome, SendResult
from execution import live, outcome
from execution.exits import Tracked, exit_quantities
from execution.hedging import leaving_together
from execution.live import LiveExecution, LiveIntent
from execution.plan import slices
from execution.progress import ExitOrder, Situation, Steps, next_steps
from execution.tags import MAX_SENDS, make_tag
from execution.tests.inmemory import ENTRY_AT, committed, live_intent
from execution.tests.strategies import strategy_specs
from execution.tests.test_hedging import naked
from execution.tests.toybroker import VISIBILITY, ToyBroker, at_most_one_each
from marketplace.definition import StrategySpec

T = 1000.0
GRACE = 30.0
EXIT = 400.0
TERMINAL = {"CLOSED", "FAILED", "MISSED"}
ARROWS = {
    "COMMITTED": {"OPEN", "FAILED", "MISSED", "CLOSED"},
    "OPEN": {"EXITING", "CLOSED"},
    "EXITING": {"CLOSED"},
}
picks = st.integers(0, 11)


class TradingDay(RuleBasedStateMachine):
    """One execution, one broker, and a world that does what it likes."""

    execution: LiveExecution

    @initialize(
        strategy=strategy_specs(),
        multiplier=st.integers(1, 3),
        max_lots=st.none() | st.integers(1, 2),
    )
    def commit(self, strategy: StrategySpec, multiplier: int, max_lots: int | None) -> None:
        """The commit before T; its first group is on its way."""
        self.now = T
        self.blocked = ""
        self.broker = ToyBroker()
        self.execution = committed(strategy, multiplier=Decimal(multiplier), max_lots=max_lots)
        self.wire: list[LiveIntent] = []
        self.arrived: set[str] = set()
        self.cancels: list[LiveIntent] = []
        for intent in self.execution.intents:
            if intent.state == live.SENDING:
                self._dispatch(intent)
        self._round()

    # -- the engine's round --------------------------------------------------------------------
    def _situation(self) -> Situation:
        return Situation(
            now_mono=self.now,
            grace_over=self.now > T + GRACE,
            exit_due=self.now >= T + EXIT,
            entries_blocked=self.blocked,
        )

    def _round(self) -> None:
        for _ in range(60):
            if self.execution.status in TERMINAL:
                return
            situation = self._situation()
            steps = next_steps(self.execution, situation)
            if not steps:
                return
            self._check(steps, situation)
            self._do(steps)
        raise AssertionError("the same state never comes to rest")

    def _do(self, steps: Steps) -> None:
        execution = self.execution
        for intent, cause in steps.miss:
            assert intent.state == live.PLANNED, "only what is provably not there can be missed"
            intent.cause = cause
            outcome.finish(intent, live.MISSED, ENTRY_AT, self.now)
        for intent in steps.send:
            intent.sends += 1
            intent.tag = make_tag(intent.code, intent.sends)
            intent.state = live.SENDING
            self._dispatch(intent)
        for intent in steps.cancel:
            intent.cancel_sent_mono = self.now
            self.cancels.append(intent)
        if steps.status:
            assert steps.status in ARROWS[execution.status]
            execution.status = steps.status
        execution.cause = steps.cause or execution.cause
        execution.alarms |= {alarm.key for alarm in steps.alarms}
        for order in steps.exits:
            self._open_exit(order)

    def _dispatch(self, intent: LiveIntent) -> None:
        assert intent.sends <= MAX_SENDS
        intent.sent_mono = self.now
        self.wire.append(intent)

    def _open_exit(self, order: ExitOrder) -> None:
        leg_key = order.leg_key
        tracked = self.execution.open_quantity(leg_key)
        allowed = exit_quantities([Tracked(0, tracked)], self.broker.net(leg_key))[0]
        quantity = min(order.quantity, allowed)
        if quantity < order.quantity:
            before = self.execution.closed_outside.get(leg_key, 0)
            gone = (order.quantity - quantity) * order.side.sign
            self.execution.closed_outside[leg_key] = before + gone
            self.execution.alarms.add(("CLOSED_OUTSIDE", leg_key))
        leg = self.execution.run.resolved[leg_key]
        lot = leg.lot_size if quantity % leg.lot_size == 0 else 1
        maximum = self.execution.max_lots_per_order
        for number, piece in enumerate(slices(quantity, lot, leg.freeze_quantity, maximum)):
            intent = live_intent(
                self.execution,
                leg_key=leg_key,
                contract_id=leg.contract_id,
                side=order.side,
                quantity=piece,
                slice=number,
                purpose=order.purpose,
                attempt_group=order.attempt_group,
                reason=order.reason,
                state=live.SENDING,
                sends=1,
            )
            self._dispatch(intent)

    # -- the rules -----------------------------------------------------------------------------
    def _check(self, steps: Steps, situation: Situation) -> None:
        for intent in steps.send:
            assert intent.state == live.PLANNED
            assert intent.sends < MAX_SENDS
            assert intent.not_before_mono <= self.now
            if intent.purpose == live.ENTRY:
                self._check_entry(intent, situation)
            else:
                assert intent.quantity <= abs(self.execution.open_quantity(intent.leg_key))
        for intent in steps.cancel:
            assert intent.state in live.AT_BROKER
        for order in steps.exits:
            self._check_exit(order, situation)
        legs = [order.leg_key for order in steps.exits]
        assert len(legs) == len(set(legs))
        if steps.status == "EXITING":
            run, held = self.execution.run, self.execution.open_legs()
            wanted = set(leaving_together(run.strategy.legs, held, run.leg_exits))
            if not self._everything_leaves(situation) and not self._unwinding():
                assert set(self.execution.open_legs()) <= wanted

    def _everything_leaves(self, situation: Situation) -> bool:
        run = self.execution.run
        return bool(situation.exit_due or run.run_exit or self.execution.exit_reason)

    def _unwinding(self) -> bool:
        return any(i.is_final and i.state != live.FILLED for i in self.execution.of(live.ENTRY))

    def _check_entry(self, intent: LiveIntent, situation: Situation) -> None:
        assert not situation.grace_over
        assert not situation.entries_blocked
        assert not self._everything_leaves(situation)
        assert not self._unwinding(), "nobody enters beside a leg that failed"
        for other in self.execution.of(live.ENTRY):
            assert other.group >= intent.group or other.state == live.FILLED

    def _check_exit(self, order: ExitOrder, situation: Situation) -> None:
        execution = self.execution
        held = execution.open_quantity(order.leg_key)
        assert order.quantity == abs(held) > 0
        assert order.side.sign * held < 0
        for intent in execution.intents:
            if intent.leg_key == order.leg_key:
                assert intent.is_final, "one live exit a leg, and entries are resolved first"
        if held > 0 and self._everything_leaves(situation):
            assert all(units >= 0 for units in execution.open_legs().values()), "hedges leave last"
        if held > 0:
            legs, units = execution.run.strategy.legs, execution.open_legs()
            without = naked(legs, {**units, order.leg_key: 0})
            assert without == naked(legs, units), "no exit leaves a sold leg without its hedge"
        if order.reason == "UNWIND":
            policy = execution.run.strategy.leg_failure
            assert policy == "UNWIND_FILLED" or (policy == "KEEP_HEDGES" and held < 0)

    # -- the world -----------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([0.3, 1.0, 2.0, 2.5, 4.0, 31.0, 130.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Ticks."""
        self.now += seconds
        self._round()

    def _on_wire(self, arrived: bool) -> list[LiveIntent]:
        return [i for i in self.wire if (i.tag in self.arrived) == arrived]

    @precondition(lambda self: self._on_wire(False))
    @rule(pick=picks, hidden=st.sampled_from([0.0, 0.0, 1.0, VISIBILITY - 0.1]))
    def order_arrives(self, pick: int, hidden: float) -> None:
        """A request reaches the broker, which accepts it."""
        waiting = self._on_wire(False)
        intent = waiting[pick % len(waiting)]
        self.arrived.add(intent.tag)
        self.broker.place(intent, self.now, hidden)

    @precondition(lambda self: self._on_wire(True))
    @rule(pick=picks, heard=st.sampled_from([True, True, False]))
    def broker_accepts(self, pick: int, heard: bool) -> None:
        """The answer to an arrived order comes back, or is lost on the way."""
        waiting = self._on_wire(True)
        if heard:
            result = SendResult(Outcome.ACCEPTED, broker_order_id="B")
        else:
            result = SendResult(Outcome.UNKNOWN)
        self._answer(waiting[pick % len(waiting)], result)

    @precondition(lambda self: self._on_wire(False))
    @rule(
        pick=picks,
        result=st.sampled_from(
            [
                SendResult(Outcome.REFUSED, cause=Cause.MARGIN),
                SendResult(Outcome.REFUSED, cause=Cause.RATE_LIMIT, retryable=True),
                SendResult(Outcome.NOT_SENT, cause=Cause.BROKER_DOWN),
                SendResult(Outcome.UNKNOWN),
            ]
        ),
    )
    def broker_refuses(self, pick: int, result: SendResult) -> None:
        """A request that the broker does not take, or that is lost before it gets there."""
        waiting = self._on_wire(False)
        self._answer(waiting[pick % len(waiting)], result)

    def _answer(self, intent: LiveIntent, result: SendResult) -> None:
        self.wire.remove(intent)
        outcome.apply_answer(intent, result, at=ENTRY_AT, now_mono=self.now, jitter=0.0)
        self._round()

    @precondition(lambda self: self.broker.open_orders())
    @rule(pick=picks, units=st.sampled_from([1, 65, 100, 10_000, 10_000]))
    def order_fills(self, pick: int, units: int) -> None:
        """The market comes to an order."""
        orders = self.broker.open_orders()
        self.broker.fill(orders[pick % len(orders)], units)

    @precondition(lambda self: self.broker.open_orders())
    @rule(pick=picks, state=st.sampled_from([BookState.REJECTED, BookState.CANCELLED]))
    def broker_ends_an_order(self, pick: int, state: BookState) -> None:
        """The risk desk rejects or cancels."""
        orders = self.broker.open_orders()
        order = orders[pick % len(orders)]
        order.state = BookState.CANCELLED if order.filled else state

    @precondition(lambda self: self.cancels)
    @rule(pick=picks, lost=st.booleans())
    def cancel_arrives(self, pick: int, lost: bool) -> None:
        """A cancel is obeyed, comes too late, or is lost."""
        intent = self.cancels.pop(pick % len(self.cancels))
        for order in self.broker.of(intent):
            if order.is_open and not lost:
                order.state = BookState.CANCELLED

    @rule(ok=st.sampled_from([True, True, True, False]))
    def book_is_read(self, ok: bool) -> None:
        """A look at the book; a failed one proves nothing."""
        for intent in self.execution.intents:
            if intent.sends == 0:
                continue
            if ok:
                self._read(intent)
            outcome.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=self.now)
        self._round()

    def _read(self, intent: LiveIntent) -> None:
        row = self.broker.row(intent, self.now)
        if row is not None:
            outcome.apply_report(intent, row, at=ENTRY_AT, now_mono=self.now)
            return
        outcome.apply_absence(
            intent,
            read_started_mono=self.now,
            visibility_delay=VISIBILITY,
            at=ENTRY_AT,
            now_mono=self.now,
            jitter=0.0,
        )

    @rule(pick=picks, what=st.sampled_from(["STOP", "STOP", "BLOCK", "UNBLOCK", "RUN", "USER"]))
    def somebody_decides(self, pick: int, what: str) -> None:
        """A leg is stopped, the kill switch goes on or off, everything leaves, or EXIT_NOW.

        One rule for all of them: most stories shall get as far as an open position.
        """
        run, legs = self.execution.run, self.execution.run.strategy.legs
        if what == "STOP":
            run.leg_exits.setdefault(legs[pick % len(legs)].key, "STOP")
        elif what == "BLOCK":
            self.blocked = "KILL_SWITCH" if pick % 2 else "CONTROL_UNREACHABLE"
        elif what == "UNBLOCK":
            self.blocked = ""
        elif what == "RUN":
            run.run_exit = run.run_exit or "STOP"
        else:
            self.execution.exit_reason = self.execution.exit_reason or "USER"
        self._round()

    @precondition(lambda self: not self._busy_legs() >= set(self.execution.open_legs()))
    @rule(pick=picks, units=st.integers(-200, 200))
    def customer_trades_by_hand(self, pick: int, units: int) -> None:
        """In the broker's own app, while no exit of ours is under way."""
        legs = sorted(set(self.execution.open_legs()) - self._busy_legs())
        self.broker.trade_by_hand(legs[pick % len(legs)], units)

    def _busy_legs(self) -> set[str]:
        return {intent.leg_key for intent in self.execution.intents if not intent.is_final}

    # -- what always holds ---------------------------------------------------------------------
    @invariant()
    def nothing_reaches_the_broker_twice(self) -> None:
        """I1, I3."""
        assert at_most_one_each(self.broker, self.execution.intents)

    @invariant()
    def no_exit_opened_a_position(self) -> None:
        """I5, seen from the broker: our units of a leg stay on its own side of zero."""
        for leg in self.execution.run.strategy.legs:
            ours = self.broker.ours(leg.key)
            assert ours >= 0 if leg.side == "BUY" else ours <= 0

    @invariant()
    def never_more_than_planned(self) -> None:
        """I5."""
        for intent in self.execution.intents:
            assert 0 <= intent.filled_quantity <= intent.quantity
            assert intent.sends <= MAX_SENDS

    @invariant()
    def over_means_flat(self) -> None:
        """CLOSED, FAILED and MISSED hold nothing and wait for nothing."""
        execution = self.execution
        if execution.status not in TERMINAL:
            return
        assert all(intent.is_final for intent in execution.intents)
        assert not execution.open_legs()
        if execution.status == "MISSED":
            assert not any(intent.filled_quantity for intent in execution.intents)
        if any(intent.state == live.ESCALATED for intent in execution.intents):
            assert execution.alarms
            return  # what became of it is a person's question
        for leg in execution.run.strategy.legs:
            outside = execution.closed_outside.get(leg.key, 0)
            assert self.broker.ours(leg.key) + outside == 0
            assert abs(self.broker.net(leg.key)) <= self.broker.turnover[leg.key]

    # -- every story has an end ----------------------------------------------------------------
    def teardown(self) -> None:
        """The broker answers again and the exit time comes: the execution must end."""
        if not hasattr(self, "execution"):
            return
        self.now = max(self.now, T + EXIT)
        for _ in range(400):
            if self.execution.status in TERMINAL:
                self.over_means_flat()
                return
            self.now += 0.7
            self._all_is_well()
        states = [(i.purpose, i.leg_key, i.state, i.sends) for i in self.execution.intents]
        raise AssertionError(f"never over: {self.execution.status} {states}")

    @rule()
    def all_is_well(self) -> None:
        """An ordinary moment: everything arrives, is answered, fills and is read."""
        self._all_is_well()

    def _all_is_well(self) -> None:
        for intent in list(self.wire):
            if intent.tag not in self.arrived:
                self.arrived.add(intent.tag)
                self.broker.place(intent, self.now, 0.0)
            self._answer(intent, SendResult(Outcome.ACCEPTED, broker_order_id="B"))
        for order in self.broker.open_orders():
            self.broker.fill(order, order.quantity)
        self.book_is_read(ok=True)


STORIES = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestTradingDay: Any = TradingDay.TestCase
TestTradingDay.settings = STORIES
