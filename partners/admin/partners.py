"""Partners: who they are, their share, their keys and endpoints."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from partners.admin.common import secret_page, shown_once
from partners.admin.forms import (
    LARGE_CHANGE,
    IssueKeyForm,
    PartnerForm,
    ReasonForm,
    ShareForm,
    ShareFormSet,
    WebhookEndpointForm,
)
from partners.admin.keys import HINT
from partners.admin.webhooks import SIGNING_HINT
from partners.models import Partner, PartnerKey, RevenueShare
from partners.services import issue_key, note_partner_edited, resume_partner, suspend_partner
from partners.shares import set_share
from partners.showing import Item
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.admin import (
    ConsoleAdmin,
    ConsoleTabularInline,
    ReadOnlyTabularInline,
    confirmed,
)
from quantleap.core.audit import Actor
from quantleap.core.console import page_of


class RevenueShareInline(ConsoleTabularInline):
    """Dated shares: a new row follows the last one, or takes its place that day."""

    model = RevenueShare
    form = ShareForm
    formset = ShareFormSet
    fields = ("effective_from", "partner_bps", "reason", "large_change")
    ordering = ("-effective_from", "-id")
    can_delete = False

    @admin.display(description=LARGE_CHANGE)
    def large_change(self, share: RevenueShare) -> str:
        """Nothing to confirm any more; of a superseded share, since when it is one."""
        if share.superseded_at is None:
            return "–"
        return f"Superseded {clock.to_ist(share.superseded_at):%Y-%m-%d %H:%M} IST"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A share that was in force stays as it was; add a row."""
        return False


class PartnerKeyInline(ReadOnlyTabularInline):
    """The partner's keys at a glance."""

    model = PartnerKey
    fields = ("key", "environment", "label", "status", "expires_at")
    readonly_fields = fields
    show_change_link = True


@admin.register(Partner)
class PartnerAdmin(ConsoleAdmin):
    """Companies that offer templates to their users."""

    form = PartnerForm
    list_display = ("slug", "name", "type", "status", "default_broker", "created_at")
    list_filter = ("status", "type")
    search_fields = ("slug", "name")
    readonly_fields = ("status", "created_at")
    inlines = (RevenueShareInline, PartnerKeyInline)
    actions_detail = ("issue_key", "add_webhook_endpoint", "suspend", "resume")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """State and age once there is a partner."""
        fields = PartnerForm.Meta.fields
        return fields if obj is None else (*fields, "status", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The slug is part of every key: it never changes."""
        return (*self.readonly_fields, "slug") if obj else tuple(self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        """Save with an audit entry that names the fields."""
        super().save_model(request, obj, form, change)
        note_partner_edited(
            partner=obj,
            created=not change,
            fields=form.changed_data,
            actor=Actor.staff(request.user),
        )

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Shares through their service: superseded where they must be, and in the audit."""
        if formset.model is not RevenueShare:
            super().save_formset(request, form, formset, change)
            return
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        for row in formset.forms:
            if row.has_changed():
                share = set_share(
                    partner_id=form.instance.pk,
                    terms=row.terms,
                    actor=Actor.staff(request.user),
                    now=clock.now(),
                    first=not change,
                )
                formset.new_objects.append(share)

    def get_urls(self) -> list[URLPattern]:
        """And the page behind every new secret; it asks for the person the secret was made for."""
        return [
            path(
                "secret/<slug:public_id>/",
                self.admin_site.admin_view(self.show_secret),
                name="partners_secret",
            ),
            *super().get_urls(),
        ]

    def show_secret(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """A secret, once, to the person it was made for and to nobody else.

        No right is asked for here: whoever may rotate a key or a signing secret need not be allowed
        to view partners, and the secret would be lost with the refusal.
        """
        return secret_page(self, request, public_id)

    @confirmed(description="Issue API key", explain="explain_issue", form=IssueKeyForm, icon="key")
    def issue_key(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> HttpResponse:
        """A key and its secret, shown once."""
        issued = issue_key(
            partner_id=obj.pk,
            environment=data["environment"],
            permissions=data["permissions"],
            label=data["label"],
            requests_per_minute=data["requests_per_minute"],
            requests_per_day=data["requests_per_day"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return shown_once(
            request,
            title=f"New {data['environment']} key of {obj.name}",
            hint=HINT,
            items=[
                Item("api-key", "Authorization: Bearer", issued.key),
                Item("api-secret", "X-Partner-Secret", issued.secret),
                Item("key-id", "Key id", issued.key_public_id),
            ],
            back=reverse("admin:partners_partnerkey_change", args=[issued.key_id]),
        )

    def explain_issue(self, request: HttpRequest, obj: Partner) -> list[str]:
        """What is about to happen."""
        return [
            f"Makes a new API key for {obj.name}, valid for one year.",
            "Its secret is shown once, on the next page.",
        ]

    @confirmed(
        description="Add webhook endpoint",
        explain="explain_endpoint",
        form=WebhookEndpointForm,
        icon="webhook",
    )
    def add_webhook_endpoint(
        self, request: HttpRequest, obj: Partner, data: dict[str, Any]
    ) -> HttpResponse:
        """An endpoint and its signing secret, shown once."""
        created = create_endpoint(
            partner_id=obj.pk,
            environment=data["environment"],
            url=data["url"],
            events=data["events"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return shown_once(
            request,
            title=f"New {data['environment']} webhook endpoint of {obj.name}",
            hint=SIGNING_HINT,
            items=[
                Item("endpoint-id", "Endpoint id", created.endpoint.public_id),
                Item("signing-secret", "Signing secret", created.secret),
            ],
            back=page_of(created.endpoint),
        )

    def explain_endpoint(self, request: HttpRequest, obj: Partner) -> list[str]:
        """What is about to happen."""
        return [
            f"From now on {obj.name}'s events of the chosen environment are posted to this URL.",
            "Its signing secret is shown once, on the next page.",
        ]

    @confirmed(
        description="Suspend",
        explain="explain_suspend",
        form=ReasonForm,
        icon="pause",
        danger=True,
    )
    def suspend(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> str:
        """Refuse the partner's calls from the next one on."""
        suspend_partner(partner_id=obj.pk, reason=data["reason"], actor=Actor.staff(request.user))
        return f"{obj.name} is suspended."

    def explain_suspend(self, request: HttpRequest, obj: Partner) -> list[str]:
        """What is about to happen."""
        return [
            f"Every key of {obj.name} and every token of its customers is refused at once.",
            "Subscriptions go on trading; pause or cancel them separately.",
        ]

    @confirmed(description="Lift suspension", form=ReasonForm, icon="play_arrow")
    def resume(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> str:
        """Accept the partner's calls again."""
        resume_partner(partner_id=obj.pk, reason=data["reason"], actor=Actor.staff(request.user))
        return f"{obj.name} may call again."
