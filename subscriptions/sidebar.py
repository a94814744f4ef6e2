"""The room's lines of the console's sidebar, between the customers and their webhooks."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

SUBSCRIPTIONS: Final = Section(
    "Partners",
    (
        Link("Subscriptions", "autorenew", "subscriptions.Subscription"),
        Link("Holds", "front_hand", "subscriptions.Hold"),
    ),
    place=2,
)
