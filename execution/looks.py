"""How the trading day is shown to people: colours of states, times to the millisecond."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from quantleap.core import clock
from quantleap.core.money import grouped

STATUS_COLOURS: Final = {
    "ARMED": "info",
    "COMMITTED": "info",
    "ENTERED": "info",
    "OPEN": "info",
    "EXITING": "warning",
    "CLOSED": "success",
    "FILLED": "success",
    "ACCEPTED": "info",
    "PARTIAL": "warning",
    "SENDING": "warning",
    "UNKNOWN": "warning",
    "FAILED": "danger",
    "REJECTED": "danger",
    "ESCALATED": "danger",
    "MISSED": "danger",
}
#: Colours of a run's tone (execution.runstate). A list shows no word at all for a tone without one.
TONE_COLOURS: Final = {
    "": "default",
    "good": "success",
    "info": "info",
    "warn": "warning",
    "bad": "danger",
}


def to_ms(instant: dt.datetime | None) -> str:
    """Wall clock in India to the millisecond: ``09:20:00.012``."""
    if instant is None:
        return ""
    local = clock.to_ist(instant)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"


def to_result(amount: Decimal) -> str:
    """A profit or loss in rupees, always with its sign: ``+1,17,882.00``, ``-350.00``."""
    return ("" if amount < 0 else "+") + grouped(amount)
