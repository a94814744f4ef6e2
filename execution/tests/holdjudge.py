"""What must hold of subscriptions under holds, after every step of a story (holdstories.py).

The rooms' rows are compared with the model's days and people; a message begins with its rule.
"""

from __future__ import annotations

from typing import Final

from execution.tests.holdmodel import HoldModel
from execution.tests.holdrecords import Followed, day_of, months_on
from execution.tests.holdrooms import Rooms, Seen

TRADES: Final = "trades under a hold"
BILLED: Final = "billed under a hold"
UNBILLED: Final = "trades and is not billed"
LEAVES: Final = "a customer cannot leave"
WEAKER: Final = "a weaker hand"
STATUS: Final = "not what its holds say"


class Broken(AssertionError):
    """A rule did not hold; the message begins with its name."""


def compare(hold_model: HoldModel, rooms: Rooms, seen: Seen) -> None:
    """The rows are what the model says, and break no rule."""
    _same_holds(hold_model, rooms, seen)
    for subscription in hold_model.followed.values():
        _same_status(
            hold_model, subscription, seen.subscriptions[rooms.subscriptions[subscription.number]]
        )
    _lawful_bills(hold_model, rooms, seen)
    _lawful_stops(hold_model, rooms, seen)
    _same_armed(hold_model, rooms, seen)
    for name, offer in hold_model.offers.items():
        live = sum(s.live and s.offer == offer.name for s in hold_model.followed.values())
        assert seen.followers[rooms.templates[name]] == live, f"{name} is followed by {live}"


def _same_holds(hold_model: HoldModel, rooms: Rooms, seen: Seen) -> None:
    stands = {rooms.holds[hold.number]: hold for hold in hold_model.standing()}
    missing = [hold for key, hold in stands.items() if key not in seen.holds]
    if missing:
        raise Broken(f"{WEAKER} lifted {missing}")
    if more := seen.holds - set(stands):
        raise Broken(f"{STATUS}: holds {more} stand, and were lifted")


def _same_status(
    hold_model: HoldModel, subscription: Followed, row: tuple[str, str, str, int]
) -> None:
    status, reason, note, since = row
    expected = (subscription.status, subscription.reason, int(subscription.since.timestamp()))
    if (status, reason, since) != expected:
        raise Broken(
            f"{STATUS}: {subscription.number} is {row}, not {expected}: "
            f"{hold_model.holding(subscription)}"
        )
    if subscription.status == "PAUSED" and note != subscription.note:
        raise Broken(f"{STATUS}: {subscription.number} shows {note!r}, not {subscription.note!r}")


def _lawful_bills(hold_model: HoldModel, rooms: Rooms, seen: Seen) -> None:
    """No invoice but for months that began, and none of those began under a hold."""
    numbers = {key: number for number, key in rooms.subscriptions.items()}
    due = hold_model.due()
    invoiced = [(numbers[key], first, after) for key, first, after in seen.invoices]
    assert len(invoiced) == len(set(invoiced)), "a month was invoiced twice"
    for number, first, after in invoiced:
        subscription = hold_model.followed[number]
        if subscription.held_all_day(first):
            raise Broken(f"{BILLED}: {number} from {first}: {subscription.spells}")
        if not subscription.live and first > day_of(subscription.since):
            raise Broken(f"{LEAVES}: {number} is billed from {first}")
        if (number, first, after) not in due:
            raise Broken(f"{BILLED}: {number} from {first} to {after}: {subscription.months}")


def _lawful_stops(hold_model: HoldModel, rooms: Rooms, seen: Seen) -> None:
    """Of what was stopped no run will bill a month that did not begin, whenever it comes; and who
    trades and is renewed goes on being billed."""
    numbers = {key: number for number, key in rooms.subscriptions.items()}
    for key in seen.unbilled:
        raise Broken(f"{UNBILLED}: {numbers[key]}")
    for key, anchor, count, last in seen.stopped:
        subscription = hold_model.followed[numbers[key]]
        begun = {first for first, _ in subscription.months}
        while (first := months_on(anchor, count)) <= last:
            if first not in begun:
                raise Broken(
                    f"{BILLED}: {subscription.number} would be, from {first}: {subscription.months}"
                )
            count += 1


def _same_armed(hold_model: HoldModel, rooms: Rooms, seen: Seen) -> None:
    armed = {
        (rooms.subscriptions[number], rooms.accounts[account])
        for number, account in hold_model.armed
    }
    if seen.armed != armed:
        raise Broken(f"{TRADES}: {seen.armed} are armed, not {armed}")


def judge_entry(hold_model: HoldModel, rooms: Rooms) -> list[tuple[int, int]]:
    """Who trades at this second: nobody under a hold, and everybody else; by subscription and
    account, in the story's numbers."""
    keys = {key: number for number, key in rooms.subscriptions.items()}
    accounts = {key: number for number, key in rooms.accounts.items()}
    entering = sorted(
        (keys[key], accounts[account]) for key, account in rooms.entering(hold_model.now)
    )
    for number, account in entering:
        subscription = hold_model.followed[number]
        if not subscription.live:
            raise Broken(f"{LEAVES}: {number} trades, and is cancelled")
        if holds := hold_model.holding(subscription):
            raise Broken(f"{TRADES}: {number}: {holds}")
        if hold_model.is_held(account) or hold_model.offers[subscription.offer].stopped:
            raise Broken(f"{TRADES}: {number} in account {account}")
    assert entering == sorted(hold_model.entering()), (
        f"{entering} enter, not {hold_model.entering()}"
    )
    pinned = {rooms.templates[name]: version for name, version in hold_model.pinned.items()}
    assert rooms.pinned(hold_model.now) == pinned, "a run trades another version"
    return entering


def judge_bills(hold_model: HoldModel, rooms: Rooms) -> None:
    """After a run everything that is due is billed, and what is owed for a withdrawn template is
    given back."""
    seen = rooms.look(hold_model.now)
    due = {(rooms.subscriptions[number], first, after) for number, first, after in hold_model.due()}
    assert set(seen.invoices) == due, f"due, and not billed: {due - set(seen.invoices)}"
    expected = {
        (rooms.subscriptions[s.number], s.given_back[0]): s.given_back[1]
        for s in hold_model.followed.values()
        if s.given_back is not None
    }
    assert rooms.given_back() == expected, f"{rooms.given_back()} was given back, not {expected}"
