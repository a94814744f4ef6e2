"""Holds: who keeps which subscriptions from trading, why and since when."""

from __future__ import annotations

import functools

import django.db.models.deletion
from django.db import migrations, models

import quantleap.core.clock
import quantleap.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0012_account_held"),
        ("partners", "0008_list_indexes"),
        ("subscriptions", "0004_allocation_limits"),
    ]

    operations = [
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "partner_id",
                    models.BigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="Owning partner; empty for direct.",
                        null=True,
                    ),
                ),
                (
                    "environment",
                    models.CharField(
                        choices=[("live", "Live"), ("test", "Test")],
                        default="live",
                        editable=False,
                        max_length=4,
                    ),
                ),
                (
                    "public_id",
                    models.CharField(
                        default=functools.partial(quantleap.core.ids.new_public_id, *("hold",)),
                        editable=False,
                        max_length=40,
                        unique=True,
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("SUBSCRIPTION", "Subscription"),
                            ("CUSTOMER", "Customer"),
                            ("ACCOUNT", "Broker account"),
                            ("PARTNER", "Partner"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "holder",
                    models.CharField(
                        choices=[
                            ("USER", "Customer"),
                            ("PARTNER", "Partner"),
                            ("PAYMENT_FAILED", "Payment failed"),
                            ("ADMIN", "Staff"),
                        ],
                        max_length=14,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "placed_at",
                    models.DateTimeField(default=quantleap.core.clock.now, editable=False),
                ),
                ("placed_by", models.CharField(blank=True, max_length=120)),
                ("lifted_at", models.DateTimeField(blank=True, null=True)),
                ("lifted_by", models.CharField(blank=True, max_length=120)),
                ("lift_note", models.CharField(blank=True, max_length=200)),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="brokers.brokeraccount",
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="partners.customer",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("lifted_at__isnull", True)),
                        fields=["partner_id", "environment", "scope"],
                        name="hold_open_tenant_idx",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at__isnull", True)),
                        fields=(
                            "partner_id",
                            "environment",
                            "scope",
                            "subscription",
                            "customer",
                            "account",
                            "holder",
                        ),
                        name="hold_one_open_uniq",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("account__isnull", True),
                                ("customer__isnull", True),
                                ("scope", "SUBSCRIPTION"),
                                ("subscription__isnull", False),
                            ),
                            models.Q(
                                ("account__isnull", True),
                                ("customer__isnull", False),
                                ("scope", "CUSTOMER"),
                                ("subscription__isnull", True),
                            ),
                            models.Q(
                                ("account__isnull", False),
                                ("customer__isnull", True),
                                ("scope", "ACCOUNT"),
                                ("subscription__isnull", True),
                            ),
                            models.Q(
                                ("account__isnull", True),
                                ("customer__isnull", True),
                                ("partner_id__isnull", False),
                                ("scope", "PARTNER"),
                                ("subscription__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="hold_has_its_target",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("lift_note", ""), ("lifted_at__isnull", True), ("lifted_by", "")
                            ),
                            ("lifted_at__isnull", False),
                            _connector="OR",
                        ),
                        name="hold_lifted_has_date",
                    ),
                ],
            },
        ),
    ]
