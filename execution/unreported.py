"""Orders whose outcome is not reported: how much may be open because of them. Pure.

The broker's order book reports every order. If it is silent, because it cannot be read or does not
show the order, the account's positions are the next best witness (execution/exit_limits.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from execution import lifecycle
from execution.state import LiveExecution, LiveIntent

#: Seconds without a report of the order book after which an order's outcome is sought elsewhere. A
#: book that order updates accompany is read every five.
SILENT_AFTER: Final = 8.0
#: Seconds after which an exit of unknown outcome no longer delays another leg's exit.
HANGS_AFTER: Final = 10.0


def perhaps_open(
    execution: LiveExecution, exiting: Collection[str], now_mono: float
) -> dict[str, int]:
    """Units by exiting leg, beyond the known ones, that its entries may have filled unreported.

    Only for entries on which the order book is silent: the account's positions are read for them.
    """
    silent: dict[str, int] = {}
    for intent in execution.of(lifecycle.ENTRY):
        if (
            intent.leg_key in exiting
            and intent.unreported
            and is_silent(execution, intent, now_mono)
        ):
            silent[intent.leg_key] = silent.get(intent.leg_key, 0) + intent.unreported
    if not silent:
        return silent
    traded, known = execution.traded_legs(), execution.open_legs()
    extra = {}
    for leg_key, units in silent.items():
        sign = 1 if units > 0 else -1
        most = traded.get(leg_key, 0) + units
        more = (most - known.get(leg_key, 0)) * sign
        if more > 0:
            extra[leg_key] = more
    return extra


def is_silent(execution: LiveExecution, intent: LiveIntent, now_mono: float) -> bool:
    """Whether the order book has not reported this order for a while, whether read or not."""
    if intent.state == lifecycle.ESCALATED or intent.out_of_sight:
        return not execution.is_cleared(intent)
    if intent.state == lifecycle.UNKNOWN:
        read = intent.proof is not None and intent.proof.reads > 0
        last = intent.unknown_since_mono
        return not read and now_mono - last >= SILENT_AFTER
    if intent.state not in lifecycle.AT_BROKER:
        return False
    return now_mono - max(intent.seen_mono, intent.sent_mono) >= SILENT_AFTER


def lost_units(intent: LiveIntent, now_mono: float) -> int:
    """Signed units that sends of it which were given up as absent may have filled unreported.

    Only while they are watched for. A dead book does not make that last for ever: after that, the
    position is closed by what the positions show.
    """
    if (
        intent.strays
        or not intent.watch_until_mono
        or now_mono >= intent.watch_until_mono + SILENT_AFTER
    ):
        return 0
    given_up = intent.state in (lifecycle.MISSED, lifecycle.PLANNED)
    sends = intent.sends if given_up else intent.sends - 1
    seen = intent.surplus_quantity + (intent.filled_quantity if given_up else 0)
    return max(0, sends * intent.quantity - seen) * intent.side.sign


def hangs(execution: LiveExecution, leg_key: str, now_mono: float) -> bool:
    """Whether the exit of this leg waits for a broker that does not respond: then no other exit
    waits for it."""
    return any(
        (intent.state == lifecycle.UNKNOWN and now_mono - intent.unknown_since_mono > HANGS_AFTER)
        or intent.cancels > 1
        for intent in exit_tries(execution, leg_key)
        if not intent.is_final
    )


def exit_tries(execution: LiveExecution, leg_key: str) -> list[LiveIntent]:
    """Every order that was meant to close a leg, whatever its outcome."""
    return [i for i in execution.intents if i.leg_key == leg_key and i.purpose != lifecycle.ENTRY]
