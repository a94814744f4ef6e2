"""Whether somebody's hold keeps a broker account from entering."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("brokers", "0011_feed_pace")]

    operations = [
        migrations.AddField(
            model_name="brokeraccount",
            name="held",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="A hold keeps it from entering.",
            ),
        ),
    ]
