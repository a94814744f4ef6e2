"""A partner's default broker is one we speak to; partners knows only the text.

Whoever adds a broker replaces this constraint in a migration of their own (a test compares).
"""

from django.db import migrations

# PostgreSQL asks the constraint of every later change of a row
SPELL = """
UPDATE partners_partner SET default_broker = lower(trim(default_broker))
 WHERE default_broker NOT IN ('zerodha', 'zebu')
   AND lower(trim(default_broker)) IN ('zerodha', 'zebu')
"""

FORWARDS = """
ALTER TABLE partners_partner ADD CONSTRAINT partner_default_broker_known
  CHECK (default_broker IN ('zerodha', 'zebu')) NOT VALID
"""

BACKWARDS = "ALTER TABLE partners_partner DROP CONSTRAINT partner_default_broker_known"


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0007_seal_egress"),
        ("partners", "0006_checked_lists"),
    ]

    operations = [
        migrations.RunSQL(SPELL, migrations.RunSQL.noop),
        migrations.RunSQL(FORWARDS, BACKWARDS),
    ]
