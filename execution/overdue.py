"""Waits that have lasted longer than allowed, checked periodically. Pure.

No broker, feed or book has to answer for these checks. Each rule needs only what this process holds
and the time passed in. :data:`execution.alarms.PROMISES` says how long each wait may last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from execution import lifecycle, price_changes
from execution.alarms import (
    BOOK_UNREAD,
    CANCEL_UNHEARD,
    CLOCK,
    ENTERING_LONG,
    ENTRY_UNKNOWN,
    EXIT_RESTING,
    EXIT_UNKNOWN,
    EXITING_LONG,
    LEG_STAYS,
    NO_PRICE,
    PAST_EXIT,
    PROMISES,
    Alarm,
    Key,
)
from execution.state import LiveExecution, LiveIntent, LiveRun

_OF_ORDERS: Final = frozenset({ENTRY_UNKNOWN, EXIT_UNKNOWN, EXIT_RESTING, CANCEL_UNHEARD})


def overdue(execution: LiveExecution, now: dt.datetime, now_mono: float) -> dict[Key, Alarm]:
    """Alarms for what has waited too long in an execution, by cause and leg.

    ``now`` is an instant (UTC), ``now_mono`` monotonic seconds. The start of a wait that no row
    stores is kept in ``execution.waits``: after a restart such a wait begins anew.
    """
    if execution.status not in lifecycle.WORKING:
        return {}
    alarms = [*_orders(execution, now, now_mono), *_positions(execution, now, now_mono)]
    return {alarm.key: alarm for alarm in alarms}


def _orders(execution: LiveExecution, now: dt.datetime, now_mono: float) -> Iterator[Alarm]:
    for intent in execution.intents:
        if intent.is_final or intent.state == lifecycle.PLANNED:
            continue
        cause = _order_cause(intent, now)
        if cause:
            yield Alarm(cause, intent.leg_key, intent.message, intent.tag)
        asked = intent.cancel_since_mono
        if asked and now_mono - asked >= PROMISES[CANCEL_UNHEARD]:
            yield Alarm(CANCEL_UNHEARD, intent.leg_key, intent.message, intent.tag)


def _order_cause(intent: LiveIntent, now: dt.datetime) -> str:
    entry = intent.purpose == lifecycle.ENTRY
    if intent.state in lifecycle.UNCERTAIN:
        cause = ENTRY_UNKNOWN if entry else EXIT_UNKNOWN
        return cause if waited(intent, now) >= PROMISES[cause] else ""
    if entry or intent.state not in lifecycle.AT_BROKER:
        return ""
    # A change of price restarts the wait.
    rests = (now - price_changes.quoted_at(intent)).total_seconds()
    return EXIT_RESTING if rests >= PROMISES[EXIT_RESTING] else ""


def waited(intent: LiveIntent, now: dt.datetime) -> float:
    """Seconds since the newest send of the order was due. Stored, so it survives a restart."""
    return (now - intent.due_at).total_seconds()


def _positions(execution: LiveExecution, now: dt.datetime, now_mono: float) -> Iterator[Alarm]:
    run = execution.run
    entering = execution.status == lifecycle.COMMITTED
    if entering and (now - run.grace_until).total_seconds() >= PROMISES[ENTERING_LONG]:
        yield Alarm(ENTERING_LONG)
    past = (now - run.exit_at).total_seconds()
    leaving = run.leg_exits if past < 0 else {}
    if past < PROMISES[PAST_EXIT] and execution.status != lifecycle.EXITING and not leaving:
        execution.waits.clear()
        return
    held = execution.open_legs()
    if held and past >= PROMISES[PAST_EXIT]:
        yield Alarm(PAST_EXIT, words=_units(execution, held))
    since = _remember(execution, [leg for leg in held if leg in leaving], now_mono)
    if execution.status == lifecycle.EXITING and now_mono - since[""] >= PROMISES[EXITING_LONG]:
        yield Alarm(EXITING_LONG)
    for leg, began in since.items():
        if leg and now_mono - began >= PROMISES[LEG_STAYS]:
            yield Alarm(LEG_STAYS, leg, f"{leaving[leg]}: {_units(execution, {leg: held[leg]})}")


def _remember(execution: LiveExecution, legs: Iterable[str], now_mono: float) -> dict[str, float]:
    """Since when each leg should have exited; '': since when the whole execution is exiting."""
    waiting = [*legs, *([""] if execution.status == lifecycle.EXITING else [])]
    execution.waits = {leg: execution.waits.get(leg, now_mono) for leg in waiting}
    return execution.waits


def _units(execution: LiveExecution, held: Mapping[str, int]) -> str:
    resolved = execution.run.resolved
    named = {leg: resolved[leg].label if leg in resolved else leg for leg in held}
    return ", ".join(f"{units:+d} units of {named[leg]}" for leg, units in held.items())


def over(execution: LiveExecution, current: Mapping[Key, Alarm]) -> list[tuple[Key, str]]:
    """Raised alarms for waits that are not in ``current`` any more, each with the fact as text."""
    ended = [key for key in execution.alarms if key[0] in CLOCK and key not in current]
    return [(key, _fact(execution, *key)) for key in ended]


def _fact(execution: LiveExecution, cause: str, leg: str) -> str:
    if cause in _OF_ORDERS:
        entry = cause == ENTRY_UNKNOWN
        orders = [
            intent
            for intent in execution.intents
            if intent.leg_key == leg
            and (cause == CANCEL_UNHEARD or (intent.purpose == lifecycle.ENTRY) == entry)
        ]
        if orders:
            newest = max(orders, key=lambda intent: intent.planned_at)
            return f"order {newest.tag} is {newest.state}"
    if cause in (LEG_STAYS, PAST_EXIT):
        return "nothing of it is open any more"
    return f"the execution is {execution.status}"


def book_unread(
    orders: Iterable[LiveIntent], read_mono: float | None, now: dt.datetime, now_mono: float
) -> Alarm | None:
    """An alarm if an account's order book should have been read by now and was not.

    ``orders``: those of the account whose state only the book can show (unknown, or at the broker).
    ``read_mono``: when its newest successful read began; None: never. The wait counts from the
    later of that read and the oldest order's send.
    """
    oldest = max((waited(intent, now) for intent in orders), default=0.0)
    silent = oldest if read_mono is None else min(oldest, now_mono - read_mono)
    if silent < PROMISES[BOOK_UNREAD]:
        return None
    return Alarm(BOOK_UNREAD)


def unpriced(run: LiveRun, now_mono: float) -> Alarm | None:
    """An alarm if stops or targets of a held run could not be evaluated for too long.

    ``run.priced_mono``: when each leg had its newest usable price, or was first held.
    """
    waiting = [
        key
        for key, watch in run.watches.items()
        if key in run.resolved
        and not watch.triggered
        and key not in run.leg_exits
        and (watch.stop is not None or watch.target is not None)
    ]
    since = {key: run.priced_mono.setdefault(key, now_mono) for key in waiting}
    late = [key for key, mono in since.items() if now_mono - mono >= PROMISES[NO_PRICE]]
    if not late:
        return None
    return Alarm(NO_PRICE, words=", ".join(run.resolved[key].label for key in late))
