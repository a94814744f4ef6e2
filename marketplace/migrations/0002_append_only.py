"""A published version stays as published: the database itself refuses to change or remove it."""

from django.db import migrations

FORWARDS = """
CREATE TRIGGER marketplace_templateversion_append_only
    BEFORE UPDATE OR DELETE ON marketplace_templateversion
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""

BACKWARDS = """
DROP TRIGGER marketplace_templateversion_append_only ON marketplace_templateversion;
"""


class Migration(migrations.Migration):
    """Core's function on our history table."""

    dependencies = [("marketplace", "0001_initial"), ("core", "0002_append_only")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
