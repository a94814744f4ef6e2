"""The engine's round without threads, database and network, around the real rules.

What :mod:`execution.engine` does with next_steps, the gate, the witnesses and the book is done here
in the same order, one event at a time, against a :class:`ToyBroker`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from brokers.base import BrokerInstrument, OrderReport, Outcome, SendResult
from execution import duplicates, lifecycle, price_changes, transitions
from execution.causes import CONTROL_UNREACHABLE
from execution.exit_grants import mark_granted, note_outside, to_close, with_outside
from execution.exit_limits import Grant
from execution.next_steps import next_steps
from execution.plan import slices
from execution.price_changes import Change
from execution.send_gate import why_not_change, why_not_enter, why_not_leave
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder, Situation, Steps
from execution.tags import make_tag
from execution.tests.inmemory import ENTRY_AT, live_intent
from execution.tests.toybroker import VISIBILITY, ToyBroker, ToyOrder, by_code, symbol
from execution.withdrawals import note_cancel
from execution.witnesses import Settling, grants, net_of_orders, net_of_positions

T = 1000.0
GRACE = 30.0
EXIT = 400.0
ARROWS = {
    "COMMITTED": {"OPEN", "FAILED", "MISSED", "CLOSED"},
    "OPEN": {"EXITING", "CLOSED"},
    "EXITING": {"CLOSED"},
}
AGAIN_AFTER, PERHAPS_AGAIN = 0.4, 1.5


@dataclass(eq=False, slots=True)
class Sending:
    """One send on its way to the broker, or its answer on the way back."""

    intent: LiveIntent
    tag: str
    order: ToyOrder | None = None
    arrived: bool = False


@dataclass(eq=False, slots=True)
class Changing:
    """One change that was written down: which of the intent's, and at which price."""

    intent: LiveIntent
    number: int
    price: Decimal


@dataclass(slots=True)
class Ended:
    """What was said of an execution when it was over."""

    status: str
    profit: Decimal | None


