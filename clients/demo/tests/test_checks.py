"""Every check holds on a perfect day, and each kind of fault turns exactly its own false."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from clients.demo import report
from clients.demo.checks import CHECKS, judge
from clients.demo.evidence import BookOrder, Evidence, StopMove
from clients.demo.story import CONDOR, STRADDLE, make_story
from clients.demo.tests.days import LOT, PerfectDay
from clients.demo.tests.months import SPOILT
from clients.demo.twice import ACCOUNTS, HALVES, Half, entry_at, exit_at

STORY = make_story(24, 8)
PLAIN = ("customer000@example.com", CONDOR)
PLAIN_STRADDLE = ("customer000@example.com", STRADDLE)
REFUSED = ("customer005@example.com", CONDOR)
NO_LOGIN = ("customer008@example.com", CONDOR)
PAUSED = ("customer006@example.com", CONDOR)


@pytest.fixture
def day() -> PerfectDay:
    return PerfectDay(STORY)


def test_a_perfect_day_holds(day: PerfectDay) -> None:
    verdict = judge(STORY, day.evidence)
    assert verdict.problems == {check.__name__: [] for check in CHECKS}
    figures = verdict.figures
    named = sum(figures["failed_by_cause"].values())
    assert figures["expected"] == figures["planned"] == figures["filled"] + named
    assert figures["failed_by_cause"] == {"MARGIN": 2}
    assert figures["webhooks_expected"] == figures["webhooks_delivered"] > 100
    assert all(row["webhook"] for row in figures["unready"])
    assert {row["cause"] for row in figures["unready"]} == {
        "PAUSED",
        "CANCELLED",
        "SESSION_EXPIRED",
    }


# -- ways to spoil it ------------------------------------------------------------------------------
def send_twice(day: PerfectDay) -> None:
    """The same order once more: what it leaves behind is the duplicate's fault alone."""
    first = day.book[0]
    later = first.received_at + dt.timedelta(milliseconds=1)
    day.book.append(replace(first, received_at=later))
    day.evidence.net_positions = {(first.broker, first.client_id, first.symbol): first.signed}


def send_early(day: PerfectDay) -> None:
    """Every entry a tenth of a second before its second."""
    early = dt.timedelta(milliseconds=100)
    entry_until = STORY.entry_at + dt.timedelta(seconds=5)
    for number, row in enumerate(day.book):
        if row.received_at < entry_until:
            day.book[number] = replace(row, received_at=row.received_at - early)


def drop_intent(day: PerfectDay) -> None:
    """One leg is never planned, sent, or closed."""
    seen = day.evidence.executions[PLAIN]
    dropped = seen.entries[-1]
    remaining = tuple(order for order in seen.orders if order.symbol != dropped.symbol)
    codes = {order.code for order in seen.orders if order.symbol == dropped.symbol}
    day.evidence.executions[PLAIN] = replace(seen, orders=remaining)
    day.evidence.book = [row for row in day.book if row.code not in codes]


def drop_watched_intent(day: PerfectDay) -> None:
    """The put is never planned, of the very customer whose stop is looked at."""
    key = PLAIN_STRADDLE
    seen = day.evidence.executions[key]
    dropped = seen.entries[-1].symbol
    codes = {order.code for order in seen.orders if order.symbol == dropped}
    remaining = tuple(order for order in seen.orders if order.symbol != dropped)
    day.evidence.executions[key] = replace(seen, orders=remaining)
    day.evidence.book = [row for row in day.book if row.code not in codes]
    others = [move for move in day.evidence.stop_moves if move.email != key[0]]
    day.evidence.stop_moves = [*others, StopMove(key[0], None, None)]


def nobody_looked(day: PerfectDay) -> None:
    """Without a look at a stop, nothing is known about moving it."""
    day.evidence.stop_moves = []


def skip_exit(day: PerfectDay) -> None:
    """One leg stays open, and its execution with it."""
    seen = day.evidence.executions[PLAIN]
    skipped = seen.exits[0]
    remaining = tuple(order for order in seen.orders if order.tag != skipped.tag)
    day.evidence.executions[PLAIN] = replace(seen, orders=remaining, status="EXITING")
    day.evidence.book = [row for row in day.book if row.tag != skipped.tag]
    day.evidence.webhooks = [
        webhook
        for webhook in day.webhooks
        if (webhook.data["subscription_id"], webhook.data.get("phase"))
        != (seen.subscription_id, "EXIT")
    ]


def skip_webhook(day: PerfectDay) -> None:
    """Nothing is told at all."""
    day.evidence.webhooks = []


