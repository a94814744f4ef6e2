"""Console pages of the kill switch, and of executors and their shards."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget

from execution import services
from execution.admin.common import KillButtonMixin, kill_context
from execution.clock_offset import MOST_OFF_MS
from execution.formatting import to_ms
from execution.models import ExecutorNode, KillSwitch, ShardLease
from execution.selectors import database_now, kill_reach, template_names
from marketplace.models import Template
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, ReadOnlyAdmin, confirmed, display
from quantleap.core.audit import Actor
from quantleap.core.confirmation import seal, sealed
from quantleap.core.errors import DomainError

PLATFORM: Final = "All templates, the whole platform"
OTHER_TARGET: Final = (
    "This is not what the page told you about. Read what it does now, and confirm again."
)


class EngageForm(ConfirmForm):
    """Asks what to block, and why."""

    reason = forms.CharField(max_length=200, help_text="Everybody who looks sees it.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        live = Template.objects.filter(state__in=Template.ENTERING)
        names = live.order_by("name").values_list("pk", "name", "environment")
        choices = [
            ("", PLATFORM),
            *((pk, f"{name} (test)" if env == "test" else name) for pk, name, env in names),
        ]
        self.fields["template"] = forms.TypedChoiceField(
            label="Block new entries of",
            coerce=int,
            empty_value=None,
            required=False,
            choices=choices,
            widget=UnfoldAdminSelectWidget,
        )
        self.order_fields(["template", "reason"])


class ReleaseForm(ConfirmForm):
    """A confirmation without fields."""


@admin.register(KillSwitch)
class KillSwitchAdmin(KillButtonMixin, ReadOnlyAdmin):
    """Kill switches, engaged and released; "Add" engages one."""

    empty_title = "New entries are allowed"
    empty_text = (
        "No kill switch was ever engaged. One stops new entries, of everything or of one template; "
        "open positions are managed to their exit as before."
    )
    add_label = "Stop new entries…"
    show_add_link = False  # a plus would read "Add kill switch"
    list_display = ("covers", "state_label", "reason", "engaged", "engaged_by", "released")
    list_filter = ("scope", ("released_at", admin.EmptyFieldListFilter))
    ordering = ("-released_at", "-id")
    actions_detail = ("release",)
    fields = (
        ("covers", "state"),
        "reason",
        ("engaged", "engaged_by"),
        ("released", "released_by"),
    )
    readonly_fields = ("covers", "state", "engaged", "released")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may engage a kill switch."""
        return request.user.has_perm("execution.add_killswitch")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with all template names read in one query."""
        changelist = super().get_changelist_instance(request)
        names = template_names(s.target_id for s in changelist.result_list if s.target_id)
        for switch in changelist.result_list:
            switch.label = names.get(switch.target_id, "?") if switch.target_id else "Platform"
        return changelist

    @admin.display(description="Covers")
    def covers(self, switch: KillSwitch) -> str:
        """The word Platform, or the template's name."""
        label = getattr(switch, "label", "")
        if label or switch.target_id is None:
            return label or "Platform"
        return template_names([switch.target_id]).get(switch.target_id, "?")

    @admin.display(description="State")
    def state(self, switch: KillSwitch) -> str:
        """The label of the state."""
        return self.state_label(switch)[1]

    @display(description="State", label={"on": "danger", "off": "success"})
    def state_label(self, switch: KillSwitch) -> tuple[str, str]:
        """The state as key and label, with a colour."""
        return ("off", "Released") if switch.released_at else ("on", "Engaged")

    @admin.display(description="Engaged (IST)", ordering="engaged_at")
    def engaged(self, switch: KillSwitch) -> str:
        """When it was engaged, IST."""
        return _moment(switch.engaged_at)

    @admin.display(description="Released (IST)", ordering="released_at")
    def released(self, switch: KillSwitch) -> str:
        """When it was released, IST; a dash while it is on."""
        return _moment(switch.released_at) if switch.released_at else "-"

    # -- engage ----------------------------------------------------------------------------------
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """ "Add" shows the form to engage one; an existing switch is read-only."""
        if object_id is not None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._engage(request)

    def _engage(self, request: HttpRequest) -> HttpResponse:
        posted = request.method == "POST" and request.POST.get("confirm") == "yes"
        form = (
            EngageForm(request.POST)
            if posted
            else EngageForm(initial={"template": request.GET.get("template", "")})
        )
        list_url = reverse("admin:execution_killswitch_changelist")
        errors: list[str] = []
        status = 200
        if posted and form.is_valid() and not self._asked_about(request):
            errors, status = [OTHER_TARGET], 409
        elif posted and form.is_valid():
            try:
                switch = services.engage_kill_switch(
                    template_id=form.cleaned_data["template"],
                    reason=form.cleaned_data["reason"],
                    actor=Actor.staff(request.user),
                    now=clock.now(),
                )
            except DomainError as error:
                errors, status = [error.message], error.status
            else:
                messages.success(request, f"{self.covers(switch)}: new entries are blocked.")
                return HttpResponseRedirect(list_url)
        elif posted:
            status = 400
        reach = kill_reach(_template_id(request))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Stop new entries",
            "description": "Stop new entries",
            "danger": True,
            "form": form,
            "errors": errors,
            "back": list_url,
            "seal": seal(self._target(request)),
            "sentences": [
                f"{_named(_template_id(request))}:",
                f"No new entry leaves from now on, within a quarter of a second. "
                f"{reach.armed} armed executions are withdrawn and do not come back today.",
                f"Nothing is closed. {reach.working} executions under way are managed to their "
                "exit as before: stops, targets and exit times go on.",
                "To close positions as well, pause or cancel the subscription with its positions "
                "closed now, or close them at the broker.",
            ],
        }
        return TemplateResponse(request, "console/confirm.html", context, status=status)

    @staticmethod
    def _target(request: HttpRequest) -> list[object]:
        """What the page is sealed for: the user and the template (None: the platform)."""
        return [KillSwitch._meta.label, request.user.pk, _template_id(request)]

    def _asked_about(self, request: HttpRequest) -> bool:
        """Whether the submitted page described what is to be blocked now.

        It does not expire: its content stays true, and in an emergency a person must not have to
        confirm twice.
        """
        return sealed(request.POST.get("seal", ""), self._target(request), expires=False)

    # -- release ---------------------------------------------------------------------------------
    def what_release_means(self, request: HttpRequest, switch: KillSwitch) -> list[str]:
        """The sentences on the confirmation page."""
        return [
            f"{self.covers(switch)}: blocked since {_moment(switch.engaged_at)} IST by "
            f"{switch.engaged_by}: {switch.reason}",
            "Entries are allowed again from the next arming on; what was withdrawn stays so.",
        ]

    @confirmed(
        description="Release",
        explain="what_release_means",
        form=ReleaseForm,
        permission="act",
        icon="play_arrow",
    )
    def release(self, request: HttpRequest, switch: KillSwitch, data: dict[str, Any]) -> str:
        """Release the switch; return the success message."""
        services.release_kill_switch(
            switch_id=switch.pk, actor=Actor.staff(request.user), now=clock.now()
        )
        return f"{self.covers(switch)}: new entries are allowed again."


