"""Responses that partners' and customers' routes share."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api.serializers import ExecutionListAnswer, PositionListAnswer
from execution.pricing import mark
from execution.selectors import OpenLeg, execution_summary, executions_of, open_legs
from marketplace.ports import QUOTES, Quote
from quantleap.core.api.pagination import paginate_by_cursor
from quantleap.core.money import CURRENCY, rupees

PAISA: Final = Decimal("0.01")


def executions(request: Request, subscription_id: int, public_id: str) -> Response:
    """A page of a subscription's executions."""
    rows, next_cursor = paginate_by_cursor(request, executions_of(subscription_id))
    answer = {
        "statusCode": 200,
        "subscription_id": public_id,
        "executions": [execution_summary(row) for row in rows],
        "next_cursor": next_cursor,
    }
    return Response(ExecutionListAnswer(answer).data)


def positions(subscription_id: int, public_id: str, now: dt.datetime) -> Response:
    """Open legs with MTM at the platform's prices; null for a leg without a usable quote."""
    legs = open_legs(subscription_id)
    quotes = QUOTES.get().quotes({leg.contract_id for leg in legs}, now=now) if legs else {}
    oldest = now - dt.timedelta(seconds=settings.QUANTLEAP_QUOTE_MAX_AGE_RISK)
    rows = [_position(leg, quotes.get(leg.contract_id), oldest) for leg in legs]
    known = [row["mtm"] for row in rows if row["mtm"] is not None]
    answer = {
        "statusCode": 200,
        "subscription_id": public_id,
        "positions": rows,
        "total_mtm": sum(known, Decimal(0)) if len(known) == len(rows) else None,
        "as_of": now,
    }
    return Response(PositionListAnswer(answer).data)


def _position(leg: OpenLeg, quote: Quote | None, oldest: dt.datetime) -> dict[str, Any]:
    worth = None if quote is None else mark(quote, oldest=oldest, tick=PAISA)
    mtm = None if worth is None else rupees((worth.price - leg.average_price) * leg.quantity)
    return {
        "execution_id": leg.execution_id,
        "contract": leg.contract,
        "quantity": leg.quantity,
        "average_price": rupees(leg.average_price),
        "last_price": None if worth is None else rupees(worth.price),
        "last_price_at": None if worth is None else worth.at,
        "mtm": mtm,
        "currency": CURRENCY,
        "stop_price": leg.stop_price,
        "target_price": leg.target_price,
    }
