"""Bodies in and out of this room's routes."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from partners.api.serializers import (
    EMAIL_DIFFERS,
    CustomerNamed,
    PaginationObject,
    state_field,
)
from quantleap.core.api.serializers import (
    StrictBooleanField,
    StrictCharField,
    StrictDecimalField,
    StrictIntegerField,
    StrictSerializer,
)
from subscriptions.limits import (
    MAX_ALLOCATIONS,
    MAX_LOTS_PER_ORDER,
    MAX_PRIORITY,
    MIN_LOT_MULTIPLIER,
    MULTIPLIER_DIGITS,
    MULTIPLIER_PLACES,
)
from subscriptions.models import Hold, Subscription
from subscriptions.ports import PaymentStatus
from subscriptions.services import OpenPositions
from subscriptions.services.holds import NOTE_LENGTH

REQUIRED: Final = "This field is required."


def _multiplier(**options: Any) -> StrictDecimalField:
    """Greater than 0, two decimals."""
    return StrictDecimalField(
        max_digits=MULTIPLIER_DIGITS,
        decimal_places=MULTIPLIER_PLACES,
        min_value=MIN_LOT_MULTIPLIER,
        error_messages={"min_value": "Must be greater than 0."},
        **options,
    )


# -- in ------------------------------------------------------------------------------------------
class AllocationRequest(StrictSerializer):
    """One account of several."""

    broker = StrictCharField(max_length=20, required=False)
    broker_client_id = StrictCharField(max_length=40)
    lot_multiplier = _multiplier(required=False)
    priority = StrictIntegerField(min_value=1, max_value=MAX_PRIORITY, required=False)
    max_lots_per_order = StrictIntegerField(
        min_value=1, max_value=MAX_LOTS_PER_ORDER, required=False, allow_null=True
    )


class UserSubscribeRequest(StrictSerializer):
    """``POST /marketplace/subscribe/{template_id}``."""

    broker_client_id = StrictCharField(max_length=40, required=False)
    broker = StrictCharField(
        max_length=20, required=False, help_text="Default: the partner's broker."
    )
    lot_multiplier = _multiplier(required=False, help_text="Default 1.")
    auto_link_broker = StrictBooleanField(required=False, help_text="Default true.")
    max_lots_per_order = StrictIntegerField(
        min_value=1, max_value=MAX_LOTS_PER_ORDER, required=False, allow_null=True
    )
    priority = StrictIntegerField(min_value=1, max_value=MAX_PRIORITY, required=False)
    allocations = AllocationRequest(
        many=True, required=False, help_text="Several accounts instead of broker_client_id."
    )
    user_state = state_field()
    accepted_disclosure_version = StrictIntegerField(
        min_value=1, max_value=2**31 - 1, required=False, allow_null=True
    )
    expected_monthly_fee = StrictDecimalField(
        max_digits=10,
        decimal_places=2,
        min_value=0,
        required=False,
        help_text="pricing.monthly_fee as the catalogue showed it, in rupees before tax; 409 "
        "price_changed with both figures when it is another now.",
    )
    expected_version = StrictIntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        help_text="version as the catalogue showed it; 409 version_changed with both when "
        "another is traded now.",
    )

    def validate_allocations(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """At least one, not endlessly many."""
        if not 1 <= len(value) <= MAX_ALLOCATIONS:
            raise serializers.ValidationError(f"From 1 to {MAX_ALLOCATIONS} accounts.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One account flat, or several in ``allocations``; never both."""
        if "allocations" not in attrs:
            if "broker_client_id" not in attrs:
                raise serializers.ValidationError({"broker_client_id": REQUIRED})
            return attrs
        single = ("broker_client_id", "broker", "lot_multiplier", "priority", "max_lots_per_order")
        both = [name for name in single if name in attrs]
        if both:
            words = "Say it inside allocations, or leave allocations out."
            raise serializers.ValidationError(dict.fromkeys(both, words))
        return attrs


