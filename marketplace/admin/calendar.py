"""The trading calendar: read-only lists, and changes that need a source and a preview.

A form takes the change, a preview shows its effect on published strategies, entries and listed
expiries, and only the preview's button changes anything. The service refuses a change that differs
from the one shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from marketplace.admin.square_offs import square_off_panel
from marketplace.calendar_changes import (
    DATE_SHAPES,
    MAX_DESCRIPTION,
    MAX_SOURCE,
    CalendarMistake,
    Row,
    Table,
    check_source,
    read_list,
    with_row,
    with_year,
    without_row,
)
from marketplace.models import CalendarYear, Holiday, SessionHours, SpecialSession
from marketplace.selectors import load_calendar
from marketplace.selectors.calendar import effects_of
from marketplace.services.calendar import Edit, Proposal, change_calendar, propose
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, ConsoleAdmin
from quantleap.core.audit import Actor
from quantleap.core.dates import moment_text
from quantleap.core.errors import DomainError

FIRST_YEAR: Final = 2020
LAST_YEAR: Final = 2099
#: Lines of the box, about as many as a year's list has.
HOLIDAYS_IN_A_YEAR: Final = 16
NSE_LIST: Final = "https://www.nseindia.com/resources/exchange-communication-holidays"


# -- forms --------------------------------------------------------------------------------------


class SourceForm(ConfirmForm):
    """The source: every change has one that can be looked up."""

    source = forms.CharField(
        max_length=MAX_SOURCE,
        label="Source",
        help_text="Address of the circular, or its number and date: NSE/FAOP/72262 of 12 Jan 2026.",
    )

    def clean_source(self) -> str:
        """The source, if it can be looked up."""
        text: str = self.cleaned_data["source"]
        try:
            check_source(text)
        except CalendarMistake as error:
            raise forms.ValidationError(str(error)) from error
        return text.strip()


def _date_field(label: str) -> forms.DateField:
    return forms.DateField(label=label, widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}))


def _time_field(label: str) -> forms.TimeField:
    return forms.TimeField(
        label=f"{label} (IST)", widget=UnfoldAdminTextInputWidget(attrs={"type": "time"})
    )


class RowForm(SourceForm):
    """One dated row."""

    table: Table
    day = _date_field("Date")
    field_order = ("day", "opens", "closes", "description", "source")

    def row(self) -> Row:
        """The typed row."""
        data = self.cleaned_data
        return Row(
            self.table,
            data["day"],
            data["source"],
            data.get("description", ""),
            data.get("opens"),
            data.get("closes"),
        )


class HolidayForm(RowForm):
    """A weekday on which the segment is closed."""

    table = Table.HOLIDAY
    description = forms.CharField(max_length=MAX_DESCRIPTION, label="Holiday")


class SpecialSessionForm(RowForm):
    """A session on a day that is otherwise closed."""

    table = Table.SPECIAL
    opens = _time_field("Opens")
    closes = _time_field("Closes")
    description = forms.CharField(
        max_length=MAX_DESCRIPTION, label="Description", help_text="Such as Muhurat trading."
    )


class SessionHoursForm(RowForm):
    """Ordinary hours from a day on."""

    table = Table.HOURS
    day = _date_field("From")
    opens = _time_field("Opens")
    closes = _time_field("Closes")


class YearForm(SourceForm):
    """The holidays of a year, as the exchange lists them."""

    year = forms.IntegerField(
        min_value=FIRST_YEAR,
        max_value=LAST_YEAR,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )
    holidays = forms.CharField(
        label="Holidays, one per line",
        widget=forms.Textarea,
        help_text="A date and a name: 26-Jan-2027 Republic Day. Lines copied from the exchange's "
        f"table work too; weekends are skipped. Dates may be written as {DATE_SHAPES}, not in "
        "numbers with slashes. Special sessions have a page of their own.",
    )
    field_order = ("year", "source", "holidays")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["holidays"].widget.attrs["rows"] = HOLIDAYS_IN_A_YEAR

    def clean(self) -> dict[str, Any]:
        """Read the lines, once the year is known."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if {"year", "source", "holidays"} <= data.keys():
            try:
                self.rows, self.weekends = read_list(data["holidays"], data["year"], data["source"])
            except CalendarMistake as error:
                self.add_error("holidays", str(error))
        return data


# -- pages --------------------------------------------------------------------------------------


