"""Console pages of executions and their orders, and of everything that needs a person."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from brokers.selectors import account_keys, customers_account_keys
from execution import run_report, services
from execution.admin.common import KillButtonMixin, Page, chosen, kill_context, wide
from execution.admin.settling import SettleForm, SettleMixin
from execution.alarm_lists import (
    STATES,
    alarm_rows,
    alarms_of,
    is_open,
    open_causes,
    open_in_words,
    with_attention,
)
from execution.attention import asked, matters, newest_of_each, unanswered
from execution.carried_executions import end_carried, is_carried
from execution.descriptions import CAUSES, brokers_words, explain
from execution.formatting import STATUS_COLOURS, to_ms, told_change
from execution.models import Alarm, Execution, OrderIntent, Run
from execution.price_changes import from_json
from execution.selectors import leg_summaries
from execution.tags import parse_tag
from quantleap.core import clock
from quantleap.core.admin import (
    LargeTableMixin,
    ReadOnlyAdmin,
    action,
    confirmed,
    display,
)
from quantleap.core.admin_columns import link_to, linked
from quantleap.core.audit import Actor
from quantleap.core.dates import day_text
from quantleap.core.identifiers import ascii_upper
from quantleap.core.large_lists import Condition, Search, begins, first_keys, one_of, through
from subscriptions.selectors import subscription_keys


class EndForm(SettleForm):
    """The note that ends an execution: what the broker's book shows. Stored in the audit log."""

    note = forms.CharField(
        label="What the broker's book says",
        max_length=500,
        widget=forms.Textarea,
        help_text="For example: squared off by the broker at 15:25, sold 65 at 41.20.",
    )


def _run_keys(term: str) -> Iterable[int]:
    return first_keys(Run.objects.filter(public_id__startswith=term))


