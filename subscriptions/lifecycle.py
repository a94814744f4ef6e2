"""ACTIVE <-> PAUSED, either -> CANCELLED for good. Pure (docs/subscriptions.md#lifecycle).

A subscription is PAUSED while anybody holds it, and trades when the last hold is lifted. Holds are
rows of their own, so that a second one is not lost in the first: seen was a compliance hold over a
customer's own pause, and the customer resumed and traded.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

ACTIVE: Final = "ACTIVE"
PAUSED: Final = "PAUSED"
CANCELLED: Final = "CANCELLED"

USER: Final = "USER"
PARTNER: Final = "PARTNER"
PAYMENT_FAILED: Final = "PAYMENT_FAILED"
PARTNER_SUSPENDED: Final = "PARTNER_SUSPENDED"
ADMIN: Final = "ADMIN"
TEMPLATE_WITHDRAWN: Final = "TEMPLATE_WITHDRAWN"

#: Who may hold, the weakest first. The strongest of several is the one that is shown.
HOLDERS: Final = (USER, PARTNER, PAYMENT_FAILED, PARTNER_SUSPENDED, ADMIN)
#: Whose holds outlive a cancellation: who was held cannot come back by subscribing anew.
LASTING: Final = frozenset({PAYMENT_FAILED, ADMIN})
REASONS: Final = (*HOLDERS, TEMPLATE_WITHDRAWN)

#: What is read of a subscription that nobody can resume.
NO_ACCOUNT: Final = "Its last broker account was removed: there is none left to trade on."

_BY_WHOM: Final = {
    USER: "the customer",
    PARTNER: "the partner",
    PAYMENT_FAILED: "a failed payment",
    PARTNER_SUSPENDED: "the partner's suspension",
    ADMIN: "staff",
}


class Action(StrEnum):
    """What one may ask of a subscription."""

    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"


class Verdict(StrEnum):
    """What a call does to a subscription as it is."""

    CHANGE = "CHANGE"
    NOTHING = "NOTHING"
    REFUSE = "REFUSE"


def strongest(holders: Collection[str]) -> str:
    """Whose hold is shown as the reason; '' when nobody holds."""
    return max(holders, key=HOLDERS.index, default="")


def liftable(who: str, *, explained: bool, accountless: bool = False) -> frozenset[str]:
    """Whose holds ``who`` may lift; ``explained`` says whether a reason was given in words.

    Everybody lifts their own. A customer and their partner lift each other's, but say why. A hold
    by staff, for a failed payment or by a partner's suspension is lifted only from there. The
    customer's hold of an ``accountless`` subscription, whose last broker account was removed, stays
    for everybody: nothing could trade, and a new month would be billed.
    """
    both = explained and who in (USER, PARTNER)
    holders = frozenset((USER, PARTNER)) if both else frozenset((who,))
    return holders - {USER} if accountless else holders


def verdict(
    action: Action,
    who: str,
    *,
    explained: bool,
    cancelled: bool,
    own: Collection[str],
    held: bool,
    accountless: bool = False,
) -> Verdict:
    """Change it, leave it (it is there already), or refuse (409).

    ``own`` are the holders of the subscription itself; ``held``: somebody holds it at all, by its
    customer, partner or broker accounts too. Those are lifted where they were placed.
    ``accountless`` as in :func:`liftable`.
    """
    if action is Action.CANCEL:
        return Verdict.NOTHING if cancelled else Verdict.CHANGE
    if cancelled:
        return Verdict.REFUSE
    if action is Action.PAUSE:
        return Verdict.NOTHING if who in own else Verdict.CHANGE
    if not held:
        return Verdict.NOTHING
    lifted = liftable(who, explained=explained, accountless=accountless)
    return Verdict.CHANGE if lifted & set(own) else Verdict.REFUSE


def refusal(
    action: Action, who: str, *, cancelled: bool, reason: str, accountless: bool = False
) -> str:
    """Why :func:`verdict` refused, in words for the caller; ``reason`` is the one that is shown."""
    if cancelled:
        return "The subscription is cancelled, which is final."
    if accountless and reason == USER:
        return NO_ACCOUNT
    if action is Action.RESUME and {who, reason} == {USER, PARTNER}:
        return f"It was paused by {_BY_WHOM[reason]}: say a reason to resume it."
    return f"It was paused by {holder_words(reason)} and can be resumed only from there."


def holder_words(holder: str) -> str:
    """Who that is, in a sentence."""
    return _BY_WHOM.get(holder, "somebody else")


def still_held(reason: str) -> str:
    """What is said to somebody who has lifted their hold and not the last one."""
    return f"Still paused by {holder_words(reason)}."
