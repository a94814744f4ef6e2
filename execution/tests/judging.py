"""The judge of the stories: looks at the toy broker only, and at what people were told."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from brokers.base import Side
from execution import alarms, lifecycle
from execution.alarms import PROMISES
from execution.duplicates import is_watched
from execution.send_gate import GRANT_SECONDS
from execution.state import LiveExecution, LiveIntent
from execution.tags import MAX_SENDS
from execution.tests.toybroker import VISIBILITY, ToyOrder

if TYPE_CHECKING:
    from execution.tests.toyengine import ToyEngine

#: Seconds that a hand trade may go unnoticed: positions three seconds late, and a grant of five.
UNNOTICED = GRANT_SECONDS + 3.0 + 1.0
#: T, 30 s of grace, and the 30 s after which the clock tells of an entry that goes on.
ENTERING_LONG = 1000.0 + 30.0 + PROMISES[alarms.ENTERING_LONG]


class Broken(Exception):
    """A rule did not hold; the message tells the story."""


def hold(truth: bool, what: str) -> None:
    """Broken, unless it is true."""
    if not truth:
        raise Broken(what)


class Judge:
    """Asked after everything that happens."""

    def __init__(self, engine: ToyEngine) -> None:
        self._engine = engine
        #: (contract, sign) -> (when, units that exits of that direction may close), ascending
        self._history: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
        #: executions and legs that may not enter any more
        self._decided: set[tuple[int, str]] = set()
        self._contracts = {
            leg.contract_id for e in engine.executions for leg in e.run.resolved.values()
        }

    def leg_decided(self, execution: LiveExecution, leg_key: str) -> None:
        """A leg's exit was decided."""
        self._decided.add((execution.id, leg_key))

    # -- after every event ---------------------------------------------------------------------
    def look(self) -> None:
        """What always holds."""
        for contract in self._contracts:
            for sign in (1, -1):
                reading = (self._engine.now, self._closable(contract, sign))
                self._history[contract, sign].append(reading)
        for execution in self._engine.executions:
            for intent in execution.intents:
                hold(0 <= intent.filled_quantity <= intent.quantity, "more than was planned")
                hold(intent.sends <= MAX_SENDS, "sent too often")
                alive = [o for o in self._engine.broker.of(intent) if _alive(o)]
                hold(len(alive) <= 1, "twice at the broker")
            if any(self._is_turned_over(execution, leg) for leg in execution.run.resolved):
                hold(self._told(execution), "turned over, and nobody was told")
        self._over_means_flat()

    def leaves(self, intent: LiveIntent) -> None:
        """An order of ours leaves in this moment."""
        if intent.purpose == lifecycle.ENTRY:
            self._entry_left(intent)
        else:
            self._exit_left(intent)

    def _entry_left(self, intent: LiveIntent) -> None:
        engine, execution = self._engine, self._engine.owner(intent)
        run = execution.run
        hold(not engine.blocked, "an entry left against the kill switch")
        asked = execution.exit_reason or run.run_exit
        hold(not asked, "an entry left after everybody was told to leave")
        failed = [
            i
            for i in execution.of(lifecycle.ENTRY)
            if i.is_final and i.state != lifecycle.FILLED and i.cause != "LEG_EXIT"
        ]
        hold(not failed, "an entry left beside a leg that had failed")
        decided = {leg for number, leg in self._decided if number == execution.id}
        hold(intent.leg_key not in decided, "an entry left after its leg's exit was decided")
        for other in execution.of(lifecycle.ENTRY):
            done = other.state == lifecycle.FILLED or other.cause == "LEG_EXIT"
            hold(other.group >= intent.group or done, "a later group left before an earlier one")

    def _exit_left(self, intent: LiveIntent) -> None:
        """No more exits than there was to close at any moment of the last seconds."""
        sign, now = -intent.side.sign, self._engine.now
        closing = sum(
            self._pending(execution, leg_key)
            for execution in self._engine.executions
            for leg_key, leg in execution.run.resolved.items()
            if leg.contract_id == intent.contract_id
            and _direction(execution, leg_key, self._held(execution, leg_key)) == sign
        )
        history = self._history[intent.contract_id, sign]
        history.append((now, self._closable(intent.contract_id, sign)))
        since = [units for at, units in history if at >= now - UNNOTICED]
        before = [units for at, units in history if at < now - UNNOTICED]
        most = max(since + before[-1:])
        hold(closing <= most, f"exits of {closing} where {most} were there ({intent.leg_key})")

    def _pending(self, execution: LiveExecution, leg_key: str) -> int:
        """Units that exits of a leg may still close: on the wire, or open at the broker."""
        on_wire = {id(sending.intent) for sending in self._engine.wire if sending.order is None}
        total = 0
        for intent in execution.intents:
            if intent.leg_key != leg_key or intent.purpose == lifecycle.ENTRY:
                continue
            orders = self._engine.broker.of(intent)
            total += sum(o.rest for o in orders if not self._leaves_no_trace(intent, o))
            total += intent.quantity if id(intent) in on_wire else 0
        return total

    def _leaves_no_trace(self, intent: LiveIntent, order: ToyOrder) -> bool:
        """Whether nobody can know of an exit that rests: no answer, no row in any book that was
        read until its absence was proven, since the broker hides it for longer than ever before,
        and no unit filled that the positions would show. Who gave it up has to go on looking."""
        late = order.hidden > VISIBILITY and not order.shown and not order.filled
        if intent.state != lifecycle.MISSED or not late:
            return False
        hold(is_watched(intent), "an exit that was given up is looked for by nobody")
        return True

    def _never_shown(self, intent: LiveIntent) -> bool:
        """Whether an order was hidden for longer than ever before, and no book ever showed it."""
        orders = self._engine.broker.of(intent)
        return any(order.hidden > VISIBILITY and not order.shown for order in orders)

    def _is_turned_over(self, execution: LiveExecution, leg_key: str) -> bool:
        """Whether a leg's own orders have closed more than they had opened."""
        side = next(leg.side for leg in execution.run.strategy.legs if leg.key == leg_key)
        return self._held(execution, leg_key) * Side(side).sign < 0

    def _held(self, execution: LiveExecution, leg_key: str) -> int:
        """Signed units that the orders of a leg have really traded."""
        intents = {id(i) for i in execution.intents if i.leg_key == leg_key}
        return sum(o.signed for o in self._engine.broker.orders if id(o.intent) in intents)

    def _closable(self, contract: int, sign: int) -> int:
        """Units of a direction that exits may close: really held by its legs, less what the
        customer has closed by hand, and what the customer holds in that direction beside."""
        held = sum(
            sign * units
            for execution in self._engine.executions
            for leg_key, leg in execution.run.resolved.items()
            if leg.contract_id == contract
            and _direction(execution, leg_key, units := self._held(execution, leg_key)) == sign
        )
        hand = sign * self._engine.broker.by_hand(contract)
        return max(0, held + min(0, hand)) + max(0, hand)

    def _over_means_flat(self) -> None:
        """CLOSED, FAILED and MISSED hold nothing and wait for nothing."""
        for execution in self._engine.executions:
            ended = self._engine.ended.get(execution.id)
            if ended is None:
                continue
            hold(all(i.is_final for i in execution.intents), "over, and an order is not final")
            escalated = any(i.state == lifecycle.ESCALATED for i in execution.intents)
            if escalated:
                hold(self._told(execution), "an escalated order, and nobody was told")
                continue
            closed_outside = False
            for leg_key in execution.run.resolved:
                held = self._held(execution, leg_key)
                closed_outside = closed_outside or bool(held)
                outside = execution.closed_outside.get(leg_key, 0)
                hold(not held + outside, f"over, and {held + outside} of {leg_key} is open")
            if closed_outside:
                hold(self._told(execution), "closed outside, and nobody was told")
            self._profit(execution, closed_outside=closed_outside)

    def _told(self, execution: LiveExecution) -> bool:
        """Whether somebody was told: at once, or by the clock of what waits too long."""
        waiting = (
            i.state == lifecycle.UNKNOWN or i.cancels > 1 or i.surplus_quantity or is_watched(i)
            for i in execution.intents
        )
        late = execution.status == "COMMITTED" and self._engine.now > ENTERING_LONG
        return bool(self._engine.told[execution.id]) or late or any(waiting)

    def _profit(self, execution: LiveExecution, *, closed_outside: bool) -> None:
        said = self._engine.ended[execution.id].profit
        if said is None:
            return
        hold(not closed_outside, f"a profit of {said} where a part was closed outside")
        mine = {id(intent) for intent in execution.intents}
        orders = [o for o in self._engine.broker.orders if id(o.intent) in mine]
        true = -sum(order.signed * order.price for order in orders)
        hold(said == true, f"a profit of {said} where {true} was made")

    # -- the end -------------------------------------------------------------------------------
    def end(self, *, dead: bool, hands: bool) -> None:
        """Flat, or named; and nobody's filled leg stayed because of a sibling."""
        engine = self._engine
        resting = {id(o.intent) for o in engine.broker.open_orders() if o.stubborn}
        for execution in engine.executions:
            over = execution.id in engine.ended
            excused = dead or any(id(intent) in resting for intent in execution.intents)
            if not over:
                states = [(i.purpose, i.leg_key, i.state, i.cause) for i in execution.intents]
                hold(excused, f"never over: {execution.status} {states}")
                hold(self._told(execution), f"not over, and nobody was told: {states}")
            if dead and (hands or len(engine.executions) > 1):
                continue  # without a book nobody knows whose a position is
            if dead:
                # An exit that the book never told of is not sent again, unless its absence was
                # proven before the book died: then its leg may be turned over, and nobody knows.
                resting |= {
                    id(i)
                    for i in execution.intents
                    if i.purpose != lifecycle.ENTRY and (not i.is_final or self._never_shown(i))
                }
            self._left(execution, resting)

    def _left(self, execution: LiveExecution, resting: set[int]) -> None:
        """What is filled has left, but for what its own exit or the hedging rule keeps, and what
        a person was asked to look up (ESCALATED)."""
        sides = {leg.key: Side(leg.side).sign for leg in execution.run.strategy.legs}
        kept_legs = set()
        for intent in execution.intents:
            if id(intent) not in resting:
                continue
            if intent.purpose != lifecycle.ENTRY:
                kept_legs.add(intent.leg_key)
            if sides[intent.leg_key] < 0:
                kind = _kind(execution, intent.leg_key)
                kept_legs |= {
                    leg for leg in sides if _kind(execution, leg) == kind and sides[leg] > 0
                }
        kept_legs |= {i.leg_key for i in execution.intents if i.state == lifecycle.ESCALATED}
        for leg_key in execution.run.resolved:
            open_units = self._held(execution, leg_key)
            open_units += execution.closed_outside.get(leg_key, 0)
            if leg_key not in kept_legs:
                hold(not open_units, f"{open_units} of {leg_key} never left")


def _alive(order: ToyOrder) -> bool:
    return order.is_open or bool(order.filled)


def _kind(execution: LiveExecution, leg_key: str) -> str:
    return next(leg.option_type for leg in execution.run.strategy.legs if leg.key == leg_key)


def _direction(execution: LiveExecution, leg_key: str, held: int) -> int:
    """+1 long, -1 short: by what the leg really holds, else by what it is meant to hold."""
    if held:
        return 1 if held > 0 else -1
    side = next(leg.side for leg in execution.run.strategy.legs if leg.key == leg_key)
    return Side(side).sign
