"""Every invoice is mailed, once, whatever happens to events, senders and providers."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from django.core import mail
from django.core.mail import EmailMessage
from django.db import connection
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.emails.changes import change_email
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core import mail as queued
from quantleap.core import outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.mail import ConsoleBackend
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.tests.confirming import confirm
from quantleap.settings import base
from subscriptions.billing.invoicing import invoice_mails
from subscriptions.billing.invoicing.documents import invoice_pdf
from subscriptions.billing.models import Invoice, InvoiceMail
from subscriptions.billing.tests.clerk import staff
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, noon

NOW = noon(START)
MINUTE = dt.timedelta(minutes=1)


class Broken:
    """A provider that is down: ``failures`` sends raise, then mails are accepted."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.sent: list[EmailMessage] = []

    def send_messages(self, messages: list[EmailMessage]) -> int:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("no mail today")
        self.sent += messages
        return len(messages)

    def close(self) -> None:
        return None


def prepare() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def partner(db: None) -> Partner:
    return prepare()


def issue(partner: Partner | None, count: int = 1) -> None:
    follow(make_template(), partner, [START] * count)
    bill(START)


def relayed(partner: Partner | None, count: int = 1) -> None:
    issue(partner, count)
    outbox.relay(now=NOW)


# -- one mail ------------------------------------------------------------------------------------
def test_an_issued_invoice_is_mailed_with_its_document(partner: Partner) -> None:
    relayed(partner)
    assert invoice_mails.send_due(now=NOW) == 1
    invoice = Invoice.objects.get()
    [message] = mail.outbox
    assert message.to == [invoice.customer.email]
    assert message.reply_to == ["billing@quantleap.example"]
    assert message.subject == (
        f"Invoice {invoice.number} from QuantLeap Technologies Private Limited"
    )
    assert "Total payable: ₹ 1,178.82" in str(message.body)
    assert "31 Jan 2026 to 27 Feb 2026" in str(message.body)
    assert message.message()["Message-ID"] == f"<{invoice.public_id}@quantleap.example>"
    [(name, content, kind)] = message.attachments
    assert (name, kind) == (f"{invoice.number}.pdf", "application/pdf")
    assert content == invoice_pdf(invoice)
    row = InvoiceMail.objects.get()
    assert (row.status, row.attempts, row.claimed_until) == ("SENT", 1, None)
    assert row.sent_at is not None


def test_an_issued_invoice_keeps_its_address(
    partner: Partner,
) -> None:
    """A mail that still waits goes to the old address; the next invoice goes to the new one."""
    relayed(partner)
    first = Invoice.objects.get()
    before = first.customer.email
    change_email(
        customer_id=first.customer_id, email="new@example.com", reason="", actor=SYSTEM, now=NOW
    )
    invoice_mails.send_due(now=NOW)
    first.refresh_from_db()
    assert first.snapshot["customer"]["email"] == before
    bill(START + dt.timedelta(days=31))
    outbox.relay(now=NOW)
    invoice_mails.send_due(now=NOW)
    assert [message.to for message in mail.outbox] == [[before], ["new@example.com"]]
    second = Invoice.objects.order_by("id").last()
    assert second is not None
    assert second.snapshot["customer"]["email"] == "new@example.com"
    event = OutboxEvent.objects.filter(type="invoice.issued").order_by("id").last()
    assert event is not None
    assert (event.payload["user_email"], event.payload["external_user_id"]) == (
        "new@example.com",
        None,
    )


def test_customers_without_a_partner_get_mail_too(partner: Partner) -> None:
    relayed(None)
    assert invoice_mails.send_due(now=NOW) == 1


def test_sent_once_however_often_events_and_senders_come(partner: Partner) -> None:
    relayed(partner, 3)
    OutboxEvent.objects.update(published_at=None)  # the relay died before its commit
    outbox.relay(now=NOW + MINUTE)
    invoice_mails.queue_mails(list(OutboxEvent.objects.all()), NOW)
    assert InvoiceMail.objects.count() == 3
    assert invoice_mails.send_due(now=NOW + MINUTE) == 3
    assert invoice_mails.send_due(now=NOW + dt.timedelta(days=30)) == 0
    assert len(mail.outbox) == len({message.to[0] for message in mail.outbox}) == 3


