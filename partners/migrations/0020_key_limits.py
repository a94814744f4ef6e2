"""A key may have other limits for single classes of requests, and none that lets nothing pass."""

from __future__ import annotations

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

_PER_MINUTE = (1, 100_000)
_CLASSES = ("browse", "subscribe", "manage", "login")


def _limits() -> Q:
    limits = Q(requests_per_minute__range=_PER_MINUTE) & Q(requests_per_day__range=(1, 100_000_000))
    for name in _CLASSES:
        column = f"{name}_per_minute"
        limits &= Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__range": _PER_MINUTE})
    return limits


class Migration(migrations.Migration):
    dependencies = [("partners", "0019_webhook_queue")]

    operations = [
        *(
            migrations.AddField(
                model_name="partnerkey",
                name=f"{name}_per_minute",
                field=models.PositiveIntegerField(blank=True, null=True),
            )
            for name in _CLASSES
        ),
        AddConstraintNotValid(
            model_name="partnerkey",
            constraint=models.CheckConstraint(
                condition=_limits(),
                name="partner_key_limits_range",
                violation_error_message="A limit is 1 to 100,000 requests per minute, "
                "1 to 100,000,000 per day.",
            ),
        ),
    ]
