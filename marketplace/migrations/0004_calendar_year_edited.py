"""Who last edited a year of the calendar in the console."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0003_template_sac")]

    operations = [
        migrations.AddField(
            model_name="calendaryear",
            name="edited_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Last change in the console; a file then leaves the year as it is.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="calendaryear",
            name="edited_by",
            field=models.CharField(blank=True, editable=False, max_length=150),
        ),
    ]
