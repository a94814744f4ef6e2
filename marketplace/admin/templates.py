"""The template page: write, save, publish, look back, close, withdraw (authoring.md)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant

from marketplace import services
from marketplace.admin.forms import DraftEditor, TemplateForm
from marketplace.definition import definition_json, parse_definition
from marketplace.diff import changes
from marketplace.models import Price, Template, TemplateStats, TemplateVersion
from marketplace.ports import SUBSCRIBERS
from marketplace.selectors import draft_definition, load_market
from marketplace.selectors.pictures import NoPicture, draw, picture_json
from marketplace.services.drafts import replace_draft
from marketplace.starting_points import STARTING_POINTS, starting_point
from marketplace.validation import Market
from quantleap.core import clock
from quantleap.core.admin import (
    ConfirmForm,
    ConsoleAdmin,
    ConsoleTabularInline,
    action,
    confirmed,
    display,
)
from quantleap.core.audit import Actor

STATE_COLOURS = {
    Template.State.DRAFT: "info",
    Template.State.LISTED: "success",
    Template.State.CLOSED_TO_NEW: "warning",
    Template.State.WITHDRAWN: "danger",
}


class PublishForm(ConfirmForm):
    """Why the version is published: it stands in the history for good."""

    note = forms.CharField(
        label="Change note",
        max_length=500,
        required=False,
        widget=forms.Textarea,
        help_text="What changed and why, for the history.",
    )


class PriceInline(ConsoleTabularInline):
    """Dated fees. A row is never edited: a new fee is a new row from a later day."""

    model = Price
    fields = ("tier", "monthly_fee", "partner_id", "effective_from")
    ordering = ("-effective_from", "-id")
    can_delete = False
    hide_title = True
    verbose_name_plural = "Prices (rupees a month, before GST)"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Billing refers to rows."""
        return False

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """A fresh template begins with one row to fill."""
        return 0 if obj else 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """New rows begin today."""
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.base_fields["effective_from"].initial = clock.ist_date(clock.now())
        return formset


