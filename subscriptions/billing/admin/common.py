"""What the pages of money share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from partners.admin.common import PartnerColumn
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline
from quantleap.core.columns import itself, rupees, share
from quantleap.core.largelists import Condition
from subscriptions.billing.admin.searches import numbers_like
from subscriptions.billing.models import Commission


class ToLookAt:
    """Every field of the page is to look at, also those that are no column of the table."""

    fields: ClassVar[Any] = ()
    compressed_fields = False  # the label above: three ids fit side by side

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """All of them. ``fields`` is given in rows."""
        return tuple(one for row in self.fields for one in row)

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Tables that have rows: an empty one says nothing."""
        found: list[Any] = super().get_inline_instances(request, obj)  # type: ignore[misc]  # a mixin
        return [one for one in found if obj is None or _has_rows(one, obj)]


def _has_rows(inline: Any, obj: Any) -> bool:
    return bool(inline.model._default_manager.filter(**{inline.fk_name: obj}).exists())


def by_number(series: str) -> Callable[[str], Condition]:
    """The search by a document's number."""
    return lambda term: Condition(numbers_like(term, series))


class MoneyPage(ToLookAt, PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """History of one tenant's money, newest first; every field is to look at."""

    ordering = ("-id",)
    related: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what names the row's relations, without their documents."""
        found = super().get_queryset(request).select_related(*self.related)
        return found.defer(*self.documents)


class EarnedInline(PartnerColumn, ReadOnlyTabularInline):
    """What it earned whom, or took from whom."""

    model = Commission
    hide_title = True
    verbose_name_plural = "commission"
    fields = (
        itself("public_id", "Commission"),
        "kind",
        "partner_name",
        rupees("base"),
        share("bps"),
        rupees("amount"),
        "accrued_on",
        "matures_on",
    )
    readonly_fields = fields
