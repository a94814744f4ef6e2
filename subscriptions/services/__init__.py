"""The services that change this room's state; all other code calls them."""

from subscriptions.services.account_choices import AccountChoice
from subscriptions.services.allocations import (
    AllocationChanges,
    add_allocation,
    change_allocation,
    remove_allocation,
    swap_account,
)
from subscriptions.services.holds import HoldResult, lift_hold, place_hold
from subscriptions.services.subscribing import copy_shares, subscribe
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
    "AllocationChanges",
    "HoldResult",
    "OpenPositions",
    "TransitionResult",
    "add_allocation",
    "cancel",
    "cancel_for_withdrawal",
    "change_allocation",
    "copy_shares",
    "lift_hold",
    "pause",
    "place_hold",
    "remove_allocation",
    "resume",
    "subscribe",
    "swap_account",
    "unlink_account",
]
