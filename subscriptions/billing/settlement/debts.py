"""Debts that keep a customer from subscribing anew: an unpaid month, or credit below 0."""

from __future__ import annotations

import datetime as dt

from quantleap.core.money import grouped
from subscriptions.billing.models import Invoice
from subscriptions.billing.selectors import coming
from subscriptions.billing.settlement import customer_credit
from subscriptions.errors import PaymentDue
from subscriptions.models import Subscription
from subscriptions.periods import Period, period


def refuse_debtor(subscription: Subscription, today: dt.date) -> None:
    """Raise PaymentDue for an unpaid invoice of an earlier subscription.

    Also, if the new subscription is billed, while the customer owes us credit that was paid out.

    A period that is over but not invoiced yet is owed as well. Bug: a customer subscribed and
    cancelled again and again before the run. The current period is no debt before its invoice: the
    new subscription continues it (adr 0054).
    """
    unpaid = unpaid_invoice(subscription.customer_id, subscription.template_id)
    if unpaid is not None:
        raise PaymentDue(
            f"Invoice {unpaid.number} of an earlier subscription is unpaid",
            invoice_id=unpaid.public_id,
            invoice_number=unpaid.number,
        )
    owed = unbilled_period(subscription.customer_id, subscription.template_id, today)
    if owed is not None:
        raise PaymentDue(
            f"The month from {owed.start} of an earlier subscription is owed and not invoiced yet",
            invoice_id=None,
            invoice_number=None,
        )
    if not subscription.is_billed:
        return
    debt = -customer_credit.available(subscription.customer)
    if debt > 0:  # not tied to a template: it is paid before anything else is billed (adr 0053)
        raise PaymentDue(
            f"{grouped(debt, '₹')} are owed: credit that was paid out, and whose money the bank "
            "took back",
            invoice_id=None,
            invoice_number=None,
        )


def unpaid_invoice(customer_id: int, template_id: int) -> Invoice | None:
    """The oldest unpaid invoice of a customer's cancelled subscriptions to a template."""
    return (
        Invoice.objects.filter(
            customer_id=customer_id,
            subscription__template_id=template_id,
            subscription__status=Subscription.Status.CANCELLED,
            status__in=Invoice.UNPAID,
        )
        .order_by("id")
        .first()
    )


def unbilled_period(customer_id: int, template_id: int, today: dt.date) -> Period | None:
    """The oldest period that is owed without an invoice, of cancelled subscriptions to a template.

    It was over by ``today`` (IST) before a run had invoiced it.
    """
    due = coming().filter(
        subscription__customer_id=customer_id,
        subscription__template_id=template_id,
        subscription__status=Subscription.Status.CANCELLED,
        next_on__lte=today,
    )
    periods = (period(segment.anchor, segment.next_no) for segment in due.order_by("next_on", "id"))
    return next((candidate for candidate in periods if candidate.end <= today), None)
