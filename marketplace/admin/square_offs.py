"""Panel of the times at which brokers close intraday positions, beside the session hours."""

from __future__ import annotations

import datetime as dt
from typing import Final

from marketplace.calendar import TradingCalendar
from marketplace.selectors.market import square_offs
from marketplace.square_offs import SquareOff, in_force, limits
from quantleap.core.console import Cell, Panel
from quantleap.core.dates import day_text

HEADERS: Final = ("Broker", "Since", "Closes from (IST)", "Our last exit (IST)", "Source")
NONE_PUBLISHED: Final = "No broker has published a time, so the close of the session applies."


def square_off_panel(calendar: TradingCalendar, day: dt.date) -> Panel:
    """Cut-offs in force on ``day``, and the last exit that publishing accepts for each.

    For a session with that day's ordinary hours. A broker without a row has published no time.
    """
    hours = calendar.ordinary_hours(day)
    rows = () if hours is None else in_force(square_offs(), day)
    return Panel(
        "Square-offs by brokers",
        HEADERS,
        tuple(
            (
                Cell(square_off.broker),
                Cell(day_text(square_off.effective_from)),
                Cell(f"{square_off.on(hours):%H:%M}"),
                Cell(f"{limits(hours, [square_off]).latest:%H:%M}"),
                _source(square_off),
            )
            for square_off in rows
            if hours is not None
        ),
        NONE_PUBLISHED,
    )


def _source(square_off: SquareOff) -> Cell:
    address, _, words = square_off.source.partition(" ")
    if address.startswith("https://"):
        return Cell(words.strip("() ") or "the broker's page", address)
    return Cell(square_off.source)
