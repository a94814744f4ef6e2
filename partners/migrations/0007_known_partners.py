"""A price or a template's visibility names partners that exist; marketplace knows only numbers.

Rows from before stay as they are: the key is NOT VALID and asks only a price whose partner changes,
the trigger asks only the partners that a template did not name before.
"""

from django.db import migrations

FORWARDS = """
ALTER TABLE marketplace_price
  ADD CONSTRAINT price_partner_known FOREIGN KEY (partner_id)
      REFERENCES partners_partner (id) DEFERRABLE INITIALLY DEFERRED NOT VALID;

CREATE FUNCTION template_partners_known() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  stranger bigint;
BEGIN
  SELECT number INTO stranger
    FROM unnest(NEW.visible_to) AS number
   WHERE NOT EXISTS (SELECT FROM partners_partner AS partner WHERE partner.id = number)
     -- OLD is null for an INSERT
     AND number <> ALL (COALESCE(OLD.visible_to, '{}'))
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'there is no partner %', stranger
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'template_partners_known';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER template_partners_known
  BEFORE INSERT OR UPDATE OF visible_to ON marketplace_template
  FOR EACH ROW WHEN (NEW.visible_to <> '{}') EXECUTE FUNCTION template_partners_known();
"""

BACKWARDS = """
DROP TRIGGER template_partners_known ON marketplace_template;
DROP FUNCTION template_partners_known();
ALTER TABLE marketplace_price DROP CONSTRAINT price_partner_known;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0001_initial"),
        ("partners", "0006_checked_lists"),
    ]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
