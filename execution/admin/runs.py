"""Console pages of runs: the list, and the live page of one run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter

from execution import run_report
from execution.admin.common import KillButtonMixin, Page, chosen, kill_context, wide
from execution.attention import asked, matters, newest_of_each, unanswered
from execution.descriptions import explain
from execution.formatting import TONE_COLOURS, to_ms, to_result
from execution.models import Execution, OrderIntent, Run
from execution.run_state import WAYS_OUT, RunCounts, RunState
from execution.selectors import scorecard
from marketplace.models import Template
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, display
from quantleap.core.large_lists import begins, first_keys, through

#: How many matters that need a person are shown above the scorecard.
MOST_URGENT: Final = 5


def _template_keys(term: str) -> Iterable[int]:
    return first_keys(Template.objects.filter(name__icontains=term))


@admin.register(Run)
class RunAdmin(KillButtonMixin, LargeTableMixin, ReadOnlyAdmin):
    """All runs of all days, newest day first."""

    list_display = (
        "day",
        "entry",
        "strategy",
        "template",
        "status_label",
        "entered",
        "trouble",
        "pnl",
        "why",
    )
    list_filter = (
        ("trade_date", RangeDateFilter),
        "status",
        ("template", AutocompleteSelectFilter),
    )
    searches = (
        begins("public_id", "the beginning of a run's id"),
        through("template_id", _template_keys, "any part of its template's name"),
    )
    list_select_related = ("template", "version")
    ordering = ("-trade_date", "-entry_at", "-id")
    list_per_page = 25  # figures are counted over all executions of each run

    # -- list ------------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list with its figures, read together for all runs of the page."""
        changelist = super().get_changelist_instance(request)
        counts = run_report.run_counts([run.pk for run in changelist.result_list])
        now = clock.now()
        for run in changelist.result_list:
            run.counts = counts[run.pk]
            run.state = run_report.state_of(run, run.counts, now)
        return changelist

    @admin.display(description="Day", ordering="trade_date")
    def day(self, run: Run) -> str:
        """The trade date, or "Today"."""
        today = run.trade_date == clock.ist_date(clock.now())
        return "Today" if today else f"{run.trade_date:%a %d %b %Y}"

    @admin.display(description="Entry (IST)", ordering="entry_at")
    def entry(self, run: Run) -> str:
        """The entry time, IST."""
        return f"{clock.to_ist(run.entry_at):%H:%M:%S}"

    @admin.display(description="Strategy")
    def strategy(self, run: Run) -> str:
        """The strategy's name in the pinned version."""
        spec = run_report.strategy_of(run)
        return spec.name if spec else "?"

    @display(description="Status", ordering="status", label=TONE_COLOURS)
    def status_label(self, run: Run) -> tuple[str, str]:
        """The run's state as tone and label, with a colour."""
        state: RunState = run.state  # type: ignore[attr-defined]  # set with the page
        return state.tone, state.label

    @admin.display(description="Entered")
    def entered(self, run: Run) -> str:
        """How many of its executions have entered."""
        counts: RunCounts = run.counts  # type: ignore[attr-defined]  # set with the page
        return f"{counts.entered} of {counts.total}"

    @display(description="Trouble", label={"attention": "danger", "failed": "warning"})
    def trouble(self, run: Run) -> tuple[str, str] | None:
        """How many executions need a person, else how many did not enter."""
        counts: RunCounts = run.counts  # type: ignore[attr-defined]  # set with the page
        if counts.attention:
            return "attention", f"{counts.attention} to look at"
        return ("failed", f"{counts.failed} not entered") if counts.failed else None

    @admin.display(description="P&L (₹)")
    def pnl(self, run: Run) -> str:
        """Realised P&L over all executions, in rupees."""
        counts: RunCounts = run.counts  # type: ignore[attr-defined]  # set with the page
        return "-" if counts.pnl is None else to_result(counts.pnl)

    @admin.display(description="Why")
    def why(self, run: Run) -> str:
        """The most frequent cause of executions that did not enter, and the run's alarm."""
        state: RunState = run.state  # type: ignore[attr-defined]  # set with the page
        return wide(" ".join(filter(None, (state.alarm, explain(state.cause)))))

    # -- page ------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Runs joined with template and version, which every page shows."""
        runs: QuerySet[Run] = super().get_queryset(request)
        return runs.select_related("template", "version")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The run page, read-only."""
        run = self.get_object(request, object_id) if object_id else None
        if run is None:
            raise Http404
        if request.method != "GET" or not self.has_view_permission(request, run):
            raise PermissionDenied
        return self._page(request, run)

    def _page(self, request: HttpRequest, run: Run) -> HttpResponse:
        statuses, states = list(Execution.Status.values), list(OrderIntent.State.values)
        card = scorecard(run.pk)
        status = chosen(request, "status", statuses)
        cause = chosen(request, "cause", list(card.causes))
        state = chosen(request, "state", states)
        purpose = chosen(request, "purpose", list(OrderIntent.Purpose.values))
        strategy = run_report.strategy_of(run)
        counts = run_report.run_counts([run.pk])[run.pk]
        run_state = run_report.state_of(run, counts, clock.now())
        page, way_out = WAYS_OUT.get(run_state.cause, ("", ""))
        context = {
            **self.admin_site.each_context(request),
            **kill_context(run.template_id),
            "opts": self.opts,
            "original": run,
            "run": run,
            "state": run_state,
            "state_colour": TONE_COLOURS.get(run_state.tone, ""),
            "counts": counts,
            "way_out": {"url": reverse(page), "text": way_out} if page else None,
            "strategy": strategy,
            "title": f"{strategy.name if strategy else 'Run'}, {run.trade_date:%d %b %Y}",
            "now": clock.now(),
            "read_at": to_ms(clock.now()),
            "live": run.status not in Run.OVER,
            "card": card,
            "statuses": [
                (v, label, card.executions.get(v, 0)) for v, label in Execution.Status.choices
            ],
            "states": [(v, label, card.orders.get(v, 0)) for v, label in OrderIntent.State.choices],
            "lateness": [("First byte", card.first_byte), ("Answered", card.answered)],
            "causes": run_report.causes_in_words(card),
            "charts": run_report.charts(run.pk),
            "decided": run_report.decided(run),
            "may_act": request.user.has_perm("execution.change_alarm"),
            "may_settle_all": request.user.has_perm("execution.change_execution"),
            "matters": matters(list(newest_of_each(run_id=run.pk)[:MOST_URGENT])),
            "asked": asked(list(unanswered(run.pk)[:MOST_URGENT])),
            "executions": Page(
                request, run_report.run_executions(run.pk, status=status, cause=cause), "executions"
            ),
            "orders": Page(
                request, run_report.run_orders(run.pk, state=state, purpose=purpose), "orders"
            ),
            "chosen": {"status": status, "cause": cause, "state": state, "purpose": purpose},
            "status_choices": Execution.Status.choices,
            "state_choices": OrderIntent.State.choices,
            "purpose_choices": OrderIntent.Purpose.choices,
        }
        return TemplateResponse(request, "admin/execution/run/page.html", context)