@admin.register(Template)
class TemplateAdmin(ConsoleAdmin):
    """Templates with their strategies and legs on one page."""

    form = TemplateForm
    change_form_template = "admin/marketplace/template/change_form.html"
    list_display = ("name", "state_label", "version_number", "index", "subscribers", "visibility")
    list_filter = ("state", "index", "visibility", "difficulty", "pricing_type")
    search_fields = ("name", "=public_id")
    list_select_related = ("current_version", "stats")
    ordering = ("-created_at", "-id")
    inlines = (PriceInline,)
    actions = None
    actions_detail = ("publish", "history", "close_to_new", "reopen", "withdraw")
    actions_submit_line = ("save_and_publish",)
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        (
            "Catalogue",
            {
                "classes": ("tab",),
                "fields": ("index", "category", "difficulty", "tags", "pricing_type", "sac"),
            },
        ),
        (
            "Who sees it",
            {"classes": ("tab",), "fields": ("visibility", "visible_to", "black_box")},
        ),
        ("Disclosure", {"classes": ("tab",), "fields": ("requires_disclosure", "disclosure")}),
    )

    class Media:
        css = {"all": ("marketplace/authoring.css",)}
        js = ("marketplace/authoring.js", "marketplace/picture.js")

    # -- list ------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        """The platform's own templates of both environments; customers' are not staff's to edit."""
        found: QuerySet[Template] = super().get_queryset(request)
        return found.filter(owner=Template.Owner.PLATFORM)

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_label(self, template: Template) -> tuple[str, str]:
        """State in words and colour."""
        return template.state, template.get_state_display()

    @admin.display(description="Version", ordering="current_version__number")
    def version_number(self, template: Template) -> str:
        """Number of the version in force."""
        return str(template.current_version.number) if template.current_version else "-"

    @admin.display(description="Subscribers", ordering="stats__subscriber_count")
    def subscribers(self, template: Template) -> int:
        """From the counter beside the template."""
        stats = getattr(template, "stats", None)
        return stats.subscriber_count if stats else 0

    def get_urls(self) -> list[URLPattern]:
        """The picture's address, before the addresses of single templates."""
        picture = path(
            "payoff/",
            self.admin_site.admin_view(self.payoff_view),
            name="marketplace_template_payoff",
        )
        return [picture, *super().get_urls()]

    def payoff_view(self, request: HttpRequest) -> JsonResponse:
        """Pay-off of the strategies as they stand in the posted form; nothing is saved.

        ``pictures`` as in the catalogue's preview; ``notes`` say what could not be drawn, and why.
        """
        if request.method != "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        editor = DraftEditor(data=request.POST, definition=None, market=_market(request))
        editor.is_valid()
        now = clock.now()
        pictures: list[dict[str, Any]] = []
        notes: list[str] = []
        for strategy in editor.sound:
            try:
                pictures.append(picture_json(draw(strategy, now)))
            except NoPicture as reason:
                notes.append(f"{strategy.name}: {reason}")
        return JsonResponse({"pictures": pictures, "notes": notes})

    # -- form ------------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with today's market, and the starting point that the address names."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.market = _market(request)
        form.start = None if change else starting_point(request.GET.get("start", ""))
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Catalogue fields of the chosen starting point."""
        start = starting_point(request.GET.get("start", ""))
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        initial.pop("start", None)
        strategy = start.definition.strategies[0]
        return {
            "name": start.name,
            "tags": list(start.tags),
            "index": strategy.underlying,
        } | initial

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """One way to save: it stays on the page, because publishing comes next."""
        context = {
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
            "starting_points": STARTING_POINTS,
            "start_slug": request.GET.get("start", ""),
            **(extra_context or {}),
        }
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: bool) -> None:
        """Catalogue fields act at once; a changed disclosure text is a new disclosure version."""
        obj.updated_at = clock.now()
        if change and obj.current_version_id and "disclosure" in form.changed_data:
            obj.disclosure_version += 1
        super().save_model(request, obj, form, change)
        TemplateStats.objects.get_or_create(template=obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Prices, then the draft's strategies and legs, in the request's transaction."""
        super().save_related(request, form, formsets, change)
        replace_draft(
            template_id=form.instance.pk,
            definition=form.editor.definition,
            actor=Actor.staff(request.user),
            now=clock.now(),
        )

    def response_add(
        self, request: HttpRequest, obj: Model, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Back to the page, or on to publishing."""
        super().response_add(request, obj, post_url_continue)  # leaves its message
        return self._onward(request, obj)

    def response_change(self, request: HttpRequest, obj: Model) -> HttpResponse:
        """Back to the page, or on to publishing."""
        super().response_change(request, obj)  # leaves its message
        return self._onward(request, obj)

    def _onward(self, request: HttpRequest, obj: Model) -> HttpResponse:
        name = "publish" if "_publish" in request.POST else "change"
        return HttpResponseRedirect(reverse(f"admin:marketplace_template_{name}", args=[obj.pk]))

    # -- who may do what, by state ---------------------------------------------------------------

    def _in_state(self, request: HttpRequest, obj: Any, *states: str) -> bool:
        if obj is None or not self.has_change_permission(request):
            return False
        pk = obj.pk if isinstance(obj, Template) else obj
        known: dict[str, str] = request.__dict__.setdefault("_template_states", {})
        if str(pk) not in known:
            known[str(pk)] = (
                Template.objects.filter(pk=pk).values_list("state", flat=True).first() or ""
            )
        return known[str(pk)] in states

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A withdrawn template is history."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and getattr(obj, "state", "") != Template.State.WITHDRAWN

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a draft that was never published; nothing refers to it yet."""
        draft = isinstance(obj, Template) and obj.current_version_id is None
        user = request.user
        return draft and user.has_perm("marketplace.delete_template")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A draft's prices go with it: no subscription can refer to them."""
        shown, counts, lacking, _protected = super().get_deleted_objects(objs, request)
        return shown, counts, lacking, []

    def delete_model(self, request: HttpRequest, obj: Template) -> None:
        """Prices first: they protect their template."""
        obj.prices.all().delete()
        super().delete_model(request, obj)

    def has_publish_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Anything but withdrawn."""
        state = Template.State
        return self._in_state(request, obj, state.DRAFT, state.LISTED, state.CLOSED_TO_NEW)

    def has_close_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Listed."""
        return self._in_state(request, obj, Template.State.LISTED)

    def has_reopen_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Closed to new subscribers."""
        return self._in_state(request, obj, Template.State.CLOSED_TO_NEW)

    def has_withdraw_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Published once."""
        return self._in_state(request, obj, Template.State.LISTED, Template.State.CLOSED_TO_NEW)

    # -- actions ---------------------------------------------------------------------------------

    @action(
        description="Save and publish…",
        permissions=["change"],
        attrs={"name": "_publish"},
        variant=ActionVariant.PRIMARY,
    )
    def save_and_publish(self, request: HttpRequest, obj: Template) -> None:
        """A button beside Save; where it leads is decided in ``_onward``."""

    def publish_context(self, request: HttpRequest, obj: Template) -> dict[str, Any]:
        """Difference, subscribers touched, and what refuses it."""
        found = services.preview(template_id=obj.pk, now=clock.now())
        bound = json.dumps(definition_json(draft_definition(obj.pk)), sort_keys=True)
        return {"preview": found, "refused": not found.allowed, "bound": bound}

    @confirmed(
        description="Publish",
        context="publish_context",
        form=PublishForm,
        permission="publish",
        icon="publish",
        template="admin/marketplace/template/publish.html",
    )
    def publish(self, request: HttpRequest, obj: Template, data: dict[str, Any]) -> str:
        """Freeze the draft into the next version."""
        version = services.publish(
            template_id=obj.pk,
            actor=Actor.staff(request.user),
            note=data["note"],
            now=clock.now(),
        )
        return f"Version {version.number} is published; it trades from the next entry on."

    @action(description="Versions", url_path="versions", permissions=["view"], icon="history")
    def history(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Every version with who, when, why, and what changed."""
        template = self.get_object(request, object_id)
        if template is None:
            raise Http404
        if not self.has_view_permission(request, template):
            raise PermissionDenied
        versions = TemplateVersion.objects.filter(template=template).order_by("number")
        entries: list[dict[str, Any]] = []
        before = None
        for version in versions:
            definition = parse_definition(version.definition)
            entries.append({"version": version, "changes": changes(before, definition)})
            before = definition
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": template,
            "title": f"Versions: {template}",
            "entries": entries[::-1],
            "back": reverse("admin:marketplace_template_change", args=[template.pk]),
        }
        return TemplateResponse(request, "admin/marketplace/template/versions.html", context)

    def explain_close(self, request: HttpRequest, obj: Template) -> list[str]:
        """What closing means."""
        count = SUBSCRIBERS.get().count(obj.pk)
        return [
            "Nobody new can subscribe, and the catalogue does not show it any more.",
            f"Its {count} live subscriptions go on trading as before. You can reopen it.",
        ]

    @confirmed(
        description="Close to new",
        explain="explain_close",
        permission="close",
        icon="door_front",
    )
    def close_to_new(self, request: HttpRequest, obj: Template, data: dict[str, Any]) -> str:
        """LISTED -> CLOSED_TO_NEW."""
        services.close_to_new(template_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "Closed to new subscribers."

    def explain_reopen(self, request: HttpRequest, obj: Template) -> list[str]:
        """What reopening means."""
        return ["The catalogue shows it again, and anybody who may see it can subscribe."]

    @confirmed(
        description="Reopen", explain="explain_reopen", permission="reopen", icon="door_open"
    )
    def reopen(self, request: HttpRequest, obj: Template, data: dict[str, Any]) -> str:
        """CLOSED_TO_NEW -> LISTED."""
        services.reopen(template_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "Listed again."

    def explain_withdraw(self, request: HttpRequest, obj: Template) -> list[str]:
        """How many people it hits."""
        count = SUBSCRIBERS.get().count(obj.pk)
        return [
            f"Withdrawing cancels {count} live subscriptions at once and tells every customer.",
            "No entry is traded any more. Open positions run to their exit.",
            "A withdrawn template never comes back.",
        ]

    @confirmed(
        description="Withdraw",
        explain="explain_withdraw",
        permission="withdraw",
        icon="cancel",
        danger=True,
        twice=True,
    )
    def withdraw(self, request: HttpRequest, obj: Template, data: dict[str, Any]) -> str:
        """LISTED or CLOSED_TO_NEW -> WITHDRAWN."""
        outcome = services.withdraw(
            template_id=obj.pk, actor=Actor.staff(request.user), now=clock.now()
        )
        return f"Withdrawn; {outcome.cancelled} subscriptions cancelled."


def _market(request: HttpRequest) -> Market:
    """Today's market, read once per request."""
    found: Market | None = request.__dict__.get("_market")
    if found is None:
        today: dt.date = clock.ist_date(clock.now())
        found = load_market(today)
        request.__dict__["_market"] = found
    return found
