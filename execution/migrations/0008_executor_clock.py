from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0007_surplus_and_price_sources")]

    operations = [
        migrations.AddField(
            model_name="executornode",
            name="clock_offset_ms",
            field=models.IntegerField(
                blank=True,
                help_text="Its clock less the database's, in milliseconds.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="executornode",
            name="clock_error_ms",
            field=models.IntegerField(
                blank=True,
                help_text="Half the round trip of that reading, in milliseconds.",
                null=True,
            ),
        ),
    ]
