"""The month's money according to the story: invoices, payments, commission. Pure.

The demo computes it from the story alone, independently of the platform's code: the two have to
agree to the paisa. Rupees are Decimals with two places.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Final

from clients.demo.story import (
    DAY,
    GST_PERCENT,
    HOME_STATE,
    PARTNER_BPS,
    Customer,
    Plan,
    Story,
)

PAISA: Final = Decimal("0.01")
ZERO: Final = Decimal("0.00")
PERIOD_END: Final = dt.date(DAY.year, DAY.month + 1, DAY.day)  # the first day after it
PAYING: Final = 20  # how many of the first invoices are paid
TOO_MUCH: Final = Decimal("100.00")
FIRST_PART: Final = Decimal("400.01")
PairKey = tuple[str, str]  # customer's e-mail, strategy's key


@dataclass(frozen=True)
class Bill:
    """The invoice that one subscription must get, whatever happened to it during the day."""

    customer: Customer
    plan: Plan
    taxable: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal

    @property
    def key(self) -> PairKey:
        """Its customer and strategy."""
        return self.customer.email, self.plan.key

    @property
    def total(self) -> Decimal:
        """Rupees, including tax."""
        return self.taxable + self.cgst + self.sgst + self.igst


@dataclass(frozen=True)
class Payment:
    """Money received for an invoice. ``again``: staff send the same form a second time."""

    bill: Bill
    amount: Decimal
    reference: str
    again: bool = False


def bill(customer: Customer, plan: Plan) -> Bill:
    """Within the supplier's state two rounded halves of the tax; elsewhere all of it as IGST."""
    if customer.state == HOME_STATE:
        half = _rounded(plan.fee * GST_PERCENT / 200)
        return Bill(customer, plan, plan.fee, half, half, ZERO)
    return Bill(customer, plan, plan.fee, ZERO, ZERO, _rounded(plan.fee * GST_PERCENT / 100))


def bills(story: Story) -> list[Bill]:
    """One per subscription: a paused or cancelled one had begun its first month."""
    return [bill(customer, plan) for customer, plan in story.subscriptions()]


def payments(story: Story) -> list[Payment]:
    """Payments in order: most in full, some in part, in two parts, or too much."""
    return [
        payment
        for number, owed in enumerate(bills(story)[:PAYING])
        for payment in _payments_of(number, owed)
    ]


def _payments_of(number: int, owed: Bill) -> Iterator[Payment]:
    name = f"UTR{number:04d}"
    if number % 8 == 1:
        yield Payment(owed, _floored(owed.total / 3), name)
    elif number % 8 == 3:
        yield Payment(owed, owed.total + TOO_MUCH, name)
    elif number % 8 == 5:
        yield Payment(owed, FIRST_PART, f"{name}A")
        yield Payment(owed, owed.total - FIRST_PART, f"{name}B")
    else:
        yield Payment(owed, owed.total, name, again=number == 0)


@dataclass(frozen=True)
class Settled:
    """An invoice after all payments. ``earned``: the partner's commission on it."""

    paid: Decimal
    excess: Decimal
    outstanding: Decimal
    earned: Decimal

    @property
    def status(self) -> str:
        """The status as the API names it."""
        if not self.outstanding:
            return "PAID"
        return "PARTLY_PAID" if self.paid else "DUE"


def settled(story: Story) -> Mapping[PairKey, Settled]:
    """Every invoice after the payments."""
    came: dict[PairKey, Decimal] = defaultdict(lambda: ZERO)
    for payment in payments(story):
        came[payment.bill.key] += payment.amount
    by_key = {}
    for owed in bills(story):
        paid = min(came[owed.key], owed.total)
        by_key[owed.key] = Settled(
            paid=paid,
            excess=came[owed.key] - paid,
            outstanding=owed.total - paid,
            earned=commission(owed, paid),
        )
    return by_key


def commission(owed: Bill, paid: Decimal) -> Decimal:
    """The partner's part of what is paid of an invoice.

    The paid share of the value before tax, rounded down to the paisa; of that the partner's share,
    again rounded down. The platform keeps the rest.
    """
    value = owed.taxable if paid == owed.total else _floored(owed.taxable * paid / owed.total)
    return _floored(value * PARTNER_BPS / 10_000)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(PAISA, ROUND_HALF_UP)


def _floored(amount: Decimal) -> Decimal:
    return amount.quantize(PAISA, ROUND_DOWN)
