"""The suspension in force of a partner: who, when, why, and the plan for who subscribed.

A partner that was suspended before there were plans has none: the console's first page asks for it.
"""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partners", "0012_mails_by_recipient")]

    operations = [
        migrations.AddField(
            model_name="partner",
            name="suspended_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="partner",
            name="suspended_by",
            field=models.CharField(blank=True, default="", editable=False, max_length=120),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="partner",
            name="suspension_reason",
            field=models.CharField(blank=True, default="", editable=False, max_length=200),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="partner",
            name="suspension_plan",
            field=models.CharField(
                blank=True,
                choices=[
                    ("PAUSE_ALL", "Pause all now"),
                    ("RUN_UNTIL", "Let them run until a day, then pause all"),
                    ("CANCEL_AT_PERIOD_END", "Cancel each at the end of its period"),
                ],
                default="",
                editable=False,
                max_length=20,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="partner",
            name="run_until",
            field=models.DateField(
                blank=True,
                editable=False,
                help_text="Last day (IST) on which they trade.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="partner",
            name="plan_done_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(status="SUSPENDED")
                | models.Q(
                    suspended_at__isnull=True,
                    suspended_by="",
                    suspension_reason="",
                    suspension_plan="",
                    run_until__isnull=True,
                    plan_done_at__isnull=True,
                ),
                name="partner_plan_while_suspended",
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(suspension_plan="RUN_UNTIL", run_until__isnull=False)
                | (~models.Q(suspension_plan="RUN_UNTIL") & models.Q(run_until__isnull=True)),
                name="partner_run_until_of_plan",
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(suspension_plan="", plan_done_at__isnull=True)
                | models.Q(
                    ~models.Q(suspension_plan=""),
                    ~models.Q(suspended_by=""),
                    ~models.Q(suspension_reason=""),
                    suspended_at__isnull=False,
                ),
                name="partner_plan_has_who_and_why",
            ),
        ),
    ]
