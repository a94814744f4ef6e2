"""Noren's JSON shapes: every value is text, rows carry ``stat``.

Sources: docs/brokers/adapters.md#sources.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from brokers.simulator.book import Account, Holding, Order, Status
from brokers.simulator.contracts import UNDERLYINGS, Contract, Underlying
from brokers.simulator.exchange import Exchange
from brokers.simulator.market import Quote
from brokers.simulator.rules import band
from brokers.simulator.sessions import Login
from brokers.simulator.tape import LastTrade, last_trade
from quantleap.core.clock import IST

Row = dict[str, str]

STATUS: Final = {
    Status.PENDING: "PENDING",
    Status.TRIGGER_PENDING: "TRIGGER_PENDING",
    Status.OPEN: "OPEN",
    Status.COMPLETE: "COMPLETE",
    Status.CANCELLED: "CANCELED",
    Status.REJECTED: "REJECTED",
}
REPORT: Final = {
    Status.PENDING: "PendingNew",
    Status.TRIGGER_PENDING: "TriggerPending",
    Status.OPEN: "New",
    Status.COMPLETE: "Fill",
    Status.CANCELLED: "Canceled",
    Status.REJECTED: "Rejected",
}
PRODUCT: Final = {"MIS": "I", "NRML": "M"}
PRODUCT_NAME: Final = {"MIS": "MIS", "NRML": "NRML"}
ORDER_TYPE: Final = {"LIMIT": "LMT", "SL": "SL-LMT"}
SEARCH_LIMIT: Final = 50
DEPTH: Final = 5


def stamp(at: dt.datetime) -> str:
    """Noren's timestamp: Indian wall clock, time first."""
    return at.astimezone(IST).strftime("%H:%M:%S %d-%m-%Y")


def exchange_stamp(at: dt.datetime) -> str:
    """The exchange's timestamp: date first."""
    return at.astimezone(IST).strftime("%d-%m-%Y %H:%M:%S")


def session(login: Login, now: dt.datetime, manner: str) -> Row:
    """Answer of a token exchange: as documented, or (``owner``) as the official SDK reads it."""
    row = {
        "request_time": stamp(now),
        "stat": "Ok",
        "access_token": login.token,
        "refresh_token": login.token[::-1],
    }
    if manner == "until":
        return row | {"expires_in": str(int(login.expires_at.timestamp()))}
    if manner == "seconds":
        return row | {"expires_in": str(int((login.expires_at - now).total_seconds()))}
    return row | {
        "susertoken": login.token,
        "USERID": login.client_id,
        "actid": login.client_id,
        "uname": f"CLIENT {login.client_id}",
        "brkname": "ZEBU",
    }


def client(login: Login, now: dt.datetime) -> Row:
    """The owner of a session."""
    return {
        "request_time": stamp(now),
        "stat": "Ok",
        "actid": login.client_id,
        "cliname": f"CLIENT {login.client_id}",
        "email": f"{login.client_id.lower()}@example.com",
    }


def order(o: Order) -> Row:
    """One row of the order book."""
    return _order_state(o, o.status, o.updated_at, o.filled)


def update(o: Order) -> Row:
    """The order in its stream: the row of the book, and the latest event."""
    row = order(o) | {"reporttype": "Replaced" if o.just_changed else REPORT[o.status]}
    del row["stat"]
    if o.trades:
        newest = o.trades[-1]
        row |= {
            "flid": newest.trade_id,
            "fltm": exchange_stamp(newest.at),
            "flqty": str(newest.quantity),
            "flprc": f"{newest.price:.2f}",
        }
    return row


def history(o: Order) -> list[Row]:
    """The order's states, newest first."""
    rows = [
        _order_state(o, status, at, filled) | {"rpt": REPORT[status]}
        for status, at, filled in reversed(o.history)
    ]
    first = _order_state(o, Status.PENDING, o.history[0][1], 0)
    return [*rows, first | {"rpt": "NewAck"}]


