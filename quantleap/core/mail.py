"""Mail: rows that are sent until a server accepts them, and a backend that prints.

A room writes rows of its own table (:class:`quantleap.core.models.QueuedMail`) in the transaction
of the change that they report. Its :class:`MailQueue` claims due rows (one UPDATE, committed),
sends them without an open transaction, and records the outcome under the claim. If a sender dies in
between, its claim expires and the mail goes out again under the same Message-ID: a mail may be sent
twice, but never lost.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection, transaction
from django.utils.text import camel_case_to_spaces

from quantleap.core import audit, clock
from quantleap.core.audit import Actor
from quantleap.core.models import QueuedMail
from quantleap.core.tenancy import Environment

if TYPE_CHECKING:
    # anymail ships no types; its backend is Django's with a provider's statuses
    from django.core.mail.backends.console import EmailBackend as _ConsoleBackend
else:
    from anymail.backends.console import EmailBackend as _ConsoleBackend

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=QueuedMail)
#: Writes the mail of a row, to be sent over that backend. An exception is a failed try.
Compose = Callable[[M, BaseEmailBackend], EmailMessage]
#: The subject of a mail for the audit log: type and public id of a row.
About = Callable[[M], tuple[str, str]]
#: Refuses by an error to send a mail again at that moment.
Check = Callable[[M, dt.datetime], None]

# Waits after the first, second … failed try; the first try is immediate.
RETRY_AFTER: Final = (
    dt.timedelta(minutes=1),
    dt.timedelta(minutes=10),
    dt.timedelta(hours=1),
    dt.timedelta(hours=4),
    dt.timedelta(hours=12),
    dt.timedelta(hours=24),
)
BATCH: Final = 10
# A batch is sent one by one; longer than the sum of its time-outs (settings.EMAIL_TIMEOUT).
CLAIM: Final = dt.timedelta(minutes=15)
_ERROR_LENGTH: Final = 200

_CLAIM_DUE: Final = """
UPDATE {table} AS mail
   SET claimed_until = %(until)s, attempts = attempts + 1
 WHERE mail.id = ANY(ARRAY(
       SELECT due.id FROM {table} AS due
        WHERE due.status = 'PENDING' AND due.next_attempt_at <= %(now)s
          AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
        ORDER BY due.next_attempt_at, due.id
        LIMIT %(limit)s
          FOR UPDATE SKIP LOCKED))
