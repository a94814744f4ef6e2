"""Templates (baskets), their draft strategies and legs, prices, and immutable versions.

What staff edit (Strategy, Leg) is a draft. Publishing freezes it into a TemplateVersion. Only
versions are ever traded, and a run pins the version that was current when it was armed
(docs/adr/0002).
"""

from __future__ import annotations

import uuid
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from marketplace.models.contracts import OptionType, Underlying
from quantleap.core import clock
from quantleap.core.dates import day_text
from quantleap.core.ids import new_basket_id
from quantleap.core.money import RUPEE, grouped
from quantleap.core.tenancy import Environment

NAME_TAKEN: Final = "Another template has this name; choose a different one."


class Template(models.Model):
    """One or more strategies sold together; its public ids begin with ``bsk_``."""

    class Owner(models.TextChoices):
        PLATFORM = "PLATFORM", "Platform"
        CUSTOMER = "CUSTOMER", "Customer (private)"

    class State(models.TextChoices):
        DRAFT = "DRAFT", "Draft"
        LISTED = "LISTED", "Listed"
        CLOSED_TO_NEW = "CLOSED_TO_NEW", "Closed to new subscribers"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"

    #: Published and not withdrawn: templates in these states enter.
    ENTERING = (State.LISTED, State.CLOSED_TO_NEW)

    class Visibility(models.TextChoices):
        PUBLIC = "PUBLIC", "Public"
        PARTNERS = "PARTNERS", "Chosen partners"
        PRIVATE = "PRIVATE", "Its owner only"

    class Difficulty(models.TextChoices):
        BEGINNER = "BEGINNER", "Beginner"
        INTERMEDIATE = "INTERMEDIATE", "Intermediate"
        ADVANCED = "ADVANCED", "Advanced"

    class PricingType(models.TextChoices):
        FREE = "FREE", "Free"
        PAID = "PAID", "Paid"

    public_id = models.CharField(max_length=40, unique=True, default=new_basket_id, editable=False)
    environment = models.CharField(
        max_length=4, choices=Environment.choices, default=Environment.LIVE, editable=False
    )
    owner = models.CharField(max_length=8, choices=Owner.choices, default=Owner.PLATFORM)
    owner_customer_id = models.BigIntegerField(null=True, blank=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=40, default="INCOME", help_text="For example INCOME.")
    index = models.CharField(max_length=20, help_text="Main underlying, for the catalogue.")
    difficulty = models.CharField(
        max_length=12, choices=Difficulty.choices, default=Difficulty.INTERMEDIATE
    )
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    visibility = models.CharField(
        max_length=8, choices=Visibility.choices, default=Visibility.PUBLIC
    )
    visible_to = ArrayField(
        models.BigIntegerField(), default=list, blank=True, help_text="Ids of chosen partners."
    )
    pricing_type = models.CharField(
        max_length=4, choices=PricingType.choices, default=PricingType.PAID
    )
    sac = models.CharField(
        "SAC",
        max_length=6,
        blank=True,
        validators=[RegexValidator(r"\A99[0-9]{4}\Z", "A SAC is 99 and four more digits.")],
        help_text="Service accounting code on its invoices from the next one on; empty: the "
        "supplier's. Issued invoices keep theirs.",
    )
    black_box = models.BooleanField(default=False, help_text="Hide legs and rules from users.")
    disclosure = models.TextField(blank=True)
    disclosure_version = models.PositiveIntegerField(default=1)
    requires_disclosure = models.BooleanField(default=False)
    state = models.CharField(max_length=14, choices=State.choices, default=State.DRAFT)
    current_version = models.ForeignKey(
        "TemplateVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=Q(owner="PLATFORM", owner_customer_id__isnull=True)
                | Q(owner="CUSTOMER", owner_customer_id__isnull=False, visibility="PRIVATE"),
                name="template_owner_consistent",
            ),
            models.CheckConstraint(
                condition=Q(state="DRAFT") | Q(current_version__isnull=False),
                name="template_listed_has_version",
            ),
            models.CheckConstraint(
                condition=Q(sac="") | Q(sac__regex=r"^99[0-9]{4}$"),
                name="template_sac_format",
                violation_error_message="A service code has six digits and begins with 99.",
            ),
            # people recognise a template in a catalogue or on an invoice by its name
            models.UniqueConstraint(
                Lower("name"),
                "environment",
                condition=Q(owner="PLATFORM") & ~Q(state="WITHDRAWN"),
                name="template_name_uniq",
                violation_error_message=NAME_TAKEN,
            ),
        )
        indexes = (
            # the catalogue: published templates, newest first
            models.Index(
                fields=["environment", "visibility", "-created_at", "-id"],
                condition=Q(state="LISTED"),
                name="template_catalogue_idx",
            ),
        )

    def __str__(self) -> str:
        return self.name


