"""Credits that a template's withdrawal leaves to be made."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from quantleap.core import clock
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.models.payments import CreditNote
from subscriptions.models import Subscription


class WithdrawalCredit(TenantOwned):
    """A billed subscription that a withdrawal cancelled on ``withdrawn_on`` (IST).

    Written in the withdrawal's transaction. withdrawal_credits.py finishes it, with a credit note
    if days of a paid period are left, else without; then it is final (0007 refuses changes).
    """

    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="withdrawal_credits"
    )
    withdrawn_on = models.DateField()
    created_at = models.DateTimeField(default=clock.now, editable=False)
    done_at = models.DateTimeField(null=True, blank=True)
    credit_note = models.OneToOneField(
        CreditNote,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="withdrawal",
        help_text="Empty, though done: no day of a billed period was left.",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription"],
                nulls_distinct=False,
                name="withdrawal_credit_uniq",
            ),
            models.CheckConstraint(
                condition=Q(credit_note__isnull=True) | Q(done_at__isnull=False),
                name="withdrawal_credit_note_is_done",
            ),
        )
        indexes = (
            # the queue
            models.Index(
                fields=["id"], condition=Q(done_at__isnull=True), name="withdrawal_credit_open_idx"
            ),
        )

    def __str__(self) -> str:
        return f"{self.subscription_id} withdrawn on {self.withdrawn_on}"
