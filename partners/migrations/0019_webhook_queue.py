"""The sender's queue is read endpoint by endpoint, so that no backlog delays another's delivery."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partners", "0018_secret_mac")]

    operations = [
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("status", "PENDING")),
                fields=["endpoint", "next_attempt_at", "id"],
                name="delivery_queue_idx",
            ),
        ),
        migrations.RemoveIndex(model_name="webhookdelivery", name="delivery_due_idx"),
    ]
