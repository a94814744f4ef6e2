"""Random trading days of one real account, told from a seed, judged at the toy broker.

One or two executions, up to three legs each, often in the same contracts. Orders are hidden, lost,
refused, filled in parts; cancels are refused; changes are taken, refused,
lost, applied late or never; positions are late, and each witness fails for a while or for ever; the
customer trades by hand at any moment; the executor dies and comes back.

``play(seed)`` raises :class:`Broken` with the seed and what happened. The same seed tells the same
story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random

from brokers.base import BookState, Cause, Outcome, SendResult
from execution import lifecycle
from execution.state import LiveExecution
from execution.tests.inmemory import committed, live_run, resolved_legs
from execution.tests.judging import Broken, Judge
from execution.tests.toybroker import VISIBILITY, ToyBroker, ToyOrder
from execution.tests.toyengine import EXIT, Sending, T, ToyEngine
from marketplace.tests.factories import leg_spec, strategy_spec

STEPS = 45
LATE = (0.0, 0.0, 1.0, 3.0)
REFUSALS = (
    SendResult(Outcome.REFUSED, cause=Cause.MARGIN),
    SendResult(Outcome.REFUSED, cause=Cause.RATE_LIMIT, retryable=True),
    SendResult(Outcome.NOT_SENT, cause=Cause.BROKER_DOWN),
    SendResult(Outcome.UNKNOWN),
)
ACCEPTED = SendResult(Outcome.ACCEPTED, broker_order_id="B")


def play(seed: int) -> None:
    """One story from beginning to end; Broken when a rule did not hold."""
    story = Story(seed)
    try:
        story.play()
    except (Broken, AssertionError) as error:
        course = "\n  ".join(story.told)
        raise Broken(f"story {seed}: {error}\n  {course}") from error


class Story:
    """One account, its broker, and a world that does what it likes."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.told: list[str] = []
        draw = self.random
        count = draw.choice((1, 1, 2, 2, 2))
        executions = [self._execution(number) for number in range(count)]
        self.broker = ToyBroker(lag=draw.choice(LATE))
        self.engine = ToyEngine(executions, self.broker, draw)
        self.judge = Judge(self.engine)
        self.engine.leaves = self.judge.leaves
        #: a book that fails for good from some step on; an order that rests and stays
        self.book_dies = draw.choice((None,) * 7 + (draw.randrange(STEPS),))
        self.stubborn = draw.random() < 0.25
        #: of an order: as many as it may need, a few, or the broker takes none
        self.engine.most_changes = draw.choice((25, 25, 2, 0))
        self.hands = draw.random() < 0.5
        #: how likely an exit is to fill where it would: in a thin market it rests
        self.fills = draw.choice((1.0, 1.0, 0.15))
        #: a broker that takes the first orders, answers none and shows them later than ever before
        self.lazy = self.book_dies is None and draw.random() < 0.2

    def _execution(self, number: int) -> LiveExecution:
        draw = self.random
        legs = [
            leg_spec(
                draw.choice(("BUY", "SELL")),
                draw.choice(("CE", "CE", "PE")),
                lots=draw.choice((1, 1, 2)),
                key=f"leg-{index}",
            )
            for index in range(draw.choice((1, 1, 2, 2, 3)))
        ]
        strategy = strategy_spec(
            legs,
            order_rule=draw.choice(("BUY_FIRST", "AS_LISTED", "PARALLEL")),
            leg_failure=draw.choice(("UNWIND_FILLED", "UNWIND_FILLED", "KEEP_HEDGES", "ALERT")),
        )
        resolved = resolved_legs(strategy)
        free = {"CE": [1, 2, 3], "PE": [4, 5, 6]}
        for leg in strategy.legs:
            contract = free[leg.option_type].pop(0 if draw.random() < 0.7 else -1)
            resolved[leg.key] = replace(resolved[leg.key], contract_id=contract)
        run = live_run(strategy, id=number + 1, resolved=resolved)
        return committed(strategy, max_lots=draw.choice((None, None, 1)), run=run, id=run.id)

    # -- the course ----------------------------------------------------------------------------
    def play(self) -> None:
        """The entry, what the world does, and how it ends."""
        self._do("start", self.engine.start)
        if self.lazy:
            self._do("lazy morning", self._lazy_morning)
        for step in range(STEPS):
            if step == self.book_dies:
                self.told.append("the book dies")
                self.broker.book_fails = True
            self._step()
            if all(execution.status in lifecycle.TERMINAL for execution in self.engine.executions):
                break
        self._end()

    def _do(self, what: str, act: Callable[[], None]) -> None:
        self.told.append(f"{self.engine.now - T:7.1f} {what}")
        act()
        self.judge.look()

    def _step(self) -> None:
        draw, engine, broker = self.random, self.engine, self.broker
        happenings: list[tuple[float, str, Callable[[], None]]] = [
            (3, "time", lambda: self._time(draw.choice((0.3, 1.0, 2.0, 2.5, 4.0)))),
            (0.4, "long time", lambda: self._time(draw.choice((31.0, 130.0, 400.0)))),
            (3, "book", engine.poll),
            (2, "all is well", self._all_is_well),
            (1.2, "decision", self._somebody_decides),
            (0.5, "restart", lambda: engine.restart(draw.choice((0.5, 2.0, 12.0)))),
            (0.8, "witnesses", self._witnesses),
        ]
        if engine.queue:
            happenings.append((5, "drain", lambda: engine.drain(draw.choice((1, 2, 9)))))
        waiting = [sending for sending in engine.wire if not sending.arrived]
        arrived = [sending for sending in engine.wire if sending.arrived]
        if waiting:
            happenings.append((4, "arrive", lambda: self._arrive(draw.choice(waiting))))
            happenings.append(
                (1, "refuse", lambda: engine.answer(draw.choice(waiting), draw.choice(REFUSALS)))
            )
        if arrived:
            happenings.append((4, "answer", lambda: self._answer(draw.choice(arrived))))
        if broker.open_orders():
            happenings.append((4, "fill", self._fill))
            happenings.append((0.4, "ended", self._broker_ends))
            if self.stubborn:
                happenings.append((1, "stubborn", self._become_stubborn))
        if engine.cancels:
            happenings.append((2, "cancel", self._cancel))
        if engine.changes:
            happenings.append((12, "change", self._change))
        if engine.late:
            happenings.append((1, "late change", self._change_late))
        if self.hands:
            happenings.append((1.2, "hand", self._hand))
        weights = [weight for weight, _, _ in happenings]
        _, what, act = draw.choices(happenings, weights)[0]
        self._do(what, act)

    # -- what happens --------------------------------------------------------------------------
    def _time(self, seconds: float) -> None:
        if seconds > 5:
            # Nothing is under way for so long: its connection is reset, and its fate unknown.
            for sending in list(self.engine.wire):
                if not sending.arrived and self.random.random() < 0.5:
                    self._arrive(sending)
                self.engine.answer(sending, REFUSALS[3])
        self.engine.now += seconds
        if seconds > 5:
            # Every second or two, in the engine; and a book does not fail for minutes unless it is
            # dead.
            failing = self.broker.book_fails
            self.broker.book_fails = "the book dies" in self.told
            self.engine.poll()
            self.broker.book_fails = failing
        self.engine.rounds()

    def _arrive(self, sending: Sending) -> None:
        # At times longer than the broker ever took.
        hidden = self.random.choice((0.0, 0.0, 0.0, 1.0, VISIBILITY - 0.1, VISIBILITY + 14))
        price = Decimal(self.random.randrange(90, 111))
        self.engine.arrive(sending, hidden, price)
        self.broker.positions_fail = self.broker.positions_fail and not self._hides_an_exit()

    def _lazy_morning(self) -> None:
        """Until their absence is proven, and they are sent again."""
        engine = self.engine
        engine.drain(9)
        for sending in list(engine.wire):
            engine.arrive(sending, VISIBILITY + 14, Decimal(100))
            engine.answer(sending, REFUSALS[3])
        for _ in range(5):
            engine.now += 2.5
            engine.poll()

    def _answer(self, sending: Sending) -> None:
        refused = sending.order is None
        result = REFUSALS[0] if refused else ACCEPTED
        if self.random.random() < 0.3:
            result = REFUSALS[3]
        self.engine.answer(sending, result)

    def _fill(self) -> None:
        order = self.random.choice(self.broker.open_orders())
        if self._may_fill(order):
            units = self.random.choice((1, 65, 100, 10_000, 10_000))
            self.broker.fill(order, units, self.engine.now)

    def _may_fill(self, order: ToyOrder) -> bool:
        exits = order.intent is not None and order.intent.purpose != lifecycle.ENTRY
        rests = exits and self.random.random() >= self.fills
        return not order.stubborn and not rests

    def _broker_ends(self) -> None:
        order = self.random.choice(self.broker.open_orders())
        if not order.stubborn:
            ends = self.random.choice((BookState.REJECTED, BookState.CANCELLED))
            order.state = BookState.CANCELLED if order.filled else ends

    def _become_stubborn(self) -> None:
        order = self.random.choice(self.broker.open_orders())
        order.stubborn, order.yields = True, self.random.random() < 0.5

    def _cancel(self) -> None:
        intent = self.engine.cancels.pop(self.random.randrange(len(self.engine.cancels)))
        self.engine.cancel_arrives(intent, lost=self.random.random() < 0.4)

    def _change(self) -> None:
        """A change leaves: it is applied, refused, lost before or after, applied late, or never."""
        engine = self.engine
        change = engine.changes[self.random.randrange(len(engine.changes))]
        if not engine.change_leaves(change):
            return
        how = self.random.choice(("applied", "applied", "refused", "lost", "late", "never"))
        if how == "refused" or (how == "applied" and not engine.change_arrives(change)):
            engine.change_answered(change, REFUSALS[0])
            return
        if how == "lost" and self.random.random() < 0.5:
            engine.change_arrives(change)
        if how == "late":
            engine.late.append(change)
        silent = how == "lost" or self.random.random() < 0.3
        engine.change_answered(change, REFUSALS[3] if silent else engine.taken(change))

    def _change_late(self) -> None:
        """A change that was taken a while ago, or sent by a process that is dead, is applied."""
        late = self.engine.late
        self.engine.change_arrives(late.pop(self.random.randrange(len(late))))

    def _hand(self) -> None:
        """The customer closes what they see, or a part, or trades something of their own."""
        contracts = sorted({i.contract_id for e in self.engine.executions for i in e.intents})
        contract = self.random.choice(contracts)
        net = self.broker.net(contract)
        units = self.random.choice((-net, -net, -net, -65, 65, 40))
        if units:
            self.broker.trade_by_hand(contract, units, self.engine.now)

    def _witnesses(self) -> None:
        self.broker.positions_fail = self.random.random() < 0.4 and not self._hides_an_exit()
        # Who was given up as absent is looked for only for so long (execution.duplicates).
        if not self.lazy and "the book dies" not in self.told:
            self.broker.book_fails = self.random.random() < 0.4

    def _hides_an_exit(self) -> bool:
        """Whether an exit is kept from the book for longer than ever before: if the positions fail
        as well, nobody can know of it, and the next one is a duplicate that is closed."""
        return any(
            order.intent is not None
            and order.intent.purpose != lifecycle.ENTRY
            and order.visible_from > self.engine.now
            and order.hidden > VISIBILITY
            for order in self.broker.orders
        )

    def _somebody_decides(self) -> None:
        """A leg is stopped, the kill switch goes on or off, everything leaves, or EXIT_NOW."""
        draw = self.random
        execution = draw.choice(self.engine.executions)
        run = execution.run
        what = draw.choice(("STOP", "STOP", "STOP", "BLOCK", "UNBLOCK", "UNBLOCK", "RUN", "USER"))
        if what == "STOP":
            self.judge.leg_decided(execution, leg := draw.choice(run.strategy.legs).key)
            run.leg_exits.setdefault(leg, "STOP")
        elif what == "BLOCK":
            self.engine.blocked = draw.choice(("KILL_SWITCH", "CONTROL_UNREACHABLE"))
        elif what == "UNBLOCK":
            self.engine.blocked = ""
        elif what == "RUN":
            run.run_exit = run.run_exit or "STOP"
        else:
            execution.exit_reason = execution.exit_reason or "USER"
        self.engine.rounds()

    # -- every story has an end ----------------------------------------------------------------
    def _all_is_well(self) -> None:
        """An ordinary moment: everything arrives, is answered, fills and is read."""
        engine = self.engine
        engine.drain(99)
        for sending in list(engine.wire):
            if not sending.arrived:
                engine.arrive(sending, 0.0, Decimal(100))
            engine.answer(sending, ACCEPTED if sending.order is not None else REFUSALS[0])
        for change in [*engine.changes]:
            if change in engine.changes and engine.change_leaves(change):
                done = engine.change_arrives(change)
                engine.change_answered(change, engine.taken(change) if done else REFUSALS[0])
        for intent in engine.cancels:
            engine.cancel_arrives(intent, lost=False)
        engine.cancels.clear()
        for order in self.broker.open_orders():
            if self._may_fill(order):
                self.broker.fill(order, order.quantity, engine.now)
        engine.poll()

    def _end(self) -> None:
        """The broker answers again, but for a book that died, and the exit time comes."""
        self.broker.positions_fail = False
        dead = "the book dies" in self.told
        self.broker.book_fails = dead
        self.engine.blocked = ""
        self.engine.now = max(self.engine.now, T + EXIT)
        self.told.append("the end")
        for _ in range(400):
            if all(execution.status in lifecycle.TERMINAL for execution in self.engine.executions):
                break
            self.engine.now += 0.7
            self._all_is_well()
            self.judge.look()
        self.judge.end(dead=dead, hands=self.hands)
