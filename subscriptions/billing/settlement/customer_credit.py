"""Customer credit: money that we hold for a customer, used for an invoice or paid out.

It comes from overpaid receipts and from credit notes whose money stayed with us. The ledger decides
how much there is: a service that takes from it posts first and checks then, because from the first
posting to the commit no other transaction writes balances (posting.post).

Below 0 it is the customer's debt: credit was paid out, and the bank then took back the money that
it came from (reversals.py). The next money that comes in pays it first.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum

from partners.models import Customer
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import NotFound
from quantleap.core.money import ZERO
from subscriptions.billing.errors import NothingToCredit
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import Invoice, Method, Payment, PaymentReversal, Refund
from subscriptions.billing.settlement.payments import (
    Recorded,
    check_money,
    check_seen,
    lock_invoice,
    recorded_before,
    settle,
)
from subscriptions.billing.settlement.refunds import money_of, refund_row


def available(customer: Customer) -> Decimal:
    """Rupees of credit that we hold; below 0 the customer owes us credit that was paid out."""
    return -posting.balance(chart_of_accounts.customer_credit(customer.public_id))


def excess_left(payment: Payment) -> Decimal:
    """Rupees of a payment's excess that have not been given back; 0 if the payment was reversed."""
    if PaymentReversal.objects.filter(payment=payment).exists():
        return ZERO
    refunded = payment.refunds.aggregate(sum=Sum("amount"))["sum"] or ZERO
    left: Decimal = payment.excess - refunded
    return left


def apply(
    *,
    invoice_id: int,
    idem_key: str,
    amount: Decimal,
    actor: Actor,
    now: dt.datetime,
    seen: Decimal | None = None,
) -> Recorded:
    """Pay ``amount`` rupees of an invoice out of its customer's credit, once per key.

    Commission accrues on it as on any payment. ``seen``: see payments.record_payment.

    Raises NotFound; InvalidRequest; NothingToCredit (409) for more than is owed or held;
    PaymentKeyReused, InvoiceChanged (409).
    """
    method = Method.CUSTOMER_CREDIT
    same: dict[str, Any] = {"invoice_id": invoice_id, "amount": amount, "method": method.value}
    check_money(amount, method, method.label, idem_key, allowed=[method])
    with transaction.atomic():
        _lock_owner(invoice_id)
        invoice = lock_invoice(invoice_id)
        earlier = recorded_before(Payment, invoice, idem_key, same)
        if earlier is not None:
            return Recorded(earlier, created=False)
        check_seen(invoice, seen)
        owed = invoice.outstanding
        if amount > owed:
            raise NothingToCredit(f"{invoice.number} owes {max(owed, ZERO)} rupees")
        _check_held(invoice.customer, amount)
        same |= {"reference": method.label, "received_on": ist_date(now)}
        source = chart_of_accounts.customer_credit(invoice.customer.public_id)
        payment = settle(
            invoice,
            idem_key=idem_key,
            applied=amount,
            same=same,
            source=source,
            actor=actor,
            now=now,
        )
        _check_not_overdrawn(invoice.customer)
    return Recorded(payment, created=True)


def return_excess(
    *,
    payment_id: int,
    idem_key: str,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Refund:
    """Give back ``amount`` rupees of a payment's excess, once per key.

    Raises NotFound; InvalidRequest; NothingToCredit (409), also for what was used meanwhile;
    PaymentKeyReused (409).
    """
    check_money(amount, method, reference, idem_key)
    with transaction.atomic():
        payment = Payment.objects.filter(pk=payment_id).first()
        if payment is None:
            raise NotFound
        invoice = lock_invoice(payment.invoice_id)
        same = {"payment_id": payment.pk, "amount": amount, "method": method}
        earlier = recorded_before(Refund, invoice, idem_key, same)
        if earlier is not None:
            return earlier
        left = excess_left(payment)
        if amount > left:
            raise NothingToCredit(f"Of {payment} {left} rupees are too much")
        refund = _pay_out(
            invoice.customer, amount, method, reference, actor, now, idem_key=idem_key,
            payment=payment,
        )  # fmt: skip
        _audit("payment.excess_returned", "invoice", invoice.public_id, refund, actor)
    return refund


def pay_out(
    *,
    customer_id: int,
    idem_key: str,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Refund:
    """Pay out ``amount`` rupees of a customer's credit, whatever its origin, once per key.

    Raises NotFound; InvalidRequest; NothingToCredit (409); PaymentKeyReused (409).
    """
    check_money(amount, method, reference, idem_key)
    with transaction.atomic():
        customer = _lock_customer(customer_id)
        same = {"customer_id": customer.pk, "amount": amount, "method": method}
        earlier = recorded_before(Refund, customer, idem_key, same)
        if earlier is not None:
            return earlier
        refund = _pay_out(customer, amount, method, reference, actor, now, idem_key=idem_key)
        _audit("customer.credit_paid_out", "customer", customer.public_id, refund, actor)
    return refund


def _pay_out(
    customer: Customer,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
    **fields: Any,
) -> Refund:
    _check_held(customer, amount)
    account = chart_of_accounts.customer_credit(customer.public_id)
    refund = refund_row(
        customer,
        debit=account,
        credit=chart_of_accounts.MANUAL_CLEARING,
        amount=amount,
        method=method,
        reference=reference,
        actor=actor,
        now=now,
        **fields,
    )
    _check_not_overdrawn(customer)
    return refund


def _lock_customer(customer_id: int) -> Customer:
    """The customer, locked until commit. Raises NotFound."""
    customers = Customer.objects.select_for_update(of=("self",), no_key=True)
    customer = customers.filter(pk=customer_id).first()
    if customer is None:
        raise NotFound
    return customer


def _lock_owner(invoice_id: int) -> None:
    """Lock an invoice's customer, before the invoice.

    A reversal that takes their credit back then either finds every use of it, or is found by the
    use.
    """
    owner = Invoice.objects.filter(pk=invoice_id).values_list("customer_id", flat=True).first()
    if owner is None:
        raise NotFound
    _lock_customer(owner)


def _check_held(customer: Customer, amount: Decimal) -> None:
    """Refuse before anything is posted. A concurrent use is detected after the posting."""
    credit = available(customer)
    if amount > credit:
        raise NothingToCredit(f"{customer} has {credit} rupees of credit")


def _check_not_overdrawn(customer: Customer) -> None:
    left = available(customer)
    if left < 0:
        raise NothingToCredit(f"{-left} rupees of {customer}'s credit were used meanwhile")


def _audit(action: str, kind: str, public_id: str, refund: Refund, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type=kind,
        target_id=public_id,
        partner_id=refund.partner_id,
        environment=refund.environment,
        data={"refund": refund.public_id, **money_of(refund)},
    )
