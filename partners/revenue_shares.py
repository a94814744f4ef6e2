"""Dated partner shares of a fee: who set them from when, and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from partners.models import Partner, RevenueShare
from partners.selectors import share_in_force
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.guardrails import DatedChange


@dataclass(frozen=True, slots=True)
class ShareTerms:
    """A requested share: basis points, from an Indian date on.

    ``reason`` is required to supersede one of the same day, ``large_change`` for a share that
    differs from the previous one by more than a factor of five.
    """

    partner_bps: int
    effective_from: dt.date
    reason: str = ""
    large_change: bool = False


def set_share(
    *, partner_id: int, terms: ShareTerms, actor: Actor, now: dt.datetime, first: bool = False
) -> RevenueShare:
    """Write a share. One for the same day is superseded, never edited.

    Customers who subscribed under the earlier one keep it. The audit entry ``share.set`` says who
    changed what, from which share to which, from when and why. With ``first`` (for a new partner)
    there is nothing to compare with. InvalidRequest (:func:`share_refusals`), NotFound.
    """
    reason = terms.reason.strip()
    with transaction.atomic():
        partner = Partner.objects.select_for_update(no_key=True).filter(pk=partner_id).first()
        if partner is None:
            raise NotFound
        refused = {} if first else share_refusals(partner_id, terms, now)
        if refused:
            raise InvalidRequest(" ".join(refused.values()), details=refused)
        before = None if first else share_in_force(partner_id, terms.effective_from)
        same_day = _same_day(partner_id, terms.effective_from)
        replaced = same_day.first()
        same_day.update(superseded_at=now)
        share = RevenueShare.objects.create(
            partner=partner,
            effective_from=terms.effective_from,
            partner_bps=terms.partner_bps,
            reason=reason,
        )
        audit.record(
            actor=actor,
            action="share.set",
            target_type="partner",
            target_id=partner.slug,
            partner_id=partner.pk,
            data={
                "from": before,
                "to": terms.partner_bps,
                "effective_from": terms.effective_from.isoformat(),
                "superseded": None if replaced is None else replaced.pk,
                "large_change": terms.large_change,
                "reason": reason,
            },
        )
    return share


def share_refusals(partner_id: int, terms: ShareTerms, now: dt.datetime) -> dict[str, str]:
    """Why these terms cannot be written, by field; empty if they can."""
    replaced = _same_day(partner_id, terms.effective_from).first()
    change = DatedChange(
        noun="share",
        after=terms.partner_bps,
        effective_from=terms.effective_from,
        reason=terms.reason,
        large_change=terms.large_change,
        same_day=None if replaced is None else replaced.partner_bps,
        before=share_in_force(partner_id, terms.effective_from),
    )
    return change.refusals(ist_date(now), lambda bps: f"{bps} basis points")


def _same_day(partner_id: int, day: dt.date) -> QuerySet[RevenueShare]:
    return RevenueShare.objects.filter(
        partner_id=partner_id, effective_from=day, superseded_at__isnull=True
    )
