"""Mails invoices to their customers: one row per invoice, sent until it is accepted.

The outbox handler writes the rows; a task claims due ones (one UPDATE, committed), sends with no
transaction open, and records under the claim. Who dies in between leaves a claim that runs out:
then the mail goes out again under the same Message-ID, so twice is possible, never not at all.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection, transaction

from quantleap.core import audit, clock
from quantleap.core.audit import Actor
from quantleap.core.inserts import insert_missing
from quantleap.core.models import OutboxEvent
from subscriptions.billing import documents
from subscriptions.billing.models import Invoice, InvoiceMail
from subscriptions.billing.snapshots import InvoiceSnapshot
from subscriptions.billing.texts import amount, day, plain

log = structlog.get_logger(__name__)

ISSUED: Final = "invoice.issued"
# Waits after the first, second … failed try; the first try is at once.
RETRY_AFTER: Final = (
    dt.timedelta(minutes=1),
    dt.timedelta(minutes=10),
    dt.timedelta(hours=1),
    dt.timedelta(hours=4),
    dt.timedelta(hours=12),
    dt.timedelta(hours=24),
)
BATCH: Final = 10
# A batch is sent one after the other; longer than all its time-outs (settings.EMAIL_TIMEOUT).
CLAIM: Final = dt.timedelta(minutes=15)
_ERROR_LENGTH: Final = 200

_CLAIM_DUE = """
UPDATE billing_invoicemail AS mail
   SET claimed_until = %(until)s, attempts = attempts + 1
 WHERE mail.id = ANY(ARRAY(
       SELECT due.id FROM billing_invoicemail AS due
        WHERE due.status = 'PENDING' AND due.next_attempt_at <= %(now)s
          AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
        ORDER BY due.next_attempt_at, due.id
        LIMIT %(limit)s
          FOR UPDATE SKIP LOCKED))
RETURNING mail.id, mail.invoice_id, mail.attempts, mail.claimed_until
"""

_one_run = threading.Lock()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mail that is ours until ``until``; ``attempt`` counts from 1."""

    id: int
    invoice_id: int
    attempt: int
    until: dt.datetime


