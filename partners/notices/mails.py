"""Mails to a partner's contacts: that it was suspended, what happens to the subscriptions, and that
it was reinstated.

The rows are written in the transaction that decides, so that nobody hears of something that was not
done, and only once (``partner_mail_uniq``); a task sends them (:mod:`quantleap.core.mail`). A mail
has numbers of subscriptions but names no customer, because a contact's mailbox is not ours. It also
omits the reason, which is for the console and the audit log (adr 0051).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from partners.models import Partner, WebhookDelivery
from partners.notices.models import PartnerMail
from partners.ports import FOLLOWERS
from quantleap.core.dates import day_text, moment_text
from quantleap.core.mail import MailQueue, letter
from quantleap.core.retention import HELD_DAYS

if TYPE_CHECKING:
    from partners.suspensions import Reinstatement, Suspension

Kind = PartnerMail.Kind


def tell_suspended(partner: Partner, done: Suspension, *, replaced: bool, now: dt.datetime) -> int:
    """Write a mail to every contact about what a suspension did and will do; returns their number.

    Call it in the suspension's transaction, at its end. ``replaced``: it replaced another plan.
    """
    kind = Kind.PLAN_CHANGED if replaced else Kind.SUSPENDED
    words = _CHANGED if replaced else _SUSPENDED
    body = words.format(
        name=_name(partner), at=moment_text(now), plan=_planned(partner, done), days=HELD_DAYS
    )
    return _write(partner, kind, _SUBJECTS[kind].format(name=_name(partner)), body, now)


def tell_reinstated(partner: Partner, done: Reinstatement, *, now: dt.datetime) -> int:
    """Write a mail to every contact that the partner is reinstated; returns their number. Call it
    in the transaction."""
    held = WebhookDelivery.objects.filter(
        endpoint__partner_id=partner.pk, status=WebhookDelivery.Status.HELD
    ).count()
    body = _REINSTATED.format(
        name=_name(partner),
        at=moment_text(now),
        released=done.released,
        kept=done.kept,
        held=held,
        days=HELD_DAYS,
    )
    subject = _SUBJECTS[Kind.REINSTATED].format(name=_name(partner))
    return _write(partner, Kind.REINSTATED, subject, body, now)


def _write(partner: Partner, kind: str, subject: str, body: str, now: dt.datetime) -> int:
    rows = PartnerMail.objects.bulk_create(
        PartnerMail(
            partner=partner,
            kind=kind,
            happened_at=now,
            recipient=recipient,
            subject=subject,
            body=body,
            next_attempt_at=now,
            created_at=now,
        )
        for recipient in sorted(set(partner.contact_emails))
    )
    return len(rows)


def _about(mail: PartnerMail) -> tuple[str, str]:
    return "partner", mail.partner.slug


def _compose(mail: PartnerMail, backend: BaseEmailBackend) -> EmailMessage:
    return letter(
        backend,
        recipient=mail.recipient,
        subject=mail.subject,
        body=mail.body,
        number=f"partner.{mail.partner_id}.{mail.pk}",
    )


QUEUE: Final = MailQueue(PartnerMail, _compose, about=_about, related=("partner",))
send_due: Final = QUEUE.send_due
send_again: Final = QUEUE.send_again


# -- texts ---------------------------------------------------------------------------------------
def _planned(partner: Partner, done: Suspension) -> str:
    """What happens to the subscriptions under the plan, in numbers."""
    plan = Partner.Plan(partner.suspension_plan)
    if plan is Partner.Plan.PAUSE_ALL:
        return _PAUSED.format(paused=done.paused)
    if plan is Partner.Plan.RUN_UNTIL:
        active = FOLLOWERS.get().standing(partner.pk).active
        return _RUNNING.format(active=active, day=_day(partner.run_until))
    return _ENDING.format(ending=done.ending, ended=done.ended)


def _name(partner: Partner) -> str:
    """The partner's name in one line, for a subject."""
    return " ".join(partner.name.split())


def _day(day: dt.date | None) -> str:
    return "" if day is None else day_text(day)


_SUBJECTS: Final = {
    Kind.SUSPENDED: "QuantLeap: {name} is suspended",
    Kind.PLAN_CHANGED: "QuantLeap: another plan for {name}, which stays suspended",
    Kind.REINSTATED: "QuantLeap: {name} is reinstated",
}
_SUSPENDED: Final = """\
Hello,

QuantLeap suspended {name} on {at}.

What happens to your customers' subscriptions, live and test:

{plan}

Your keys can issue tokens for existing customers, pause and cancel. Everything else is
answered with 403 partner_suspended, and nobody new can subscribe. Your customers can still read,
log in to their broker, pause, cancel and exit.

Webhooks are not sent meanwhile. Each is kept for {days} days and can be sent afterwards.

Answer this mail if you have questions.
"""
_CHANGED: Final = """\
Hello,

{name} stays suspended. On {at} QuantLeap changed what happens to
your customers' subscriptions, live and test:

{plan}

This replaces any earlier plan. Answer this mail if you have questions.
"""
_REINSTATED: Final = """\
Hello,

QuantLeap reinstated {name} on {at}. Your keys may call what they could before.

Subscriptions that trade again, from their next entry on: {released:,}
Subscriptions that were due to end, and are renewed again: {kept:,}

What was cancelled stays cancelled, and what somebody else holds stays paused.

Held webhooks: {held:,}. Each is kept for {days} days, and none is sent automatically:
tell us from when on you want them.
"""
_PAUSED: Final = """\
Paused now: {paused:,}
None enters from now on, and open positions run to their exit. No month that begins while you are
suspended is billed."""
_RUNNING: Final = """\
Trading until the end of {day} (India), then paused: {active:,}
No month that begins after that day is billed."""
_ENDING: Final = """\
Trading until their month is over, then cancelled: {ending:,}
Cancelled now, because their month was over: {ended:,}
None is renewed."""
