"""The templates that a caller may choose from, filtered and sorted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db.models import (
    Case,
    DecimalField,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from marketplace.categories import CATEGORIES
from marketplace.models import Price, Template, Underlying
from marketplace.ports import SUBSCRIBERS
from quantleap.core.errors import InvalidRequest

STANDARD: Final = "STANDARD"
SORTS: Final = ("popular", "newest", "fee")
MAX_QUERY: Final = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """The caller's filters; empty means all. A template must have all of ``tags``."""

    category: str = ""
    index: str = ""
    difficulty: str = ""
    pricing_type: str = ""
    tags: tuple[str, ...] = ()
    q: str = ""
    sort: str = "popular"


def prices_in_force(day: dt.date, partner_id: int | None) -> QuerySet[Price]:
    """Standard prices in force on ``day`` for a partner's customers (None: direct), best first.

    A price for that partner has priority over the general one; among those the newest counts. After
    the last day of the partner's newest price, the general price applies again, not an older one of
    theirs: a newer row with an end date ends a price that has none.
    """
    mine = Q(partner_id__isnull=True)
    if partner_id is not None:
        mine |= Q(partner_id=partner_id)
    begun = Price.objects.filter(tier=STANDARD, effective_from__lte=day, superseded_at__isnull=True)
    newer = begun.filter(
        template_id=OuterRef("template_id"),
        partner_id=OuterRef("partner_id"),
        effective_from__gt=OuterRef("effective_from"),
    )
    return begun.filter(
        mine,
        Q(effective_until__isnull=True) | Q(effective_until__gte=day),
        ~Exists(newer),
    ).order_by(F("partner_id").asc(nulls_last=True), "-effective_from", "-id")


def price_in_force(template_id: int, partner_id: int | None, day: dt.date) -> Price | None:
    """The price of a new subscription on ``day`` (an IST date); None: not on sale."""
    return prices_in_force(day, partner_id).filter(template_id=template_id).first()


def offered(*, partner_id: int | None, environment: str, day: dt.date) -> QuerySet[Template]:
    """Templates this caller may subscribe to, each with its ``fee`` (rupees per month).

    LISTED, in the caller's environment, PUBLIC or visible to the caller's partner; free or with a
    price in force. One query, version and counter included.
    """
    visible = Q(visibility=Template.Visibility.PUBLIC)
    if partner_id is not None:
        visible |= Q(visibility=Template.Visibility.PARTNERS, visible_to__contains=[partner_id])
    free = Q(pricing_type=Template.PricingType.FREE)
    return _trading(partner_id=partner_id, environment=environment, day=day).filter(
        visible, free | Q(fee__isnull=False), state=Template.State.LISTED
    )


def _trading(*, partner_id: int | None, environment: str, day: dt.date) -> QuerySet[Template]:
    """Templates that enter, whoever may subscribe, each with its ``fee`` (None: no price)."""
    price = prices_in_force(day, partner_id).filter(template_id=OuterRef("pk"))
    return (
        Template.objects.filter(
            environment=environment,
            state__in=Template.ENTERING,
            current_version__isnull=False,
        )
        .annotate(fee=Subquery(price.values("monthly_fee")[:1]))
        .select_related("current_version", "stats")
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A template with its ``fee``, and whether the caller may subscribe to it now."""

    template: Template
    open_to_new: bool


def find_shown(
    public_id: str,
    *,
    partner_id: int | None,
    environment: str,
    day: dt.date,
    customer_id: int | None = None,
    is_known: bool = True,
) -> Shown | None:
    """The page of a template that is offered to the caller or followed by them.

    A live subscription makes a template visible even after it was closed to new subscribers, hidden
    from the partner, or left without a price. With ``customer_id`` that customer's subscription
    counts; without it, one of any customer of the partner; for an anonymous caller (``is_known``
    False) none. None for unknown, hidden and withdrawn templates alike.
    """
    if "\x00" in public_id:
        return None
    mine = offered(partner_id=partner_id, environment=environment, day=day)
    template = mine.filter(public_id=public_id).first()
    if template is not None:
        return Shown(template, open_to_new=True)
    if not is_known:
        return None
    trading = _trading(partner_id=partner_id, environment=environment, day=day)
    followed = trading.filter(public_id=public_id).first()
    if followed is None or not SUBSCRIBERS.get().follows(
        followed.pk, partner_id=partner_id, environment=environment, customer_id=customer_id
    ):
        return None
    return Shown(followed, open_to_new=False)


def _refuse(name: str, value: str, allowed: Iterable[str]) -> None:
    known = list(allowed)
    if value not in known:
        shown = ", ".join(known) or "nothing yet"
        raise InvalidRequest(
            f"{name}: {value} is unknown.", details={name: f"Must be one of: {shown}."}
        )


def check_filters(filters: Filters, base: QuerySet[Template]) -> None:
    """Raise InvalidRequest for a value that can match nothing, listing the possible ones."""

    def indices() -> list[str]:
        active = Underlying.objects.filter(is_active=True).order_by("symbol")
        return list(active.values_list("symbol", flat=True))

    allowed: dict[str, Callable[[], Iterable[str]]] = {
        "category": lambda: [*CATEGORIES, *indices()],
        "index": indices,
        "difficulty": lambda: Template.Difficulty.values,
        "pricing_type": lambda: Template.PricingType.values,
        "sort": lambda: SORTS,
    }
    for name, values in allowed.items():
        value: str = getattr(filters, name)
        if value:
            _refuse(name, value, values())
    if filters.tags:
        used = base.order_by().values_list("tags", flat=True)
        known = sorted({tag for tags in used for tag in tags})
        for tag in filters.tags:
            _refuse("tag", tag, known)
    if len(filters.q) > MAX_QUERY or "\x00" in filters.q:
        raise InvalidRequest(details={"q": f"Text of at most {MAX_QUERY} characters."})


def search(filters: Filters, base: QuerySet[Template]) -> QuerySet[Template]:
    """``base`` filtered and in a total order. Check the filters first."""
    matches = base
    if filters.category:
        matches = matches.filter(Q(category=filters.category) | Q(index=filters.category))
    for name in ("index", "difficulty", "pricing_type"):
        value = getattr(filters, name)
        if value:
            matches = matches.filter(**{name: value})
    if filters.tags:
        matches = matches.filter(tags__contains=list(filters.tags))
    if filters.q:
        matches = matches.filter(Q(name__icontains=filters.q) | Q(description__icontains=filters.q))
    newest = ("-created_at", "-id")
    if filters.sort == "newest":
        return matches.order_by(*newest)
    if filters.sort == "fee":
        free = Q(pricing_type=Template.PricingType.FREE)
        return matches.order_by(_fee_order(free), *newest)
    return matches.order_by(F("stats__subscriber_count").desc(nulls_last=True), *newest)


def _fee_order(free: Q) -> Case:
    """Free templates cost 0, whatever price rows they still have."""
    zero = Value(Decimal("0.00"), output_field=DecimalField(max_digits=10, decimal_places=2))
    return Case(When(free, then=zero), default=F("fee"))
