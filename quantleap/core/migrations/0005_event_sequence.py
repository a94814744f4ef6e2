"""Events say what they tell of, and the database numbers the events of each object."""

from django.db import migrations, models

FORWARDS = """
CREATE FUNCTION core_number_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.object_id = '' THEN
        RAISE EXCEPTION 'event % tells of nothing', NEW.type USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO core_eventsequence AS held (object_id, last) VALUES (NEW.object_id, 1)
        ON CONFLICT (object_id) DO UPDATE SET last = held.last + 1
        RETURNING held.last INTO NEW.sequence;
    RETURN NEW;
END
$$;
CREATE TRIGGER core_outboxevent_sequence
    BEFORE INSERT ON core_outboxevent
    FOR EACH ROW EXECUTE FUNCTION core_number_event();
"""

BACKWARDS = """
DROP TRIGGER core_outboxevent_sequence ON core_outboxevent;
DROP FUNCTION core_number_event();
"""


class Migration(migrations.Migration):
    """The events of before keep an empty id and the number 0."""

    dependencies = [("core", "0004_list_indexes")]

    operations = [
        migrations.CreateModel(
            name="EventSequence",
            fields=[
                (
                    "object_id",
                    models.CharField(max_length=80, primary_key=True, serialize=False),
                ),
                ("last", models.BigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="object_id",
            field=models.CharField(
                blank=True, default="", help_text="Public id of the event's object.", max_length=80
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="sequence",
            field=models.BigIntegerField(
                default=0,
                editable=False,
                help_text="Grows with every event of one object; assigned by the database.",
            ),
        ),
        migrations.RunSQL(FORWARDS, BACKWARDS),
    ]
