"""Feed accounts and their login at the broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from brokers import sealed_credentials
from brokers.endpoints import is_enabled, require_enabled
from brokers.models import FeedAccount
from brokers.registry import get_adapter
from brokers.sealed_credentials import check_credential
from brokers.selectors import clean_client_id
from brokers.services import feeds
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    ConsoleAdmin,
    confirmed,
)
from quantleap.core.audit import Actor
from quantleap.core.dates import moment_text
from quantleap.core.errors import DomainError

if TYPE_CHECKING:
    _FeedModelForm = forms.ModelForm[FeedAccount]  # generic in its stubs only
else:
    _FeedModelForm = forms.ModelForm


class FeedAccountForm(_FeedModelForm):
    """A feed account's form; credentials can be entered but are never shown."""

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
            if name in self.fields:  # a person who may only view has no form fields
                self.fields[name].required = not stored
                self.fields[name].help_text = "Empty keeps the stored one." if stored else ""

    def clean_client_id(self) -> str:
        """The client id in the broker's spelling."""
        return _checked(clean_client_id, self.cleaned_data["client_id"])

    def clean_new_api_key(self) -> str:
        """The API key, if it is usable inside a header."""
        return self._credential("new_api_key")

    def clean_new_api_secret(self) -> str:
        """The API secret, if it is usable inside a signature."""
        return self._credential("new_api_secret")

    def _credential(self, name: str) -> str:
        text: str = self.cleaned_data[name]
        return _checked(lambda value: check_credential(name, value), text) if text else ""


def _checked(clean: Callable[[str], str], text: str) -> str:
    """Run a service's check as a form validation."""
    try:
        return clean(text)
    except DomainError as error:
        raise forms.ValidationError(list(error.details.values()) or [error.message]) from error


class FeedLoginForm(ConfirmForm):
    """The code from the redirect's address, for applications registered with another address."""

    code = forms.CharField(
        max_length=500,
        label="Code",
        help_text="From the address the broker sent you to.",
    )


@admin.register(FeedAccount)
class FeedAccountAdmin(ConsoleAdmin):
    """Sources of the platform's quotes, and today's login at each."""

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
        """Until when today's login is valid."""
        if not sealed_credentials.is_readable(feed):
            return "cannot be read: enter key and secret again, then log in"
        expires = feed.token_expires_at
        if not feed.access_token or expires is None or expires <= clock.now():
            return "not logged in"
        return f"until {moment_text(expires, year=False)}"

    @admin.display(description="Last price")
    def last_price(self, feed: FeedAccount) -> str:
        """The exchange's time of the last price, and why there has been none since."""
        at = moment_text(feed.quote_at, seconds=True, year=False) if feed.quote_at else "none yet"
        return f"{at}; {feed.problem}" if feed.problem else at

    def save_model(
        self,
        request: HttpRequest,
        obj: FeedAccount,
        form: Any,
        change: bool,
    ) -> None:
        """Save through the service, which encrypts the credentials."""
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
        """The URLs, with the step from our page to the broker's."""
        begin = self.admin_site.admin_view(self.begin_login)
        name = "brokers_feedaccount_begin_login"
        return [path("<path:object_id>/log-in/begin/", begin, name=name), *super().get_urls()]

    def begin_login(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the broker's login page, with a state that only this console session can use.

        A link instead of a form: our policy that forms may only post to ourselves would block the
        redirect.
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
        moving=True,  # the remaining life of the session
        template="admin/brokers/feedaccount/log_in.html",
    )
    def log_in(self, request: HttpRequest, feed: FeedAccount, data: dict[str, Any]) -> str:
        """Exchange a code that was copied by hand."""
        feeds.complete_feed_login(
            feed=feed, code=data["code"], actor=Actor.staff(request.user), now=clock.now()
        )
        return f"{feed} is logged in, {self.session(feed)}."

    def login_page(self, request: HttpRequest, feed: FeedAccount) -> dict[str, Any]:
        """The link of the button, and the broker's name for its code."""
        begin = reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk])
        return {
            "start": begin if is_enabled(feed.broker) else "",
            "broker": feed.get_broker_display(),
            "code_name": get_adapter(feed.broker).capabilities.login_code,
        }

    def where_to_log_in(self, request: HttpRequest, feed: FeedAccount) -> Sequence[str]:
        """What happens and what has to be registered for it; or why there is no login."""
        try:
            require_enabled(feed.broker)
        except DomainError as error:
            return (error.message,)
        broker = feed.get_broker_display()
        address = request.build_absolute_uri(reverse("broker-login-done"))
        return (
            f"Now: {self.session(feed)}.",
            f"The button leads to {broker}. After the login there {broker} sends you back here, "
            "and the login finishes automatically.",
            format_html(
                "For this, the application at {} must be registered with this redirect address: "
                '<code class="ql-code">{}</code>',
                broker,
                address,
            ),
        )
