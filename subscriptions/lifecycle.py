"""ACTIVE <-> PAUSED, either -> CANCELLED for good. Pure (docs/subscriptions.md#lifecycle).

A subscription is PAUSED while it has an open hold, and trades again when the last one is lifted.
Holds are separate rows so that a second one does not replace the first. Bug: staff placed a
compliance hold on a subscription that its customer had paused; the customer resumed it and traded.
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

#: Who may place a hold, the weakest first. Of several holds the strongest is shown.
HOLDERS: Final = (USER, PARTNER, PAYMENT_FAILED, PARTNER_SUSPENDED, ADMIN)
#: Holders whose holds outlive a cancellation, so that subscribing anew does not evade them.
LASTING: Final = frozenset({PAYMENT_FAILED, ADMIN})
REASONS: Final = (*HOLDERS, TEMPLATE_WITHDRAWN)

#: The reason shown for a subscription that cannot be resumed.
NO_ACCOUNT: Final = "Its last broker account was removed: there is none left to trade on."

_BY_WHOM: Final = {
    USER: "the customer",
    PARTNER: "the partner",
    PAYMENT_FAILED: "a failed payment",
    PARTNER_SUSPENDED: "the partner's suspension",
    ADMIN: "staff",
}


class Action(StrEnum):
    """What a caller may request for a subscription."""

    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"


class Verdict(StrEnum):
    """The effect of a request on a subscription in its present state."""

    CHANGE = "CHANGE"
    NOTHING = "NOTHING"
    REFUSE = "REFUSE"


def strongest(holders: Collection[str]) -> str:
    """The holder that is shown as the reason; '' if there is no hold."""
    return max(holders, key=HOLDERS.index, default="")


def liftable(who: str, *, explained: bool, accountless: bool = False) -> frozenset[str]:
    """Holders whose holds ``who`` may lift; ``explained``: a reason was given in free text.

    Everybody may lift their own. A customer and their partner may lift each other's with a reason.
    A hold by staff, for a failed payment or by a partner's suspension is lifted only by its holder.
    If the last broker account was removed (``accountless``), the customer's hold cannot be lifted:
    nothing could trade, and a new month would be billed.
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
    """Decide whether to change the subscription, to do nothing, or to refuse (409).

    ``own`` are the holders of holds on the subscription itself. ``held``: it has any hold,
    including those of its customer, partner or broker accounts, which are lifted where they were
    placed. ``accountless`` as in :func:`liftable`.
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
    """The message if :func:`verdict` refuses; ``reason`` is the one that is shown."""
    if cancelled:
        return "The subscription is cancelled, which is final."
    if accountless and reason == USER:
        return NO_ACCOUNT
    if action is Action.RESUME and {who, reason} == {USER, PARTNER}:
        return f"It was paused by {_BY_WHOM[reason]}: say a reason to resume it."
    return f"It was paused by {holder_words(reason)} and can be resumed only from there."


def holder_words(holder: str) -> str:
    """The holder as it appears in a sentence."""
    return _BY_WHOM.get(holder, "somebody else")


def still_held(reason: str) -> str:
    """The message for a caller who lifted their own hold while others remain."""
    return f"Still paused by {holder_words(reason)}."
