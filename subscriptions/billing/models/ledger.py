"""Double entry in three append-only tables, a projection of balances, and its nightly proof."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from quantleap.core import clock
from quantleap.core.dates import moment_text
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet

#: Kinds of postings, which are also the prefixes of their keys.
KINDS: Final = (
    "invoice", "receipt", "payment", "credit_note", "refund", "commission", "clawback", "maturity",
    "recognition", "reversal", "bank_charge",
)  # fmt: skip


class LedgerAccount(models.Model):
    """One account, created at its first posting. Codes and kinds: chart_of_accounts.py."""

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
    """One posting. The database refuses a second one with its ``idem_key``, and every change."""

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
            # corrections of a posting
            models.Index(
                fields=["corrects"],
                condition=Q(corrects__isnull=False),
                name="ledger_corrects_idx",
            ),
            # months of a partner (statements, reports)
            models.Index(
                fields=["partner_id", "environment", "effective_on"], name="ledger_tenant_idx"
            ),
            # the console's search: keys by prefix
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

    All entries of a transaction are inserted by one statement and add up to 0, or the database
    refuses them (0002).
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
    """The account with a customer's credit, as staff work with it.

    A debit balance is the customer's debt: credit was paid out, and its money then went back at the
    bank.
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
    """Sum of an account's entries; a trigger updates it in their transaction."""

    account = models.OneToOneField(
        LedgerAccount, on_delete=models.PROTECT, primary_key=True, related_name="projection"
    )
    balance = models.DecimalField(max_digits=16, decimal_places=2, default=ZERO)

    def __str__(self) -> str:
        return f"{self.account_id}: {self.balance}"


class LedgerCheck(models.Model):
    """Result of the nightly check of the ledger; ``findings`` is empty if the ledger is correct."""

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
        return f"{'passed' if self.ok else 'FAILED'} at {moment_text(self.checked_at)}"
