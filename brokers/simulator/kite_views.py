"""Kite's JSON shapes of orders, trades, positions and quotes.

Field lists from https://kite.trade/docs/connect/v3/; timestamps are naive IST.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from brokers.simulator.book import Account, Holding, Order, Status
from brokers.simulator.contracts import UNDERLYINGS, Contract
from brokers.simulator.exchange import Exchange
from brokers.simulator.rules import band
from brokers.simulator.sessions import Login
from brokers.simulator.tape import last_trade
from quantleap.core.clock import IST

STATUS: Final = {
    Status.PENDING: "OPEN PENDING",
    Status.TRIGGER_PENDING: "TRIGGER PENDING",
    Status.OPEN: "OPEN",
    Status.COMPLETE: "COMPLETE",
    Status.CANCELLED: "CANCELLED",
    Status.REJECTED: "REJECTED",
}
DEPTH: Final = 5
EXCHANGES: Final = ["BSE", "BFO", "NFO", "MCX", "CDS", "NSE"]
PRODUCTS: Final = ["CNC", "NRML", "MIS", "CO"]
ORDER_TYPES: Final = ["MARKET", "LIMIT", "SL", "SL-M"]


def success(data: object) -> dict[str, object]:
    """The success envelope."""
    return {"status": "success", "data": data}


def stamp(at: dt.datetime) -> str:
    """Kite's timestamp: naive, Indian wall clock, whole seconds."""
    return at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def session(login: Login) -> dict[str, object]:
    """Answer of a token exchange."""
    return {
        **profile(login),
        "api_key": login.api_key,
        "access_token": login.token,
        "public_token": hashlib.md5(login.token.encode(), usedforsecurity=False).hexdigest(),
        "enctoken": "",
        "refresh_token": "",
        "silo": "",
        "login_time": stamp(login.created_at),
        "avatar_url": None,
        "meta": {"demat_consent": "consent"},
    }


def profile(login: Login) -> dict[str, object]:
    """User profile."""
    return {
        "user_id": login.client_id,
        "user_type": "individual",
        "email": f"{login.client_id.lower()}@example.com",
        "user_name": f"Client {login.client_id}",
        "user_shortname": "Client",
        "broker": "ZERODHA",
        "exchanges": EXCHANGES,
        "products": PRODUCTS,
        "order_types": ORDER_TYPES,
        "avatar_url": None,
        "meta": {"demat_consent": "consent"},
    }


def order(o: Order) -> dict[str, object]:
    """One row of the order book."""
    row = _order_state(o, o.status, o.updated_at, o.filled)
    row["tags"] = _tags(o)
    return row


def history(o: Order) -> list[dict[str, object]]:
    """The order's states, oldest first."""
    received = o.history[0][1]
    rows: list[dict[str, object]] = []
    for early in ("PUT ORDER REQ RECEIVED", "VALIDATION PENDING"):
        rows.append(_order_state(o, Status.PENDING, received, 0) | {"status": early})
    rows += [_order_state(o, status, at, filled) for status, at, filled in o.history]
    return rows


def _order_state(o: Order, status: Status, at: dt.datetime, filled: int) -> dict[str, object]:
    rejected = status is Status.REJECTED
    reached_exchange = bool(o.exchange_order_id) and status is not Status.PENDING
    return {
        "placed_by": o.call.client_id,
        "account_id": o.call.client_id,
        "order_id": o.order_id,
        "exchange_order_id": o.exchange_order_id if reached_exchange else None,
        "parent_order_id": None,
        "status": STATUS[status],
        "status_message": o.message or None if rejected else None,
        "status_message_raw": o.raw_message or None if rejected else None,
        "order_timestamp": stamp(o.history[0][1]),
        "exchange_update_timestamp": stamp(at) if reached_exchange else None,
        "exchange_timestamp": stamp(at) if reached_exchange else None,
        "variety": "regular",
        "modified": o.modified,
        "exchange": o.contract.exchange,
        "tradingsymbol": o.contract.kite_symbol,
        "instrument_token": o.contract.kite_token,
        "order_type": o.order_type,
        "transaction_type": o.call.side,
        "validity": o.call.validity,
        "validity_ttl": 0,
        "product": o.call.product,
        "quantity": o.quantity,
        "disclosed_quantity": 0,
        "price": o.price,
        "trigger_price": o.trigger_price,
        "average_price": o.average_price if filled else 0,
        "filled_quantity": filled,
        "pending_quantity": 0 if status.is_final else o.quantity - filled,
        "cancelled_quantity": o.cancelled if status is Status.CANCELLED else 0,
        "market_protection": o.call.protection or 0,
        "meta": {},
        "tag": o.call.tag or None,
        "guid": f"01X{o.order_id}",
    }


