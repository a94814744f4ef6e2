"""A SAC of a template's own; the database refuses what is none."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """Empty for all there are: the supplier's."""

    dependencies = [("marketplace", "0002_append_only")]

    operations = [
        migrations.AddField(
            model_name="template",
            name="sac",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Service accounting code on its invoices from the next one on; empty: "
                "the supplier's. Issued invoices keep theirs.",
                max_length=6,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A99[0-9]{4}\\Z", "A SAC is 99 and four more digits."
                    )
                ],
                verbose_name="SAC",
            ),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            model_name="template",
            constraint=models.CheckConstraint(
                condition=models.Q(("sac", ""), ("sac__regex", "^99[0-9]{4}$"), _connector="OR"),
                name="template_sac_format",
            ),
        ),
    ]
