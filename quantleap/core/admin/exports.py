"""Export of a console list as CSV for a spreadsheet, with the list's filters and search."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from quantleap.core import audit, clock
from quantleap.core.admin.base import action
from quantleap.core.admin.malformed_requests import NoSuchList
from quantleap.core.audit import Actor
from quantleap.core.large_lists import SizedListMixin

if TYPE_CHECKING:
    _List = SizedListMixin
else:
    _List = object

#: Larger lists are refused with a message, because the file is built in memory.
MOST_EXPORTED: Final = 20_000
#: Characters that make a spreadsheet treat a text as a formula (OWASP, CSV Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class ExportsList(_List):
    """Adds a button *CSV* to a list page, for users with the model's right ``export_<model>``.

    ``export_columns`` maps each header to the function that returns a row's value. The audit log
    records who exported how many rows with which filters.
    """

    export_columns: ClassVar[Sequence[tuple[str, Callable[[Any], object]]]] = ()

    def has_export_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user has the export right: a file of all rows is more than a look at one
        page."""
        name = f"{self.opts.app_label}.export_{self.opts.model_name}"
        return request.user.has_perm(name) and self.has_view_permission(request)

    def export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with everything that the columns read, in a constant number of queries."""
        return rows

    @action(description="CSV", permissions=["export"], url_path="export", icon="download")
    def export(self, request: HttpRequest) -> HttpResponse:
        """All rows of the list under the filters in its address, in its order, as a CSV file."""
        try:
            listed: Any = self.get_changelist_instance(request)
        except NoSuchList:  # the list page shows the message itself
            query = request.GET.urlencode()
            return HttpResponseRedirect(f"{_address(self, 'changelist')}?{query}")
        rows = list(self.export_rows(listed.queryset)[: MOST_EXPORTED + 1])
        if len(rows) > MOST_EXPORTED or listed.found_more:
            list_address = f"{_address(self, 'changelist')}{listed.get_query_string()}"
            words = f"One file holds at most {MOST_EXPORTED:,} rows: filter the list."
            messages.error(request, words)
            return HttpResponseRedirect(list_address)
        audit.record(
            actor=Actor.staff(request.user),
            action="list.exported",
            target_type=str(self.opts.model_name),
            target_id="",
            # a search term may be somebody's address
            data={
                "filters": {name: text for name, text in request.GET.items() if name != "q"},
                "searched": bool(listed.query),
                "rows": len(rows),
            },
        )
        day = clock.ist_date(clock.now()).isoformat()
        name = str(self.opts.verbose_name_plural).replace(" ", "-")
        return HttpResponse(
            _written(self.export_columns, rows),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{name}-{day}.csv"',
                "Cache-Control": "no-store",
            },
        )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list page; its CSV button keeps the filters of the list."""
        answer: Any = super().changelist_view(request, extra_context)
        shown: dict[str, Any] = getattr(answer, "context_data", None) or {}
        own = _address(self, "export")
        for button in shown.get("actions_list", ()):
            if button.get("path") == own:
                button["path"] += shown["cl"].get_query_string(remove=["p"])
        return answer  # type: ignore[no-any-return]  # unfold's


def _address(page: Any, kind: str) -> str:
    options = page.opts
    return reverse(f"admin:{options.app_label}_{options.model_name}_{kind}")


def _written(columns: Sequence[tuple[str, Callable[[Any], object]]], rows: Sequence[Any]) -> bytes:
    """The CSV file, with a byte order mark: without one, spreadsheets do not read it as UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([header for header, _ in columns])
    writer.writerows([[_cell(read(row)) for _, read in columns] for row in rows])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: object) -> object:
    """The value of a cell; a text that a spreadsheet would calculate gets an apostrophe in
    front."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
