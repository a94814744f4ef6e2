"""Whether an execution needs attention follows from its alarms."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("execution", "0004_alarms")]

    operations = [
        migrations.RemoveIndex(model_name="execution", name="execution_attention_idx"),
        migrations.RemoveField(model_name="execution", name="needs_attention"),
    ]
