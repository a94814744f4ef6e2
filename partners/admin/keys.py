"""API keys: rotate and revoke."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from partners.admin.common import shown_once
from partners.admin.forms import RotateKeyForm
from partners.models import PartnerKey, PartnerSecret
from partners.one_time_secrets import Item
from partners.services import revoke_key, rotate_key
from quantleap.core import clock
from quantleap.core.admin import ReadOnlyAdmin, ReadOnlyTabularInline, confirmed
from quantleap.core.audit import Actor
from quantleap.core.console import page_of

HINT: Final = (
    "Only a hash of the secret is stored, so nobody can look it up. If it is lost, rotate the "
    "secret on the key's page."
)


class SecretInline(ReadOnlyTabularInline):
    """The secrets' versions and dates, never the secrets."""

    model = PartnerSecret
    fields = ("version", "last4", "created_at", "expires_at", "last_used_at")
    readonly_fields = fields


@admin.register(PartnerKey)
class PartnerKeyAdmin(ReadOnlyAdmin):
    """Keys are issued on their partner's page."""

    list_display = ("key", "partner", "environment", "label", "status", "expires_at")
    list_filter = ("status", "environment", "partner")
    search_fields = ("=key", "=public_id", "label")
    list_select_related = ("partner",)
    inlines = (SecretInline,)
    actions_detail = ("rotate", "revoke")

    @confirmed(
        description="Rotate secret",
        explain="explain_rotate",
        form=RotateKeyForm,
        permission="act",
        icon="autorenew",
    )
    def rotate(self, request: HttpRequest, obj: PartnerKey, data: dict[str, Any]) -> HttpResponse:
        """Add a second secret, shown once."""
        issued = rotate_key(
            key_id=obj.pk,
            overlap=dt.timedelta(hours=data["overlap_hours"]),
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        return shown_once(
            request,
            title="New secret",
            hint=HINT,
            items=[
                Item("api-key", "Authorization: Bearer", issued.key),
                Item("api-secret", "X-Partner-Secret", issued.secret),
            ],
            back=page_of(obj),
        )

    def explain_rotate(self, request: HttpRequest, obj: PartnerKey) -> list[str]:
        """The consequences, shown before rotating."""
        return [
            "Creates a new secret for this key; the current one stays valid for the overlap.",
            "An older, third one ends at once: a key has at most two secrets at a time.",
        ]

    @confirmed(
        description="Revoke",
        explain="explain_revoke",
        permission="act",
        icon="block",
        danger=True,
        twice=True,
    )
    def revoke(self, request: HttpRequest, obj: PartnerKey, data: dict[str, Any]) -> str:
        """Revoke the key permanently."""
        changed = revoke_key(key_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "The key is revoked." if changed else "The key was already revoked."

    def explain_revoke(self, request: HttpRequest, obj: PartnerKey) -> list[str]:
        """The consequences, shown before revoking."""
        return [
            f"The next request with {obj.key} is refused, permanently.",
            "Customers, subscriptions and open positions are not affected.",
        ]
