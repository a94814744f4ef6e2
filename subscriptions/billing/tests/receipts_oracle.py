"""The second biller's money: receipts over the bills of one customer, and banks that take one back.

Written from docs/billing.md to be compared with what allocations and reversals leave in the books.
It walks through the days and keeps, of each bill, who has paid what; nothing of billing's is used.
Rupees; dates IST. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Final

from subscriptions.billing.tests.portfolios_oracle import NOTHING, PAISA, Bill

#: Money comes after the day's last run, and goes back after it came.
COMES: Final = 19
GOES: Final = 20


@dataclass(frozen=True, slots=True)
class Came:
    """Money of the customer of one subscription (its place in the portfolio); ``back``: the day on
    which the bank took it back, if it did.
    """

    place: int
    day: dt.date
    amount: Decimal
    back: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """What the books have to say of it, by account (debit positive), and what each bill got."""

    accounts: Mapping[str, Decimal]
    paid: Mapping[tuple[int, int, int, int], Decimal]


def settled(
    issued: Iterable[Bill], came: Sequence[Came], payees: Sequence[int], share: Decimal
) -> Money:
    """All receipts in the order of their days, each over the oldest bills that are open by then.

    ``payees``: for each subscription who shares in it (0: nobody) with ``share`` percent. Money
    that goes back leaves every bill as if it had never come; what came later stays where it is.
    """
    bills = sorted(issued, key=lambda bill: (bill.issued_on, bill.first))
    holds: dict[int, dict[tuple[int, int, int, int], Decimal]] = {}
    days = [(transfer.day, COMES, number) for number, transfer in enumerate(came)]
    days += [
        (transfer.back, GOES, number)
        for number, transfer in enumerate(came)
        if transfer.back is not None
    ]
    for day, what, number in sorted(days):
        if what == GOES:
            del holds[number]
            continue
        transfer, left = came[number], came[number].amount
        parts: dict[tuple[int, int, int, int], Decimal] = {}
        for bill in bills:
            if bill.subscription != transfer.place or bill.issued_on > day:
                continue
            owes = bill.total - sum(
                (held.get(bill[:4], NOTHING) for held in holds.values()), NOTHING
            )
            if owes > 0 and left > 0:
                parts[bill[:4]] = min(owes, left)
                left -= parts[bill[:4]]
        holds[number] = parts
    return _written(bills, came, holds, payees, share)


def _written(
    bills: Sequence[Bill],
    came: Sequence[Came],
    holds: Mapping[int, Mapping[tuple[int, int, int, int], Decimal]],
    payees: Sequence[int],
    share: Decimal,
) -> Money:
    accounts: dict[str, Decimal] = {}
    paid: dict[tuple[int, int, int, int], Decimal] = {}

    def add(account: str, amount: Decimal) -> None:
        accounts[account] = accounts.get(account, NOTHING) + amount

    for number, parts in holds.items():
        transfer = came[number]
        add("gateway_clearing:manual", transfer.amount)
        add(f"customer_credit:{transfer.place}", sum(parts.values(), NOTHING) - transfer.amount)
        for key, amount in parts.items():
            paid[key] = paid.get(key, NOTHING) + amount
            add(f"receivable:{transfer.place}", -amount)
    for bill in bills:
        payee, got = payees[bill.subscription], paid.get(bill[:4], NOTHING)
        if payee and got:
            value = bill.taxable if got == bill.total else _floored(bill.taxable * got / bill.total)
            earned = _floored(value * share / 100)
            add("revshare_expense", earned)
            add(f"partner_payable_pending:{payee}", -earned)
    return Money({name: amount for name, amount in accounts.items() if amount}, paid)


def _floored(amount: Decimal) -> Decimal:
    return amount.quantize(PAISA, ROUND_DOWN)
