"""Console pages of holds: place a hold in two steps, list them, lift one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldBooleanSwitchWidget

from brokers.models import BrokerAccount
from partners.admin.common import PartnerColumn, PartnerFilter
from partners.models import Customer
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    LargeTableMixin,
    ReadOnlyAdmin,
    action,
    confirmed,
    display,
)
from quantleap.core.admin_columns import NONE, link_to
from quantleap.core.audit import Actor
from quantleap.core.confirmation import CHANGED, Answer, FiguresPage
from quantleap.core.counts import counted
from quantleap.core.errors import DomainError
from quantleap.core.identifiers import ascii_lower, ascii_upper
from quantleap.core.large_lists import begins, through
from subscriptions import services
from subscriptions.models import Hold, Subscription
from subscriptions.services.holds import NOTE_LENGTH, live_under

_WHAT: Final = (
    "The id of a subscription (sub_…) or of a customer (usr_…), or a broker account: zebu ZEBU123."
)


@dataclass(frozen=True, slots=True)
class Target:
    """The row that a hold covers."""

    scope: str
    row: Any

    @property
    def hold(self) -> Hold:
        return Hold(scope=self.scope, **{ascii_lower(self.scope): self.row})


def find_target(words: str) -> Target:
    """The target that staff typed. ValidationError if there is none, or several accounts."""
    words = words.strip()
    if "\0" not in words and words:
        if words.startswith("sub_"):
            target: Any = Subscription.objects.filter(public_id=words).first()
            if target is not None:
                return Target(Hold.Scope.SUBSCRIPTION, target)
        if words.startswith("usr_"):
            target = Customer.objects.filter(public_id=words).first()
            if target is not None:
                return Target(Hold.Scope.CUSTOMER, target)
        broker, _, client_id = words.partition(" ")
        accounts = BrokerAccount.objects.exclude(status=BrokerAccount.Status.REMOVED).filter(
            broker=ascii_lower(broker), client_id=ascii_upper(client_id.strip())
        )
        rows = list(accounts[:2])
        if len(rows) > 1:
            raise forms.ValidationError(
                "This broker account is connected by several customers: hold each of them."
            )
        if rows:
            return Target(Hold.Scope.ACCOUNT, rows[0])
    raise forms.ValidationError("Nothing is known by this name.")


class PlaceForm(ConfirmForm):
    """Target and reason of a new hold."""

    target = forms.CharField(max_length=100, label="What to hold", help_text=_WHAT)
    note = forms.CharField(
        max_length=NOTE_LENGTH, label="Reason", help_text="The customer and the partner read it."
    )
    exit_now = forms.BooleanField(
        required=False, label="Exit open positions now", widget=UnfoldBooleanSwitchWidget
    )

    hold_target: Target

    def clean_target(self) -> str:
        """The text as typed; sets ``hold_target``."""
        words: str = self.cleaned_data["target"]
        self.hold_target = find_target(words)
        return words


class LiftForm(ConfirmForm):
    """The reason for lifting."""

    note = forms.CharField(max_length=NOTE_LENGTH, label="Reason")


class OpenFilter(admin.SimpleListFilter):
    """Open or lifted."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return (("open", "Holds"), ("lifted", "Lifted"))

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("open", "lifted"):
            return queryset.filter(Q(lifted_at__isnull=self.value() == "open"))
        return queryset


