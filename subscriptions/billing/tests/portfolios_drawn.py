"""Random portfolios for the oracle: who follows, what they do, when runs come, which money.

Played and compared in portfolios.py.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from hypothesis import strategies as st

from subscriptions.billing.tests.factories import AWAY, HOME
from subscriptions.billing.tests.portfolios_oracle import (
    Action,
    Event,
    Followed,
    Moment,
    Portfolio,
    RunDay,
    months_after,
)
from subscriptions.billing.tests.receipts_oracle import Came

SIZE: Final = 50
MONTHS: Final = 24
#: First days of portfolios: two of them have 29 February inside.
BEGINNINGS: Final = (
    dt.date(2026, 1, 28),
    dt.date(2026, 8, 31),
    dt.date(2027, 3, 30),
    dt.date(2025, 12, 31),
)
FIRST_RATE: Final = (dt.date(2017, 7, 1), Decimal("18.00"))
RATES: Final = (Decimal("12.00"), Decimal("18.75"), Decimal("5.00"), Decimal("0.00"))
# 499.95 and 0.05 have halves that round up; 0.02 has no tax at all at low rates.
FEES: Final = (
    Decimal("999.00"),
    Decimal("499.95"),
    Decimal("0.05"),
    Decimal("333.33"),
    Decimal("0.02"),
    Decimal("0.00"),
)
#: The fee of somebody who comes back: as it was, or another.
PRICES: Final = (None, None, Decimal("1499.50"), Decimal("0.05"))
STATES: Final = (HOME, AWAY, "07", "")
#: Partners by their state, which decides nothing; None is us.
PARTNER_STATES: Final = (None, "", AWAY, HOME)
MORNING: Final = 4
EVENING: Final = 18
CHUNKS: Final = (1000, 20, 7, 2)
#: Money that comes: a part, one bill, two of them, and what no bill needs; rupees.
AMOUNTS: Final = tuple(map(Decimal, ("0.01", "100.00", "589.94", "1178.82", "2357.64", "9000.00")))
#: What a partner has of each of its customers' fees, percent.
SHARE: Final = Decimal(30)
#: Days between what a customer does; the lengths of months, and around them, more often.
GAPS: Final = (0, 1, 27, 28, 29, 30, 31, 32, 59, 61, 62)
ACTIONS: Final = (Action.PAUSE, Action.RESUME, Action.PAUSE, Action.RESUME, Action.CANCEL)
#: What somebody at a turning point does: leaves, and comes back within days or months.
COMES_BACK: Final = (Action.CANCEL, Action.SUBSCRIBE)


@dataclass(frozen=True, slots=True)
class Case:
    """A portfolio and what the oracle need not know: chunk sizes, and who follows through whom."""

    portfolio: Portfolio
    chunks: tuple[int, ...]
    partners: tuple[int, ...]
    came: tuple[Came, ...] = ()


@st.composite
def starts(draw: st.DrawFn, first: dt.date) -> dt.date:
    """A day of the portfolio's first 23 months; every second one from the end of a month."""
    if draw(st.booleans()):
        return first + dt.timedelta(days=draw(st.integers(0, 700)))
    day = draw(st.sampled_from((29, 30, 31)))
    month = months_after(first.replace(day=1), draw(st.integers(0, 22)))
    return max(first, months_after(month.replace(month=1, day=day), month.month - 1))


