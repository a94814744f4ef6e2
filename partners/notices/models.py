"""Mails to a partner's own contacts."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from quantleap.core import clock
from quantleap.core.models import QueuedMail


class PartnerMail(QueuedMail):
    """A mail to one contact of a partner about the partner itself.

    It covers both environments, because a suspension does. It contains nothing about a customer.
    """

    class Kind(models.TextChoices):
        SUSPENDED = "SUSPENDED", "Suspended"
        PLAN_CHANGED = "PLAN_CHANGED", "Another plan"
        REINSTATED = "REINSTATED", "Reinstated"

    partner = models.ForeignKey(
        "partners.Partner", on_delete=models.PROTECT, related_name="mails", db_index=False
    )
    kind = models.CharField(max_length=12, choices=Kind.choices)
    happened_at = models.DateTimeField()
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner", "happened_at", "kind", "recipient"], name="partner_mail_uniq"
            ),
        )
        indexes = (
            # the sender's queue
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status="PENDING"),
                name="partner_mail_due_idx",
            ),
            # the console's search: by the beginning of an address
            models.Index(
                fields=["recipient"],
                opclasses=["varchar_pattern_ops"],
                name="partner_mail_recipient_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.recipient}: {self.subject}"
