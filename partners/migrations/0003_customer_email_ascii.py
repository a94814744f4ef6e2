"""Stored e-mails are ASCII, in lower case. Rows from before stay readable (NOT VALID)."""

import django.core.validators
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("partners", "0002_customer_billing_address"),
    ]

    operations = [
        migrations.AlterField(
            model_name="customer",
            name="email",
            field=models.EmailField(
                help_text="Lower case, the domain as A-labels.", max_length=254
            ),
        ),
        migrations.AlterField(
            model_name="partner",
            name="slug",
            field=models.CharField(
                max_length=12,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[a-z0-9]{2,12}\\Z", "2 to 12 of a-z and 0-9."
                    )
                ],
            ),
        ),
        AddConstraintNotValid(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "email__regex",
                        "^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[a-z0-9-]+(\\.[a-z0-9-]+)+$",
                    )
                ),
                name="customer_email_ascii",
            ),
        ),
    ]
