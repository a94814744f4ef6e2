"""Mails to partners' own contacts: read-only, with an action to send one again."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest

from partners.admin.common import PartnerFilter
from partners.notices import mails
from partners.notices.models import PartnerMail
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, confirmed
from quantleap.core.admin_columns import lines, linked
from quantleap.core.audit import Actor
from quantleap.core.large_lists import begins

_BODY: Final = lines("body")


@admin.register(PartnerMail)
class PartnerMailAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Mails that tell a partner's contacts that it was suspended or reinstated."""

    empty_title = "No mail was sent"
    empty_text = "The contacts of a partner get a mail when it is suspended or reinstated."
    list_display = (
        "created_at",
        "recipient",
        linked("partner"),
        "kind",
        "status",
        "attempts",
        "sent_at",
        "last_error",
    )
    readonly_fields = (_BODY,)
    list_filter = ("status", "kind", PartnerFilter)
    list_select_related = ("partner",)
    searches = (begins("recipient", "the beginning of an address"),)
    fields = (
        ("recipient", "partner", "kind"),
        ("happened_at", "created_at"),
        ("status", "attempts", "sent_at"),
        ("next_attempt_at", "claimed_until"),
        "last_error",
        "subject",
        _BODY,
    )
    ordering = ("-id",)
    actions_detail = ("send_again",)

    @confirmed(description="Send again", explain="explain_again", permission="act", icon="send")
    def send_again(self, request: HttpRequest, obj: PartnerMail, data: dict[str, Any]) -> str:
        """Make the mail due at once."""
        changed = mails.send_again(mail_id=obj.pk, actor=Actor.staff(request.user), now=clock.now())
        return "It is sent again." if changed else "It was already waiting to be sent."

    def explain_again(self, request: HttpRequest, obj: PartnerMail) -> list[str]:
        """The consequences, shown before sending."""
        return [f"{obj.recipient} gets this mail once more."]
