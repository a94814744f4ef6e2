"""History stays as written: the database itself refuses to change or remove audit entries."""

from django.db import migrations

# TRUNCATE stays possible for the owner: it is how a test empties its tables, and no application
# role is granted it.
FORWARDS = """
CREATE FUNCTION core_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % refused: its rows are history', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER core_auditentry_append_only
    BEFORE UPDATE OR DELETE ON core_auditentry
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""

BACKWARDS = """
DROP TRIGGER core_auditentry_append_only ON core_auditentry;
DROP FUNCTION core_refuse_change();
"""


class Migration(migrations.Migration):
    """Trigger and its function; other rooms put the function on their own history tables."""

    dependencies = [("core", "0001_initial")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
