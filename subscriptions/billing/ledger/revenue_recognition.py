"""Deferred revenue becomes revenue day by day (docs/billing.md#the-run)."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction

from quantleap.core.clock import ist_date
from quantleap.core.locks import transaction_lock
from quantleap.core.money import ZERO
from subscriptions.billing.errors import FutureDate, IdemKeyReused
from subscriptions.billing.ledger import chart_of_accounts, posting

CHUNK: Final = 5000

# What is earned by the end of the day: the share of the period's days that are over, of the value
# that was not credited, rounded down to the paisa; all of it on the last day.
_EARN: Final = """
WITH open AS (
    SELECT id, recognised, taxable - credited_taxable AS value, period_start, period_end
      FROM billing_invoice
     WHERE deferred AND id > %(after)s
     ORDER BY id LIMIT %(chunk)s FOR NO KEY UPDATE
), earned AS (
    SELECT id, recognised AS before,
           CASE WHEN %(through)s >= period_end - 1 THEN value
                WHEN %(through)s < period_start THEN 0
                ELSE trunc(value * (%(through)s - period_start + 1)
                           / (period_end - period_start), 2) END AS target
      FROM open
), moved AS (
    UPDATE billing_invoice AS invoice SET recognised = earned.target
      FROM earned
     WHERE invoice.id = earned.id AND earned.target > earned.before
    RETURNING invoice.id, invoice.partner_id, invoice.environment, earned.before,
              earned.target - earned.before AS part
), parts AS (
    SELECT partner_id, environment, min(id) AS first, sum(before) AS before, sum(part) AS part
      FROM moved GROUP BY partner_id, environment
)
SELECT (SELECT count(*) FROM open), (SELECT max(id) FROM open),
       (SELECT jsonb_agg(jsonb_build_array(
            partner_id, environment, first, before::text, part::text)) FROM parts)
"""


def recognise(through: dt.date, *, now: dt.datetime, chunk: int = CHUNK) -> Decimal:
    """Recognise what is earned by the end of ``through`` (IST). Returns the rupees of this call.

    Repeated calls for a day and skipped days lead to the same total. One posting per partner and
    chunk, each chunk in its own transaction. Raises FutureDate.
    """
    if through > ist_date(now):
        raise FutureDate(f"{through} has not come yet", details={"through": "Not after today."})
    total, after = ZERO, 0
    while True:
        with transaction.atomic():
            transaction_lock("billing.recognition")
            seen, last, parts = _earn(through, after, chunk)
            for partner_id, environment, first, before, part in parts:
                _post(partner_id, environment, f"{first}:{before}", Decimal(part), through, now)
                total += Decimal(part)
        if seen < chunk:
            return total
        after = last


def _earn(through: dt.date, after: int, chunk: int) -> tuple[int, int, list[list[Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(_EARN, {"through": through, "after": after, "chunk": chunk})
        seen, last, parts = cursor.fetchone()
    return seen, last, json.loads(parts or "[]")


def _post(
    partner_id: int | None,
    environment: str,
    place: str,
    amount: Decimal,
    through: dt.date,
    now: dt.datetime,
) -> None:
    """Dr deferred revenue, Cr revenue. ``place``: first invoice and what was recognised before."""
    posted = posting.post(
        idem_key=f"recognition:{through}:{place}",
        kind="recognition",
        effective_on=through,
        postings=[
            posting.debit(chart_of_accounts.DEFERRED_REVENUE, amount),
            posting.credit(chart_of_accounts.REVENUE, amount),
        ],
        now=now,
        partner_id=partner_id,
        environment=environment,
    )
    if not posted.created:  # the invoices have changed, so the posting must be new
        raise IdemKeyReused(f"recognition:{through}:{place}")
