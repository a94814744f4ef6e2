"""The services that change this room's state; all other code calls them."""

from subscriptions.services.holds import HoldResult, lift_hold, place_hold
from subscriptions.services.subscribing import AccountChoice, copy_shares, subscribe
from subscriptions.services.transitions import (
    OpenPositions,
    TransitionResult,
    cancel,
    cancel_for_withdrawal,
    pause,
    resume,
    unlink_account,
)

__all__ = [
    "AccountChoice",
    "HoldResult",
    "OpenPositions",
    "TransitionResult",
    "cancel",
    "cancel_for_withdrawal",
    "copy_shares",
    "lift_hold",
    "pause",
    "place_hold",
    "resume",
    "subscribe",
    "unlink_account",
]
