"""Billing segments (what to bill), invoices (what was billed), and billing runs."""

from __future__ import annotations

import functools
from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from partners.models import Customer
from quantleap.core import clock
from quantleap.core.dates import day_text
from quantleap.core.ids import new_public_id
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.invoice_standing import Standing
from subscriptions.billing.models.reference import Supplier
from subscriptions.models import Subscription

new_invoice_id = functools.partial(new_public_id, "inv")


class BillingSegment(TenantOwned):
    """A part of a paid live subscription that is billed from one anchor (IST dates).

    It bills every period with ``start <= as_of`` and (``stop_on`` empty or ``start <= stop_on``). A
    pause or cancellation writes its own date there, so that what is billed never depends on when
    runs happen. ``next_on`` is the start of period ``next_no``; empty: nothing more is due.

    A subscription that begins inside a period that its customer began with an earlier one continues
    that period: it has the same anchor, and ``first_no`` is the period after it, the first of its
    own. ``continues`` is the segment that bills the period before (adr 0054).
    """

    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="segments"
    )
    number = models.PositiveIntegerField(help_text="From 1; a new one after a pause.")
    anchor = models.DateField()
    stop_on = models.DateField(null=True, blank=True)
    next_no = models.PositiveIntegerField(default=0)
    next_on = models.DateField(null=True, blank=True)
    continues = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="continued_by",
        help_text="The segment of an earlier subscription that bills the period before the first.",
    )
    first_no = models.PositiveIntegerField(default=0, help_text="The first period of its own.")

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("subscription", "number")
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription", "number"],
                nulls_distinct=False,
                name="segment_number_uniq",
            ),
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription"],
                condition=Q(stop_on__isnull=True),
                nulls_distinct=False,
                name="segment_one_open_uniq",
            ),
            models.CheckConstraint(condition=Q(environment="live"), name="segment_live_only"),
            models.CheckConstraint(condition=Q(number__gte=1), name="segment_number_from_one"),
            models.CheckConstraint(
                condition=Q(stop_on__isnull=True) | Q(stop_on__gte=F("anchor")),
                name="segment_stop_after_anchor",
            ),
            # an open segment always has a next period; a stopped one none after its stop
            models.CheckConstraint(
                condition=Q(stop_on__isnull=True, next_on__isnull=False)
                | Q(stop_on__isnull=False, next_on__isnull=True)
                | Q(stop_on__isnull=False, next_on__lte=F("stop_on")),
                name="segment_next_before_stop",
            ),
            models.CheckConstraint(
                condition=Q(continues__isnull=True, first_no=0)
                | Q(continues__isnull=False, first_no__gte=1, next_no__gte=F("first_no")),
                name="segment_continues_from_first",
            ),
            # segment_days_once (0015): no day of a customer and template is in two subscriptions
            # segment_next_from_anchor (0002): next_on = anchor + next_no months, so it never drifts
        )
        indexes = (
            # the run's queue: what is due, oldest first
            models.Index(
                fields=["next_on", "id"], condition=Q(next_on__isnull=False), name="segment_due_idx"
            ),
        )

    def __str__(self) -> str:
        return f"{self.subscription_id}/{self.number} from {self.anchor}"


