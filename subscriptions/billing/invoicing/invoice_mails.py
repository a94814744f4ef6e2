"""Mail invoices to their customers: one row per invoice, sent until a server accepts the mail.

The outbox handler writes the rows; a task sends them (:mod:`quantleap.core.mail`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from quantleap.core.inserts import insert_missing
from quantleap.core.mail import MailQueue, message_id
from quantleap.core.models import OutboxEvent
from subscriptions.billing.invoicing import documents
from subscriptions.billing.invoicing.formatting import amount, day, plain
from subscriptions.billing.invoicing.snapshots import InvoiceSnapshot
from subscriptions.billing.models import Invoice, InvoiceMail

ISSUED: Final = "invoice.issued"


def queue_mails(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
    """Outbox handler, run in the relay's transaction: one row per issued invoice.

    Two queries however large the batch. A repeated event makes no second row (invoice_mail_uniq).
    """
    issued_ids = [event.payload["invoice_id"] for event in events if event.type == ISSUED]
    if not issued_ids:
        return
    rows = Invoice.objects.filter(public_id__in=issued_ids).order_by("id")
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


def message(invoice: Invoice, backend: BaseEmailBackend | None = None) -> EmailMessage:
    """The mail of an invoice with its PDF, built from the snapshot as the document is."""
    snapshot: InvoiceSnapshot = invoice.snapshot
    supplier, number = plain(snapshot["supplier"]["legal_name"]), snapshot["number"]
    mail = EmailMessage(
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
        headers={"Message-ID": message_id(invoice.public_id)},
        connection=backend,
    )
    mail.attach(f"{number}.pdf", documents.invoice_pdf(invoice), "application/pdf")
    return mail


_BODY: Final = """\
Dear {name},

your invoice {number} of {issued_on} is attached: {template}, {period_start} to {period_last}.

Total payable: {total}
Due date: {due_on}

Please quote {number} with your payment. Questions: {email}

{supplier}
"""


def _compose(mail: InvoiceMail, backend: BaseEmailBackend) -> EmailMessage:
    return message(mail.invoice, backend)


def _about(mail: InvoiceMail) -> tuple[str, str]:
    return "invoice", mail.invoice.public_id


QUEUE: Final = MailQueue(InvoiceMail, _compose, about=_about, related=("invoice",))
send_due: Final = QUEUE.send_due
send_again: Final = QUEUE.send_again
