"""Who may take the list of receipts along has a right of its own."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_days_once_in_steps")]

    operations = [
        migrations.AlterModelOptions(
            name="receipt",
            options={
                "ordering": ("-id",),
                "permissions": (("export_receipt", "Can export receipts"),),
            },
        ),
    ]
