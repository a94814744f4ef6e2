"""The brokers' texts of refusals.

Texts observed at a broker are kept word for word (brokers/causes.py and brokers/price_bands.py say
where); the others imitate the style.
"""

from __future__ import annotations

from typing import Final

from brokers.simulator.book import Order
from brokers.simulator.rules import Reason, Refusal
from brokers.simulator.sessions import ZERODHA

#: reason -> HTTP status, error_type, message
KITE_REFUSALS: Final[dict[Reason, tuple[int, str, str]]] = {
    Reason.SYMBOL: (
        400,
        "InputException",
        "The instrument you are placing an order for has either expired or does not exist.",
    ),
    Reason.LOT: (400, "InputException", "Invalid quantity. Enter a multiple of {lot}."),
    Reason.FREEZE: (
        400,
        "InputException",
        "Order quantity {quantity} is above the freeze limit. "
        "Maximum allowed quantity for {underlying} is {freeze}.",
    ),
    Reason.TICK: (
        400,
        "InputException",
        "Tick size for this script is {tick}. "
        "Kindly enter price in the multiple of tick size for this script.",
    ),
    Reason.PRICE_BAND: (
        400,
        "InputException",
        "Order price is beyond the Limit Price Protection range.",
    ),
    Reason.POSITION_LIMIT: (
        400,
        "InputException",
        "Position limit for this contract is reached. New positions are not accepted.",
    ),
    Reason.RISK: (400, "OrderException", "Order value exceeds limit set for the client"),
    Reason.CONTRACT_RESTRICTED: (
        400,
        "InputException",
        "Strike price is outside the allowed range. Try a strike closer to the spot price.",
    ),
    Reason.UNPROTECTED: (
        400,
        "InputException",
        "Market orders without market protection are not allowed via API. "
        "Please set market protection or use a Limit order.",
    ),
    Reason.PRODUCT: (400, "InputException", "Invalid `product`."),
    Reason.APP_NOT_PERMITTED: (
        403,
        "PermissionException",
        "Insufficient permission for that call.",
    ),
    Reason.SEGMENT: (
        400,
        "InputException",
        "The segment {exchange} is not enabled for trading in this account.",
    ),
    Reason.MARKET_CLOSED: (
        400,
        "InputException",
        "Markets are closed right now. Use GTT for placing long standing orders "
        "or place an After Market Order (AMO).",
    ),
    Reason.RATE_LIMIT: (429, "NetworkException", "Too many requests"),
    Reason.DAILY_LIMIT: (429, "NetworkException", "Maximum allowed order requests exceeded."),
    Reason.MARGIN: (
        400,
        "MarginException",
        "Insufficient funds. Required margin is {required} but available margin is {available}. "
        "Check the orderbook for open orders.",
    ),
    Reason.SESSION_EXPIRED: (403, "TokenException", "Incorrect `api_key` or `access_token`."),
    Reason.IP_NOT_REGISTERED: (
        403,
        "PermissionException",
        "No IPs configured for this app. Add allowed IPs on the developer console.",
    ),
    Reason.BROKER_DOWN: (503, "NetworkException", "Order management system is unavailable."),
    Reason.INVALID: (400, "InputException", "Invalid request. Missing or bad `{field}`."),
    Reason.CHANGED_TOO_OFTEN: (
        429,
        "NetworkException",
        "Maximum allowed order modifications exceeded.",
    ),
    Reason.OTHER: (400, "OrderException", "Order could not be processed."),
}

#: reason -> status_message, status_message_raw of a REJECTED order
KITE_REJECTIONS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.POSITION_LIMIT: (
        "Position limit for this contract is reached.",
        "RMS:Rule: Position limit including CNC exceeds ,Current:{quantity}, limit set:1  "
        "for entity account-{client_id} across exchange across segment across product ",
    ),
    Reason.RISK: (
        "RMS:MtoM Exceeds,Required:{required}, Available:{available} "
        "for entity account-{client_id} across exchange across segment across product ",
        "RMS:MtoM Exceeds,Required:{required}, Available:{available} "
        "for entity account-{client_id} across exchange across segment across product ",
    ),
    Reason.MARGIN: (
        "Insufficient funds. Required margin is {required} but available margin is {available}. "
        "Check the orderbook for open orders.",
        "RMS:Margin Exceeds,Required:{required}, Available:{available} "
        "for entity account-{client_id} across exchange across segment across product ",
    ),
    Reason.PRICE_BAND: (
        "Order price is beyond the Limit Price Protection range. "
        "Place the order within {low} and {high}.",
        "17070 : The Price is out of the current execution range",
    ),
}

