"""A secret that waits to be shown once."""

import functools

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import quantleap.core.clock
import quantleap.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("partners", "0004_constraints_in_words"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SecretShowing",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "public_id",
                    models.CharField(
                        default=functools.partial(quantleap.core.ids.new_public_id, *("shw",)),
                        max_length=40,
                        unique=True,
                    ),
                ),
                (
                    "content",
                    models.TextField(
                        blank=True,
                        editable=False,
                        help_text="Encrypted; empty once shown or forgotten.",
                    ),
                ),
                ("back", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(default=quantleap.core.clock.now)),
                ("expires_at", models.DateTimeField()),
                ("shown_at", models.DateTimeField(blank=True, null=True)),
                (
                    "staff",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="secret_showing_expiry_idx")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("shown_at__isnull", True), ("content", ""), _connector="OR"
                        ),
                        name="shown_secret_is_erased",
                    )
                ],
            },
        ),
    ]
