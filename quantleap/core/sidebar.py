"""Core's entries in the console's sidebar."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

SYSTEM: Final = Section(
    "System",
    (
        Link("Audit", "history", "core.AuditEntry"),
        Link("Outbox", "send", "core.OutboxEvent"),
        Link("Staff", "badge", "core.StaffUser"),
        Link("Roles", "shield_person", "auth.Group"),
        Link("Schedules", "schedule", "django_celery_beat.PeriodicTask"),
    ),
)
