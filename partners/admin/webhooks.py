"""Webhook endpoints and their deliveries."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from partners.admin.common import PartnerColumn, PartnerFilter, shown_once
from partners.admin.forms import ReasonForm, ReplayRangeForm
from partners.models import EndpointMail, WebhookDelivery, WebhookEndpoint
from partners.one_time_secrets import Item
from partners.selectors import held_deliveries
from partners.webhooks import mails
from partners.webhooks.events import EVENT_TYPES
from partners.webhooks.services import (
    Replay,
    disable_endpoint,
    enable_endpoint,
    replay,
    replay_range,
    rotate_secret,
)
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, QueuedMailAdmin, ReadOnlyAdmin, confirmed
from quantleap.core.admin_columns import lines
from quantleap.core.audit import Actor
from quantleap.core.console import page_of
from quantleap.core.counts import are, counted
from quantleap.core.dates import moment_text
from quantleap.core.large_lists import begins, one_of
from quantleap.core.retention import HELD_DAYS

SIGNING_HINT: Final = (
    "The signing secret is stored encrypted and has no page of its own. If it is lost, rotate it "
    "on the endpoint's page: for 24 hours deliveries are signed with both."
)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(PartnerColumn, ReadOnlyAdmin):
    """Endpoints are added on their partner's page."""

    list_display = ("url", "partner_name", "environment", "status", "failing_since", "created_at")
    list_filter = (PartnerFilter, "environment", "status")
    search_fields = ("url", "=public_id")
    readonly_fields = ("partner_name", "environment", "public_id", "created_at")
    fields = (
        "url",
        "events",
        "status",
        "disabled_reason",
        "disabled_at",
        "failing_since",
        "failed_tries",
        "last_failed_at",
        "previous_secret_until",
        *readonly_fields,
    )
    actions_detail = ("rotate_signing_secret", "disable", "enable", "replay_range")

    @confirmed(
        description="Rotate signing secret",
        explain="explain_rotate",
        permission="act",
        icon="autorenew",
    )
    def rotate_signing_secret(
        self, request: HttpRequest, obj: WebhookEndpoint, data: dict[str, Any]
    ) -> HttpResponse:
        """Create a new signing secret, shown once."""
        created = rotate_secret(
            endpoint_id=obj.pk, actor=Actor.staff(request.user), now=clock.now()
        )
        return shown_once(
            request,
            title="New signing secret",
            hint=SIGNING_HINT,
            items=[
                Item("endpoint-url", "Endpoint", obj.url),
                Item("signing-secret", "Signing secret", created.secret),
            ],
            back=page_of(obj),
        )

    def explain_rotate(self, request: HttpRequest, obj: WebhookEndpoint) -> list[str]:
        """The consequences, shown before rotating."""
        return ["For 24 hours every delivery carries signatures of the old and the new secret."]

    @confirmed(
        description="Disable",
        explain="explain_disable",
        form=ReasonForm,
        permission="act",
        icon="block",
        danger=True,
    )
    def disable(self, request: HttpRequest, obj: WebhookEndpoint, data: dict[str, Any]) -> str:
        """Stop sending to the endpoint."""
        disable_endpoint(
            endpoint_id=obj.pk,
            reason=data["reason"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return "The endpoint is disabled."

    def explain_disable(self, request: HttpRequest, obj: WebhookEndpoint) -> list[str]:
        """The consequences, shown before disabling."""
        waiting = obj.deliveries.filter(status=WebhookDelivery.Status.PENDING).count()
        deliveries = counted(waiting, "delivery", "deliveries")
        return [
            f"{deliveries} waiting now {are(waiting)} held, and so is "
            f"every event from now on: each for {HELD_DAYS} days, in which it can be replayed.",
            "The partner's contacts and our staff get a mail.",
        ]

    @confirmed(
        description="Enable",
        explain="explain_enable",
        permission="act",
        icon="check",
        moving=True,
    )
    def enable(self, request: HttpRequest, obj: WebhookEndpoint, data: dict[str, Any]) -> str:
        """Start sending to the endpoint again."""
        enable_endpoint(endpoint_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "The endpoint is enabled."

    def explain_enable(self, request: HttpRequest, obj: WebhookEndpoint) -> list[str]:
        """The consequences, shown before enabling."""
        return [
            "Events from now on are posted to it.",
            f"{_held_sentence(obj)} Replay range sends what is held, once the endpoint is enabled.",
        ]

    @confirmed(
        description="Replay range",
        explain="explain_replay_range",
        form=ReplayRangeForm,
        permission="act",
        icon="replay",
        twice=True,
        moving=True,
    )
    def replay_range(self, request: HttpRequest, obj: WebhookEndpoint, data: dict[str, Any]) -> str:
        """Send deliveries of a range of time again."""
        count = replay_range(
            endpoint_id=obj.pk,
            since=data["since"],
            until=data["until"],
            delivered=data["delivered"],
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        deliveries = counted(count, "delivery", "deliveries")
        return f"{deliveries} {are(count)} sent again, each with its own event id."

    def explain_replay_range(self, request: HttpRequest, obj: WebhookEndpoint) -> list[str]:
        """The consequences, shown before replaying."""
        return [
            _held_sentence(obj),
            "Everything in the range that was held or failed is posted again, within minutes, with "
            "its own event id.",
        ]


def _held_sentence(endpoint: WebhookEndpoint) -> str:
    """How many of an endpoint's deliveries are held, and since when."""
    held = held_deliveries(endpoint)
    if held is None:
        return "Nothing is held."
    deliveries = counted(held.count, "delivery", "deliveries")
    return (
        f"{deliveries} {are(held.count)} held, from {moment_text(held.oldest, year=False)} "
        f"to {moment_text(held.newest, year=False)}."
    )


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Deliveries that were sent, are being tried, or were given up."""

    list_display = (
        "created_at",
        "type",
        "partner_name",
        "environment",
        "status",
        "attempts",
        "last_status_code",
        "next_attempt_at",
        "last_error",
    )
    list_filter = (
        "status",
        PartnerFilter,
        "environment",
        one_of("type", "type", lambda: [(name, name) for name in sorted(EVENT_TYPES)]),
    )
    searches = (begins("event_id", "the beginning of an event's id"),)
    readonly_fields = ("partner_name", "environment")
    actions_detail = ("send_again",)

    @confirmed(description="Send again", explain="explain_replay", permission="act", icon="replay")
    def send_again(self, request: HttpRequest, obj: WebhookDelivery, data: dict[str, Any]) -> str:
        """Replay with the same event id."""
        done = replay(delivery_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        if done is Replay.NOW:
            return "The pending retry happens now instead of later; it counts as one of its tries."
        return "It is sent again within seconds, starting with its first try."

    def explain_replay(self, request: HttpRequest, obj: WebhookDelivery) -> list[str]:
        """The consequences, shown before sending."""
        same = "Posts the same body with the same event id; the receiver may have seen it before."
        if obj.status != WebhookDelivery.Status.PENDING or obj.next_attempt_at is None:
            return [same]
        planned = moment_text(obj.next_attempt_at, seconds=True, year=False)
        return [f"The next try is planned for {planned}; it happens now instead.", same]


_BODY: Final = lines("body")


@admin.register(EndpointMail)
class EndpointMailAdmin(PartnerColumn, QueuedMailAdmin):
    """Mails about endpoints that were disabled."""

    empty_title = "No mail was sent"
    empty_text = "A partner's contacts get one when an endpoint of theirs is disabled."
    queue = mails.QUEUE
    list_display = (
        "created_at",
        "recipient",
        "endpoint",
        "partner_name",
        "environment",
        "status",
        "attempts",
        "sent_at",
        "last_error",
    )
    list_filter = ("status", PartnerFilter, "environment")
    list_select_related = ("endpoint",)
    searches = (begins("recipient", "the beginning of an address"),)
    readonly_fields = ("partner_name", "environment", _BODY)
    fields = (
        ("recipient", "endpoint", "event_id"),
        ("partner_name", "environment", "created_at"),
        ("status", "attempts", "sent_at"),
        ("next_attempt_at", "claimed_until"),
        "last_error",
        "subject",
        _BODY,
    )