RETURNING mail.id, mail.attempts, mail.claimed_until
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mail that this process has claimed until ``until``; ``attempt`` counts from 1."""

    id: int
    attempt: int
    until: dt.datetime


class MailQueue(Generic[M]):
    """The mails of one table. ``related`` names what ``compose`` reads of other tables."""

    def __init__(
        self,
        model: type[M],
        compose: Compose[M],
        *,
        about: About[M],
        related: Sequence[str],
        check: Check[M] = lambda mail, now: None,
    ) -> None:
        self.model = model
        self._compose = compose
        self._about = about
        self._related = related
        self._check = check
        self._one_run = threading.Lock()

    def send_due(self, *, now: dt.datetime, limit: int = 200) -> int:
        """Send at most ``limit`` due mails and record the outcome; returns how many were accepted.

        Any number of processes may run it at once; a second call in the same process returns 0.
        """
        if not self._one_run.acquire(blocking=False):
            return 0
        try:
            started = clock.monotonic()
            sent = tried = 0
            while tried < limit:
                moment = now + dt.timedelta(seconds=clock.monotonic() - started)
                claimed = self.claim(now=moment, limit=min(BATCH, limit - tried))
                if not claimed:
                    break
                tried += len(claimed)
                sent += self._send(claimed, moment)
            return sent
        finally:
            self._one_run.release()

    def claim(self, *, now: dt.datetime, limit: int) -> list[Claimed]:
        """Take at most ``limit`` due mails, oldest first (one UPDATE)."""
        table = connection.ops.quote_name(self.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                _CLAIM_DUE.format(table=table), {"now": now, "until": now + CLAIM, "limit": limit}
            )
            return [Claimed(*row) for row in cursor.fetchall()]

    def _send(self, claimed: Sequence[Claimed], now: dt.datetime) -> int:
        """Send claimed mails over one connection. No transaction is open here."""
        rows = self.model._default_manager.select_related(*self._related)
        mails = rows.in_bulk([claim.id for claim in claimed])
        backend = get_connection()
        sent = 0
        for claim in claimed:
            error = self._try(mails[claim.id], backend)
            sent += not error
            self.record(claim, error, now=now)
        backend.close()
        return sent

    def _try(self, mail: M, backend: BaseEmailBackend) -> str:
        """Write and send one mail; returns the reason of a failure, or an empty text."""
        try:
            self._compose(mail, backend).send()
        except Exception as error:  # noqa: BLE001
            # Every provider's backend has errors of its own, and one bad mail must not stop the
            # rest. The text may contain an address, so it goes into the row and not into the log.
            return f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]
        return ""

    def record(self, mail: Claimed, error: str, *, now: dt.datetime) -> None:
        """Record the outcome of a mail, but only while its claim is still ours."""
        mine = self.model._default_manager.filter(
            pk=mail.id,
            status=QueuedMail.Status.PENDING,
            claimed_until=mail.until,
            attempts=mail.attempt,
        )
        if not error:
            mine.update(
                status=QueuedMail.Status.SENT, sent_at=now, claimed_until=None, last_error=""
            )
            return
        table = self.model._meta.db_table
        log.warning("mail_failed", table=table, mail=mail.id, attempt=mail.attempt)
        if mail.attempt > len(RETRY_AFTER):
            mine.update(status=QueuedMail.Status.FAILED, claimed_until=None, last_error=error)
            return
        mine.update(
            next_attempt_at=now + RETRY_AFTER[mail.attempt - 1],
            claimed_until=None,
            last_error=error,
        )

    def send_again(self, *, mail_id: int, actor: Actor, now: dt.datetime) -> bool:
        """Send a mail once more at the request of staff; False if it is waiting to be sent anyway.

        Raises what the queue's ``check`` raises; nothing has changed then.
        """
        with transaction.atomic():
            mail = self._due_again(mail_id, now)
            if mail is None:
                return False
            self._check(mail, now)
            target_type, target_id = self._about(mail)
            # the rows of a tenant, except for mails to a partner itself, which cover both
            # environments
            tenant: Any = mail
            audit.record(
                actor=actor,
                action=f"{self._name}.send_again",
                target_type=target_type,
                target_id=target_id,
                partner_id=tenant.partner_id,
                environment=getattr(tenant, "environment", Environment.LIVE),
            )
        return True

    @property
    def _name(self) -> str:
        return camel_case_to_spaces(self.model.__name__).replace(" ", "_")

    def _due_again(self, mail_id: int, now: dt.datetime) -> M | None:
        """Make a finished mail due at once; None if it is waiting to be sent anyway."""
        changed = (
            self.model._default_manager.filter(pk=mail_id)
            .exclude(status=QueuedMail.Status.PENDING)
            .update(
                status=QueuedMail.Status.PENDING,
                attempts=0,
                next_attempt_at=now,
                sent_at=None,
                last_error="",
            )
        )
        if not changed:
            return None
        return self.model._default_manager.select_related(*self._related).get(pk=mail_id)


def letter(
    backend: BaseEmailBackend, *, recipient: str, subject: str, body: str, number: str
) -> EmailMessage:
    """A mail of plain text to one person. ``number`` names it, the same for every try."""
    return EmailMessage(
        subject=subject,
        body=body,
        to=[recipient],
        headers={"Message-ID": message_id(number)},
        connection=backend,
    )


def message_id(text: str) -> str:
    """Our Message-ID header, the same for every try of one mail."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip("> ")
    return f"<{text}@{domain}>"


class ConsoleBackend(_ConsoleBackend):
    """Prints mail; the default until a provider is configured (docs/billing.md#mail).

    Like anymail's, but shows an attachment by name and size, because nobody reads a PDF in base64.
    """

    def write_message(self, message: EmailMessage) -> None:
        """Print the headers, the text and the list of attachments."""
        head = {
            "From": message.from_email,
            "To": ", ".join(message.to),
            "Subject": message.subject,
            **message.extra_headers,
        }
        lines = [f"{name}: {value}" for name, value in head.items()]
        lines += ["", str(message.body).rstrip()]
        lines += [f"[{_attached(attachment)}]" for attachment in message.attachments]
        self.stream.write("\n".join(lines) + "\n" + "-" * 79 + "\n")


def _attached(attachment: Any) -> str:
    name, content, mimetype = attachment
    return f"{name}, {mimetype}, {len(content)} bytes"
