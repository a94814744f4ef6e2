"""Two orders at the broker where one was meant: which one counts, and what is surplus. Pure.

I3 (no second send without proof) holds, and yet a proof may be wrong: a book was seen that showed
an order 14 s after it was accepted. Then two orders of one intent live. One is the intent's own;
what the others filled is *surplus*: it counts as position and as profit like any fill, and is
closed by an order of its own. Surplus that rests is cancelled. Everything follows from the broker's
book, so that a restart finds it again, and closes nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.base import BookState, OrderReport, Side
from execution import lifecycle
from execution.alarms import DUPLICATE
from execution.state import LiveExecution, LiveIntent
from execution.unreported import SILENT_AFTER

#: How many visibility delays after the proof of its absence an order is still looked for, and for
#: how many seconds at most: the execution does not end before.
WATCHED: Final = 3.0
WATCHED_MOST: Final = 45.0


@dataclass(frozen=True, slots=True)
class Found:
    """The orders of one intent in a book: its own (None: not there), and all others that live."""

    own: OrderReport | None
    others: tuple[OrderReport, ...] = ()


def find(intent: LiveIntent, reports: Sequence[tuple[int, OrderReport]]) -> Found:
    """Which of ``reports`` (number of the send, order) is the intent's own order.

    All sends count: one that is alive beats one that was refused. Of several that live it is the
    one that filled most, since its fills are what has to be closed otherwise; then the one that we
    know by its id, then the newest.
    """
    alive = [(attempt, order) for attempt, order in reports if _is_alive(order)]
    if alive:
        _, own = max(
            alive,
            key=lambda row: (
                row[1].filled_quantity,
                row[1].broker_order_id == intent.broker_order_id,
                row[0],
            ),
        )
        return Found(own, tuple(order for _, order in alive if order is not own))
    current = [order for attempt, order in reports if attempt == intent.sends]
    cancelled = [order for _, order in reports if order.state is BookState.CANCELLED]
    # An older send that was found alive was the intent's own, and is when it ends refused, too. So
    # is one that was found after it was given up: else it would rest for ever in our eyes.
    known = {*intent.strays, intent.broker_order_id if intent.state in lifecycle.AT_BROKER else ""}
    spoke = [order for _, order in reports if order.broker_order_id in known]
    return Found(next(iter(current or spoke or cancelled), None))


def _is_alive(order: OrderReport) -> bool:
    """Whether an order has traded, or still may."""
    return bool(order.filled_quantity) or not order.state.is_terminal


def note(intent: LiveIntent, found: Found) -> bool:
    """Take over what the others of ``found`` are; whether there is more to write.

    Fills never become fewer: a book that is read a moment too early knows less, not better.
    """
    resting = [order for order in found.others if not order.state.is_terminal]
    own = found.own
    given_up = intent.is_final and intent.state != lifecycle.FILLED
    if given_up and own is not None and not own.state.is_terminal:
        resting.append(own)
    intent.strays = tuple(order.broker_order_id for order in resting)
    filled = [order for order in found.others if order.filled_quantity]
    units = sum(order.filled_quantity for order in filled)
    if units <= intent.surplus_quantity:
        return False
    spent = sum((o.filled_quantity * o.average_price for o in filled), Decimal(0))
    intent.surplus_quantity = units
    intent.surplus_price = (spent / units).quantize(Decimal("0.0001"))
    intent.surplus_orders = ", ".join(order.broker_order_id for order in filled)
    return True


def may_appear(execution: LiveExecution) -> bool:
    """Whether an order that was given up may still turn up, or a surplus one still fill.

    Until then an execution is not over: whoever is forgotten is looked for by nobody.
    """
    return any(is_watched(intent) for intent in execution.intents)


def is_watched(intent: LiveIntent) -> bool:
    """Whether the book is read for this intent's sake although it may be final."""
    return bool(intent.strays) or intent.watch_until_mono > 0.0


def looked(intent: LiveIntent, read_started_mono: float) -> bool:
    """The book was read, from ``read_started_mono`` on; whether that ends the watch.

    Time alone ends none: seen was a book that failed until the watch was over, and a late order
    that was nobody's.
    """
    if not 0.0 < intent.watch_until_mono <= read_started_mono:
        return False
    intent.watch_until_mono, intent.out_of_sight = 0.0, False
    return True


def lose_sight(intent: LiveIntent, now_mono: float) -> bool:
    """Note that the book has not been read since the watch should have ended; whether that is news.

    From then on the book is as silent about an entry as about one that it never told of, and the
    positions are asked (execution.unreported). Seen: an entry was given up, filled, and turned up
    in a book that nobody could read any more, and its leg was never left.
    """
    until = intent.watch_until_mono
    if intent.out_of_sight or intent.purpose != lifecycle.ENTRY or not intent.is_final:
        return False
    intent.out_of_sight = 0.0 < until <= now_mono - SILENT_AFTER
    return intent.out_of_sight


def watch(intent: LiveIntent, visibility_delay: float, now_mono: float) -> None:
    """Look for this intent's orders for a while although they are proven not to be there."""
    until = now_mono + min(WATCHED * visibility_delay, WATCHED_MOST)
    intent.watch_until_mono = max(intent.watch_until_mono, until)


def watch_again(intent: LiveIntent, visibility_delay: float, now_mono: float) -> None:
    """After a restart: whom an earlier process may have been watching is watched anew.

    That is what was sent again, what was given up as not there, and what that process has left
    unfinished: it may be frozen, and send when it thaws. Nobody has what was never to be sent.
    """
    # Whatever its cause: what kept it from being sent again is noted over why it was given up.
    given_up = intent.state == lifecycle.MISSED
    if intent.sends > 1 or (intent.sends and (given_up or not intent.is_final)):
        watch(intent, visibility_delay, now_mono)


def surplus(execution: LiveExecution) -> dict[str, int]:
    """Leg -> signed units that duplicates added and nothing has taken away again.

    Never more than the leg holds, and only in the direction in which it does: an exit of the whole
    leg takes the surplus with it.
    """
    totals: dict[str, int] = {}
    for intent in execution.intents:
        units = intent.surplus_quantity * intent.side.sign
        if intent.reason == DUPLICATE:
            units = intent.signed_fill
        if units:
            totals[intent.leg_key] = totals.get(intent.leg_key, 0) + units
    if not totals:
        return {}
    held = execution.open_legs()
    rest = {}
    for leg_key, units in totals.items():
        there = held.get(leg_key, 0)
        if there * units > 0:
            rest[leg_key] = max(units, there) if units < 0 else min(units, there)
    return rest


def is_turned_over(execution: LiveExecution, leg_key: str) -> bool:
    """Whether a leg is open the other way round: one exit too many was filled."""
    spec = next(leg for leg in execution.run.strategy.legs if leg.key == leg_key)
    return execution.open_quantity(leg_key) * Side(spec.side).sign < 0


def is_unwinding(execution: LiveExecution) -> bool:
    """Whether filled legs are being, or were, unwound: what turns up later leaves as well."""
    return any(
        intent.purpose == lifecycle.UNWIND and intent.reason == "UNWIND"
        for intent in execution.intents
    )
