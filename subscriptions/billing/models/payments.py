"""Payments, credit notes, refunds, and the commission of partners. Rupees; dates IST.

All rows are history (0004 refuses changes), except for the time at which an accrual matured.
"""

from __future__ import annotations

import functools

from django.db import models
from django.db.models import F, Q

from partners.models import Customer
from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.models.invoices import Invoice
from subscriptions.billing.models.ledger import LedgerTransaction
from subscriptions.billing.models.receipts import Method, Receipt
from subscriptions.models import ShareLine

new_payment_id = functools.partial(new_public_id, "pay")
new_refund_id = functools.partial(new_public_id, "rfd")
new_commission_id = functools.partial(new_public_id, "com")


class Payment(TenantOwned):
    """The part of a receipt for an invoice: ``applied`` settles it, ``excess`` becomes credit.

    With the method CUSTOMER_CREDIT the money was received before and is used now; there is no
    receipt. Method, reference and day are the receipt's. ``idem_key`` identifies the payment,
    whoever records it. A reversed payment (:class:`PaymentReversal`) pays nothing any more.
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_payment_id, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="payments", db_index=False
    )
    receipt = models.ForeignKey(
        Receipt, on_delete=models.PROTECT, null=True, blank=True, related_name="payments"
    )
    idem_key = models.CharField(max_length=120)
    method = models.CharField(max_length=15, choices=Method.choices)
    reference = models.CharField(
        max_length=80, help_text="The bank's own: a UTR, a cheque's number."
    )
    received_on = models.DateField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    applied = models.DecimalField(max_digits=12, decimal_places=2)
    excess = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    currency = models.CharField(max_length=3, default="INR")
    recorded_by = models.CharField(max_length=150)
    recorded_on = models.DateField(help_text="Business date of its posting.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, related_name="payment"
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "idem_key"],
                nulls_distinct=False,
                name="payment_idem_uniq",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0, applied__gte=0, excess__gte=0)
                & Q(amount=F("applied") + F("excess")),
                name="payment_amount_is_sum",
            ),
            models.CheckConstraint(
                condition=Q(received_on__lte=F("recorded_on")), name="payment_not_before_receipt"
            ),
            models.CheckConstraint(
                condition=~Q(method="CUSTOMER_CREDIT") | Q(excess=0), name="payment_credit_fits"
            ),
            models.CheckConstraint(
                condition=Q(method="CUSTOMER_CREDIT", receipt__isnull=True)
                | (~Q(method="CUSTOMER_CREDIT") & Q(receipt__isnull=False)),
                name="payment_money_has_receipt",
            ),
        )
        indexes = (
            # a customer's payments, newest first
            models.Index(fields=["customer", "-id"], name="payment_customer_idx"),
            # a partner's month
            models.Index(
                fields=["partner_id", "environment", "recorded_on"], name="payment_tenant_idx"
            ),
            # the console's search: bank references by prefix
            models.Index(
                fields=["reference"],
                opclasses=["varchar_pattern_ops"],
                name="payment_reference_idx",
            ),
            # the console's filters by date
            models.Index(fields=["received_on"], name="payment_received_idx"),
            models.Index(fields=["recorded_on"], name="payment_recorded_idx"),
        )

    def __str__(self) -> str:
        return self.public_id


class CreditNote(TenantOwned):
    """Takes back a part of an invoice, tax included (CGST Act, section 34); has its own series.

    ``from_revenue`` of its taxable value was recognised already; the rest was still deferred.

    After 30 November following the invoice's financial year it is a financial credit: no tax is
    taken back (CGST Act, section 34(2)), and ``tax_kept`` of its total is tax that stays paid.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    idem_key = models.CharField(max_length=120)
    fy = models.CharField(max_length=7, help_text="Financial year of issue: 2026-27.")
    seq = models.PositiveIntegerField(help_text="Gapless within the financial year, from 1.")
    number = models.CharField(max_length=16)
    issued_on = models.DateField()
    taxable = models.DecimalField(max_digits=12, decimal_places=2)
    cgst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    sgst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    igst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    tax_kept = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        default=ZERO,
        help_text="Given back with it, although the tax itself stays paid: too late to reduce it.",
    )
    total = models.DecimalField(max_digits=12, decimal_places=2)
    from_revenue = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    reason = models.CharField(max_length=200)
    snapshot = models.JSONField(help_text="Everything its document shows.")
    recorded_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, related_name="credit_note"
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "idem_key"],
                nulls_distinct=False,
                name="credit_note_idem_uniq",
            ),
            models.UniqueConstraint(fields=["fy", "seq"], name="credit_note_fy_seq_uniq"),
            models.UniqueConstraint(fields=["number"], name="credit_note_number_uniq"),
            models.CheckConstraint(
                condition=Q(number__regex=r"^[A-Za-z0-9/-]{1,16}$"),
                name="credit_note_number_format",
            ),
            models.CheckConstraint(
                condition=Q(total=F("taxable") + F("cgst") + F("sgst") + F("igst") + F("tax_kept"))
                & Q(taxable__gte=0, cgst__gte=0, igst__gte=0, total__gt=0, cgst=F("sgst")),
                name="credit_note_total_is_sum",
            ),
            models.CheckConstraint(
                condition=Q(tax_kept=0) | Q(tax_kept__gt=0, cgst=0, igst=0),
                name="credit_note_tax_back_or_kept",
            ),
            models.CheckConstraint(
                condition=Q(from_revenue__gte=0, from_revenue__lte=F("taxable")),
                name="credit_note_from_revenue",
            ),
        )
        indexes = (
            # a partner's month
            models.Index(
                fields=["partner_id", "environment", "issued_on"], name="credit_note_tenant_idx"
            ),
        )

    def __str__(self) -> str:
        return self.number


