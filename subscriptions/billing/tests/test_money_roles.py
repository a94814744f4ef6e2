"""Who sees the pages of money, and who may act on them: Django's own rights, page by page."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.models import StaffUser
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    CustomerCredit,
    Invoice,
    InvoiceMail,
    LedgerTransaction,
    Payment,
    Receipt,
)
from subscriptions.billing.tests.factories import START, bill, credit, follow, load_billing, pay

#: What each action of a page needs, and the page's model.
ACTIONS: dict[str, tuple[type[Any], str]] = {
    "record_payment": (Invoice, "add_payment"),
    "record_receipt": (Invoice, "add_payment"),
    "reverse": (Receipt, "add_reversal"),
    "use_credit": (Invoice, "add_payment"),
    "refund": (Invoice, "add_creditnote"),
    "return_excess": (Payment, "add_refund"),
    "pay_out": (CustomerCredit, "add_refund"),
    "send_again": (InvoiceMail, "change_invoicemail"),
}
PAGES = [
    model for model in apps.get_app_config("billing").get_models() if model in admin.site._registry
]


@pytest.fixture
def books(db: None) -> None:
    """A row for every page that acts: an overpaid and partly credited invoice, and its mail."""
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner("zebu"), [START])
    bill(START)
    invoice = Invoice.objects.get()
    pay(invoice, invoice.total + 100)
    credit(invoice, Decimal("500.00"))
    owner = {"partner_id": invoice.partner_id, "environment": invoice.environment}
    InvoiceMail.objects.create(invoice=invoice, next_attempt_at=clock.now(), **owner)
    checks.check_ledger(now=clock.now())


def somebody(*rights: str) -> Client:
    """Staff with these rights on the tables of money."""
    person = StaffUser.objects.create_user(f"staff{StaffUser.objects.count()}", is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="billing", codename__in=rights)
    assert permissions.count() == len(set(rights)), "no such right"
    person.user_permissions.set(permissions)
    client = Client()
    client.force_login(person)
    return client


def views() -> list[str]:
    return sorted({f"view_{model._meta.model_name}" for model in PAGES})


def change(row: Any, action: str = "change") -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{action}", args=[row.pk])


def test_every_action_is_known_here() -> None:
    """A new button must be added above, with the right that it needs."""
    asking = {
        str(name)
        for model in PAGES
        for name in getattr(admin.site._registry[model], "actions_detail", None) or ()
        if name != "download_pdf"  # looks only
    }
    assert asking == set(ACTIONS)


def test_without_a_right_there_is_no_money(books: None) -> None:
    nobody = somebody()
    assert "/admin/billing/" not in nobody.get("/admin/").content.decode()
    for model in PAGES:
        listed = reverse(f"admin:billing_{model._meta.model_name}_changelist")
        assert nobody.get(listed).status_code == 403, model
        row = model._default_manager.first()
        if row is not None:
            assert nobody.get(change(row)).status_code == 403, model
    for row in (Invoice.objects.get(), CreditNote.objects.get()):
        assert nobody.get(change(row, "download_pdf")).status_code == 403


def test_the_right_to_look_looks_at_everything_and_does_nothing(books: None) -> None:
    auditor = somebody(*views())
    assert "/admin/billing/invoice/" in auditor.get("/admin/").content.decode()
    for model in PAGES:
        listed = reverse(f"admin:billing_{model._meta.model_name}_changelist")
        assert auditor.get(listed).status_code == 200, model
    before = LedgerTransaction.objects.count()
    for name, (model, _) in ACTIONS.items():
        row = model._default_manager.first()
        page = auditor.get(change(row))
        assert page.status_code == 200
        assert change(row, name) not in page.content.decode(), name
        body = {"confirm": "yes", "again": "yes", "amount": "1.00"}
        assert auditor.get(change(row, name)).status_code == 403, name
        assert auditor.post(change(row, name), body).status_code == 403, name
    assert LedgerTransaction.objects.count() == before
    for row in (Invoice.objects.get(), CreditNote.objects.get()):
        assert auditor.get(change(row, "download_pdf")).content.startswith(b"%PDF")


@pytest.mark.parametrize("right", sorted({right for _, right in ACTIONS.values()}))
def test_a_right_opens_its_own_actions_and_no_other(books: None, right: str) -> None:
    clerk = somebody(*views(), right)
    for name, (model, needed) in ACTIONS.items():
        row = model._default_manager.first()
        expected = 200 if needed == right else 403
        assert clerk.get(change(row, name)).status_code == expected, name
        shown = change(row, name) in clerk.get(change(row)).content.decode()
        assert shown == (needed == right), name


def test_rows_of_money_are_changed_by_no_form(books: None) -> None:
    """Whatever rights one has: what happened is not edited, and nothing is deleted."""
    owner = Client()
    owner.force_login(StaffUser.objects.create_superuser("owner"))
    for row in (Invoice.objects.get(), Payment.objects.get(), *Commission.objects.all()):
        table = row._meta.model._default_manager.filter(pk=row.pk)
        before = table.values().get()
        for page in ("change", "delete"):
            assert owner.post(change(row, page), {"amount": "1.00"}).status_code == 403
        assert table.values().get() == before
