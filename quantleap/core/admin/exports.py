"""A list as a file: its rows under its filters and its search, as CSV for a spreadsheet."""

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
from quantleap.core.admin.frame import action
from quantleap.core.admin.junk import NoSuchList
from quantleap.core.audit import Actor
from quantleap.core.largelists import SizedListMixin

if TYPE_CHECKING:
    _List = SizedListMixin
else:
    _List = object

#: More rows than that in one file are refused, in words: it is made in memory.
MOST_EXPORTED: Final = 20_000
#: What a spreadsheet takes for a formula at the beginning of a text (OWASP, CSV Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class ExportsList(_List):
    """For pages of lists: a button *CSV*, for whoever has the model's right ``export_<model>``.

    ``export_columns`` are the headers and what each row says below them. What leaves is in the
    audit: who, which filters, how many rows.
    """

    export_columns: ClassVar[Sequence[tuple[str, Callable[[Any], object]]]] = ()

    def has_export_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A right of its own: a file of everybody's money is more than a look at a page."""
        name = f"{self.opts.app_label}.export_{self.opts.model_name}"
        return request.user.has_perm(name) and self.has_view_permission(request)

    def export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with all that the columns read, in a constant number of queries."""
        return rows

    @action(description="CSV", permissions=["export"], url_path="export", icon="download")
    def export(self, request: HttpRequest) -> HttpResponse:
        """All rows of the list as its address filters it, in its order."""
        try:
            listed: Any = self.get_changelist_instance(request)
        except NoSuchList:  # the list says so itself
            query = request.GET.urlencode()
            return HttpResponseRedirect(f"{_address(self, 'changelist')}?{query}")
        rows = list(self.export_rows(listed.queryset)[: MOST_EXPORTED + 1])
        if len(rows) > MOST_EXPORTED or listed.found_more:
            back = f"{_address(self, 'changelist')}{listed.get_query_string()}"
            words = f"These are more than one file takes ({MOST_EXPORTED:,} rows): filter the list."
            messages.error(request, words)
            return HttpResponseRedirect(back)
        audit.record(
            actor=Actor.staff(request.user),
            action="list.exported",
            target_type=str(self.opts.model_name),
            target_id="",
            # what was searched for may be somebody's address
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
        """The list; its button takes along what the list is filtered by."""
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
    """With a byte order mark: a spreadsheet would take UTF-8 without one for its own code page."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([header for header, _ in columns])
    writer.writerows([[_cell(read(row)) for _, read in columns] for row in rows])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: object) -> object:
    """Texts that a spreadsheet would calculate begin with an apostrophe; numbers stay numbers."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