def ignore_unknown(day: PerfectDay) -> None:
    """An order that the broker filled stays UNKNOWN: nothing of its execution can be closed."""
    seen = day.evidence.executions[PLAIN]
    lost = seen.entries[2]
    orders = tuple(
        replace(order, state="UNKNOWN", filled=0) if order.tag == lost.tag else order
        for order in seen.entries
        if order.side == "BUY"
    ) + tuple(
        replace(order, state="MISSED", filled=0, cause="GRACE_OVER")
        for order in seen.entries
        if order.side == "SELL"
    )
    codes = {order.code for order in orders if order.side == "BUY"}
    mine = {order.code for order in seen.orders}
    day.evidence.executions[PLAIN] = replace(seen, orders=orders, status="COMMITTED")
    day.evidence.book = [row for row in day.book if row.code not in mine or row.code in codes]
    day.evidence.webhooks = [
        webhook
        for webhook in day.webhooks
        if webhook.data["subscription_id"] != seen.subscription_id
        or webhook.type.startswith(("subscription.", "invoice."))
    ]


def other_contract(day: PerfectDay) -> None:
    """The wrong strike was traded."""
    seen = day.evidence.executions[PLAIN]
    wrong = tuple(replace(order, symbol=order.symbol + "X") for order in seen.orders)
    day.evidence.executions[PLAIN] = replace(seen, orders=wrong)
    codes = {order.code for order in seen.orders}
    day.evidence.book = [
        replace(row, symbol=row.symbol + "X") if row.code in codes else row for row in day.book
    ]


def unnamed_failure(day: PerfectDay) -> None:
    """A failure of another cause than the story's."""
    seen = day.evidence.executions[REFUSED]
    orders = tuple(
        replace(order, cause="OTHER") if order.state == "REJECTED" else order
        for order in seen.orders
    )
    day.evidence.executions[REFUSED] = replace(seen, orders=orders)


def not_at_the_broker(day: PerfectDay) -> None:
    """We say filled in and out; the broker never heard of it."""
    seen = day.evidence.executions[PLAIN]
    pair = {o.code for o in seen.orders if o.symbol == seen.entries[0].symbol}
    day.evidence.book = [row for row in day.book if row.code not in pair]


def strangers_order(day: PerfectDay) -> None:
    """A tag of our pattern that nobody here knows."""
    day.book.append(replace(day.book[0], tag="QZZZZZZZZZZZZ1"))


def stop_not_moved(day: PerfectDay) -> None:
    """The put's stop stays where it was."""
    day.evidence.stop_moves = [StopMove("customer000@example.com", Decimal("50"), Decimal("50"))]


def call_not_stopped(day: PerfectDay) -> None:
    """The call leaves only at the exit time."""
    seen = day.evidence.executions[PLAIN_STRADDLE]
    orders = tuple(
        replace(order, reason="EXIT_TIME") if order.reason == "STOP" else order
        for order in seen.orders
    )
    day.evidence.executions[PLAIN_STRADDLE] = replace(seen, orders=orders)


def cause_hidden(day: PerfectDay) -> None:
    """The customer without a login is not told why."""
    seen = day.evidence.executions[NO_LOGIN]
    day.evidence.executions[NO_LOGIN] = replace(seen, cause="OTHER")


def pause_came_late(day: PerfectDay) -> None:
    """The API says that the next entry goes out all the same."""
    day.evidence.next_entry_affected[PAUSED] = False


def half_lot_accepted(day: PerfectDay) -> None:
    """An illegal multiplier went through."""
    day.evidence.refusals.pop(next(iter(day.evidence.refusals)))


def fault_missed(day: PerfectDay) -> None:
    """A fault never struck."""
    day.evidence.fault_hits = {**day.evidence.fault_hits, "429": 0}


def forged(day: PerfectDay) -> None:
    """A delivery whose signature does not verify."""
    day.evidence.bad_signatures = ["signature does not match"]


def too_slow(day: PerfectDay) -> None:
    """More than six minutes."""
    day.evidence.seconds = 400.0


# -- two partners' runs in one account -------------------------------------------------------------
ZEBU_TWIN: Final = ACCOUNTS[0]
SOLD, BOUGHT = HALVES[0], HALVES[1]


def twin_orders(day: PerfectDay, half: Half, *, entries: bool) -> list[BookOrder]:
    """What the broker has of one half."""
    mine = [row for row in day.book if row.app == half.customer.api_key]
    return [row for row in mine if (row.side == half.leg.side) is entries]


