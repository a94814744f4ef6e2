"""Mails about endpoints are found by the beginning of an address."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partners", "0011_endpoints_held_and_told")]

    operations = [
        migrations.AddIndex(
            model_name="endpointmail",
            index=models.Index(
                fields=["recipient"],
                name="endpoint_mail_recipient_idx",
                opclasses=["varchar_pattern_ops"],
            ),
        ),
    ]
