"""Shapes of the catalogue's answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from quantleap.core.api.serializers import StrictSerializer


def _money(**options: Any) -> serializers.DecimalField:
    """Rupees, a JSON number with at most two decimals."""
    return serializers.DecimalField(
        max_digits=12, decimal_places=2, coerce_to_string=False, **options
    )


class PricingShape(StrictSerializer):
    """Fee before and after GST at the rate in force; null where none is."""

    type = serializers.CharField()
    monthly_fee = _money(
        allow_null=True,
        help_text="Rupees before tax. Send it back as expected_monthly_fee when subscribing. "
        "Null: followed, but no longer on sale.",
    )
    currency = serializers.CharField()
    tax_rate_pct = serializers.DecimalField(
        max_digits=5, decimal_places=2, coerce_to_string=False, allow_null=True
    )
    monthly_total = _money(
        allow_null=True,
        help_text="Total of an invoice of today: CGST and SGST within the supplier's state, "
        "IGST elsewhere, each rounded to the paisa, so the two may differ by one.",
    )


class MarketplaceConfigShape(StrictSerializer):
    """The older guide's grouping of the same facts."""

    is_template = serializers.BooleanField()
    visibility = serializers.CharField()
    category = serializers.CharField()
    difficulty_level = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    pricing = PricingShape()


class PerformanceShape(StrictSerializer):
    """Computed from what was executed; null until earned."""

    subscriber_count = serializers.IntegerField()
    avg_monthly_return_pct = serializers.FloatField(allow_null=True)
    max_drawdown_pct = serializers.FloatField(allow_null=True)
    win_rate_pct = serializers.FloatField(allow_null=True)


class PerformanceMetricsShape(StrictSerializer):
    """The same under the older guide's names, with how much stands behind it."""

    win_rate = serializers.FloatField(allow_null=True)
    avg_monthly_return = serializers.FloatField(allow_null=True)
    max_drawdown = serializers.FloatField(allow_null=True)
    sharpe_ratio = serializers.FloatField(allow_null=True)
    trading_days = serializers.IntegerField()
    verified = serializers.BooleanField()
    as_of = serializers.DateField(allow_null=True)


class SummaryShape(StrictSerializer):
    """What it trades, in short. A black box does not say how many legs of which expiry."""

    index = serializers.CharField()
    entry_time = serializers.CharField(help_text="IST")
    exit_time = serializers.CharField(help_text="IST")
    num_legs = serializers.IntegerField(allow_null=True)
    expiry_type = serializers.CharField(allow_null=True, help_text="WEEKLY, MONTHLY or MIXED")
    num_strategies = serializers.IntegerField()


class TemplateShape(StrictSerializer):
    """One template in the catalogue."""

    template_id = serializers.CharField()
    basket_id = serializers.CharField()
    template_owner_id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    category = serializers.CharField()
    index = serializers.CharField()
    entry_time = serializers.CharField(help_text="IST")
    difficulty_level = serializers.CharField()
    difficulty = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    subscriber_count = serializers.IntegerField()
    pricing = PricingShape()
    marketplace_config = MarketplaceConfigShape()
    performance = PerformanceShape()
    performance_metrics = PerformanceMetricsShape()
    strategy_summary = SummaryShape()
    version = serializers.IntegerField(
        help_text="The version in force. Send it back as expected_version when subscribing."
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField(help_text="when the version in force was published")


class RuleShape(StrictSerializer):
    """A rule by kind."""

    kind = serializers.CharField()
    params = serializers.DictField(child=serializers.CharField())


class LegShape(StrictSerializer):
    """One leg as rules, in words and as data."""

    label = serializers.CharField()  # type: ignore[assignment]  # a field, not Field's own label
    side = serializers.CharField()
    option_type = serializers.CharField()
    lots = serializers.IntegerField()
    expiry = serializers.CharField()
    strike = RuleShape()
    stop = RuleShape(allow_null=True)
    target = RuleShape(allow_null=True)
    words = serializers.CharField()


class StrategyShape(StrictSerializer):
    """One strategy with its risk rules. A black box shows neither legs nor rules."""

    name = serializers.CharField()
    underlying = serializers.CharField()
    entry_time = serializers.CharField(help_text="IST, HH:MM:SS")
    exit_time = serializers.CharField(help_text="IST, HH:MM:SS")
    weekdays = serializers.ListField(
        child=serializers.IntegerField(), help_text="0 = Monday; empty: every trading day"
    )
    special_sessions = serializers.BooleanField()
    product = serializers.CharField()
    order_rule = serializers.CharField(allow_null=True)
    square_off = serializers.CharField(allow_null=True)
    move_to_cost = serializers.CharField(allow_null=True)
    leg_failure = serializers.CharField(allow_null=True)
    rules = serializers.ListField(child=serializers.CharField())
    legs = LegShape(many=True)


class PayoffShape(StrictSerializer):
    """An estimate of a strategy's result at its nearest expiry; per base lots, before costs."""

    strategy = serializers.CharField()
    underlying = serializers.CharField()
    expiry = serializers.DateField()
    spot = serializers.FloatField()
    spot_source = serializers.CharField()
    premium_source = serializers.CharField()
    simulated = serializers.BooleanField()
    net_premium = serializers.FloatField()
    max_profit = serializers.FloatField(allow_null=True, help_text="null: unlimited")
    max_loss = serializers.FloatField(allow_null=True, help_text="null: unlimited")
    break_evens = serializers.ListField(child=serializers.FloatField())
    points = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="[index level, rupees]",
    )


class DisclosureShape(StrictSerializer):
    """What must be accepted, and as which version."""

    required = serializers.BooleanField()  # type: ignore[assignment]  # a field, as above
    version = serializers.IntegerField()
    text = serializers.CharField()


class TemplateDetailShape(TemplateShape):
    """One template with its strategies."""

    open_to_new = serializers.BooleanField(
        help_text="False: the caller or a customer of theirs follows it; nobody new can subscribe."
    )
    black_box = serializers.BooleanField()
    strategies = StrategyShape(many=True)
    payoff_preview = PayoffShape(many=True)
    disclosure = DisclosureShape()


class PaginationShape(StrictSerializer):
    """Where one is in the list."""

    total = serializers.IntegerField()
    page = serializers.IntegerField()
    per_page = serializers.IntegerField()


class TemplateListAnswer(StrictSerializer):
    """A page of the catalogue."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's own spelling
    templates = TemplateShape(many=True)
    pagination = PaginationShape()


class TemplateDetailAnswer(StrictSerializer):
    """One template."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's own spelling
    template = TemplateDetailShape()
