"""What other rooms ask about partners and customers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Final

from django.db.models import Q, QuerySet

from partners.models import Customer, Partner, RevenueShare
from quantleap.core.errors import NotFound
from quantleap.core.identifiers import BadIdentifier, ascii_lower, clean_email
from quantleap.core.largelists import first_keys

# The partner's part where no dated row says otherwise (api.md section 6: 30 %).
DEFAULT_SHARE_BPS: Final = 3000


def share_in_force(partner_id: int, day: dt.date) -> int:
    """The partner's share in basis points on a day (IST date): the latest row not after it."""
    found = (
        RevenueShare.objects.filter(
            partner_id=partner_id, effective_from__lte=day, superseded_at__isnull=True
        )
        .order_by("-effective_from")
        .values_list("partner_bps", flat=True)
        .first()
    )
    return DEFAULT_SHARE_BPS if found is None else found


def get_partner(partner_id: int) -> Partner:
    """A partner by its inner id; NotFound."""
    try:
        return Partner.objects.get(pk=partner_id)
    except Partner.DoesNotExist as error:
        raise NotFound from error


def partner_names() -> dict[int, str]:
    """Inner id to name of every partner, by name; a suspended one says so (1 query)."""
    rows = Partner.objects.order_by("name", "slug").values_list("pk", "name", "slug", "status")
    return {
        number: f"{name} ({slug}{', suspended' if status != Partner.Status.ACTIVE else ''})"
        for number, name, slug, status in rows
    }


def find_customer(*, partner_id: int | None, environment: str, email: str) -> Customer | None:
    """A partner's customer by e-mail, whatever its case; None when there is none."""
    try:
        address = clean_email(email)
    except BadIdentifier:
        return None
    return Customer.objects.for_partner(partner_id, environment).filter(email=address).first()


def customers(ids: Collection[int]) -> dict[int, Customer]:
    """Customers by inner id (1 query)."""
    return Customer.objects.in_bulk(ids)


def customer_condition(term: str) -> Q:
    """Customers in whose e-mail or name ``term`` occurs, or whose id begins with it."""
    return (
        Q(email__contains=ascii_lower(term))
        | Q(name__icontains=term)
        | Q(public_id__startswith=term)
    )


def customers_like(term: str) -> QuerySet[Customer]:
    """Those of :func:`customer_condition`. A look at every customer, and at nothing else."""
    return Customer.objects.filter(customer_condition(term))


def customer_keys(term: str) -> Iterable[int]:
    """For the search of lists: inner ids of :func:`customers_like`."""
    return first_keys(customers_like(term))
