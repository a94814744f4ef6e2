"""Console pages of subscriptions, with the three actions of staff: pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldBooleanSwitchWidget

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    LargeTableMixin,
    ReadOnlyAdmin,
    ReadOnlyTabularInline,
    confirmed,
)
from quantleap.core.admin_columns import NONE, in_rupees, linked, lists, rupees
from quantleap.core.audit import Actor
from quantleap.core.decimals import trimmed
from quantleap.core.large_lists import begins, through
from quantleap.core.money import split
from subscriptions import services
from subscriptions.lifecycle import still_held
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.ports import BILLING
from subscriptions.services.holds import NOTE_LENGTH


class NoteForm(ConfirmForm):
    """The reason, which customer and partner can read."""

    note = forms.CharField(
        max_length=NOTE_LENGTH, label="Reason", help_text="The customer and the partner read it."
    )


class LeaveForm(NoteForm):
    """For pause and cancel: the reason, and what happens to open positions."""

    exit_now = forms.BooleanField(
        required=False, label="Exit open positions now", widget=UnfoldBooleanSwitchWidget
    )


class HoldInline(ReadOnlyTabularInline):
    """Holds of the subscription; those of its customer or account are on their own pages."""

    model = Hold
    fk_name = "subscription"
    fields = ("public_id", "holder", "note", "placed_at", "placed_by", "lifted_at", "lifted_by")
    readonly_fields = ("public_id", "placed_at")


class AllocationInline(ReadOnlyTabularInline):
    """The accounts on which it trades."""

    model = Allocation
    fields = ("public_id", "account", "lot_multiplier", "priority", "max_lots_per_order", "status")
    readonly_fields = ("public_id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Allocation]:
        """Fetch the accounts in the same query."""
        return super().get_queryset(request).select_related("account")


@admin.register(Subscription)
class SubscriptionAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Read only; staff act through the same services as all callers."""

    list_display = (
        "public_id",
        linked("customer"),
        linked("template"),
        "partner_name",
        "environment",
        "status",
        "status_reason",
        rupees("monthly_fee"),
        "created_at",
    )
    list_filter = (
        "status",
        "status_reason",
        PartnerFilter,
        "environment",
        ("template", AutocompleteSelectFilter),
        ("customer", AutocompleteSelectFilter),
        ("allocations__account", AutocompleteSelectFilter),
    )
    searches = (
        begins("public_id", "the beginning of a subscription's id"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("customer", "template")
    ordering = ("-id",)
    inlines = (AllocationInline, HoldInline)
    fields = (
        ("public_id", "status", "status_reason"),
        ("customer", "partner_name", "environment"),
        ("template", "created_at", "cancelled_at"),
        ("status_note", "status_changed_at"),
        ("price", rupees("monthly_fee"), "currency"),
        ("shares", "anchor", "next_billing", "ends_on"),
        (
            "accepted_disclosure_version",
            "accepted_disclosure_at",
            "accepted_disclosure_address",
        ),
        ("attributed_key", "elsewhere"),
    )
    readonly_fields = (
        "public_id",
        "partner_name",
        "environment",
        "created_at",
        "shares",
        "next_billing",
        "elsewhere",
    )
    actions_detail = ("pause", "resume", "cancel")

    @admin.display(description="Elsewhere")
    def elsewhere(self, subscription: Subscription) -> SafeString:
        """Links to its invoices and executions."""
        return lists(
            [
                ("Invoices", "billing_invoice", f"subscription__id__exact={subscription.pk}"),
                ("Executions", "execution_execution", f"subscription__id__exact={subscription.pk}"),
                (
                    "Holds of the customer",
                    "subscriptions_hold",
                    f"q={subscription.customer.public_id}",
                ),
            ]
        )

    @admin.display(description="Partner's and platform's share")
    def shares(self, subscription: Subscription) -> str:
        """The two parts of the fee, in rupees per month."""
        partner, platform = split(subscription.monthly_fee, subscription.partner_bps)
        percent = trimmed(Decimal(subscription.partner_bps) / 100)
        return f"{in_rupees(partner)} + {in_rupees(platform)} ({percent} %)"

    @admin.display(description="Next billing")
    def next_billing(self, subscription: Subscription) -> str:
        """The IST date that the API returns; a dash if nothing will be billed."""
        following = BILLING.get().next_period(subscription, clock.ist_date(clock.now()))
        return NONE if following is None else date_format(following)

    # -- actions of staff ------------------------------------------------------------------------
    def what_pausing_does(self, request: HttpRequest, subscription: Subscription) -> Sequence[str]:
        return (
            f"{subscription.customer} takes no new entry of {subscription.template}.",
            "Only staff can lift this hold; the customer and the partner cannot.",
            "Open positions are managed to their exit, unless they are to be exited now.",
        )

    def what_cancelling_does(
        self, request: HttpRequest, subscription: Subscription
    ) -> Sequence[str]:
        return (
            f"{subscription.customer} does not follow {subscription.template} any more.",
            "This is final: subscribing again makes a new subscription at the price of that day.",
            "The month that has begun stays owed; who subscribes again before it ends goes on in "
            "it and pays it once.",
            "Open positions are managed to their exit, unless they are to be exited now.",
        )

    @confirmed(
        description="Pause",
        explain="what_pausing_does",
        permission="act",
        form=LeaveForm,
        icon="pause",
    )
    def pause(self, request: HttpRequest, subscription: Subscription, data: dict[str, Any]) -> str:
        """Place staff's hold: no new entry until staff lift it."""
        result = services.pause(**_leaving(request, subscription, data))
        return _outcome(result, "is paused", "was paused before")

    @confirmed(description="Resume", permission="act", form=NoteForm, icon="play_arrow")
    def resume(self, request: HttpRequest, subscription: Subscription, data: dict[str, Any]) -> str:
        """Lift staff's hold; the subscription trades if no other hold is left."""
        result = services.resume(
            subscription_id=subscription.pk,
            actor=Actor.staff(request.user),
            reason=Subscription.Reason.ADMIN,
            note=data["note"],
            now=clock.now(),
        )
        if result.changed and result.subscription.status == Subscription.Status.PAUSED:
            return f"Staff's hold is lifted. {still_held(result.subscription.status_reason)}"
        return _outcome(result, "is active again", "was active before")

    @confirmed(
        description="Cancel",
        explain="what_cancelling_does",
        permission="act",
        form=LeaveForm,
        icon="cancel",
        danger=True,
    )
    def cancel(self, request: HttpRequest, subscription: Subscription, data: dict[str, Any]) -> str:
        """End it for good."""
        result = services.cancel(**_leaving(request, subscription, data))
        return _outcome(result, "is cancelled", "was cancelled before")


def _leaving(
    request: HttpRequest, subscription: Subscription, data: dict[str, Any]
) -> dict[str, Any]:
    choice = services.OpenPositions
    return {
        "subscription_id": subscription.pk,
        "actor": Actor.staff(request.user),
        "reason": Subscription.Reason.ADMIN,
        "open_positions": choice.EXIT_NOW if data["exit_now"] else choice.MANAGE,
        "note": data["note"],
        "now": clock.now(),
    }


def _outcome(result: services.TransitionResult, done: str, before: str) -> str:
    name = result.subscription.public_id
    if not result.changed:
        return f"{name} {before}."
    if not result.next_entry_affected:
        return f"{name} {done}. Its next entry was already committed and still goes out."
    return f"{name} {done}."