class AttentionFilter(admin.SimpleListFilter):
    """Filters executions by whether one of their alarms is open."""

    title = "attention"
    parameter_name = "needs_attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The two choices."""
        return [("1", "An alarm is open"), ("0", "None is open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        """Executions with an open alarm, or without."""
        choice = self.value()
        if choice is None:
            return queryset
        alarmed = Q(pk__in=Execution.objects.filter(needs_attention=True))
        return queryset.filter(alarmed if choice == "1" else ~alarmed)


def _execution_keys(term: str) -> Iterable[int]:
    return first_keys(Execution.objects.filter(public_id__startswith=term))


def _tagged(term: str) -> Condition:
    """Search by a tag, for any of its sends, or by a code alone."""
    tag = parse_tag(ascii_upper(term))
    return Condition(Q(code=tag.code if tag else ascii_upper(term)))


@admin.register(Execution)
class ExecutionAdmin(SettleMixin, KillButtonMixin, LargeTableMixin, ReadOnlyAdmin):
    """Each subscriber's part in each run."""

    list_display = (
        "public_id",
        "day",
        "customer",
        linked("account"),
        "status_label",
        "attention",
        "why",
        "realised_pnl",
    )
    list_filter = (
        "status",
        AttentionFilter,
        "environment",
        ("subscription__customer", AutocompleteSelectFilter),
    )
    searches = (
        begins("public_id", "the beginning of an execution's id"),
        through("run_id", _run_keys, "of a run's"),
        through("subscription_id", subscription_keys, "of a subscription's"),
        through("account_id", account_keys, "of a client id"),
        through("account_id", customers_account_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("run", "subscription__customer", "account")
    ordering = ("-id",)
    actions_list = ("to_attention", "stop_entries")
    actions_detail = ("settle", "end")

    def get_urls(self) -> list[URLPattern]:
        """Add the attention list before the URLs of single executions."""
        attention = path(
            "attention/",
            self.admin_site.admin_view(self.attention_view),
            name="execution_execution_attention",
        )
        return [attention, *super().get_urls()]

    @action(
        description="Needs attention",
        url_path="to-attention",
        permissions=["view"],
        icon="priority_high",
    )
    def to_attention(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the attention list."""
        return HttpResponseRedirect(reverse("admin:execution_execution_attention"))

    # -- list ------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        """Executions annotated with ``attention``."""
        return with_attention(super().get_queryset(request))

    @admin.display(description="Day", ordering="run__trade_date")
    def day(self, execution: Execution) -> str:
        """The trade date of its run."""
        return day_text(execution.run.trade_date)

    @admin.display(description="Customer")
    def customer(self, execution: Execution) -> SafeString | str:
        """The customer, linked to their page."""
        return link_to(execution.subscription.customer)

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, execution: Execution) -> tuple[str, str]:
        """The status as key and label, with a colour."""
        return execution.status, execution.get_status_display()

    @display(description="Attention", label={"yes": "danger"})
    def attention(self, execution: Execution) -> tuple[str, str] | None:
        """A label if an alarm is open."""
        alarmed = getattr(execution, "attention", False)  # annotated by get_queryset
        return ("yes", "look at it") if alarmed else None

    @admin.display(description="Why")
    def why(self, execution: Execution) -> str:
        """The cause's sentence."""
        return wide(explain(execution.cause))

    # -- page ------------------------------------------------------------------------------------
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """One execution with all its orders; it is looked at, never edited."""
        execution = (
            Execution.objects.select_related(
                "run__template", "run__version", "subscription__customer", "allocation", "account"
            )
            .filter(pk=_number(object_id))
            .first()
        )
        if execution is None:
            raise Http404
        if request.method != "GET" or not self.has_view_permission(request, execution):
            raise PermissionDenied
        intents = list(execution.intents.order_by("id"))
        alarms = alarm_rows(alarms_of(execution.pk), intents)
        context = {
            **self.admin_site.each_context(request),
            **kill_context(execution.run.template_id),
            "opts": self.opts,
            "original": execution,
            "execution": execution,
            "run": execution.run,
            "strategy": run_report.strategy_of(execution.run),
            "title": f"{execution.public_id}",
            "read_at": to_ms(clock.now()),
            "live": execution.status not in Execution.TERMINAL,
            "legs": leg_summaries(intents),
            "intents": intents,
            "outside": _outside(execution, intents),
            "said": brokers_words(execution.cause, execution.message),
            "alarms": alarms,
            "attention": any(row.is_open for row in alarms),
            "may_act": request.user.has_perm("execution.change_alarm"),
            "may_settle": any(row.is_open for row in alarms)
            and self.has_act_permission(request, execution),
            "may_end": self.has_act_permission(request, execution)
            and is_carried(execution, clock.now()),
        }
        return TemplateResponse(request, "admin/execution/execution/page.html", context)

    def attention_view(self, request: HttpRequest) -> HttpResponse:
        """Everything that needs a person, of all days."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        causes = open_causes()
        state = chosen(request, "state", ["new", "acknowledged"])
        cause = chosen(request, "cause", [name for name, _ in causes])
        alarms = Page(request, newest_of_each(state=state, cause=cause), "alarms")
        narrowed = bool(state or cause)
        orders = None if narrowed else Page(request, unanswered(), "orders")
        context = {
            **self.admin_site.each_context(request),
            **kill_context(),
            "opts": self.opts,
            "title": "Needs attention",
            "read_at": to_ms(clock.now()),
            "live": True,
            "alarms": alarms,
            "matters": matters(alarms.rows, state=state, cause=cause),
            "orders": orders,
            "asked": asked(orders.rows) if orders else [],
            "count": "" if narrowed else open_in_words(sum(number for _, number in causes)),
            "may_act": request.user.has_perm("execution.change_alarm"),
            # the button would also settle alarms that a narrowed list does not show
            "may_settle_all": not narrowed and self.has_act_permission(request),
            "causes": causes,
            "chosen": {"state": state, "cause": cause},
            "states": [(name, STATES[name][0]) for name in ("new", "acknowledged")],
            "history": reverse("admin:execution_alarm_changelist"),
        }
        return TemplateResponse(request, "admin/execution/execution/attention.html", context)

    def to_settle(self, row: Execution) -> list[Alarm]:
        """All open alarms of the execution."""
        return [alarm for alarm in alarms_of(row.pk) if is_open(alarm)]

    def settle_them(self, row: Execution, note: str, actor: Actor, now: dt.datetime) -> str:
        """Settle all open alarms with one note; return the execution's id for the message."""
        services.settle_all(execution_id=row.pk, note=note, actor=actor, now=now)
        return row.public_id

    def what_ending_means(self, request: HttpRequest, execution: Execution) -> list[str]:
        """The sentences on the confirmation page."""
        if execution.status in Execution.TERMINAL:
            return [f"There is nothing to end: it is over ({execution.get_status_display()})."]
        if not is_carried(execution, clock.now()):
            return [
                "There is nothing to end: only what is still open after the close of its session "
                "is ended here. Its exit can be asked for instead."
            ]
        return [
            f"Its session of {execution.run.trade_date:%d %b %Y} closed with something open.",
            "Look at the account in the broker's own app first: was the position squared off, or "
            "is it carried and has been closed by hand? Ending it sends nothing and changes "
            "nothing there. It stays without a P&L, its open orders are given up, and its alarms "
            "are settled with what you write.",
        ]

    def may_be_ended(self, request: HttpRequest, execution: Execution) -> dict[str, Any]:
        """Hide form and button if the execution was not carried past its session."""
        return {"refused": not is_carried(execution, clock.now())}

    @confirmed(
        description="End it",
        explain="what_ending_means",
        context="may_be_ended",
        form=EndForm,
        permission="act",
        icon="done_all",
        danger=True,
    )
    def end(self, request: HttpRequest, execution: Execution, data: dict[str, Any]) -> str:
        """End a carried execution; return the success message."""
        end_carried(
            execution_id=execution.pk,
            note=data["note"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return f"{execution.public_id} is ended."


def _number(text: str | None) -> int:
    """A primary key from the URL; 0, which no row has, for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else 0


def _outside(execution: Execution, intents: list[OrderIntent]) -> list[tuple[str, int]]:
    """What somebody else closed: symbol and (positive) units."""
    symbols = {intent.leg_key: intent.symbol for intent in intents}
    return [(symbols.get(leg, leg), abs(units)) for leg, units in execution.closed_outside.items()]


@admin.register(OrderIntent)
class OrderIntentAdmin(KillButtonMixin, LargeTableMixin, ReadOnlyAdmin):
    """Every order that was ever planned."""

    list_display = (
        "tag",
        "planned",
        "account",
        "order",
        "price",
        "state_label",
        "filled",
        "broker_order_id",
        "sent",
        "answered",
        "why",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("tag", "broker_order_id"),
                    ("order", "contract"),
                    ("price", "reference_price"),
                    "price_changes",
                    ("price_source", "price_age"),
                    ("state", "sends"),
                    ("filled", "average_price"),
                    ("surplus_quantity", "surplus_price"),
                    "surplus_orders",
                    ("why", "message"),
                )
            },
        ),
        (
            "Times (IST)",
            {"fields": (("planned_in_full", "due"), ("sent", "answered"), "final")},
        ),
        (
            "Place in the plan",
            {
                "fields": (
                    ("run", "execution"),
                    ("allocation", "account"),
                    ("leg_key", "leg_index"),
                    ("group", "slice"),
                    ("purpose", "attempt_group"),
                    ("reason", "shard"),
                )
            },
        ),
    )
    readonly_fields = (
        "order",
        "price_changes",
        "filled",
        "why",
        "planned_in_full",
        "due",
        "sent",
        "answered",
        "final",
    )
    list_filter = (
        "state",
        "purpose",
        one_of("side", "side", lambda: [("BUY", "Buy"), ("SELL", "Sell")]),
        "environment",
        one_of("cause", "cause", lambda: sorted(CAUSES.items())),
    )
    searches = (
        Search("a tag", _tagged),
        begins("broker_order_id", "the beginning of a broker's order id", partial=True),
        through("execution_id", _execution_keys, "of an execution's id"),
        through("account_id", account_keys, "of a client id"),
        through("account_id", customers_account_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("account",)
    ordering = ("-id",)

    @admin.display(description="Planned (IST)", ordering="planned_at")
    def planned(self, intent: OrderIntent) -> str:
        """Day and time of planning, IST."""
        return f"{clock.to_ist(intent.planned_at):%d %b %H:%M:%S}"

    @display(description="State", ordering="state", label=STATUS_COLOURS)
    def state_label(self, intent: OrderIntent) -> tuple[str, str]:
        """The state as key and label, with a colour."""
        return intent.state, intent.get_state_display()

    @admin.display(description="Order")
    def order(self, intent: OrderIntent) -> str:
        """What it trades, without line breaks."""
        words = f"{intent.get_purpose_display()} {intent.side} {intent.quantity} {intent.symbol}"
        return format_html('<span class="qd-nowrap">{}</span>', words)

    @admin.display(description="Changes of its price")
    def price_changes(self, intent: OrderIntent) -> SafeString | str:
        """Requested price changes, oldest first."""
        lines = [(told_change(change),) for change in from_json(intent.changes)]
        return format_html_join(mark_safe("<br>"), "{}", lines) or "-"

    @admin.display(description="Filled", ordering="filled_quantity")
    def filled(self, intent: OrderIntent) -> str:
        """Units filled of those ordered."""
        return f"{intent.filled_quantity} of {intent.quantity}"

    @admin.display(description="Planned")
    def planned_in_full(self, intent: OrderIntent) -> str:
        """To the millisecond."""
        return to_ms(intent.planned_at)

    @admin.display(description="Not before")
    def due(self, intent: OrderIntent) -> str:
        """To the millisecond."""
        return to_ms(intent.due_at)

    @admin.display(description="Final")
    def final(self, intent: OrderIntent) -> str:
        """To the millisecond."""
        return to_ms(intent.final_at) or "-"

    @admin.display(description="First byte", ordering="sent_at")
    def sent(self, intent: OrderIntent) -> str:
        """To the millisecond."""
        return to_ms(intent.sent_at) or "-"

    @admin.display(description="Answered", ordering="answered_at")
    def answered(self, intent: OrderIntent) -> str:
        """To the millisecond."""
        return to_ms(intent.answered_at) or "-"

    @admin.display(description="Why")
    def why(self, intent: OrderIntent) -> str:
        """The cause's sentence."""
        return wide(explain(intent.cause))
