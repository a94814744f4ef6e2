"""Egress addresses may hold a proxy's password: sealed like the credentials beside them."""

from django.db import migrations, models

from quantleap.core import crypto

COLUMN = "brokers_brokeraccount:{}:egress"


def seal(apps, _schema_editor):
    accounts = apps.get_model("brokers", "BrokerAccount")._base_manager
    accounts.filter(status="removed").exclude(egress="").update(egress="")
    plain = accounts.exclude(egress="").exclude(egress__startswith="v1:")
    for pk, egress in plain.values_list("pk", "egress").iterator():
        sealed = crypto.encrypt(egress, place=COLUMN.format(pk))
        accounts.filter(pk=pk, egress=egress).update(egress=sealed)


def unseal(apps, _schema_editor):
    accounts = apps.get_model("brokers", "BrokerAccount")._base_manager
    for pk, sealed in accounts.exclude(egress="").values_list("pk", "egress").iterator():
        plain = crypto.decrypt(sealed, place=COLUMN.format(pk))
        accounts.filter(pk=pk, egress=sealed).update(egress=plain)


class Migration(migrations.Migration):
    dependencies = [("brokers", "0006_feed_login")]

    operations = [
        migrations.AlterField(
            model_name="brokeraccount",
            name="egress",
            field=models.TextField(
                blank=True,
                editable=False,
                help_text="Proxy or source address, sealed by brokers.sealed_credentials.",
            ),
        ),
        migrations.RunPython(seal, unseal, elidable=True),
    ]
