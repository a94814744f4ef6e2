"""What a price line has heard, and what it is subscribed to."""

from __future__ import annotations

import datetime as dt
import time

from brokers.feed import FeedQuotes
from brokers.simulator.contracts import Contract
from brokers.tests.factories import make_contract
from brokers.tests.running import Running
from marketplace.ports import Need, Quote
from quantleap.core import clock


def near_the_money(running: Running, count: int) -> list[int]:
    """Our ids of contracts that the simulator lists, under its own tokens."""
    exchange = running.simulator.exchange
    spot = exchange.spots()["NIFTY"]
    listed: list[Contract] = sorted(
        (c for c in exchange.contracts.contracts if c.kind in ("CE", "PE")),
        key=lambda c: (c.underlying != "NIFTY", c.expiry, abs(c.strike - spot)),
    )[:count]
    contract_ids = []
    for contract in listed:
        ours = make_contract(
            contract.underlying, contract.expiry, int(contract.strike), contract.kind
        )
        ours.broker_names.filter(broker="zebu").update(token=str(contract.token))
        ours.broker_names.filter(broker="zerodha").update(symbol=contract.kite_symbol)
        contract_ids.append(ours.pk)
    return contract_ids


def heard_until(contracts: list[int], younger: dt.timedelta) -> dict[int, Quote]:
    """Quotes of all ``contracts``, the last of them so much younger than the first; bounded."""
    feeds, until = FeedQuotes(), time.monotonic() + 20
    first: dt.datetime | None = None
    while time.monotonic() < until:
        quotes = feeds.read((), contracts, now=clock.now(), need=Need.RISK).quotes
        if len(quotes) == len(contracts):
            oldest = min(quote.at for quote in quotes.values())
            first = first or oldest
            if oldest - first >= younger:
                return dict(quotes)
    raise AssertionError(f"not heard: {first}")
