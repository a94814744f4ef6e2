"""Broker pages of the console: accounts, feed accounts and their login, names of contracts.

No page ever shows a credential or a token; the fields that hold them are not even read into forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from brokers import vault
from brokers.contractlists import (
    list_name,
    list_states,
    offered_lists,
    progress_of,
    wanted_lists,
)
from brokers.endpoints import is_enabled, require_enabled
from brokers.models import (
    BrokerAccount,
    BrokerInstrument,
    ContractListImport,
    FeedAccount,
    LoginAttempt,
)
from brokers.registry import get_adapter
from brokers.selectors import account_keys, clean_client_id, customers_account_keys, readiness
from brokers.services import accounts, feeds
from brokers.services.contractlists import request_imports
from brokers.vault import check_credential
from partners.models import Partner
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    ConsoleAdmin,
    LargeTableMixin,
    ReadOnlyAdmin,
    action,
    confirmed,
    display,
)
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.columns import linked, lists
from quantleap.core.errors import DomainError
from quantleap.core.identifiers import ascii_upper
from quantleap.core.largelists import Condition, Search, begins, exactly, one_of, through

#: The page of contract lists looks again after so many seconds while one is being fetched.
LOOK_AGAIN_SECONDS: Final = 3
IMPORT_PAGE: Final = "admin/brokers/contractlistimport/import.html"

if TYPE_CHECKING:
    _FeedModelForm = forms.ModelForm[FeedAccount]  # generic in its stubs only
else:
    _FeedModelForm = forms.ModelForm


# -- accounts --------------------------------------------------------------------------------
class EgressForm(ConfirmForm):
    """Where an account's calls leave."""

    egress = forms.CharField(
        max_length=200, required=False, help_text="http://host:port or an IP address."
    )
    algo_id = forms.CharField(max_length=40, required=False)


class RemoveForm(ConfirmForm):
    """How a removal treats open positions."""

    exit_now = forms.BooleanField(
        required=False, label="Exit open positions first", widget=UnfoldBooleanSwitchWidget
    )


#: Derivatives of NSE and BSE, as brokers name them.
_EXCHANGES: Final = one_of("exchange", "exchange", lambda: [("NFO", "NFO"), ("BFO", "BFO")])
_ON: Final = "allocations__account__id__exact={}"


