"""Random lives under holds on the real services: no rule is broken in any of them.

``make hold-stories STORIES=50000 SEED=7`` plays others, ``STORIES=1 SEED=4711`` one of them again.
A story that breaks prints its seed and course. The rules are in holdjudge.py.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import DateField, Value

from brokers import selectors as brokers
from brokers.readiness import HELD, Readiness
from brokers.readiness import readiness as readiness_of
from execution import arming
from execution import services as day
from execution.tests.holdjudge import BILLED, LEAVES, STATUS, TRADES, UNBILLED, WEAKER
from execution.tests.holdstage import Stage
from execution.tests.holdstories import Told, play, play_all
from subscriptions import hold_state, lifecycle
from subscriptions.billing.invoicing import run_sql, segments
from subscriptions.lifecycle import Action, Verdict
from subscriptions.models import Hold
from subscriptions.services import holds, subscribing, suspensions, transitions

pytestmark = pytest.mark.django_db

SEED, STORIES = int(os.environ.get("SEED") or 1), int(os.environ.get("STORIES") or 1000)
#: As many tests, so that several processes can share the stories.
PARTS = 4
#: In so many stories each planted fault is found.
WITHIN = 300


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("part", range(PARTS), ids=lambda part: f"part {part + 1}")
def test_whatever_is_held_nobody_trades_or_is_billed(
    stage: Stage, record_property: Callable[[str, object], None], part: int
) -> None:
    """In every random story customers can leave under a hold, too."""
    first, after = (SEED + STORIES * place // PARTS for place in (part, part + 1))
    record_property("tried", f"{after - first} stories of holds, seeds {first} to {after - 1}")
    play_all(stage, range(first, after))


def test_a_seed_tells_the_same_story(stage: Stage) -> None:
    tellings = []
    for _ in range(2):
        story = play(stage, SEED)
        tellings.append(story.told)
    assert tellings[0] == tellings[1]


# -- controls: each rule has faults that break it --------------------------------------------------
Plant = Callable[[pytest.MonkeyPatch], None]


def a_held_account_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks whether the account is held."""

    def readiness(*given: Any) -> Readiness:
        answer = readiness_of(*given)
        return Readiness(True) if answer.reason == HELD else answer

    monkeypatch.setattr(brokers, "readiness", readiness)


def what_is_armed_stays_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold between arming and entry withdraws nothing."""
    monkeypatch.setattr(day, "withdraw_armed", lambda *_, **__: True)


def a_hold_stops_no_billing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run bills on while it is held."""
    original = hold_state._pause

    def pause(*given: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(segments, "stop", lambda *_, **__: 0)
            original(*given)

    monkeypatch.setattr(hold_state, "_pause", pause)


def the_time_under_a_hold_is_billed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let go after the month was over, it goes on from the old anchor."""
    monkeypatch.setattr(segments, "anchor_after_pause", lambda anchor, *_: anchor)


def who_is_held_cannot_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    original = lifecycle.verdict

    def verdict(action: Action, who: str, **given: Any) -> Verdict:
        if action is Action.CANCEL and given["held"]:
            return Verdict.REFUSE
        return original(action, who, **given)

    monkeypatch.setattr(transitions, "verdict", verdict)


def who_cancels_is_billed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = transitions._cancel

    def cancel(*given: Any) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(segments, "stop", lambda *_, **__: 0)
            return original(*given)

    monkeypatch.setattr(transitions, "_cancel", cancel)


def everybody_lifts_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (transitions, holds):
        monkeypatch.setattr(module, "liftable", lambda *_, **__: frozenset(lifecycle.HOLDERS))


def the_weakest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        hold_state, "strongest", lambda held: min(held, key=lifecycle.HOLDERS.index, default="")
    )


def forgotten(scope: str) -> Plant:
    """Settling forgets the holds of one scope."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        original = hold_state.holds_on

        def holds_on(*given: Any) -> dict[int, list[Hold]]:
            by_subscription = original(*given)
            return {
                key: [hold for hold in held if hold.scope != scope]
                for key, held in by_subscription.items()
            }

        monkeypatch.setattr(hold_state, "holds_on", holds_on)

    return plant


def a_hold_is_no_reason_against_subscribing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "_refuse_held", lambda *_: None)


# -- and of a partner's suspension
def a_run_that_is_over_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    until = "p.run_until < %s"
    assert until in arming._INSERT
    monkeypatch.setattr(arming, "_INSERT", arming._INSERT.replace(until, f"{until} AND false"))


def a_run_that_is_over_is_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The billing run does not ask until when a suspended partner's customers trade."""
    due = run_sql.DUE
    run, day = "AND over.run_until", ", par.run_until)"
    for asked, unasked in ((day, ")"), (run, f"AND false {run}")):
        assert asked in due
        due = due.replace(asked, unasked)
    monkeypatch.setattr(run_sql, "DUE", due)


