"""What a subscription owes is read from its own invoices and nobody else's."""

from __future__ import annotations

import datetime as dt
from typing import Final

import pytest
from django.db import connection

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.tests.rowreads import rows_read
from subscriptions.billing.models import Invoice
from subscriptions.billing.settlement import balance_due
from subscriptions.billing.tests.factories import (
    START,
    bill,
    follow,
    follow_again,
    load_billing,
    noon,
)
from subscriptions.models import Subscription
from subscriptions.services import cancel

pytestmark = pytest.mark.django_db
CUSTOMERS: Final = 60
INVOICES: Final = "billing_invoice"


@pytest.fixture
def continued() -> Subscription:
    """The second subscription of one of many customers, which goes on in the month that the first
    one was billed for. Every scan that has an index for it uses one: small tables are read as a
    whole otherwise."""
    load_billing()
    load_reference_data()
    partner = make_partner("zebu")
    earlier = follow(make_template(), partner, [START] * CUSTOMERS)[CUSTOMERS // 2]
    bill(START)
    cancel(subscription_id=earlier.pk, actor=SYSTEM, reason="USER", now=noon(START))
    again = follow_again(earlier, START + dt.timedelta(days=1))
    assert Invoice.objects.count() == CUSTOMERS
    with connection.cursor() as cursor:
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
    return again


def invoices_read(subscription: Subscription) -> int:
    rows = balance_due.with_balance_due(Subscription.objects.filter(pk=subscription.pk))
    before = rows_read(INVOICES)
    assert vars(rows.get())["balance_due_begun"]
    return rows_read(INVOICES) - before


def test_the_balance_of_one_reads_no_other_invoices(continued: Subscription) -> None:
    """Seen with 300,000 invoices: all of them for each row of the partner's list, 0.35 s each."""
    assert invoices_read(continued) <= 2


def test_control_a_read_of_all_invoices_is_counted(continued: Subscription) -> None:
    before = rows_read(INVOICES)
    assert len(Invoice.objects.all()) == CUSTOMERS
    assert rows_read(INVOICES) - before >= CUSTOMERS
