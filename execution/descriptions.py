"""A sentence for every cause code (docs/trading-day.md#causes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

CAUSES: Final[Mapping[str, str]] = {
    "MARGIN": "The broker refused the order: not enough margin in the account.",
    "POSITION_LIMIT": "A limit on how much of this contract or index may be held was reached.",
    "RISK": "The broker's risk desk refused the order: a limit or block on the account.",
    "CONTRACT_RESTRICTED": "The broker does not allow new orders in this contract or strike.",
    "PRICE_BAND": "The price was outside the exchange's permitted range.",
    "FREEZE": "The quantity is above the exchange's freeze limit for one order.",
    "SESSION_EXPIRED": "The broker account was not logged in today.",
    "NO_CREDENTIALS": "The broker account has no API credentials.",
    "ACCOUNT_DISABLED": "The broker account is disabled.",
    "ACCOUNT_HELD": "The broker account is held and enters nothing until the hold is lifted.",
    "BROKER_NOT_ENABLED": "Live trading is not enabled for this broker.",
    "IP_NOT_REGISTERED": "The broker does not accept orders from our address for this account.",
    "SEGMENT": "The account is not enabled for the F&O segment.",
    "PRODUCT": "The broker does not allow this product for the contract.",
    "APP_NOT_PERMITTED": "The broker has not permitted our application to do this.",
    "RATE_LIMIT": "The broker limited the number of orders per second.",
    "DAILY_LIMIT": "The broker takes no more orders of this account today.",
    "MARKET_CLOSED": "The market was closed.",
    "BROKER_DOWN": "The broker could not be reached.",
    "INVALID": "The broker called the order invalid.",
    "OTHER": "The broker refused the order.",
    "LOTS_ZERO": "The lot multiplier leaves a leg without lots.",
    "RATIO_CHANGED": "The lot multiplier would change the ratio between the strategy's legs.",
    "TOO_MANY_ORDERS": "So many orders cannot all leave within the entry's grace period.",
    "NO_QUOTE": "No fresh quote was available at the entry second.",
    "WIDE_QUOTE": "Bid and ask were too far apart, or too far from the last price, to trade at.",
    "NO_CONTRACT": "No listed contract fits the strategy's rule today.",
    "CONTRACT_LIST": "Today's contract list cannot be right, so nothing was sent.",
    "KILL_SWITCH": "New entries were blocked by the kill switch.",
    "CONTROL_UNREACHABLE": "The kill switch could not be read, so nothing was sent.",
    "GRACE_OVER": "The entry's grace period was over before the order could leave.",
    "LEG_FAILED": "Another leg failed, so this one was not sent, or was withdrawn.",
    "EXIT_DUE": "The exit came before the entry was complete.",
    "EXIT_REQUESTED": "An exit was requested before the entry was complete.",
    "LEG_EXIT": "The leg's exit was decided before this order was filled.",
    "CLOSED_OUTSIDE": "The position was closed outside of QuantLeap.",
    "EGRESS": "The account's egress address cannot be used from this machine.",
    "SESSION_OVER": "The session closed before the position did; a person has to look.",
    "OUTSIDE_SESSION": "Entry or exit time is outside the day's trading session.",
    "CHANGED_OUTSIDE": "One of our orders was changed at the broker; a person has to look.",
    "DUPLICATE": "One of our orders was at the broker twice; what was too much is closed.",
    "UNWRITABLE": "Something of this execution could not be stored; a person has to look.",
    "NO_WITNESS": "The broker does not say what is still open; a person has to look.",
    "UNRESOLVED": "Nobody could say what became of the order; a person has to look.",
    "PAUSED": "The subscription was paused.",
    "CANCELLED": "The subscription was cancelled.",
    "REMOVED": "The broker account was removed, or the subscription left it.",
    "STOP": "The leg's stop-loss was hit.",
    "TARGET": "The leg's target was reached.",
    "EXIT_TIME": "The strategy's exit time was reached.",
    "UNWIND": "Filled legs were unwound because another leg failed.",
    "CANCELLED_BY_BROKER": "The broker cancelled the order.",
    "NOT_NEEDED": "An earlier order had closed the leg, so this one was not sent.",
    "SELF_TRADE": "Another order of the same account stood in the way on the opposite side.",
    "SUPERSEDED": "The order waited too long to be sent; a newer one took its place.",
    "NOT_FILLED": "The order was not filled in time and was withdrawn.",
}


#: Causes found without a broker: the message noted with them is for staff only.
NotPriced = Literal["NO_QUOTE", "WIDE_QUOTE", "NO_CONTRACT", "CONTRACT_LIST"]
_OURS: Final = frozenset({*get_args(NotPriced), "UNWRITABLE", "SESSION_OVER"})


def brokers_words(cause: str, message: str) -> str:
    """``message`` if it came from a broker, else ''."""
    return "" if cause in _OURS else message


def explain(cause: str) -> str:
    """One sentence for a cause code; the code itself when it has none."""
    return CAUSES.get(cause, cause)