def _named(template_id: int | None) -> str:
    """The name of what is blocked."""
    if template_id is None:
        return PLATFORM
    return template_names([template_id]).get(template_id, "?")


def _template_id(request: HttpRequest) -> int | None:
    """The template's key from the form or, on GET, from the URL; None: the platform."""
    chosen = request.POST if request.method == "POST" else request.GET
    text = chosen.get("template", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def _moment(instant: dt.datetime) -> str:
    return f"{clock.to_ist(instant):%d %b %Y %H:%M:%S}"


# -- executors -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class NodeRow:
    """One executor: its shards, and seconds since its heartbeat (``age``)."""

    node: ExecutorNode
    shards: list[int]
    age: float
    healthy: bool

    @property
    def clock(self) -> str:
        """The offset of its clock from the database's, as text."""
        offset = self.node.clock_offset_ms
        return "not measured" if offset is None else f"{offset:+d} ± {self.node.clock_error_ms} ms"

    @property
    def state(self) -> str:
        """The label of its health."""
        if not self.healthy:
            return "Silent"
        return "Clock off" if self.node.is_off else "Alive"


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard: seconds since its heartbeat (``age``; None: never), whether it has an owner, and
    seconds left of the lease."""

    lease: ShardLease
    age: float | None
    held: bool
    left: float | None


@admin.register(ExecutorNode)
class ExecutorNodeAdmin(ReadOnlyAdmin):
    """The health of the executors on one page instead of a list."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> TemplateResponse:
        """Executors, shards by owner, and shards without an owner (3 queries)."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = database_now()  # leases run by the database's clock
        leases = list(ShardLease.objects.order_by("shard"))
        shards = [_shard_row(lease, now) for lease in leases]
        nodes = [_node_row(node, leases, now) for node in ExecutorNode.objects.order_by("owner")]
        ownerless = [row.lease.shard for row in shards if not row.held]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Executors",
            "read_at": to_ms(clock.now()),
            "live": True,
            "nodes": nodes,
            "shards": shards,
            "ownerless": ownerless,
            "ttl": settings.QUANTLEAP_LEASE_TTL,
            "most_off_ms": MOST_OFF_MS,
            "clocks_off": [row for row in nodes if row.healthy and row.node.is_off],
            **kill_context(),
        }
        return TemplateResponse(request, "admin/execution/executornode/page.html", context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Raise Http404: there are no pages of single executors."""
        raise Http404


def _shard_row(lease: ShardLease, now: dt.datetime) -> ShardRow:
    held = bool(lease.owner) and lease.expires_at is not None and lease.expires_at > now
    age = None if lease.heartbeat_at is None else (now - lease.heartbeat_at).total_seconds()
    left = (lease.expires_at - now).total_seconds() if held and lease.expires_at else None
    rounded = [None if seconds is None else round(seconds, 1) for seconds in (age, left)]
    return ShardRow(lease, rounded[0], held, rounded[1])


def _node_row(node: ExecutorNode, leases: list[ShardLease], now: dt.datetime) -> NodeRow:
    age = (now - node.heartbeat_at).total_seconds()
    shards = [lease.shard for lease in leases if lease.owner == node.owner]
    return NodeRow(node, shards, round(age, 1), healthy=age <= settings.QUANTLEAP_LEASE_TTL)
