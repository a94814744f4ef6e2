"""Whether a definition can be entered with an allocation's settings: lots, ratio and pace."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings

from brokers.registry import get_adapter
from marketplace.definition import Definition
from marketplace.selectors import lots_per_order
from subscriptions.capacity import EntryPace, check_pace
from subscriptions.sizing import check_multiplier


class Sizing(NamedTuple):
    """The settings of an allocation that decide its orders."""

    lot_multiplier: Decimal
    max_lots_per_order: int | None
    broker: str


def order_limits(definition: Definition, day: dt.date) -> dict[str, int]:
    """Maximum lots per order on ``day``, by underlying; unknown limits are left out."""
    return lots_per_order({strategy.underlying for strategy in definition.strategies}, day)


def check_sizing(
    definition: Definition,
    sizing: Sizing,
    limits: Mapping[str, int],
    *,
    hide_legs: bool = False,
) -> None:
    """Raise what an entry would raise: LotsZero, RatioChanged or TooManyOrders, all 400."""
    check_multiplier(definition, sizing.lot_multiplier, hide_legs=hide_legs)
    check_pace(
        definition,
        sizing.lot_multiplier,
        sizing.max_lots_per_order,
        pace=EntryPace(
            get_adapter(sizing.broker).capabilities.windows, settings.QUANTLEAP_ENTRY_GRACE
        ),
        lots_per_order=limits,
    )
