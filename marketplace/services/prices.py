"""Dated prices: who set them from when, and why (docs/authoring.md#posting-the-forms)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet

from marketplace.models import Price, Template
from marketplace.selectors.catalogue import STANDARD, price_in_force
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.guardrails import DatedChange
from quantleap.core.money import CURRENCY, RUPEE, grouped, json_number


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """A requested price: rupees per month before tax, dates IST.

    ``partner_id`` None means all partners; ``effective_until`` is the last day. ``reason`` is
    required to supersede a price of the same day, ``large_change`` for a fee that differs from the
    previous one by more than a factor of five.
    """

    monthly_fee: Decimal
    effective_from: dt.date
    effective_until: dt.date | None = None
    tier: str = STANDARD
    partner_id: int | None = None
    reason: str = ""
    large_change: bool = False


def set_price(*, template_id: int, terms: PriceTerms, actor: Actor, now: dt.datetime) -> Price:
    """Write a price. One for the same day and the same people is superseded, never edited.

    Customers who subscribed at the earlier one keep it. The audit entry ``price.set`` says who
    changed what, from which fee to which, from when and why. InvalidRequest
    (:func:`price_refusals`), NotFound.
    """
    reason = terms.reason.strip()
    with transaction.atomic():
        template = Template.objects.select_for_update(no_key=True).filter(pk=template_id).first()
        if template is None:
            raise NotFound
        if refused := price_refusals(template_id, terms, now):
            raise InvalidRequest(" ".join(refused.values()), details=refused)
        before = _followed(template_id, terms)
        same_day = _same_day(template_id, terms)
        replaced = same_day.first()
        same_day.update(superseded_at=now)
        price = Price.objects.create(
            template=template,
            tier=terms.tier,
            monthly_fee=terms.monthly_fee,
            currency=CURRENCY,
            partner_id=terms.partner_id,
            effective_from=terms.effective_from,
            effective_until=terms.effective_until,
            reason=reason,
        )
        audit.record(
            actor=actor,
            action="price.set",
            target_type="template",
            target_id=template.public_id,
            partner_id=terms.partner_id,
            environment=template.environment,
            data={
                "tier": terms.tier,
                "from": None if before is None else json_number(before.monthly_fee),
                "to": json_number(terms.monthly_fee),
                "effective_from": terms.effective_from.isoformat(),
                "effective_until": _iso(terms.effective_until),
                "superseded": None if replaced is None else replaced.pk,
                "large_change": terms.large_change,
                "reason": reason,
            },
        )
    return price


def price_refusals(template_id: int, terms: PriceTerms, now: dt.datetime) -> dict[str, str]:
    """Why these terms cannot be written, by field; empty if they can."""
    replaced, before = _same_day(template_id, terms).first(), _followed(template_id, terms)
    change = DatedChange(
        noun="fee",
        after=terms.monthly_fee,
        effective_from=terms.effective_from,
        reason=terms.reason,
        large_change=terms.large_change,
        same_day=None if replaced is None else replaced.monthly_fee,
        before=None if before is None else before.monthly_fee,
    )
    return change.refusals(ist_date(now), lambda fee: grouped(fee, RUPEE))


def _same_day(template_id: int, terms: PriceTerms) -> QuerySet[Price]:
    """The current price that these terms would supersede."""
    whose = (
        Q(partner_id__isnull=True) if terms.partner_id is None else Q(partner_id=terms.partner_id)
    )
    return Price.objects.filter(
        whose,
        template_id=template_id,
        tier=terms.tier,
        effective_from=terms.effective_from,
        superseded_at__isnull=True,
    )


def _followed(template_id: int, terms: PriceTerms) -> Price | None:
    """The price that these people would pay on that day without the new one."""
    if terms.tier != STANDARD:
        return _same_day(template_id, terms).first()
    return price_in_force(template_id, terms.partner_id, terms.effective_from)


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()