def _tags(o: Order) -> list[str]:
    tags = [o.call.tag] if o.call.tag else []
    if o.call.order_type == "MARKET" and o.call.protection is not None:
        tags += ["mktp", f"mktp:{o.call.protection:.2f}"]
    return tags


def trades(o: Order) -> list[dict[str, object]]:
    """The fills of an order."""
    return [
        {
            "trade_id": trade.trade_id,
            "order_id": o.order_id,
            "exchange_order_id": o.exchange_order_id,
            "exchange": o.contract.exchange,
            "tradingsymbol": o.contract.kite_symbol,
            "instrument_token": o.contract.kite_token,
            "product": o.call.product,
            "average_price": trade.price,
            "quantity": trade.quantity,
            "transaction_type": o.call.side,
            "fill_timestamp": stamp(trade.at),
            "order_timestamp": stamp(trade.at)[11:],
            "exchange_timestamp": stamp(trade.at),
        }
        for trade in o.trades
    ]


def positions(
    exchange: Exchange, account: Account, now: dt.datetime, lag: float = 0.0
) -> dict[str, object]:
    """Net and day positions, ``lag`` seconds behind the fills; closed ones stay listed with 0."""
    rows = account.holdings(now, lag)
    return {
        "net": [_position(exchange, row) for row in rows],
        "day": [_position(exchange, row) for row in rows if row.buy_quantity or row.sell_quantity],
    }


def _position(exchange: Exchange, row: Holding) -> dict[str, object]:
    last = exchange.quote(row.contract).last
    pnl = row.sell_value - row.buy_value + row.quantity * last
    buy_price = _mean(row.buy_value, row.buy_quantity)
    sell_price = _mean(row.sell_value, row.sell_quantity)
    average = buy_price if row.quantity > 0 else sell_price if row.quantity < 0 else Decimal(0)
    return {
        "tradingsymbol": row.contract.kite_symbol,
        "exchange": row.contract.exchange,
        "instrument_token": row.contract.kite_token,
        "product": row.product,
        "quantity": row.quantity,
        "overnight_quantity": row.overnight,
        "multiplier": 1,
        "average_price": average,
        "close_price": 0,
        "last_price": last,
        "value": row.sell_value - row.buy_value,
        "pnl": pnl,
        "m2m": pnl,
        "unrealised": pnl,
        "realised": 0,
        "buy_quantity": row.buy_quantity,
        "buy_price": buy_price,
        "buy_value": row.buy_value,
        "buy_m2m": row.buy_value,
        "sell_quantity": row.sell_quantity,
        "sell_price": sell_price,
        "sell_value": row.sell_value,
        "sell_m2m": row.sell_value,
        "day_buy_quantity": row.buy_quantity,
        "day_buy_price": buy_price,
        "day_buy_value": row.buy_value,
        "day_sell_quantity": row.sell_quantity,
        "day_sell_price": sell_price,
        "day_sell_value": row.sell_value,
    }


def _mean(value: Decimal, quantity: int) -> Decimal:
    return (value / quantity).quantize(Decimal("0.0001")) if quantity else Decimal(0)


def margins(exchange: Exchange, account: Account) -> dict[str, Any]:
    """Funds of both segments; F&O is part of ``equity``."""
    used = account.margin_used(exchange.spots())
    return {
        "equity": _segment(account.funds, used),
        "commodity": _segment(Decimal(0), Decimal(0)),
    }


