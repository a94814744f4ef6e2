"""A partner's price may have a last day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0007_session_hours_in_words"),
    ]

    operations = [
        migrations.AddField(
            model_name="price",
            name="effective_until",
            field=models.DateField(
                blank=True,
                help_text="Last day (IST) of a partner's price; after it the general price is in "
                "force again. Empty: no end.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("effective_until__isnull", True),
                    ("effective_until__gte", models.F("effective_from")),
                    _connector="OR",
                ),
                name="price_until_after_from",
                violation_error_message="The last day must not be before the first one.",
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("effective_until__isnull", True),
                    ("partner_id__isnull", False),
                    _connector="OR",
                ),
                name="price_until_for_partner",
                violation_error_message="Only a partner's price has a last day; the general price is "
                "followed by a new one.",
            ),
        ),
    ]
