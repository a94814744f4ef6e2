"""The month's arithmetic, beside numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from clients.demo.checks import judge
from clients.demo.money import (
    PAYING,
    Settled,
    bill,
    bills,
    commission,
    payments,
    settled,
)
from clients.demo.story import CANCELLED, OTHER_STATE, PAUSED, PLANS, make_story
from clients.demo.tests.days import PerfectDay
from clients.demo.tests.months import books_not_read, one_is_forgotten

CONDOR, STRADDLE = PLANS
STORY = make_story(24, 8)
AT_HOME = STORY.customers[0]
ACROSS = STORY.customers[3]


def test_tax_within_the_state_and_across() -> None:
    at_home = bill(AT_HOME, CONDOR)
    assert (at_home.cgst, at_home.sgst, at_home.igst) == (
        Decimal("89.91"),
        Decimal("89.91"),
        Decimal(0),
    )
    assert at_home.total == Decimal("1178.82")
    # 9 % of 1499.50 is 134.955: both halves are rounded up, the whole is not
    assert bill(AT_HOME, STRADDLE).total == Decimal("1769.42")
    assert ACROSS.state == OTHER_STATE
    assert bill(ACROSS, STRADDLE).igst == Decimal("269.91")
    assert bill(ACROSS, STRADDLE).total == Decimal("1769.41")


def test_everybody_is_billed_who_pauses_and_who_cancels_too() -> None:
    billed = bills(STORY)
    assert [owed.key for owed in billed] == [(c.email, p.key) for c, p in STORY.subscriptions()]
    assert {PAUSED, CANCELLED} <= {owed.customer.absent for owed in billed}
    assert {bool(owed.igst) for owed in billed} == {True, False}


@pytest.mark.parametrize(
    ("paid", "earned"),
    [
        ("1178.82", "274.72"),  # 27.5 % of 999.00 is 274.725
        ("392.94", "91.57"),  # a third: 27.5 % of 333.00 is 91.575
        ("400.01", "93.22"),  # of 338.99 (338.9931...): 93.22 (93.2222...)
        ("0.00", "0.00"),
        ("0.01", "0.00"),
    ],
)
def test_commission_on_what_is_paid(paid: str, earned: str) -> None:
    assert commission(bill(AT_HOME, CONDOR), Decimal(paid)) == Decimal(earned)


def test_the_payments_are_of_all_kinds() -> None:
    came = payments(STORY)
    assert len({payment.reference for payment in came}) == len(came) == PAYING + PAYING // 8
    assert [payment.again for payment in came] == [True] + [False] * (len(came) - 1)
    after = settled(STORY)
    kinds = [after[owed.key] for owed in bills(STORY)[:8]]
    assert kinds[0] == Settled(
        Decimal("1178.82"), Decimal("0.00"), Decimal("0.00"), Decimal("274.72")
    )
    assert [settlement.status for settlement in kinds] == ["PAID", "PARTLY_PAID"] + ["PAID"] * 6
    assert kinds[1].outstanding == Decimal("1179.62")  # 1769.42 less 589.80
    assert [settlement.excess for settlement in kinds] == [
        Decimal(100) if n == 3 else 0 for n in range(8)
    ]
    rest = [after[owed.key] for owed in bills(STORY)[PAYING:]]
    assert {(settlement.status, settlement.paid, settlement.earned) for settlement in rest} == {
        ("DUE", Decimal(0), Decimal(0))
    }


def test_two_parts_earn_what_the_whole_does() -> None:
    parts = [payment for payment in payments(STORY) if payment.reference.startswith("UTR0005")]
    owed = parts[0].bill
    assert sum(payment.amount for payment in parts) == owed.total
    assert settled(STORY)[owed.key].earned == commission(owed, owed.total)


# -- what turns more than one check false, and rightly ---------------------------------------------
def failing(day: PerfectDay) -> set[str]:
    return {name for name, holds in judge(STORY, day.evidence).checks.items() if not holds}


def test_without_the_ledger_nothing_that_needs_it_holds() -> None:
    day = PerfectDay(STORY)
    books_not_read(day.evidence)
    assert failing(day) == {"ledger_balances", "payments_settle", "commission_matches"}
    day.evidence.month.books_billed = None
    assert "receivable_matches" in failing(day)


def test_an_invoice_that_is_missing_is_missed() -> None:
    day = PerfectDay(STORY)
    one_is_forgotten(day.evidence)
    assert failing(day) == {"billed_once"}


def test_an_empty_month_holds_nothing() -> None:
    day = PerfectDay(STORY)
    day.evidence.month = replace(day.evidence.month, runs=(), billed=(), invoices=())
    assert {"billed_once", "receivable_matches", "payments_settle"} <= failing(day)
