"""Order updates in the brokers' wire formats."""

from __future__ import annotations

from typing import Any

from brokers.order_updates import OrderUpdates, get_updates

#: Frames that are about one order, by broker, with the fields their pages list.
NOREN: dict[str, Any] = {
    "t": "om",
    "norenordno": "20121300062715",
    "uid": "Z56004",
    "actid": "Z56004",
    "exch": "NFO",
    "tsym": "NIFTY08SEP26C25000",
    "qty": "130",
    "prc": "127230",
    "prd": "I",
    "status": "COMPLETE",
    "reporttype": "Fill",
    "trantype": "B",
    "prctyp": "LMT",
    "ret": "DAY",
    "fillshares": "130",
    "avgprc": "127.23",
    "fltm": "08-09-2026 10:00:01",
    "flid": "102",
    "flqty": "65",
    "flprc": "127.20",
    "remarks": "Q0123456789AB1",
}


def spoken(kind: str) -> OrderUpdates:
    updates = get_updates(kind)
    assert updates is not None
    return updates
