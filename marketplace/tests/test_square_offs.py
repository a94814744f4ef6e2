"""The brokers' cut-offs: on ordinary days, short ones, in the evening; and what publishing says."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.calendar import Hours
from marketplace.selectors import load_market
from marketplace.selectors.market import square_offs
from marketplace.services import publish
from marketplace.square_offs import LAST_TRIES, SquareOff, in_force, limits
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from marketplace.validation import time_findings
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

DAY = dt.date(2026, 11, 27)
ORDINARY = Hours(dt.time(9, 15), dt.time(15, 40))
minutes = st.integers(1, 60).map(lambda count: dt.timedelta(minutes=count))
times = st.times(dt.time(9), dt.time(22)).map(lambda at: at.replace(second=0, microsecond=0))
rows = st.builds(
    SquareOff,
    broker=st.sampled_from(["a", "b", "c"]),
    effective_from=st.dates(dt.date(2025, 1, 1), dt.date(2027, 1, 1)),
    at=times,
    before_close=minutes,
    source=st.just("https://example.com"),
)
hours_of = st.tuples(times, st.integers(90, 400)).map(
    lambda pair: Hours(
        pair[0],
        min(
            dt.datetime.combine(DAY, pair[0]) + dt.timedelta(minutes=pair[1]),
            dt.datetime.combine(DAY, dt.time(23, 59)),
        ).time(),
    )
)


def after(at: dt.time, by: dt.timedelta) -> dt.time:
    return (dt.datetime.combine(DAY, at) + by).time()


def test_the_shipped_rows_have_public_sources() -> None:
    assert [row.broker for row in square_offs()] == ["Zerodha"]
    assert all(row.source.startswith("https://") for row in square_offs())


@pytest.mark.parametrize(
    ("hours", "latest"),
    [
        (ORDINARY, "15:23:00"),
        (Hours(dt.time(9, 15), dt.time(15, 30)), "15:23:00"),
        (Hours(dt.time(9, 15), dt.time(13, 0)), "12:53:00"),  # a half day
        (Hours(dt.time(18, 0), dt.time(19, 15)), "19:08:00"),  # Muhurat
    ],
)
def test_the_latest_exit_by_the_session(hours: Hours, latest: str) -> None:
    bounds = limits(hours, in_force(square_offs(), DAY))
    assert bounds.latest == dt.time.fromisoformat(latest)
    assert bounds.why_latest.startswith("Zerodha closes intraday positions from ")


def test_without_a_known_cut_off_the_close_counts() -> None:
    bounds = limits(ORDINARY, ())
    assert bounds.latest == dt.time(15, 38)
    assert bounds.why_latest.startswith("the session closes at 15:40")


@given(hours=hours_of, known=st.lists(rows, max_size=5))
def test_an_accepted_exit_precedes_every_cut_off(hours: Hours, known: list[SquareOff]) -> None:
    """And one second later is refused: both directions."""
    allowed = limits(hours, known)
    entry = after(hours.opens, dt.timedelta(minutes=1))
    for cut_off in [hours.closes, *(row.on(hours) for row in known)]:
        assert after(allowed.latest, LAST_TRIES) <= cut_off
    if allowed.latest > entry:
        assert not list(time_findings(entry, allowed.latest, hours, known))
        late = after(allowed.latest, dt.timedelta(seconds=1))
        [(field, words)] = time_findings(entry, late, hours, known)
        assert field == "exit_time"
        assert f"{allowed.latest:%H:%M:%S}" in words


def test_the_newest_row_of_a_broker_is_in_force() -> None:
    old = SquareOff("a", dt.date(2025, 1, 1), dt.time(15, 25), LAST_TRIES, "")
    new = SquareOff("a", dt.date(2026, 12, 1), dt.time(15, 35), LAST_TRIES, "")
    assert in_force([new, old], DAY) == (old,)
    assert in_force([new, old], dt.date(2026, 12, 1)) == (new,)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"exit_time": dt.time(15, 29, 59)}, "Not after 15:23:00 IST: Zerodha closes"),
        ({"entry_time": dt.time(9, 15)}, "Not before 09:15:15 IST"),
    ],
)
def test_publishing_names_the_allowed_times(times: dict[str, dt.time], said: str) -> None:
    """For an exit at 15:29:59 and an entry at 09:15:00."""
    load_reference_data()
    assert load_market(DAY).square_offs
    template = make_template(published=False, strategy=times)
    with pytest.raises(InvalidRequest) as refused:
        publish(template_id=template.pk, actor=SYSTEM, note="", now=TEST_NOW)
    assert said in refused.value.details[f"strategies.0.{next(iter(times))}"]


@pytest.mark.django_db
def test_the_earliest_entry_and_the_latest_exit_are_published() -> None:
    """The control."""
    load_reference_data()
    times = {"entry_time": dt.time(9, 15, 15), "exit_time": dt.time(15, 23)}
    template = make_template(published=False, strategy=times)
    assert publish(template_id=template.pk, actor=SYSTEM, note="", now=TEST_NOW).number == 1
