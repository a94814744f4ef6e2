from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0017_export_receipts"),
    ]

    operations = [
        migrations.RenameModel(old_name="LedgerProof", new_name="LedgerCheck"),
    ]