class Refund(TenantOwned):
    """The refund of a credit note, or a payout of credit.

    With the method CUSTOMER_CREDIT a credit note's refund becomes the customer's credit. A payout
    is from one payment's excess or from the whole credit.
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_refund_id, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="refunds")
    credit_note = models.OneToOneField(
        CreditNote, on_delete=models.PROTECT, null=True, blank=True, related_name="refund"
    )
    payment = models.ForeignKey(
        Payment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="refunds",
        help_text="Whose excess is given back.",
    )
    idem_key = models.CharField(max_length=120)
    method = models.CharField(max_length=15, choices=Method.choices)
    reference = models.CharField(max_length=80)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    recorded_by = models.CharField(max_length=150)
    recorded_on = models.DateField()
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, related_name="refund"
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "idem_key"],
                nulls_distinct=False,
                name="refund_idem_uniq",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="refund_positive"),
            models.CheckConstraint(
                condition=Q(credit_note__isnull=True) | Q(payment__isnull=True),
                name="refund_of_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(credit_note__isnull=False) | ~Q(method="CUSTOMER_CREDIT"),
                name="refund_credit_is_for_note",
            ),
        )
        indexes = (
            # a partner's month
            models.Index(
                fields=["partner_id", "environment", "recorded_on"], name="refund_tenant_idx"
            ),
        )

    def __str__(self) -> str:
        return self.public_id


class Commission(TenantOwned):
    """Commission that a payee earned, lost or got released. ``partner_id`` is the payee.

    ACCRUAL (positive) comes with a payment, CLAWBACK (negative) of one accrual with a credit note
    or a reversal; together they are the commission. MATURITY is the part of an accrual that moved
    from pending to payable; it is not commission. ``base`` is the part of the taxable value that
    the row represents.
    """

    class Kind(models.TextChoices):
        ACCRUAL = "ACCRUAL", "Accrual"
        CLAWBACK = "CLAWBACK", "Claw-back"
        MATURITY = "MATURITY", "Maturity"

    #: Kinds that add up to the commission.
    EARNING = (Kind.ACCRUAL, Kind.CLAWBACK)

    public_id = models.CharField(
        max_length=40, unique=True, default=new_commission_id, editable=False
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    role = models.CharField(max_length=11, choices=ShareLine.Role.choices)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="commissions")
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="commissions")
    credit_note = models.ForeignKey(
        CreditNote, on_delete=models.PROTECT, null=True, blank=True, related_name="commissions"
    )
    reversal = models.ForeignKey(
        "billing.Reversal",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="commissions",
    )
    accrual = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="changes"
    )
    base = models.DecimalField(max_digits=12, decimal_places=2)
    bps = models.PositiveIntegerField(help_text="Basis points of the base.")
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    accrued_on = models.DateField(help_text="Business date of the row.")
    matures_on = models.DateField(null=True, blank=True)
    matured_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    transaction = models.ForeignKey(
        LedgerTransaction, on_delete=models.PROTECT, related_name="commissions"
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "payment", "role"],
                condition=Q(kind="ACCRUAL"),
                nulls_distinct=False,
                name="commission_accrual_uniq",
            ),
            models.UniqueConstraint(
                fields=["partner_id", "environment", "credit_note", "reversal", "accrual"],
                condition=Q(kind="CLAWBACK"),
                nulls_distinct=False,
                name="commission_clawback_uniq",
            ),
            models.UniqueConstraint(
                fields=["partner_id", "environment", "accrual"],
                condition=Q(kind="MATURITY"),
                nulls_distinct=False,
                name="commission_maturity_uniq",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind="ACCRUAL",
                    amount__gt=0,
                    base__gte=0,
                    accrual__isnull=True,
                    credit_note__isnull=True,
                    reversal__isnull=True,
                    matures_on__isnull=False,
                )
                | Q(
                    Q(credit_note__isnull=False, reversal__isnull=True)
                    | Q(credit_note__isnull=True, reversal__isnull=False),
                    kind="CLAWBACK",
                    amount__lt=0,
                    base__lte=0,
                    accrual__isnull=False,
                    matures_on__isnull=True,
                    matured_at__isnull=True,
                )
                | Q(
                    kind="MATURITY",
                    amount__gt=0,
                    accrual__isnull=False,
                    credit_note__isnull=True,
                    reversal__isnull=True,
                    matures_on__isnull=True,
                    matured_at__isnull=True,
                ),
                name="commission_kind_shape",
            ),
            models.CheckConstraint(
                condition=Q(partner_id__isnull=False, bps__gt=0, bps__lte=10_000),
                name="commission_has_payee",
            ),
        )
        indexes = (
            # a payee's rows, newest first
            models.Index(fields=["partner_id", "environment", "-id"], name="commission_tenant_idx"),
            # a payee's month
            models.Index(
                fields=["partner_id", "environment", "accrued_on"], name="commission_month_idx"
            ),
            # accruals that have not matured
            models.Index(
                fields=["matures_on", "id"],
                condition=Q(kind="ACCRUAL", matured_at__isnull=True),
                name="commission_maturing_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"
