"""Tokens name the key that minted them; those of before are forgotten (15 minutes at most)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("partners", "0008_list_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="usertoken",
            name="key",
            field=models.ForeignKey(
                blank=True,
                help_text="The key that issued it; empty for a direct customer.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="partners.partnerkey",
            ),
        ),
        # nobody knows any more which key made them, so nobody knows what they may open
        migrations.RunSQL(
            "DELETE FROM partners_usertoken WHERE partner_id IS NOT NULL",
            migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name="usertoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("key__isnull", True), ("partner_id__isnull", True)),
                    models.Q(("key__isnull", False), ("partner_id__isnull", False)),
                    _connector="OR",
                ),
                name="user_token_has_its_key",
            ),
        ),
    ]
