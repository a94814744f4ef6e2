"""The room's entries in the console's sidebar."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

STRATEGIES: Final = Section(
    "Strategies",
    (
        Link("Templates", "strategy", "marketplace.Template"),
        Link("Holidays", "calendar_month", "marketplace.Holiday"),
        Link("Calendar years", "edit_calendar", "marketplace.CalendarYear"),
        Link("Special sessions", "event_upcoming", "marketplace.SpecialSession"),
        Link("Session hours", "schedule", "marketplace.SessionHours"),
        Link("Contracts", "list_alt", "marketplace.Contract"),
        Link("Freeze quantities", "ac_unit", "marketplace.FreezeQuantity"),
    ),
)