class CalendarPage(ConsoleAdmin):
    """Adds, changes and removes rows through a preview and the service."""

    row_form: type[SourceForm]
    noun: str
    hint: tuple[str, ...] = ()
    actions = None  # no deletion by checkboxes in a list

    # -- for subclasses ------------------------------------------------------------------------
    def starting(self, obj: Any, request: HttpRequest) -> Mapping[str, Any]:
        """The form's initial values."""
        if obj is None:
            return {}
        row = self.row_of(obj)
        return {
            "day": row.day,
            "opens": row.opens and f"{row.opens:%H:%M}",
            "closes": row.closes and f"{row.closes:%H:%M}",
            "description": row.description,
            "source": row.source,
        }

    def row_of(self, obj: Any) -> Row:
        """The stored row as a plain value."""
        raise NotImplementedError

    def edit(self, form: Any, obj: Any) -> Edit:
        """The change that the form asks for."""
        row: Row = form.row()
        old = self.row_of(obj).key if obj else None
        return lambda rows: with_row(rows, row, instead_of=old)

    def notes(self, form: Any) -> list[str]:
        """Further remarks about the form for the preview."""
        return []

    # -- views -------------------------------------------------------------------------------
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user has the model's right; a removal has its own preview."""
        options = self.opts
        return request.user.has_perm(f"{options.app_label}.delete_{options.model_name}")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Form, preview, change; users who may only view see the row."""
        obj = self._existing(request, object_id)
        allowed = (
            self.has_add_permission(request)
            if obj is None
            else self.has_change_permission(request, obj)
        )
        if not allowed:
            if obj is None or request.method == "POST" or not self.has_view_permission(request):
                raise PermissionDenied
            return super().changeform_view(request, object_id, form_url, extra_context)
        title = f"Change {self.noun}: {obj}" if obj else f"Add {self.noun}"
        return self._ask(request, self.row_form, obj, title, lambda form: self.edit(form, obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Remove a row: ask for the source, show the effect, then delete."""
        obj = self._existing(request, object_id)
        if obj is None or not self.has_delete_permission(request, obj):
            raise PermissionDenied
        key = self.row_of(obj).key
        return self._ask(
            request,
            SourceForm,
            obj,
            f"Remove {self.noun}: {obj}",
            lambda form: lambda rows: without_row(rows, key),
            removal=True,
        )

    def _existing(self, request: HttpRequest, object_id: str | None) -> Any:
        if object_id is None:
            return None
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404
        return obj

    def _ask(
        self,
        request: HttpRequest,
        form_class: type[SourceForm],
        obj: Any,
        title: str,
        edit_of: Any,
        *,
        removal: bool = False,
    ) -> HttpResponse:
        """One step: the form, the preview of its change, or the change itself."""
        posted = request.method == "POST"
        start = {} if removal else self.starting(obj, request)
        form = form_class(request.POST) if posted else form_class(initial=dict(start))
        shown = self._frame(request, obj, title, form, removal=removal)
        if not posted or request.POST.get("step") == "edit":
            return TemplateResponse(request, FORM, shown)
        if not form.is_valid():
            return TemplateResponse(request, FORM, shown, status=400)
        edit, because = edit_of(form), form.cleaned_data["source"]
        try:
            if request.POST.get("step") == "do":
                diff = change_calendar(
                    edit=edit,
                    because=because,
                    seen=request.POST.get("seen", ""),
                    actor=Actor.staff(request.user),
                    now=clock.now(),
                )
                what = "; ".join(f"{c.row.table.value} {c.row} {c.verb}" for c in diff.changes[:3])
                more = len(diff.changes) - 3
                messages.success(request, what + (f"; and {more} more." if more > 0 else "."))
                return HttpResponseRedirect(self._list())
            return self._preview(request, propose(edit, because=because), shown)
        except DomainError as error:
            return self._refused(request, error, edit, shown)

    def _refused(
        self, request: HttpRequest, error: DomainError, edit: Edit, shown: dict[str, Any]
    ) -> HttpResponse:
        """Show an error beside its field if it has one; if the calendar has moved, show the new
        preview."""
        form: SourceForm = shown["form"]
        if error.code == "calendar_moved":
            shown["errors"] = [error.message]
            try:
                proposal = propose(edit, because=form.cleaned_data["source"])
            except DomainError as second:
                error = second
            else:
                return self._preview(request, proposal, shown, status=error.status)
        for field, words in error.details.items():
            form.add_error(field if field in form.fields else None, words)
        shown["errors"] = [] if error.details else [error.message]
        shown["errors"] += [str(words) for words in form.non_field_errors()]
        return TemplateResponse(request, FORM, shown, status=error.status)

    def _preview(
        self, request: HttpRequest, proposal: Proposal, shown: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        form: SourceForm = shown["form"]
        shown |= {
            "changes": proposal.comparison.changes,
            "counts": [
                (verb, proposal.comparison.count(verb)) for verb in ("added", "changed", "removed")
            ],
            "effects": effects_of(
                proposal.before, proposal.after, proposal.comparison, now=clock.now()
            ),
            "notes": self.notes(form),
            "seen": proposal.seen,
            "typed": [(name, form.data.get(name, "")) for name in form.fields],
        }
        return TemplateResponse(request, PREVIEW, shown, status=status)

    def _frame(
        self, request: HttpRequest, obj: Any, title: str, form: SourceForm, *, removal: bool
    ) -> dict[str, Any]:
        remove = ""
        if obj is not None and not removal and self.has_delete_permission(request, obj):
            remove = reverse(self._name("delete"), args=[obj.pk])
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": title,
            "noun": self.noun,
            "description": "Show what changes",
            "sentences": () if removal else self.hint,
            "form": form,
            "errors": [],
            "remove": remove,
            "removal": removal,
            "back": self._list(),
        }

    def _name(self, kind: str) -> str:
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{kind}"

    def _list(self) -> str:
        return reverse(self._name("changelist"))

    # -- columns -----------------------------------------------------------------------------
    @admin.display(description="Source", ordering="source")
    def where(self, obj: Any) -> SafeString | str:
        """The source; an address becomes a link."""
        text: str = obj.source
        if text.startswith(("https://", "http://")):
            return format_html('<a class="ql-link" rel="noreferrer" href="{}">{}</a>', text, text)
        return text

    def weekday_of(self, day: dt.date) -> str:
        """The day's name."""
        return f"{day:%A}"


