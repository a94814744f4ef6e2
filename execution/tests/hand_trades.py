"""Orders that a customer places in the broker's own app, without us."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings

from brokers import selectors, transport_sync
from brokers.base import BrokerInstrument, OrderRequest, Product, SendResult, Side
from brokers.models import BrokerAccount
from brokers.registry import get_adapter
from execution.tests.faults.judge import BY_HAND
from quantleap.core import clock


def trade_by_hand(
    account: BrokerAccount, symbol: str, side: Side, quantity: int, price: Decimal
) -> SendResult:
    """Place a limit order (units, rupees) by the account's session; return the broker's answer."""
    session = selectors.trading_accounts([account.pk], clock.now())[account.pk].session
    assert session is not None
    adapter = get_adapter(account.broker)
    order = OrderRequest(
        tag=BY_HAND,
        instrument=BrokerInstrument("NFO", symbol, ""),
        side=side,
        quantity=quantity,
        product=Product.INTRADAY,
        price=price,
    )
    base = settings.QUANTLEAP_BROKERS[account.broker]["api"]
    return adapter.parse_place(
        transport_sync.send(adapter.place_order(session, order), base_url=base)
    )
