"""Every pause becomes the hold that it was, so that whoever paused is the one who resumes."""

from __future__ import annotations

from typing import Any

from django.db import migrations

_HOLDERS = ("USER", "PARTNER", "PAYMENT_FAILED", "ADMIN")
_BATCH = 2000


def forwards(apps: Any, schema_editor: Any) -> None:
    """A pause for a reason that nobody can lift any more is staff's."""
    subscriptions = apps.get_model("subscriptions", "Subscription").objects.using(
        schema_editor.connection.alias
    )
    holds = apps.get_model("subscriptions", "Hold")
    paused = subscriptions.filter(status="PAUSED").order_by("pk")
    after = 0
    while batch := list(paused.filter(pk__gt=after)[:_BATCH]):
        holds.objects.using(schema_editor.connection.alias).bulk_create(
            [
                holds(
                    scope="SUBSCRIPTION",
                    holder=one.status_reason if one.status_reason in _HOLDERS else "ADMIN",
                    partner_id=one.partner_id,
                    environment=one.environment,
                    subscription_id=one.pk,
                    note=one.status_note,
                    placed_at=one.status_changed_at,
                )
                for one in batch
            ]
        )
        after = batch[-1].pk


class Migration(migrations.Migration):
    """Backwards nothing is lost: a pause has its reason on the subscription."""

    dependencies = [("subscriptions", "0005_hold")]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
