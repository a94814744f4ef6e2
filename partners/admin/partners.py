"""Partners: who they are, their share, their keys and endpoints."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from partners.admin.common import secret_page, shown_once
from partners.admin.forms import (
    IssueKeyForm,
    PartnerForm,
    ReasonForm,
    ShareForm,
    ShareFormSet,
    SuspendForm,
    WebhookEndpointForm,
    class_limits,
)
from partners.admin.keys import HINT
from partners.admin.webhooks import SIGNING_HINT
from partners.models import Partner, PartnerKey, RevenueShare
from partners.one_time_secrets import Item
from partners.ports import FOLLOWERS
from partners.revenue_shares import set_share
from partners.services import issue_key, note_partner_edited
from partners.suspension_texts import (
    plan_words,
    reach_panel,
    reinstate_sentences,
    reinstated_words,
    suspend_sentences,
    suspended_words,
)
from partners.suspensions import reinstate_partner, suspend_partner
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.admin import (
    ConsoleAdmin,
    DatedValueInline,
    ReadOnlyTabularInline,
    confirmed,
)
from quantleap.core.audit import Actor
from quantleap.core.console import page_of
from quantleap.core.counts import counted


class RevenueShareInline(DatedValueInline):
    """Dated shares: a new row follows the last one, or supersedes it on the same day."""

    model = RevenueShare
    form = ShareForm
    formset = ShareFormSet
    fields = ("effective_from", "partner_bps", "reason", "large_change")


class PartnerKeyInline(ReadOnlyTabularInline):
    """The partner's keys."""

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
    readonly_fields = (
        "status",
        "created_at",
        "suspended_at",
        "suspended_by",
        "suspension_reason",
        "plan",
    )
    inlines = (RevenueShareInline, PartnerKeyInline)
    actions_detail = ("issue_key", "add_webhook_endpoint", "suspend", "reinstate")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """State and age for an existing partner; the decision first for a suspended one."""
        fields = PartnerForm.Meta.fields
        if obj is None:
            return fields
        if obj.status != Partner.Status.SUSPENDED:
            return (*fields, "status", "created_at")
        decided = (("status", "plan"), ("suspended_at", "suspended_by", "suspension_reason"))
        return (*decided, *fields, "created_at")

    @admin.display(description="Subscriptions")
    def plan(self, partner: Partner) -> str:
        """What happens to the subscriptions, and how far that has come."""
        return plan_words(partner)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The slug, which is part of every key and never changes."""
        return (*self.readonly_fields, "slug") if obj else tuple(self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        """Save the typed fields, and an audit entry that names them.

        Other columns are not written, or a concurrent suspension would be undone.
        """
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            super().save_model(request, obj, form, change)
        note_partner_edited(
            partner=obj,
            created=not change,
            fields=form.changed_data,
            actor=Actor.staff(request.user),
        )

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save shares through their service, which supersedes and audits them."""
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
        """The URLs, with the page of new secrets, which checks for whom a secret was created."""
        return [
            path(
                "secret/<slug:public_id>/",
                self.admin_site.admin_view(self.show_secret),
                name="partners_secret",
            ),
            *super().get_urls(),
        ]

    def show_secret(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show a secret once, to the person for whom it was created and nobody else.

        No right is required here: a person who may rotate a key or a signing secret may lack the
        right to view partners, and a refusal would lose the secret.
        """
        return secret_page(self, request, public_id)

    @confirmed(description="Issue API key", explain="explain_issue", form=IssueKeyForm, icon="key")
    def issue_key(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> HttpResponse:
        """Create a key and show its secret once."""
        issued = issue_key(
            partner_id=obj.pk,
            environment=data["environment"],
            permissions=data["permissions"],
            label=data["label"],
            requests_per_minute=data["requests_per_minute"],
            requests_per_day=data["requests_per_day"],
            class_limits=class_limits(data),
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
        """The consequences, shown before issuing."""
        return [
            f"Creates a new API key for {obj.name}, valid for one year.",
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
        """Create an endpoint and show its signing secret once."""
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
        """The consequences, shown before adding."""
        return [
            f"From now on {obj.name}'s events of the chosen environment are posted to this URL.",
            "Its signing secret is shown once, on the next page.",
        ]

    # -- suspending ------------------------------------------------------------------------------
    @confirmed(
        description="Suspend",
        explain="explain_suspend",
        context="reach_of_suspending",
        form=SuspendForm,
        icon="pause",
        danger=True,
        twice=True,
        template="partners/suspend.html",
    )
    def suspend(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> str:
        """Close the API except for what lets customers leave, and carry out the chosen plan."""
        done = suspend_partner(
            partner_id=obj.pk,
            plan=data["plan"],
            run_until=data["run_until"],
            reason=data["reason"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return suspended_words(obj.name, done)

    def explain_suspend(self, request: HttpRequest, obj: Partner) -> list[str]:
        """The consequences, shown before suspending."""
        return suspend_sentences(obj)

    def reach_of_suspending(self, request: HttpRequest, obj: Partner) -> dict[str, Any]:
        """The figures of a suspension; the page asks again if the number of active subscriptions
        changed."""
        now = clock.now()
        standing = FOLLOWERS.get().standing(obj.pk)
        return {
            "panel": reach_panel(obj, now),
            "bound": f"{obj.status} {obj.suspension_plan} {standing}",
            "refused": obj.plan_done_at is not None,
            "again_words": f"{counted(standing.active, 'active subscription')}: this is what "
            "happens to them. Suspend the partner?",
        }

    @confirmed(
        description="Reinstate",
        explain="explain_reinstate",
        context="reach_of_reinstating",
        form=ReasonForm,
        icon="play_arrow",
        template="partners/suspend.html",
    )
    def reinstate(self, request: HttpRequest, obj: Partner, data: dict[str, Any]) -> str:
        """Accept the partner's calls again, and lift the suspension's holds."""
        done = reinstate_partner(
            partner_id=obj.pk,
            reason=data["reason"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return reinstated_words(obj.name, done)

    def explain_reinstate(self, request: HttpRequest, obj: Partner) -> list[str]:
        """The consequences, shown before reinstating."""
        return reinstate_sentences(obj)

    def reach_of_reinstating(self, request: HttpRequest, obj: Partner) -> dict[str, Any]:
        """The figures; a partner that is not suspended has nothing to lift."""
        return {
            "panel": reach_panel(obj, clock.now()),
            "bound": f"{obj.status} {FOLLOWERS.get().standing(obj.pk)}",
            "refused": obj.status != Partner.Status.SUSPENDED,
        }
