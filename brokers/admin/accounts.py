"""Customers' accounts: readiness, switching off and on, egress, removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldBooleanSwitchWidget

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.readiness import readiness
from brokers.services import accounts
from partners.models import Partner
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    LargeTableMixin,
    ReadOnlyAdmin,
    confirmed,
)
from quantleap.core.admin_columns import linked, lists
from quantleap.core.audit import Actor
from quantleap.core.identifiers import ascii_upper
from quantleap.core.large_lists import begins, through


class EgressForm(ConfirmForm):
    """The address from which an account's calls leave."""

    egress = forms.CharField(
        max_length=200, required=False, help_text="http://host:port or an IP address."
    )
    algo_id = forms.CharField(max_length=40, required=False)


class RemoveForm(ConfirmForm):
    """What a removal does with open positions."""

    exit_now = forms.BooleanField(
        required=False, label="Exit open positions first", widget=UnfoldBooleanSwitchWidget
    )


_ON: Final = "allocations__account__id__exact={}"


@admin.register(BrokerAccount)
class BrokerAccountAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Customers' accounts: which are ready to trade, and why the others are not."""

    list_display = (
        "client_id",
        "broker",
        linked("customer"),
        "owner",
        "environment",
        "status",
        "session",
    )
    list_filter = (
        "broker",
        "environment",
        "status",
        ("customer", AutocompleteSelectFilter),
        ("access_token", admin.EmptyFieldListFilter),
    )
    searches = (
        begins("client_id", "the beginning of a client id", fold=ascii_upper),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("customer",)
    ordering = ("-id",)
    fields = (
        ("client_id", "broker", "status"),
        ("customer", "owner", "environment"),
        ("session", "last_login_at", "token_expires_at"),
        ("leaves_through", "algo_id"),
        ("removal_requested_at", "created_at", "updated_at"),
        "elsewhere",
    )
    readonly_fields = (
        "owner",
        "environment",
        "session",
        "leaves_through",
        "removal_requested_at",
        "created_at",
        "updated_at",
        "elsewhere",
    )
    actions_detail = ("switch_off", "switch_on", "set_egress", "remove")

    @admin.display(description="Leaves through")
    def leaves_through(self, account: BrokerAccount) -> str:
        """The proxy without its password, or the source address."""
        return sealed_credentials.shown_egress(account)

    @admin.display(description="Partner")
    def owner(self, account: BrokerAccount) -> str:
        """The partner's slug; empty for direct customers."""
        if account.partner_id is None:
            return "direct"
        slugs = getattr(self, "_slugs", None)
        if slugs is None or account.partner_id not in slugs:
            slugs = self._slugs = dict(Partner.objects.values_list("pk", "slug"))
        return str(slugs.get(account.partner_id, "?"))

    @admin.display(description="Elsewhere")
    def elsewhere(self, account: BrokerAccount) -> SafeString:
        """Links to the account's subscriptions and executions."""
        return lists(
            [
                ("Subscriptions", "subscriptions_subscription", _ON.format(account.pk)),
                ("Executions", "execution_execution", f"account__id__exact={account.pk}"),
                ("Orders", "execution_orderintent", f"account__id__exact={account.pk}"),
            ]
        )

    @admin.display(description="Ready")
    def session(self, account: BrokerAccount) -> str:
        """Whether the account could trade now, or the reason why not."""
        return readiness(account, clock.now()).reason.replace("_", " ") or "ready"

    @confirmed(description="Switch off", permission="act", icon="pause")
    def switch_off(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Stop new entries; open positions are managed to their exit."""
        accounts.disable_account(account=account, actor=Actor.staff(request.user), now=clock.now())
        return f"{account} is switched off."

    @confirmed(description="Switch on", permission="act", icon="play_arrow")
    def switch_on(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Allow entries again, once the account is logged in."""
        accounts.enable_account(account=account, actor=Actor.staff(request.user), now=clock.now())
        return f"{account} is switched on."

    @confirmed(description="Set egress", permission="act", form=EgressForm, icon="route")
    def set_egress(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Set proxy or source address, and algo id."""
        accounts.set_egress(
            account=account,
            egress=data["egress"],
            algo_id=data["algo_id"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        account.refresh_from_db()
        return f"{account} leaves through {sealed_credentials.shown_egress(account)}."

    @confirmed(
        description="Remove account",
        explain="what_removal_does",
        permission="act",
        form=RemoveForm,
        icon="delete",
        danger=True,
    )
    def remove(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Erase the credentials."""
        effect = accounts.remove_account(
            account=account,
            exit_now=data["exit_now"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        if effect.deferred:
            return f"{account}: positions are being exited, then the credentials are erased."
        return f"{account} is removed, its credentials are erased."

    def what_removal_does(self, request: HttpRequest, account: BrokerAccount) -> Sequence[str]:
        """The consequences, shown before removing."""
        return (
            f"Credentials and session of {account} ({account.customer}) are erased at once. With "
            "open positions it is refused, unless they are exited first: then they are erased "
            "after the last exit.",
            "Armed executions on it are withdrawn, unless they were already committed.",
        )