def _order_state(o: Order, status: Status, at: dt.datetime, filled: int) -> Row:
    row = {
        "stat": "Ok",
        "norenordno": o.order_id,
        "kidid": "1",
        "uid": o.call.client_id,
        "actid": o.call.client_id,
        "exch": o.contract.exchange,
        "tsym": o.contract.noren_symbol,
        "token": str(o.contract.token),
        "qty": str(o.quantity),
        "prc": f"{o.price:.2f}",
        "trgprc": f"{o.trigger_price:.2f}",
        "prctyp": ORDER_TYPE[o.order_type],
        "prd": PRODUCT[o.call.product],
        "s_prdt_ali": PRODUCT_NAME[o.call.product],
        "trantype": "B" if o.call.side == "BUY" else "S",
        "ret": o.call.validity,
        "dscqty": "0",
        "amo": "No",
        "status": STATUS[status],
        "st_intrn": STATUS[status],
        "fillshares": str(filled),
        "cancelqty": str(o.cancelled if status is Status.CANCELLED else 0),
        "remarks": o.call.tag,
        "pp": "2",
        "ti": f"{o.contract.tick}",
        "ls": str(o.contract.lot_size),
        "mult": "1",
        "norentm": stamp(at),
        "ordenttm": str(int(o.history[0][1].timestamp())),
        "snonum": "",
    }
    if filled:
        row["avgprc"] = f"{o.average_price:.2f}"
        row["rqty"] = str(o.quantity - filled)
    if o.exchange_order_id and status is not Status.PENDING:
        row["exchordid"] = o.exchange_order_id
        row["exch_tm"] = exchange_stamp(at)
    if status is Status.REJECTED:
        row["rejreason"] = o.message
    return row


def trades(o: Order) -> list[Row]:
    """The fills of an order."""
    return [
        order(o)
        | {
            "flid": trade.trade_id,
            "fltm": exchange_stamp(trade.at),
            "flqty": str(trade.quantity),
            "flprc": f"{trade.price:.2f}",
        }
        for trade in o.trades
    ]


def position(exchange: Exchange, client_id: str, row: Holding) -> Row:
    """One row of the position book; a closed one stays listed with netqty 0."""
    contract = row.contract
    last = exchange.quote(contract).last
    net = row.quantity
    buy, sell = _mean(row.buy_value, row.buy_quantity), _mean(row.sell_value, row.sell_quantity)
    average = buy if net > 0 else sell if net < 0 else Decimal(0)
    closed = min(row.buy_quantity, row.sell_quantity)
    return {
        "stat": "Ok",
        "uid": client_id,
        "actid": client_id,
        "exch": contract.exchange,
        "tsym": contract.noren_symbol,
        "token": str(contract.token),
        "prd": PRODUCT[row.product],
        "s_prdt_ali": PRODUCT_NAME[row.product],
        "netqty": str(net),
        "netavgprc": f"{average:.2f}",
        "netupldprc": "0.00",
        "daybuyqty": str(row.buy_quantity),
        "daysellqty": str(row.sell_quantity),
        "daybuyavgprc": f"{buy:.2f}",
        "daysellavgprc": f"{sell:.2f}",
        "daybuyamt": f"{row.buy_value:.2f}",
        "daysellamt": f"{row.sell_value:.2f}",
        "cfbuyqty": str(max(row.overnight, 0)),
        "cfsellqty": str(max(-row.overnight, 0)),
        "openbuyqty": "0",
        "opensellqty": "0",
        "lp": f"{last:.2f}",
        "rpnl": f"{closed * (sell - buy):.2f}",
        "urmtom": f"{net * (last - average):.2f}",
        "bep": f"{average:.2f}",
        "mult": "1",
        "prcftr": "1.000000",
        "pp": "2",
        "ti": f"{contract.tick}",
        "ls": str(contract.lot_size),
    }


def _mean(value: Decimal, quantity: int) -> Decimal:
    return value / quantity if quantity else Decimal(0)


def limits(exchange: Exchange, account: Account) -> Row:
    """Funds of the account in rupees."""
    used = account.margin_used(exchange.spots())
    return {
        "request_time": stamp(exchange.now()),
        "stat": "Ok",
        "actid": account.client_id,
        "prfname": "ZEBU",
        "cash": f"{account.funds:.2f}",
        "payin": "0.00",
        "payout": "0.00",
        "brkcollamt": "0.00",
        "unclearedcash": "0.00",
        "daycash": "0.00",
        "marginused": f"{used:.2f}",
        "span": f"{used:.2f}",
        "expo": "0.00",
        "premium": "0.00",
        "collateral": "0.00",
        "peak_mar": f"{used:.2f}",
        "rpnl": "0.00",
        "urmtom": "0.00",
        "turnover": "0.00",
    }


