"""Templates on offer, and the strategies of one template, are told apart by their names."""

import django.db.models.constraints
import django.db.models.functions.text
from django.db import migrations, models

# What is published keeps its name before any draft, then the oldest does; the others get their number behind it.
RENAME_TEMPLATES = """
UPDATE marketplace_template AS template
   SET name = left(template.name, 105) || ' (' || template.id || ')'
  FROM (SELECT id, row_number() OVER (PARTITION BY lower(name), environment
                                     ORDER BY (state = 'DRAFT'), id) AS place
          FROM marketplace_template
         WHERE owner = 'PLATFORM' AND state <> 'WITHDRAWN') AS twin
 WHERE twin.id = template.id AND twin.place > 1;
"""

RENAME_STRATEGIES = """
UPDATE marketplace_strategy AS strategy
   SET name = left(strategy.name, 65) || ' (' || strategy.id || ')'
  FROM (SELECT id, row_number() OVER (PARTITION BY template_id, name ORDER BY id) AS place
          FROM marketplace_strategy) AS twin
 WHERE twin.id = strategy.id AND twin.place > 1;
"""


class Migration(migrations.Migration):
    """Drafts are renamed where they must be; what is published stays as it was published."""

    dependencies = [("marketplace", "0004_calendar_year_edited")]

    operations = [
        migrations.RunSQL(RENAME_TEMPLATES, migrations.RunSQL.noop),
        migrations.RunSQL(RENAME_STRATEGIES, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="strategy",
            constraint=models.UniqueConstraint(
                deferrable=django.db.models.constraints.Deferrable["DEFERRED"],
                fields=("template", "name"),
                name="strategy_name_uniq",
            ),
        ),
        migrations.AddConstraint(
            model_name="template",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("name"),
                models.F("environment"),
                condition=models.Q(
                    ("owner", "PLATFORM"), models.Q(("state", "WITHDRAWN"), _negated=True)
                ),
                name="template_name_uniq",
                violation_error_message="Another template has this name; choose a different one.",
            ),
        ),
    ]
