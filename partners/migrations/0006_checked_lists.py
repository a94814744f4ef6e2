"""Lists of a partner are checked value by value."""

import django.contrib.postgres.fields
from django.db import migrations, models

import partners.validators


class Migration(migrations.Migration):
    dependencies = [
        ("partners", "0005_secret_showing"),
    ]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="allowed_ips",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=43, validators=[partners.validators.validate_network]
                ),
                blank=True,
                default=list,
                help_text="Addresses and CIDR networks; empty means any.",
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="partner",
            name="oauth_redirect_urls",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=200, validators=[partners.validators.validate_redirect_url]
                ),
                blank=True,
                default=list,
                help_text="Where a broker login may return to: https, or http to the caller's own machine; compared character by character.",
                size=None,
            ),
        ),
    ]
