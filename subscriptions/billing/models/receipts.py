"""Receipts: one row per incoming movement of money, whatever it is used for. Rupees; IST."""

from __future__ import annotations

import functools
from typing import Final

from django.db import models
from django.db.models import Q

from partners.models import Customer
from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.models.ledger import LedgerTransaction

new_receipt_id = functools.partial(new_public_id, "rct")

#: The unique key of a receipt: its violation becomes a message.
RECEIPT_UNIQUE: Final = "receipt_reference_uniq"


class Method(models.TextChoices):
    """How money moved, as recorded by staff; or that it stayed with us as the customer's credit."""

    BANK_TRANSFER = "BANK_TRANSFER", "Bank transfer"
    UPI = "UPI", "UPI"
    CHEQUE = "CHEQUE", "Cheque"
    CASH = "CASH", "Cash"
    CUSTOMER_CREDIT = "CUSTOMER_CREDIT", "Customer's credit"


#: The rails on which money is received and paid.
MONEY_METHODS: Final = tuple(method for method in Method.values if method != Method.CUSTOMER_CREDIT)


class Receipt(TenantOwned):
    """Money received, once. Its payments are the parts that invoices got.

    ``credit`` is what no payment took: the payer's credit. The amount is ``credit`` plus the
    amounts of its payments (0014 refuses anything else when the transaction commits).

    A reference identifies one receipt of its rail, whatever its spelling (``reference_key``). Money
    that was taken back may come a second time under the same reference (a cheque is presented
    again): that is ``presentation`` 2.
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_receipt_id, editable=False)
    customer = models.ForeignKey(
        Customer,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="receipts",
        db_index=False,
        help_text="Who paid. Empty: somebody who is no customer, by name.",
    )
    payer_name = models.CharField(
        max_length=200, blank=True, help_text="Who paid, as the bank's statement names them."
    )
    method = models.CharField(
        "rail",
        max_length=15,
        choices=[choice for choice in Method.choices if choice[0] in MONEY_METHODS],
    )
    reference = models.CharField(max_length=80, help_text="As it was typed.")
    reference_key = models.CharField(
        max_length=80, help_text="Letters and digits of the reference, in upper case."
    )
    presentation = models.PositiveSmallIntegerField(
        default=1, help_text="One more each time that it came again after a reversal."
    )
    in_doubt = models.BooleanField(
        default=False,
        help_text="Recorded before a reference was used once, under another receipt's reference.",
    )
    received_on = models.DateField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    credit = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    currency = models.CharField(max_length=3, default="INR")
    note = models.CharField(max_length=200, blank=True)
    recorded_by = models.CharField(max_length=150)
    recorded_on = models.DateField(help_text="Business date of its postings.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.OneToOneField(
        LedgerTransaction,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="receipt",
        help_text="The posting of its credit; payments have postings of their own.",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        permissions = (("export_receipt", "Can export receipts"),)
        constraints = (
            # across all tenants: a bank issues a reference once
            models.UniqueConstraint(
                fields=["method", "reference_key", "presentation"], name=RECEIPT_UNIQUE
            ),
            models.CheckConstraint(
                condition=Q(reference_key__regex=r"^[0-9A-Z]+$"), name="receipt_reference_format"
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0, credit__gte=0, credit__lte=models.F("amount")),
                name="receipt_amount_sane",
            ),
            models.CheckConstraint(
                condition=Q(credit=0, transaction__isnull=True)
                | Q(credit__gt=0, transaction__isnull=False, customer__isnull=False),
                name="receipt_credit_is_somebodys",
            ),
            models.CheckConstraint(
                condition=Q(customer__isnull=False) | ~Q(payer_name=""), name="receipt_has_payer"
            ),
            models.CheckConstraint(
                condition=Q(received_on__lte=models.F("recorded_on")),
                name="receipt_received_before_recorded",
            ),
            models.CheckConstraint(condition=Q(presentation__gte=1), name="receipt_presentation"),
        )
        indexes = (
            # a customer's receipts, newest first
            models.Index(fields=["customer", "-id"], name="receipt_customer_idx"),
            # a partner's month
            models.Index(
                fields=["partner_id", "environment", "recorded_on"], name="receipt_tenant_idx"
            ),
            # the console's search: references by prefix
            models.Index(
                fields=["reference_key"],
                opclasses=["varchar_pattern_ops"],
                name="receipt_reference_idx",
            ),
            # the console's filters
            models.Index(fields=["received_on"], name="receipt_received_idx"),
            models.Index(fields=["recorded_on"], name="receipt_recorded_idx"),
            models.Index(fields=["-id"], condition=Q(in_doubt=True), name="receipt_doubt_idx"),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def payer(self) -> str:
        """Name of the payer, for display."""
        return str(self.customer) if self.customer is not None else self.payer_name
