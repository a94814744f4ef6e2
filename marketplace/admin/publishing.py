"""Actions on a template: publish, close, reopen, withdraw (docs/authoring.md)."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from marketplace import services
from marketplace.definition import definition_json, parse_definition
from marketplace.diff import changes
from marketplace.models import Template, TemplateVersion
from marketplace.ports import SUBSCRIBERS
from marketplace.selectors import draft_definition
from marketplace.selectors.template_summary import standing
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, ConsoleAdmin, action, confirmed
from quantleap.core.audit import Actor

NO_ENTRY: Final = "Its next entry is unknown: the holidays of the coming days are not loaded."


class PublishForm(ConfirmForm):
    """The reason for the new version, kept in the history."""

    note = forms.CharField(
        label="Change note",
        max_length=500,
        required=False,
        widget=forms.Textarea,
        help_text="What changed and why, for the history.",
    )


class TemplateActions(ConsoleAdmin):
    """The actions of the template page, each allowed by the template's state."""

    actions_detail = ("publish", "versions", "close_to_new", "reopen", "withdraw")

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

    def has_publish_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Unless the template is withdrawn."""
        return self._in_state(request, obj, Template.State.DRAFT, *Template.ENTERING)

    def has_close_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """If the template is listed."""
        return self._in_state(request, obj, Template.State.LISTED)

    def has_reopen_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """If the template is closed to new subscribers."""
        return self._in_state(request, obj, Template.State.CLOSED_TO_NEW)

    def has_withdraw_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """If the template was published and is not withdrawn."""
        return self._in_state(request, obj, *Template.ENTERING)

    def publish_context(self, request: HttpRequest, obj: Template) -> dict[str, Any]:
        """The difference, the subscribers affected, and the findings that refuse a publication."""
        preview = services.preview(template_id=obj.pk, now=clock.now())
        bound = json.dumps(definition_json(draft_definition(obj.pk)), sort_keys=True)
        return {
            "preview": preview,
            "refused": not preview.allowed,
            "bound": bound,
            "standing": standing(obj, clock.now()),
        }

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
        now = clock.now()
        version = services.publish(
            template_id=obj.pk, actor=Actor.staff(request.user), note=data["note"], now=now
        )
        obj.refresh_from_db()
        first = standing(obj, now).reached
        said = f"The first entry that trades it: {first.words}." if first else NO_ENTRY
        return f"Version {version.number} is published. {said}"

    @action(description="Versions", url_path="versions", permissions=["view"], icon="history")
    def versions(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Page of every version with who, when, why, and what changed."""
        template = self.get_object(request, object_id)
        if template is None:
            raise Http404
        if not self.has_view_permission(request, template):
            raise PermissionDenied
        published = TemplateVersion.objects.filter(template=template).order_by("number")
        entries: list[dict[str, Any]] = []
        before = None
        for version in published:
            definition = parse_definition(version.definition)
            entries.append({"version": version, "changes": changes(before, definition)})
            before = definition
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": template,
            "standing": standing(template, clock.now()),
            "may_publish": self.has_publish_permission(request, template),
            "title": f"Versions: {template}",
            "entries": entries[::-1],
            "back": reverse("admin:marketplace_template_change", args=[template.pk]),
        }
        return TemplateResponse(request, "admin/marketplace/template/versions.html", context)

    def explain_close(self, request: HttpRequest, obj: Template) -> list[str]:
        """The consequences of closing."""
        count = SUBSCRIBERS.get().count(obj.pk)
        return [
            "Nobody new can subscribe, and the catalogue no longer shows it.",
            f"Its {count} live subscriptions continue to trade. You can reopen it.",
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
        """The consequences of reopening."""
        return ["The catalogue shows it again, and anybody who may see it can subscribe."]

    @confirmed(
        description="Reopen", explain="explain_reopen", permission="reopen", icon="door_open"
    )
    def reopen(self, request: HttpRequest, obj: Template, data: dict[str, Any]) -> str:
        """CLOSED_TO_NEW -> LISTED."""
        services.reopen(template_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "Listed again."

    def explain_withdraw(self, request: HttpRequest, obj: Template) -> list[str]:
        """The number of subscriptions that a withdrawal cancels."""
        count = SUBSCRIBERS.get().count(obj.pk)
        return [
            f"Withdrawing cancels {count} live subscriptions at once. Their partners get a "
            "webhook; customers get no mail from us.",
            "There are no further entries. Open positions run to their exit.",
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
