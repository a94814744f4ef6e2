"""Everything that is live in one real account has one shard, whoever writes it.

A real account is environment, broker and client id; several rows may stand for it. Two shards mean
two executors, two books and two paces. The hash (brokers.real_account) agrees by itself, but not
with rows that were armed by an older version, nor after the number of shards was changed: the oldest
live row decides, and everything that is written after it follows.

What is live while this is applied keeps its shard, because an executor holds it. Only where one
real account is live in two shards already, it is brought together, and the leases of these shards
are taken from their owners as if they had died: nobody may claim them before they run out, by which
time the owners have noticed and send nothing (docs/adr/0009).
"""

from django.db import migrations, models

FORWARDS = """
CREATE FUNCTION execution_one_shard() RETURNS trigger LANGUAGE plpgsql
  -- A plan that was made while a table was small must not read it from end to end once it is not.
  SET enable_seqscan = off AS $$
DECLARE
  account record;
  home smallint;
BEGIN
  -- One writer at a time: two rows of one account, written at the same moment by two processes,
  -- would not see each other. Held to the end of the transaction, a short one.
  PERFORM pg_advisory_xact_lock(hashtextextended('execution.one_shard', 0));
  -- In steps that each have one index to go by, and no join: a table that was last looked at while
  -- it was empty has all joins and all indexes equally cheap, and this runs for every row of an
  -- arming. Seen, for ten thousand rows: every account compared with every account for each of
  -- them, and the index of the primary key walked from the oldest execution on ("id + 0" is none).
  SELECT a.environment, a.broker, a.client_id INTO account
    FROM brokers_brokeraccount a WHERE a.id = NEW.account_id;
  SELECT e.shard INTO home
    FROM execution_execution e
   WHERE CASE WHEN e.status IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED') THEN NULL
              ELSE e.account_id END  -- execution_home_idx
         = ANY (ARRAY(
             SELECT a.id FROM brokers_brokeraccount a
              WHERE a.client_id = account.client_id AND a.broker = account.broker
                AND a.environment = account.environment))
     AND e.id <> NEW.id
   ORDER BY e.id + 0
   LIMIT 1;
  IF FOUND THEN
    NEW.shard := home;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER execution_one_shard_insert
  BEFORE INSERT ON execution_execution
  FOR EACH ROW WHEN (NEW.status NOT IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED'))
  EXECUTE FUNCTION execution_one_shard();

-- Withdrawn and armed again, or moved by hand.
CREATE TRIGGER execution_one_shard_update
  BEFORE UPDATE OF status, shard, account_id ON execution_execution
  FOR EACH ROW WHEN (
    NEW.status NOT IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED')
    AND (
      OLD.status IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED')
      OR NEW.shard <> OLD.shard OR NEW.account_id <> OLD.account_id
    )
  )
  EXECUTE FUNCTION execution_one_shard();
"""

BRING_TOGETHER = """
WITH live AS (
    SELECT e.id, e.shard,
           first_value(e.shard) OVER (
             PARTITION BY a.environment, a.broker, a.client_id ORDER BY e.id
           ) AS home
      FROM execution_execution e
      JOIN brokers_brokeraccount a ON a.id = e.account_id
     WHERE NOT (e.status IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED'))
), astray AS (
    SELECT id, shard, home FROM live WHERE shard <> home
), moved AS (
    UPDATE execution_execution e SET shard = astray.home FROM astray WHERE e.id = astray.id
), carried AS (
    UPDATE execution_orderintent i SET shard = astray.home
      FROM astray WHERE i.execution_id = astray.id
)
UPDATE execution_shardlease
   SET owner = '', token = token + 1
 WHERE shard IN (SELECT shard FROM astray UNION SELECT home FROM astray)
"""

BACKWARDS = """
DROP TRIGGER execution_one_shard_update ON execution_execution;
DROP TRIGGER execution_one_shard_insert ON execution_execution;
DROP FUNCTION execution_one_shard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("brokers", "0011_feed_pace"),
        ("execution", "0005_attention_is_derived"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                models.Case(
                    models.When(
                        status__in=["WITHDRAWN", "CLOSED", "FAILED", "MISSED"],
                        then=models.Value(None),
                    ),
                    default=models.F("account"),
                ),
                name="execution_home_idx",
            ),
        ),
        # The trigger first: it waits for whoever writes, and nobody writes before the end of this.
        migrations.RunSQL(FORWARDS, BACKWARDS),
        migrations.RunSQL(BRING_TOGETHER, migrations.RunSQL.noop),
    ]
