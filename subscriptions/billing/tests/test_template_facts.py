"""What a template brings to its invoices (SAC), and what the catalogue says of their tax."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from marketplace.models import Template
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.models import StaffUser
from subscriptions.billing.models import Invoice, TaxRate
from subscriptions.billing.tests.factories import START, bill, follow, load_billing
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db
OWN = "998439"


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template()


def test_an_invoice_bears_the_templates_sac_or_the_suppliers(template: Template) -> None:
    partner = make_partner("zebu")
    own = make_template(name="With a code of its own", sac=OWN)
    follow(template, partner, [START])
    follow(own, partner, [START])
    bill(START)
    supplier = load_billing().sac
    assert supplier != OWN
    for invoice in Invoice.objects.select_related("subscription"):
        sac = OWN if invoice.subscription.template_id == own.pk else supplier
        assert (invoice.sac, invoice.snapshot["lines"][0]["sac"]) == (sac, sac)


def test_a_changed_sac_changes_the_next_invoice_only(template: Template) -> None:
    follow(template, None, [START])
    bill(START)
    before = Invoice.objects.get()
    Template.objects.filter(pk=template.pk).update(sac=OWN)
    bill(add_months(START, 1))
    first, second = Invoice.objects.order_by("id")
    assert (first.sac, first.snapshot) == (before.sac, before.snapshot)
    assert (second.sac, second.snapshot["lines"][0]["sac"]) == (OWN, OWN)


@pytest.mark.parametrize("wrong", ["12", "997", "99733x", "123456", "99 733"])
def test_what_is_no_sac_is_refused_by_the_database(template: Template, wrong: str) -> None:
    with pytest.raises(IntegrityError, match="template_sac_format"), transaction.atomic():
        Template.objects.filter(pk=template.pk).update(sac=wrong)


def test_the_template_page_asks_for_a_sac(template: Template) -> None:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    with time_machine.travel(TEST_NOW, tick=False):
        page = client.get(reverse("admin:marketplace_template_change", args=[template.pk]))
    shown = page.content.decode()
    assert 'name="sac"' in shown
    assert "Issued invoices keep theirs" in shown


def test_the_catalogue_taxes_at_the_rate_of_the_table(template: Template) -> None:
    """The very rate that an invoice of that day would have."""
    TaxRate.objects.create(
        effective_from=TEST_NOW.date() + dt.timedelta(days=1), rate_pct=Decimal("28.50")
    )
    url = f"/api/v1/marketplace/templates/{template.public_id}"
    for days, pct, total in ((0, 18, 1178.82), (1, 28.5, 1283.72)):
        with time_machine.travel(TEST_NOW + dt.timedelta(days=days), tick=False):
            pricing = APIClient().get(url).json()["template"]["pricing"]
        assert (pricing["tax_rate_pct"], pricing["monthly_total"]) == (pct, total)
