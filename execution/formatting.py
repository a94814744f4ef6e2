"""Console formatting of the trading day: colours of states, times to the millisecond."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from execution import lifecycle
from execution.descriptions import explain
from execution.price_changes import ASKED, DONE, KEPT, REFUSED, TAKEN, UNKNOWN, Change
from quantleap.core import clock
from quantleap.core.money import grouped

STATUS_COLOURS: Final = {
    lifecycle.ARMED: "info",
    lifecycle.COMMITTED: "info",
    lifecycle.ENTERED: "info",
    lifecycle.OPEN: "info",
    lifecycle.EXITING: "warning",
    lifecycle.CLOSED: "success",
    lifecycle.FILLED: "success",
    lifecycle.ACCEPTED: "info",
    lifecycle.PARTIAL: "warning",
    lifecycle.SENDING: "warning",
    lifecycle.UNKNOWN: "warning",
    lifecycle.FAILED: "danger",
    lifecycle.REJECTED: "danger",
    lifecycle.ESCALATED: "danger",
    lifecycle.MISSED: "danger",
}
#: Colours of a run's tone (execution.run_state). A list shows no label for a missing tone.
TONE_COLOURS: Final = {
    "": "default",
    "good": "success",
    "info": "info",
    "warn": "warning",
    "bad": "danger",
}


#: The outcome of a change of an order's price.
_CHANGED: Final = {
    ASKED: "on its way to the broker",
    TAKEN: "taken by the broker, and not yet seen in its book",
    DONE: "and the broker's book shows it",
    REFUSED: "refused by the broker",
    UNKNOWN: "without a usable answer: the order may rest at either price",
    KEPT: "kept back, so nothing left",
}
#: Why a change was kept back, for causes that cannot end an order.
_KEPT: Final = {
    "STALE": "The order was over by then.",
    "FENCED": "The account may have been another executor's by then.",
    "SUPERSEDED": "It had waited too long for its turn.",
    "NOT_NEEDED": "The leg held less than the order would have closed.",
}


def to_ms(instant: dt.datetime | None) -> str:
    """IST wall clock to the millisecond: ``09:20:00.012``; '' for None."""
    if instant is None:
        return ""
    local = clock.to_ist(instant)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"


def told_change(change: Change) -> str:
    """One change of an order's price as a sentence for the order's page."""
    asked = f"{to_ms(change.at)}: {change.before} to {change.price}, {_CHANGED[change.state]}"
    why = change.message or _KEPT.get(change.cause) or explain(change.cause)
    return f"{asked}: {why}" if why else f"{asked}."


def to_result(amount: Decimal) -> str:
    """A profit or loss in rupees, always with its sign: ``+1,17,882.00``, ``-350.00``."""
    return ("" if amount < 0 else "+") + grouped(amount)
