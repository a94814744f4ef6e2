"""Double entry in three append-only tables, a projection of balances, and its nightly proof."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from quantleap.core import clock
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet

#: What postings are of, and how their keys begin.
KINDS: Final = (
    "invoice", "receipt", "payment", "credit_note", "refund", "commission", "clawback", "maturity",
    "recognition", "reversal", "bank_charge",
)  # fmt: skip


class LedgerAccount(models.Model):
    """One account, made when it is first posted to. Codes and kinds: chart_of_accounts.py."""

    class Kind(models.TextChoices):
        ASSET = "ASSET", "Asset"
        LIABILITY = "LIABILITY", "Liability"
        INCOME = "INCOME", "Income"
        EXPENSE = "EXPENSE", "Expense"

    code = models.CharField(
        max_length=80, help_text="For example gst_output:cgst, receivable:usr_…"
    )
    kind = models.CharField(max_length=9, choices=Kind.choices)

    class Meta:
        ordering = ("code",)
        constraints = (models.UniqueConstraint(fields=["code"], name="ledger_account_code_uniq"),)

    def __str__(self) -> str:
        return self.code


class LedgerTransaction(TenantOwned):
    """One posting, once: the database refuses a second ``idem_key``, and every change."""

    idem_key = models.CharField(max_length=120)
    kind = models.CharField(max_length=40, help_text="For example invoice, payment, recognition.")
    effective_on = models.DateField(help_text="Business date (IST).")
    created_at = models.DateTimeField(default=clock.now)
    corrects = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="corrections",
        db_index=False,
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=["idem_key"], name="ledger_idem_key_uniq"),)
        indexes = (
            # what corrects a posting
            models.Index(
                fields=["corrects"],
                condition=Q(corrects__isnull=False),
                name="ledger_corrects_idx",
            ),
            # months of a partner (statements, reports)
            models.Index(
                fields=["partner_id", "environment", "effective_on"], name="ledger_tenant_idx"
            ),
            # the console's search: a key by its beginning
            models.Index(
                fields=["idem_key"],
                opclasses=["varchar_pattern_ops"],
                name="ledger_idem_key_begins_idx",
            ),
        )

    def __str__(self) -> str:
        return self.idem_key


class LedgerEntry(models.Model):
    """One side of a posting in rupees: debit positive, credit negative.

    All entries of a transaction come in one statement and add up to 0, or the database refuses
    them (0002).
    """

    transaction = models.ForeignKey(
        LedgerTransaction, on_delete=models.PROTECT, related_name="entries"
    )
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    amount = models.DecimalField(max_digits=14, decimal_places=2)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_not_zero"),
        )

    def __str__(self) -> str:
        return f"{self.account_id} {self.amount}"


class CustomerCredit(LedgerAccount):
    """What we hold of a customer's money: his account, as staff work with it.

    In debit it is what the customer owes us: credit that was paid out, of money that then went back
    at the bank.
    """

    class Meta:
        proxy = True
        verbose_name = "customer's credit"
        verbose_name_plural = "customers' credit"

    @property
    def customer_id(self) -> str:
        """Public id of the customer."""
        return self.code.partition(":")[2]


class AccountBalance(models.Model):
    """Sum of an account's entries, kept in their transaction by a trigger."""

    account = models.OneToOneField(
        LedgerAccount, on_delete=models.PROTECT, primary_key=True, related_name="projection"
    )
    balance = models.DecimalField(max_digits=16, decimal_places=2, default=ZERO)

    def __str__(self) -> str:
        return f"{self.account_id}: {self.balance}"


class LedgerProof(models.Model):
    """What the nightly check of the books found; ``findings`` empty means they hold."""

    checked_at = models.DateTimeField(default=clock.now)
    ok = models.BooleanField()
    accounts = models.PositiveIntegerField()
    transactions = models.PositiveBigIntegerField()
    entries = models.PositiveBigIntegerField()
    invoices = models.PositiveBigIntegerField()
    findings = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        at = clock.to_ist(self.checked_at)
        return f"{'holds' if self.ok else 'DOES NOT HOLD'} at {at.day} {at:%b %Y, %H:%M} IST"
