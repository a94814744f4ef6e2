"""Pages of dated data that invoices copy: rows are fixed from their day on."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.safestring import SafeString

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.gst_states import name_of, place_of_supply, refusal
from quantleap.core import audit, clock
from quantleap.core.admin import ConsoleAdmin, LargeTableMixin, ReadOnlyAdmin
from quantleap.core.admin_columns import NONE, link_to, linked, rupees
from quantleap.core.audit import Actor
from quantleap.core.large_lists import through
from subscriptions.billing.models import BillingSegment, NumberSeries, Supplier, TaxRate
from subscriptions.billing.selectors import runs_until, withheld_segments
from subscriptions.selectors import customers_subscription_keys, subscription_keys

if TYPE_CHECKING:
    _AnyForm = ModelForm[Any]  # generic only in its stubs
else:
    _AnyForm = ModelForm


class _DatedForm(_AnyForm):
    """A row may begin today or later, or be the first one: history is not rewritten."""

    def clean_effective_from(self) -> dt.date:
        """Refuse a day before today where rows exist."""
        day: dt.date = self.cleaned_data["effective_from"]
        if day < clock.ist_date(clock.now()) and self._meta.model.objects.exists():
            raise ValidationError("Not before today: invoices bear what was in force.")
        return day


class _SupplierForm(_DatedForm):
    """The supplier's form; the state must be in force for GST on the row's first day."""

    def clean_state_code(self) -> str:
        """Refuse a code that is not in force."""
        code: str = self.cleaned_data["state_code"]
        day = self.cleaned_data.get("effective_from") or clock.ist_date(clock.now())
        if words := refusal(code, day):
            raise ValidationError(words)
        return code


class DatedAdmin(ConsoleAdmin):
    """Rows can be added, and changed only before their day."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refused once the row is in force."""
        if obj is not None and obj.effective_from <= clock.ist_date(clock.now()):
            return False
        return bool(super().has_change_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and write an audit entry with the user."""
        super().save_model(request, obj, form, change)
        name = obj._meta.model_name
        audit.record(
            actor=Actor.staff(request.user),
            action=f"{name}.changed" if change else f"{name}.added",
            target_type=name,
            target_id=str(obj.pk),
            data={"effective_from": str(obj.effective_from), "what": str(obj)},
        )


@admin.register(TaxRate)
class TaxRateAdmin(DatedAdmin):
    """GST in percent, by date."""

    form = _DatedForm
    list_display = ("effective_from", "rate_pct")


@admin.register(Supplier)
class SupplierAdmin(DatedAdmin):
    """The issuer of our invoices, by date."""

    form = _SupplierForm
    list_display = ("effective_from", "legal_name", "gstin", "state_name", "sac")
    exclude = ("state_name",)

    def save_model(self, request: HttpRequest, obj: Supplier, form: Any, change: bool) -> None:
        """Set the state's name from its code."""
        obj.state_name = name_of(obj.state_code)
        super().save_model(request, obj, form, change)


@admin.register(NumberSeries)
class NumberSeriesAdmin(ReadOnlyAdmin):
    """The last numbers issued."""

    list_display = ("series", "fy", "last", "last_on")


class WithheldFilter(admin.SimpleListFilter):
    """Segments that are due and withheld; the next run bills them once the customer has a state."""

    title = "withheld"
    parameter_name = "withheld"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("state", "The customer's GST state is missing")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[BillingSegment]
    ) -> QuerySet[BillingSegment]:
        """Due today, with an unknown place of supply."""
        if self.value() != "state":
            return queryset
        today = clock.ist_date(clock.now())
        withheld = withheld_segments(today, today)
        return queryset.filter(pk__in=withheld.values("pk"))


@admin.register(BillingSegment)
class BillingSegmentAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """The next billing of each segment, and stopped segments."""

    list_display = (
        "due_on",
        linked("subscription"),
        "customer",
        "state",
        "partner_name",
        rupees("fee", "Fee before tax", read=lambda segment: segment.subscription.monthly_fee),
        "anchor",
        "stop_on",
    )
    list_select_related = ("subscription__customer",)
    list_filter = (WithheldFilter, ("next_on", admin.EmptyFieldListFilter), PartnerFilter)
    searches = (
        through("subscription_id", subscription_keys, "the beginning of a subscription's id"),
        through("subscription_id", customers_subscription_keys, "a customer's e-mail, name or id"),
    )
    ordering = ("next_on", "id")
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingSegment]:
        """Fetch the last day on which a suspended partner's customers trade."""
        segments: QuerySet[BillingSegment] = super().get_queryset(request)
        return segments.annotate(runs_until=runs_until())

    @admin.display(description="Due on", ordering="next_on")
    def due_on(self, segment: BillingSegment) -> str:
        """First day (IST) of the period that is billed next."""
        if segment.next_on is None:
            return NONE
        last: dt.date | None = getattr(segment, "runs_until", None)
        if last is not None and last < segment.next_on:
            return f"{NONE} (the partner's run ends on {display_for_value(last, NONE)})"
        return str(display_for_value(segment.next_on, NONE))

    @admin.display(description="Customer")
    def customer(self, segment: BillingSegment) -> SafeString | str:
        """Link to the customer."""
        return link_to(segment.subscription.customer)

    @admin.display(description="GST state")
    def state(self, segment: BillingSegment) -> SafeString | str:
        """The place of supply; if unknown, a link to the customer's page, to set it there."""
        customer = segment.subscription.customer
        if place_of_supply(clock.ist_date(clock.now()), state=customer.state):
            return f"{customer.state} {name_of(customer.state)}"
        words = f"{customer.state}, not in force" if customer.state else "Missing"
        return link_to(customer, words)
