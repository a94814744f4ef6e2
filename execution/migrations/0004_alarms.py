"""Alarms are rows: what needed attention until now is carried over."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import quantleap.core.clock

# The causes that an execution may have had for asking; every other one was a leg that failed.
CARRY_OVER = """
INSERT INTO execution_alarm
       (execution_id, cause, leg_key, order_tag, words, raised_at, raised_by, acknowledged_by,
        settled_by, note, cleared_by)
SELECT id, CASE WHEN cause IN ('UNWRITABLE', 'CLOSED_OUTSIDE', 'CHANGED_OUTSIDE', 'DUPLICATE',
                               'UNRESOLVED', 'NO_WITNESS', 'SESSION_EXPIRED', 'SESSION_OVER',
                               'PRICE_BAND', 'DAILY_LIMIT') THEN cause
                WHEN cause = '' THEN 'EXIT_UNFILLED' ELSE 'PARTLY_ENTERED' END,
       '', '', message, COALESCE(entered_at, committed_at, armed_at), '', '', '', '', ''
  FROM execution_execution WHERE needs_attention
"""


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0011_feed_pace"),
        ("execution", "0003_list_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cause", models.CharField(max_length=30)),
                (
                    "execution",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alarms",
                        to="execution.execution",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alarms",
                        to="execution.run",
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alarms",
                        to="brokers.brokeraccount",
                    ),
                ),
                ("leg_key", models.CharField(blank=True, max_length=36)),
                (
                    "order_tag",
                    models.CharField(blank=True, help_text="The order it is about.", max_length=14),
                ),
                (
                    "words",
                    models.CharField(
                        blank=True, help_text="The broker's, or what is so.", max_length=300
                    ),
                ),
                ("raised_at", models.DateTimeField(default=quantleap.core.clock.now)),
                (
                    "raised_by",
                    models.CharField(blank=True, help_text="Which executor.", max_length=80),
                ),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_by", models.CharField(blank=True, max_length=150)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("settled_by", models.CharField(blank=True, max_length=150)),
                ("note", models.CharField(blank=True, max_length=500)),
                ("cleared_at", models.DateTimeField(blank=True, null=True)),
                (
                    "cleared_by",
                    models.CharField(
                        blank=True, help_text="The fact that ended it.", max_length=200
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(cleared_at__isnull=True, settled_at__isnull=True),
                        fields=["-id"],
                        name="alarm_open_idx",
                    ),
                    models.Index(fields=["cause", "-id"], name="alarm_cause_idx"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(cleared_at__isnull=True, settled_at__isnull=True),
                        fields=("execution", "run", "account", "cause", "leg_key"),
                        name="alarm_open_uniq",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            execution__isnull=False, run__isnull=True, account__isnull=True
                        )
                        | models.Q(execution__isnull=True, run__isnull=False, account__isnull=True)
                        | models.Q(execution__isnull=True, run__isnull=True, account__isnull=False),
                        name="alarm_about_one_thing",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(settled_at__isnull=True)
                        | (~models.Q(settled_by="") & ~models.Q(note="")),
                        name="alarm_settled_by_somebody",
                    ),
                ],
            },
        ),
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
    ]
