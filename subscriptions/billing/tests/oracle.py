"""A second biller: slow, one subscription at a time, one day at a time.

It knows the rules of money.md (periods and invoices) and nothing of the run: it imports nothing of
ours, walks calendars by itself, and counts in whole paise. All times are Indian wall-clock times.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

What = Literal["pause", "resume", "cancel"]
_DAY: Final = dt.timedelta(days=1)
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a subscription, and when."""

    at: dt.datetime
    what: What


@dataclass(frozen=True, slots=True)
class Follower:
    """A subscription: its customer (a number), monthly fee in rupees, first day, and its life.

    ``state`` is the customer's GST state; empty: he has none, and his partner's stands in. Nobody
    knows it before ``state_from``.
    """

    customer: int
    fee: Decimal
    state: str
    begins: dt.datetime
    changes: tuple[Change, ...] = ()
    state_from: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Who follows, in which state the supplier is, and the tax in percent by first day."""

    followers: tuple[Follower, ...]
    home: str
    rates: tuple[tuple[dt.date, Decimal], ...]
    default_state: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A billing run at an instant, for what began by ``as_of``."""

    at: dt.datetime
    as_of: dt.date


@dataclass(frozen=True, slots=True, order=True)
class Bill:
    """An invoice: whose (a place in the portfolio), for what, how much, and when it was issued."""

    follower: int
    segment: int
    number: int
    start: dt.date
    end: dt.date
    taxable: Decimal
    rate_pct: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal
    total: Decimal
    issued_on: dt.date
    needs_review: bool


@dataclass(slots=True)
class _Life:
    """A subscription as it stands on the day that the walk has reached."""

    active: bool = False
    over: bool = False
    segment: int = 0
    anchor: dt.date = dt.date.min
    begun: int = 0
    paid_until: dt.date = dt.date.min
    owed: list[tuple[int, int, dt.date, dt.date]] = field(default_factory=list)

    def begin_segment(self, day: dt.date) -> None:
        self.segment, self.anchor, self.begun = self.segment + 1, day, 0
        self.begin_period()

    def begin_period(self) -> None:
        """From now on this period is owed, whatever happens next."""
        start = months_after(self.anchor, self.begun)
        self.paid_until = months_after(self.anchor, self.begun + 1)
        self.owed.append((self.segment, self.begun, start, self.paid_until))
        self.begun += 1

    def morning(self, day: dt.date) -> None:
        """At midnight the next period of who is active begins."""
        if self.active and day == self.paid_until:
            self.begin_period()

    def change(self, what: What | Literal["subscribe"], day: dt.date) -> None:
        if what == "subscribe":
            self.active = True
            self.begin_segment(day)
        elif self.over or (what != "cancel" and (what == "resume") == self.active):
            raise ValueError(f"cannot {what} on {day}")
        elif what == "resume":
            self.active = True
            if day >= self.paid_until:
                self.begin_segment(day)
        else:
            self.active, self.over = False, what == "cancel"


def months_after(anchor: dt.date, months: int) -> dt.date:
    """The anchor's day ``months`` months later, or the last one of a month that is too short."""
    year, month, left = anchor.year, anchor.month, months
    while left:
        month, left = month + 1, left - 1
        if month > 12:
            year, month = year + 1, 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 29 if month == 2 and leap else _DAYS[month - 1]
    return dt.date(year, month, min(anchor.day, length))


def expected(portfolio: Portfolio, runs: Sequence[Run]) -> list[Bill]:
    """Every invoice that these runs must have made, and no other."""
    lives = [_Life() for _ in portfolio.followers]
    bills: list[Bill] = []
    steps = sorted(_steps(portfolio, runs), key=lambda step: step[0])
    if not steps:
        return bills
    day, last, place = steps[0][0].date(), steps[-1][0].date(), 0
    while day <= last:
        for life in lives:
            life.morning(day)
        while place < len(steps) and steps[place][0].date() == day:
            _, number, what = steps[place]
            if isinstance(what, Run):
                bills += _issue(portfolio, lives, what)
            else:
                lives[number].change(what, day)
            place += 1
        day += _DAY
    return sorted(bills)


