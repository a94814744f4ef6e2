"""Customers: who they are, everything they have, and what their invoices say about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.admin.emails import EmailForm, ExternalIdForm, changes_of
from partners.customers import (
    ADDRESS_LENGTH,
    REASON_LENGTH,
    change_billing_details,
    check_address,
)
from partners.emails.changes import change_email, change_external_id
from partners.emails.confirmations import VALID_FOR, send_again
from partners.gst_states import in_force, name_of
from partners.models import Customer
from partners.ports import BELONGINGS
from partners.selectors import customer_condition
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, LargeTableMixin, ReadOnlyAdmin, confirmed
from quantleap.core.audit import Actor
from quantleap.core.console import Panel
from quantleap.core.dates import day_text
from quantleap.core.errors import DomainError
from quantleap.core.large_lists import Condition, Search
from quantleap.core.tenancy import Environment


class BillingDetailsForm(ConfirmForm):
    """State and address for the customer's invoices, and the reason for the change."""

    state = forms.ChoiceField(
        label="GST state",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="The place of supply: it decides between CGST with SGST, and IGST.",
    )
    billing_address = forms.CharField(
        max_length=ADDRESS_LENGTH,
        required=False,
        widget=forms.Textarea,
        help_text="One line of the invoice per line; empty: none is printed.",
    )
    reason = forms.CharField(max_length=REASON_LENGTH, help_text="It goes into the audit log.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = in_force(clock.ist_date(clock.now()))
        self.fields["state"].choices = [  # type: ignore[attr-defined]  # a ChoiceField's
            ("", "Unknown: invoices are withheld"),
            *((code, f"{code} {name}") for code, name in known.items()),
        ]

    def clean_billing_address(self) -> str:
        """The address as printed on invoices."""
        try:
            return check_address(self.cleaned_data["billing_address"])
        except DomainError as error:
            raise forms.ValidationError(list(error.details.values())) from error

    @classmethod
    def starting(cls, obj: Customer) -> dict[str, Any]:
        """The current values."""
        return {"state": obj.state, "billing_address": obj.billing_address}


@admin.register(Customer)
class CustomerAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """End users of partners and direct ones."""

    list_display = (
        "email",
        "external_user_id",
        "partner_name",
        "environment",
        "name",
        "public_id",
        "created_at",
    )
    list_filter = (PartnerFilter, "environment")
    searches = (
        Search(
            "any part of an e-mail or a name, or the beginning of an id, ours or the partner's",
            lambda term: Condition(customer_condition(term)),
        ),
    )
    readonly_fields = (
        "partner_name",
        "environment",
        "public_id",
        "created_at",
        "gst_state",
        "history",
        "standing",
    )
    fields = (
        ("email", "standing", "external_user_id"),
        ("name", "public_id"),
        ("partner_name", "environment", "created_at"),
        ("gst_state", "billing_address", "history"),
    )
    actions_detail = (
        "billing_details",
        "change_email",
        "ask_for_confirmation",
        "change_external_id",
    )
    change_form_after_template = "admin/partners/customer/belongings.html"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The customer's page, with everything that other rooms have of them."""
        customer = self.get_object(request, object_id)
        panels: list[Panel] = []
        for room in (changes_of, *BELONGINGS.all()):
            panels += room(request, customer) if customer is not None else ()
        context = {**(extra_context or {}), "panels": panels}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="Confirmed")
    def standing(self, customer: Customer) -> str:
        """Whether the owner has confirmed the address, and the link that is still open (1
        query)."""
        if customer.email_confirmed_at is not None:
            return f"Confirmed on {_day(customer.email_confirmed_at)}"
        asked = customer.email_confirmations.filter(email=customer.email).first()
        if asked is None:
            return "Not confirmed: no mail was sent"
        over = clock.now() >= asked.expires_at
        return f"Not confirmed: asked on {_day(asked.asked_at)}" + (", the link has expired" * over)

    def history(self, customer: Customer) -> SafeString:
        """Link to this customer's entries in the audit log."""
        address = reverse("admin:core_auditentry_changelist")
        return format_html(
            '<a class="ql-link" href="{}?q={}">In the audit log</a>', address, customer.public_id
        )

    @admin.display(description="GST state")
    def gst_state(self, customer: Customer) -> str:
        """Code and name of the state."""
        code = customer.state
        if not code:
            return "None: paid subscriptions are not invoiced until there is one"
        known = code in in_force(clock.ist_date(clock.now()))
        return f"{code} {name_of(code)}" if known else f"{code}, not in force: not invoiced"

    def what_changing_does(self, request: HttpRequest, customer: Customer) -> Sequence[str]:
        """The consequences, shown before the change."""
        return (
            f"Now: {self.gst_state(customer)}.",
            "Every invoice issued from now on has the new state and address, even for a "
            "period that has already begun.",
            "Issued invoices stay as they are, and their credit notes follow them.",
        )

    @confirmed(
        description="Change billing details",
        explain="what_changing_does",
        permission="act",
        form=BillingDetailsForm,
        icon="edit_location",
    )
    def billing_details(
        self, request: HttpRequest, customer: Customer, data: dict[str, Any]
    ) -> str:
        """Change state and address of the next invoices."""
        changed = change_billing_details(
            customer_id=customer.pk, actor=Actor.staff(request.user), now=clock.now(), **data
        )
        if not changed:
            return f"{customer}: nothing changed."
        return f"{customer}: the next invoices have the new details."

    def what_another_address_does(self, request: HttpRequest, customer: Customer) -> Sequence[str]:
        """The consequences, shown before the change."""
        mails = (
            "The test environment sends no mail."
            if customer.environment == Environment.TEST
            else "A link is mailed to the new address, which is unconfirmed until its "
            "owner opens it. The old address gets a mail that it was replaced, but not by what."
        )
        return (
            f"Now: {customer.email}. {self.standing(customer)}.",
            "Every invoice issued from now on goes to the new address. Issued ones keep "
            "the address to which they were made out.",
            mails,
        )

    @confirmed(
        description="Change e-mail",
        explain="what_another_address_does",
        permission="act",
        form=EmailForm,
        icon="alternate_email",
        twice=True,
    )
    def change_email(self, request: HttpRequest, customer: Customer, data: dict[str, Any]) -> str:
        """Change the customer's address."""
        result = change_email(
            customer_id=customer.pk,
            email=data["user_email"],
            reason=data["reason"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        if not result.changed:
            return f"{customer}: this already was the address."
        return f"{customer.email} is {result.customer.email} now."

    def what_asking_does(self, request: HttpRequest, customer: Customer) -> Sequence[str]:
        """The consequences, shown before asking."""
        return (
            f"{customer.email}: {self.standing(customer)}.",
            f"A link that works for {VALID_FOR.days} days is mailed there. Nothing else changes, "
            "whether it is opened or not.",
        )

    @confirmed(
        description="Ask for confirmation",
        explain="what_asking_does",
        permission="act",
        icon="mark_email_read",
    )
    def ask_for_confirmation(
        self, request: HttpRequest, customer: Customer, data: dict[str, Any]
    ) -> str:
        """Mail a confirmation link to the address."""
        send_again(customer_id=customer.pk, actor=Actor.staff(request.user), now=clock.now())
        return f"{customer.email} gets a link within a minute."

    def what_another_id_does(self, request: HttpRequest, customer: Customer) -> Sequence[str]:
        """The consequences, shown before the change."""
        return (
            f"Now: {customer.external_user_id or 'none'}.",
            "From now on the new id means this customer, with their "
            "subscriptions, broker accounts and invoices.",
            "Use this only to correct a partner's mistake: ask it first whose id this is.",
        )

    @confirmed(
        description="Change external id",
        explain="what_another_id_does",
        permission="act",
        form=ExternalIdForm,
        icon="badge",
        twice=True,
    )
    def change_external_id(
        self, request: HttpRequest, customer: Customer, data: dict[str, Any]
    ) -> str:
        """Change the partner's own id for the person."""
        result = change_external_id(
            customer_id=customer.pk, actor=Actor.staff(request.user), **data
        )
        if not result.changed:
            return f"{customer}: nothing changed."
        return f"{customer}: the external user id is {result.customer.external_user_id or 'none'}."


def _day(at: dt.datetime) -> str:
    return day_text(clock.ist_date(at))
