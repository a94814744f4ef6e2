"""The next steps of one execution, as a pure function of its state. No clock, no ORM.

Level-triggered on purpose: it is evaluated after every answer, book read, decision and tick, and
after a restart, and gives the same result for the same state. Nothing here remembers anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from brokers.base import Side
from execution import duplicates, lifecycle, price_changes
from execution.alarms import (
    DAILY_LIMIT,
    DUPLICATE,
    EXIT_UNFILLED,
    PARTLY_ENTERED,
    PRICE_BAND,
    SESSION_OVER,
    UNRESOLVED,
    Alarm,
)
from execution.causes import (
    BROKER_DOWN,
    CONTROL_UNREACHABLE,
    EXIT_DUE,
    EXIT_REQUESTED,
    GRACE_OVER,
    LEG_EXIT,
    LEG_FAILED,
    NOT_NEEDED,
    SUPERSEDED,
)
from execution.hedges import leaving_together, needed_hedges
from execution.state import LiveExecution, LiveIntent
from execution.steps import ATTENTION_AFTER, ExitOrder, Situation, Steps
from execution.tags import MAX_SENDS
from execution.unreported import exit_tries, hangs, perhaps_open
from execution.withdrawals import (
    cause_behind,
    cause_of_missing,
    first_failure,
    has_rested,
    is_left,
    is_withdrawing,
    legs_not_entered,
    quote_again,
    withdraw,
)

PRICE_REFUSALS: Final = 2
STUCK_AFTER: Final = 120.0


def next_steps(execution: LiveExecution, situation: Situation) -> Steps:
    """Steps for a COMMITTED, OPEN or EXITING execution; empty for any other.

    Every leg has a state of its own: filled units exit by the leg's own stop, target, exit time or
    unwinding, whatever the other legs, or the rest of the same leg, are waiting for.
    """
    steps = Steps()
    if execution.status not in lifecycle.WORKING:
        return steps
    entries = list(execution.of(lifecycle.ENTRY))
    failed = first_failure(entries)
    entered = True
    if execution.status == lifecycle.COMMITTED:
        _enter(execution, situation, entries, failed, steps)
        entered = _entry_over(execution, entries, failed, steps)
    _leave(execution, situation, failed, entered, steps)
    if not situation.session_over:
        _shed(execution, situation, steps)
    return steps


# -- entering ------------------------------------------------------------------------------------
def _enter(
    execution: LiveExecution,
    situation: Situation,
    entries: Sequence[LiveIntent],
    failed: LiveIntent | None,
    steps: Steps,
) -> None:
    stop = _why_not_enter(execution, situation, failed)
    unread = situation.entries_blocked == CONTROL_UNREACHABLE
    leaving = legs_not_entered(execution)
    for intent in entries:
        why = stop or (LEG_EXIT if intent.leg_key in leaving else "")
        if intent.state == lifecycle.PLANNED and why:
            cause = cause_of_missing(intent, why)
            late_unread = unread and cause == GRACE_OVER
            steps.miss.append((intent, CONTROL_UNREACHABLE if late_unread else cause))
        elif intent.state == lifecycle.PLANNED and intent.sends >= MAX_SENDS:
            steps.miss.append((intent, intent.cause or BROKER_DOWN))
        elif intent.state in lifecycle.AT_BROKER and why and not situation.session_over:
            withdraw(intent, situation, steps)
    if stop or unread or not situation.entry_due:
        return
    group = _current_group(entries)
    steps.send.extend(
        intent
        for intent in entries
        if intent.group == group
        and intent.state == lifecycle.PLANNED
        and intent.leg_key not in leaving
        and intent.sends < MAX_SENDS
        and intent.not_before_mono <= situation.now_mono
    )


def _why_not_enter(
    execution: LiveExecution, situation: Situation, failed: LiveIntent | None
) -> str:
    if failed is not None:
        return cause_behind(failed)
    if situation.session_over:
        return SESSION_OVER
    if situation.exit_due or execution.run.run_exit:
        return EXIT_DUE
    if execution.exit_reason:
        return EXIT_REQUESTED
    if situation.entries_blocked and situation.entries_blocked != CONTROL_UNREACHABLE:
        return situation.entries_blocked
    # A kill switch that cannot be read is not engaged: a started entry waits for the next read, as
    # long as the grace lasts. Observed: a database stalled for five seconds, and the bought hedges
    # of all accounts were unwound a moment before it could be read again.
    return GRACE_OVER if situation.grace_over else ""


def _current_group(entries: Sequence[LiveIntent]) -> int:
    unfinished = [i.group for i in entries if i.state != lifecycle.FILLED and not is_left(i)]
    return min(unfinished, default=-1)


def _entry_over(
    execution: LiveExecution,
    entries: Sequence[LiveIntent],
    failed: LiveIntent | None,
    steps: Steps,
) -> bool:
    """Whether every entry is final; writes the resulting status into ``steps``."""
    if steps.miss:
        # Entries missed now become final with the same commit: judge them in the next round.
        return False
    if not entries or not all(intent.is_final for intent in entries):
        return False
    for intent in entries:
        if intent.state == lifecycle.ESCALATED:
            steps.alarms.append(Alarm(UNRESOLVED, intent.leg_key, intent.message, intent.tag))
    if failed is None:
        # An order that turned up late does not complete an execution that is being unwound.
        steps.status = "" if duplicates.is_unwinding(execution) else lifecycle.OPEN
        return True
    steps.cause = failed.cause or failed.state
    steps.message = failed.message
    policy = execution.run.strategy.leg_failure
    if policy == "UNWIND_FILLED" or not execution.open_legs():
        return True
    steps.status = lifecycle.OPEN
    steps.alarms.append(Alarm(PARTLY_ENTERED, failed.leg_key, failed.message, failed.tag))
    return True


# -- leaving -------------------------------------------------------------------------------------
def _leave(
    execution: LiveExecution,
    situation: Situation,
    failed: LiveIntent | None,
    entered: bool,
    steps: Steps,
) -> None:
    exits_alive = _tend_exits(execution, situation, steps)
    asked = _wanted_exits(execution, situation, failed)
    if not (asked or entered or situation.session_over):
        return
    open_legs, now_mono = execution.open_legs(), situation.now_mono
    legs, held = execution.run.strategy.legs, _held_or_coming(execution, open_legs)
    exiting = leaving_together(legs, held, asked)
    perhaps = perhaps_open(execution, exiting, now_mono)
    over = entered and not open_legs and not exits_alive and not steps.miss
    if over and (situation.session_over or not perhaps):
        _finish(execution, failed, exiting, situation, steps)
        return
    if situation.session_over:
        _name_what_stays(execution, steps)
        return
    # A leg is to exit and its size is unknown: a person may look it up.
    raised = {alarm.key for alarm in steps.alarms}
    steps.alarms += [Alarm(UNRESOLVED, leg) for leg in perhaps if (UNRESOLVED, leg) not in raised]
    needed = needed_hedges(legs, held)
    sides = {leg.key: Side(leg.side).sign for leg in legs}
    shorts_first = any(
        _is_awaited(execution, leg, sides.get(leg, 0), perhaps, now_mono) for leg in exiting
    )
    for leg_key, reason in exiting.items():
        quantity, more = open_legs.get(leg_key, 0), perhaps.get(leg_key, 0)
        sign = (1 if quantity > 0 else -1) if quantity else sides.get(leg_key, 0)
        if not quantity and not more:
            continue
        if sign > 0 and (shorts_first or leg_key in needed):
            continue  # hedges leave after what they hedge
        steps.alarms += _why_a_person(exit_tries(execution, leg_key))
        order = _exit_for(
            execution,
            leg_key,
            quantity=quantity,
            perhaps=more,
            sign=sign,
            reason=reason,
            situation=situation,
        )
        if order is not None:
            steps.exits.append(order)
            offers = price_changes.quotes(exit_tries(execution, leg_key))
            if max(order.attempt_group, offers) >= ATTENTION_AFTER:
                steps.alarms.append(Alarm(EXIT_UNFILLED, leg_key))
    if exiting and execution.status == lifecycle.OPEN and set(open_legs) <= set(exiting):
        steps.status = lifecycle.EXITING


def _is_awaited(
    execution: LiveExecution,
    leg_key: str,
    side: int,
    perhaps: Mapping[str, int],
    now_mono: float,
) -> bool:
    """Whether bought legs wait for this one: a short that is, or may be, open and does not hang.

    Not for a leg of which the positions have shown nothing. Observed (story 26084): its entry was
    cancelled while the book was dead, and the bought leg waited for it for ever.
    """
    held = execution.open_quantity(leg_key)
    if not held and leg_key not in execution.cleared:
        held = side * perhaps.get(leg_key, 0)
    return held < 0 and not hangs(execution, leg_key, now_mono)


def _tend_exits(execution: LiveExecution, situation: Situation, steps: Steps) -> bool:
    """Handle every exit under way; return whether there is one."""
    alive = False
    for intent in execution.intents:
        if intent.purpose == lifecycle.ENTRY or intent.is_final:
            continue
        alive = True
        _tend_exit(execution, intent, situation, steps)
    return alive


def _shed(execution: LiveExecution, situation: Situation, steps: Steps) -> None:
    """Close what a duplicate filled, whatever happens to its leg: it was not meant to be traded.

    Sold surplus is closed before bought surplus, so that no account is more naked meanwhile.
    """
    rest = duplicates.surplus(execution)
    leaving = {order.leg_key for order in steps.exits}
    shorts = any(units < 0 for units in rest.values())
    for leg_key, units in rest.items():
        if leg_key in leaving or (units > 0 and shorts):
            continue
        sign = 1 if units > 0 else -1
        order = _exit_for(
            execution,
            leg_key,
            quantity=units,
            perhaps=0,
            sign=sign,
            reason=DUPLICATE,
            situation=situation,
        )
        if order is not None:
            steps.exits.append(order)
    steps.alarms.extend(
        Alarm(DUPLICATE, order.leg_key) for order in steps.exits if order.reason == DUPLICATE
    )


def _name_what_stays(execution: LiveExecution, steps: Steps) -> None:
    """Raise an alarm for what is open after the close. No order is sent then: all would be refused.

    The position is carried into the next day or squared off by the broker; a person finds out
    which.
    """
    unreported = any(intent.unreported and not intent.is_final for intent in execution.intents)
    if unreported or execution.open_legs():
        steps.alarms.append(Alarm(SESSION_OVER))


def _held_or_coming(execution: LiveExecution, open_legs: Mapping[str, int]) -> dict[str, int]:
    """Signed open units by leg, including what sold entries at the broker may still add."""
    held, traded = dict(open_legs), execution.traded_legs()
    for leg_key, coming in execution.coming().items():
        if coming < 0:
            held[leg_key] = min(0, traded.get(leg_key, 0) + coming)
    return held


def _wanted_exits(
    execution: LiveExecution, situation: Situation, failed: LiveIntent | None
) -> dict[str, str]:
    run = execution.run
    undone = failed is not None or duplicates.is_unwinding(execution)
    everything = ""
    if situation.exit_due:
        everything = "EXIT_TIME"
    elif run.run_exit:
        everything = run.run_exit
    elif execution.exit_reason:
        everything = execution.exit_reason
    elif undone and run.strategy.leg_failure == "UNWIND_FILLED":
        everything = "UNWIND"
    if everything:
        return {leg.key: run.leg_exits.get(leg.key, everything) for leg in run.strategy.legs}
    reasons = dict(run.leg_exits)
    if undone and run.strategy.leg_failure == "KEEP_HEDGES":
        shorts = (leg.key for leg in run.strategy.legs if leg.side == Side.SELL)
        reasons.update({key: "UNWIND" for key in shorts if key not in reasons})
    return reasons


def _tend_exit(
    execution: LiveExecution,
    intent: LiveIntent,
    situation: Situation,
    steps: Steps,
) -> None:
    """Handle one exit. It has no time limit but the close: a resting exit gets a new price, and the
    exchange cancels what rests at the close."""
    if intent.state == lifecycle.PLANNED:
        # An earlier try may have filled after all: then this one would open a position and break
        # I5 (never more than planned or held).
        needless = intent.quantity > -intent.side.sign * execution.open_quantity(intent.leg_key)
        # Nor is it sent again unchanged: its price and its view of the account are old. Observed:
        # an executor died before the byte left, the customer closed the leg by hand, and the next
        # executor sent the same order again.
        over = SESSION_OVER if situation.session_over else ""
        cause = NOT_NEEDED if needless else over or intent.cause or SUPERSEDED
        steps.miss.append((intent, cause))
    elif situation.session_over:
        return
    elif intent.state in lifecycle.AT_BROKER and has_rested(execution, intent, situation):
        quote_again(execution, intent, situation, steps)


def _exit_for(
    execution: LiveExecution,
    leg_key: str,
    *,
    quantity: int,
    perhaps: int,
    sign: int,
    reason: str,
    situation: Situation,
) -> ExitOrder | None:
    tries = exit_tries(execution, leg_key)
    if any(not intent.is_final or intent.adrift for intent in tries):
        # Under way, or given up and found resting. Observed (story 19406): a second exit beside it.
        return None
    if any(intent.cause == DAILY_LIMIT for intent in tries):
        return None  # the broker takes no more orders today, however often it is sent
    entries = (i for i in execution.of(lifecycle.ENTRY) if i.leg_key == leg_key)
    if any(is_withdrawing(intent, situation) for intent in entries):
        return None
    attempt = max((intent.attempt_group for intent in tries), default=-1) + 1
    newest = max((i for i in tries), key=lambda i: i.attempt_group, default=None)
    if newest is not None and newest.not_before_mono > situation.now_mono:
        return None
    if duplicates.is_turned_over(execution, leg_key):
        reason = DUPLICATE
    return ExitOrder(
        leg_key=leg_key,
        side=Side.SELL if sign > 0 else Side.BUY,
        quantity=abs(quantity),
        perhaps=perhaps,
        purpose=lifecycle.UNWIND if reason in ("UNWIND", DUPLICATE) else lifecycle.EXIT,
        attempt_group=attempt,
        reason=reason,
    )


def _why_a_person(tries: Sequence[LiveIntent]) -> list[Alarm]:
    """Alarms for these exits: the price of two was refused, or the broker takes no more orders
    today."""
    alarms = []
    for cause, most in ((DAILY_LIMIT, 1), (PRICE_BAND, PRICE_REFUSALS)):
        refused = {intent.attempt_group: intent for intent in tries if intent.cause == cause}
        if len(refused) >= most:
            newest = refused[max(refused)]
            alarms.append(Alarm(cause, newest.leg_key, newest.message, newest.tag))
    return alarms


def _finish(
    execution: LiveExecution,
    failed: LiveIntent | None,
    exiting: dict[str, str],
    situation: Situation,
    steps: Steps,
) -> None:
    """Set the final status of an execution that is flat with nothing under way, if it was to exit.

    Not while an order that was given up may still turn up: it would no longer be watched for.
    """
    if not situation.session_over and duplicates.may_appear(execution):
        return
    entered = any(intent.filled_quantity for intent in execution.of(lifecycle.ENTRY))
    if failed is not None and execution.status == lifecycle.COMMITTED:
        only_missed = not entered and all(
            intent.state == lifecycle.MISSED for intent in execution.of(lifecycle.ENTRY)
        )
        steps.status = lifecycle.MISSED if only_missed else lifecycle.FAILED
        steps.cause = failed.cause or failed.state
        steps.message = failed.message
        return
    if execution.status == lifecycle.COMMITTED and duplicates.is_unwinding(execution):
        steps.status, steps.cause = lifecycle.FAILED, LEG_FAILED
        return
    legs = {leg.key for leg in execution.run.strategy.legs}
    if steps.status == lifecycle.OPEN and legs - set(exiting):
        return
    if legs <= set(exiting) or entered:
        steps.status = lifecycle.CLOSED
