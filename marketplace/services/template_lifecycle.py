"""Lifecycle of a template: publish, close to new subscribers, reopen, withdraw."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.db.models import F, Max, Q

from marketplace.definition import Definition, DefinitionError, definition_json, parse_definition
from marketplace.diff import Change, changes
from marketplace.models import Price, Template, TemplateStats, TemplateVersion
from marketplace.ports import PARTNERS, SUBSCRIBERS, RefusedSubscription
from marketplace.selectors import draft_definition, load_market, price_in_force
from marketplace.selectors.catalogue import STANDARD
from marketplace.validation import Finding, check_definition
from quantleap.core import audit, clock, outbox
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, InvalidTransition, NotFound
from quantleap.core.models import OutboxEvent

NOTE_LENGTH: Final = 500
#: Subscriptions that the publish page names for each reason why they would not enter.
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """Subscriptions that would not enter for one reason: their number, and the ``first`` of
    them."""

    words: str
    count: int
    first: list[RefusedSubscription]

    @property
    def more(self) -> int:
        """How many there are in addition to ``first``."""
        return self.count - len(self.first)


@dataclass(frozen=True, slots=True)
class PublishPreview:
    """The effect of publishing. ``findings`` prevent it; ``changes`` are against the current
    version."""

    number: int
    findings: list[Finding]
    changes: list[Change]
    subscribers: int
    refused: list[RefusedSubscription]

    @property
    def refusals(self) -> list[Refusal]:
        """``refused`` by cause and text: how many would not enter, and the first of them."""
        by_words: dict[str, list[RefusedSubscription]] = {}
        for subscription in self.refused:
            by_words.setdefault(subscription.words, []).append(subscription)
        return [
            Refusal(words, len(subscriptions), subscriptions[:SHOWN])
            for words, subscriptions in by_words.items()
        ]

    @property
    def allowed(self) -> bool:
        """Whether publish() would succeed."""
        return not self.findings and bool(self.changes)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """``changed`` False: it had been withdrawn before. ``cancelled`` subscriptions."""

    changed: bool
    cancelled: int


def _current(template: Template) -> Definition | None:
    version = template.current_version
    return None if version is None else parse_definition(version.definition)


def _check(template: Template, now: dt.datetime) -> tuple[Definition, list[Finding]]:
    """The draft, and everything that prevents its publication on ``now``'s day."""
    day = clock.ist_date(now)
    try:
        draft = draft_definition(template.pk)
    except DefinitionError as error:
        return Definition(()), [Finding(None, None, error.path, error.message)]
    findings = check_definition(draft, load_market(day))
    if words := _unpriced(template, day):
        findings.append(Finding(None, None, "prices", words, "Price"))
    if template.requires_disclosure and not template.disclosure.strip():
        message = "Subscribers must accept a disclosure, but its text is empty."
        findings.append(Finding(None, None, "disclosure", message, "Disclosure"))
    return draft, findings


def _unpriced(template: Template, day: dt.date) -> str:
    """Why nobody could subscribe for lack of a price; '' if somebody can.

    Uses the same selector as the catalogue and subscribing, so that a template is never listed and
    offered to nobody.
    """
    if template.pricing_type != Template.PricingType.PAID:
        return ""
    if price_in_force(template.pk, None, day) is not None:
        return ""
    message = "A paid template needs a price that is in force today (or make it free)."
    tiers = (
        Price.objects.filter(
            template=template,
            partner_id__isnull=True,
            effective_from__lte=day,
            superseded_at__isnull=True,
        )
        .exclude(tier=STANDARD)
        .order_by("tier")
        .values_list("tier", flat=True)
        .distinct()
    )
    named = ", ".join(tiers)
    if not named:
        return message
    return f"{message} Its prices are for {named}, but every customer's tier is {STANDARD}."


def _next_number(template_id: int) -> int:
    newest = TemplateVersion.objects.filter(template_id=template_id).aggregate(n=Max("number"))
    return (newest["n"] or 0) + 1


def preview(*, template_id: int, now: dt.datetime) -> PublishPreview:
    """What publishing the draft would change, whom it affects, and what prevents it. NotFound."""
    template = Template.objects.select_related("current_version").filter(pk=template_id).first()
    if template is None:
        raise NotFound
    draft, findings = _check(template, now)
    subscribers = SUBSCRIBERS.get()
    return PublishPreview(
        number=_next_number(template_id),
        findings=findings,
        changes=changes(_current(template), draft),
        subscribers=subscribers.count(template_id),
        refused=subscribers.refused(template_id, draft, clock.ist_date(now)),
    )


@transaction.atomic
def publish(*, template_id: int, actor: Actor, note: str, now: dt.datetime) -> TemplateVersion:
    """Freeze the draft into the next version; from then on every entry trades it (docs/adr/0002).

    A DRAFT becomes LISTED; a template closed to new subscribers stays closed. The template's row is
    locked, so concurrent publications get consecutive version numbers. InvalidRequest with every
    finding (``details`` by dotted path), also if nothing changed; InvalidTransition for a withdrawn
    template; NotFound.
    """
    template = (
        Template.objects.select_for_update(of=("self",))
        .select_related("current_version")
        .filter(pk=template_id)
        .first()
    )
    if template is None:
        raise NotFound
    if template.state == Template.State.WITHDRAWN:
        raise InvalidTransition("A withdrawn template cannot be published.", status=template.state)
    note = note.strip()
    if len(note) > NOTE_LENGTH:
        raise InvalidRequest(details={"note": f"At most {NOTE_LENGTH} characters."})
    draft, findings = _check(template, now)
    if findings:
        raise InvalidRequest(
            " ".join(finding.words for finding in findings),
            details={finding.path: finding.message for finding in findings},
        )
    if _current(template) == draft:
        message = f"Nothing changed since version {_next_number(template_id) - 1}."
        raise InvalidRequest(message, details={"definition": message})
    version = TemplateVersion.objects.create(
        template=template,
        number=_next_number(template_id),
        definition=definition_json(draft),
        change_note=note,
        published_by=actor.id,
        published_at=now,
    )
    template.current_version = version
    if template.state == Template.State.DRAFT:
        template.state = Template.State.LISTED
    template.updated_at = now
    template.save(update_fields=["current_version", "state", "updated_at"])
    TemplateStats.objects.get_or_create(template=template)
    _record(template, "template.published", actor, now, version=version.number, note=note)
    _inform(template, "template.published", _concerned(template), now, version=version.number)
    return version


