"""Mails to partners' own contacts: read-only, with an action to send one again."""

from __future__ import annotations

from typing import Final

from django.contrib import admin

from partners.admin.common import PartnerFilter
from partners.notices import mails
from partners.notices.models import PartnerMail
from quantleap.core.admin import QueuedMailAdmin
from quantleap.core.admin_columns import lines, linked
from quantleap.core.large_lists import begins

_BODY: Final = lines("body")


@admin.register(PartnerMail)
class PartnerMailAdmin(QueuedMailAdmin):
    """Mails that tell a partner's contacts that it was suspended or reinstated."""

    empty_title = "No mail was sent"
    empty_text = "The contacts of a partner get a mail when it is suspended or reinstated."
    queue = mails.QUEUE
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
