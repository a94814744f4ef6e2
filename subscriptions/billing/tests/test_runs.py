"""What one run makes: invoices, documents, postings, events; and what it leaves alone."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.customers import change_billing_details
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from quantleap.core.money import ZERO
from subscriptions.billing.errors import BillingNotConfigured, FutureDate
from subscriptions.billing.invoicing import documents
from subscriptions.billing.invoicing.amount_in_words import amount_in_words
from subscriptions.billing.invoicing.number_format import document_number
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.models import BillingRun, BillingSegment, Invoice, LedgerEntry, TaxRate
from subscriptions.billing.selectors import withheld
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    START,
    bill,
    days_of,
    follow,
    load_billing,
    noon,
)
from subscriptions.billing.tests.tax_oracle import tax
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template(name="Iron Condor")


@pytest.fixture
def partner() -> Partner:
    return make_partner("zebu")


def test_an_invoice_within_the_state(template: Template, partner: Partner) -> None:
    (subscription,) = follow(template, partner, [START])
    assert bill(START).invoices == 1
    invoice = Invoice.objects.get()
    assert (invoice.taxable, invoice.cgst, invoice.sgst, invoice.igst, invoice.total) == tuple(
        map(Decimal, ("999.00", "89.91", "89.91", "0.00", "1178.82"))
    )
    assert (invoice.fy, invoice.seq, invoice.number) == ("2025-26", 1, "QL25-00000001")
    assert (invoice.issued_on, invoice.due_on) == (START, START + dt.timedelta(days=7))
    assert (invoice.period_start, invoice.period_end) == (START, dt.date(2026, 2, 28))
    assert (invoice.status, invoice.needs_review, invoice.deferred) == ("DUE", False, True)
    customer = subscription.customer
    assert invoice.snapshot == {
        "version": 1,
        "number": "QL25-00000001",
        "issued_on": "2026-01-31",
        "due_on": "2026-02-07",
        "supplier": {
            "legal_name": "QuantLeap Technologies Private Limited",
            "address": "4th Floor, 12 Cathedral Road\nChennai 600086\nTamil Nadu, India",
            "gstin": "33AAACQ4821D1ZK",
            "state_code": "33",
            "state_name": "Tamil Nadu",
            "email": "billing@quantleap.example",
            "payment_details": "Bank transfer: account 000000123456, IFSC DEMO0000123\n"
            "UPI: billing@quantleap.example",
        },
        "customer": {
            "id": customer.public_id,
            "name": customer.name,
            "email": customer.email,
            "state_code": "33",
            "state_name": "Tamil Nadu",
        },
        "place_of_supply": {"code": "33", "name": "Tamil Nadu"},
        "reverse_charge": False,
        "subscription": subscription.public_id,
        "template": "Iron Condor",
        "lines": [
            {
                "description": "Iron Condor, monthly subscription",
                "sac": "997331",
                "period_start": "2026-01-31",
                "period_last": "2026-02-27",
                "quantity": 1,
                "taxable": "999.00",
            }
        ],
        "taxable": "999.00",
        "rate_pct": "18.00",
        "cgst": "89.91",
        "sgst": "89.91",
        "igst": "0.00",
        "total": "1178.82",
        "currency": "INR",
        "in_words": "Rupees One Thousand One Hundred Seventy-Eight and Eighty-Two Paise Only",
        "channel": "Zebu",
    }


def test_an_invoice_to_another_state_bears_igst(template: Template, partner: Partner) -> None:
    follow(template, partner, [START], state=AWAY)
    bill(START)
    invoice = Invoice.objects.get()
    assert (invoice.cgst, invoice.sgst, invoice.igst) == (ZERO, ZERO, Decimal("179.82"))
    assert invoice.snapshot["place_of_supply"] == {"code": "27", "name": "Maharashtra"}


def test_the_books_and_the_event_of_an_invoice(template: Template, partner: Partner) -> None:
    (subscription,) = follow(template, partner, [START])
    bill(START)
    invoice = Invoice.objects.get()
    entries = LedgerEntry.objects.values_list("transaction__idem_key", "account__code", "amount")
    key = f"invoice:{subscription.public_id}:1:0"
    assert set(entries) == {
        (key, f"receivable:{subscription.customer.public_id}", Decimal("1178.82")),
        (key, "deferred_revenue", Decimal("-999.00")),
        (key, "gst_output:cgst", Decimal("-89.91")),
        (key, "gst_output:sgst", Decimal("-89.91")),
    }
    assert posting.balance("deferred_revenue") == Decimal("-999.00")
    assert posting.balance_of("receivable") == invoice.total
    event = OutboxEvent.objects.get(type="invoice.issued")
    assert (event.partner_id, event.environment) == (partner.pk, "live")
    assert event.payload["invoice_id"] == invoice.public_id
    assert event.payload["total"] == 1178.82
    assert checks.check_ledger(now=noon(START)).findings == []


def test_a_second_run_makes_nothing(template: Template, partner: Partner) -> None:
    follow(template, partner, [START] * 3)
    assert bill(START).invoices == 3
    assert bill(START).invoices == 0
    assert Invoice.objects.count() == OutboxEvent.objects.filter(type="invoice.issued").count() == 3
    assert list(BillingRun.objects.values_list("invoices", flat=True)) == [0, 3]
    assert not BillingRun.objects.filter(finished_at__isnull=True).exists()


def test_chunks_follow_each_other(template: Template, partner: Partner) -> None:
    follow(template, partner, [START] * 7)
    chunks: list[int] = []
    assert bill(START, chunk=3, progress=chunks.append).invoices == 7
    assert chunks == [3, 3, 1]
    assert sorted(Invoice.objects.values_list("seq", flat=True)) == list(range(1, 8))


def test_runs_every_day_make_what_one_run_at_the_end_makes(
    template: Template, partner: Partner
) -> None:
    daily, late = follow(template, partner, [START, START])
    BillingSegment.objects.filter(subscription=late).update(
        anchor=dt.date(2027, 1, 31), next_on="2027-01-31"
    )
    day = START
    while day <= dt.date(2026, 5, 31):
        bill(day)
        day += dt.timedelta(days=1)
    BillingSegment.objects.filter(subscription=late).update(anchor=START, next_on=START)
    bill(dt.date(2026, 5, 31))
    assert days_of(daily) == days_of(late)
    assert len(days_of(daily)) == 5


def test_the_future_is_not_billed(template: Template, partner: Partner) -> None:
    follow(template, partner, [START])
    with pytest.raises(FutureDate):
        bill(START + dt.timedelta(days=1), now=noon(START))
    assert not Invoice.objects.exists()


def test_today_is_the_indian_day(template: Template, partner: Partner) -> None:
    follow(template, partner, [START])
    last_minute = dt.datetime(2026, 1, 30, 18, 29, tzinfo=dt.UTC)
    with pytest.raises(FutureDate):
        bill(START, now=last_minute)
    assert bill(START, now=last_minute + dt.timedelta(minutes=1)).invoices == 1


def test_free_and_test_subscriptions_are_never_billed(template: Template, partner: Partner) -> None:
    follow(template, partner, [START], fee=0)
    follow(template, partner, [START], environment="test")
    assert not BillingSegment.objects.exists()
    assert bill(START).invoices == 0


def test_a_customer_without_state_is_withheld_and_not_lost(template: Template) -> None:
    partner = make_partner("nowhere")
    (subscription,) = follow(template, partner, [START], state="")
    follow(template, partner, [START])
    result = bill(START, chunk=1)
    assert (result.invoices, result.withheld) == (1, 1)
    assert [row.subscription for row in withheld(START, START)] == [subscription.public_id]
    assert BillingRun.objects.get().withheld == 1
    subscription.customer.state = AWAY
    subscription.customer.save()
    later = bill(START + dt.timedelta(days=40))
    assert later.withheld == 0
    assert len(days_of(subscription)) == 2
    assert withheld(START, START) == []


def test_each_period_bears_the_rate_of_its_first_day(template: Template, partner: Partner) -> None:
    TaxRate.objects.create(effective_from=dt.date(2026, 2, 28), rate_pct=Decimal("12.00"))
    follow(template, partner, [START])
    bill(dt.date(2026, 3, 1))
    assert list(Invoice.objects.order_by("seq").values_list("rate_pct", "total")) == [
        (Decimal("18.00"), Decimal("1178.82")),
        (Decimal("12.00"), Decimal("1118.88")),
    ]


def test_without_rate_or_supplier_nothing_is_billed(template: Template, partner: Partner) -> None:
    follow(template, partner, [START])
    TaxRate.objects.update(effective_from=START + dt.timedelta(days=1))
    with pytest.raises(BillingNotConfigured, match="2026-01-31"):
        bill(START)
    assert "BillingNotConfigured" in BillingRun.objects.get().error
    assert not Invoice.objects.exists()
    load_billing().delete()
    with pytest.raises(BillingNotConfigured, match="supplier"):
        bill(START)


def test_numbers_begin_again_in_april(template: Template, partner: Partner) -> None:
    follow(template, partner, [dt.date(2026, 3, 31), dt.date(2026, 4, 1)])
    bill(dt.date(2026, 3, 31))
    bill(dt.date(2026, 4, 1))
    assert sorted(Invoice.objects.values_list("number", flat=True)) == [
        "QL25-00000001",
        "QL26-00000001",
    ]


def test_a_clock_that_went_back_dates_no_invoice_before_the_last(
    template: Template, partner: Partner
) -> None:
    follow(template, partner, [START, START - dt.timedelta(days=9)])
    bill(START, now=noon(START + dt.timedelta(days=5)))
    follow(template, partner, [START])
    bill(START)
    assert set(Invoice.objects.values_list("issued_on", flat=True)) == {
        START + dt.timedelta(days=5)
    }


def test_the_run_taxes_as_the_pure_function_does(template: Template, partner: Partner) -> None:
    """300 fees of all sizes, within the state and across: alike to the paisa."""
    TaxRate.objects.update(rate_pct=Decimal("17.55"))
    fees = [Decimal(n * n * 37 % 99_991 + 1) / 100 for n in range(300)]
    for number, fee in enumerate(fees):
        follow(template, partner, [START], fee=fee, state=AWAY if number % 2 else HOME)
    bill(START)
    invoices = Invoice.objects.order_by("taxable")
    assert [invoice.taxable for invoice in invoices] == sorted(fees)
    for invoice in invoices:
        expected = tax(
            invoice.taxable,
            invoice.rate_pct,
            supplier_state=HOME,
            place_of_supply=invoice.place_of_supply,
        )
        assert (invoice.cgst, invoice.sgst, invoice.igst, invoice.total) == (
            expected.cgst, expected.sgst, expected.igst, expected.total,
        )  # fmt: skip
        assert invoice.snapshot["in_words"] == amount_in_words(invoice.total)
        assert invoice.number == document_number("invoice", invoice.fy, invoice.seq)
    assert checks.check_ledger(now=noon(START)).findings == []


def test_the_next_invoice_follows_a_changed_state(
    template: Template,
) -> None:
    """A corrected state or address changes later invoices only, never those that were issued."""
    subscription = follow(template, make_partner(), [START], state="33")[0]
    bill(START)
    change_billing_details(
        customer_id=subscription.customer_id, state="27",
        billing_address="4 Hill Road\nMumbai 400050", reason="Moved", actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    bill(add_months(START, 1))
    first, second = Invoice.objects.order_by("id")
    assert (first.place_of_supply, first.cgst, first.igst) == ("33", Decimal("89.91"), ZERO)
    assert "address" not in first.snapshot["customer"]
    assert (second.place_of_supply, second.cgst, second.igst) == ("27", ZERO, Decimal("179.82"))
    assert second.snapshot["customer"]["address"] == "4 Hill Road\nMumbai 400050"
    assert second.snapshot["customer"]["state_name"] == "Maharashtra"
    assert b"%PDF" in documents.invoice_pdf(second)[:5]
