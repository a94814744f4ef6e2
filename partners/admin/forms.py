"""Forms of this room's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from partners import permissions
from partners.models import Partner
from partners.webhooks.events import EVENT_TYPES
from quantleap.core.addresses import parse_network
from quantleap.core.admin import ConfirmForm
from quantleap.core.tenancy import Environment

if TYPE_CHECKING:
    _PartnerModelForm = forms.ModelForm[Partner]
else:
    _PartnerModelForm = forms.ModelForm


class PartnerForm(_PartnerModelForm):
    """A partner's own fields; what it may do is said by its keys."""

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
        )

    def clean_allowed_ips(self) -> list[str]:
        """Addresses and networks without stray host bits."""
        texts: list[str] = self.cleaned_data["allowed_ips"] or []
        for text in texts:
            try:
                parse_network(text)
            except ValueError as error:
                raise forms.ValidationError(f"{text}: {error}") from error
        return texts


def _choices(names: Any) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


#: What the two limits of a key are good for.
NOT_ENFORCED = "What was agreed with the partner. Written down, not enforced yet."


class IssueKeyForm(ConfirmForm):
    """What a new key is for."""

    environment = forms.ChoiceField(choices=Environment.choices, initial=Environment.TEST)
    label = forms.CharField(max_length=80, required=False, help_text="Who uses it, and where.")
    permissions = forms.MultipleChoiceField(
        choices=_choices(permissions.ALL),
        initial=list(permissions.ALL),
        widget=forms.CheckboxSelectMultiple,
    )
    requests_per_minute = forms.IntegerField(
        min_value=1, max_value=100_000, initial=60, help_text=NOT_ENFORCED
    )
    requests_per_day = forms.IntegerField(
        min_value=1, max_value=100_000_000, initial=10_000, help_text=NOT_ENFORCED
    )


class RotateKeyForm(ConfirmForm):
    """How long the old secret stays good."""

    overlap_hours = forms.IntegerField(
        min_value=0, max_value=168, initial=24, help_text="0 ends the old secret at once."
    )


class WebhookEndpointForm(ConfirmForm):
    """Where a partner wants to be told."""

    environment = forms.ChoiceField(choices=Environment.choices, initial=Environment.TEST)
    url = forms.CharField(max_length=500, help_text="https only.")
    events = forms.MultipleChoiceField(
        choices=_choices(sorted(EVENT_TYPES)),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: all of them.",
    )


class ReasonForm(ConfirmForm):
    """Why, in words; kept in the audit log."""

    reason = forms.CharField(max_length=200)