def who_leaves_after_the_run_is_billed_once_reinstated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: paused or cancelled before beat came by, a month that began since was due."""
    nothing = Value(None, output_field=DateField())
    monkeypatch.setattr(segments, "runs_until", lambda: nothing)


def a_day_holds_nobody_before_its_row_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_state, "_due_suspensions", lambda *_: [])


def reinstating_lifts_everybodys_hold_of_the_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    original = suspensions.release_all

    def release_all(partner_id: int, **given: Any) -> int:
        released = original(partner_id, **given)
        Hold.objects.filter(scope="PARTNER", partner_id=partner_id, lifted_at=None).update(
            lifted_at=given["now"]
        )
        return released

    monkeypatch.setattr(suspensions, "release_all", release_all)


def who_ends_is_renewed_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends with its period is billed for the one that begins on its last day."""
    original = suspensions.end_when_paid

    def end_when_paid(*given: Any, **more: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(segments, "stop", lambda *_, **__: 0)
            return original(*given, **more)

    monkeypatch.setattr(suspensions, "end_when_paid", end_when_paid)
    monkeypatch.setattr(suspensions, "_DAY", dt.timedelta())


def who_is_kept_is_not_billed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    original = suspensions.keep_all

    def keep_all(*given: Any, **more: Any) -> int:
        with monkeypatch.context() as patched:
            patched.setattr(segments, "resume", lambda *_, **__: {})
            return original(*given, **more)

    monkeypatch.setattr(suspensions, "keep_all", keep_all)


def a_suspension_is_no_reason_against_subscribing(monkeypatch: pytest.MonkeyPatch) -> None:
    unasked = subscribing._SHARE_PARTNER.replace("SELECT status", "SELECT 'ACTIVE'")
    monkeypatch.setattr(subscribing, "_SHARE_PARTNER", unasked)


# -- and of the last broker account
def who_has_no_account_left_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "_hold_without_account", lambda *_: None)


def who_has_no_account_left_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    original = lifecycle.liftable

    def liftable(who: str, *, explained: bool, **_: Any) -> frozenset[str]:
        return original(who, explained=explained)

    for module in (lifecycle, transitions, holds):
        monkeypatch.setattr(module, "liftable", liftable)


PLANTED: dict[str, tuple[Plant, str]] = {
    "trades: a held account enters": (a_held_account_enters, TRADES),
    "trades: what is armed stays armed": (what_is_armed_stays_armed, TRADES),
    "billed: a hold stops no billing": (a_hold_stops_no_billing, BILLED),
    "billed: afterwards": (the_time_under_a_hold_is_billed_afterwards, BILLED),
    "leaves: who is held cannot cancel": (who_is_held_cannot_cancel, LEAVES),
    "leaves: who cancels is billed on": (who_cancels_is_billed_on, LEAVES),
    "weaker: everybody lifts everything": (everybody_lifts_everything, WEAKER),
    "weaker: the weakest is shown": (the_weakest_is_shown, STATUS),
    "status: a customer's hold is forgotten": (forgotten("CUSTOMER"), STATUS),
    "status: a partner's hold is forgotten": (forgotten("PARTNER"), STATUS),
    "status: an account's hold is forgotten": (forgotten("ACCOUNT"), STATUS),
    "status: its own hold is forgotten": (forgotten("SUBSCRIPTION"), STATUS),
    "subscribes under a hold": (a_hold_is_no_reason_against_subscribing, "subscribes"),
    "suspended: armed after the run": (a_run_that_is_over_is_armed, TRADES),
    "suspended: billed after the run": (a_run_that_is_over_is_billed, BILLED),
    "suspended: billed once reinstated": (
        who_leaves_after_the_run_is_billed_once_reinstated,
        BILLED,
    ),
    "suspended: only the row holds": (
        a_day_holds_nobody_before_its_row_is_there,
        f"{STATUS}|{WEAKER}",
    ),
    "suspended: reinstating lifts all": (reinstating_lifts_everybodys_hold_of_the_partner, WEAKER),
    "suspended: renewed once more": (who_ends_is_renewed_once_more, BILLED),
    "suspended: kept and not billed": (who_is_kept_is_not_billed_again, UNBILLED),
    "suspended: subscribes": (a_suspension_is_no_reason_against_subscribing, "subscribes"),
    "no account: goes on": (who_has_no_account_left_goes_on, f"{STATUS}|{WEAKER}"),
    "no account: resumes": (who_has_no_account_left_resumes, WEAKER),
}


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_a_planted_fault_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    plant, rule = PLANTED[fault]
    plant(monkeypatch)
    with pytest.raises(Told, match=rule):
        play_all(stage, range(1, WITHIN))
