"""How far a feed's clock is from ours."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("brokers", "0009_list_indexes")]

    operations = [
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
