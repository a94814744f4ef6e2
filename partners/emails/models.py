"""Customers' addresses: changes, confirmations, and the mails about them."""

from __future__ import annotations

import functools

from django.db import models
from django.db.models import F, Q

from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.models import ActorKind, QueuedMail
from quantleap.core.tenancy import TenantOwned, TenantQuerySet

new_confirmation_id = functools.partial(new_public_id, "emc")


class EmailChange(TenantOwned):
    """One change of a customer's address, by whom and why. The database refuses to edit it."""

    customer = models.ForeignKey(
        "partners.Customer", on_delete=models.PROTECT, related_name="email_changes"
    )
    from_email = models.EmailField()
    to_email = models.EmailField()
    changed_at = models.DateTimeField(default=clock.now)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices)
    actor_id = models.CharField(
        max_length=80, blank=True, help_text="The key of a partner, the name of our staff."
    )
    reason = models.CharField(max_length=200, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "e-mail change"
        constraints = (
            models.CheckConstraint(
                condition=~Q(from_email=F("to_email")), name="email_change_changes"
            ),
        )
        indexes = (
            # the console's search: by the beginning of an old or new address
            models.Index(
                fields=["from_email"],
                opclasses=["varchar_pattern_ops"],
                name="email_change_from_idx",
            ),
            models.Index(
                fields=["to_email"], opclasses=["varchar_pattern_ops"], name="email_change_to_idx"
            ),
        )

    def __str__(self) -> str:
        return f"{self.from_email} → {self.to_email}"


class EmailConfirmation(TenantOwned):
    """A link that was mailed to an address, and when its owner opened it.

    Only the hash of the link's token is stored. The database allows ``confirmed_at`` to be set
    once, and nothing else to change.
    """

    public_id = models.CharField(
        max_length=40, unique=True, default=new_confirmation_id, editable=False
    )
    customer = models.ForeignKey(
        "partners.Customer", on_delete=models.PROTECT, related_name="email_confirmations"
    )
    email = models.EmailField()
    token_hash = models.CharField(max_length=64, unique=True)
    asked_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "e-mail confirmation"
        constraints = (
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True) | Q(confirmed_at__lt=F("expires_at")),
                name="email_confirmed_in_time",
            ),
        )

    def __str__(self) -> str:
        return self.email


class CustomerMail(QueuedMail, TenantOwned):
    """A mail to a customer's address. Its text is composed when it is sent, and stored nowhere."""

    class Kind(models.TextChoices):
        CONFIRM = "CONFIRM", "Please confirm"  # to the stated address
        CHANGED = "CHANGED", "Was changed"  # to the old address

    customer = models.ForeignKey(
        "partners.Customer", on_delete=models.PROTECT, related_name="mails"
    )
    kind = models.CharField(max_length=7, choices=Kind.choices)
    recipient = models.EmailField()
    change = models.ForeignKey(
        EmailChange, on_delete=models.PROTECT, null=True, blank=True, related_name="mails"
    )
    confirmation = models.ForeignKey(
        EmailConfirmation, on_delete=models.PROTECT, null=True, blank=True, related_name="mails"
    )
    created_at = models.DateTimeField(default=clock.now)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind="CONFIRM", confirmation__isnull=False, change__isnull=True)
                | Q(kind="CHANGED", confirmation__isnull=True, change__isnull=False),
                name="customer_mail_has_its_cause",
            ),
        )
        indexes = (
            # the sender's queue
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status="PENDING"),
                name="customer_mail_due_idx",
            ),
            # the console's search: by the beginning of an address
            models.Index(
                fields=["recipient"],
                opclasses=["varchar_pattern_ops"],
                name="customer_mail_recipient_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.recipient}: {self.get_kind_display()}"
