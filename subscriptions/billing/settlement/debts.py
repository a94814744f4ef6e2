"""What keeps a customer from subscribing anew: an unpaid month, or credit that is below 0."""

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
    """No new subscription while an invoice of an earlier one is unpaid, and none that is billed
    while the customer owes us credit that was paid out.

    A period that is over and that no run has invoiced yet is owed as well: seen was a customer who
    subscribed and cancelled again and again before the run. The one that runs is no debt before its
    invoice: the new subscription goes on in it (adr 0054).
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
    if debt > 0:  # of no template: it is paid before anything else is billed (adr 0053)
        raise PaymentDue(
            f"{grouped(debt, '₹')} are owed: credit that was paid out, and whose money the bank "
            "took back",
            invoice_id=None,
            invoice_number=None,
        )


def unpaid_invoice(customer_id: int, template_id: int) -> Invoice | None:
    """The oldest unpaid invoice of a customer's cancelled subscriptions of a template."""
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
    """The oldest period of a customer's cancelled subscriptions of a template that was over by
    ``today`` (IST) before any run had invoiced it: owed like an unpaid invoice.
    """
    due = coming().filter(
        subscription__customer_id=customer_id,
        subscription__template_id=template_id,
        subscription__status=Subscription.Status.CANCELLED,
        next_on__lte=today,
    )
    periods = (period(segment.anchor, segment.next_no) for segment in due.order_by("next_on", "id"))
    return next((one for one in periods if one.end <= today), None)
