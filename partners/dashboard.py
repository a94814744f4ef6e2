"""The room's part of the console's first page: suspended partners, and endpoints that fail.

A partner that receives no webhooks misses its customers' stops and failures, so a disabled endpoint
needs a person until somebody enables it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from partners.models import Partner, WebhookEndpoint
from partners.suspension_texts import plan_words
from quantleap.core.console import Alarm, Cell, Panel, page_of
from quantleap.core.dates import moment_text

#: A receiver that is down for an hour is the partner's own concern.
_FAILING: Final = dt.timedelta(days=1)
_SHOWN: Final = 20


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Alarm | Panel]:
    """Suspended partners, and endpoints that need a person (3 queries)."""
    return (*_suspended(request), *_endpoints(request, now))


def _suspended(request: HttpRequest) -> Sequence[Alarm | Panel]:
    """The suspended partners, with what happens to the subscriptions (1 query).

    An alarm for a partner suspended before plans existed: its customers' subscriptions trade on
    undecided.
    """
    if not request.user.has_perm("partners.view_partner"):
        return ()
    partners = list(Partner.objects.filter(status=Partner.Status.SUSPENDED)[:_SHOWN])
    if not partners:
        return ()
    alarms = [
        Alarm(
            f"{partner.name} is suspended without a plan",
            "Its customers' subscriptions trade and are billed. Decide what happens to them.",
            reverse("admin:partners_partner_suspend", args=[partner.pk]),
            "Decide",
        )
        for partner in partners
        if not partner.suspension_plan
    ]
    rows = tuple(
        (
            Cell(partner.slug, page_of(partner)),
            Cell(_moment(partner.suspended_at)),
            Cell(plan_words(partner)),
        )
        for partner in partners
    )
    return (*alarms, Panel("Suspended partners", ("Partner", "Since", "Subscriptions"), rows))


def _endpoints(request: HttpRequest, now: dt.datetime) -> Sequence[Alarm | Panel]:
    """An alarm for each endpoint that we disabled or that has failed for a day (2 queries).

    For users who may view endpoints. A working endpoint that staff disabled is listed without an
    alarm.
    """
    if not request.user.has_perm("partners.view_webhookendpoint"):
        return ()
    disabled = Q(status=WebhookEndpoint.Status.DISABLED)
    endpoints = list(
        WebhookEndpoint.objects.filter(disabled | Q(failing_since__lt=now - _FAILING)).order_by(
            "-id"
        )[:_SHOWN]
    )
    if not endpoints:
        return ()
    slugs = dict(
        Partner.objects.filter(pk__in={endpoint.partner_id for endpoint in endpoints}).values_list(
            "pk", "slug"
        )
    )
    rows = tuple(
        (
            Cell(endpoint.url, page_of(endpoint)),
            Cell(f"{slugs.get(endpoint.partner_id or 0, '')} {endpoint.environment}"),
            Cell(_standing(endpoint)),
        )
        for endpoint in endpoints
    )
    alarms = [
        _alarm(endpoint, slugs.get(endpoint.partner_id or 0, ""))
        for endpoint in endpoints
        if endpoint.failed_tries
    ]
    return (*alarms, Panel("Webhook endpoints", ("Endpoint", "Partner", "Standing"), rows))


def _standing(endpoint: WebhookEndpoint) -> str:
    if endpoint.status == WebhookEndpoint.Status.DISABLED:
        since = f" since {_moment(endpoint.disabled_at)}" if endpoint.disabled_at else ""
        return f"Disabled{since}: {endpoint.disabled_reason or 'no reason given'}"
    return f"{endpoint.failed_tries} tries failed since {_moment(endpoint.failing_since)}"


def _alarm(endpoint: WebhookEndpoint, slug: str) -> Alarm:
    disabled = endpoint.status == WebhookEndpoint.Status.DISABLED
    what = f"Webhook endpoint of {slug} ({endpoint.environment}) "
    return Alarm(
        what + ("is disabled" if disabled else "fails"),
        _standing(endpoint),
        page_of(endpoint),
        "Open",
    )


def _moment(at: dt.datetime | None) -> str:
    return "an unknown time" if at is None else moment_text(at, year=False)
