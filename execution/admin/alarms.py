"""Console pages of alarms: all that were ever raised, with the actions acknowledge and settle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from execution import services
from execution.admin.common import KillButtonMixin, wide
from execution.admin.settling import SettleMixin
from execution.alarm_lists import STATES, WAYS_OUT, age, shown, state_of
from execution.alarms import ALARMS, means
from execution.models import Alarm, Execution
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, confirmed, display
from quantleap.core.admin_columns import NONE, link_to
from quantleap.core.audit import Actor
from quantleap.core.dates import moment_text
from quantleap.core.large_lists import first_keys, one_of, through

STATE_COLOURS: Final = {
    "new": "danger",
    "acknowledged": "warning",
    "settled": "success",
    "cleared": "default",
}


def _execution_keys(term: str) -> Iterable[int]:
    return first_keys(Execution.objects.filter(public_id__startswith=term))


class StateFilter(admin.SimpleListFilter):
    """Filters alarms by state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """All states."""
        return [(name, label) for name, (label, _) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> QuerySet[Alarm]:
        """Alarms in the chosen state."""
        _, rows = STATES.get(self.value() or "", ("", Q()))
        return queryset.filter(rows)


@admin.register(Alarm)
class AlarmAdmin(SettleMixin, KillButtonMixin, LargeTableMixin, ReadOnlyAdmin):
    """Alarms: what needed a person, and how it ended."""

    empty_title = "No alarm"
    empty_text = "Nothing has needed a person so far."
    list_display = ("raised", "state_label", "cause_label", "what", "customer", "why", "ended")
    list_filter = (StateFilter, one_of("cause", "cause", lambda: sorted(ALARMS.items())))
    searches = (through("execution_id", _execution_keys, "the beginning of an execution's id"),)
    ordering = ("-id",)
    actions_detail = ("acknowledge", "settle")
    fieldsets = (
        (
            None,
            {"fields": (("state", "cause"), "meaning", "words", ("what", "way_out"), "order_tag")},
        ),
        ("Raised", {"fields": (("raised", "raised_by"),)}),
        ("Acknowledged", {"fields": (("acknowledged", "acknowledged_by"),)}),
        ("Settled", {"fields": (("settled", "settled_by"), "note")}),
        ("Over by itself", {"fields": (("cleared", "cleared_by"),)}),
    )
    readonly_fields = (
        "state", "meaning", "what", "way_out", "raised", "acknowledged", "settled", "cleared",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alarm]:
        """Alarms joined with the rows that they name."""
        return shown().order_by("-id")

    # -- what is shown -----------------------------------------------------------------------------
    @admin.display(description="Raised (IST)", ordering="id")
    def raised(self, alarm: Alarm) -> SafeString:
        """When it was raised (IST), and how long ago."""
        ago = age(alarm.raised_at, clock.now())
        words = '<span class="qd-nowrap">{}</span><br><span class="ql-muted">{} ago</span>'
        return format_html(words, _moment(alarm.raised_at), ago)

    @display(description="State", label=STATE_COLOURS)
    def state_label(self, alarm: Alarm) -> tuple[str, str]:
        """The state as key and label, with a colour."""
        return state_of(alarm), self.state(alarm)

    @admin.display(description="State")
    def state(self, alarm: Alarm) -> str:
        """The label of the state."""
        return STATES[state_of(alarm)][0]

    @admin.display(description="Cause", ordering="cause")
    def cause_label(self, alarm: Alarm) -> SafeString:
        """The cause code, without line breaks."""
        return format_html('<span class="qd-nowrap">{}</span>', alarm.cause)

    @admin.display(description="About")
    def what(self, alarm: Alarm) -> SafeString | str:
        """The execution, run or account, linked to its page."""
        subject = alarm.execution or alarm.run or alarm.account
        return link_to(subject) if subject is not None else NONE

    @admin.display(description="Customer")
    def customer(self, alarm: Alarm) -> SafeString | str:
        """The customer of the execution."""
        return link_to(alarm.execution.subscription.customer) if alarm.execution else NONE

    @admin.display(description="Why")
    def why(self, alarm: Alarm) -> str:
        """The cause's sentence and the broker's message."""
        return wide(" ".join(filter(None, (means(alarm.cause), alarm.words))))

    @admin.display(description="What it means")
    def meaning(self, alarm: Alarm) -> str:
        """The cause's sentence."""
        return means(alarm.cause)

    @admin.display(description="Ended by")
    def ended(self, alarm: Alarm) -> str:
        """Who settled it with which note, or the fact that ended it."""
        if alarm.settled_at is not None:
            return wide(f"{alarm.settled_by}: {alarm.note}")
        return wide(alarm.cleared_by)

    @admin.display(description="The way out")
    def way_out(self, alarm: Alarm) -> SafeString | str:
        """A link to the page where the cause is fixed, if that is another page."""
        page, text = WAYS_OUT.get(alarm.cause, ("", ""))
        return format_html('<a href="{}">{}</a>', reverse(page), text) if page else NONE

    @admin.display(description="At (IST)")
    def acknowledged(self, alarm: Alarm) -> str:
        """When a person acknowledged it."""
        return _moment(alarm.acknowledged_at)

    @admin.display(description="At (IST)")
    def settled(self, alarm: Alarm) -> str:
        """When a person settled it."""
        return _moment(alarm.settled_at)

    @admin.display(description="At (IST)")
    def cleared(self, alarm: Alarm) -> str:
        """When its fact ended."""
        return _moment(alarm.cleared_at)

    # -- actions -----------------------------------------------------------------------------------
    def what_it_means(self, request: HttpRequest, alarm: Alarm) -> list[str]:
        """The sentences on the confirmation page."""
        return [
            f"{means(alarm.cause)} {alarm.words}".strip(),
            "Others see who is at it. The alarm stays open until it is settled, or is over.",
        ]

    @confirmed(
        description="Acknowledge", explain="what_it_means", permission="act", icon="visibility"
    )
    def acknowledge(self, request: HttpRequest, alarm: Alarm, data: dict[str, Any]) -> str:
        """Acknowledge the alarm; return the success message."""
        services.acknowledge(alarm_id=alarm.pk, actor=Actor.staff(request.user), now=clock.now())
        return f"{alarm.cause} is acknowledged."

    def to_settle(self, row: Alarm) -> list[Alarm]:
        """The alarm itself."""
        return [row]

    def settle_them(self, row: Alarm, note: str, actor: Actor, now: dt.datetime) -> str:
        """Settle the alarm; return its cause for the message."""
        services.settle(alarm_id=row.pk, note=note, actor=actor, now=now)
        return row.cause


def _moment(instant: Any) -> str:
    return moment_text(instant, seconds=True) if instant is not None else NONE
