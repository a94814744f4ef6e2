"""Money that a bank took back while others do something with it: real transactions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.parallel import at_once
from subscriptions.billing.errors import NothingToCredit
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import Commission, Invoice, LedgerTransaction, Refund
from subscriptions.billing.settlement import commission_maturity, customer_credit
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    follow,
    load_billing,
    noon,
    pay,
)
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = Decimal("1178.82")
CREDIT = Decimal("500.00")
NEXT = add_months(START, 1)


def _prepared() -> tuple[Invoice, Invoice]:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner("zebu"), [START])
    bill(START)
    bill(NEXT)
    first, second = Invoice.objects.order_by("id")
    return first, second


def test_two_clerks_reverse_one_receipt_once() -> None:
    first, _ = _prepared()
    receipt = pay(first, TOTAL, day=NEXT).payment.receipt
    outcomes = at_once(6, lambda _number: bounce(receipt, NEXT))
    assert [outcome.created for outcome in outcomes].count(True) == 1
    assert LedgerTransaction.objects.filter(kind="reversal").count() == 1
    assert OutboxEvent.objects.filter(type="payment.reversed").count() == 1
    assert checks.check_ledger(now=noon(NEXT)).ok


@pytest.mark.parametrize("round", range(3))
def test_credit_used_during_a_reversal_is_never_phantom(round: int) -> None:
    """Whoever comes first: the use is undone, or refused; matured, or not."""
    first, second = _prepared()
    paid = pay(first, TOTAL + CREDIT, day=NEXT).payment
    later = NEXT + dt.timedelta(days=40)

    def call(number: int) -> Any:
        if number == 0:
            return bounce(paid.receipt, later)
        if number == 1:
            return customer_credit.apply(
                invoice_id=second.pk, idem_key="use", amount=CREDIT, actor=SYSTEM, now=noon(later)
            )
        if number == 2:
            return customer_credit.pay_out(
                customer_id=first.customer_id, idem_key="out", amount=CREDIT, method="UPI",
                reference="back", actor=SYSTEM, now=noon(later),
            )  # fmt: skip
        return commission_maturity.mature(later, now=noon(later))

    at_once(4, call, errors=(NothingToCredit,))
    out = Refund.objects.aggregate(sum=Sum("amount"))["sum"] or 0
    assert customer_credit.available(first.customer) == -out
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.paid, first.reversed) == ("DUE", Decimal(0), TOTAL)
    assert (second.status, second.paid) == ("DUE", Decimal(0))
    assert not Commission.objects.exclude(kind="MATURITY").aggregate(sum=Sum("amount"))["sum"]
    assert checks.check_ledger(now=noon(later)).ok
