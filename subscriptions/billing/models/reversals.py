"""Reversals: a bank took money back. A receipt is reversed once, with all its payments."""

from __future__ import annotations

import functools
from typing import Final

from django.db import models
from django.db.models import F, Q

from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.models.ledger import LedgerTransaction
from subscriptions.billing.models.payments import Payment
from subscriptions.billing.models.receipts import Receipt

new_reversal_id = functools.partial(new_public_id, "rev")

#: A receipt is reversed once: PostgreSQL's default name of the one-to-one key.
REVERSAL_UNIQUE: Final = "billing_reversal_receipt_id_key"


class Reversal(TenantOwned):
    """A receipt whose money went back at the bank: a bounced cheque, a recalled transfer.

    ``reversed_on`` is the bank's day, ``recorded_on`` the day of the postings.
    """

    public_id = models.CharField(
        max_length=40, unique=True, default=new_reversal_id, editable=False
    )
    receipt = models.OneToOneField(Receipt, on_delete=models.PROTECT, related_name="reversal")
    reversed_on = models.DateField(help_text="As the bank's statement says (IST).")
    reason = models.CharField(max_length=200)
    bank_charges = models.DecimalField(
        max_digits=12, decimal_places=2, default=ZERO, help_text="What the bank took for it: ours."
    )
    recorded_by = models.CharField(max_length=150)
    recorded_on = models.DateField(help_text="Business date of its postings.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.OneToOneField(
        LedgerTransaction,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reversal",
        help_text="The mirror of the posting of the receipt's credit.",
    )
    charges_transaction = models.OneToOneField(
        LedgerTransaction,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="charged_reversal",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(reversed_on__lte=F("recorded_on")), name="reversal_not_in_future"
            ),
            models.CheckConstraint(
                condition=Q(bank_charges=0, charges_transaction__isnull=True)
                | Q(bank_charges__gt=0, charges_transaction__isnull=False),
                name="reversal_charges_are_posted",
            ),
        )
        indexes = (
            # a partner's month
            models.Index(
                fields=["partner_id", "environment", "recorded_on"], name="reversal_tenant_idx"
            ),
        )

    def __str__(self) -> str:
        return self.public_id


class PaymentReversal(TenantOwned):
    """A payment that no longer pays: of the reversed receipt, or out of the receipt's credit."""

    reversal = models.ForeignKey(Reversal, on_delete=models.PROTECT, related_name="payments")
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, related_name="reversal")
    transaction = models.OneToOneField(
        LedgerTransaction,
        on_delete=models.PROTECT,
        related_name="payment_reversal",
        help_text="The mirror of the payment's posting.",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.payment_id} by {self.reversal_id}"
