from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0008_executor_clock")]

    operations = [
        migrations.AddField(
            model_name="orderintent",
            name="changes",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="Other prices that were asked for while it rested (execution.price_changes).",
            ),
        ),
    ]