FORM: Final = "admin/marketplace/calendar/form.html"
PREVIEW: Final = "admin/marketplace/calendar/preview.html"


@admin.register(Holiday)
class HolidayAdmin(CalendarPage):
    """Weekdays on which the segment is closed."""

    row_form = HolidayForm
    noun = "holiday"
    hint = (
        "For a closure that was declared at short notice. The list of a whole year is loaded "
        "under Calendar years.",
    )
    list_display = ("date", "weekday", "description", "where")
    date_hierarchy = "date"
    search_fields = ("description", "source")

    @admin.display(description="Weekday", ordering="date")
    def weekday(self, holiday: Holiday) -> str:
        """The day's name."""
        return self.weekday_of(holiday.date)

    def row_of(self, obj: Holiday) -> Row:
        """The stored holiday."""
        return Row(Table.HOLIDAY, obj.date, obj.source, obj.description)


@admin.register(SpecialSession)
class SpecialSessionAdmin(CalendarPage):
    """Sessions outside the ordinary week."""

    row_form = SpecialSessionForm
    noun = "special session"
    hint = (
        "A session on a weekend or a holiday. Only strategies that opted in to special sessions "
        "enter, and only where entry and exit lie inside its hours.",
    )
    list_display = ("date", "weekday", "opens_at", "closes_at", "description", "where")
    search_fields = ("description", "source")

    @admin.display(description="Weekday", ordering="date")
    def weekday(self, session: SpecialSession) -> str:
        """The day's name."""
        return self.weekday_of(session.date)

    def row_of(self, obj: SpecialSession) -> Row:
        """The stored session."""
        return Row(
            Table.SPECIAL, obj.date, obj.source, obj.description, obj.opens_at, obj.closes_at
        )


@admin.register(SessionHours)
class SessionHoursAdmin(CalendarPage):
    """Ordinary hours by date."""

    row_form = SessionHoursForm
    noun = "session hours"
    hint = (
        "They apply from that day until the next row. Entries and exits outside them are missed.",
    )
    list_display = ("effective_from", "opens_at", "closes_at", "where")
    list_after_template = "admin/marketplace/square_offs.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """The list, with the brokers' own cut-offs below: the earliest of all is the limit for
        exits."""
        panel = square_off_panel(load_calendar(), clock.ist_date(clock.now()))
        return super().changelist_view(request, {**(extra_context or {}), "square_offs": panel})

    def row_of(self, obj: SessionHours) -> Row:
        """The stored hours."""
        return Row(
            Table.HOURS, obj.effective_from, obj.source, opens=obj.opens_at, closes=obj.closes_at
        )


@admin.register(CalendarYear)
class CalendarYearAdmin(CalendarPage):
    """Years whose holidays are known; any other year is closed."""

    row_form = YearForm
    noun = "year"
    hint = (
        format_html(
            "NSE publishes the list of the coming year in December, on its page "
            '<a class="ql-link" rel="noreferrer" target="_blank" href="{}">Holidays</a>. Until a '
            "year is loaded, all of it is closed and nothing trades.",
            NSE_LIST,
        ),
    )
    list_display = ("year", "where", "loaded_at", "edited")

    @admin.display(description="Edited here")
    def edited(self, year: CalendarYear) -> str:
        """When and by whom the year was edited since it was loaded."""
        if year.edited_at is None:
            return "–"
        return f"{moment_text(year.edited_at)} by {year.edited_by}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: a loaded year stays. Holidays are the way to close days."""
        return False

    def starting(self, obj: CalendarYear | None, request: HttpRequest) -> Mapping[str, Any]:
        """The missing year, or the current list."""
        if obj is None:
            asked = request.GET.get("year", "")
            year = int(asked) if asked.isascii() and asked.isdigit() and len(asked) == 4 else None
            return {"year": year or clock.ist_date(clock.now()).year + 1}
        holidays = Holiday.objects.filter(date__year=obj.year).order_by("date")
        lines = [f"{holiday.date} {holiday.description}" for holiday in holidays]
        return {"year": obj.year, "source": obj.source, "holidays": "\n".join(lines)}

    def row_of(self, obj: CalendarYear) -> Row:
        """The stored year."""
        return Row(Table.YEAR, dt.date(obj.year, 1, 1), obj.source)

    def edit(self, form: Any, obj: CalendarYear | None) -> Edit:
        """The edit that replaces the year's list."""
        data = form.cleaned_data
        return lambda rows: with_year(rows, data["year"], data["source"], form.rows)

    def notes(self, form: Any) -> list[str]:
        """The lines that were skipped."""
        return [f"Skipped, a weekend: {line}." for line in form.weekends]
