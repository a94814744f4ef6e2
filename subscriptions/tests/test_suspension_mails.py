"""A partner's contacts are told that it is suspended, with the plan, and that it is back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.models import Partner
from partners.notices import mails
from partners.notices.models import PartnerMail
from partners.suspensions import Reinstatement, Suspension, reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm
from quantleap.core.tests.parallel import at_once
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
LATER = TEST_NOW + dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
CONTACTS = ["ops@partner.example", "tech@partner.example"]
Plan = Partner.Plan


@pytest.fixture
def partner() -> Partner:
    load_reference_data()
    return make_partner("zebu", name="Zebu", contact_emails=[*CONTACTS, CONTACTS[0]])


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    return client


def suspend(partner: Partner, plan: str = Plan.PAUSE_ALL, **more: Any) -> Suspension:
    values: dict[str, Any] = {"reason": "front-running", "actor": SYSTEM, "now": LATER, **more}
    return suspend_partner(partner_id=partner.pk, plan=plan, **values)


def reinstate(partner: Partner, now: dt.datetime = LATER) -> Reinstatement:
    return reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=now)


def followers(partner: Partner, count: int = 1, **more: Any) -> list[Subscription]:
    template = make_template(environment=more.pop("environment", "live"))
    return [make_subscription(template, partner, now=TEST_NOW, **more) for _ in range(count)]


def sent(now: dt.datetime = LATER) -> list[Any]:
    """What leaves by the task's call, and nothing more by a second one."""
    mail.outbox.clear()
    count = mails.send_due(now=now)
    assert mails.send_due(now=now) == 0
    assert len(mail.outbox) == count
    return list(mail.outbox)


def test_a_partner_was_suspended_and_nobody_there_was_told(partner: Partner) -> None:
    live = followers(partner, 2)
    followers(partner, environment="test")
    suspension = suspend(partner)
    assert mail.outbox == [], "nothing leaves before the commit"
    assert (suspension.paused, suspension.told) == (3, 2)
    mails = sent()
    assert sorted(message.to[0] for message in mails) == CONTACTS
    assert len({message.extra_headers["Message-ID"] for message in mails}) == 2
    for message in mails:
        assert message.subject == "QuantLeap: Zebu is suspended"
        assert "QuantLeap suspended Zebu on 4 Aug 2026, " in message.body
        assert "Paused now: 3\n" in message.body
        assert "kept for 30 days" in message.body
        assert "front-running" not in message.body, "the reason is ours"
        for customer in (follower.customer for follower in live):
            assert customer.email not in message.body
            assert customer.public_id not in message.body
    assert set(PartnerMail.objects.values_list("status", flat=True)) == {"SENT"}
    assert AuditEntry.objects.get(action="partner.suspended").data["contacts_told"] == 2


@pytest.mark.parametrize(
    ("plan", "more", "lines"),
    [
        (
            Plan.RUN_UNTIL,
            {"run_until": dt.date(2026, 8, 31)},
            ["Trading until the end of 31 Aug 2026 (India), then paused: 2\n"],
        ),
        (
            Plan.CANCEL_AT_PERIOD_END,
            {},
            [
                "Trading until their month is over, then cancelled: 2\n",
                "Cancelled now, because their month was over: 0\n",
            ],
        ),
    ],
    ids=["until a day", "at period end"],
)
def test_the_mail_says_the_plan_in_words_and_numbers(
    partner: Partner, plan: str, more: dict[str, Any], lines: list[str]
) -> None:
    followers(partner, 2)
    suspend(partner, plan, **more)
    for message in sent():
        for line in lines:
            assert line in message.body, line


def test_another_plan_is_told_and_the_same_one_is_not(partner: Partner) -> None:
    followers(partner)
    suspend(partner, Plan.CANCEL_AT_PERIOD_END)
    assert len(sent()) == 2
    assert suspend(partner, Plan.CANCEL_AT_PERIOD_END, now=LATER + MINUTE).told == 0
    assert sent(LATER + MINUTE) == []
    assert suspend(partner, now=LATER + 2 * MINUTE).told == 2
    for message in sent(LATER + 2 * MINUTE):
        assert message.subject == "QuantLeap: another plan for Zebu, which stays suspended"
        assert "Paused now: 1\n" in message.body