def quote(exchange: Exchange, exch: str, token: str) -> Row | None:
    """Touchline and depth of one instrument, or None if it does not exist."""
    now = exchange.now()
    t = exchange.market.market_time(now)
    at = dt.datetime.fromtimestamp(t, IST)
    head = {
        "request_time": stamp(now),
        "stat": "Ok",
        "exch": exch,
        "token": token,
        "lut": str(int(t)),
        "pp": "2",
    }
    index = _index(exch, token)
    if index is not None:
        last = f"{exchange.market.spot(index.name, t):.2f}"
        head |= {"ltt": f"{at:%H:%M:%S}", "ltd": f"{at:%d-%m-%Y}"}
        names = {"tsym": index.noren_index, "cname": index.noren_index, "instname": "UNDIND"}
        return head | names | {"lp": last, "o": last, "h": last, "l": last, "c": last, "ls": "1"}
    contract = _contract(exchange, exch, token)
    if contract is None:
        return None
    trade = last_trade(exchange, contract, t)
    return head | _contract_quote(contract, exchange.market.quote(contract, t), trade)


def _contract_quote(contract: Contract, q: Quote, trade: LastTrade) -> Row:
    low, high = band(q)
    when = {"ltt": "00:00:00"}
    if trade.today:
        when = {"ltt": f"{trade.at:%H:%M:%S}", "ltd": f"{trade.at:%d-%m-%Y}"}
    row = when | {
        "tsym": contract.noren_symbol,
        "instname": "FUTIDX" if contract.kind == "FUT" else "OPTIDX",
        "lp": f"{trade.price:.2f}",
        "c": f"{trade.price:.2f}",
        "ltq": str(contract.lot_size if trade.today else 0),
        "v": str(trade.volume),
        "oi": str(contract.lot_size * 20000),
        "uc": f"{high:.2f}",
        "lc": f"{low:.2f}",
        "ls": str(contract.lot_size),
        "ti": f"{contract.tick}",
        "mult": "1",
    }
    for k in range(DEPTH):
        bid = max(q.bid - contract.tick * k, Decimal(0))
        quantity = contract.lot_size * (k + 2)
        row[f"bp{k + 1}"] = f"{bid:.2f}"
        row[f"bq{k + 1}"] = str(quantity if bid else 0)
        row[f"bo{k + 1}"] = "3" if bid else "0"
        row[f"sp{k + 1}"] = f"{q.ask + contract.tick * k:.2f}"
        row[f"sq{k + 1}"] = str(quantity)
        row[f"so{k + 1}"] = "3"
    return row


def search(exchange: Exchange, exch: str, words: Sequence[str]) -> list[Row]:
    """Instruments whose trading symbol contains every word."""
    if exch in ("NSE", "BSE"):
        return [
            {
                "exch": exch,
                "token": str(u.noren_token),
                "tsym": u.noren_index,
                "cname": u.noren_index,
                "instname": "UNDIND",
                "pp": "2",
                "ti": "0.05",
                "ls": "1",
            }
            for u in UNDERLYINGS.values()
            if u.spot_exchange == exch
            and all(word in f"{u.noren_index} {u.name}".upper() for word in words)
        ]
    contracts = (
        c
        for c in exchange.contracts.of(exch)
        if all(word in f"{c.noren_symbol} {c.underlying} {c.kind} {c.strike}" for word in words)
    )
    return [_scrip(c) for c, _ in zip(contracts, range(SEARCH_LIMIT), strict=False)]


def security(exchange: Exchange, exch: str, token: str) -> Row | None:
    """Contract details, including the freeze quantity."""
    contract = _contract(exchange, exch, token)
    if contract is None:
        return None
    return {
        "request_time": stamp(exchange.now()),
        "stat": "Ok",
        **_scrip(contract),
        "exd": contract.expiry.strftime("%d-%b-%Y").upper(),
        "strprc": str(contract.strike),
        "frzqty": str(contract.freeze_quantity),
        "mult": "1",
        "prcftr_d": "(1 / 1 ) * (1 / 1)",
    }


def _scrip(contract: Contract) -> Row:
    return {
        "exch": contract.exchange,
        "token": str(contract.token),
        "tsym": contract.noren_symbol,
        "symname": contract.underlying,
        "optt": "XX" if contract.kind == "FUT" else contract.kind,
        "instname": "FUTIDX" if contract.kind == "FUT" else "OPTIDX",
        "pp": "2",
        "ti": f"{contract.tick}",
        "ls": str(contract.lot_size),
    }


def _index(exch: str, token: str) -> Underlying | None:
    key = (exch, token)
    matches = (u for u in UNDERLYINGS.values() if (u.spot_exchange, str(u.noren_token)) == key)
    return next(matches, None)


def _contract(exchange: Exchange, exch: str, token: str) -> Contract | None:
    if not (token.isascii() and token.isdigit()):
        return None
    contract = exchange.contracts.by_token.get(int(token))
    return contract if contract is not None and contract.exchange == exch else None