class TemplateStats(models.Model):
    """Counters beside the template, so that subscribing never locks the row that staff edit."""

    template = models.OneToOneField(Template, on_delete=models.CASCADE, related_name="stats")
    subscriber_count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "template stats"

    def __str__(self) -> str:
        return f"{self.template_id}: {self.subscriber_count}"


class Strategy(models.Model):
    """Draft of one strategy. ``key`` stays the same over all versions and identifies its runs."""

    class Product(models.TextChoices):
        INTRADAY = "INTRADAY", "Intraday (MIS)"

    class OrderRule(models.TextChoices):
        BUY_FIRST = "BUY_FIRST", "Buy legs first"
        AS_LISTED = "AS_LISTED", "As listed"
        PARALLEL = "PARALLEL", "All at once"

    class SquareOff(models.TextChoices):
        PARTIAL = "PARTIAL", "Only the leg that was hit"
        COMPLETE = "COMPLETE", "All legs"

    class MoveToCost(models.TextChoices):
        OFF = "OFF", "Off"
        ALL_LEGS = "ALL_LEGS", "All other legs"
        SL_LEGS_ONLY = "SL_LEGS_ONLY", "Other legs that have a stop"

    class LegFailure(models.TextChoices):
        UNWIND_FILLED = "UNWIND_FILLED", "Unwind what was filled"
        KEEP_HEDGES = "KEEP_HEDGES", "Keep bought legs"
        ALERT = "ALERT", "Alert only"

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="strategies")
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    position = models.PositiveSmallIntegerField(default=0)
    name = models.CharField(max_length=80, default="Strategy")
    underlying = models.ForeignKey(Underlying, on_delete=models.PROTECT, related_name="+")
    entry_time = models.TimeField(help_text="IST, to the second.")
    exit_time = models.TimeField(help_text="IST, to the second.")
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(),
        default=list,
        blank=True,
        help_text="0 = Monday … 6 = Sunday; empty means every trading day.",
    )
    special_sessions = models.BooleanField(default=False)
    product = models.CharField(max_length=8, choices=Product.choices, default=Product.INTRADAY)
    order_rule = models.CharField(
        max_length=10, choices=OrderRule.choices, default=OrderRule.BUY_FIRST
    )
    square_off = models.CharField(
        max_length=8, choices=SquareOff.choices, default=SquareOff.PARTIAL
    )
    move_to_cost = models.CharField(
        max_length=12, choices=MoveToCost.choices, default=MoveToCost.OFF
    )
    leg_failure = models.CharField(
        max_length=13, choices=LegFailure.choices, default=LegFailure.UNWIND_FILLED
    )

    class Meta:
        ordering = ("template", "position", "id")
        verbose_name_plural = "strategies"
        constraints = (
            models.CheckConstraint(
                condition=Q(exit_time__gt=F("entry_time")), name="strategy_exit_after_entry"
            ),
            # deferred: two strategies may swap their names in one save
            models.UniqueConstraint(
                fields=["template", "name"],
                deferrable=models.Deferrable.DEFERRED,
                name="strategy_name_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Leg(models.Model):
    """Draft of one leg. Rules are ``{kind, params}``, validated by marketplace.rules."""

    class Side(models.TextChoices):
        BUY = "BUY", "Buy"
        SELL = "SELL", "Sell"

    class Expiry(models.TextChoices):
        WEEKLY = "WEEKLY", "Weekly"
        MONTHLY = "MONTHLY", "Monthly"

    strategy = models.ForeignKey(Strategy, on_delete=models.CASCADE, related_name="legs")
    key = models.UUIDField(default=uuid.uuid4, editable=False)
    position = models.PositiveSmallIntegerField(default=0)
    side = models.CharField(max_length=4, choices=Side.choices)
    option_type = models.CharField(max_length=3, choices=OptionType.choices)
    lots = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    expiry = models.CharField(max_length=8, choices=Expiry.choices, default=Expiry.WEEKLY)
    strike = models.JSONField(
        default=dict,
        help_text='For example {"kind": "STRIKE_TYPE", "params": {"moneyness": "ATM"}}',
    )
    stop = models.JSONField(null=True, blank=True)
    target = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("strategy", "position", "id")
        constraints = (
            models.CheckConstraint(condition=Q(lots__gt=0), name="leg_lots_positive"),
            models.UniqueConstraint(fields=["strategy", "key"], name="leg_key_uniq"),
        )

    def __str__(self) -> str:
        return f"{self.side} {self.option_type} {self.expiry}"


class TemplateVersion(models.Model):
    """Immutable snapshot of a published template. The application role cannot change a row."""

    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField()
    change_note = models.CharField(max_length=500, blank=True)
    published_by = models.CharField(max_length=150)
    published_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("template", "-number")
        constraints = (
            models.UniqueConstraint(fields=["template", "number"], name="template_version_uniq"),
            models.CheckConstraint(condition=Q(number__gt=0), name="template_version_positive"),
        )

    def __str__(self) -> str:
        return f"version {self.number}"


class Price(models.Model):
    """A dated fee: template, tier, rupees per month before tax, optionally for one partner.

    A row is never edited. Another one for the same day supersedes it, with a reason; the first one
    stays, marked by ``superseded_at``, because subscriptions may refer to it.
    """

    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="prices")
    tier = models.CharField(max_length=20, default="STANDARD")
    monthly_fee = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="INR")
    partner_id = models.BigIntegerField(null=True, blank=True)
    effective_from = models.DateField()
    effective_until = models.DateField(
        null=True,
        blank=True,
        help_text="Last day (IST) of a partner's price; after it the general price is in "
        "force again. Empty: no end.",
    )

    reason = models.CharField(
        max_length=200, blank=True, help_text="Why it replaces a price of the same day."
    )
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("template", "-effective_from")
        constraints = (
            models.UniqueConstraint(
                fields=["template", "tier", "partner_id", "effective_from"],
                condition=Q(superseded_at__isnull=True),
                nulls_distinct=False,
                name="price_uniq",
                violation_error_message="There is already a fee from this day on. "
                "Choose a later day.",
            ),
            models.CheckConstraint(
                condition=Q(monthly_fee__gte=0),
                name="price_not_negative",
                violation_error_message="A fee is ₹0 or more.",
            ),
            models.CheckConstraint(
                condition=Q(effective_until__isnull=True)
                | Q(effective_until__gte=F("effective_from")),
                name="price_until_after_from",
                violation_error_message="The last day must not be before the first one.",
            ),
            # the general price has nothing to fall back to
            models.CheckConstraint(
                condition=Q(effective_until__isnull=True) | Q(partner_id__isnull=False),
                name="price_until_for_partner",
                violation_error_message="Only a partner's price has a last day; the general "
                "price is followed by a new one.",
            ),
        )

    def __str__(self) -> str:
        return f"{grouped(self.monthly_fee, RUPEE)} from {day_text(self.effective_from)}"