@admin.register(Hold)
class HoldAdmin(FiguresPage, PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """All holds ever placed. Staff may place one and lift one."""

    empty_title = "Nobody is held"
    empty_text = "A hold keeps a subscription, a customer or a broker account from trading."
    add_label = "Place a hold"
    list_display = (
        "public_id",
        "what",
        "holder",
        "state",
        "note",
        "placed_at",
        "placed_by",
        "partner_name",
        "environment",
    )
    list_filter = (OpenFilter, "scope", "holder", PartnerFilter, "environment")
    searches = (
        begins("public_id", "the beginning of a hold's id"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("subscription", "customer", "account")
    ordering = ("-id",)
    fields = (
        ("public_id", "state"),
        ("scope", "what"),
        ("holder", "note"),
        ("placed_at", "placed_by"),
        ("lifted_at", "lifted_by", "lift_note"),
        ("partner_name", "environment"),
    )
    readonly_fields = ("public_id", "state", "what", "placed_at", "partner_name", "environment")
    actions_list = ("place",)
    actions_detail = ("lift",)

    @display(description="What")
    def what(self, hold: Hold) -> SafeString | str:
        """Link to the target."""
        target = hold.subscription or hold.customer or hold.account
        if target is None and hold.partner_id is not None:
            page = reverse("admin:partners_partner_change", args=[hold.partner_id])
            return format_html('<a class="ql-link" href="{}">{}</a>', page, self.partner_name(hold))
        return link_to(target) if target is not None else NONE

    @display(description="State", label={"Holds": "warning", "Lifted": "success"})
    def state(self, hold: Hold) -> str:
        return "Lifted" if hold.lifted_at else "Holds"

    # -- placing -------------------------------------------------------------------------------
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("subscriptions.add_hold")

    @action(description="Place a hold", permissions=["add"], url_path="place", icon="front_hand")
    def place(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the form."""
        return HttpResponseRedirect(reverse("admin:subscriptions_hold_add"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Hide the plus: the button "Place a hold" says what it does."""
        answer: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), "has_add_permission": False}
        )
        return answer

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The form, then a confirmation with the number of subscriptions that the hold reaches."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            form = PlaceForm(initial={"target": request.GET.get("target", "")[:100]})
            return self._page(request, form)
        form = PlaceForm(request.POST)
        if not form.is_valid():
            return self._page(request, form, status=400)
        figures = self._figures(form)
        answer = self.answered(request, figures)
        if answer is Answer.CHANGE:
            return self._page(request, form)
        if answer is Answer.ASK:
            return self._page(request, form, figures=figures)
        if answer is Answer.CHANGED:
            return self._page(request, form, figures=figures, errors=[CHANGED], status=409)
        try:
            result = services.place_hold(
                scope=form.hold_target.scope,
                target_id=form.hold_target.row.pk,
                holder=Hold.Holder.ADMIN,
                note=form.cleaned_data["note"],
                actor=Actor.staff(request.user),
                now=clock.now(),
                exit_now=form.cleaned_data["exit_now"],
            )
        except DomainError as error:
            return self._page(request, form, errors=form.refuse(error), status=error.status)
        messages.success(request, _outcome(result, "is placed", "was there before"))
        page = reverse("admin:subscriptions_hold_change", args=[result.hold.pk])
        return HttpResponseRedirect(page)

    def _figures(self, form: PlaceForm) -> list[tuple[str, str]]:
        live = live_under(form.hold_target.hold)
        scope = str(Hold.Scope(form.hold_target.scope).label)
        active = live.filter(status=Subscription.Status.ACTIVE).count()
        paused = live.filter(status=Subscription.Status.PAUSED).count()
        return [
            (scope, str(form.hold_target.row)),
            ("Active subscriptions that it reaches", str(active)),
            ("Paused ones", str(paused)),
            ("Reason", form.cleaned_data["note"]),
            (
                "Open positions",
                "exit now" if form.cleaned_data["exit_now"] else "run to their exit",
            ),
        ]

    def _page(self, request: HttpRequest, form: PlaceForm, **options: Any) -> HttpResponse:
        return self.figures_page(
            request,
            form,
            title="Place a hold",
            button="Hold",
            danger=bool(options.get("figures")),
            sentences=(
                "Nothing under it enters any more until staff lift the hold; what is armed is "
                "withdrawn.",
                "A new subscription under it is refused, and no period that begins is billed.",
            ),
            again_words="This is what the hold reaches. Place it?",
            back=reverse("admin:subscriptions_hold_changelist"),
            **options,
        )

    # -- lifting -------------------------------------------------------------------------------
    def what_lifting_does(self, request: HttpRequest, hold: Hold) -> Sequence[str]:
        if hold.lifted_at:
            return ("It is lifted already.",)
        count = live_under(hold).filter(status=Subscription.Status.PAUSED).count()
        trades = counted(count, "paused subscription trades", "paused subscriptions trade")
        return (
            f"{trades} from the next entry on, where nobody else holds.",
            "Billing begins again with the next period, from today where the paid one is over.",
        )

    @confirmed(
        description="Lift",
        explain="what_lifting_does",
        permission="act",
        form=LiftForm,
        icon="lock_open",
    )
    def lift(self, request: HttpRequest, hold: Hold, data: dict[str, Any]) -> str:
        """Lift a hold that staff placed."""
        result = services.lift_hold(
            hold_id=hold.pk,
            who=Hold.Holder.ADMIN,
            note=data["note"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return _outcome(result, "is lifted", "was lifted before")


def _outcome(result: services.HoldResult, done: str, before: str) -> str:
    name = result.hold.public_id
    if not result.changed:
        return f"{name} {before}."
    words = f"{name} {done}: {counted(result.subscriptions, 'subscription')} changed."
    if not result.next_entry_affected:
        words += " An entry that was already committed still goes out."
    return words