Step = tuple[dt.datetime, int, Run | What | Literal["subscribe"]]


def _steps(portfolio: Portfolio, runs: Sequence[Run]) -> Iterable[Step]:
    """Everything that happens; at one instant in this order."""
    for number, follower in enumerate(portfolio.followers):
        if follower.fee > 0:
            yield follower.begins, number, "subscribe"
            for change in follower.changes:
                yield change.at, number, change.what
    for run in runs:
        yield run.at, -1, run


def _issue(portfolio: Portfolio, lives: Sequence[_Life], run: Run) -> Iterable[Bill]:
    """What is owed and began by the run's day, of everybody whose state is known."""
    for number, (follower, life) in enumerate(zip(portfolio.followers, lives, strict=True)):
        if follower.state_from is not None and run.at < follower.state_from:
            continue
        if not (follower.state or portfolio.default_state):
            continue
        due = [period for period in life.owed if period[2] <= run.as_of]
        life.owed = [period for period in life.owed if period[2] > run.as_of]
        for period in due:
            yield _bill(portfolio, number, follower, period, run.at.date())


def _bill(
    portfolio: Portfolio,
    number: int,
    follower: Follower,
    period: tuple[int, int, dt.date, dt.date],
    today: dt.date,
) -> Bill:
    segment, place, start, end = period
    rate = Decimal(0)
    for first, pct in sorted(portfolio.rates):
        if first <= start:
            rate = pct
    paise, hundredths = int(follower.fee * 100), int(rate * 100)
    half = whole = 0
    if (follower.state or portfolio.default_state) == portfolio.home:
        half = _half_up(paise * hundredths, 20_000)
    else:
        whole = _half_up(paise * hundredths, 10_000)
    return Bill(
        follower=number,
        segment=segment,
        number=place,
        start=start,
        end=end,
        taxable=follower.fee,
        rate_pct=rate,
        cgst=_rupees(half),
        sgst=_rupees(half),
        igst=_rupees(whole),
        total=_rupees(paise + half + half + whole),
        issued_on=today,
        needs_review=end <= today,
    )


def _half_up(value: int, by: int) -> int:
    """``value / by``, a half goes up."""
    whole, rest = divmod(value, by)
    return whole + (2 * rest >= by)


def _rupees(paise: int) -> Decimal:
    return Decimal(paise) / 100


# -- what follows from the invoices --------------------------------------------------------------
def earned(bill: Bill, through: dt.date) -> Decimal:
    """What of its value is earned by the end of a day: by days, floored; all on the last one."""
    length = passed = 0
    day = bill.start
    while day < bill.end:
        length, passed = length + 1, passed + (day <= through)
        day += _DAY
    return _rupees(int(bill.taxable * 100) * passed // length)


def books(portfolio: Portfolio, bills: Iterable[Bill], through: dt.date) -> dict[str, Decimal]:
    """Balances by account, debit positive, without those that are 0; customers by number."""
    held: Counter[str] = Counter()
    for bill in bills:
        revenue = earned(bill, through)
        for account, amount in (
            (f"receivable:{portfolio.followers[bill.follower].customer}", bill.total),
            ("deferred_revenue", revenue - bill.taxable),
            ("revenue", -revenue),
            ("gst_output:cgst", -bill.cgst),
            ("gst_output:sgst", -bill.sgst),
            ("gst_output:igst", -bill.igst),
        ):
            held[account] += amount  # type: ignore[assignment]  # a Counter of rupees
    return {account: Decimal(amount) for account, amount in held.items() if amount}


def numbers(bills: Iterable[Bill]) -> list[str]:
    """The numbers given out: 1 to n in each financial year, which begins in April."""
    years = Counter(one.issued_on.year - (one.issued_on.month < 4) for one in bills)
    return [
        f"QL{year % 100:02}-{seq:08}"
        for year, count in sorted(years.items())
        for seq in range(1, count + 1)
    ]