def test_other_events_make_no_mail(partner: Partner) -> None:
    issue(partner)
    OutboxEvent.objects.update(type="invoice.paid")
    outbox.relay(now=NOW)
    assert not InvoiceMail.objects.exists()


def test_the_handler_asks_twice_however_many(
    partner: Partner, django_assert_num_queries: Any
) -> None:
    issue(partner, 20)
    events = list(OutboxEvent.objects.filter(type=invoice_mails.ISSUED))
    with django_assert_num_queries(2):
        invoice_mails.queue_mails(events, NOW)
    assert InvoiceMail.objects.count() == 20


def test_the_limit_is_kept(partner: Partner) -> None:
    relayed(partner, 4)
    assert invoice_mails.send_due(now=NOW, limit=3) == 3
    assert invoice_mails.send_due(now=NOW, limit=3) == 1


# -- through a provider --------------------------------------------------------------------------
PROVIDER = "https://api.postmarkapp.com/email"


@pytest.fixture
def provider(settings: Any) -> Iterator[responses.RequestsMock]:
    settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
    settings.ANYMAIL = {"POSTMARK_SERVER_TOKEN": "token-of-a-test"}
    with responses.RequestsMock() as mocked:
        yield mocked


def test_a_provider_gets_the_document(partner: Partner, provider: responses.RequestsMock) -> None:
    relayed(partner)
    invoice = Invoice.objects.get()
    accepted = {"To": invoice.customer.email, "MessageID": "m-1", "ErrorCode": 0, "Message": "OK"}
    provider.post(PROVIDER, json=accepted)
    invoice_mails.send_due(now=NOW)
    row = InvoiceMail.objects.get()
    assert (row.status, row.last_error) == ("SENT", "")
    sent = json.loads(provider.calls[0].request.body or "")
    assert sent["To"] == invoice.customer.email
    [attached] = sent["Attachments"]
    assert attached["Name"] == f"{invoice.number}.pdf"
    assert base64.b64decode(attached["Content"]) == invoice_pdf(invoice)
    headers = {header["Name"]: header["Value"] for header in sent["Headers"]}
    assert headers["Message-ID"] == f"<{invoice.public_id}@quantleap.example>"


def test_a_providers_refusal_is_kept_without_its_token(
    partner: Partner, provider: responses.RequestsMock
) -> None:
    provider.post(PROVIDER, status=503, body="come back later")
    relayed(partner)
    assert invoice_mails.send_due(now=NOW) == 0
    row = InvoiceMail.objects.get()
    assert row.status == "PENDING"
    assert row.last_error.startswith("AnymailRequestsAPIError")
    assert "token-of-a-test" not in row.last_error