#: reason -> HTTP status, emsg
NOREN_REFUSALS: Final[dict[Reason, tuple[int, str]]] = {
    Reason.SYMBOL: (200, "Invalid Input : Invalid Trading Symbol"),
    Reason.LOT: (200, "Invalid Input : Quantity is not a multiple of lot size {lot}"),
    Reason.FREEZE: (200, "Invalid Input : Order quantity exceeds freeze quantity {freeze}"),
    Reason.TICK: (200, "Invalid Input : Price is not a multiple of tick size {tick}"),
    Reason.PRICE_BAND: (200, "Invalid Input : Price is out of circuit limit"),
    Reason.POSITION_LIMIT: (
        200,
        "RED:RULE:{{Check position limit}}Current:{quantity} Set:1 for C-SIM [ZEBU]",
    ),
    Reason.RISK: (200, "Error Occurred : Order value exceeds limit set for the client"),
    Reason.CONTRACT_RESTRICTED: (
        200,
        "Error Occurred : Trading in this contract is restricted by the broker",
    ),
    Reason.UNPROTECTED: (
        200,
        "Invalid Input : Market orders without market protection are not allowed",
    ),
    Reason.PRODUCT: (200, "Invalid Input : prd"),
    Reason.APP_NOT_PERMITTED: (
        200,
        "Error Occurred : Application is not permitted to place orders",
    ),
    Reason.SEGMENT: (200, "Error Occurred : Exchange {exchange} not enabled for the account"),
    Reason.MARKET_CLOSED: (200, "Error Occurred : Market is closed"),
    Reason.RATE_LIMIT: (
        400,
        "Invalid Input : Order Recieved {received} in a current {window} "
        "exceeds Limit {limit} for user",
    ),
    Reason.DAILY_LIMIT: (400, "Invalid Input : Maximum allowed order requests exceeded."),
    Reason.MARGIN: (200, "Error Occurred : Insufficient funds"),
    Reason.SESSION_EXPIRED: (200, "Session Expired :  Invalid Session Key"),
    Reason.IP_NOT_REGISTERED: (200, "Access Restricted for API Only Users"),
    Reason.BROKER_DOWN: (200, "Server Timeout : "),
    Reason.INVALID: (200, 'Error Occurred : 2 "invalid input"'),
    Reason.CHANGED_TOO_OFTEN: (200, "Rejected : ORA:Order was changed too often"),
    Reason.OTHER: (200, "Rejected : ORA:Order could not be processed"),
}

#: reason -> rejreason of a REJECTED order
NOREN_REJECTIONS: Final[dict[Reason, str]] = {
    Reason.MARGIN: "RED:Margin Shortfall:INR {required} Available:INR {available} "
    "for {client_id} [ZEBU]",
    Reason.RISK: "RED:RULE:{{Check MtoM loss}}Current:INR {required} Set:INR {available} "
    "for {client_id} [ZEBU]",
    Reason.PRICE_BAND: "EXCH:17070:The Price is out of the current execution range",
}


class _Facts(dict[str, object]):
    """Facts of a refusal; a missing number becomes a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def fill(template: str, refusal: Refusal, **more: object) -> str:
    """A message with the refusal's numbers; a ``message`` fact given by a fault has priority."""
    own = refusal.facts.get("message")
    return str(own) if own else template.format_map(_Facts(refusal.facts, **more))


def rejection_words(order: Order, refusal: Refusal) -> tuple[str, str]:
    """The order book's message and raw message of an order rejected after acceptance."""
    client_id = order.call.client_id
    reason = refusal.reason
    if order.call.broker == ZERODHA:
        default = KITE_REFUSALS[reason][2]
        words, raw = KITE_REJECTIONS.get(reason, (default, default))
        return (
            fill(words, refusal, client_id=client_id),
            fill(raw, refusal, client_id=client_id),
        )
    words = NOREN_REJECTIONS.get(reason, NOREN_REFUSALS[reason][1])
    text = fill(words, refusal, client_id=client_id)
    return text, text
