"""``manage.py check_ledger``: the trial balance beside sums made by hand, and the exit status."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal

import pytest
from django.core.management import call_command

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from subscriptions.billing.models import BillingSegment, Invoice, LedgerCheck
from subscriptions.billing.tests.factories import AWAY, bill, follow, load_billing, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def today() -> dt.date:
    """Two invoices of today: one within the state, paid with 100.00 too much, one across."""
    load_billing()
    load_reference_data()
    day = clock.ist_date(clock.now())
    template, partner = make_template(), make_partner()
    follow(template, partner, [day], fee=999)
    follow(template, partner, [day], fee=Decimal("1499.50"), state=AWAY)
    bill(day, now=clock.now())
    pay(Invoice.objects.get(taxable=999), Decimal("1278.82"))
    return day


def check_ledger(*arguments: str) -> tuple[str, int]:
    """What it said, and its exit status."""
    out = io.StringIO()
    try:
        call_command("check_ledger", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), int(end.code or 0)
    return out.getvalue(), 0


def test_the_trial_balance(today: dt.date) -> None:
    text, status = check_ledger("--json")
    said = json.loads(text)
    assert status == 0
    assert (said["ok"], said["findings"]) == (True, [])
    assert (said["ledger_sum"], said["unbalanced_transactions"]) == ("0.00", 0)
    assert (said["invoices"], said["transactions"]) == (2, 4)
    lines = {
        name: (line["kind"], line["accounts"], line["debit"], line["credit"], line["balance"])
        for name, line in said["trial_balance"].items()
    }
    assert lines == {
        "gateway_clearing": ("ASSET", 1, "1278.82", "0.00", "1278.82"),
        "receivable": ("ASSET", 2, "2948.23", "1178.82", "1769.41"),
        "customer_credit": ("LIABILITY", 1, "0.00", "100.00", "-100.00"),
        "deferred_revenue": ("LIABILITY", 1, "0.00", "2498.50", "-2498.50"),
        "gst_output": ("LIABILITY", 3, "0.00", "449.73", "-449.73"),
        "partner_payable_pending": ("LIABILITY", 1, "0.00", "299.70", "-299.70"),
        "revshare_expense": ("EXPENSE", 1, "299.70", "0.00", "299.70"),
    }
    assert LedgerCheck.objects.get().ok


def test_in_words_for_people(today: dt.date) -> None:
    text, status = check_ledger()
    assert status == 0
    assert f"{'receivable':<26}{'2948.23':>18}{'1178.82':>18}{'1769.41':>18}" in text
    assert "of 4 transactions add up to 0.00; 2 invoices" in text
    assert text.endswith("Every check passed.\n")


def test_wrong_books_are_named_and_end_it_with_a_1() -> None:
    load_billing()
    load_reference_data()
    day = clock.ist_date(clock.now())
    (subscription,) = follow(make_template(), make_partner(), [day])
    bill(day, now=clock.now())
    # what no lifecycle writes: the same month once more
    BillingSegment.objects.create(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        subscription=subscription,
        number=2,
        anchor=day,
        stop_on=day,
        next_on=day,
    )
    bill(day, now=clock.now())
    text, status = check_ledger("--json")
    assert status == 1
    (finding,) = json.loads(text)["findings"]
    # clients/demo knows it by these words
    assert finding["what"] == "periods of a subscription overlap"
    text, status = check_ledger()
    assert status == 1
    assert "WRONG: periods of a subscription overlap (1)" in text
    assert "Every check passed" not in text


def test_empty_books_hold() -> None:
    text, status = check_ledger("--json")
    assert status == 0
    assert json.loads(text)["trial_balance"] == {}
    assert json.loads(text)["ledger_sum"] == "0.00"
