"""Subscriptions whose entry a definition would refuse, before it is published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final, NamedTuple

from marketplace.definition import Definition
from quantleap.core.errors import InvalidRequest
from subscriptions.errors import LotsZero, RatioChanged, TooManyOrders
from subscriptions.models import Allocation, Subscription
from subscriptions.sizing_check import Sizing, check_sizing, order_limits

#: Causes as in execution.descriptions, by the error that refuses a multiplier.
_CAUSES: Final[Mapping[type[InvalidRequest], str]] = {
    LotsZero: "LOTS_ZERO",
    RatioChanged: "RATIO_CHANGED",
    TooManyOrders: "TOO_MANY_ORDERS",
}


class RefusedFollower(NamedTuple):
    """A live subscription that could not enter; ``words`` is the reason, for staff."""

    pk: int
    public_id: str
    cause: str
    words: str


def refused_followers(
    template_id: int, definition: Definition, day: dt.date
) -> list[RefusedFollower]:
    """Live subscriptions with an account whose entry ``definition`` would refuse, ordered by id.

    One query for the allocations and one per underlying; each distinct sizing is checked once.
    """
    limits = order_limits(definition, day)
    rows = (
        Allocation.objects.filter(
            subscription__template_id=template_id, status=Allocation.Status.ACTIVE
        )
        .exclude(subscription__status=Subscription.Status.CANCELLED)
        .order_by("subscription_id", "id")
        .values_list(
            "subscription_id",
            "subscription__public_id",
            "lot_multiplier",
            "max_lots_per_order",
            "account__broker",
        )
    )
    judged: dict[Sizing, tuple[str, str]] = {}
    refused: dict[int, RefusedFollower] = {}
    for pk, public_id, multiplier, max_lots, broker in rows:
        sizing = Sizing(multiplier, max_lots, broker)
        if sizing not in judged:
            judged[sizing] = _judge(definition, sizing, limits)
        cause, words = judged[sizing]
        if cause and pk not in refused:
            refused[pk] = RefusedFollower(pk, public_id, cause, words)
    return list(refused.values())


def _judge(definition: Definition, sizing: Sizing, limits: Mapping[str, int]) -> tuple[str, str]:
    try:
        check_sizing(definition, sizing, limits)
    except InvalidRequest as error:
        cause = _CAUSES.get(type(error))
        if cause is None:
            raise
        return cause, error.details["lot_multiplier"]
    return "", ""
