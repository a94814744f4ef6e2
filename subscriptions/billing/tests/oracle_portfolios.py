"""Random portfolios and histories of runs, for the comparison with the oracle.

Dates crowd where bugs live: month ends, the edges of periods, one day beside another, minutes after
midnight in India (when it is still yesterday in UTC).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from hypothesis import strategies as st

from subscriptions.billing.tests.oracle import Change, Follower, Portfolio, Run, What, months_after

MONTHS: Final = 24
SIZE: Final = 50
HOME: Final = "33"
STATES: Final = (HOME, "27", "29", "07")
#: The state of the partner's customers who have none of their own.
DEFAULT_STATE: Final = "27"

_JUST_AFTER_MIDNIGHT: Final = dt.time(0, 3)
_TIMES: Final = (_JUST_AFTER_MIDNIGHT, dt.time(12), dt.time(23, 56))
_RUN_TIMES: Final = (dt.time(4, 30), dt.time(4, 30), dt.time(23, 50))
_FEES: Final = tuple(map(Decimal, ("999.00", "499.99", "0.50", "1234.56", "99.95", "0.00")))
_RATES: Final = tuple(map(Decimal, ("18.00", "12.00", "5.00", "28.00", "17.55", "0.00")))


@dataclass(frozen=True, slots=True)
class History:
    """Runs with the chunk of each, up to the one of the last day."""

    runs: tuple[Run, ...]
    chunks: tuple[int, ...]

    @property
    def until(self) -> dt.datetime:
        """When it ends."""
        return self.runs[-1].at


@dataclass(frozen=True, slots=True, repr=False)
class Case:
    """One portfolio under one history, from ``first`` on."""

    first: dt.date
    portfolio: Portfolio
    history: History

    @property
    def varied(self) -> bool:
        """Not the same few subscriptions over and over (hypothesis begins with the simplest)."""
        followers = self.portfolio.followers
        return len(set(followers)) > len(followers) // 2


def end_of(first: dt.date) -> dt.date:
    """The day of the last run of a history that begins on ``first``."""
    return months_after(first, MONTHS)


def daily(first: dt.date, chunk: int = 1000) -> History:
    """A run each morning."""
    days = [first + dt.timedelta(days=n) for n in range((end_of(first) - first).days + 1)]
    return _history([(day, dt.time(4, 30), 0, chunk) for day in days])


def once(first: dt.date, chunk: int = 1000) -> History:
    """No run but one at the end."""
    return _history([(end_of(first), dt.time(4, 30), 0, chunk)])


def _history(rows: list[tuple[dt.date, dt.time, int, int]]) -> History:
    runs = tuple(
        Run(dt.datetime.combine(day, time), day - dt.timedelta(days=lag))
        for day, time, lag, _ in rows
    )
    return History(runs, tuple(row[3] for row in rows))


# Strategies are built once: building one costs more than drawing from it.
_gaps = st.one_of(
    st.sampled_from((0, 1, 27, 28, 29, 30, 31)), st.integers(0, 20), st.integers(0, 120)
)
# outage before the next run, its time, how many days it is behind, chunk
_run = st.tuples(
    st.one_of(st.sampled_from((1, 1, 2, 60)), st.integers(1, 60)),
    st.sampled_from(_RUN_TIMES),
    st.sampled_from((0, 0, 0, 0, 1, 5)),
    st.sampled_from((1000, 1000, 40, 13)),
)
# days until the first change, the changes' gaps and times, one in four cancelled by the last
_life = st.tuples(
    st.one_of(_gaps, st.integers(0, 700)),
    st.lists(st.tuples(_gaps, st.sampled_from(_TIMES)), max_size=5),
    st.integers(0, 3).map(lambda number: number == 1),
)
# month and day of the beginning, fee, state, one in twenty whose state is late, by how much; life
_follower = st.tuples(
    st.one_of(st.integers(0, 6), st.integers(0, MONTHS - 1)),
    st.one_of(st.sampled_from((31, 30, 29, 28)), st.integers(1, 31)),
    st.one_of(
        st.sampled_from(_FEES), st.integers(1, 500_000).map(lambda paise: Decimal(paise) / 100)
    ),
    st.sampled_from(("", *STATES)),
    st.integers(0, 19).map(lambda number: number == 1),
    _gaps,
    _life,
)
_later_rates = st.lists(
    st.tuples(st.integers(0, 30 * MONTHS), st.sampled_from(_RATES)),
    max_size=3,
    unique_by=lambda change: change[0],
)
_first_days = st.dates(dt.date(2023, 1, 1), dt.date(2027, 12, 31))
_Life = tuple[int, list[tuple[int, dt.time]], bool]
_Follower = tuple[int, int, Decimal, str, bool, int, _Life]


@st.composite
def cases(draw: st.DrawFn, size: int = SIZE) -> Case:
    """``size`` subscriptions over 24 months; the last tenth belongs to customers of the first."""
    first = draw(_first_days)
    shared = size - size // 10
    followers: list[Follower] = []
    for number in range(size):
        one = _make_follower(first, number % shared, draw(_follower))
        if number >= shared:  # one customer has one state
            same = followers[one.customer]
            one = replace(one, state=same.state, state_from=same.state_from)
        followers.append(one)
    rates = [(first + dt.timedelta(days=days), pct) for days, pct in draw(_later_rates)]
    rates.append((dt.date(2017, 7, 1), draw(st.sampled_from(_RATES))))
    portfolio = Portfolio(tuple(followers), HOME, tuple(rates), DEFAULT_STATE)
    return Case(first, portfolio, _outages(draw, first))


def _outages(draw: st.DrawFn, first: dt.date) -> History:
    """Days without a run, 1 to 60 between two; some runs are for a day before their own."""
    rows, day, last = [], first, end_of(first)
    while day < last:
        days, time, lag, chunk = draw(_run)
        rows.append((day, time, lag, chunk))
        day += dt.timedelta(days=days)
    return _history([*rows, (last, dt.time(23, 58), 0, 1000)])


def _make_follower(first: dt.date, customer: int, drawn: _Follower) -> Follower:
    months, day, fee, state, late, gap, life = drawn
    month = months_after(first.replace(day=1), months)
    last = (months_after(month, 1) - dt.timedelta(days=1)).day
    begins = dt.datetime.combine(max(first, month.replace(day=min(day, last))), dt.time())
    until = dt.datetime.combine(end_of(first), _TIMES[-1])
    changes = tuple(one for one in _make_life(begins, life) if one.at <= until)
    # Who has a state only later was not his partner's, whose own would stand in.
    known = begins + dt.timedelta(days=gap, minutes=1) if late and state else None
    return Follower(customer, fee, state, begins, changes, known)


def _make_life(begins: dt.datetime, drawn: _Life) -> list[Change]:
    """Pauses and resumptions in turn, perhaps a cancellation at the end."""
    days, rest, ends = drawn
    at, changes = begins + dt.timedelta(days=days), []
    for number, (gap, time) in enumerate(rest):
        # Never back: what is later in the life is later, or at the same minute.
        at = max(at, dt.datetime.combine(at.date() + dt.timedelta(days=gap), time))
        what: What = "resume" if number % 2 else "pause"
        changes.append(Change(at, "cancel" if ends and number == len(rest) - 1 else what))
    return changes
