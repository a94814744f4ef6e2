"""Customers' addresses: their changes, and the mails about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import Min, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.customer_references import EXTERNAL_ID_LENGTH, clean_external_id
from partners.customers import REASON_LENGTH
from partners.emails import mails
from partners.emails.models import CustomerMail, EmailChange, EmailConfirmation
from partners.models import Customer
from quantleap.core.admin import ConfirmForm, LargeTableMixin, QueuedMailAdmin, ReadOnlyAdmin
from quantleap.core.admin_columns import linked
from quantleap.core.console import Cell, Panel, day_cell, newest
from quantleap.core.identifiers import MAX_EMAIL, BadIdentifier, ascii_lower, clean_email
from quantleap.core.large_lists import begins

_REASON_HELP: Final = "It goes into the audit log."


class EmailForm(ConfirmForm):
    """The new address, and the reason."""

    user_email = forms.CharField(
        label="New e-mail address",
        max_length=MAX_EMAIL,
        help_text="Exactly as the person wrote it to you.",
    )
    reason = forms.CharField(max_length=REASON_LENGTH, help_text=_REASON_HELP)

    def clean_user_email(self) -> str:
        """The address in its stored spelling."""
        try:
            return clean_email(self.cleaned_data["user_email"])
        except BadIdentifier as error:
            raise forms.ValidationError(str(error)) from error


class ExternalIdForm(ConfirmForm):
    """The partner's id, and the reason."""

    external_user_id = forms.CharField(
        label="External user id",
        max_length=EXTERNAL_ID_LENGTH,
        required=False,
        strip=False,
        help_text="As the partner writes it: case matters. Empty: it is assigned by the "
        "partner's next call that names this address and an id.",
    )
    reason = forms.CharField(max_length=REASON_LENGTH, help_text=_REASON_HELP)

    @classmethod
    def starting(cls, obj: Customer) -> dict[str, Any]:
        """The current value."""
        return {"external_user_id": obj.external_user_id}

    def clean_external_user_id(self) -> str:
        """The id exactly as typed, or nothing."""
        text: str = self.cleaned_data["external_user_id"]
        try:
            return text and clean_external_id(text)
        except BadIdentifier as error:
            raise forms.ValidationError(str(error)) from error


def changes_of(request: HttpRequest, customer: Customer) -> Sequence[Panel]:
    """The newest changes of a customer's address, for their page (2 queries)."""
    if not request.user.has_perm("partners.view_emailchange"):
        return []
    return [
        newest(
            "E-mail changes",
            with_confirmation(EmailChange.objects.filter(customer=customer)),
            {"customer__id__exact": customer.pk},
            ("When", "From", "To", "By", "Confirmed"),
            lambda change: (
                day_cell(change.changed_at),
                Cell(change.from_email),
                Cell(change.to_email),
                Cell(who_changed(change)),
                day_cell(change.confirmed_at) if change.confirmed_at else Cell("Not confirmed"),
            ),
            "The address is the first one.",
        )
    ]


def with_confirmation(changes: QuerySet[EmailChange]) -> QuerySet[Any]:
    """The changes with ``confirmed_at``: when the new address was first confirmed after this
    change."""
    confirmations = (
        EmailConfirmation.objects.filter(
            customer=OuterRef("customer"),
            email=OuterRef("to_email"),
            confirmed_at__gte=OuterRef("changed_at"),
        )
        .order_by()
        .values("customer")
        .annotate(first=Min("confirmed_at"))
        .values("first")
    )
    return changes.annotate(confirmed_at=Subquery(confirmations))


def who_changed(change: EmailChange) -> str:
    """Kind and id of the actor."""
    return f"{change.get_actor_kind_display()} {change.actor_id}".strip()


@admin.register(EmailChange)
class EmailChangeAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Changes of customers' addresses: since when, by whom, and why."""

    list_display = (
        "changed_at",
        linked("customer"),
        "from_email",
        "to_email",
        "when_confirmed",
        "partner_name",
        "environment",
        "who",
        "reason",
    )
    list_filter = (PartnerFilter, "environment", "actor_kind")
    searches = (
        begins("from_email", "the beginning of an earlier address", fold=ascii_lower),
        begins("to_email", "of the new one", fold=ascii_lower),
    )
    readonly_fields = ("partner_name", "environment", "who", "when_confirmed")
    fields = (
        ("customer", "partner_name", "environment"),
        ("from_email", "to_email"),
        ("changed_at", "who", "when_confirmed"),
        "reason",
    )
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Changes with the customer and the time at which the new address was confirmed."""
        return with_confirmation(super().get_queryset(request).select_related("customer"))

    @admin.display(description="By")
    def who(self, change: EmailChange) -> str:
        """Kind and id of the actor."""
        return who_changed(change)

    @admin.display(description="Confirmed")
    def when_confirmed(self, change: Any) -> Any:
        """When the owner confirmed the address."""
        return change.confirmed_at


@admin.register(CustomerMail)
class CustomerMailAdmin(PartnerColumn, QueuedMailAdmin):
    """Mails that ask to confirm an address, or report that it was changed."""

    queue = mails.QUEUE
    list_display = (
        "created_at",
        "recipient",
        "kind",
        linked("customer"),
        "partner_name",
        "environment",
        "status",
        "attempts",
        "sent_at",
        "last_error",
    )
    list_filter = ("status", "kind", PartnerFilter, "environment")
    list_select_related = ("customer",)
    searches = (begins("recipient", "the beginning of an address", fold=ascii_lower),)
    readonly_fields = ("partner_name", "environment")
    fields = (
        ("recipient", "kind", "customer"),
        ("partner_name", "environment", "created_at"),
        ("status", "attempts", "sent_at"),
        ("next_attempt_at", "claimed_until"),
        "last_error",
    )
    ordering = ("-id",)

    def what_sending_does(self, request: HttpRequest, mail: CustomerMail) -> Sequence[str]:
        """The consequences, shown before sending."""
        return (f"{mail.recipient} gets this mail once more, with the same link.",)
