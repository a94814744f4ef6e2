"""A second biller: slow, one subscription and one day after the other, and nothing of billing's.

Written from docs/billing.md to be compared with the run (test_portfolios.py). It walks
through the days of a subscription and does to it what happens on each; the run expands periods in
SQL from dates that lifecycle left behind. They share no code: months, tax, financial years and
earned revenue are counted here once more. Rupees; dates IST. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final, NamedTuple

PAISA: Final = Decimal("0.01")
NOTHING: Final = Decimal("0.00")
ONE_DAY: Final = dt.timedelta(days=1)


class Action(StrEnum):
    """What a customer may do; the value is the name of the service."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    SUBSCRIBE = "subscribe"


class Moment(NamedTuple):
    """An hour of an Indian day."""

    day: dt.date
    hour: int


#: Customers act at noon; runs come before or after it.
NOON: Final = 12


@dataclass(frozen=True, slots=True)
class Event:
    """What somebody does with a subscription, at noon of a day not before its start.

    Who has cancelled may SUBSCRIBE again, at a ``fee`` of that day; None: at the one before.
    """

    day: dt.date
    action: Action
    fee: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """A subscription: ``fee`` rupees a month; states are GST codes, and the partner's decides
    nothing.

    ``live`` False: of the test environment.
    """

    start: dt.date
    fee: Decimal
    state: str
    events: tuple[Event, ...] = ()
    live: bool = True
    partner_state: str = ""

    @property
    def place_of_supply(self) -> str:
        """The customer's state, never their partner's; empty if nobody knows it."""
        return self.state


