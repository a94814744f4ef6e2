"""People are the partner's own ids; their addresses have a history and can be confirmed.

History is kept by the database: a change can be neither edited nor removed, and of a confirmation
only the moment can be set, once.
"""

import django.db.models.deletion
from django.db import migrations, models

import partners.emails.models
import quantleap.core.clock

TENANT = [
    (
        "id",
        models.BigAutoField(
            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
        ),
    ),
    (
        "partner_id",
        models.BigIntegerField(
            blank=True,
            editable=False,
            help_text="Owning partner; empty for direct.",
            null=True,
        ),
    ),
    (
        "environment",
        models.CharField(
            choices=[("live", "Live"), ("test", "Test")],
            default="live",
            editable=False,
            max_length=4,
        ),
    ),
]

FORWARDS = """
CREATE TRIGGER partners_emailchange_append_only
    BEFORE UPDATE OR DELETE ON partners_emailchange
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE FUNCTION partners_confirm_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.confirmed_at IS NOT NULL
       OR to_jsonb(NEW) - 'confirmed_at' <> to_jsonb(OLD) - 'confirmed_at' THEN
        RAISE EXCEPTION 'UPDATE of % refused: an address is confirmed once', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER partners_emailconfirmation_once
    BEFORE UPDATE ON partners_emailconfirmation
    FOR EACH ROW EXECUTE FUNCTION partners_confirm_once();
CREATE TRIGGER partners_emailconfirmation_stays
    BEFORE DELETE ON partners_emailconfirmation
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""

BACKWARDS = """
DROP TRIGGER partners_emailconfirmation_stays ON partners_emailconfirmation;
DROP TRIGGER partners_emailconfirmation_once ON partners_emailconfirmation;
DROP FUNCTION partners_confirm_once();
DROP TRIGGER partners_emailchange_append_only ON partners_emailchange;
"""


def customer(related_name: str) -> models.ForeignKey:
    return models.ForeignKey(
        on_delete=django.db.models.deletion.PROTECT,
        related_name=related_name,
        to="partners.customer",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0002_append_only"),
        ("partners", "0013_suspension"),
    ]

    operations = [
        migrations.AddField(
            model_name="customer",
            name="email_confirmed_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When this address was confirmed by its owner.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="customer",
            name="external_user_id",
            field=models.CharField(
                blank=True,
                default="",
                help_text="The partner's own id for this person; empty until it gives one.",
                max_length=64,
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("external_user_id", ""), _negated=True),
                fields=("partner_id", "environment", "external_user_id"),
                name="customer_external_id_uniq",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("external_user_id", ""),
                    ("external_user_id__regex", "^[!-~]([ -~]{0,62}[!-~])?$"),
                    _connector="OR",
                ),
                name="customer_external_id_format",
            ),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("external_user_id", ""), _negated=True),
                fields=["external_user_id"],
                name="customer_external_id_idx",
                opclasses=["varchar_pattern_ops"],
            ),
        ),
        migrations.CreateModel(
            name="EmailChange",
            fields=[
                *TENANT,
                ("from_email", models.EmailField(max_length=254)),
                ("to_email", models.EmailField(max_length=254)),
                ("changed_at", models.DateTimeField(default=quantleap.core.clock.now)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("STAFF", "Staff"),
                            ("PARTNER", "Partner key"),
                            ("USER", "Customer"),
                            ("SYSTEM", "System"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "actor_id",
                    models.CharField(
                        blank=True,
                        help_text="The key of a partner, the name of our staff.",
                        max_length=80,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("customer", customer("email_changes")),
            ],
            options={
                "verbose_name": "e-mail change",
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        fields=["from_email"],
                        name="email_change_from_idx",
                        opclasses=["varchar_pattern_ops"],
                    ),
                    models.Index(
                        fields=["to_email"],
                        name="email_change_to_idx",
                        opclasses=["varchar_pattern_ops"],
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("from_email", models.F("to_email")), _negated=True),
                        name="email_change_changes",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EmailConfirmation",
            fields=[
                *TENANT,
                (
                    "public_id",
                    models.CharField(
                        default=partners.emails.models.new_confirmation_id,
                        editable=False,
                        max_length=40,
                        unique=True,
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                ("asked_at", models.DateTimeField(default=quantleap.core.clock.now)),
                ("expires_at", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("customer", customer("email_confirmations")),
            ],
            options={
                "verbose_name": "e-mail confirmation",
                "ordering": ("-id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("confirmed_at__isnull", True),
                            ("confirmed_at__lt", models.F("expires_at")),
                            _connector="OR",
                        ),
                        name="email_confirmed_in_time",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerMail",
            fields=[
                *TENANT,
                (
                    "status",
                    models.CharField(
                        choices=[("PENDING", "Pending"), ("SENT", "Sent"), ("FAILED", "Failed")],
                        default="PENDING",
                        max_length=7,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[("CONFIRM", "Please confirm"), ("CHANGED", "Was changed")],
                        max_length=7,
                    ),
                ),
                ("recipient", models.EmailField(max_length=254)),
                ("created_at", models.DateTimeField(default=quantleap.core.clock.now)),
                (
                    "change",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="mails",
                        to="partners.emailchange",
                    ),
                ),
                (
                    "confirmation",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="mails",
                        to="partners.emailconfirmation",
                    ),
                ),
                ("customer", customer("mails")),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "PENDING")),
                        fields=["next_attempt_at"],
                        name="customer_mail_due_idx",
                    ),
                    models.Index(
                        fields=["recipient"],
                        name="customer_mail_recipient_idx",
                        opclasses=["varchar_pattern_ops"],
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("change__isnull", True),
                                ("confirmation__isnull", False),
                                ("kind", "CONFIRM"),
                            ),
                            models.Q(
                                ("change__isnull", False),
                                ("confirmation__isnull", True),
                                ("kind", "CHANGED"),
                            ),
                            _connector="OR",
                        ),
                        name="customer_mail_has_its_cause",
                    )
                ],
            },
        ),
        migrations.RunSQL(FORWARDS, BACKWARDS),
    ]
