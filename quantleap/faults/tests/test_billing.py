"""Each fault of billing changes what it names: what the database refuses, it refuses; where it is
told to let it pass, a question of the proof finds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.faults.catalogue import FAULTS
from subscriptions import services
from subscriptions.billing.errors import ReceiptExists
from subscriptions.billing.ledger import checks
from subscriptions.billing.ledger.trial_balance import trial_balance
from subscriptions.billing.models import (
    AccountBalance,
    BillingRun,
    Invoice,
    LedgerEntry,
    Receipt,
)
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    credit,
    follow,
    follow_again,
    load_billing,
    noon,
    receive,
)
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL: Final = Decimal("1178.82")
LATER: Final = START + dt.timedelta(days=9)
#: The functions of the database that one or another fault tells to judge nothing.
JUDGES: Final = (
    "billing_judge_entries",
    "billing_days_once",
    "billing_reference_is_free",
    "billing_receipt_adds_up",
)


def judges() -> list[str]:
    """Their definitions as they are now."""
    definitions = []
    with connection.cursor() as cursor:
        for name in JUDGES:
            cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [name])
            definitions.append(str(cursor.fetchone()[0]))
    return definitions


def define(*definitions: str) -> None:
    """Replace functions of the database, as the role that may."""
    target, role = connection.settings_dict, django_settings.QUANTLEAP_OWNER_DATABASE
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
    ) as owner:
        for definition in definitions:
            owner.execute(definition.encode())


@pytest.fixture(autouse=True)
def judges_come_back(transactional_db: None) -> Iterator[None]:
    """Whatever became of them: afterwards they are what the migrations made."""
    before = judges()
    yield
    define(*before)
    assert judges() == before


@pytest.fixture
def moved_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that is thrown away."""
    monkeypatch.setattr(clock, "offset_seconds", lambda: -3600.0)


@pytest.fixture
def two(transactional_db: None) -> list[Subscription]:
    """Two customers' subscriptions, not billed yet."""
    load_billing()
    load_reference_data()
    return follow(make_template(), make_partner(), [START, START])


def migrate() -> None:
    """As the installation of a control is set up."""
    call_command("migrate", "billing", verbosity=0)


def findings(day: dt.date = START) -> dict[str, int]:
    """What the proof finds, and how often."""
    return {
        finding["what"]: finding["count"] for finding in checks.check_ledger(now=noon(day)).findings
    }


# -- runs ------------------------------------------------------------------------------------------
def test_bill_twice_makes_one_month_due_once_more(two: list[Subscription]) -> None:
    with FAULTS["bill_twice"].planted():
        assert bill(START).invoices == 3
        assert bill(START).invoices == 0
    assert findings() == {"periods of a subscription overlap": 1}


def test_without_bill_twice_each_month_is_billed_once(two: list[Subscription]) -> None:
    assert (bill(START).invoices, bill(START).invoices) == (2, 0)
    assert findings() == {}


def test_unbalanced_entry_is_refused_by_the_database(two: list[Subscription]) -> None:
    with (
        FAULTS["unbalanced_entry"].planted(),
        pytest.raises(DatabaseError, match=r"out of balance by -0\.01"),
    ):
        bill(START)
    assert "out of balance" in BillingRun.objects.get().error
    assert not Invoice.objects.exists()
    assert bill(START).invoices == 2


def test_unbalanced_entry_is_found_by_the_proof(two: list[Subscription], moved_clock: None) -> None:
    with FAULTS["unbalanced_entry"].planted():
        migrate()
        assert bill(START).invoices == 2
    books = trial_balance()
    assert (books.sum, books.unbalanced) == (Decimal("-0.01"), 1)
    assert {line.name: line.balance for line in books.lines}["receivable"] == 2 * TOTAL
    assert findings() == {
        "entries of a transaction do not add up to 0": 1,
        "deferred revenue differs from what the invoices have not earned": 1,
    }
    # Everything else is as ever: the invoices, and balances that follow the entries.
    assert set(Invoice.objects.values_list("taxable", flat=True)) == {Decimal("999.00")}
    held = AccountBalance.objects.values_list("balance", flat=True)
    assert sum(held) == sum(LedgerEntry.objects.values_list("amount", flat=True)) != 0


def leave_and_come_back(subscription: Subscription) -> None:
    """On one day."""
    leave: dict[str, Any] = {"actor": SYSTEM, "reason": "USER", "now": noon(START)}
    services.cancel(subscription_id=subscription.pk, **leave)
    follow_again(subscription, START)