@admin.register(BrokerAccount)
class BrokerAccountAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Customers' accounts: who is ready, who is not and why."""

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
        return vault.shown_egress(account)

    @admin.display(description="Partner")
    def owner(self, account: BrokerAccount) -> str:
        """The partner's slug; direct customers have none."""
        if account.partner_id is None:
            return "direct"
        slugs = getattr(self, "_slugs", None)
        if slugs is None or account.partner_id not in slugs:
            slugs = self._slugs = dict(Partner.objects.values_list("pk", "slug"))
        return str(slugs.get(account.partner_id, "?"))

    @admin.display(description="Elsewhere")
    def elsewhere(self, account: BrokerAccount) -> SafeString:
        """What trades on it, and what was traded."""
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
        """No new entries; open positions are managed to their exit."""
        accounts.disable_account(account=account, actor=Actor.staff(request.user), now=clock.now())
        return f"{account} is switched off."

    @confirmed(description="Switch on", permission="act", icon="play_arrow")
    def switch_on(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Entries again, once it is logged in."""
        accounts.enable_account(account=account, actor=Actor.staff(request.user), now=clock.now())
        return f"{account} is switched on."

    @confirmed(description="Set egress", permission="act", form=EgressForm, icon="route")
    def set_egress(self, request: HttpRequest, account: BrokerAccount, data: dict[str, Any]) -> str:
        """Proxy or source address, and algo id."""
        accounts.set_egress(
            account=account,
            egress=data["egress"],
            algo_id=data["algo_id"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        account.refresh_from_db()
        return f"{account} leaves through {vault.shown_egress(account)}."

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
        """Said before it happens."""
        return (
            f"Credentials and session of {account} ({account.customer}) are erased at once. With "
            "open positions it is refused, unless they are exited first: then they are erased "
            "after the last exit.",
            "What is armed on it is withdrawn, unless it was already committed.",
        )


@admin.register(LoginAttempt)
class LoginAttemptAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Started and finished daily logins. The state itself is kept only as a hash, never shown."""

    list_display = ("account", "environment", "created_at", "expires_at", "used_at")
    list_filter = ("environment", ("used_at", admin.EmptyFieldListFilter))
    searches = (
        through("account_id", account_keys, "the beginning of a client id"),
        through("account_id", customers_account_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("account",)
    ordering = ("-id",)
    fields = ("account", "environment", "redirect_uri", "created_at", "expires_at", "used_at")
    readonly_fields = ("environment",)


# -- feeds -----------------------------------------------------------------------------------
class FeedAccountForm(_FeedModelForm):
    """A feed account; its credentials go in and never come out."""

    new_api_key = forms.CharField(
        max_length=200, widget=UnfoldAdminPasswordWidget(), label="API key"
    )
    new_api_secret = forms.CharField(
        max_length=200, widget=UnfoldAdminPasswordWidget(), label="API secret"
    )

    class Meta:
        model = FeedAccount
        fields = ("name", "broker", "role", "client_id", "is_active")
        widgets = {
            "name": UnfoldAdminTextInputWidget,
            "client_id": UnfoldAdminTextInputWidget,
            "broker": UnfoldAdminSelectWidget,
            "role": UnfoldAdminSelectWidget,
            "is_active": UnfoldBooleanSwitchWidget,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.instance.pk is not None
        for name in ("new_api_key", "new_api_secret"):
            if name in self.fields:  # a person who may only look has no form fields
                self.fields[name].required = not stored
                self.fields[name].help_text = "Empty keeps the stored one." if stored else ""

    def clean_client_id(self) -> str:
        """As the broker writes it."""
        return _checked(clean_client_id, self.cleaned_data["client_id"])

    def clean_new_api_key(self) -> str:
        """Usable inside a header."""
        return self._credential("new_api_key")

    def clean_new_api_secret(self) -> str:
        """Usable inside a signature."""
        return self._credential("new_api_secret")

    def _credential(self, name: str) -> str:
        text: str = self.cleaned_data[name]
        return _checked(lambda value: check_credential(name, value), text) if text else ""


def _checked(clean: Callable[[str], str], text: str) -> str:
    """A service's own check as the form's."""
    try:
        return clean(text)
    except DomainError as error:
        raise forms.ValidationError(list(error.details.values()) or [error.message]) from error


class FeedLoginForm(ConfirmForm):
    """The code that the broker put into the redirect's address, where that is not ours."""

    code = forms.CharField(
        max_length=500,
        label="Code",
        help_text="From the address the broker sent you to.",
    )


@admin.register(FeedAccount)
class FeedAccountAdmin(ConsoleAdmin):
    """Where the platform's quotes come from, and today's login there."""

    form = FeedAccountForm
    list_display = ("name", "broker", "role", "client_id", "is_active", "session", "last_price")
    list_filter = ("broker", "role", "is_active")
    fields = (
        ("name", "role", "is_active"),
        ("broker", "client_id"),
        ("new_api_key", "new_api_secret"),
        ("session", "last_price"),
    )
    readonly_fields = ("session", "last_price")
    actions_detail = ("log_in",)

    @admin.display(description="Session")
    def session(self, feed: FeedAccount) -> str:
        """Until when today's login holds."""
        if not vault.is_readable(feed):
            return "cannot be read: enter key and secret again, then log in"
        expires = feed.token_expires_at
        if not feed.access_token or expires is None or expires <= clock.now():
            return "not logged in"
        return f"until {clock.to_ist(expires):%d %b %H:%M} IST"

    @admin.display(description="Last price (IST)")
    def last_price(self, feed: FeedAccount) -> str:
        """The exchange's time of it, and why there is none since."""
        at = f"{clock.to_ist(feed.quote_at):%d %b %H:%M:%S}" if feed.quote_at else "none yet"
        return f"{at}; {feed.problem}" if feed.problem else at

    def save_model(
        self,
        request: HttpRequest,
        obj: FeedAccount,
        form: Any,
        change: bool,
    ) -> None:
        """Through the service; the form's text becomes ciphertext there."""
        stored = FeedAccount.objects.get(pk=obj.pk) if change else None
        saved = feeds.save_feed_account(
            feed=stored,
            name=obj.name,
            broker=obj.broker,
            role=obj.role,
            client_id=obj.client_id,
            api_key=form.cleaned_data["new_api_key"],
            api_secret=form.cleaned_data["new_api_secret"],
            is_active=obj.is_active,
            actor=Actor.staff(request.user),
        )
        obj.pk = saved.pk
        obj.refresh_from_db()

    def get_urls(self) -> list[URLPattern]:
        """With the step from our page to the broker's."""
        begin = self.admin_site.admin_view(self.begin_login)
        name = "brokers_feedaccount_begin_login"
        return [path("<path:object_id>/log-in/begin/", begin, name=name), *super().get_urls()]

    def begin_login(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the broker's login page, with a state that only this console session can use.

        A link and no form: the policy that a form may post to us alone would stop the redirect.
        """
        feed = self.get_object(request, object_id)
        if feed is None:
            raise Http404
        if request.method != "GET" or not self.has_change_permission(request, feed):
            raise PermissionDenied
        try:
            url = feeds.start_feed_login(
                feed=feed,
                session_key=request.session.session_key or "",
                actor=Actor.staff(request.user),
                now=clock.now(),
            )
        except DomainError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(reverse("admin:brokers_feedaccount_change", args=[feed.pk]))
        return HttpResponseRedirect(url, headers={"Referrer-Policy": "no-referrer"})

    @confirmed(
        description="Log in at the broker",
        explain="where_to_log_in",
        context="login_page",
        form=FeedLoginForm,
        icon="login",
        moving=True,  # how long the session still holds
        template="admin/brokers/feedaccount/log_in.html",
    )
    def log_in(self, request: HttpRequest, feed: FeedAccount, data: dict[str, Any]) -> str:
        """Exchange a code that was copied by hand."""
        feeds.complete_feed_login(
            feed=feed, code=data["code"], actor=Actor.staff(request.user), now=clock.now()
        )
        return f"{feed} is logged in, {self.session(feed)}."

    def login_page(self, request: HttpRequest, feed: FeedAccount) -> dict[str, Any]:
        """Where the button leads, and what the broker calls its code."""
        begin = reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk])
        return {
            "start": begin if is_enabled(feed.broker) else "",
            "broker": feed.get_broker_display(),
            "code_name": get_adapter(feed.broker).capabilities.login_code,
        }

    def where_to_log_in(self, request: HttpRequest, feed: FeedAccount) -> Sequence[str]:
        """What happens, and what has to be registered for it; or why there is no login."""
        try:
            require_enabled(feed.broker)
        except DomainError as error:
            return (error.message,)
        broker = feed.get_broker_display()
        address = request.build_absolute_uri(reverse("broker-login-done"))
        return (
            f"Now: {self.session(feed)}.",
            f"The button leads to {broker}. After the login there {broker} sends you back here, "
            "and the login is finished by itself.",
            format_html(
                "For that the application at {} has to be registered with this redirect address: "
                '<code class="ql-code">{}</code>',
                broker,
                address,
            ),
        )


# -- names -----------------------------------------------------------------------------------
@admin.register(BrokerInstrument)
class BrokerInstrumentAdmin(LargeTableMixin, ReadOnlyAdmin):
    """How brokers name contracts; filled by import_instruments."""

    list_display = ("symbol", "broker", "exchange", "token", "contract", "last_seen")
    list_filter = ("broker", _EXCHANGES, "contract__underlying", "last_seen")
    searches = (
        Search(
            "any part of a symbol", lambda term: Condition(Q(symbol__contains=ascii_upper(term)))
        ),
        exactly("token", "a token in full"),
    )
    list_select_related = ("contract__underlying",)
    ordering = ("-id",)


# -- contract lists --------------------------------------------------------------------------
class ImportForm(ConfirmForm):
    """Which lists to fetch now."""

    lists = forms.MultipleChoiceField(
        label="Lists",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose one."},
    )
    force = forms.BooleanField(
        required=False,
        label="Accept a list much shorter than the last one",
        help_text="Only when you know why it is shorter: contracts it lacks cannot be traded.",
        widget=UnfoldBooleanSwitchWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(" ".join(key), list_name(key)) for key in offered_lists()]
        field = self.fields["lists"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101  # declared above
        field.choices = choices
        field.initial = [" ".join(key) for key in wanted_lists()]


@admin.register(ContractListImport)
class ContractListImportAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Contract lists of each day: fetched before the open, tried again, or asked for here."""

    list_display = (
        "queued_at",
        "broker",
        "exchange",
        "trade_date",
        "shown_state",
        "outcome",
        "who",
    )
    list_filter = ("broker", _EXCHANGES, "state", "trade_date")
    ordering = ("-id",)
    fields = (
        ("broker", "exchange", "trade_date"),
        ("state", "asked_by", "force"),
        ("queued_at", "started_at", "finished_at"),
        "source",
        "report",
        "problem",
    )
    actions_list = ("import_now",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may fetch a list now."""
        return request.user.has_perm("brokers.add_contractlistimport")

    @action(description="Import now", permissions=["add"], url_path="import-now", icon="download")
    def import_now(self, request: HttpRequest) -> HttpResponse:
        """To the page that asks which."""
        return HttpResponseRedirect(reverse("admin:brokers_contractlistimport_add"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list; it looks again by itself while something waits or runs."""
        # the button Import now says what it does; a plus would not
        shown = {**(extra_context or {}), "has_add_permission": False}
        answer: HttpResponse = super().changelist_view(request, shown)
        if answer.status_code == HTTPStatus.OK and any(state.is_open for state in list_states()):
            answer.headers["Refresh"] = str(LOOK_AGAIN_SECONDS)
        return answer

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Which lists, then a row each that a worker takes within seconds."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        posted = request.method == "POST"
        form = ImportForm(request.POST) if posted else ImportForm()
        errors: list[str] = []
        status = 200
        if posted and form.is_valid():
            try:
                return self._asked(request, form.cleaned_data)
            except DomainError as error:
                errors, status = form.refuse(error), error.status
        elif posted:
            status = 400
        shown = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import contract lists now",
            "description": "Import",
            "sentences": (
                "A worker downloads each list from its broker and imports it; this takes seconds.",
                "A broken or empty list changes nothing.",
            ),
            "form": form,
            "errors": errors,
            "back": reverse("admin:brokers_contractlistimport_changelist"),
        }
        return TemplateResponse(request, IMPORT_PAGE, shown, status=status)

    def _asked(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        rows = request_imports(
            lists=[(broker, exchange) for broker, exchange in map(str.split, data["lists"])],
            force=data["force"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        names = ", ".join(f"{row.get_broker_display()} {row.exchange}" for row in rows)
        messages.success(
            request,
            f"{names}: a worker fetches it within seconds."
            if rows
            else "It is being fetched already.",
        )
        return HttpResponseRedirect(reverse("admin:brokers_contractlistimport_changelist"))

    @display(
        description="State",
        ordering="state",
        label={"Waiting": "info", "Running": "info", "Done": "success", "Failed": "danger"},
    )
    def shown_state(self, row: ContractListImport) -> str:
        """With a colour."""
        return row.get_state_display()

    @admin.display(description="What it did")
    def outcome(self, row: ContractListImport) -> str:
        """Counts, the reason why not, or how far it is."""
        if row.state == ContractListImport.State.RUNNING:
            return progress_of(row.pk) or "under way"
        return row.report or row.problem or "–"

    @admin.display(description="Asked by")
    def who(self, row: ContractListImport) -> str:
        """Beat, or a person."""
        return "schedule" if row.asked_by == SYSTEM.id else row.asked_by
