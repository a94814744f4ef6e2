"""Texts of the console about suspensions: what they affect, what was decided, how far it has
come."""

from __future__ import annotations

import datetime as dt

from partners.models import Partner, WebhookDelivery
from partners.ports import FOLLOWERS, REACH
from partners.suspensions import Reinstatement, Suspension
from quantleap.core import clock
from quantleap.core.console import Cell, Panel
from quantleap.core.counts import are, counted
from quantleap.core.dates import day_text

Plan = Partner.Plan


def plan_words(partner: Partner) -> str:
    """What happens to a suspended partner's subscriptions."""
    if not partner.suspension_plan:
        return "Undecided: they continue to trade"
    until, done = partner.run_until, partner.plan_done_at
    words = {
        Plan.PAUSE_ALL: "All paused",
        Plan.RUN_UNTIL: f"Run until {_day(until)}, then paused" if until else "",
        Plan.CANCEL_AT_PERIOD_END: "Each cancelled at the end of its period",
    }[Plan(partner.suspension_plan)]
    if done is None:
        return words
    return f"{words}; done {_day(clock.ist_date(done))}"


def reach_panel(partner: Partner, now: dt.datetime) -> Panel:
    """What a partner's customers have, in both environments, as reported by all rooms."""
    rows = [
        (Cell(line.label), Cell(line.live), Cell(line.test))
        for room in REACH.all()
        for line in room(partner.pk, now)
    ]
    return Panel("What there is now", ("", "Live", "Test"), tuple(rows), "Nothing.")


def suspend_sentences(partner: Partner) -> list[str]:
    """Sentences shown before a suspension, or before another plan replaces the current one."""
    if partner.plan_done_at is not None:
        return [
            f"{partner.name} is suspended, and its plan has been carried out: "
            f"{plan_words(partner)}.",
            "Reinstate it first to decide again.",
        ]
    if partner.status == Partner.Status.SUSPENDED:
        return [
            f"{partner.name} is already suspended. Now: {plan_words(partner)}.",
            "Your choice replaces that plan; the suspension continues.",
            _mail_sentence(partner, "the new plan"),
        ]
    standing = FOLLOWERS.get().standing(partner.pk)
    return [
        f"{counted(standing.active, 'active subscription')}: choose what happens to them. "
        "Pausing takes effect at once, and no period that begins under it is billed. Running "
        "until a day, they are paused and not billed from the next day on. With "
        "cancelling, each ends with its current period, and is not renewed.",
        f"From the next call on {partner.name}'s keys can issue user tokens, pause and cancel, "
        "and nothing else. Its customers can still read, log in to their broker, pause, "
        "cancel and exit.",
        "Nobody new can subscribe. Webhooks are held, and no customer data goes to the partner.",
        _mail_sentence(partner, "the plan"),
    ]


def suspended_words(name: str, done: Suspension) -> str:
    """The message after a suspension."""
    if not done.changed:
        return f"{name} is already suspended with this plan."
    parts = [
        f"{counted(count, 'subscription')} {what}"
        for count, what in (
            (done.paused, "paused"),
            (done.ended, "cancelled"),
            (done.ending, "to end with the current period"),
        )
        if count
    ]
    if done.deliveries:
        parts.append(f"{counted(done.deliveries, 'webhook delivery', 'webhook deliveries')} held")
    return (
        f"{name} is suspended" + (f": {', '.join(parts)}." if parts else ".") + _mailed(done.told)
    )


def reinstate_sentences(partner: Partner) -> list[str]:
    """Sentences shown before a reinstatement."""
    if partner.status != Partner.Status.SUSPENDED:
        return [f"{partner.name} is not suspended."]
    standing = FOLLOWERS.get().standing(partner.pk)
    deliveries = WebhookDelivery.objects.filter(
        endpoint__partner_id=partner.pk, status=WebhookDelivery.Status.HELD
    ).count()
    sentences = [
        f"{partner.name} may call again. Suspended since {_moment(partner.suspended_at)}: "
        f"{partner.suspension_reason or 'no reason given'}. {plan_words(partner)}.",
        f"{counted(standing.held, 'subscription')} held by the suspension."
        + (
            " Each trades from its next entry on unless somebody else holds it, and is billed from "
            "the next period, or from today if the paid one is over."
            if standing.held
            else ""
        ),
    ]
    if standing.ending:
        sentences.append(
            f"{counted(standing.ending, 'subscription')} still to end: they continue and are "
            "renewed. Cancelled ones stay cancelled."
        )
    if deliveries:
        sentences.append(
            f"{counted(deliveries, 'webhook delivery', 'webhook deliveries')} held: they are "
            "only sent by a replay on the endpoint's page."
        )
    sentences.append(_mail_sentence(partner, "what trades again"))
    return sentences


def reinstated_words(name: str, done: Reinstatement) -> str:
    """The message after a reinstatement."""
    if not done.changed:
        return f"{name} was not suspended."
    return (
        f"{name} may call again. Subscriptions that trade again: {done.released:,}; renewed "
        f"again: {done.kept:,}." + _mailed(done.told)
    )


def _mail_sentence(partner: Partner, what: str) -> str:
    """Who will get a mail, shown beforehand."""
    count = len(set(partner.contact_emails))
    if not count:
        return f"{partner.name} has no contact address: nobody there gets a mail."
    return (
        f"{counted(count, 'contact')} of {partner.name} {are(count)} mailed {what}, in numbers "
        "and without your reason."
    )


def _mailed(count: int) -> str:
    return f" {counted(count, 'contact')} {are(count)} mailed." if count else ""


def _day(day: dt.date | None) -> str:
    return "" if day is None else day_text(day)


def _moment(at: dt.datetime | None) -> str:
    if at is None:
        return "an unknown time"
    local = clock.to_ist(at)
    return f"{_day(local.date())}, {local:%H:%M} IST"
