"""Celery tasks of billing. A task may run late, twice, or after days: the services allow it."""

from __future__ import annotations

import datetime as dt

from celery import shared_task
from django.conf import settings

from quantleap.core import clock
from subscriptions.billing.invoicing import invoice_mails, runs
from subscriptions.billing.ledger import checks, revenue_recognition
from subscriptions.billing.settlement import commission_maturity, withdrawal_credits


@shared_task(name="billing.run_daily")
def run_daily() -> int:
    """Beat, 04:30 IST: invoice everything that is due today or was missed."""
    now = clock.now()
    return runs.run(clock.ist_date(now), now=now, chunk=settings.QUANTLEAP_BILLING_CHUNK).invoices


@shared_task(name="billing.take_over")
def take_over() -> int:
    """Beat: continue a killed run, without waiting for the next morning."""
    result = runs.take_over(now=clock.now(), chunk=settings.QUANTLEAP_BILLING_CHUNK)
    return result.invoices if result else 0


@shared_task(name="billing.credit_withdrawals")
def credit_withdrawals() -> int:
    """Beat: credit customers of withdrawn templates; bounded, the next beat continues."""
    return withdrawal_credits.credit_due(now=clock.now())


@shared_task(name="billing.recognise_daily")
def recognise_daily() -> str:
    """Beat, 04:50 IST: recognise revenue through yesterday. Rupees."""
    now = clock.now()
    yesterday = clock.ist_date(now) - dt.timedelta(days=1)
    return str(revenue_recognition.recognise(yesterday, now=now))


@shared_task(name="billing.mature_daily")
def mature_daily() -> int:
    """Beat, 05:00 IST: release commission that no refund can take back any more."""
    now = clock.now()
    return commission_maturity.mature(clock.ist_date(now), now=now).accruals


@shared_task(name="billing.check_ledger_daily")
def check_ledger_daily() -> bool:
    """Beat, 05:10 IST: check the ledger; the report is on the console."""
    return checks.check_ledger(now=clock.now()).ok


@shared_task(name="billing.send_mails")
def send_mails() -> int:
    """Beat: mail newly issued invoices; bounded, the next beat continues."""
    return invoice_mails.send_due(now=clock.now())
