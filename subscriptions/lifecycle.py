"""ACTIVE <-> PAUSED, either -> CANCELLED for good. Pure (api.md section 7, lifecycle).

The table has one reader: :func:`sources` says from where a call may move a subscription, and the
service makes exactly that the WHERE clause of its UPDATE. :func:`verdict` says why it did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ACTIVE: Final = "ACTIVE"
PAUSED: Final = "PAUSED"
CANCELLED: Final = "CANCELLED"

USER: Final = "USER"
PARTNER: Final = "PARTNER"
ADMIN: Final = "ADMIN"
PAYMENT_FAILED: Final = "PAYMENT_FAILED"
TEMPLATE_WITHDRAWN: Final = "TEMPLATE_WITHDRAWN"

REASONS: Final = (USER, PARTNER, ADMIN, PAYMENT_FAILED, TEMPLATE_WITHDRAWN)


class Action(StrEnum):
    """What one may ask of a subscription; the value is what it will have become."""

    PAUSE = PAUSED
    RESUME = ACTIVE
    CANCEL = CANCELLED


@dataclass(frozen=True, slots=True)
class Source:
    """A status to leave. ``reasons`` limits it to pauses of those; None means any."""

    status: str
    reasons: frozenset[str] | None = None

    def matches(self, status: str, status_reason: str) -> bool:
        """Whether a subscription in this status, for this reason, may be moved from here."""
        return status == self.status and (self.reasons is None or status_reason in self.reasons)


class Verdict(StrEnum):
    """What a call does to a subscription as it is."""

    CHANGE = "CHANGE"
    NOTHING = "NOTHING"
    REFUSE = "REFUSE"


def liftable(who: str, *, explained: bool) -> frozenset[str]:
    """Whose pauses ``who`` may lift; ``explained`` says whether a reason was given in words.

    Everybody lifts his own. A customer and his partner lift each other's, but say why. A pause by
    staff or for a failed payment is lifted only from there.
    """
    if explained and who in (USER, PARTNER):
        return frozenset((USER, PARTNER))
    return frozenset((who,))


def sources(action: Action, who: str, *, explained: bool) -> tuple[Source, ...]:
    """From where ``who`` may do this. ``who`` is one of REASONS."""
    if action is Action.PAUSE:
        return (Source(ACTIVE),)
    if action is Action.RESUME:
        return (Source(PAUSED, liftable(who, explained=explained)),)
    return (Source(ACTIVE), Source(PAUSED))


def verdict(
    action: Action, who: str, *, explained: bool, status: str, status_reason: str
) -> Verdict:
    """Change it, leave it (it is there already), or refuse (409)."""
    if status == action.value:
        return Verdict.NOTHING
    if any(
        source.matches(status, status_reason)
        for source in sources(action, who, explained=explained)
    ):
        return Verdict.CHANGE
    return Verdict.REFUSE


def refusal(action: Action, who: str, *, status: str, status_reason: str) -> str:
    """Why :func:`verdict` refused, in words for the caller."""
    if status == CANCELLED:
        return "The subscription is cancelled, which is final."
    if action is Action.RESUME and {who, status_reason} == {USER, PARTNER}:
        by = "the customer" if status_reason == USER else "the partner"
        return f"It was paused by {by}: say a reason to resume it."
    by_whom = {
        USER: "the customer",
        PARTNER: "the partner",
        ADMIN: "staff",
        PAYMENT_FAILED: "a failed payment",
    }.get(status_reason, "somebody else")
    return f"It was paused by {by_whom} and can be resumed only from there."