@dataclass(eq=False)
class ToyEngine:
    """One executor, all executions of one real account."""

    executions: list[LiveExecution]
    broker: ToyBroker
    random: Random
    now: float = T
    blocked: str = ""
    queue: list[LiveIntent] = field(default_factory=list)
    wire: list[Sending] = field(default_factory=list)
    cancels: list[LiveIntent] = field(default_factory=list)
    #: how many changes of an order the broker takes; those that wait to leave; those that the
    #: broker has taken and not yet applied
    most_changes: int = 0
    changes: list[Changing] = field(default_factory=list)
    late: list[Changing] = field(default_factory=list)
    ended: dict[int, Ended] = field(default_factory=dict)
    #: told of every order in the moment in which it leaves
    leaves: Callable[[LiveIntent], None] = lambda intent: None
    #: causes of alarms by execution
    told: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    settling: Settling = field(default_factory=Settling)
    ask_again: dict[tuple[int, str], float] = field(default_factory=dict)

    def start(self) -> None:
        """The commit before T; the first groups are queued."""
        self.queue.extend(i for i in self._intents() if i.state == lifecycle.SENDING)
        self.rounds()

    def _intents(self) -> list[LiveIntent]:
        return [i for e in self.executions if e.status not in lifecycle.TERMINAL for i in e.intents]

    # -- rounds --------------------------------------------------------------------------------
    def situation(self) -> Situation:
        """The world as next_steps is told of it."""
        return Situation(
            now_mono=self.now,
            grace_over=self.now > T + GRACE,
            exit_due=self.now >= T + EXIT,
            entries_blocked=self.blocked,
            most_changes=self.most_changes,
        )

    def rounds(self) -> None:
        """Ask what is next, do it, ask again, until nothing is."""
        for execution in self.executions:
            for _ in range(60):
                if execution.status in lifecycle.TERMINAL:
                    break
                steps = next_steps(execution, self.situation())
                steps.exits = [order for order in steps.exits if self._may_ask(execution, order)]
                self._do(execution, steps)
                steps.alarms = []
                if not steps:
                    break
            else:
                raise AssertionError("the same state never comes to rest")

    def _may_ask(self, execution: LiveExecution, order: ExitOrder) -> bool:
        return self.now >= self.ask_again.get((execution.id, order.leg_key), 0.0)

    def _do(self, execution: LiveExecution, steps: Steps) -> None:
        for intent, cause in steps.miss:
            assert intent.state == lifecycle.PLANNED, (
                "only what is provably not there can be missed"
            )
            intent.cause = cause
            transitions.finish(intent, lifecycle.MISSED, ENTRY_AT, self.now)
        for intent in steps.send:
            intent.sends += 1
            intent.tag = make_tag(intent.code, intent.sends)
            intent.state, intent.sent_mono = lifecycle.SENDING, 0.0
            self.queue.append(intent)
        assert all(intent.state in lifecycle.AT_BROKER for intent in (*steps.change, *steps.cancel))
        assert all(intent.purpose != lifecycle.ENTRY for intent in steps.change)
        for intent in steps.change:
            self._change(execution, intent)
        for intent in steps.cancel:
            note_cancel(execution, intent, self.now)
            self.cancels.append(intent)
        if steps.status:
            assert steps.status in ARROWS[execution.status], steps.status
            execution.status = steps.status
            if steps.status in lifecycle.TERMINAL:
                self.ended[execution.id] = Ended(steps.status, execution.profit())
        execution.cause = steps.cause or execution.cause
        self.told[execution.id] |= {alarm.cause for alarm in steps.alarms}
        for order in steps.exits:
            self._close(execution, order)

    # -- changes -------------------------------------------------------------------------------
    def _change(self, execution: LiveExecution, intent: LiveIntent) -> None:
        """As the engine: the witnesses are asked as for a new exit; what is granted is written."""
        price_changes.note_wanted(intent, self.now)
        rest = intent.quantity - intent.filled_quantity
        grant = self._granted(execution, intent.leg_key, intent.contract_id, intent.code)
        if intent.state not in lifecycle.AT_BROKER or execution.status in lifecycle.TERMINAL:
            return
        if grant is None or grant.outside or grant.units < rest:
            price_changes.note_none(intent, self.now)
            return
        price = intent.price + intent.side.sign
        intent.granted_mono = self.now
        price_changes.note_asked(intent, Change(intent.price, price, ENTRY_AT), self.now)
        self.changes.append(Changing(intent, len(intent.changes) - 1, price))

    def change_leaves(self, change: Changing) -> bool:
        """Whether its turn has come and the gate lets it go."""
        self.changes.remove(change)
        intent = change.intent
        reason = why_not_change(self.owner(intent), intent, self.now)
        if not reason:
            self.leaves(intent)
            return True
        price_changes.note_kept(intent, change.number, reason, ENTRY_AT)
        self.rounds()
        return False

    def change_arrives(self, change: Changing) -> bool:
        """The broker applies it; False where the order is final."""
        return any(
            self.broker.change(order, change.price)
            for order in self.broker.of(change.intent)
            if order.is_open
        )

    def change_answered(self, change: Changing, result: SendResult) -> None:
        """The broker's answer to a change, or its absence."""
        price_changes.note_answer(
            change.intent, change.number, result, at=ENTRY_AT, now_mono=self.now
        )
        self.rounds()

    def taken(self, change: Changing) -> SendResult:
        """The answer that says that a change was taken."""
        return SendResult(Outcome.ACCEPTED, broker_order_id=change.intent.broker_order_id)

    # -- exits ---------------------------------------------------------------------------------
    def _granted(
        self, execution: LiveExecution, leg_key: str, contract_id: int, without: str = ""
    ) -> Grant | None:
        """What the witnesses say that a leg may close; ``without``: an order that is asked for."""
        rows, positions = self.read_book(), self.broker.positions(self.now)
        if execution.status in lifecycle.TERMINAL:
            return None
        name = BrokerInstrument("NFO", symbol(contract_id), "")
        return grants(
            [e for e in self.executions if e.status not in lifecycle.TERMINAL],
            contract_id,
            positions=None if positions is None else net_of_positions(positions, name),
            book=None if rows is None else net_of_orders(rows, name),
            settling=self.settling,
            place=(contract_id, without),
            now=self.now,
            without=(without,),
        )[execution.id, leg_key]

    def _close(self, execution: LiveExecution, order: ExitOrder) -> None:
        leg = execution.run.resolved[order.leg_key]
        grant = self._granted(execution, order.leg_key, leg.contract_id)
        if execution.status in lifecycle.TERMINAL:
            return
        if grant is not None and grant.cleared:
            execution.cleared.add(order.leg_key)
        closing = None if grant is None else to_close(order, grant)
        if closing is None:
            pause = AGAIN_AFTER if order.quantity else PERHAPS_AGAIN
            self.ask_again[execution.id, order.leg_key] = self.now + pause
            if grant is None or not grant.cleared:
                self.told[execution.id].add("NO_WITNESS")  # after seconds, in the engine
            return
        if closing.outside:
            outside = with_outside(execution.closed_outside, order, closing.outside)
            note_outside(execution, outside)
            self.told[execution.id].add(execution.cause)
        lot = leg.lot_size if closing.units % leg.lot_size == 0 else 1
        pieces = slices(closing.units, lot, leg.freeze_quantity, execution.max_lots_per_order)
        fresh = [
            live_intent(
                execution,
                leg_key=order.leg_key,
                contract_id=leg.contract_id,
                side=order.side,
                quantity=piece,
                slice=number,
                purpose=order.purpose,
                attempt_group=order.attempt_group,
                reason=order.reason,
                state=lifecycle.SENDING,
                sends=1,
            )
            for number, piece in enumerate(pieces)
        ]
        mark_granted(fresh, closing, self.now)
        self.queue.extend(fresh)

    # -- the queue and the wire ----------------------------------------------------------------
    def drain(self, count: int) -> None:
        """At most ``count`` orders are taken from the queue, exits first; the gate is asked."""
        self.queue.sort(key=lambda intent: intent.purpose == lifecycle.ENTRY)
        for _ in range(min(count, len(self.queue))):
            intent = self.queue.pop(0)
            reason = self._why_not(intent)
            if not reason:
                intent.sent_mono = self.now
                self.wire.append(Sending(intent, intent.tag))
                self.leaves(intent)
            elif reason == CONTROL_UNREACHABLE:
                transitions.not_sent(intent, reason, "", at=ENTRY_AT, now_mono=self.now, jitter=0.0)
            elif reason != "STALE":
                intent.cause = reason
                transitions.finish(intent, lifecycle.MISSED, ENTRY_AT, self.now)
        self.rounds()

    def _why_not(self, intent: LiveIntent) -> str:
        execution = self.owner(intent)
        if execution.status in lifecycle.TERMINAL or intent.state != lifecycle.SENDING:
            return "STALE"
        if intent.purpose != lifecycle.ENTRY:
            return why_not_leave(execution, intent, self.now)
        late = "GRACE_OVER" if self.now > T + GRACE else ""
        return why_not_enter(execution, intent) or late or self.blocked

    def owner(self, intent: LiveIntent) -> LiveExecution:
        """Whose intent it is."""
        return next(
            execution for execution in self.executions if execution.id == intent.execution_id
        )

    def arrive(self, sending: Sending, hidden: float, price: Decimal) -> None:
        """The bytes reach the broker."""
        sending.arrived = True
        sending.order = self.broker.place(sending.intent, sending.tag, self.now, hidden, price)

    def answer(self, sending: Sending, result: SendResult) -> None:
        """The broker's answer, or its absence."""
        self.wire.remove(sending)
        intent = sending.intent
        if intent.tag == sending.tag:
            transitions.apply_answer(intent, result, at=ENTRY_AT, now_mono=self.now, jitter=0.0)
        self.rounds()

    def cancel_arrives(self, intent: LiveIntent, *, lost: bool) -> None:
        """A cancel is obeyed, comes too late, is refused or lost."""
        for order in self.broker.of(intent):
            if order.is_open and not lost and not order.stubborn:
                order.state = order.state.CANCELLED

    # -- the book ------------------------------------------------------------------------------
    def poll(self) -> None:
        """The poller's look at the book, with what follows."""
        self.read_book()
        for intent in self._intents():
            transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=self.now)
            duplicates.lose_sight(intent, self.now)
        self.rounds()

    def read_book(self) -> list[OrderReport] | None:
        """A look at the book; what it says of our orders is noted."""
        rows = self.broker.book(self.now)
        if rows is None:
            return None
        mine = by_code(rows)
        for intent in self._intents():
            if intent.sends == 0:
                continue
            matches = duplicates.find(intent, mine.get(intent.code, ()))
            if matches.own is not None:
                transitions.apply_report(intent, matches.own, at=ENTRY_AT, now_mono=self.now)
                duplicates.note(intent, matches)
            else:
                transitions.apply_absence(
                    intent,
                    read_started_mono=self.now,
                    visibility_delay=VISIBILITY,
                    at=ENTRY_AT,
                    now_mono=self.now,
                    jitter=0.0,
                )
            duplicates.looked(intent, self.now)
        return rows

    # -- a restart -----------------------------------------------------------------------------
    def restart(self, away: float) -> None:
        """The process dies and another one loads what was written; ``away`` seconds pass.

        What was on the wire has arrived or never will. What was SENDING is UNKNOWN now.
        """
        for sending in self.wire:
            if not sending.arrived and self.random.random() < 0.5:
                self.arrive(sending, 0.0, Decimal(100))
        for intent in self.cancels:
            self.cancel_arrives(intent, lost=self.random.random() < 0.5)
        for change in self.changes:
            if self.random.random() < 0.5:
                self.late.append(change)  # it had left, and arrives some time
        self.queue, self.wire, self.cancels, self.changes = [], [], [], []
        self.settling, self.ask_again = Settling(), {}
        self.now += away
        for execution in self.executions:
            execution.cleared = set()
            for intent in execution.intents:
                _forget(intent, self.now)
                duplicates.watch_again(intent, VISIBILITY, self.now)
        self.rounds()


def _forget(intent: LiveIntent, now: float) -> None:
    """What only the process knew."""
    if intent.state == lifecycle.SENDING:
        intent.state = lifecycle.UNKNOWN
    intent.unknown_since_mono = now if intent.state == lifecycle.UNKNOWN else 0.0
    intent.not_before_mono = intent.sent_mono = intent.granted_mono = 0.0
    intent.cancel_after_mono = intent.cancel_sent_mono = intent.cancel_since_mono = 0.0
    intent.cancels, intent.cancel_cause, intent.seen_mono, intent.supposed = 0, "", 0.0, 0
    intent.changes = price_changes.from_json(price_changes.to_json(intent.changes))
    intent.change_mono, intent.unchanged_mono, intent.resized = 0.0, 0.0, False
    intent.round_mono = 0.0
    intent.watch_until_mono, intent.out_of_sight, intent.strays = 0.0, False, ()
    intent.proof = None