class PartnerSubscribeRequest(CustomerNamed, UserSubscribeRequest):
    """``POST /partner/marketplace/subscribe``."""

    template_id = StrictCharField(max_length=40, required=False)
    template_basket_id = StrictCharField(
        max_length=40, required=False, help_text="Alias of template_id."
    )
    user_name = StrictCharField(max_length=120, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The template by one of its two names, or by both when they agree."""
        attrs = super().validate(attrs)
        named = {attrs[name] for name in ("template_id", "template_basket_id") if name in attrs}
        if not named:
            raise serializers.ValidationError({"template_id": REQUIRED})
        if len(named) > 1:
            words = "Differs from template_id, whose alias it is."
            raise serializers.ValidationError({"template_basket_id": words})
        return attrs | {"template_id": named.pop()}


class AllocationAddRequest(AllocationRequest):
    """``POST …/allocations``: one more account."""

    auto_link_broker = StrictBooleanField(required=False, help_text="Default true.")


class SizeRequest(StrictSerializer):
    """``PATCH`` of a subscription with one account: what is to change, at least one field."""

    lot_multiplier = _multiplier(required=False)
    priority = StrictIntegerField(min_value=1, max_value=MAX_PRIORITY, required=False)
    max_lots_per_order = StrictIntegerField(
        min_value=1,
        max_value=MAX_LOTS_PER_ORDER,
        required=False,
        allow_null=True,
        help_text="Null: only the exchange's freeze quantity limits an order.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An empty change is a mistake of the caller."""
        if not attrs:
            names = [str(name) for name in self.fields]
            words = f"Name at least one of {', '.join(names)}."
            raise serializers.ValidationError({names[0]: words})
        return attrs


class AllocationChangeRequest(SizeRequest):
    """``PATCH …/allocations/{allocation_id}``: sizes, or another account in its place."""

    broker_client_id = StrictCharField(
        max_length=40,
        required=False,
        help_text="Trade on this account instead, with a new allocation_id. The old account's open "
        "positions are managed to their exit.",
    )
    broker = StrictCharField(
        max_length=20, required=False, help_text="Of broker_client_id; default: as before."
    )
    auto_link_broker = StrictBooleanField(
        required=False, help_text="Of broker_client_id; default true."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A broker alone names no account."""
        attrs = super().validate(attrs)
        alone = [name for name in ("broker", "auto_link_broker") if name in attrs]
        if alone and "broker_client_id" not in attrs:
            words = "Goes with broker_client_id only."
            raise serializers.ValidationError(dict.fromkeys(alone, words))
        return attrs


class TransitionRequest(StrictSerializer):
    """Body of pause and resume, all of it optional; of a cancel the query parameters."""

    open_positions = serializers.ChoiceField(
        choices=[choice.value for choice in OpenPositions], required=False
    )
    reason = StrictCharField(max_length=NOTE_LENGTH, required=False, allow_blank=True)


# -- out -----------------------------------------------------------------------------------------
def _money(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=12, decimal_places=2, coerce_to_string=False, **options
    )


class AllocationObject(serializers.Serializer[Any]):
    """On which account, and how much."""

    allocation_id = serializers.CharField()
    broker_id = serializers.CharField()
    client_id = serializers.CharField()
    lot_multiplier = serializers.DecimalField(
        max_digits=8, decimal_places=2, coerce_to_string=False
    )
    priority = serializers.IntegerField()
    max_lots_per_order = serializers.IntegerField(allow_null=True)
    status = serializers.CharField()
    account_status = serializers.CharField()
    has_oauth_token = serializers.BooleanField()


class PricingObject(serializers.Serializer[Any]):
    """What it costs before tax; no dates where nothing is billed."""

    type = serializers.ChoiceField(choices=["FREE", "PAID"])
    monthly_fee = _money()
    currency = serializers.CharField()
    billing_start_date = serializers.DateField(allow_null=True)
    next_billing_date = serializers.DateField(allow_null=True)


class PaymentObject(serializers.Serializer[Any]):
    """What is to be paid now: of all unpaid invoices, tax included; the state of the newest one
    where none is unpaid.
    """

    status = serializers.ChoiceField(
        choices=[choice.value for choice in PaymentStatus],
        help_text="NOT_REQUIRED: never billed. NOT_INVOICED: no invoice yet. CREDITED: taken back.",
    )
    due_by = serializers.DateField(
        allow_null=True, help_text="Of the oldest unpaid invoice; OVERDUE after it (IST)."
    )
    amount = _money(allow_null=True)
    currency = serializers.CharField()
    pay_url = serializers.CharField(allow_null=True)
    missing = serializers.ListField(
        child=serializers.CharField(),
        help_text="What has to be given before anything can be invoiced, by the name under which "
        "subscribing, connecting an account and minting a token take it: user_state. Until then "
        "invoices are withheld.",
    )


class AttributionObject(serializers.Serializer[Any]):
    """Whose customer it is, and that partner's part of the fee."""

    partner_id = serializers.CharField()
    partner_api_key_id = serializers.CharField(allow_null=True)
    commission_rate = serializers.DecimalField(
        max_digits=5, decimal_places=4, coerce_to_string=False
    )
    monthly_commission = _money()
    billing_start_date = serializers.DateField(allow_null=True)


class RevenueShareObject(serializers.Serializer[Any]):
    """The fee in two parts that add up to it."""

    partner_commission = _money()
    platform_fee = _money()
    currency = serializers.CharField()


class UserSubscriptionObject(serializers.Serializer[Any]):
    """A subscription as its customer sees it: no commission."""

    subscription_id = serializers.CharField()
    user_id = serializers.CharField()
    user_email = serializers.EmailField()
    external_user_id = serializers.CharField(
        allow_null=True, help_text="The partner's own id of the customer."
    )
    template_id = serializers.CharField()
    template_basket_id = serializers.CharField()
    template_name = serializers.CharField()
    template_owner_id = serializers.CharField()
    status = serializers.ChoiceField(choices=Subscription.Status.values)
    status_reason = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True, help_text="Why, in somebody's words.")
    subscription_date = serializers.DateField()
    next_billing_date = serializers.DateField(
        allow_null=True,
        help_text="Start of the period after the one in force; null where nothing will be billed: "
        "free, test environment, paused, cancelled, not renewed, or the partner is suspended and "
        "its customers trade until a day before it.",
    )
    next_billing_at = serializers.DateTimeField(allow_null=True)
    has_oauth_token = serializers.BooleanField(help_text="Every account is logged in now.")
    pricing = PricingObject()
    payment = PaymentObject()
    broker_allocation = AllocationObject(allow_null=True)
    broker_allocations = AllocationObject(many=True)
    status_changed_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    cancelled_at = serializers.DateTimeField(allow_null=True)
    ends_on = serializers.DateField(
        allow_null=True,
        help_text="It is not renewed: the first day (IST) on which it does not trade any more.",
    )


class PartnerSubscriptionObject(UserSubscriptionObject):
    """A subscription as the partner sees it."""

    partner_attribution = AttributionObject()
    revenue_share = RevenueShareObject()


class EffectiveLotsObject(serializers.Serializer[Any]):
    """Lots of one leg at the next entry, over all accounts."""

    leg = serializers.CharField()
    lots = serializers.IntegerField()


class CreatedMembers(serializers.Serializer[Any]):
    """What the answer to subscribing adds."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    message = serializers.CharField()
    effective_lots = EffectiveLotsObject(many=True)


class UserCreatedAnswer(UserSubscriptionObject, CreatedMembers):
    """A new subscription, flat and nested."""

    subscription = UserSubscriptionObject()


class PartnerCreatedMembers(CreatedMembers):
    """The same for the partner, who named the customer."""

    email_differs = serializers.BooleanField(help_text=EMAIL_DIFFERS)


class PartnerCreatedAnswer(PartnerSubscriptionObject, PartnerCreatedMembers):
    """A new subscription, flat and nested."""

    subscription = PartnerSubscriptionObject()


class PerformanceObject(serializers.Serializer[Any]):
    """What it has brought; null until something is known."""

    total_pnl = _money(allow_null=True)
    roi_percentage = serializers.DecimalField(
        max_digits=9, decimal_places=2, coerce_to_string=False, allow_null=True
    )


class RevenueToDateObject(serializers.Serializer[Any]):
    """Shares of what has been paid so far."""

    partner_share = _money()
    platform_share = _money()
    currency = serializers.CharField()


class HoldObject(serializers.Serializer[Any]):
    """Somebody who keeps the subscription from trading: whose hold, about what, since when."""

    holder = serializers.ChoiceField(choices=Hold.Holder.values)
    scope = serializers.ChoiceField(choices=Hold.Scope.values)
    since = serializers.DateTimeField()


class DetailMembers(serializers.Serializer[Any]):
    """What the page of one subscription adds."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    effective_lots = EffectiveLotsObject(many=True)
    holds = HoldObject(
        many=True, help_text="It trades when none is left. The strongest is status_reason."
    )
    last_executions = serializers.ListField(child=serializers.DictField())
    performance_tracking = PerformanceObject()


class UserDetailAnswer(UserSubscriptionObject, DetailMembers):
    """One subscription, flat and nested."""

    subscription = UserSubscriptionObject()


class PartnerDetailMembers(DetailMembers):
    """The same for the partner."""

    revenue_share_tracking = RevenueToDateObject()


class PartnerDetailAnswer(PartnerSubscriptionObject, PartnerDetailMembers):
    """One subscription, flat and nested."""

    subscription = PartnerSubscriptionObject()


class TransitionMembers(serializers.Serializer[Any]):
    """What the answer to a transition, or to a change of accounts, adds."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    message = serializers.CharField()
    changed = serializers.BooleanField()
    next_entry_affected = serializers.BooleanField(
        help_text="False: the next entry was already committed, or nothing changed."
    )


class UserTransitionAnswer(UserSubscriptionObject, TransitionMembers):
    """The subscription after a transition, flat and nested."""

    subscription = UserSubscriptionObject()


class PartnerTransitionAnswer(PartnerSubscriptionObject, TransitionMembers):
    """The subscription after a transition, flat and nested."""

    subscription = PartnerSubscriptionObject()


class UserListAnswer(serializers.Serializer[Any]):
    """A page of subscriptions."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    subscriptions = UserSubscriptionObject(many=True)
    pagination = PaginationObject()


class PartnerListAnswer(serializers.Serializer[Any]):
    """A page of subscriptions."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    subscriptions = PartnerSubscriptionObject(many=True)
    pagination = PaginationObject()


class AllocationAnswer(AllocationObject):
    """One broker account of a subscription."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling


class AllocationListAnswer(serializers.Serializer[Any]):
    """The broker accounts of a subscription."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    allocations = AllocationObject(many=True)
