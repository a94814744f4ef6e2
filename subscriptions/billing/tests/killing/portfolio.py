"""A portfolio that has missed months: every kind of subscription that a run meets, at random."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Final

from django.db import transaction

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing.invoicing import segments
from subscriptions.billing.models import Invoice, Receipt, TaxRate
from subscriptions.billing.settlement import allocations, reversals
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    follow,
    follow_again,
    load_billing,
    noon,
    pay,
)
from subscriptions.models import Subscription

#: The first subscriptions; nobody has billed since.
OUTAGE_BEGAN: Final = dt.date(2025, 11, 1)
#: The rate changes inside the outage: a period has the rate of its first day.
NEW_RATE: Final = (dt.date(2026, 2, 15), Decimal("12.00"))
FEES: Final = (Decimal("999.00"), Decimal("1499.50"), Decimal("0.05"), Decimal("333.33"))
STATES: Final = (HOME, AWAY, "29", "", "07")
#: Groups: fees, states and partners in every combination that 24 in a row give.
KINDS: Final = 24


def load(*, seed: int, size: int, last: dt.date, withheld: bool) -> None:
    """About ``size`` subscriptions that began between the outage's first day and ``last`` (IST).

    Some customers have no state: ``withheld``, also where their partner has one.
    """
    chance = random.Random(seed)
    load_billing()
    TaxRate.objects.create(effective_from=NEW_RATE[0], rate_pct=NEW_RATE[1])
    load_reference_data()
    partners = [None, make_partner("kotak"), make_partner("zen", default_state=AWAY)]
    templates = [make_template(fee=fee) for fee in FEES]
    subscriptions: list[Subscription] = []
    for kind in range(KINDS):
        days = _days(chance, max(1, size // KINDS), last)
        state = STATES[kind % len(STATES)] or ("" if withheld else HOME)
        partner, place = partners[kind % len(partners)], kind % len(FEES)
        subscriptions += follow(templates[place], partner, days, state=state, fee=FEES[place])
    # Neither of these may ever be billed.
    follow(make_template(fee=None), partners[1], [OUTAGE_BEGAN] * 5, fee=0)
    sandbox = make_template(environment=Environment.TEST)
    follow(sandbox, partners[1], [OUTAGE_BEGAN] * 5, environment=Environment.TEST)
    with transaction.atomic():
        left = _pause_some(chance, subscriptions, last)
        _leave_and_come_back(chance, left, last)


def _days(chance: random.Random, count: int, last: dt.date) -> list[dt.date]:
    """Anchors; every third on a day that most months do not have."""
    span = (last - OUTAGE_BEGAN).days
    days = [OUTAGE_BEGAN + dt.timedelta(days=chance.randint(0, span)) for _ in range(count)]
    days[::3] = [chance.choice(_month_ends()) for _ in days[::3]]
    return days


def _month_ends() -> list[dt.date]:
    return [
        dt.date(2025, 11, 30), dt.date(2025, 12, 29), dt.date(2025, 12, 31), dt.date(2026, 1, 30),
        dt.date(2026, 1, 31), dt.date(2026, 2, 28), dt.date(2026, 3, 31),
    ]  # fmt: skip


def _pause_some(
    chance: random.Random, subscriptions: list[Subscription], last: dt.date
) -> list[Subscription]:
    """One in twelve stopped; half of these go on later, some of them in a new segment. The rest."""
    stopped = chance.sample(subscriptions, len(subscriptions) // 12)
    for subscription in stopped:
        on = subscription.anchor + dt.timedelta(
            days=chance.randint(0, max(0, (last - subscription.anchor).days))
        )
        segments.stop([subscription.pk], on=on)
        again = on + dt.timedelta(days=chance.randint(0, 50))
        if again <= last and chance.random() < 0.5:
            segments.resume([subscription], on=again)
    touched = {subscription.pk for subscription in stopped}
    return [subscription for subscription in subscriptions if subscription.pk not in touched]


def _leave_and_come_back(
    chance: random.Random, subscriptions: list[Subscription], last: dt.date
) -> None:
    """One in ten cancels and follows again, half of them on the same day, some of them twice."""
    for subscription in chance.sample(subscriptions, len(subscriptions) // 10):
        day, newest = subscription.anchor, subscription
        for _ in range(chance.choice((1, 1, 2))):
            day += dt.timedelta(days=chance.choice((0, 0, 3, 27, 40)))
            again = day + dt.timedelta(days=chance.choice((0, 0, 5, 31)))
            if again > last:
                break
            services.cancel(subscription_id=newest.pk, actor=SYSTEM, reason="USER", now=noon(day))
            newest = follow_again(newest, again, fee=chance.choice((None, FEES[1])))
            day = again


def pay_some(*, seed: int, count: int, on: dt.date) -> None:
    """Full and partial payments of partners' invoices, so that commission waits to mature."""
    chance = random.Random(seed)
    invoices = list(Invoice.objects.filter(partner_id__isnull=False, total__gt=1).order_by("id"))
    for invoice in chance.sample(invoices, min(count, len(invoices))):
        pay(invoice, invoice.total if chance.random() < 0.7 else Decimal("100.00"), day=on)


#: What comes beyond two invoices, and what the bank charges for taking all of it back.
TOO_MUCH: Final = Decimal("10.00")
CHARGES: Final = Decimal("118.00")


def receive_one(on: dt.date) -> None:
    """One receipt over two invoices of a partner's customer, and a rest; the same each time."""
    first = (
        Invoice.objects.filter(partner_id__isnull=False, period_no=1, total__gt=1)
        .select_related("customer")
        .order_by("id")[0]
    )
    parts = [
        allocations.Part(invoice.pk, invoice.total)
        for invoice in Invoice.objects.filter(subscription=first.subscription_id).order_by("id")[:2]
    ]
    allocations.record(
        amount=sum((part.amount for part in parts), TOO_MUCH),
        method="CHEQUE",
        reference="000123 HDFC",
        received_on=on,
        parts=parts,
        customer_id=first.customer_id,
        actor=SYSTEM,
        now=noon(on),
    )
    assert Receipt.objects.exists()  # a statement behind the commit


def take_back_one(on: dt.date) -> None:
    """The bank took it back; the same each time."""
    reversals.reverse(
        receipt_id=Receipt.objects.get(method="CHEQUE").pk,
        reversed_on=on,
        reason="Funds insufficient",
        bank_charges=CHARGES,
        actor=SYSTEM,
        now=noon(on),
    )
    assert Receipt.objects.filter(reversal__isnull=False).exists()
