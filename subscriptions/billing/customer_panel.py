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
        lambda invoice: (
            Cell(invoice.number, page_of(invoice)),
            day_cell(invoice.issued_on),
            Cell(in_rupees(invoice.total)),
            Cell(in_rupees(invoice.outstanding)),
            Cell(invoice.get_status_display()),
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
        lambda payment: (
            Cell(payment.public_id, page_of(payment)),
            day_cell(payment.received_on),
            Cell(payment.invoice.number, page_of(payment.invoice)),
            Cell(payment.reference),
            Cell(
                in_rupees(payment.amount) + (", reversed" if hasattr(payment, "reversal") else "")
            ),
        ),
        "None yet. Record one on its invoice's page.",
    )


def _refunds(customer: Customer) -> Panel:
    return newest(
        "Refunds",
        Refund.objects.filter(customer=customer),
        {"customer__id__exact": customer.pk},
        ("Refund", "Recorded", "How", "Reference", "Amount"),
        lambda refund: (
            Cell(refund.public_id, page_of(refund)),
            day_cell(refund.recorded_on),
            Cell(refund.get_method_display()),
            Cell(refund.reference),
            Cell(in_rupees(refund.amount)),
        ),
        "None.",
    )


def _credit(customer: Customer) -> Panel:
    code = chart_of_accounts.customer_credit(customer.public_id)
    account = CustomerCredit.objects.filter(code=code).first()
    rows = []
    if account is not None:
        credit = -posting.balance(code)
        text = in_rupees(credit) if credit >= 0 else f"{in_rupees(-credit)} owed to us"
        rows.append((Cell(text, page_of(account)), Cell("Movements, and paying it out")))
    return Panel(
        "Credit", ("We hold", "Its page shows"), tuple(rows), "None: nothing was paid too much."
    )
