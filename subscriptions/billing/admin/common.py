"""Base classes of the pages about money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from partners.admin.common import PartnerColumn
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline
from quantleap.core.admin_columns import itself, rupees, share
from quantleap.core.large_lists import Condition
from subscriptions.billing.admin.searches import numbers_like
from subscriptions.billing.models import Commission


class ToLookAt:
    """Makes every field of the page read only, also those that are no column of the table."""

    fields: ClassVar[Any] = ()
    compressed_fields = False  # the label above: three ids fit side by side

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """All fields. ``fields`` is a tuple of rows."""
        return tuple(field for row in self.fields for field in row)

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Only inlines that have rows."""
        inlines: list[Any] = super().get_inline_instances(request, obj)  # type: ignore[misc]  # a mixin
        return [inline for inline in inlines if obj is None or _has_rows(inline, obj)]


def _has_rows(inline: Any, obj: Any) -> bool:
    return bool(inline.model._default_manager.filter(**{inline.fk_name: obj}).exists())


def by_number(series: str) -> Callable[[str], Condition]:
    """Search by a document's number."""
    return lambda term: Condition(numbers_like(term, series))


class MoneyPage(ToLookAt, PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """A read-only list of a tenant's rows about money, newest first."""

    ordering = ("-id",)
    related: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the related rows that are shown, without their stored documents."""
        queryset = super().get_queryset(request).select_related(*self.related)
        return queryset.defer(*self.documents)


class EarnedInline(PartnerColumn, ReadOnlyTabularInline):
    """Commission that the row earned its payees, or took from them."""

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
