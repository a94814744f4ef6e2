"""The tables take no state but a GST code; a partner's never decides a customer's tax."""

from __future__ import annotations

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

_DIGITS = r"^([0-9]{2})?$"
_WORDS = "A GST state code is two digits: 33, not TN."


class Migration(migrations.Migration):
    dependencies = [("partners", "0015_state_codes")]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="default_state",
            field=models.CharField(
                blank=True,
                help_text="GST state code of the partner itself; it never determines a "
                "customer's tax.",
                max_length=2,
            ),
        ),
        AddConstraintNotValid(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(default_state__regex=_DIGITS),
                name="partner_state_digits",
                violation_error_message=_WORDS,
            ),
        ),
        AddConstraintNotValid(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(state__regex=_DIGITS),
                name="customer_state_digits",
                violation_error_message=_WORDS,
            ),
        ),
    ]
