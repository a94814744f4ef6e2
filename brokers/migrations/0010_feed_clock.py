"""How far a feed's clock is from ours, and whether the executor asks it anyway."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("brokers", "0009_list_indexes")]

    operations = [
        migrations.AddField(
            model_name="feedaccount",
            name="used_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When the executor last asked it.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="feedaccount",
            name="clock_samples",
            field=models.JSONField(
                blank=True,
                default=list,
                editable=False,
                help_text="Seconds by which its newest prices were behind our clock.",
            ),
        ),
    ]
