"""Tax rates and the supplier: entered by staff, fixed from their day on; what is due."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.models import AuditEntry, StaffUser
from subscriptions.billing.models import BillingRun, BillingSegment, Supplier, TaxRate
from subscriptions.billing.tests.factories import START, bill, follow, load_billing

SUPPLIER = {
    "effective_from": "2020-01-01",
    "legal_name": "QuantLeap Private Limited",
    "address": "1 Main Road\nMumbai",
    "gstin": "27AAACQ4821D1ZE",
    "state_code": "27",
    "sac": "997331",
    "email": "billing@example.com",
}


@pytest.fixture
def console(db: None) -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    return client


def today() -> dt.date:
    return clock.ist_date(clock.now())


def add(console: Client, model: str, values: dict[str, str]) -> str:
    """Empty when it was saved, else the page that says why not."""
    answer = console.post(reverse(f"admin:billing_{model}_add"), values)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_the_first_supplier_may_begin_in_the_past(console: Client) -> None:
    assert add(console, "supplier", SUPPLIER) == ""
    assert Supplier.objects.get().state_name == "Maharashtra"
    assert AuditEntry.objects.get(action="supplier.added").actor_id == "staff"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"state_code": "28", "gstin": "28AAACQ4821D1ZE"}, "Not a GST state code in force"),
        ({"gstin": "27AAACQ4821D1"}, "A GSTIN has 15 characters"),
        ({"state_code": "33"}, "A GSTIN begins with the code of its state"),
    ],
)
def test_a_wrong_supplier_is_refused_in_words(
    console: Client, wrong: dict[str, str], words: str
) -> None:
    assert words in add(console, "supplier", {**SUPPLIER, **wrong})
    assert not Supplier.objects.exists()


def test_a_new_rate_begins_today_or_later(console: Client) -> None:
    load_billing()
    yesterday = today() - dt.timedelta(days=1)
    rate = {"rate_pct": "12"}
    assert "Not before today" in add(console, "taxrate", {"effective_from": str(yesterday), **rate})
    assert add(console, "taxrate", {"effective_from": str(today()), **rate}) == ""
    assert TaxRate.objects.count() == 2


def test_what_is_in_force_is_not_changed(console: Client) -> None:
    load_billing()
    for days, status in ((0, 403), (1, 302)):
        day = today() + dt.timedelta(days=days)
        rate = TaxRate.objects.create(effective_from=day, rate_pct=5)
        page = reverse("admin:billing_taxrate_change", args=[rate.pk])
        answer = console.post(page, {"effective_from": str(day), "rate_pct": "6"})
        assert answer.status_code == status
        rate.refresh_from_db()
        assert rate.rate_pct == (5 if status == 403 else 6)


def test_a_run_names_who_was_withheld(console: Client) -> None:
    """The run's page shows the withheld subscription's id, and the pages of segments open."""
    load_billing()
    load_reference_data()
    (lost,) = follow(make_template(), make_partner(), [START], state="")
    bill(START)
    run = BillingRun.objects.get()
    page = console.get(reverse("admin:billing_billingrun_change", args=[run.pk]))
    assert lost.public_id in page.content.decode()
    segment = BillingSegment.objects.get()
    for name in ("billingsegment", "numberseries"):
        assert console.get(reverse(f"admin:billing_{name}_changelist")).status_code == 200
    page = console.get(reverse("admin:billing_billingsegment_change", args=[segment.pk]))
    assert page.status_code == 200
