"""Stored client ids are ASCII, in upper case. Rows from before stay readable (NOT VALID)."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0001_initial"),
        ("partners", "0003_customer_email_ascii"),
    ]

    operations = [
        AddConstraintNotValid(
            model_name="brokeraccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("client_id__regex", "^[A-Z0-9][A-Z0-9._-]{0,39}$")),
                name="account_client_id_ascii",
            ),
        ),
    ]
