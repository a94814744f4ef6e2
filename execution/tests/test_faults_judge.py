"""The faults' judge can fail: every book that no scenario may end in is not right to it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable

import pytest

from execution.tests.faults.judge import Execution, Intent, Order, Right, Seen, Verdict, judge

T = dt.datetime(2026, 9, 8, 4, 30, tzinfo=dt.UTC)
LEGS = {"entry-ce": ("NIFTYCE", "SELL"), "entry-pe": ("NIFTYPE", "SELL")}


def after(seconds: float) -> dt.datetime:
    return T + dt.timedelta(seconds=seconds)


def order(code: str, symbol: str, side: str, at: float, **fields: object) -> Order:
    filled_order = Order(
        client="C1",
        tag=f"Q{code}1",
        code=code,
        symbol=symbol,
        side=side,
        quantity=65,
        filled=65,
        status="COMPLETE",
        received_at=after(at),
        updated_at=after(at + 0.02),
    )
    return dataclasses.replace(filled_order, **fields)  # type: ignore[arg-type]


def intent(code: str, purpose: str, state: str = "FILLED", filled: int = 65) -> Intent:
    return Intent("C1", code, purpose, state, 65, filled, "")


def a_good_day() -> Seen:
    """Two legs sold and bought back, everything known."""
    orders = [order(code, *leg, 0.01) for code, leg in LEGS.items()]
    orders += [order(f"x{code}", leg[0], "BUY", 8.0) for code, leg in LEGS.items()]
    return Seen(
        entry_at=T,
        clients=["C1"],
        orders=orders,
        positions={},
        intents=[intent(code, "ENTRY") for code in LEGS]
        + [intent(f"x{code}", "EXIT") for code in LEGS],
        executions=[Execution("C1", "CLOSED", "", attention=False)],
    )


def judged(seen: Seen, right: Right | None = None, **fields: object) -> Verdict:
    return judge(seen, right or Right(), 2, **fields)  # type: ignore[arg-type]


def twice(seen: Seen) -> Seen:
    """The exchange has two living orders of one intent."""
    again = order("entry-ce", "NIFTYCE", "SELL", 5.0, tag="Qentry-ce2")
    return dataclasses.replace(
        seen, orders=[*seen.orders, again], positions={("C1", "NIFTYCE"): -65}
    )


def early(seen: Seen) -> Seen:
    first, *rest = seen.orders
    return dataclasses.replace(
        seen, orders=[dataclasses.replace(first, received_at=after(-0.001)), *rest]
    )


def turned_over(seen: Seen) -> Seen:
    """We were short, and are long now; closed as far as anybody here knows."""
    return dataclasses.replace(seen, positions={("C1", "NIFTYCE"): 65})


def open_and_silent(seen: Seen) -> Seen:
    return dataclasses.replace(
        seen,
        positions={("C1", "NIFTYCE"): -65},
        executions=[Execution("C1", "EXITING", "", attention=False)],
    )


def open_and_forgotten(seen: Seen) -> Seen:
    """Open at the broker, and over as far as anybody here knows; that somebody was told is no
    excuse."""
    return dataclasses.replace(
        seen,
        positions={("C1", "NIFTYCE"): -65},
        executions=[Execution("C1", "CLOSED", "CLOSED_OUTSIDE", attention=True)],
    )


def not_there(seen: Seen) -> Seen:
    """One entry never reached the broker."""
    return dataclasses.replace(seen, orders=[o for o in seen.orders if o.code != "entry-ce"])


def nobodys(seen: Seen) -> Seen:
    """An order at the broker that nobody here knows."""
    return dataclasses.replace(seen, intents=[i for i in seen.intents if i.code != "entry-ce"])


def filled_and_missed(seen: Seen) -> Seen:
    """Filled at the broker, MISSED here."""
    first, *rest = seen.intents
    missed = dataclasses.replace(first, state="MISSED", filled=0)
    return dataclasses.replace(seen, intents=[missed, *rest])


def failed_without_a_cause(seen: Seen) -> Seen:
    return dataclasses.replace(seen, executions=[Execution("C1", "FAILED", "", attention=False)])


@pytest.mark.parametrize(
    ("spoil", "figure", "said"),
    [
        (twice, "duplicate", "orders twice"),
        (early, "early", "before T"),
        (turned_over, "reversed", "other way round"),
        (open_and_silent, "unnamed", "without a word"),
        (open_and_silent, "open", "open"),
        (open_and_forgotten, "open", "open at the broker, CLOSED here"),
        (not_there, "lost", "1 of 2 entries"),
        (nobodys, "lost", "nobody here knows"),
        (filled_and_missed, "lost", "MISSED here"),
        (failed_without_a_cause, "unnamed", "without a word"),
    ],
    ids=[
        "duplicate",
        "early",
        "reversed",
        "unnamed",
        "open",
        "forgotten",
        "not sent",
        "of nobody",
        "filled and missed",
        "failed for nothing",
    ],
)
def test_the_judge_fails_a_spoilt_book(
    spoil: Callable[[Seen], Seen], figure: str, said: str
) -> None:
    assert judged(a_good_day()).problems == []
    verdict = judged(spoil(a_good_day()))
    assert getattr(verdict, figure) >= 1
    assert any(said in problem for problem in verdict.problems), verdict.problems


@pytest.mark.parametrize(
    ("alarms", "said"),
    [({}, "without an alarm"), ({"C1": after(31)}, "alarm after 21.0 s, 15 were allowed")],
    ids=["none", "late"],
)
def test_the_judge_fails_a_missing_and_a_late_alarm(
    alarms: dict[str, dt.datetime], said: str
) -> None:
    right = Right(alarm=15)
    in_time = dataclasses.replace(a_good_day(), alarms={"C1": after(12)})
    assert judged(in_time, right, trouble_at=after(10)).problems == []
    late = dataclasses.replace(a_good_day(), alarms=alarms)
    (problem,) = judged(late, right, trouble_at=after(10)).problems
    assert said in problem


def test_the_judge_fails_needless_alarms_and_calls() -> None:
    """The scenario wants no alarm and at most 12 cancels; the day had an alarm and 2304 cancels."""
    day = dataclasses.replace(a_good_day(), alarms={"C1": after(1)}, calls={("C1", "cancel"): 2304})
    verdict = judged(day, Right(quiet=True, calls={"cancel": 12}))
    assert verdict.problems == ["1 alarms without need", "C1: 2304 cancel calls"]


def test_the_judge_fails_entries_that_are_late() -> None:
    late = dataclasses.replace(
        a_good_day(),
        orders=[
            dataclasses.replace(o, received_at=after(1.5)) if o.code in LEGS else o
            for o in a_good_day().orders
        ],
    )
    assert judged(late, Right(within=2)).problems == []
    assert judged(late, Right(within=1)).problems == ["entries 1.5 s late, 1 were allowed"]


def test_what_a_scenario_allows_is_no_problem() -> None:
    """A hidden order's double that was closed; an open position that is told; nobody entered."""
    doubled = dataclasses.replace(twice(a_good_day()), positions={})
    assert judged(doubled, Right(doubles=True)).problems == []
    alarmed = dataclasses.replace(
        open_and_silent(a_good_day()),
        executions=[Execution("C1", "EXITING", "NO_WITNESS", attention=True)],
    )
    assert judged(alarmed, Right(flat=False)).problems == []
    flat = dataclasses.replace(alarmed, positions={})
    assert judged(flat, Right(over=False)).problems == []
    assert judged(flat, Right()).problems == ["C1: EXITING NO_WITNESS"]
    assert judged(a_good_day(), Right(enters="none")).problems == ["C1: 2 entries left"]