class Invoice(TenantOwned):
    """A tax invoice for one period of a subscription. Rupees; dates IST.

    The issued data never change (0002 refuses it), only how far the invoice is paid, credited,
    recognised and reviewed. Outstanding is ``total - paid + refunded - credited``. A payment whose
    money went back at the bank counts in ``reversed`` and no longer in ``paid``; ``due_again_on``
    is then the new last day to pay on time.
    """

    class Status(models.TextChoices):
        DUE = "DUE", "Due"
        PARTLY_PAID = "PARTLY_PAID", "Partly paid"
        PAID = "PAID", "Paid"
        CREDITED = "CREDITED", "Credited"

    #: Statuses in which something is still owed.
    UNPAID = (Status.DUE, Status.PARTLY_PAID)

    public_id = models.CharField(max_length=40, default=new_invoice_id, editable=False)
    # db_index=False: the named indexes below suffice, and each index slows a run of 100,000
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="invoices", db_index=False
    )
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="invoices"
    )
    segment = models.ForeignKey(
        BillingSegment, on_delete=models.PROTECT, related_name="invoices", db_index=False
    )
    segment_no = models.PositiveIntegerField()
    period_no = models.PositiveIntegerField()
    period_start = models.DateField()
    period_end = models.DateField(help_text="First day after the period.")
    fy = models.CharField(max_length=7, help_text="Financial year of issue: 2026-27.")
    seq = models.PositiveIntegerField(help_text="Gapless within the financial year, from 1.")
    number = models.CharField(max_length=16, help_text="QL26-00000123")
    issued_on = models.DateField()
    due_on = models.DateField()
    taxable = models.DecimalField(max_digits=12, decimal_places=2)
    rate_pct = models.DecimalField(max_digits=5, decimal_places=2)
    cgst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    sgst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    igst = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    sac = models.CharField(max_length=6)
    place_of_supply = models.CharField(max_length=2, help_text="GST state code.")
    supplier = models.ForeignKey(
        Supplier, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    snapshot = models.JSONField(help_text="Everything its document shows; see snapshots.py.")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    status = models.CharField(max_length=11, choices=Status.choices, default=Status.DUE)
    paid = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    reversed = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        db_default=ZERO,
        default=ZERO,
        help_text="Was paid, and went back at the bank.",
    )
    due_again_on = models.DateField(
        null=True, blank=True, help_text="Of what was reversed; the due date stays as issued."
    )
    refunded = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    credited = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    credited_taxable = models.DecimalField(max_digits=12, decimal_places=2, default=ZERO)
    recognised = models.DecimalField(
        max_digits=12, decimal_places=2, default=ZERO, help_text="Of the taxable value, as revenue."
    )
    deferred = models.GeneratedField(
        # the stubs do not know that Q is an expression
        expression=Q(recognised__lt=F("taxable") - F("credited_taxable")),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
    needs_review = models.BooleanField(
        default=False, help_text="Issued after its period was over: no automatic debit."
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription", "segment_no", "period_no"],
                nulls_distinct=False,
                name="invoice_period_uniq",
            ),
            models.UniqueConstraint(fields=["public_id"], name="invoice_public_id_uniq"),
            models.UniqueConstraint(fields=["fy", "seq"], name="invoice_fy_seq_uniq"),
            models.UniqueConstraint(fields=["number"], name="invoice_number_uniq"),
            models.CheckConstraint(
                condition=Q(number__regex=r"^[A-Za-z0-9/-]{1,16}$"), name="invoice_number_format"
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")), name="invoice_period_order"
            ),
            models.CheckConstraint(condition=Q(due_on__gte=F("issued_on")), name="invoice_due"),
            models.CheckConstraint(
                condition=Q(taxable__gt=0, cgst__gte=0, sgst__gte=0, igst__gte=0),
                name="invoice_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(total=F("taxable") + F("cgst") + F("sgst") + F("igst")),
                name="invoice_total_is_sum",
            ),
            models.CheckConstraint(condition=Q(cgst=F("sgst")), name="invoice_cgst_is_sgst"),
            models.CheckConstraint(condition=Q(igst=0) | Q(cgst=0), name="invoice_one_kind_of_tax"),
            models.CheckConstraint(
                condition=Q(paid__gte=0, paid__lte=F("total")), name="invoice_paid_sane"
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=0, refunded__lte=F("paid") + F("reversed")),
                name="invoice_refunded_sane",
            ),
            models.CheckConstraint(condition=Q(reversed__gte=0), name="invoice_reversed_sane"),
            models.CheckConstraint(
                condition=Q(paid__lte=F("total") - F("credited") + F("refunded")),
                name="invoice_paid_within_owed",
            ),
            models.CheckConstraint(
                condition=Q(credited__gte=0, credited__lte=F("total"))
                & Q(credited_taxable__gte=0, credited_taxable__lte=F("taxable"))
                & Q(credited_taxable__lte=F("credited")),
                name="invoice_credited_sane",
            ),
            models.CheckConstraint(
                condition=Q(recognised__gte=0)
                & Q(recognised__lte=F("taxable") - F("credited_taxable")),
                name="invoice_recognised_sane",
            ),
        )
        indexes = (
            # a partner's invoices, newest first
            models.Index(fields=["partner_id", "environment", "-id"], name="invoice_tenant_idx"),
            # a customer's invoices, newest first
            models.Index(fields=["customer", "-id"], name="invoice_customer_idx"),
            # revenue still to be recognised; on the flag and not on ``recognised``, so that the
            # daily change of that column updates no index
            models.Index(fields=["id"], condition=Q(deferred=True), name="invoice_deferred_idx"),
            # the console's list: numbers by prefix; unpaid invoices, and those to review
            models.Index(
                fields=["number"], opclasses=["varchar_pattern_ops"], name="invoice_number_idx"
            ),
            models.Index(
                fields=["status", "-id"], condition=~Q(status="PAID"), name="invoice_status_idx"
            ),
            models.Index(fields=["-id"], condition=Q(needs_review=True), name="invoice_review_idx"),
            models.Index(fields=["issued_on"], name="invoice_issued_idx"),
        )

    def __str__(self) -> str:
        return self.number

    @property
    def standing(self) -> Standing:
        """How far it is paid and credited."""
        return Standing(
            taxable=self.taxable,
            total=self.total,
            paid=self.paid,
            refunded=self.refunded,
            credited=self.credited,
            credited_taxable=self.credited_taxable,
        )

    @property
    def names(self) -> dict[str, str | None]:
        """The members that identify it in the API and events. Needs customer and template."""
        customer, template = self.customer, self.subscription.template
        return {
            "invoice_id": self.public_id,
            "number": self.number,
            "status": self.status,
            "user_id": customer.public_id,
            "user_email": customer.email,
            "external_user_id": customer.external_user_id or None,
            "subscription_id": self.subscription.public_id,
            "template_id": template.public_id,
            "template_name": template.name,
        }

    @property
    def outstanding(self) -> Decimal:
        """Rupees that the customer still owes; below 0: rupees to be given back."""
        return self.standing.outstanding


class BillingRun(models.Model):
    """One billing run with its figures, and its heartbeat while it works."""

    as_of = models.DateField()
    started_at = models.DateTimeField(default=clock.now)
    heartbeat = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    invoices = models.PositiveIntegerField(default=0)
    needs_review = models.PositiveIntegerField(default=0)
    withheld = models.PositiveIntegerField(
        default=0, help_text="Due segments that could not be invoiced: the customer has no state."
    )
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"run as of {day_text(self.as_of)}"
