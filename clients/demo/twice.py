"""Persons who are customers of two partners with one account, and what they trade. Pure.

Both partners use the same client id at the same broker. What such a person's strategy at the first
partner sells, their strategy at the second one buys: the same contract, the same quantity, at the
same second. The broker sees one account that is flat in between, and 24 orders where ten per second
are allowed. The first run exits by its stop, when the market moves; the second one at its own exit
time.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from clients.demo.story import ZEBU, ZERODHA, Customer, Hours, Leg, Plan, Story

FIRST: Final = "zebu"  # the partner of all other customers
SECOND: Final = "second"

#: 2,340 units: the freeze quantity alone would make it two orders, these persons' own limit makes
#: it twelve. Both runs together take three seconds at the pace of one account.
LOTS: Final = 36
LOTS_AN_ORDER: Final = 3

#: Among all other orders one could not tell how late an order was read, so the two runs enter and
#: exit when those are over. In between the market moves for all.
ENTERS_AFTER: Final = dt.timedelta(seconds=6)
LEAVES_AFTER: Final = dt.timedelta(seconds=4)

SELLS: Final = Plan(
    key="sells",
    name="NIFTY Call Sold",
    description="Sells the call at the money, with a stop of 15 % of its premium.",
    legs=(Leg("SELL", "CE", 0, LOTS),),
    fee=Decimal(0),
    stop_percent="15",
)
BUYS: Final = Plan(
    key="buys",
    name="NIFTY Call Bought",
    description="Buys the call at the money and holds it until the exit time.",
    legs=(Leg("BUY", "CE", 0, LOTS),),
    fee=Decimal(0),
)


@dataclass(frozen=True)
class Twin(Customer):
    """The person as a customer of one of the two partners, whose own app makes the logins."""

    partner: str = FIRST

    @property
    def api_key(self) -> str:
        """The partner's app at this person's broker."""
        return f"{self.partner}{self.number:04d}"


@dataclass(frozen=True)
class Half:
    """What one person trades at one partner."""

    customer: Twin
    plan: Plan

    @property
    def name(self) -> str:
        """The name in the report."""
        return f"{self.customer.client_id} {self.plan.key} at {self.customer.partner}"

    @property
    def leg(self) -> Leg:
        """The only leg."""
        return self.plan.legs[0]

    @property
    def is_stopped(self) -> bool:
        """Whether it exits by its stop, before its exit time."""
        return bool(self.plan.stop_percent)


def _half(number: int, broker: str, partner: str, plan: Plan) -> Half:
    twin = Twin(number, broker, Decimal(1), max_lots_per_order=LOTS_AN_ORDER, partner=partner)
    return Half(twin, plan)


#: By the hash of the client ids their accounts are in shards 7 and 2 of 8: two executors that
#: divide the shards have one account each.
HALVES: Final = tuple(
    _half(number, broker, partner, plan)
    for number, broker in ((9001, ZEBU), (9003, ZERODHA))
    for partner, plan in ((FIRST, SELLS), (SECOND, BUYS))
)
ACCOUNTS: Final = tuple(
    dict.fromkeys((half.customer.broker, half.customer.client_id) for half in HALVES)
)
CLIENTS: Final = frozenset(client_id for _, client_id in ACCOUNTS)


def entry_at(story: Story) -> dt.datetime:
    """The second at which both runs enter."""
    return story.entry_at + ENTERS_AFTER


def exit_at(story: Story) -> dt.datetime:
    """The second at which everything exits that is still open."""
    return story.exit_at + LEAVES_AFTER


def hours(story: Story, plan: Plan) -> Hours:
    """The hours of either strategy."""
    return Hours(plan.name, entry_at(story).time(), exit_at(story).time())