def _segment(cash: Decimal, used: Decimal) -> dict[str, object]:
    return {
        "enabled": True,
        "net": cash - used,
        "available": {
            "adhoc_margin": 0,
            "cash": cash,
            "opening_balance": cash,
            "live_balance": cash - used,
            "collateral": 0,
            "intraday_payin": 0,
        },
        "utilised": {
            "debits": used,
            "exposure": 0,
            "m2m_realised": 0,
            "m2m_unrealised": 0,
            "option_premium": 0,
            "payout": 0,
            "span": used,
            "holding_sales": 0,
            "turnover": 0,
            "liquid_collateral": 0,
            "stock_collateral": 0,
            "delivery": 0,
        },
    }


def quotes(exchange: Exchange, path: str, keys: Sequence[str]) -> dict[str, object]:
    """Quotes by the requested key; unknown keys are silently missing."""
    market_time = exchange.market.market_time(exchange.now())
    quotes_by_key: dict[str, object] = {}
    for key in keys:
        segment, _, symbol = key.partition(":")
        contract = exchange.contracts.by_kite_symbol.get(symbol)
        if contract is not None and contract.exchange == segment:
            quotes_by_key[key] = _contract_quote(exchange, contract, path, market_time)
        for name, underlying in UNDERLYINGS.items():
            if (underlying.spot_exchange, underlying.kite_index) == (segment, symbol):
                quotes_by_key[key] = _index_quote(exchange, name, path, market_time)
    return quotes_by_key


def _contract_quote(
    exchange: Exchange, contract: Contract, path: str, t: float
) -> dict[str, object]:
    quote = exchange.market.quote(contract, t)
    trade = last_trade(exchange, contract, t)
    row: dict[str, object] = {
        "instrument_token": contract.kite_token,
        "last_price": trade.price,
    }
    if path == "/quote/ltp":
        return row
    ohlc = exchange.market.ohlc(contract, t)
    row["ohlc"] = {"open": ohlc.open, "high": ohlc.high, "low": ohlc.low, "close": ohlc.close}
    if path == "/quote/ohlc":
        return row
    low, high = band(quote)
    at = stamp(dt.datetime.fromtimestamp(t, dt.UTC))
    tick, lot = contract.tick, contract.lot_size
    levels = range(DEPTH)
    return row | {
        "timestamp": at,
        "last_trade_time": stamp(trade.at),
        "last_quantity": lot,
        "average_price": trade.price if trade.today else 0,
        "volume": trade.volume,
        "buy_quantity": lot * 900,
        "sell_quantity": lot * 850,
        "net_change": 0,
        "oi": lot * 20000,
        "oi_day_high": lot * 21000,
        "oi_day_low": lot * 18000,
        "lower_circuit_limit": round(low, 2),
        "upper_circuit_limit": round(high, 2),
        "depth": {
            "buy": [_level(quote.bid - tick * k, lot * (k + 2)) for k in levels],
            "sell": [_level(quote.ask + tick * k, lot * (k + 2)) for k in levels],
        },
    }


def index_level(exchange: Exchange, name: str, t: float) -> Decimal:
    """An index in whole paise at unix second ``t``: the same in every answer and packet."""
    return Decimal(str(round(exchange.market.spot(name, t), 2)))


def _index_quote(exchange: Exchange, name: str, path: str, t: float) -> dict[str, object]:
    last = index_level(exchange, name, t)
    row: dict[str, object] = {
        "instrument_token": UNDERLYINGS[name].kite_token,
        "last_price": last,
    }
    if path == "/quote/ltp":
        return row
    row["ohlc"] = {"open": last, "high": last, "low": last, "close": last}
    if path == "/quote/ohlc":
        return row
    at = stamp(dt.datetime.fromtimestamp(t, dt.UTC))
    empty = [_level(Decimal(0), 0) for _ in range(DEPTH)]
    return row | {
        "timestamp": at,
        "net_change": 0,
        "oi": 0,
        "depth": {"buy": empty, "sell": empty},
    }


def _level(price: Decimal, quantity: int) -> dict[str, object]:
    if price <= 0:
        return {"price": 0, "quantity": 0, "orders": 0}
    return {"price": price, "quantity": quantity, "orders": 3 if quantity else 0}
