"""What was done, and what was told: append-only, to look at."""

from __future__ import annotations

from django.contrib import admin

from quantleap.core.admin.frame import LargeTableMixin, ReadOnlyAdmin
from quantleap.core.models import AuditEntry, OutboxEvent


@admin.register(AuditEntry)
class AuditEntryAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Who did what."""

    list_display = ("at", "actor", "action", "target_type", "target_id", "environment")
    list_filter = ("environment", "actor_kind", "target_type")
    search_fields = ("=target_id", "=actor_id", "=action", "=request_id")
    ordering = ("-id",)

    @admin.display(description="Who")
    def actor(self, entry: AuditEntry) -> str:
        """Kind and id of the actor."""
        return f"{entry.get_actor_kind_display()} {entry.actor_id}".strip()


@admin.register(OutboxEvent)
class OutboxEventAdmin(LargeTableMixin, ReadOnlyAdmin):
    """What was told, or is about to be."""

    list_display = ("created_at", "type", "event_id", "partner_id", "environment", "published_at")
    list_filter = ("environment", "type", ("published_at", admin.EmptyFieldListFilter))
    search_fields = ("=event_id", "=type")
    ordering = ("-id",)