def _record(template: Template, what: str, actor: Actor, now: dt.datetime, **data: object) -> None:
    """Write the audit entry and outbox event of one step of a template's lifecycle."""
    audit.record(
        actor=actor,
        action=what,
        target_type="template",
        target_id=template.public_id,
        environment=template.environment,
        data=data,
    )
    outbox.emit(
        what,
        {"template_id": template.public_id, "name": template.name, **data},
        about=template.public_id,
        partner_id=None,
        environment=template.environment,
        now=now,
    )


def _concerned(template: Template) -> set[int]:
    """Partners that offer the template, and those whose customers still follow it (adr 0064)."""
    partners = set(SUBSCRIBERS.get().partners(template.pk))
    if template.visibility == Template.Visibility.PUBLIC:
        partners |= PARTNERS.get()().keys()
    elif template.visibility == Template.Visibility.PARTNERS:
        partners |= set(template.visible_to)
    return partners


def _inform(
    template: Template, what: str, partners: Collection[int], now: dt.datetime, **data: object
) -> None:
    """Write the event of each of ``partners``: nothing in it is about other partners, or about
    what staff wrote for each other."""
    outbox.emit_many(
        [
            OutboxEvent(
                type=what,
                object_id=template.public_id,
                payload={"template_id": template.public_id, "name": template.name, **data},
                partner_id=partner_id,
                environment=template.environment,
                created_at=now,
            )
            for partner_id in sorted(partners)
        ]
    )


def _move(
    template_id: int, *, sources: tuple[str, ...], target: str, now: dt.datetime
) -> Template | None:
    """Conditional UPDATE of the state; the template if this call moved it, None if it was there
    already.

    InvalidTransition from any other state; NotFound.
    """
    moved = Template.objects.filter(pk=template_id, state__in=sources).update(
        state=target, updated_at=now
    )
    template = Template.objects.filter(pk=template_id).first()
    if template is None:
        raise NotFound
    if moved:
        return template
    if template.state == target:
        return None
    raise InvalidTransition(
        f"A template that is {template.get_state_display().lower()} cannot become "
        f"{Template.State(target).label.lower()}.",
        status=template.state,
    )


def close_to_new(*, template_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Stop offering a listed template; existing subscriptions continue. False: it was already
    closed."""
    return _offer(template_id, Template.State.CLOSED_TO_NEW, "template.closed_to_new", actor, now)


def reopen(*, template_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Offer a template again that was closed to new subscribers. False: it was already listed."""
    return _offer(template_id, Template.State.LISTED, "template.reopened", actor, now)


@transaction.atomic
def _offer(
    template_id: int, target: Template.State, action: str, actor: Actor, now: dt.datetime
) -> bool:
    """Move a template between its two states in which it enters."""
    sources = tuple(state for state in Template.ENTERING if state != target)
    template = _move(template_id, sources=sources, target=target, now=now)
    if template is None:
        return False
    audit.record(
        actor=actor,
        action=action,
        target_type="template",
        target_id=template.public_id,
        environment=template.environment,
    )
    closed = target == Template.State.CLOSED_TO_NEW
    what = "template.closed" if closed else "template.reopened"
    _inform(template, what, _concerned(template), now)
    return True


@transaction.atomic
def withdraw(*, template_id: int, actor: Actor, now: dt.datetime) -> Withdrawal:
    """Withdraw permanently: no further entries, every subscription cancelled in this transaction.

    Open positions run to their exit. InvalidTransition for a draft; NotFound.
    """
    state = Template.State
    template = _move(template_id, sources=Template.ENTERING, target=state.WITHDRAWN, now=now)
    if template is None:
        return Withdrawal(changed=False, cancelled=0)
    concerned = _concerned(template)  # before nobody follows it any more
    cancelled = SUBSCRIBERS.get().cancel_for_withdrawal(template_id, actor=actor, now=now)
    _record(template, "template.withdrawn", actor, now, subscriptions_cancelled=cancelled)
    _inform(template, "template.withdrawn", concerned, now)
    return Withdrawal(changed=True, cancelled=cancelled)


def adjust_subscriber_count(*, template_id: int, delta: int) -> None:
    """Add ``delta`` to the template's counter, in the caller's transaction, without a race."""
    if _add(template_id, delta):
        return
    TemplateStats.objects.bulk_create(
        [TemplateStats(template_id=template_id)], ignore_conflicts=True
    )
    _add(template_id, delta)


def _add(template_id: int, delta: int) -> int:
    return TemplateStats.objects.filter(Q(template_id=template_id)).update(
        subscriber_count=F("subscriber_count") + delta
    )
