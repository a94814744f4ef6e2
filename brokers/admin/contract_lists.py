"""Brokers' names for contracts, and the daily lists from which they come."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldBooleanSwitchWidget

from brokers.contract_lists import list_name, list_states, offered_lists, progress_of, wanted_lists
from brokers.models import (
    BrokerInstrument,
    ContractListImport,
)
from brokers.services.contract_lists import request_imports
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    LargeTableMixin,
    ReadOnlyAdmin,
    action,
    display,
)
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.errors import DomainError
from quantleap.core.identifiers import ascii_upper
from quantleap.core.large_lists import Condition, Search, exactly, one_of

#: Seconds after which the page of contract lists reloads while one is being fetched.
LOOK_AGAIN_SECONDS: Final = 3
IMPORT_PAGE: Final = "admin/brokers/contractlistimport/import.html"
#: Derivatives of NSE and BSE, by the brokers' names.
_EXCHANGES: Final = one_of("exchange", "exchange", lambda: [("NFO", "NFO"), ("BFO", "BFO")])


@admin.register(BrokerInstrument)
class BrokerInstrumentAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Brokers' names for contracts; filled by import_instruments."""

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


class ImportForm(ConfirmForm):
    """The lists to fetch now."""

    lists = forms.MultipleChoiceField(
        label="Lists",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose one."},
    )
    force = forms.BooleanField(
        required=False,
        label="Accept a list much shorter than the last one",
        help_text="Only if you know why it is shorter: missing contracts cannot be traded.",
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
    """Contract lists by day: fetched before the open, retried, or requested here."""

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
        """Whether the user may request an import."""
        return request.user.has_perm("brokers.add_contractlistimport")

    @action(description="Import now", permissions=["add"], url_path="import-now", icon="download")
    def import_now(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the page that asks for the lists."""
        return HttpResponseRedirect(reverse("admin:brokers_contractlistimport_add"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list; it reloads while an import waits or runs."""
        # the button Import now says what it does; a plus sign would not
        shown = {**(extra_context or {}), "has_add_permission": False}
        answer: HttpResponse = super().changelist_view(request, shown)
        if answer.status_code == HTTPStatus.OK and any(state.is_open for state in list_states()):
            answer.headers["Refresh"] = str(LOOK_AGAIN_SECONDS)
        return answer

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Choose lists; creates one row for each, which a worker takes within seconds."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        posted = request.method == "POST"
        form = ImportForm(request.POST) if posted else ImportForm()
        errors: list[str] = []
        status = 200
        if posted and form.is_valid():
            try:
                return self._request_imports(request, form.cleaned_data)
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

    def _request_imports(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
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
            else "It is already being fetched.",
        )
        return HttpResponseRedirect(reverse("admin:brokers_contractlistimport_changelist"))

    @display(
        description="State",
        ordering="state",
        label={"Waiting": "info", "Running": "info", "Done": "success", "Failed": "danger"},
    )
    def shown_state(self, row: ContractListImport) -> str:
        """The state, with a colour."""
        return row.get_state_display()

    @admin.display(description="What it did")
    def outcome(self, row: ContractListImport) -> str:
        """The counts, the reason of a failure, or the progress."""
        if row.state == ContractListImport.State.RUNNING:
            return progress_of(row.pk) or "under way"
        return row.report or row.problem or "–"

    @admin.display(description="Asked by")
    def who(self, row: ContractListImport) -> str:
        """The requester: beat, or a person."""
        return "schedule" if row.asked_by == SYSTEM.id else row.asked_by
