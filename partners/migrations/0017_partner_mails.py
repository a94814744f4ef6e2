"""A partner's contacts are written to when it is suspended and when it is reinstated."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import quantleap.core.clock


class Migration(migrations.Migration):
    dependencies = [("partners", "0016_states_are_digits")]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="contact_emails",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.EmailField(max_length=254),
                blank=True,
                default=list,
                help_text="Recipients of mails when a webhook endpoint is disabled, or the partner "
                "is suspended or reinstated; empty: nobody.",
                size=None,
            ),
        ),
        migrations.CreateModel(
            name="PartnerMail",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("PENDING", "Pending"), ("SENT", "Sent"), ("FAILED", "Failed")],
                        default="PENDING",
                        max_length=7,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("SUSPENDED", "Suspended"),
                            ("PLAN_CHANGED", "Another plan"),
                            ("REINSTATED", "Reinstated"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "happened_at",
                    models.DateTimeField(),
                ),
                ("recipient", models.EmailField(max_length=254)),
                ("subject", models.CharField(max_length=200)),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField(default=quantleap.core.clock.now)),
                (
                    "partner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="mails",
                        to="partners.partner",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "PENDING")),
                        fields=["next_attempt_at"],
                        name="partner_mail_due_idx",
                    ),
                    models.Index(
                        fields=["recipient"],
                        name="partner_mail_recipient_idx",
                        opclasses=["varchar_pattern_ops"],
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("partner", "happened_at", "kind", "recipient"),
                        name="partner_mail_uniq",
                    )
                ],
            },
        ),
    ]