def test_begin_again_is_refused_by_the_database(two: list[Subscription]) -> None:
    with (
        FAULTS["begin_again"].planted(),
        pytest.raises(IntegrityError, match="has begun"),
    ):
        leave_and_come_back(two[0])


def test_begin_again_is_found_by_the_proof(two: list[Subscription], moved_clock: None) -> None:
    """The days of one customer and template in two subscriptions."""
    with FAULTS["begin_again"].planted():
        migrate()
        leave_and_come_back(two[0])
    assert bill(START).invoices == 3
    (finding,) = checks.check_ledger(now=noon(START)).findings
    assert finding["what"] == (
        "two subscriptions of one customer and template are invoiced for the same day"
    )
    assert (finding["count"], "2026-01-31" in finding["examples"][0]) == (1, True)
    credit(two[0].invoices.get(), TOTAL)
    assert findings() == {}, "what was credited may be begun again"


# -- receipts and reversals ------------------------------------------------------------------------
def one_transfer_for_two() -> None:
    for invoice in Invoice.objects.order_by("id"):
        receive({invoice: TOTAL}, reference="UTR6123")


def too_much() -> None:
    receive({Invoice.objects.earliest("id"): TOTAL}, amount=TOTAL + 100)


def taken_back() -> None:
    bounce(receive({Invoice.objects.earliest("id"): TOTAL}), LATER)


def found_after(fault: str, act: Callable[[], None]) -> dict[str, int]:
    """What the proof finds of two invoices, something done, and a database that judges nothing."""
    bill(START)
    with FAULTS[fault].planted():
        migrate()
        act()
    return findings(LATER)


def test_receipt_twice_is_found_by_the_proof(two: list[Subscription], moved_clock: None) -> None:
    reported = found_after("receipt_twice", one_transfer_for_two)
    assert "reference of a rail that names more than one receipt" in reported


def test_receipt_short_is_found_by_the_proof(two: list[Subscription], moved_clock: None) -> None:
    reported = found_after("receipt_short", too_much)
    assert "receipt differs from its payments and its credit" in reported


def test_reversal_earns_is_found_by_the_proof(two: list[Subscription]) -> None:
    reported = found_after("reversal_earns", taken_back)
    assert "reversed money that still pays an invoice, or earns a commission" in reported


def test_reversal_beside_is_found_by_the_proof(two: list[Subscription]) -> None:
    reported = found_after("reversal_beside", taken_back)
    assert "reversal that does not mirror the posting that it takes back" in reported


@pytest.mark.parametrize("act", [too_much, taken_back], ids=["too much", "taken back"])
def test_without_a_fault_the_proof_finds_nothing(
    two: list[Subscription], act: Callable[[], None]
) -> None:
    bill(START)
    act()
    assert findings(LATER) == {}


@pytest.mark.parametrize(
    ("fault", "act", "refused"),
    [
        ("receipt_twice", one_transfer_for_two, "is being recorded by somebody else"),
        ("receipt_short", too_much, "is not its credit"),
    ],
    ids=["receipt_twice", "receipt_short"],
)
def test_the_database_refuses_what_it_can_of_a_receipt(
    two: list[Subscription], fault: str, act: Callable[[], None], refused: str
) -> None:
    bill(START)
    with (
        FAULTS[fault].planted(),
        pytest.raises((IntegrityError, ReceiptExists), match=refused),
    ):
        act()
    assert Receipt.objects.count() <= 1


# -- what the database refuses ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "fault", ["unbalanced_entry", "begin_again", "receipt_twice", "receipt_short"]
)
def test_judges_stay_where_the_clock_is_the_real_one(fault: str) -> None:
    before = judges()
    with FAULTS[fault].planted():
        migrate()
    assert judges() == before


@pytest.mark.parametrize("fault", ["bill_twice", "reversal_earns", "reversal_beside"])
def test_judges_stay_where_they_refuse_nothing_of_a_fault(fault: str, moved_clock: None) -> None:
    before = judges()
    with FAULTS[fault].planted():
        migrate()
    migrate()
    assert judges() == before


def test_a_judge_that_judges_otherwise_is_noticed(moved_clock: None) -> None:
    """A migration rewrote it: the control would have shown the database, and not the proof."""
    define(judges()[0].replace("sum(amount) <> 0", "sum(amount) != 0"))
    with (
        FAULTS["unbalanced_entry"].planted(),
        pytest.raises(LookupError, match="billing_judge_entries"),
    ):
        migrate()
