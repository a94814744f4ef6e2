"""Panels of a customer's invoices, payments and credit on the customer's console page."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest

from partners.models import Customer
from quantleap.core.admin_columns import in_rupees
from quantleap.core.console import Cell, Panel, day_cell, newest, page_of
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import CustomerCredit, Invoice, Payment, Refund


def belongings(request: HttpRequest, customer: Customer) -> Sequence[Panel]:
    """The panels that the user may view; at most eight queries."""
    panels = {
        "billing.view_invoice": _invoices,
        "billing.view_payment": _payments,
        "billing.view_refund": _refunds,
        "billing.view_customercredit": _credit,
    }
    return [show(customer) for right, show in panels.items() if request.user.has_perm(right)]


def _invoices(customer: Customer) -> Panel:
    return newest(
        "Invoices",
        Invoice.objects.filter(customer=customer).defer("snapshot"),
        {"customer__id__exact": customer.pk},
        ("Number", "Issued", "Total", "Outstanding", "Status"),
        lambda one: (
            Cell(one.number, page_of(one)),
            day_cell(one.issued_on),
            Cell(in_rupees(one.total)),
            Cell(in_rupees(one.outstanding)),
            Cell(one.get_status_display()),
        ),
        "None yet: a paid subscription is invoiced on the first day of its period.",
    )


def _payments(customer: Customer) -> Panel:
    return newest(
        "Payments",
        Payment.objects.filter(customer=customer)
        .select_related("invoice", "reversal")
        .defer("invoice__snapshot"),
        {"customer__id__exact": customer.pk},
        ("Payment", "Received", "Invoice", "Reference", "Amount"),
        lambda one: (
            Cell(one.public_id, page_of(one)),
            day_cell(one.received_on),
            Cell(one.invoice.number, page_of(one.invoice)),
            Cell(one.reference),
            Cell(in_rupees(one.amount) + (", reversed" if hasattr(one, "reversal") else "")),
        ),
        "None yet. Record one on its invoice's page.",
    )


def _refunds(customer: Customer) -> Panel:
    return newest(
        "Refunds",
        Refund.objects.filter(customer=customer),
        {"customer__id__exact": customer.pk},
        ("Refund", "Recorded", "How", "Reference", "Amount"),
        lambda one: (
            Cell(one.public_id, page_of(one)),
            day_cell(one.recorded_on),
            Cell(one.get_method_display()),
            Cell(one.reference),
            Cell(in_rupees(one.amount)),
        ),
        "None.",
    )


def _credit(customer: Customer) -> Panel:
    code = chart_of_accounts.customer_credit(customer.public_id)
    account = CustomerCredit.objects.filter(code=code).first()
    rows = []
    if account is not None:
        held = -posting.balance(code)
        text = in_rupees(held) if held >= 0 else f"{in_rupees(-held)} owed to us"
        rows.append((Cell(text, page_of(account)), Cell("Movements, and paying it out")))
    return Panel(
        "Credit", ("We hold", "Its page shows"), tuple(rows), "None: nothing was paid too much."
    )
