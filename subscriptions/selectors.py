"""Queries of this room that several interfaces or rooms use."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import Prefetch, QuerySet

from marketplace.definition import Definition, parse_definition
from marketplace.models import Template
from marketplace.selectors.catalogue import offered
from partners.selectors import customer_keys
from quantleap.core.errors import NotFound
from quantleap.core.large_lists import first_keys
from quantleap.core.tenancy import TenantQuerySet
from subscriptions.models import Allocation, Subscription


class ActiveAllocation(NamedTuple):
    """One account that trades a template for one subscription: what arming has to know of it.

    Everything else is read by the statement that inserts the execution. A named tuple because one
    arming creates ten thousand of them.
    """

    allocation_id: int
    subscription_id: int
    account_id: int
    environment: str
    broker: str
    client_id: str


def active_allocations(template_id: int, environment: str) -> list[ActiveAllocation]:
    """All allocations that trade a template: two queries, whatever the number of subscribers.

    Active allocations of active subscriptions, ordered by allocation. Accounts that are not ready
    are included, because their execution fails with a named cause (docs/trading-day.md#causes). An
    account that is being removed takes no new entry and is left out.

    Two queries instead of one join: if PostgreSQL's statistics of yesterday say that there are no
    subscribers, it picks a plan that takes seconds for ten thousand. With keys in an array it has
    nothing to estimate.
    """
    active = Subscription.objects.filter(
        template_id=template_id, environment=environment, status=Subscription.Status.ACTIVE
    )
    subscription_ids = list(active.values_list("id", flat=True))
    if not subscription_ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_ALLOCATIONS, [subscription_ids])
        return [ActiveAllocation(*row) for row in cursor.fetchall()]


_ALLOCATIONS: Final = """
SELECT a.id, a.subscription_id, a.account_id, a.environment, b.broker, b.client_id
  FROM subscriptions_allocation a
  JOIN brokers_brokeraccount b ON b.id = a.account_id AND b.removal_requested_at IS NULL
 WHERE a.subscription_id = ANY(%s::bigint[]) AND a.status = 'ACTIVE'
 ORDER BY a.id
"""


# -- templates that a caller may subscribe to ----------------------------------------------------
def open_template(
    public_id: str, partner_id: int | None, environment: str, day: dt.date
) -> Template:
    """A template that this caller may subscribe to on ``day`` (IST), with its version.

    Raises NotFound in all other cases alike: unknown, the other environment's, not visible, not
    published, closed to new subscribers, withdrawn.
    """
    _refuse_nul(public_id)
    offers = offered(partner_id=partner_id, environment=environment, day=day)
    template = offers.filter(public_id=public_id).first()
    if template is None:
        raise NotFound
    return template


def _refuse_nul(public_id: str) -> None:
    """Raise NotFound for an id with a NUL character: paths may have it, PostgreSQL text not."""
    if "\0" in public_id:
        raise NotFound


def definition_of(template: Template) -> Definition:
    """The definition that the template trades from its next entry on: the current version's."""
    version = template.current_version
    return Definition(()) if version is None else parse_definition(version.definition)


# -- subscriptions -------------------------------------------------------------------------------
def subscriptions(
    partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> TenantQuerySet[Subscription]:
    """A tenant's subscriptions, newest first, with everything that a list shows.

    Two queries whatever their number: the rows with customer, template and key, and their active
    allocations with the accounts.
    """
    rows = (
        Subscription.objects.for_partner(partner_id, environment)
        .select_related("customer", "template", "attributed_key")
        .defer("template__description", "template__disclosure")
        .prefetch_related(Prefetch("allocations", _active()))
        .order_by("-created_at", "-id")
    )
    return rows if customer_id is None else rows.filter(customer_id=customer_id)


def _active() -> QuerySet[Allocation]:
    return (
        Allocation.objects.filter(status=Allocation.Status.ACTIVE)
        .select_related("account")
        .order_by("priority", "id")
    )


def get_subscription(
    partner_id: int | None,
    environment: str,
    public_id: str,
    *,
    customer_id: int | None = None,
) -> Subscription:
    """One subscription of the tenant with the template's current version (2 queries).

    Raises NotFound if it is unknown, another tenant's or another customer's.
    """
    _refuse_nul(public_id)
    subscription = (
        subscriptions(partner_id, environment, customer_id=customer_id)
        .select_related("customer", "template__current_version", "attributed_key")
        .filter(public_id=public_id)
        .first()
    )
    if subscription is None:
        raise NotFound
    return subscription


def find_subscription_id(
    partner_id: int | None,
    environment: str,
    public_id: str,
    *,
    customer_id: int | None = None,
) -> int:
    """Primary key of a tenant's subscription, for a service (1 query). Raises NotFound."""
    _refuse_nul(public_id)
    mine = Subscription.objects.for_partner(partner_id, environment).filter(public_id=public_id)
    if customer_id is not None:
        mine = mine.filter(customer_id=customer_id)
    key = mine.values_list("pk", flat=True).first()
    if key is None:
        raise NotFound
    return key


def get_allocation(subscription_id: int, public_id: str) -> Allocation:
    """An active allocation of a subscription, with its account (1 query). Raises NotFound."""
    _refuse_nul(public_id)
    allocation = (
        Allocation.objects.filter(
            subscription_id=subscription_id, public_id=public_id, status=Allocation.Status.ACTIVE
        )
        .select_related("account")
        .first()
    )
    if allocation is None:
        raise NotFound
    return allocation


# -- for publishing and withdrawing (marketplace.ports.SubscriberView) ---------------------------
def live_count(template_id: int) -> int:
    """Number of active and paused subscriptions of a template."""
    return (
        Subscription.objects.filter(template_id=template_id)
        .exclude(status=Subscription.Status.CANCELLED)
        .count()
    )


def partners_following(template_id: int) -> set[int]:
    """Database ids of the partners whose customers have an active or paused subscription."""
    live = Subscription.objects.filter(template_id=template_id, partner_id__isnull=False).exclude(
        status=Subscription.Status.CANCELLED
    )
    ids = live.order_by().values_list("partner_id", flat=True).distinct()
    return {partner_id for partner_id in ids if partner_id is not None}


def follows(
    template_id: int, partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> bool:
    """Whether this tenant, or this customer of it, has a live subscription to the template."""
    live = (
        Subscription.objects.for_partner(partner_id, environment)
        .filter(template_id=template_id)
        .exclude(status=Subscription.Status.CANCELLED)
    )
    return (live if customer_id is None else live.filter(customer_id=customer_id)).exists()


def subscription_keys(term: str) -> Iterable[int]:
    """For list searches: keys of the subscriptions whose id begins with ``term``."""
    return first_keys(Subscription.objects.filter(public_id__startswith=term))


def customers_subscription_keys(term: str) -> Iterable[int]:
    """For list searches: keys of the subscriptions of the customers that ``term`` matches."""
    owners = list(customer_keys(term))
    return first_keys(Subscription.objects.filter(customer_id__in=owners)) if owners else ()
