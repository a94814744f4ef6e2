"""Read-only pages of the audit log and the outbox."""

from __future__ import annotations

from functools import partial

from django.contrib import admin
from django.db.models import Model

from quantleap.core.admin.base import LargeTableMixin, ReadOnlyAdmin
from quantleap.core.identifiers import ascii_lower
from quantleap.core.large_lists import begins, one_of, through, values_of
from quantleap.core.models import AuditEntry, OutboxEvent


def _having(model: type[Model], column: str, term: str) -> list[str]:
    """The values of a low-cardinality column that contain ``term``."""
    return [value for value, _ in values_of(model, column) if ascii_lower(term) in value]


@admin.register(AuditEntry)
class AuditEntryAdmin(LargeTableMixin, ReadOnlyAdmin):
    """The audit log: who did what."""

    list_display = ("at", "actor", "action", "target_type", "target_id", "address", "environment")
    list_filter = (
        "environment",
        "actor_kind",
        one_of("target_type", "target type", partial(values_of, AuditEntry, "target_type")),
    )
    searches = (
        begins("target_id", "the beginning of the target's id"),
        begins("actor_id", "of the actor's"),
        begins("request_id", "of the request's", partial=True),
        through("action", partial(_having, AuditEntry, "action"), "any part of the action"),
    )
    ordering = ("-id",)

    @admin.display(description="Who")
    def actor(self, entry: AuditEntry) -> str:
        """Kind and id of the actor."""
        return f"{entry.get_actor_kind_display()} {entry.actor_id}".strip()


@admin.register(OutboxEvent)
class OutboxEventAdmin(LargeTableMixin, ReadOnlyAdmin):
    """The outbox: events that were relayed or are waiting."""

    list_display = ("created_at", "type", "event_id", "partner_id", "environment", "published_at")
    list_filter = (
        "environment",
        one_of("type", "type", partial(values_of, OutboxEvent, "type")),
        ("published_at", admin.EmptyFieldListFilter),
    )
    searches = (
        begins("event_id", "the beginning of an event's id"),
        through("type", partial(_having, OutboxEvent, "type"), "any part of its type"),
    )
    ordering = ("-id",)