@dataclass(frozen=True, slots=True)
class RunDay:
    """A run at a moment, for everything that is due by ``as_of``."""

    at: Moment
    as_of: dt.date


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Subscriptions under dated tax rates (first day, percent) of a supplier in ``home``."""

    subscriptions: tuple[Followed, ...]
    rates: tuple[tuple[dt.date, Decimal], ...]
    home: str
    last: dt.date
    runs: tuple[RunDay, ...] = field(default=(), repr=False)


class Begun(NamedTuple):
    """A period that began while its subscription was active: [first, after).

    ``turn`` counts the subscriptions of this customer to this template, from 0.
    """

    segment: int
    number: int
    first: dt.date
    after: dt.date
    since: Moment
    turn: int
    fee: Decimal


class Tax(NamedTuple):
    """CGST and SGST, or IGST."""

    cgst: Decimal
    sgst: Decimal
    igst: Decimal


class Bill(NamedTuple):
    """What an invoice has to say. ``subscription``: its place in the portfolio, and its turn."""

    subscription: int
    turn: int
    segment: int
    number: int
    first: dt.date
    after: dt.date
    taxable: Decimal
    rate: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal
    total: Decimal
    issued_on: dt.date
    needs_review: bool


# -- the calendar ----------------------------------------------------------------------------------
def months_after(anchor: dt.date, months: int) -> dt.date:
    """``months`` months on: one month after the other, then back to a day that the last one has."""
    year, month = anchor.year, anchor.month
    for _ in range(months):
        month += 1
        if month == 13:
            year, month = year + 1, 1
    day = anchor.day
    while True:
        try:
            return dt.date(year, month, day)
        except ValueError:
            day -= 1


def fiscal_year(day: dt.date) -> str:
    """``2026-27`` from 1 April 2026 to 31 March 2027."""
    begins = day.year
    if day < dt.date(begins, 4, 1):
        begins -= 1
    return f"{begins}-{str(begins + 1)[-2:]}"


# -- periods ---------------------------------------------------------------------------------------
def begun(followed: Followed, last: dt.date) -> list[Begun]:
    """The periods that began by ``last``, day by day.

    Pausing lets the paid period run on, and none begins until the resumption. Resumed within it,
    all is as before; resumed after it, a new segment is counted from that day. A period that begins
    on the very day of a pause or cancellation had begun before. Who has cancelled and subscribes
    again before the period is over goes on in it: the next one is the first of the new turn, and
    the first at its fee.
    """
    walk = _Walk(followed)
    day = followed.start
    while day <= last:
        if walk.active and day == walk.paid_until:
            walk.begin(0)
        for event in followed.events:
            if event.day == day:
                walk.take(event)
        day += ONE_DAY
    return walk.periods


class _Walk:
    """Somebody on their way through the days."""

    def __init__(self, followed: Followed) -> None:
        self.periods: list[Begun] = []
        self.active, self.cancelled, self.turn, self.fee = True, False, 0, followed.fee
        self.segment, self.number = 1, 0
        self.anchor = self.paid_until = followed.start

    def begin(self, hour: int) -> None:
        """The next period, at an hour of its first day."""
        first, self.paid_until = self.paid_until, months_after(self.anchor, self.number + 1)
        since = Moment(first, hour)
        self.periods.append(
            Begun(self.segment, self.number, first, self.paid_until, since, self.turn, self.fee)
        )
        self.number += 1

    def take(self, event: Event) -> None:
        """What they do; what cannot be done changes nothing."""
        if event.action is Action.CANCEL:
            self.cancelled, self.active = True, False
        elif event.action is Action.PAUSE:
            self.active = False
        elif event.action is Action.RESUME and not self.active and not self.cancelled:
            self._go_on(event.day, self.segment + 1)
        elif event.action is Action.SUBSCRIBE and self.cancelled:
            self.cancelled, self.turn, self.fee = False, self.turn + 1, event.fee or self.fee
            self.segment = 1
            self._go_on(event.day, 1)

    def _go_on(self, day: dt.date, segment: int) -> None:
        """In the period that runs; where none does, one begins in ``segment``, counted anew."""
        self.active = True
        if day >= self.paid_until:
            self.segment, self.number = segment, 0
            self.anchor = self.paid_until = day
            self.begin(NOON)


# -- money -----------------------------------------------------------------------------------------
def rate_of(rates: Iterable[tuple[dt.date, Decimal]], day: dt.date) -> Decimal:
    """Percent in force on a day: of the rates that had begun, the newest."""
    newest: tuple[dt.date, Decimal] | None = None
    for since, percent in rates:
        if since <= day and (newest is None or since > newest[0]):
            newest = since, percent
    if newest is None:
        raise LookupError(f"no rate on {day}")
    return newest[1]


def taxed(fee: Decimal, percent: Decimal, *, home: bool) -> Tax:
    """GST on top of ``fee``: two equal halves at home, one amount elsewhere; half a paisa is up."""
    if home:
        half = (fee * (percent / 2) / 100).quantize(PAISA, ROUND_HALF_UP)
        return Tax(half, half, NOTHING)
    return Tax(NOTHING, NOTHING, (fee * percent / 100).quantize(PAISA, ROUND_HALF_UP))


def earned(bill: Bill, through: dt.date) -> Decimal:
    """Revenue by the end of ``through``: by days, floored to the paisa, all of it on the last."""
    days = over = 0
    day = bill.first
    while day < bill.after:
        days += 1
        over += day <= through
        day += ONE_DAY
    if over == days:
        return bill.taxable
    return (bill.taxable * over / days).quantize(PAISA, ROUND_DOWN)


# -- invoices --------------------------------------------------------------------------------------
def taken_by(period: Begun, runs: Sequence[RunDay]) -> RunDay | None:
    """The first run that comes after a period has begun and was asked for its day."""
    for run in runs:
        if run.at >= period.since and run.as_of >= period.first:
            return run
    return None


def bills(portfolio: Portfolio) -> list[Bill]:
    """Every invoice of a portfolio, by subscription, turn, segment and period."""
    issued: list[Bill] = []
    runs = sorted(portfolio.runs, key=lambda run: run.at)
    for place, followed in enumerate(portfolio.subscriptions):
        if not followed.live or followed.fee == 0 or not followed.place_of_supply:
            continue
        for period in begun(followed, portfolio.last):
            run = taken_by(period, runs)
            if run is None:
                continue
            rate = rate_of(portfolio.rates, period.first)
            tax = taxed(period.fee, rate, home=followed.place_of_supply == portfolio.home)
            issued.append(
                Bill(
                    place,
                    period.turn,
                    period.segment,
                    period.number,
                    period.first,
                    period.after,
                    period.fee,
                    rate,
                    *tax,
                    period.fee + sum(tax),
                    issued_on=run.at.day,
                    needs_review=period.after <= run.at.day,
                )
            )
    return issued


def balances(issued: Iterable[Bill], through: dt.date) -> Mapping[str, Decimal]:
    """What the books have to say, debit positive, when all is earned by ``through``.

    ``receivable:<place>`` is the account of the customer of that subscription.
    """
    sums: dict[str, Decimal] = {}

    def add(account: str, amount: Decimal) -> None:
        sums[account] = sums.get(account, NOTHING) + amount

    for bill in issued:
        revenue = earned(bill, through)
        add(f"receivable:{bill.subscription}", bill.total)
        add("gst_output:cgst", -bill.cgst)
        add("gst_output:sgst", -bill.sgst)
        add("gst_output:igst", -bill.igst)
        add("revenue", -revenue)
        add("deferred_revenue", revenue - bill.taxable)
    return {account: amount for account, amount in sums.items() if amount}


def numbered(issued: Iterable[Bill]) -> Mapping[str, int]:
    """How many invoices each financial year has: its numbers are 1 to n."""
    counts: dict[str, int] = {}
    for bill in issued:
        year = fiscal_year(bill.issued_on)
        counts[year] = counts.get(year, 0) + 1
    return counts
