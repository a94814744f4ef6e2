"""Subscriptions (customer x template, by reference) and their broker allocations."""

from __future__ import annotations

import functools

from django.db import models
from django.db.models import Q

from brokers.models import BrokerAccount
from marketplace.models import Price, Template
from partners.models import Customer, PartnerKey
from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.tenancy import Environment, TenantOwned, TenantQuerySet
from subscriptions import lifecycle, limits

new_subscription_id = functools.partial(new_public_id, "sub")
new_allocation_id = functools.partial(new_public_id, "alloc")
new_hold_id = functools.partial(new_public_id, "hold")


class Subscription(TenantOwned):
    """A customer follows a template. Only the template's price is copied."""

    class Status(models.TextChoices):
        ACTIVE = lifecycle.ACTIVE, "Active"
        PAUSED = lifecycle.PAUSED, "Paused"
        CANCELLED = lifecycle.CANCELLED, "Cancelled"

    class Reason(models.TextChoices):
        USER = lifecycle.USER, "Customer"
        PARTNER = lifecycle.PARTNER, "Partner"
        ADMIN = lifecycle.ADMIN, "Staff"
        PAYMENT_FAILED = lifecycle.PAYMENT_FAILED, "Payment failed"
        PARTNER_SUSPENDED = lifecycle.PARTNER_SUSPENDED, "Partner suspended"
        TEMPLATE_WITHDRAWN = lifecycle.TEMPLATE_WITHDRAWN, "Template withdrawn"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_subscription_id, editable=False
    )
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="subscriptions")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.ACTIVE)
    status_reason = models.CharField(max_length=18, choices=Reason.choices, blank=True)
    status_note = models.CharField(max_length=200, blank=True)
    status_changed_at = models.DateTimeField(default=clock.now)
    price = models.ForeignKey(Price, on_delete=models.PROTECT, null=True, blank=True)
    monthly_fee = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    partner_bps = models.PositiveIntegerField(default=0)
    anchor = models.DateField(help_text="IST date from which billing periods are counted.")
    attributed_key = models.ForeignKey(
        PartnerKey, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    accepted_disclosure_version = models.PositiveIntegerField(null=True, blank=True)
    accepted_disclosure_at = models.DateTimeField(null=True, blank=True)
    accepted_disclosure_address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    ends_on = models.DateField(
        null=True,
        blank=True,
        help_text="First day (IST) on which it does not trade any more: it is not renewed.",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "customer", "template"],
                condition=~Q(status="CANCELLED"),
                nulls_distinct=False,
                name="subscription_one_live_uniq",
            ),
            models.CheckConstraint(
                condition=Q(status="CANCELLED", cancelled_at__isnull=False)
                | (~Q(status="CANCELLED") & Q(cancelled_at__isnull=True)),
                name="subscription_cancelled_has_date",
            ),
            models.CheckConstraint(
                condition=Q(monthly_fee__gte=0, partner_bps__lte=10_000),
                name="subscription_money_sane",
            ),
        )
        indexes = (
            # partner lists, newest first
            models.Index(
                fields=["partner_id", "environment", "-created_at", "-id"],
                name="subscription_tenant_idx",
            ),
            # discovery at arming: active subscribers of a template
            models.Index(
                fields=["template"], condition=Q(status="ACTIVE"), name="subscription_active_idx"
            ),
            # subscriptions that end with their period
            models.Index(
                fields=["partner_id", "ends_on"],
                condition=Q(ends_on__isnull=False) & ~Q(status="CANCELLED"),
                name="subscription_ending_idx",
            ),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_billed(self) -> bool:
        """Whether it is billed: free subscriptions and the test environment are not."""
        return self.environment == Environment.LIVE and self.monthly_fee > 0


class Allocation(TenantOwned):
    """A broker account on which a subscription trades, with its size."""

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE", "Active"
        REMOVED = "REMOVED", "Removed"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_allocation_id, editable=False
    )
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="allocations"
    )
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="allocations")
    lot_multiplier = models.DecimalField(
        max_digits=limits.MULTIPLIER_DIGITS, decimal_places=limits.MULTIPLIER_PLACES, default=1
    )
    priority = models.PositiveSmallIntegerField(default=1)
    max_lots_per_order = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.ACTIVE)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("subscription", "priority", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription", "account"],
                condition=Q(status="ACTIVE"),
                nulls_distinct=False,
                name="allocation_account_uniq",
            ),
            models.CheckConstraint(
                condition=Q(
                    lot_multiplier__gte=limits.MIN_LOT_MULTIPLIER,
                    lot_multiplier__lte=limits.MAX_LOT_MULTIPLIER,
                ),
                name="allocation_multiplier_within",
            ),
            models.CheckConstraint(
                condition=Q(max_lots_per_order__isnull=True)
                | Q(max_lots_per_order__gt=0, max_lots_per_order__lte=limits.MAX_LOTS_PER_ORDER),
                name="allocation_max_lots_within",
            ),
            models.CheckConstraint(
                condition=Q(priority__lte=limits.MAX_PRIORITY), name="allocation_priority_within"
            ),
        )
        indexes = (
            # accounts of active allocations (discovery, account removal)
            models.Index(
                fields=["account"], condition=Q(status="ACTIVE"), name="allocation_account_idx"
            ),
        )

    def __str__(self) -> str:
        return self.public_id


