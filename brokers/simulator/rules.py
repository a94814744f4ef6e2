"""What the exchange and the broker's risk system refuse, and why. Pure.

Which refusals are immediate and which come later as a REJECTED order follows real brokers
(docs/brokers/simulator.md). The wire modules supply the texts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from brokers.simulator.book import Account, Order, PlaceCall
from brokers.simulator.contracts import Contract
from brokers.simulator.market import Quote, tick_down, tick_up

BAND: Final = 0.40
BAND_FLOOR: Final = 20.0
PROTECTION_SLABS: Final = ((10, Decimal(5)), (100, Decimal(3)), (500, Decimal(2)))
PROTECTION_REST: Final = Decimal(1)


class Reason(enum.StrEnum):
    """Why a call or an order is refused; ``cause`` is the matching ``brokers.base.Cause``."""

    SYMBOL = "SYMBOL"
    LOT = "LOT"
    FREEZE = "FREEZE"
    TICK = "TICK"
    PRICE_BAND = "PRICE_BAND"
    POSITION_LIMIT = "POSITION_LIMIT"
    RISK = "RISK"
    CONTRACT_RESTRICTED = "CONTRACT_RESTRICTED"
    UNPROTECTED = "UNPROTECTED"
    PRODUCT = "PRODUCT"
    APP_NOT_PERMITTED = "APP_NOT_PERMITTED"
    SEGMENT = "SEGMENT"
    MARKET_CLOSED = "MARKET_CLOSED"
    RATE_LIMIT = "RATE_LIMIT"
    DAILY_LIMIT = "DAILY_LIMIT"
    MARGIN = "MARGIN"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    IP_NOT_REGISTERED = "IP_NOT_REGISTERED"
    BROKER_DOWN = "BROKER_DOWN"
    INVALID = "INVALID"
    CHANGED_TOO_OFTEN = "CHANGED_TOO_OFTEN"
    OTHER = "OTHER"

    @property
    def cause(self) -> str:
        """The normalised cause."""
        invalid = (Reason.SYMBOL, Reason.LOT, Reason.TICK, Reason.UNPROTECTED)
        if self is Reason.CHANGED_TOO_OFTEN:
            return Reason.OTHER.value
        return "INVALID" if self in invalid else self.value


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal and the numbers its message needs."""

    reason: Reason
    facts: Mapping[str, object] = field(default_factory=dict)


def too_fast(limit: int = 10) -> Refusal:
    """The refusal of one call more than ``limit`` in a second."""
    return Refusal(Reason.RATE_LIMIT, {"received": limit + 1, "window": "second", "limit": limit})


def check_call(call: PlaceCall, contract: Contract, *, market_open: bool) -> Refusal | None:
    """Refusals that the broker's gateway gives at once, before accepting the order."""
    if not market_open:
        return Refusal(Reason.MARKET_CLOSED)
    if call.quantity <= 0 or call.quantity % contract.lot_size:
        return Refusal(Reason.LOT, {"lot": contract.lot_size, "quantity": call.quantity})
    if call.quantity > contract.freeze_quantity:
        return Refusal(
            Reason.FREEZE,
            {
                "freeze": contract.freeze_quantity,
                "quantity": call.quantity,
                "underlying": contract.underlying,
            },
        )
    if call.order_type in ("MARKET", "SL-M"):
        if call.protection is None or call.protection == 0:
            return Refusal(Reason.UNPROTECTED)
        return None
    for price in (call.price, call.trigger_price if call.order_type == "SL" else None):
        if price is not None and (price <= 0 or price % contract.tick):
            return Refusal(Reason.TICK, {"tick": contract.tick, "price": price})
    return None


def check_order(
    order: Order, quote: Quote, account: Account, spots: dict[str, float]
) -> Refusal | None:
    """Refusals that arrive after acceptance: the exchange's price band, then funds."""
    outside = outside_band(order.price, quote)
    if outside is not None:
        return outside
    needed = _margin_needed(order, account, spots)
    available = account.funds - account.margin_used(spots)
    if needed > max(available, Decimal(0)):
        return Refusal(
            Reason.MARGIN, {"required": f"{needed:.2f}", "available": f"{available:.2f}"}
        )
    return None


def outside_band(price: Decimal, quote: Quote) -> Refusal | None:
    """The refusal of a limit (rupees) outside the band, for a new order or a change."""
    low, high = band(quote)
    if low <= float(price) <= high:  # the theoretical price is a float
        return None
    facts = {"price": price, "low": f"{low:.2f}", "high": f"{high:.2f}"}
    return Refusal(Reason.PRICE_BAND, facts)


def band(quote: Quote) -> tuple[float, float]:
    """Lowest and highest price in rupees that the exchange accepts around the theoretical price."""
    width = max(quote.theoretical * BAND, BAND_FLOOR)
    return max(quote.theoretical - width, 0.0), quote.theoretical + width


def protected_limit(call: PlaceCall, quote: Quote, tick: Decimal) -> tuple[Decimal, Decimal]:
    """Limit price (rupees) of a protected market order, and its percent.

    Automatic protection (-1) uses the slab of the last price.
    """
    percent = call.protection or Decimal(0)
    if percent < 0:
        percent = next((p for below, p in PROTECTION_SLABS if quote.last < below), PROTECTION_REST)
    factor = 1 + float(percent) / 100 * (1 if call.side == "BUY" else -1)
    value = float(quote.last) * factor
    price = tick_up(value, tick) if call.side == "BUY" else tick_down(value, tick)
    return max(price, tick), percent


def _margin_needed(order: Order, account: Account, spots: dict[str, float]) -> Decimal:
    """Rupees that the order would block beyond what closing an opposite position frees."""
    held = account.net.get(order.contract.token)
    net = held[1] if held else 0
    closing = min(max(-net * order.sign, 0), order.quantity)
    opening = order.quantity - closing
    if order.sign > 0 and order.contract.kind != "FUT":
        return opening * order.price
    notional = opening * Decimal(round(spots[order.contract.underlying]))
    return notional * Decimal("0.12")
