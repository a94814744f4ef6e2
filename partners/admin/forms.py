"""Forms of this room's console pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from partners import permissions
from partners.models import (
    PER_DAY_RANGE,
    PER_MINUTE_RANGE,
    Partner,
    RevenueShare,
    WebhookEndpoint,
)
from partners.ports import KNOWN_BROKERS
from partners.revenue_shares import ShareTerms, share_refusals
from partners.selectors import held_deliveries
from partners.suspensions import REASON_LENGTH, plan_refusal
from partners.webhooks.events import EVENT_TYPES
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, DatedValueForm
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.tenancy import Environment

if TYPE_CHECKING:
    _PartnerModelForm = forms.ModelForm[Partner]
    _ShareInlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    _Checkboxes = forms.CheckboxSelectMultiple  # unfold ships no types
else:
    _PartnerModelForm = forms.ModelForm
    _ShareInlineFormSet = forms.BaseInlineFormSet
    _Checkboxes = UnfoldAdminCheckboxSelectMultipleWidget


class ShareForm(DatedValueForm):
    """A new share; reasons against it appear beside their fields."""

    class Meta:
        model = RevenueShare
        fields = ("effective_from", "partner_bps", "reason")
        labels = {"partner_bps": "Partner's share (bps)"}

    def refusals(self) -> Mapping[str, str]:
        """The shares of a stored partner speak against it, or nothing does."""
        if not self.instance.partner_id:
            return {}
        return share_refusals(self.instance.partner_id, self.terms, clock.now())

    @property
    def terms(self) -> ShareTerms:
        """The typed share; only for a valid form."""
        data = self.cleaned_data
        return ShareTerms(
            partner_bps=data["partner_bps"],
            effective_from=data["effective_from"],
            reason=data.get("reason", ""),
            large_change=data.get("large_change", False),
        )


class ShareFormSet(_ShareInlineFormSet):
    """Several new shares at once, each from a different day."""

    def clean(self) -> None:
        """Refuse two shares for one day."""
        super().clean()
        days: set[dt.date] = set()
        for form in self.extra_forms:  # a new row may supersede a stored one of its day
            day = getattr(form, "cleaned_data", {}).get("effective_from")
            if day in days:
                form.add_error("effective_from", "Another row here has the same day.")
            elif day is not None:
                days.add(day)


class PartnerForm(_PartnerModelForm):
    """A partner's own fields; its permissions belong to its keys."""

    default_broker = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget,
        help_text="The broker whose client ids are meant if a call names none.",
    )

    class Meta:
        model = Partner
        fields = (
            "slug",
            "name",
            "type",
            "default_broker",
            "default_state",
            "allowed_ips",
            "oauth_redirect_urls",
            "contact_emails",
        )
        labels = {
            "contact_emails": "Contacts",
            "allowed_ips": "Allowed addresses",
            "oauth_redirect_urls": "Redirect URLs",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields.get("default_broker")  # absent if the page is read-only
        if field is not None:
            known = KNOWN_BROKERS.get()()
            stored = self.instance.default_broker
            if stored and stored not in known:
                known = {**known, stored: f"{stored} (unknown: choose another)"}
            field.choices = [("", "Choose one"), *known.items()]

    def clean_default_broker(self) -> str:
        """A supported broker; a stored one that is no longer supported has to be replaced."""
        kind: str = self.cleaned_data["default_broker"]
        if kind not in KNOWN_BROKERS.get()():
            raise forms.ValidationError("QuantLeap does not know this broker: choose another.")
        return kind


class PermissionsWidget(_Checkboxes):
    """Permissions with their explanations, and buttons for the usual sets."""

    template_name = "partners/widgets/permissions.html"

    class Media:
        js = ("partners/permissions.js",)

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """The template context, with the sets."""
        context: dict[str, Any] = super().get_context(name, value, attrs)
        context["widget"]["presets"] = permissions.PRESETS
        return context

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The option, with its explanation."""
        option: dict[str, Any] = super().create_option(name, value, *args, **kwargs)
        option["meaning"] = permissions.MEANING.get(str(value), "")
        return option


def _number() -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric", "autocomplete": "off"})


def _choices(names: Any) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


def _limit(help_text: str, most: int, initial: int | None = None) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=1,
        max_value=most,
        initial=initial,
        required=initial is not None,
        widget=_number(),
        help_text=help_text,
    )


#: Help text of a class that may have another limit.
AS_ABOVE: Final = "Empty: as many as above."


class IssueKeyForm(ConfirmForm):
    """Purpose, permissions and limits of a new key."""

    environment = forms.ChoiceField(
        choices=Environment.choices, initial=Environment.TEST, widget=UnfoldAdminSelectWidget
    )
    label = forms.CharField(max_length=80, required=False, help_text="Who uses it, and where.")
    permissions = forms.MultipleChoiceField(
        choices=_choices(permissions.ALL),
        widget=PermissionsWidget,
        error_messages={"required": "Tick at least one: a key without any can do nothing."},
    )
    requests_per_minute = _limit(
        "Of each class of requests, and at once.", PER_MINUTE_RANGE[1], initial=60
    )
    requests_per_day = _limit(
        "In all, without logins; a day in India.", PER_DAY_RANGE[1], initial=10_000
    )
    browse_per_minute = _limit(f"Reads of the marketplace. {AS_ABOVE}", PER_MINUTE_RANGE[1])
    subscribe_per_minute = _limit(f"New subscriptions. {AS_ABOVE}", PER_MINUTE_RANGE[1])
    manage_per_minute = _limit(f"Everything else. {AS_ABOVE}", PER_MINUTE_RANGE[1])
    login_per_minute = _limit(
        "Broker logins and user tokens. Empty: enough for all connected accounts before the market "
        "opens, at least 60.",
        PER_MINUTE_RANGE[1],
    )


def class_limits(data: Mapping[str, Any]) -> dict[str, int]:
    """The classes of :class:`IssueKeyForm` with a limit of their own, from its data."""
    given = {str(name): data.get(f"{name}_per_minute") for name in LimitClass}
    return {name: limit for name, limit in given.items() if limit}


class RotateKeyForm(ConfirmForm):
    """How long the old secret stays valid."""

    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=168,
        initial=24,
        help_text="0 ends the old secret at once.",
        widget=_number(),
    )


class WebhookEndpointForm(ConfirmForm):
    """The URL and the events of a new endpoint."""

    environment = forms.ChoiceField(
        choices=Environment.choices, initial=Environment.TEST, widget=UnfoldAdminSelectWidget
    )
    url = forms.CharField(max_length=500, help_text="https only.")
    events = forms.MultipleChoiceField(
        choices=_choices(sorted(EVENT_TYPES)),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="If none is ticked: all of them.",
    )


class ReasonForm(ConfirmForm):
    """The reason, kept in the audit log."""

    reason = forms.CharField(max_length=200)


class SuspendForm(ConfirmForm):
    """What happens to the subscriptions of a suspended partner, and the reason."""

    plan = forms.ChoiceField(
        label="Subscriptions",
        choices=[("", "Choose one"), *Partner.Plan.choices],
        widget=UnfoldAdminSelectWidget,
    )
    run_until = forms.DateField(
        label="Run until",
        required=False,
        help_text="The last day on which they trade (India), if they run until a day.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )
    reason = forms.CharField(
        max_length=REASON_LENGTH,
        help_text="For the console and the audit log. Neither the partner nor a customer reads it.",
    )

    def clean(self) -> dict[str, Any]:
        """Require a day for a plan that needs one."""
        cleaned = super().clean() or {}
        if not self.errors:
            today = clock.ist_date(clock.now())
            refused = plan_refusal(cleaned["plan"], cleaned.get("run_until"), today)
            if refused:
                self.add_error(*refused)
        return cleaned


class ReplayRangeForm(ConfirmForm):
    """The range of deliveries to send again, by when they were written (times in India)."""

    since = forms.DateTimeField(
        label="From",
        help_text="India time: 2026-11-30 09:15.",
        widget=UnfoldAdminTextInputWidget,
    )
    until = forms.DateTimeField(
        label="Until before",
        help_text="India time: 2026-11-30 15:30.",
        widget=UnfoldAdminTextInputWidget,
    )
    delivered = forms.BooleanField(
        label="Also what was delivered",
        required=False,
        help_text="If not ticked: only what was held or failed.",
    )

    @classmethod
    def starting(cls, obj: WebhookEndpoint) -> dict[str, Any]:
        """The range of what is held now, in whole minutes; empty if nothing is."""
        held = held_deliveries(obj)
        if held is None:
            return {}
        after = held.newest + dt.timedelta(minutes=1)
        return {"since": _minute(held.oldest), "until": _minute(after)}


def _minute(at: dt.datetime) -> str:
    return f"{clock.to_ist(at):%Y-%m-%d %H:%M}"