class Hold(TenantOwned):
    """Keeps subscriptions from trading until its holder, or a stronger one, lifts it.

    It covers one subscription, or all of a customer, a partner or a broker account. A subscription
    trades when no hold is left (subscriptions.lifecycle); its status changes in the same
    transaction.
    """

    class Scope(models.TextChoices):
        SUBSCRIPTION = "SUBSCRIPTION", "Subscription"
        CUSTOMER = "CUSTOMER", "Customer"
        ACCOUNT = "ACCOUNT", "Broker account"
        PARTNER = "PARTNER", "Partner"

    class Holder(models.TextChoices):
        USER = lifecycle.USER, "Customer"
        PARTNER = lifecycle.PARTNER, "Partner"
        PAYMENT_FAILED = lifecycle.PAYMENT_FAILED, "Payment failed"
        PARTNER_SUSPENDED = lifecycle.PARTNER_SUSPENDED, "Partner's suspension"
        ADMIN = lifecycle.ADMIN, "Staff"

    public_id = models.CharField(max_length=40, unique=True, default=new_hold_id, editable=False)
    scope = models.CharField(max_length=12, choices=Scope.choices)
    holder = models.CharField(max_length=18, choices=Holder.choices)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, null=True, blank=True, related_name="holds"
    )
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="holds"
    )
    account = models.ForeignKey(
        BrokerAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="holds"
    )
    note = models.CharField(max_length=200, blank=True)
    placed_at = models.DateTimeField(default=clock.now, editable=False)
    placed_by = models.CharField(max_length=120, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=120, blank=True)
    lift_note = models.CharField(max_length=200, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=[
                    "partner_id",
                    "environment",
                    "scope",
                    "subscription",
                    "customer",
                    "account",
                    "holder",
                ],
                condition=Q(lifted_at__isnull=True),
                nulls_distinct=False,
                name="hold_one_open_uniq",
            ),
            models.CheckConstraint(
                condition=Q(
                    scope="SUBSCRIPTION",
                    subscription__isnull=False,
                    customer__isnull=True,
                    account__isnull=True,
                )
                | Q(
                    scope="CUSTOMER",
                    subscription__isnull=True,
                    customer__isnull=False,
                    account__isnull=True,
                )
                | Q(
                    scope="ACCOUNT",
                    subscription__isnull=True,
                    customer__isnull=True,
                    account__isnull=False,
                )
                | Q(
                    scope="PARTNER",
                    subscription__isnull=True,
                    customer__isnull=True,
                    account__isnull=True,
                    partner_id__isnull=False,
                ),
                name="hold_has_its_target",
            ),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by="", lift_note="")
                | Q(lifted_at__isnull=False),
                name="hold_lifted_has_date",
            ),
        )
        indexes = (
            # open holds of a partner's subscriptions
            models.Index(
                fields=["partner_id", "environment", "scope"],
                condition=Q(lifted_at__isnull=True),
                name="hold_open_tenant_idx",
            ),
        )

    def __str__(self) -> str:
        return self.public_id


class ShareLine(TenantOwned):
    """One payee's part of a subscription's monthly fee (rupees before tax).

    Copied at subscribing from the dated shares. The database refuses lines that do not add up to
    the fee exactly. Free subscriptions have none.
    """

    class Role(models.TextChoices):
        DISTRIBUTOR = "DISTRIBUTOR", "Distributor"
        PROVIDER = "PROVIDER", "Provider"
        PLATFORM = "PLATFORM", "Platform"

    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="share_lines"
    )
    role = models.CharField(max_length=11, choices=Role.choices)
    payee = models.BigIntegerField(
        null=True, blank=True, help_text="Id of the partner; empty: the platform."
    )
    basis_points = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("subscription", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "subscription", "role", "payee"],
                nulls_distinct=False,
                name="share_line_uniq",
            ),
            models.CheckConstraint(
                condition=Q(basis_points__lte=10_000, amount__gte=0), name="share_line_sane"
            ),
            models.CheckConstraint(
                condition=Q(role="PLATFORM", payee__isnull=True)
                | (~Q(role="PLATFORM") & Q(payee__isnull=False)),
                name="share_line_payee",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} {self.amount}"