def queue_mails(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
    """Outbox handler, run in the relay's transaction: a row for every invoice issued.

    Two queries however large the batch; a repeated event makes no second row (invoice_mail_uniq).
    """
    issued = [event.payload["invoice_id"] for event in events if event.type == ISSUED]
    if not issued:
        return
    rows = Invoice.objects.filter(public_id__in=issued).order_by("id")
    insert_missing(
        [
            InvoiceMail(
                partner_id=partner_id,
                environment=environment,
                invoice_id=invoice_id,
                next_attempt_at=now,
                created_at=now,
            )
            for invoice_id, partner_id, environment in rows.values_list(
                "id", "partner_id", "environment"
            )
        ],
        unique=("invoice",),
    )


def send_due(*, now: dt.datetime, limit: int = 200) -> int:
    """Send at most ``limit`` due mails and record them; returns how many were accepted.

    Any number of processes may do so at once; a second call in the same process returns 0.
    """
    if not _one_run.acquire(blocking=False):
        return 0
    try:
        started = clock.monotonic()
        sent = tried = 0
        while tried < limit:
            moment = now + dt.timedelta(seconds=clock.monotonic() - started)
            mails = claim(now=moment, limit=min(BATCH, limit - tried))
            if not mails:
                break
            tried += len(mails)
            sent += _send(mails, moment)
        return sent
    finally:
        _one_run.release()


def claim(*, now: dt.datetime, limit: int) -> list[Claimed]:
    """Take at most ``limit`` due mails, oldest first (one UPDATE)."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_DUE, {"now": now, "until": now + CLAIM, "limit": limit})
        return [Claimed(*row) for row in cursor.fetchall()]


def _send(mails: Sequence[Claimed], now: dt.datetime) -> int:
    """Send what was claimed, over one connection. No transaction is open here."""
    invoices = Invoice.objects.in_bulk([mail.invoice_id for mail in mails])
    backend = get_connection()
    sent = 0
    for mail in mails:
        error = _try(invoices[mail.invoice_id], backend)
        sent += not error
        record(mail, error, now=now)
    backend.close()
    return sent


def _try(invoice: Invoice, backend: BaseEmailBackend) -> str:
    """Make and send one mail; why it failed, or nothing."""
    try:
        message(invoice, backend).send()
    except Exception as error:  # noqa: BLE001
        # Every provider's backend has errors of its own, and one bad mail must not stop the rest.
        # The words may hold the customer's address: they are for the row, not for the log.
        return f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]
    return ""


def record(mail: Claimed, error: str, *, now: dt.datetime) -> None:
    """Write what became of a mail, only while its claim is still ours."""
    mine = InvoiceMail.objects.filter(
        pk=mail.id,
        status=InvoiceMail.Status.PENDING,
        claimed_until=mail.until,
        attempts=mail.attempt,
    )
    if not error:
        mine.update(status=InvoiceMail.Status.SENT, sent_at=now, claimed_until=None, last_error="")
        return
    log.warning("invoice_mail_failed", mail=mail.id, attempt=mail.attempt)
    if mail.attempt > len(RETRY_AFTER):
        mine.update(status=InvoiceMail.Status.FAILED, claimed_until=None, last_error=error)
    else:
        mine.update(
            next_attempt_at=now + RETRY_AFTER[mail.attempt - 1],
            claimed_until=None,
            last_error=error,
        )


def send_again(*, mail_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Staff want a mail to go out once more; False where it waits to be sent anyway."""
    with transaction.atomic():
        changed = (
            InvoiceMail.objects.filter(pk=mail_id)
            .exclude(status=InvoiceMail.Status.PENDING)
            .update(
                status=InvoiceMail.Status.PENDING,
                attempts=0,
                next_attempt_at=now,
                sent_at=None,
                last_error="",
            )
        )
        if changed:
            mail = InvoiceMail.objects.select_related("invoice").get(pk=mail_id)
            audit.record(
                actor=actor,
                action="invoice_mail.send_again",
                target_type="invoice",
                target_id=mail.invoice.public_id,
                partner_id=mail.partner_id,
                environment=mail.environment,
            )
    return bool(changed)


def message(invoice: Invoice, backend: BaseEmailBackend | None = None) -> EmailMessage:
    """The mail of an invoice with its PDF: from the snapshot, as the document is."""
    snapshot: InvoiceSnapshot = invoice.snapshot
    supplier, number = plain(snapshot["supplier"]["legal_name"]), snapshot["number"]
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip("> ")
    made = EmailMessage(
        subject=f"Invoice {number} from {supplier}",
        body=_BODY.format(
            name=plain(snapshot["customer"]["name"]) or "customer",
            number=number,
            issued_on=day(snapshot["issued_on"]),
            template=plain(snapshot["template"]),
            period_start=day(snapshot["lines"][0]["period_start"]),
            period_last=day(snapshot["lines"][-1]["period_last"]),
            total=amount(snapshot["total"], "₹ "),
            due_on=day(snapshot["due_on"]),
            email=snapshot["supplier"]["email"],
            supplier=supplier,
        ),
        to=[snapshot["customer"]["email"]],
        reply_to=[snapshot["supplier"]["email"]],
        headers={"Message-ID": f"<{invoice.public_id}@{domain}>"},
        connection=backend,
    )
    made.attach(f"{number}.pdf", documents.invoice_pdf(invoice), "application/pdf")
    return made


_BODY: Final = """\
Dear {name},

your invoice {number} of {issued_on} is attached: {template}, {period_start} to {period_last}.

Total payable: {total}
Due date: {due_on}

Please quote {number} with your payment. Questions: {email}

{supplier}
"""
