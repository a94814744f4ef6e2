"""This room's entries in the console's sidebar, between customers and webhooks."""

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