def test_a_reinstatement_is_told_with_what_trades_again(partner: Partner) -> None:
    followers(partner, 2)
    with running_sink() as sink:
        _hold_one(partner, sink)
    assert reinstate(partner).told == 2
    assert not reinstate(partner).changed
    messages = [message for message in sent() if "reinstated" in message.subject]
    assert len(messages) == 2
    for message in messages:
        assert "from their next entry on: 2\n" in message.body
        assert "were due to end, and are renewed again: 0\n" in message.body
        assert "Held webhooks: 1." in message.body
        assert "settled" not in message.body


def _hold_one(partner: Partner, sink: Sink) -> None:
    """An endpoint with one delivery, which the suspension holds, and the suspension."""
    tell(partner, now=LATER)  # what was before is relayed, and nobody wants it
    endpoint_of(partner, sink)
    tell(partner, now=LATER)
    suspend(partner)


class _Stopped(Exception):
    """The commit does not come."""


def _suspend_and_stop(partner: Partner) -> None:
    with transaction.atomic():
        suspend(partner)
        raise _Stopped


def test_a_suspension_that_is_rolled_back_tells_nobody(partner: Partner) -> None:
    with pytest.raises(_Stopped):
        _suspend_and_stop(partner)
    assert not PartnerMail.objects.exists()
    assert sent() == []


def test_a_partner_without_contacts_is_said_to_have_none(console: Client) -> None:
    load_reference_data()
    mute, told = make_partner("mute"), make_partner("told", contact_emails=CONTACTS[:1])
    pages = {
        partner: console.get(
            reverse("admin:partners_partner_suspend", args=[partner.pk])
        ).content.decode()
        for partner in (mute, told)
    }
    assert "Mute has no contact address: nobody there gets a mail." in pages[mute]
    assert (
        "1 contact of Told is mailed the plan, in numbers and without your reason." in pages[told]
    )
    for partner in (mute, told):
        page = reverse("admin:partners_partner_suspend", args=[partner.pk])
        body = {"plan": "PAUSE_ALL", "reason": "fraud", "again": "yes"}
        done = confirm(console, page, body, follow=True).content.decode()
        assert ("1 contact is mailed." in done) == (partner is told)
    assert PartnerMail.objects.get().recipient == CONTACTS[0]


def test_a_mail_to_a_partner_is_shown_and_sent_again(console: Client, partner: Partner) -> None:
    suspend(partner)
    sent()
    row = PartnerMail.objects.earliest("id")
    listed = reverse("admin:partners_partnermail_changelist")
    assert row.recipient in console.get(f"{listed}?q=ops").content.decode()
    shown = console.get(reverse("admin:partners_partnermail_change", args=[row.pk]))
    assert "Paused now: 0" in shown.content.decode()
    assert "ql-lines" in shown.content.decode(), "as it was written, line by line"
    page = reverse("admin:partners_partnermail_send_again", args=[row.pk])
    confirm(console, page)
    assert AuditEntry.objects.get(action="partner_mail.send_again").target_id == "zebu"
    assert [message.to for message in sent(clock.now())] == [[row.recipient]]


def test_lists_of_mails_ask_as_often_however_many_there_are(
    console: Client, partner: Partner, django_assert_num_queries: Any
) -> None:
    listed = reverse("admin:partners_partnermail_changelist")
    suspend(partner)
    console.get(listed)  # what is looked up once
    with CaptureQueriesContext(connection) as few:
        console.get(listed)
    for number in range(10):
        other = make_partner(f"other{number}", contact_emails=CONTACTS)
        suspend(other)
    with django_assert_num_queries(len(few)):
        console.get(listed)


@pytest.mark.django_db(transaction=True)
def test_two_who_suspend_at_once_write_once() -> None:
    partner = make_partner("zebu", contact_emails=CONTACTS)
    suspensions = at_once(4, lambda _number: suspend(partner, now=clock.now()))
    assert sorted(suspension.told for suspension in suspensions) == [0, 0, 0, 2]
    assert sorted(PartnerMail.objects.values_list("recipient", flat=True)) == CONTACTS
