"""Reads of partners and customers, for this room and others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, Max, Min, Q, QuerySet

from partners.customer_references import Known, Outcome, Resolved, clean_external_id, resolve
from partners.errors import email_differs, external_id_differs
from partners.models import Customer, Partner, RevenueShare, WebhookDelivery, WebhookEndpoint
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.identifiers import BadIdentifier, ascii_lower, clean_email
from quantleap.core.large_lists import first_keys

# The partner's share if no dated row says otherwise (30 %).
DEFAULT_SHARE_BPS: Final = 3000
NOBODY_NAMED: Final = "Name the customer by user_email, external_user_id, or both."


def share_in_force(partner_id: int, day: dt.date) -> int:
    """The partner's share in basis points on a day (IST date): the latest row not after it."""
    share = (
        RevenueShare.objects.filter(
            partner_id=partner_id, effective_from__lte=day, superseded_at__isnull=True
        )
        .order_by("-effective_from")
        .values_list("partner_bps", flat=True)
        .first()
    )
    return DEFAULT_SHARE_BPS if share is None else share


def get_partner(partner_id: int) -> Partner:
    """A partner by its database id; NotFound."""
    try:
        return Partner.objects.get(pk=partner_id)
    except Partner.DoesNotExist as error:
        raise NotFound from error


@dataclass(frozen=True, slots=True)
class HeldDeliveries:
    """Deliveries of an endpoint that only a replay sends: how many, and when they were written."""

    count: int
    oldest: dt.datetime
    newest: dt.datetime


def held_deliveries(endpoint: WebhookEndpoint) -> HeldDeliveries | None:
    """What is held for an endpoint; None if nothing is."""
    held = endpoint.deliveries.filter(status=WebhookDelivery.Status.HELD)
    figures = held.aggregate(count=Count("pk"), oldest=Min("created_at"), newest=Max("created_at"))
    return HeldDeliveries(**figures) if figures["count"] else None


def partner_names() -> dict[int, str]:
    """Database id to name of every partner, ordered by name; marks suspended ones (1 query)."""
    rows = Partner.objects.order_by("name", "slug").values_list("pk", "name", "slug", "status")
    return {
        number: f"{name} ({slug}{', suspended' if status != Partner.Status.ACTIVE else ''})"
        for number, name, slug, status in rows
    }


@dataclass(frozen=True, slots=True)
class Named:
    """How a partner names a person: by its own id, an e-mail address, or both, but never neither.

    ``email`` is in its stored spelling.
    """

    external_id: str
    email: str


def clean_names(*, external_user_id: str, email: str) -> Named:
    """Both in their stored form; InvalidRequest if one is invalid, or both are empty."""
    wrong: dict[str, str] = {}
    if not external_user_id and not email:
        wrong["user_email"] = NOBODY_NAMED
    try:
        external_id = external_user_id and clean_external_id(external_user_id)
    except BadIdentifier as error:
        wrong["external_user_id"] = str(error)
    try:
        address = email and clean_email(email)
    except BadIdentifier as error:
        wrong["user_email"] = str(error)
    if wrong:
        field, words = next(iter(wrong.items()))
        raise InvalidRequest(f"{field}: {words}", details=wrong)
    return Named(external_id, address)


def look_up(
    named: Named, *, partner_id: int | None, environment: str
) -> tuple[Resolved, Customer | None]:
    """Whom the names identify, by :func:`partners.customer_references.resolve` (1 query)."""
    condition = Q(pk__in=())
    if named.external_id:
        condition |= Q(external_user_id=named.external_id)
    if named.email:
        condition |= Q(email=named.email)
    rows = list(Customer.objects.for_partner(partner_id, environment).filter(condition))
    by_id = by_email = None
    for row in rows:
        known = Known(row.pk, row.external_user_id, row.email)
        by_id = known if named.external_id and known.external_id == named.external_id else by_id
        by_email = known if known.email == named.email else by_email
    resolved = resolve(named.external_id, named.email, by_id, by_email)
    return resolved, next((row for row in rows if row.pk == resolved.key), None)


def named_customer(
    *, partner_id: int | None, environment: str, external_user_id: str = "", email: str = ""
) -> Customer | None:
    """The customer whom a partner names, read-only: creates no customer and assigns no id.

    None if there is none. InvalidRequest; EmailDiffers and ExternalIdDiffers as for every other
    call.
    """
    named = clean_names(external_user_id=external_user_id, email=email)
    resolved, customer = look_up(named, partner_id=partner_id, environment=environment)
    refuse_mixed_up(resolved)
    return customer


def refuse_mixed_up(resolved: Resolved) -> None:
    """Raise EmailDiffers or ExternalIdDiffers if the names identify two people."""
    if resolved.outcome is Outcome.EMAIL_OF_ANOTHER:
        raise email_differs()
    if resolved.outcome is Outcome.OTHER_ID:
        raise external_id_differs()


def get_customer(*, partner_id: int | None, environment: str, public_id: str) -> Customer:
    """A tenant's customer by public id; NotFound."""
    if "\0" in public_id:
        raise NotFound  # PostgreSQL accepts no NUL in text
    mine = Customer.objects.for_partner(partner_id, environment)
    customer = mine.filter(public_id=public_id).first()
    if customer is None:
        raise NotFound
    return customer


def tenants_customers(partner_id: int | None, environment: str) -> QuerySet[Customer]:
    """All customers of a tenant, newest first."""
    return Customer.objects.for_partner(partner_id, environment).order_by("-created_at", "-id")


def customers(ids: Collection[int]) -> dict[int, Customer]:
    """Customers by database id (1 query)."""
    return Customer.objects.in_bulk(ids)


def get_customer_by_id(customer_id: int) -> Customer:
    """A customer by database id, as a principal carries it (1 query); NotFound."""
    customer = customers([customer_id]).get(customer_id)
    if customer is None:
        raise NotFound
    return customer


def customer_condition(term: str) -> Q:
    """Customers whose e-mail address or name contains ``term``, or whose id, ours or the partner's,
    begins with it."""
    return (
        Q(email__contains=ascii_lower(term))
        | Q(name__icontains=term)
        | Q(public_id__startswith=term)
        | Q(external_user_id__startswith=term)
    )


def customers_like(term: str) -> QuerySet[Customer]:
    """The customers of :func:`customer_condition`. Reads every customer, but no other table."""
    return Customer.objects.filter(customer_condition(term))


def customer_keys(term: str) -> Iterable[int]:
    """Database ids of :func:`customers_like`, for the search of lists."""
    return first_keys(customers_like(term))
