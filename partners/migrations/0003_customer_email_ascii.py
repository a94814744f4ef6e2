"""Stored e-mails are ASCII, in lower case.

PostgreSQL asks the constraint of every later change of a row, so rows from before are written in
that spelling first. One that has none, or whose spelling is another customer's, stays readable
(NOT VALID) and wants a person before it is changed.
"""

from typing import Any

import django.core.validators
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

from quantleap.core.identifiers import EMAIL_PATTERN, BadIdentifier, clean_email


def spell(connection: Any) -> None:
    """Write stored addresses as ``clean_email`` would, where nobody of the same tenant has it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, email FROM partners_customer WHERE email !~ %s ORDER BY id",
            [EMAIL_PATTERN],
        )
        for number, stored in cursor.fetchall():
            try:
                email = clean_email(stored)
            except BadIdentifier:
                continue
            cursor.execute(
                """
                UPDATE partners_customer AS mine SET email = %(email)s
                 WHERE id = %(id)s AND NOT EXISTS (
                       SELECT FROM partners_customer AS other
                        WHERE other.email = %(email)s
                          AND other.environment = mine.environment
                          AND other.partner_id IS NOT DISTINCT FROM mine.partner_id)
                """,
                {"email": email, "id": number},
            )


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
        migrations.RunPython(
            lambda _apps, schema_editor: spell(schema_editor.connection),
            migrations.RunPython.noop,
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
