"""Contracts and their limits, read-only: they come from files with sources, not from forms."""

from __future__ import annotations

from typing import Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateFilter

from marketplace.models import Contract, FreezeQuantity, LotSize, Underlying
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline
from quantleap.core.large_lists import Condition, Search, exactly


@admin.register(Underlying)
class UnderlyingAdmin(ReadOnlyAdmin):
    """Indices that can be traded."""

    list_display = ("symbol", "name", "exchange", "is_active")


class LotSizeInline(ReadOnlyTabularInline):
    """Units per lot of this contract over time."""

    model = LotSize
    fields = ("effective_from", "lot_size", "source")
    ordering = ("-effective_from",)


def _strike(term: str) -> Condition:
    """A strike in rupees, with or without grouping."""
    text = term.replace(",", "")
    plain = text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < _LONG
    return Condition(Q(strike=text) if plain else None)


_LONG: Final = 10


@admin.register(Contract)
class ContractAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Listed options and futures, from the brokers' instrument files."""

    list_display = (
        "underlying",
        "expiry",
        "strike",
        "option_type",
        "tick_size",
        "exchange_token",
        "last_seen",
    )
    list_display_links = ("underlying", "expiry")
    list_filter = ("underlying", "option_type", ("expiry", RangeDateFilter))
    list_select_related = ("underlying",)
    searches = (
        exactly("exchange_token", "an exchange token in full"),
        Search("a strike", _strike),
    )
    ordering = ("underlying_id", "expiry", "strike", "option_type")
    inlines = (LotSizeInline,)


@admin.register(FreezeQuantity)
class FreezeQuantityAdmin(ReadOnlyAdmin):
    """Largest order per underlying, by date."""

    list_display = ("underlying", "effective_from", "quantity", "source")
    list_filter = ("underlying",)
    list_select_related = ("underlying",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[FreezeQuantity]:
        """Newest first within an underlying."""
        queryset: QuerySet[FreezeQuantity] = super().get_queryset(request)
        return queryset.order_by("underlying__symbol", "-effective_from")
