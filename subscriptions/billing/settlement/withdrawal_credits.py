"""Credit for what a withdrawn template's customers paid for and no longer get.

The withdrawal only records whom it cancelled (:func:`expect`). The credits follow one by one, each
in its own transaction, also for a period that no run had invoiced yet.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from quantleap.core.audit import SYSTEM
from quantleap.core.inserts import insert_missing
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import CreditNote, WithdrawalCredit
from subscriptions.billing.selectors import coming
from subscriptions.billing.settlement import refunds
from subscriptions.billing.settlement.balance_due import of_subscription
from subscriptions.models import Subscription

log = structlog.get_logger(__name__)

LIMIT: Final = 500


def expect(cancelled: Iterable[Subscription], *, on: dt.date, now: dt.datetime) -> int:
    """Record, in the withdrawal's transaction, who is to be credited as of ``on`` (IST).

    One INSERT; an existing row stays as it is. Returns how many are billed at all.
    """
    rows = [
        WithdrawalCredit(
            partner_id=subscription.partner_id,
            environment=subscription.environment,
            subscription=subscription,
            withdrawn_on=on,
            created_at=now,
        )
        for subscription in cancelled
        if subscription.is_billed
    ]
    insert_missing(rows, unique=("partner_id", "environment", "subscription"))
    return len(rows)


def credit_due(*, now: dt.datetime, limit: int = LIMIT) -> int:
    """Credit at most ``limit`` of those whose periods are all invoiced; returns how many finished.

    Parallel, repeated or interrupted calls credit each subscription once.
    """
    done = 0
    for row_id in _ready().order_by("id").values_list("id", flat=True)[:limit]:
        try:
            done += _finish(row_id, now)
        except Exception:
            # A row that fails must not block those behind it. It stays in the queue, is retried,
            # and shows in the console and in the log.
            log.exception("withdrawal_credit_failed", row=row_id)
    return done


def _ready() -> QuerySet[WithdrawalCredit]:
    """Open rows for whose subscription and current period no run will invoice anything more."""
    due = coming()
    mine = due.filter(subscription_id=OuterRef("subscription_id"))
    begun = due.filter(continued_by__subscription_id=OuterRef("subscription_id"))
    return WithdrawalCredit.objects.filter(~Exists(mine), ~Exists(begun), done_at__isnull=True)


def _finish(row_id: int, now: dt.datetime) -> bool:
    with transaction.atomic():
        row = (
            WithdrawalCredit.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(pk=row_id, done_at__isnull=True)
            .first()
        )
        if row is None:  # another worker has it
            return False
        row.credit_note = _credit(row, now)
        row.done_at = now
        row.save(update_fields=["credit_note", "done_at"])
    return True


def _credit(row: WithdrawalCredit, now: dt.datetime) -> CreditNote | None:
    """The credit for the period that was running; None if there was none, or none of it is left."""
    running = of_subscription(row.subscription_id).filter(
        period_start__lte=row.withdrawn_on, period_end__gt=row.withdrawn_on
    )
    invoice_id = running.values_list("pk", flat=True).first()
    if invoice_id is None:
        return None
    done = refunds.credit_unused(
        invoice_id=invoice_id,
        last_used=row.withdrawn_on,
        idem_key=f"withdrawal:{row.subscription_id}",
        reason=f"The strategy was withdrawn on {day(row.withdrawn_on.isoformat())}; the days after "
        "it are credited",
        actor=SYSTEM,
        now=now,
    )
    return None if done is None else done.note