def change_twins(day: PerfectDay, rows: list[BookOrder], **changes: Any) -> None:
    """The same orders, otherwise; ours say the same of what they filled."""
    tags = {row.tag for row in rows}
    for number, row in enumerate(day.book):
        if row.tag in tags:
            day.book[number] = replace(row, **changes)
    if "filled" in changes:
        twice = day.evidence.twice
        twice.executions = {
            name: replace(
                seen,
                orders=tuple(
                    replace(order, filled=changes["filled"]) if order.tag in tags else order
                    for order in seen.orders
                ),
            )
            for name, seen in twice.executions.items()
        }


def forget_twins(day: PerfectDay, rows: list[BookOrder]) -> None:
    """Neither sent nor known."""
    tags = {row.tag for row in rows}
    day.evidence.book = [row for row in day.book if row.tag not in tags]
    twice = day.evidence.twice
    twice.executions = {
        name: replace(seen, orders=tuple(o for o in seen.orders if o.tag not in tags))
        for name, seen in twice.executions.items()
    }


def no_exit_of_either(day: PerfectDay) -> None:
    """As it was seen: the account is flat in between, so neither run has anything to close."""
    for half in (SOLD, BOUGHT):
        forget_twins(day, twin_orders(day, half, entries=False))
        day.book = list(day.evidence.book)


def the_others_units_closed(day: PerfectDay) -> None:
    """The stop of the first run closed a lot more than it had; the second one's."""
    exits = twin_orders(day, SOLD, entries=False)
    change_twins(day, exits[-1:], filled=exits[-1].filled + LOT)


def closed_in_part(day: PerfectDay) -> None:
    """One exit of the stop filled in part, and no other one followed."""
    exits = twin_orders(day, SOLD, entries=False)
    change_twins(day, exits[:1], filled=LOT)


def reversed_and_back(day: PerfectDay) -> None:
    """An exit before its entries: flat in the evening, and short of nothing in between."""
    exits = twin_orders(day, BOUGHT, entries=False)
    early = entry_at(STORY) + dt.timedelta(milliseconds=0.5)
    change_twins(day, exits[:1], received_at=early)


def grown_and_back(day: PerfectDay) -> None:
    """An entry too many, and an exit too many that took it back."""
    rows = twin_orders(day, BOUGHT, entries=True)[-1:]
    rows += twin_orders(day, BOUGHT, entries=False)[-1:]
    change_twins(day, rows, filled=rows[0].filled + LOT)


def left_with_the_stop(day: PerfectDay) -> None:
    """The second run left when the first one's stop fired."""
    exits = twin_orders(day, BOUGHT, entries=False)
    change_twins(day, exits, received_at=exits[0].received_at - dt.timedelta(seconds=15))


def stop_that_waited(day: PerfectDay) -> None:
    """The first run left at the exit time."""
    exits = twin_orders(day, SOLD, entries=False)
    change_twins(day, exits, received_at=exit_at(STORY) + dt.timedelta(milliseconds=1))


def by_the_other_partners_app(day: PerfectDay) -> None:
    """The first partner's exits were placed by the second one's application."""
    exits = twin_orders(day, SOLD, entries=False)
    change_twins(day, exits, app=BOUGHT.customer.api_key)


def by_an_unknown_app(day: PerfectDay) -> None:
    """An order of neither partner."""
    stranger = replace(day.book[-1], tag="by-hand", app="mobile", filled=0)
    day.book.append(stranger)


def other_contract_of_a_twin(day: PerfectDay) -> None:
    """In and out of the next strike."""
    rows = [row for row in day.book if row.app == SOLD.customer.api_key]
    change_twins(day, rows, symbol="NIFTY-OTHER")


def twin_not_flat(day: PerfectDay) -> None:
    """The broker's own list shows something."""
    day.evidence.net_positions = {(*ZEBU_TWIN, "NIFTY"): -LOT}


def two_paces(day: PerfectDay) -> None:
    """Eight orders of each partner at once: sixteen in a moment."""
    calls = list(day.evidence.twice.calls[ZEBU_TWIN])
    entry = entry_at(STORY)
    moved = [
        replace(call, at=entry + dt.timedelta(milliseconds=3 * number)) if number < 16 else call
        for number, call in enumerate(sorted(calls, key=lambda call: call.at))
    ]
    day.evidence.twice.calls = {**day.evidence.twice.calls, ZEBU_TWIN: moved}


def cancels_count(day: PerfectDay) -> None:
    """Placing at the pace, and as many cancels beside it."""
    calls = list(day.evidence.twice.calls[ZEBU_TWIN])
    more = [replace(call, kind="orders") for call in calls[:8]]
    day.evidence.twice.calls = {**day.evidence.twice.calls, ZEBU_TWIN: calls + more}


