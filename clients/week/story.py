"""The week: its days, who trades what, what happens to whom, and the outcome that follows. Pure.

Five trading days of September 2026 from a SENSEX expiry to the next one, with a weekend and a
holiday between the second and the third. Times are IST.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from clients.demo.story import ZEBU, ZERODHA, Customer, Hours, Leg, Plan

HOLIDAY: Final = dt.date(2026, 9, 14)  # Ganesh Chaturthi
DAYS: Final = tuple(dt.date(2026, 9, day) for day in (10, 11, 15, 16, 17))
EXPIRIES: Final = {DAYS[0]: "SENSEX", DAYS[2]: "NIFTY", DAYS[4]: "SENSEX"}

#: The times of a day that are played; the clock jumps over the rest.
LISTS_FROM: Final = dt.time(8, 40)
ENTRY: Final = dt.time(9, 20, 0)
BY_HAND: Final = dt.time(10, 30)
DEPLOY: Final = dt.time(11, 0)
NOON: Final = dt.time(12, 0)
EXIT: Final = dt.time(15, 14, 0)
EVENING: Final = dt.time(15, 45)
RESTART: Final = dt.time(0, 10)
#: Strategies enter and exit one after the other, so that opposite orders of one account never rest
#: in the book together: the exchange would cancel an order that matches one of the same owner.
APART: Final = dt.timedelta(seconds=2)


def after(wall: dt.time, seconds: float) -> dt.time:
    """A wall-clock time ``seconds`` later (or earlier) on the same day."""
    return (dt.datetime.combine(DAYS[0], wall) + dt.timedelta(seconds=seconds)).time()


def _hours(name: str, place: int) -> Hours:
    shift = place * APART.total_seconds()
    return Hours(name, after(ENTRY, shift), after(EXIT, shift))


@dataclass(frozen=True)
class Offer:
    """A plan with its hours."""

    plan: Plan
    hours: Hours


def _straddle(side: str) -> tuple[Leg, ...]:
    return (Leg(side, "CE", 0, 1), Leg(side, "PE", 0, 1))


SELLS: Final = Offer(
    Plan("sells", "Week: NIFTY sold", "Sells call and put.", _straddle("SELL"), Decimal(499)),
    _hours("Sold straddle", 0),
)
BUYS: Final = Offer(
    Plan(
        "buys",
        "Week: NIFTY bought",
        "Buys call and put, each with a stop.",
        _straddle("BUY"),
        Decimal(499),
        stop_percent="60",
    ),
    _hours("Bought straddle", 1),
)
SENSEX: Final = Offer(
    Plan(
        "sensex",
        "Week: SENSEX condor",
        "Sells one strike away from the money, hedged two further out.",
        (
            Leg("BUY", "CE", 3, 1),
            Leg("BUY", "PE", 3, 1),
            Leg("SELL", "CE", 1, 1),
            Leg("SELL", "PE", 1, 1),
        ),
        Decimal(499),
        underlying="SENSEX",
    ),
    _hours("SENSEX condor", 2),
)
OFFERS: Final = (SELLS, BUYS, SENSEX)

FIRST: Final = "zebu"  # the partner in every local installation
SECOND: Final = "second"
PARTNERS: Final = (FIRST, SECOND)


@dataclass(frozen=True)
class Follower:
    """One customer of one partner, and the strategies that they follow."""

    customer: Customer
    partner: str
    offers: tuple[Offer, ...]

    @property
    def name(self) -> str:
        """The name in the report."""
        return f"{self.customer.client_id} at {self.partner}"


def _customer(number: int, broker: str) -> Customer:
    return Customer(number, broker, Decimal(1))


#: In order: sold; sold and bought in one account; squares off by hand; two indices; forgets the
#: first login; the same person and account at two partners, in opposite strategies; cannot exit on
#: the fourth day.
TWICE: Final = _customer(6, ZEBU)
HAND: Final = _customer(3, ZERODHA)
LATE: Final = _customer(5, ZEBU)
STUCK: Final = _customer(7, ZERODHA)
FOLLOWERS: Final = (
    Follower(_customer(1, ZEBU), FIRST, (SELLS,)),
    Follower(_customer(2, ZEBU), FIRST, (SELLS, BUYS)),
    Follower(HAND, FIRST, (SELLS,)),
    Follower(_customer(4, ZERODHA), FIRST, (SELLS, SENSEX)),
    Follower(LATE, FIRST, (SENSEX,)),
    Follower(TWICE, FIRST, (SELLS,)),
    Follower(TWICE, SECOND, (BUYS,)),
    Follower(STUCK, FIRST, (SELLS,)),
)


@dataclass(frozen=True)
class Day:
    """One trading day and its unusual events."""

    date: dt.date
    late_riser: bool = False
    hand_trade: bool = False
    deploy: bool = False
    stuck: bool = False
    #: The executor is restarted at 00:10 of this day.
    restart: bool = False

    @property
    def number(self) -> int:
        """The day's number, 1 to 5."""
        return DAYS.index(self.date) + 1

    @property
    def expiry(self) -> str:
        """The index whose weekly options end today, or ''."""
        return EXPIRIES.get(self.date, "")

    def excused(self, follower: Follower) -> str:
        """The cause that the story gives for a follower's day, or ''."""
        if self.late_riser and follower.customer is LATE:
            return "SESSION_EXPIRED"
        if self.hand_trade and follower.customer is HAND:
            return "CLOSED_OUTSIDE"
        if self.stuck and follower.customer is STUCK:
            return "SESSION_OVER"
        return ""


WEEK: Final = (
    Day(DAYS[0], late_riser=True),
    Day(DAYS[1], hand_trade=True),
    Day(DAYS[2], deploy=True),
    Day(DAYS[3], stuck=True),
    Day(DAYS[4], restart=True),
)
#: CI's version: two mornings, so that one executor runs through a night.
SHORT: Final = (Day(DAYS[0], late_riser=True), Day(DAYS[1], hand_trade=True))


def followings() -> Iterator[tuple[Follower, Offer]]:
    """Every subscription of the week."""
    for follower in FOLLOWERS:
        for offer in follower.offers:
            yield follower, offer
