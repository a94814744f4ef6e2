"""Withdrawals: entries that are no longer wanted, and exits that have rested too long. Pure.

A resting exit gets another price if its broker supports changes, and is cancelled otherwise. A
cancel proves nothing, and is repeated until the order is final.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from execution import lifecycle, price_changes
from execution.alarms import EXIT_UNFILLED, Alarm
from execution.backoff import CANCEL_AGAIN, cancel_backoff
from execution.causes import GRACE_OVER, LEG_EXIT, LEG_FAILED
from execution.hedges import leaving_together
from execution.state import LiveExecution, LiveIntent
from execution.steps import ATTENTION_AFTER, Situation, Steps
from execution.unreported import exit_tries, is_silent

#: Seconds for which an exit waits for the cancel of its own leg's resting entry: the two would
#: trade with each other. No longer, because the broker may never cancel it.
CANCEL_PATIENCE: Final = 2.0


# -- entries -------------------------------------------------------------------------------------
def first_failure(entries: Iterable[LiveIntent]) -> LiveIntent | None:
    """The failed entry that triggers the leg-failure rule; None while there is none.

    The original failure comes before its consequences. Observed: one of two sold legs was refused
    for its margin, the other was withdrawn before it could fill, and the customer read NOT_FILLED.
    What kept a leg from leaving comes before the end of the grace: legs behind it were only late.
    """
    failures = [i for i in entries if i.is_final and i.state != lifecycle.FILLED and not is_left(i)]
    failures.sort(
        key=lambda i: (
            i.cause == LEG_FAILED,
            i.state == lifecycle.MISSED,
            i.state != lifecycle.REJECTED,
            i.cause == GRACE_OVER,
            i.group,
            i.leg_index,
            i.slice,
        )
    )
    return failures[0] if failures else None


def cause_behind(failed: LiveIntent | None) -> str:
    """The cause of an entry that is given up because of ``failed``; '' if nothing failed.

    LEG_FAILED, unless that one was only late: then this one is late as well. Observed: hedges
    waited for a connection when the grace ended, and the legs behind them were missed first.
    """
    if failed is None:
        return ""
    return GRACE_OVER if failed.cause == GRACE_OVER else LEG_FAILED


def cause_of_missing(intent: LiveIntent, why: str) -> str:
    """The cause of an entry that is missed because of ``why``: what kept it from leaving before,
    if anything did, says more than that the grace is over."""
    return intent.cause or why if why == GRACE_OVER else why


def is_left(intent: LiveIntent) -> bool:
    """Whether this entry was given up because its own leg's exit was decided: not a failure."""
    return intent.cause == LEG_EXIT and intent.state in (lifecycle.MISSED, lifecycle.CANCELLED)


def legs_not_entered(execution: LiveExecution) -> Collection[str]:
    """Legs whose exit is decided, and sold legs that an exiting hedge would leave naked: their
    unsent entries are not sent. Observed: a short's stop was decided, and then it was sold."""
    if not execution.run.leg_exits:
        return ()
    planned: dict[str, int] = {}
    for intent in execution.of(lifecycle.ENTRY):
        units = intent.quantity * intent.side.sign
        planned[intent.leg_key] = planned.get(intent.leg_key, 0) + units
    return leaving_together(execution.run.strategy.legs, planned, execution.run.leg_exits)


def why_withdrawn(execution: LiveExecution, intent: LiveIntent) -> str:
    """The cause to note with a cancel; '' if the order simply was not filled in time."""
    run = execution.run
    if intent.purpose != lifecycle.ENTRY:
        return ""
    if cause_behind(first_failure(execution.of(lifecycle.ENTRY))) == LEG_FAILED:
        return LEG_FAILED
    if run.run_exit or execution.exit_reason:
        return ""
    return LEG_EXIT if intent.leg_key in legs_not_entered(execution) else ""


def withdraw(intent: LiveIntent, situation: Situation, steps: Steps) -> None:
    """Add a cancel to ``steps`` if one is due. A cancel may be lost, so it is repeated, but not in
    every round: 2,304 of them in 75 seconds were observed. Overdue ones raise an alarm by time.
    """
    if _may_ask(intent, situation):
        steps.cancel.append(intent)


def is_withdrawing(intent: LiveIntent, situation: Situation) -> bool:
    """Whether an entry's cancel has just been requested, or is about to be."""
    asked = intent.cancel_since_mono
    young = not asked or situation.now_mono - asked < CANCEL_PATIENCE
    return intent.state in lifecycle.AT_BROKER and young


# -- exits ---------------------------------------------------------------------------------------
def quote_again(
    execution: LiveExecution, intent: LiveIntent, situation: Situation, steps: Steps
) -> None:
    """Change the price of a resting exit if its broker supports that; otherwise, and after a change
    without effect, cancel it. A new exit follows when it is final.

    Never before: after an unanswered change the order may rest at the old or at the new price, and
    another order beside it would close the leg twice.
    """
    if price_changes.waits(intent, situation.now_mono) or not _may_ask(intent, situation):
        return
    if not price_changes.is_wanted(intent, situation.most_changes):
        steps.cancel.append(intent)
        return
    steps.change.append(intent)
    if price_changes.quotes(exit_tries(execution, intent.leg_key)) >= ATTENTION_AFTER:
        steps.alarms.append(Alarm(EXIT_UNFILLED, intent.leg_key))


def has_rested(execution: LiveExecution, intent: LiveIntent, situation: Situation) -> bool:
    """Whether an exit has rested long enough. After a restart it is unknown since when it rests:
    the first read of the book starts the wait; without one it has rested long enough."""
    if intent.cancel_after_mono:
        return situation.now_mono >= intent.cancel_after_mono
    return is_silent(execution, intent, situation.now_mono)


# -- both -----------------------------------------------------------------------------------------
def note_cancel(execution: LiveExecution, intent: LiveIntent, now_mono: float) -> None:
    """Note a cancel requested at ``now_mono`` (monotonic seconds)."""
    intent.cancel_since_mono = intent.cancel_since_mono or now_mono
    if intent.round_mono <= intent.cancel_sent_mono:
        intent.round_mono = now_mono  # no change preceded it
    intent.cancel_sent_mono = now_mono
    intent.cancels += 1
    intent.cancel_cause = why_withdrawn(execution, intent)


def _may_ask(intent: LiveIntent, situation: Situation) -> bool:
    """Whether no cancel was requested in this round, or enough time has passed since the newest.

    The pause counts from the start of the round, so a change without effect before the cancel does
    not prolong it.
    """
    sent, began = intent.cancel_sent_mono, intent.round_mono
    if not sent or sent < began:
        return True
    waited = situation.now_mono - (began or sent)
    return waited > cancel_backoff(intent.cancels) and situation.now_mono - sent > CANCEL_AGAIN
