"""The action *Settle*: a person has looked into the broker's app and closes alarms with a note.

The last step of I4 (every intent ends by name): a person settles what was escalated.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest

from execution.alarms import means
from execution.models import Alarm
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, confirmed
from quantleap.core.audit import Actor


class SettleForm(ConfirmForm):
    """The note on what was found; stored with the alarms and in the audit log."""

    note = forms.CharField(
        label="What you found and did",
        max_length=500,
        widget=forms.Textarea,
        help_text="For example: order 26082500012 is cancelled in the broker's book.",
    )


class SettleMixin:
    """The action for pages of alarms or of rows with alarms. Add it to ``actions_detail``."""

    def to_settle(self, row: Any) -> Sequence[Alarm]:
        """The open alarms that are settled from the page of ``row``."""
        raise NotImplementedError

    def settle_them(self, row: Any, note: str, actor: Actor, now: dt.datetime) -> str:
        """Settle them through a service; return the name of what was settled, for the message."""
        raise NotImplementedError

    def what_settling_means(self, request: HttpRequest, row: Any) -> list[str]:
        """The sentences on the confirmation page."""
        alarms = self.to_settle(row)
        which = "the alarm" if len(alarms) == 1 else "these alarms"
        return [
            *(f"{means(alarm.cause)} {alarm.words}".strip() for alarm in alarms),
            "Look at the account in the broker's own app first: orders, positions. Settling "
            f"changes nothing there and sends nothing; it takes {which} off the list.",
        ]

    @confirmed(
        description="Settle",
        explain="what_settling_means",
        form=SettleForm,
        permission="act",
        icon="check",
    )
    def settle(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> str:
        """Settle the alarms; return the success message."""
        settled = self.settle_them(row, data["note"], Actor.staff(request.user), clock.now())
        return f"{settled} is settled."
