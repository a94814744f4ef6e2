"""Two orders at the broker where one was meant: which one counts, and what is surplus. Pure.

I3 (no second send without proof) holds, and yet a proof may be wrong: one book showed an order only
14 s after it was accepted. Then one intent has two live orders. One is the intent's own; the fills
of the others are *surplus*: they count towards position and profit like any fill, and a separate
order closes them. Surplus orders that rest are cancelled. Everything follows from the broker's
book, so a restart finds it again and closes nothing twice.
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

#: How long an order is watched for after the proof of its absence: in visibility delays, and at
#: most in seconds. The execution does not end before.
WATCHED: Final = 3.0
WATCHED_MOST: Final = 45.0


@dataclass(frozen=True, slots=True)
class Found:
    """The orders of one intent in a book: its own (None: not there), and all other live ones."""

    own: OrderReport | None
    others: tuple[OrderReport, ...] = ()


def find(intent: LiveIntent, reports: Sequence[tuple[int, OrderReport]]) -> Found:
    """Choose the intent's own order among ``reports`` (number of the send, order).

    All sends count: a live order beats a refused one. Of several live orders it is the one with
    most fills, since all other fills have to be closed; then the one whose id we know; then the
    newest.
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
    # An older send that was found alive is the intent's own, and remains so if it ends refused. So
    # is one found after it was given up: otherwise we would take it to rest for ever.
    known = {*intent.strays, intent.broker_order_id if intent.state in lifecycle.AT_BROKER else ""}
    recognised = [order for _, order in reports if order.broker_order_id in known]
    return Found(next(iter(current or recognised or cancelled), None))


def _is_alive(order: OrderReport) -> bool:
    """Whether an order has traded or still may trade."""
    return bool(order.filled_quantity) or not order.state.is_terminal


def note(intent: LiveIntent, matches: Found) -> bool:
    """Note resting and filled surplus orders on the intent; return whether the surplus grew.

    Fills never decrease: a book that was read a moment earlier only shows less.
    """
    resting = [order for order in matches.others if not order.state.is_terminal]
    own = matches.own
    given_up = intent.is_final and intent.state != lifecycle.FILLED
    if given_up and own is not None and not own.state.is_terminal:
        resting.append(own)
    intent.strays = tuple(order.broker_order_id for order in resting)
    filled = [order for order in matches.others if order.filled_quantity]
    units = sum(order.filled_quantity for order in filled)
    if units <= intent.surplus_quantity:
        return False
    spent = sum((o.filled_quantity * o.average_price for o in filled), Decimal(0))
    intent.surplus_quantity = units
    intent.surplus_price = (spent / units).quantize(Decimal("0.0001"))
    intent.surplus_orders = ", ".join(order.broker_order_id for order in filled)
    return True


def may_appear(execution: LiveExecution) -> bool:
    """Whether an order that was given up may still turn up, or a surplus order may still fill.

    While this is so the execution is not over: an execution that has ended is no longer watched.
    """
    return any(is_watched(intent) for intent in execution.intents)


def is_watched(intent: LiveIntent) -> bool:
    """Whether the book is read for this intent even if it is final."""
    return bool(intent.strays) or intent.watch_until_mono > 0.0


def looked(intent: LiveIntent, read_started_mono: float) -> bool:
    """Note a book read that began at ``read_started_mono``; return whether it ends the watch.

    Time alone does not end a watch. Observed: a book failed until the watch was over, and a late
    order was assigned to no intent.
    """
    if not 0.0 < intent.watch_until_mono <= read_started_mono:
        return False
    intent.watch_until_mono, intent.out_of_sight = 0.0, False
    return True


def lose_sight(intent: LiveIntent, now_mono: float) -> bool:
    """Note an entry whose book has not been read since its watch should have ended; return whether
    that is new.

    From then on the entry counts as one on which the book is silent, and the positions are read
    instead (execution.unreported). Observed: an entry was given up, filled, and turned up in a book
    that could no longer be read; its leg was never exited.
    """
    until = intent.watch_until_mono
    if intent.out_of_sight or intent.purpose != lifecycle.ENTRY or not intent.is_final:
        return False
    intent.out_of_sight = 0.0 < until <= now_mono - SILENT_AFTER
    return intent.out_of_sight


def watch(intent: LiveIntent, visibility_delay: float, now_mono: float) -> None:
    """Keep looking for this intent's orders for a while after the proof of their absence.

    ``visibility_delay`` in seconds.
    """
    until = now_mono + min(WATCHED * visibility_delay, WATCHED_MOST)
    intent.watch_until_mono = max(intent.watch_until_mono, until)


def watch_again(intent: LiveIntent, visibility_delay: float, now_mono: float) -> None:
    """After a restart, watch again whatever an earlier process may have been watching.

    That is: intents sent more than once, intents given up as absent, and intents left unfinished,
    because the earlier process may be frozen and send when it thaws. An intent that was never sent
    needs no watch.
    """
    # Whatever its cause: the reason against another send overwrites the reason for giving up.
    given_up = intent.state == lifecycle.MISSED
    if intent.sends > 1 or (intent.sends and (given_up or not intent.is_final)):
        watch(intent, visibility_delay, now_mono)


def surplus(execution: LiveExecution) -> dict[str, int]:
    """Leg -> signed units that duplicates added and that are not closed yet.

    Never more than the leg holds, and only in the leg's direction: an exit of the whole leg closes
    the surplus too.
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
        open_units = held.get(leg_key, 0)
        if open_units * units > 0:
            rest[leg_key] = max(units, open_units) if units < 0 else min(units, open_units)
    return rest


def is_turned_over(execution: LiveExecution, leg_key: str) -> bool:
    """Whether a leg is open in the wrong direction: one exit too many was filled."""
    spec = next(leg for leg in execution.run.strategy.legs if leg.key == leg_key)
    return execution.open_quantity(leg_key) * Side(spec.side).sign < 0


def is_unwinding(execution: LiveExecution) -> bool:
    """Whether filled legs are or were unwound: fills that turn up later are exited as well."""
    return any(
        intent.purpose == lifecycle.UNWIND and intent.reason == "UNWIND"
        for intent in execution.intents
    )
