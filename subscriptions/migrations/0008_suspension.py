"""A partner's suspension holds by itself, and a subscription may end with its period."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("partners", "0013_suspension"),
        ("subscriptions", "0007_active_is_free"),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="ends_on",
            field=models.DateField(
                blank=True,
                help_text="First day (IST) on which it does not trade any more: it is not renewed.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(
                    ("ends_on__isnull", False),
                    models.Q(("status", "CANCELLED"), _negated=True),
                ),
                fields=["partner_id", "ends_on"],
                name="subscription_ending_idx",
            ),
        ),
        migrations.AlterField(
            model_name="subscription",
            name="status_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("USER", "Customer"),
                    ("PARTNER", "Partner"),
                    ("ADMIN", "Staff"),
                    ("PAYMENT_FAILED", "Payment failed"),
                    ("PARTNER_SUSPENDED", "Partner suspended"),
                    ("TEMPLATE_WITHDRAWN", "Template withdrawn"),
                ],
                max_length=18,
            ),
        ),
        migrations.AlterField(
            model_name="hold",
            name="holder",
            field=models.CharField(
                choices=[
                    ("USER", "Customer"),
                    ("PARTNER", "Partner"),
                    ("PAYMENT_FAILED", "Payment failed"),
                    ("PARTNER_SUSPENDED", "Partner's suspension"),
                    ("ADMIN", "Staff"),
                ],
                max_length=18,
            ),
        ),
    ]
