"""Template filters of the trading day's pages: times, money and states."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import template

from execution.alarm_lists import age
from execution.alarms import means
from execution.descriptions import explain
from execution.formatting import STATUS_COLOURS, to_ms, to_result
from quantleap.core import clock
from quantleap.core.money import grouped

register = template.Library()


@register.filter
def ms(instant: dt.datetime | None) -> str:
    """IST wall clock to the millisecond; a dash for none."""
    return to_ms(instant) or "–"


@register.filter
def after(instant: dt.datetime | None, entry_at: dt.datetime) -> str:
    """Milliseconds after ``entry_at`` (T): ``+12.4``."""
    if instant is None:
        return ""
    return f"{(instant - entry_at).total_seconds() * 1000:+,.1f}"


@register.filter
def rupees(amount: Decimal | None) -> str:
    """``+1,17,882.00`` with its sign; a dash for none."""
    return "–" if amount is None else to_result(amount)


@register.filter
def price(amount: Decimal | str | None) -> str:
    """Rupees per unit with two places; a dash for none."""
    return "–" if amount in (None, "") else grouped(Decimal(str(amount)))


@register.filter
def figure(value: Any) -> str:
    """A number or a dash."""
    return "–" if value is None else f"{value:,}"


@register.filter
def colour(state: str) -> str:
    """The name of a state's colour."""
    return STATUS_COLOURS.get(state, "default")


@register.filter
def ago(instant: dt.datetime) -> str:
    """Time since ``instant``: ``3 min``."""
    return age(instant, clock.now())


@register.filter
def alarm(cause: str) -> str:
    """The sentence for an alarm's cause."""
    return means(cause)


@register.filter
def words(cause: str) -> str:
    """The sentence for a cause; '' for none."""
    return explain(cause) if cause else ""


@register.filter
def get(mapping: Any, key: str) -> Any:
    """``mapping[key]``; 0 if it is missing."""
    return mapping.get(key, 0)