@st.composite
def followed(draw: st.DrawFn, first: dt.date, last: dt.date) -> tuple[Followed, int]:
    """A subscription, and the place of its partner."""
    start = draw(starts(first))
    gaps = st.one_of(st.integers(0, 95), st.sampled_from(GAPS))
    # every second one comes back after leaving, most often inside the month, or on the same day
    actions = ACTIONS if draw(st.booleans()) else (*COMES_BACK, *COMES_BACK, *ACTIONS)
    steps = draw(st.lists(st.tuples(st.sampled_from(actions), gaps), max_size=7))
    day, events = start, []
    for action, gap in steps:
        day += dt.timedelta(days=gap)
        if day <= last:
            events.append(Event(day, action))
            if action is Action.CANCEL and actions is not ACTIONS:
                again = day + dt.timedelta(days=draw(st.sampled_from((0, 0, 1, 12, 27, 31))))
                day = min(again, last)
                events.append(Event(day, Action.SUBSCRIBE, draw(st.sampled_from(PRICES))))
    place = draw(st.integers(0, len(PARTNER_STATES) - 1))
    subscription = Followed(
        start,
        draw(st.sampled_from(FEES)),
        draw(st.sampled_from(STATES)),
        tuple(events),
        # a test subscription needs a partner
        live=not place or draw(st.integers(0, 9)) < 9,
        partner_state=PARTNER_STATES[place] or "",
    )
    return subscription, place


@st.composite
def run_days(draw: st.DrawFn, first: dt.date, last: dt.date) -> tuple[RunDay, ...]:
    """Runs with outages of 1 to 60 days between them; some days have two, some runs ask for a day
    that is over.
    """
    # hypothesis likes small numbers, and nobody needs so many runs
    outages = st.integers(0, 59).map(lambda less: 60 - less)
    gaps = draw(st.lists(outages, min_size=12, max_size=40))
    twice, late = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    runs: list[RunDay] = []
    day = first
    for number, gap in enumerate(itertools.cycle(gaps)):
        if day >= last:
            break
        asked = day - dt.timedelta(days=3) if number % late == late - 1 else day
        runs.append(RunDay(Moment(day, (MORNING, EVENING)[number % 2]), asked))
        if number % twice == 0 and number % 2 == 0:
            runs.append(RunDay(Moment(day, EVENING), day))
        day += dt.timedelta(days=gap)
    return (*runs, RunDay(Moment(last, EVENING), last))


@st.composite
def cases(draw: st.DrawFn, size: int = SIZE, months: int = MONTHS) -> Case:
    """``size`` subscriptions over ``months`` months, with one or two changes of the tax rate."""
    first = draw(st.sampled_from(BEGINNINGS))
    last = months_after(first, months)
    drawn = draw(st.lists(followed(first, last), min_size=size, max_size=size))
    changes = draw(
        st.lists(
            st.tuples(st.integers(1, 700), st.sampled_from(RATES)),
            min_size=1,
            max_size=2,
            unique_by=lambda change: change[0],
        )
    )
    rates = [(first + dt.timedelta(days=days), percent) for days, percent in changes]
    portfolio = Portfolio(
        tuple(subscription for subscription, _ in drawn),
        (FIRST_RATE, *rates),
        HOME,
        last,
        draw(run_days(first, last)),
    )
    chunks = draw(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=5))
    came = draw(money(portfolio.subscriptions, first, last))
    return Case(portfolio, tuple(chunks), tuple(place for _, place in drawn), came)


@st.composite
def money(
    draw: st.DrawFn, subscriptions: Sequence[Followed], first: dt.date, last: dt.date
) -> tuple[Came, ...]:
    """Receipts of some of the live customers; of every second one the bank takes back."""
    live = [place for place, subscription in enumerate(subscriptions) if subscription.live]
    if not live:
        return ()
    days = st.integers(0, (last - first).days)
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(live), days, st.sampled_from(AMOUNTS), st.booleans(), days),
            max_size=14,
        )
    )
    transfers = []
    for place, after, amount, bounces, later in drawn:
        day = first + dt.timedelta(days=after)
        taken_back = day + dt.timedelta(days=later % 60) if bounces else None
        transfers.append(Came(place, day, amount, min(taken_back, last) if taken_back else None))
    return tuple(transfers)


def with_runs(case: Case, days: Sequence[dt.date]) -> Case:
    """The same portfolio with evening runs on ``days`` instead."""
    planned = tuple(RunDay(Moment(day, EVENING), day) for day in days)
    return replace(case, portfolio=replace(case.portfolio, runs=planned))
