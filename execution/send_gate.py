"""The last check before every single send: may this order still leave? Pure.

Between the decision and the first byte an order waits for its pacing, a connection or an answer,
and the facts may change. So nothing leaves on an old grant. An entry is held back if a leg has
failed or its execution is exiting; an exit is held back if its leg no longer needs it, or if what
was known of the account is too old to close a position by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brokers.base import Side
from execution import lifecycle
from execution.causes import (
    EXIT_DUE,
    EXIT_REQUESTED,
    LEG_EXIT,
    NOT_NEEDED,
    STALE,
    SUPERSEDED,
)
from execution.state import LiveExecution, LiveIntent
from execution.unreported import exit_tries
from execution.withdrawals import cause_behind, first_failure, legs_not_entered

#: Seconds for which a read of the account's positions is valid. The next read shows trades by hand
#: in the broker's own app; an exit that waited longer needs a new read.
GRANT_SECONDS: Final = 5.0


def why_not_enter(execution: LiveExecution, intent: LiveIntent) -> str:
    """'' if the entry ``intent`` may leave, else the cause: its execution is not to be completed,
    or its leg's exit has been decided."""
    if execution.exit_reason:
        return EXIT_REQUESTED
    if execution.run.run_exit:
        return EXIT_DUE
    behind = cause_behind(first_failure(execution.of(lifecycle.ENTRY)))
    if behind:
        return behind
    return LEG_EXIT if intent.leg_key in legs_not_entered(execution) else ""


def why_not_leave(execution: LiveExecution, intent: LiveIntent, now_mono: float) -> str:
    """'' if the exit ``intent`` may leave, else the cause. ``now_mono``: monotonic seconds.

    Together with what is under way it must not exceed what the leg still holds, by
    I5 (never more than planned or held): no exit ever opens a position. Units that only the
    positions have shown count as held while the entries that may have filled them are unreported.
    """
    if now_mono - intent.granted_mono > GRANT_SECONDS:
        return SUPERSEDED
    leg_key, sign = intent.leg_key, -intent.side.sign
    known = sign * execution.open_quantity(leg_key)
    most = sign * (execution.traded_legs().get(leg_key, 0) + execution.coming().get(leg_key, 0))
    supposed = sum(i.supposed for i in exit_tries(execution, leg_key) if not i.is_final)
    held = max(known, min(known + supposed, most))
    return NOT_NEEDED if intent.quantity + _under_way(execution, intent) > held else ""


def why_not_change(execution: LiveExecution, intent: LiveIntent, now_mono: float) -> str:
    """'' if the resting exit ``intent`` may get another price now, else the cause.

    As for an exit that leaves: it must still be wanted, and all that is under way must not exceed
    what the leg holds. ``now_mono``: monotonic seconds.
    """
    if intent.state not in lifecycle.AT_BROKER:
        return STALE
    if now_mono - intent.granted_mono > GRANT_SECONDS:
        return SUPERSEDED
    held = -intent.side.sign * execution.open_quantity(intent.leg_key)
    rest = intent.quantity - intent.filled_quantity
    return NOT_NEEDED if rest + _under_way(execution, intent) > held else ""


def in_the_way(intent: LiveIntent, others: Iterable[LiveIntent]) -> list[LiveIntent]:
    """Orders among ``others`` that ``intent`` would trade with if it were sent now.

    ``others`` are our own orders in the same real account, of any strategy or account row. An order
    that has left and is not final may rest in the exchange's book. The exchange prevents
    self-trades and cancels one of the two orders:
    https://nseindia.com/trade/pan-based-self-trade-prevention-check-mechanisms-faqs
    """
    return [
        other
        for other in others
        if other.contract_id == intent.contract_id
        and other.side is not intent.side
        and (
            other.state in lifecycle.MAY_REST
            or (other.state == lifecycle.SENDING and other.sent_mono)
        )
        and _cross(intent, other)
        and not _is_supposed_filled(intent, other)
    ]


def _is_supposed_filled(intent: LiveIntent, other: LiveIntent) -> bool:
    """Whether ``intent`` closes units of the entry ``other`` that the positions have shown."""
    same = (other.execution_id, other.leg_key) == (intent.execution_id, intent.leg_key)
    return intent.supposed > 0 and same and other.purpose == lifecycle.ENTRY


def _cross(intent: LiveIntent, other: LiveIntent) -> bool:
    buy, sell = (intent, other) if intent.side is Side.BUY else (other, intent)
    return buy.reach >= sell.reach


def _under_way(execution: LiveExecution, intent: LiveIntent) -> int:
    """Units that other exits of the leg may still close: sent and not final, or adrift."""
    return sum(
        other.adrift if other.is_final else other.quantity - other.filled_quantity
        for other in execution.intents
        if other.leg_key == intent.leg_key
        and other.purpose != lifecycle.ENTRY
        and other is not intent
        and other.state != lifecycle.PLANNED
        and (other.sent_mono or other.state != lifecycle.SENDING)
    )