def nobody_counted(day: PerfectDay) -> None:
    """Where nothing was counted no pace was kept."""
    day.evidence.twice.calls = {}


def a_single_executor(day: PerfectDay) -> None:
    """The second process had nothing."""
    day.evidence.twice.executors = {"executor": set(range(8)), "executor2": set()}


TWINS: Final = (
    no_exit_of_either,
    the_others_units_closed,
    closed_in_part,
    reversed_and_back,
    grown_and_back,
    left_with_the_stop,
    stop_that_waited,
    by_the_other_partners_app,
    by_an_unknown_app,
    other_contract_of_a_twin,
    twin_not_flat,
    two_paces,
    cancels_count,
    nobody_counted,
    a_single_executor,
)


SPOILT_DAYS: Final = (
    (send_twice, "no_duplicates"),
    (send_early, "none_early"),
    (drop_intent, "planned_as_expected"),
    (drop_watched_intent, "planned_as_expected"),
    (nobody_looked, "stop_and_move_to_cost"),
    (skip_exit, "flat_after_exit"),
    (skip_webhook, "webhooks_complete"),
    (ignore_unknown, "all_final"),
    (other_contract, "planned_as_expected"),
    (unnamed_failure, "filled_or_named"),
    (not_at_the_broker, "books_agree"),
    (strangers_order, "books_agree"),
    (stop_not_moved, "stop_and_move_to_cost"),
    (call_not_stopped, "stop_and_move_to_cost"),
    (cause_hidden, "unready_named"),
    (pause_came_late, "withdrawn_in_time"),
    (half_lot_accepted, "illegal_refused"),
    (fault_missed, "faults_struck"),
    (forged, "signatures_good"),
    (too_slow, "in_time"),
    *((spoil, "two_partners_one_account") for spoil in TWINS),
)


@pytest.mark.parametrize(("spoil", "check"), SPOILT_DAYS)
def test_each_fault_turns_exactly_its_check(
    day: PerfectDay, spoil: Callable[[PerfectDay], None], check: str
) -> None:
    spoil(day)
    verdict = judge(STORY, day.evidence)
    assert {name for name, holds in verdict.checks.items() if not holds} == {check}


@pytest.mark.parametrize(("spoil", "check"), SPOILT)
def test_each_fault_of_the_month_turns_exactly_its_check(
    day: PerfectDay, spoil: Callable[[Evidence], None], check: str
) -> None:
    spoil(day.evidence)
    verdict = judge(STORY, day.evidence)
    assert {name for name, holds in verdict.checks.items() if not holds} == {check}


def test_reads_and_quotes_are_no_orders(day: PerfectDay) -> None:
    """The exchange counts orders, and their changes and cancels."""
    calls = list(day.evidence.twice.calls[ZEBU_TWIN])
    reads = [replace(call, kind="reads") for call in calls] * 2
    day.evidence.twice.calls = {**day.evidence.twice.calls, ZEBU_TWIN: calls + reads}
    verdict = judge(STORY, day.evidence)
    assert verdict.holds
    assert verdict.figures["busiest_second"] == {"ZB9001": 8, "ZR9003": 8}


def test_the_fault_that_was_seen_is_told_in_words(day: PerfectDay) -> None:
    no_exit_of_either(day)
    two_paces(day)
    problems = judge(STORY, day.evidence).problems["two_partners_one_account"]
    assert problems == [
        "ZB9001: 11 calls in 0.03 s; 10 a second may be",
        "ZB9001 sells at zebu: exits of 0 units for 2340 that were entered",
        "ZB9001 buys at second: exits of 0 units for 2340 that were entered",
    ]


def test_every_check_is_shown_to_fail() -> None:
    shown = {name for _, name in SPOILT_DAYS} | {name for _, name in SPOILT}
    assert shown == {check.__name__ for check in CHECKS}


def test_the_report_has_every_figure_of_the_day(day: PerfectDay) -> None:
    skip_exit(day)
    written = report.as_json(judge(STORY, day.evidence), 12.34)
    figures = {*report.ORDER, *report.MONEY, *report.TOLD}
    assert figures | {"unready", "checks", "seconds", "problems"} == set(written)
    assert written["seconds"] == 12.3
    assert written["checks"]["flat_after_exit"] is False
    text = "\n".join(report.lines(written))
    assert "FAIL  flat after exit" in text
    assert "21 of 22 checks hold" in text
