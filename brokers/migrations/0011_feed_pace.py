"""When a feed login's last quote calls left, for all processes together."""

from __future__ import annotations

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("brokers", "0010_feed_clock")]

    operations = [
        migrations.CreateModel(
            name="FeedPace",
            fields=[
                ("login", models.CharField(max_length=300, primary_key=True, serialize=False)),
                (
                    "calls",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), default=list, size=None
                    ),
                ),
                ("urgent_at", models.FloatField(default=0.0)),
            ],
        ),
    ]