# -- when sending fails --------------------------------------------------------------------------
def test_a_failure_is_tried_again_later(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Broken(failures=1)
    monkeypatch.setattr(queued, "get_connection", lambda: backend)
    relayed(partner)
    assert invoice_mails.send_due(now=NOW) == 0
    row = InvoiceMail.objects.get()
    assert (row.status, row.last_error) == ("PENDING", "ConnectionRefusedError: no mail today")
    assert invoice_mails.send_due(now=NOW + MINUTE / 2) == 0
    assert invoice_mails.send_due(now=NOW + 2 * MINUTE) == 1
    row.refresh_from_db()
    assert (row.status, row.attempts, row.last_error) == ("SENT", 2, "")
    assert len(backend.sent) == 1


def test_one_bad_mail_does_not_stop_the_rest(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Broken(failures=1)
    monkeypatch.setattr(queued, "get_connection", lambda: backend)
    relayed(partner, 3)
    assert invoice_mails.send_due(now=NOW) == 2


def test_it_gives_up_in_the_end(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued, "get_connection", lambda: Broken(failures=1))
    relayed(partner)
    moment = NOW
    for wait in (dt.timedelta(0), *queued.RETRY_AFTER):
        moment += wait + MINUTE
        invoice_mails.send_due(now=moment)
    row = InvoiceMail.objects.get()
    assert (row.status, row.attempts) == ("FAILED", len(queued.RETRY_AFTER) + 1)
    assert invoice_mails.send_due(now=moment + dt.timedelta(days=9)) == 0


def test_a_sender_that_died_leaves_a_claim_that_runs_out(partner: Partner) -> None:
    relayed(partner)
    assert len(invoice_mails.QUEUE.claim(now=NOW, limit=5)) == 1  # and dies
    assert invoice_mails.send_due(now=NOW + MINUTE) == 0
    assert invoice_mails.send_due(now=NOW + queued.CLAIM) == 1


def test_a_late_sender_records_nothing_over_another(partner: Partner) -> None:
    relayed(partner)
    [late] = invoice_mails.QUEUE.claim(now=NOW, limit=1)
    assert invoice_mails.send_due(now=NOW + queued.CLAIM) == 1
    invoice_mails.QUEUE.record(late, "too late", now=NOW + queued.CLAIM)
    assert InvoiceMail.objects.get().status == "SENT"


# -- at once -------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_senders_at_once_claim_every_mail_once() -> None:
    relayed(prepare(), 12)
    assert sorted(claimed_by_four()) == sorted(InvoiceMail.objects.values_list("id", flat=True))


@pytest.mark.django_db(transaction=True)
def test_control_without_the_claim_they_would_send_it_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        queued,
        "_CLAIM_DUE",
        "SELECT id, attempts, now() FROM {table} WHERE status = 'PENDING' LIMIT %(limit)s",
    )
    relayed(prepare(), 12)
    assert len(claimed_by_four()) > 12


def claimed_by_four() -> list[int]:
    """What four processes' worth of senders took, until each found nothing."""
    claimed: list[int] = []
    together = threading.Barrier(4)

    def take() -> None:
        try:
            together.wait()
            for _ in range(6):
                claimed.extend(row.id for row in invoice_mails.QUEUE.claim(now=NOW, limit=5))
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return claimed


# -- in the console, and on it -------------------------------------------------------------------
def test_staff_send_it_again(partner: Partner) -> None:
    relayed(partner)
    invoice_mails.send_due(now=NOW)
    row = InvoiceMail.objects.get()
    console = staff("view_invoicemail", "change_invoicemail")
    assert console.get(reverse("admin:billing_invoicemail_changelist")).status_code == 200
    url = reverse("admin:billing_invoicemail_send_again", args=[row.pk])
    assert "once more" in console.get(url).content.decode()
    for _ in range(2):
        assert confirm(console, url, {"confirm": "yes"}).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.attempts, row.sent_at) == ("PENDING", 0, None)
    assert AuditEntry.objects.filter(action="invoice_mail.send_again").count() == 1
    # what staff asked for is due now, by the real clock
    assert invoice_mails.send_due(now=row.next_attempt_at) == 1
    assert len(mail.outbox) == 2


def test_mail_is_printed_by_default() -> None:
    assert base.EMAIL_BACKEND == "quantleap.core.mail.ConsoleBackend"


def test_the_console_shows_an_attachment_by_name() -> None:
    stream = io.StringIO()
    message = EmailMessage("Hello", "Text", "us@example.com", ["asha@example.com"])
    message.attach("QL26-00000001.pdf", b"%PDF-" + b"x" * 995, "application/pdf")
    assert ConsoleBackend(stream=stream).send_messages([message]) == 1
    printed = stream.getvalue()
    assert "To: asha@example.com" in printed
    assert "[QL26-00000001.pdf, application/pdf, 1000 bytes]" in printed
    assert "xxx" not in printed
