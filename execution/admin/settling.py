"""*Settle*: a person has looked in the broker's app, and alarms are dealt with.

The last step of I4 (every intent ends by name): what was escalated is settled by somebody.
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
    """What was found; it stands with the alarms and in the audit log."""

    note = forms.CharField(
        label="What you found and did",
        max_length=500,
        widget=forms.Textarea,
        help_text="For example: order 26082500012 is cancelled in the broker's book.",
    )


class SettleMixin:
    """The action of a page whose rows are an alarm or have some. Name it in ``actions_detail``."""

    def to_settle(self, row: Any) -> Sequence[Alarm]:
        """The alarms that are settled from the page of ``row``."""
        raise NotImplementedError

    def settle_them(self, row: Any, note: str, actor: Actor, now: dt.datetime) -> str:
        """Settle them through a service; what is settled now, for the message."""
        raise NotImplementedError

    def what_settling_means(self, request: HttpRequest, row: Any) -> list[str]:
        """Before somebody says that it is dealt with."""
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
        """A person has looked."""
        settled = self.settle_them(row, data["note"], Actor.staff(request.user), clock.now())
        return f"{settled} is settled."
