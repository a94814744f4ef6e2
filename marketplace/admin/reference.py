"""Contracts and the calendar, to look at: they come from files with sources, not from forms."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateFilter

from marketplace.models import (
    CalendarYear,
    Contract,
    FreezeQuantity,
    Holiday,
    LotSize,
    SessionHours,
    SpecialSession,
    Underlying,
)
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline


@admin.register(Underlying)
class UnderlyingAdmin(ReadOnlyAdmin):
    """Indices that can be traded."""

    list_display = ("symbol", "name", "exchange", "is_active")


class LotSizeInline(ReadOnlyTabularInline):
    """Units per lot of this contract over time."""

    model = LotSize
    fields = ("effective_from", "lot_size", "source")
    ordering = ("-effective_from",)


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
    search_fields = ("=exchange_token", "=strike")
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
        found: QuerySet[FreezeQuantity] = super().get_queryset(request)
        return found.order_by("underlying__symbol", "-effective_from")


@admin.register(CalendarYear)
class CalendarYearAdmin(ReadOnlyAdmin):
    """Years whose holidays are known; any other year is closed."""

    list_display = ("year", "source", "loaded_at")


@admin.register(Holiday)
class HolidayAdmin(ReadOnlyAdmin):
    """Weekdays on which the segment is closed."""

    list_display = ("date", "weekday", "description", "source")
    date_hierarchy = "date"

    @admin.display(description="Weekday", ordering="date")
    def weekday(self, holiday: Holiday) -> str:
        """Name of the day."""
        return f"{holiday.date:%A}"


@admin.register(SpecialSession)
class SpecialSessionAdmin(ReadOnlyAdmin):
    """Sessions outside the ordinary week."""

    list_display = ("date", "opens_at", "closes_at", "description", "source")


@admin.register(SessionHours)
class SessionHoursAdmin(ReadOnlyAdmin):
    """Ordinary hours by date."""

    list_display = ("effective_from", "opens_at", "closes_at", "source")
