"""Stored client ids are ASCII, in upper case.

PostgreSQL asks the constraint of every later change of a row, so rows from before are written in
that spelling first. Accounts that would become one and the same stay readable (NOT VALID) and want
a person before they are changed.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

# COLLATE "C" folds a to z and nothing else
SPELL = """
UPDATE brokers_brokeraccount AS mine SET client_id = upper(client_id COLLATE "C")
 WHERE client_id <> upper(client_id COLLATE "C")
   AND (mine.status = 'removed' OR NOT EXISTS (
       SELECT FROM brokers_brokeraccount AS other
        WHERE other.id <> mine.id
          AND other.status <> 'removed'
          AND other.broker = mine.broker
          AND other.environment = mine.environment
          AND other.partner_id IS NOT DISTINCT FROM mine.partner_id
          AND upper(other.client_id COLLATE "C") = upper(mine.client_id COLLATE "C")))
"""


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0001_initial"),
        ("partners", "0003_customer_email_ascii"),
    ]

    operations = [
        migrations.RunSQL(SPELL, migrations.RunSQL.noop),
        AddConstraintNotValid(
            model_name="brokeraccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("client_id__regex", "^[A-Z0-9][A-Z0-9._-]{0,39}$")),
                name="account_client_id_ascii",
            ),
        ),
    ]
