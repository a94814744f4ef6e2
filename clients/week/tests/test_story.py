"""The week's story has in it what the week is for."""

from __future__ import annotations

import datetime as dt

from clients.week import story


def test_five_days_with_a_holiday_inside() -> None:
    assert len(story.WEEK) == 5
    assert all(day.date.weekday() < 5 for day in story.WEEK)
    assert story.DAYS[1] < story.HOLIDAY < story.DAYS[2]
    assert story.HOLIDAY.weekday() == 0


def test_sensex_expires_on_a_thursday_and_nifty_on_a_tuesday() -> None:
    weekdays = {"SENSEX": 3, "NIFTY": 1}
    assert all(day.weekday() == weekdays[index] for day, index in story.EXPIRIES.items())
    assert set(story.EXPIRIES.values()) == {"SENSEX", "NIFTY"}


def test_everything_that_the_week_is_for_happens_once() -> None:
    for name in ("late_riser", "hand_trade", "deploy", "stuck", "restart"):
        assert sum(getattr(day, name) for day in story.WEEK) == 1
    stuck = next(day for day in story.WEEK if day.stuck)
    after = story.WEEK[story.WEEK.index(stuck) + 1]
    assert after.restart  # at 00:10, with the open execution of the evening before


def test_one_account_crosses_with_itself_and_one_at_two_partners() -> None:
    both = [follower for follower in story.FOLLOWERS if len(follower.offers) == 2]
    assert any(
        {offer.plan.key for offer in follower.offers} == {"sells", "buys"} for follower in both
    )
    twice = [follower for follower in story.FOLLOWERS if follower.customer is story.TWICE]
    assert {follower.partner for follower in twice} == set(story.PARTNERS)
    assert {offer.plan.key for follower in twice for offer in follower.offers} == {"sells", "buys"}


def test_entries_and_exits_are_apart_and_inside_the_session() -> None:
    entries = [offer.hours.entry for offer in story.OFFERS]
    exits = [offer.hours.exit for offer in story.OFFERS]
    assert entries == sorted(set(entries))
    assert exits == sorted(set(exits))
    assert entries[0] > dt.time(9, 15)
    assert exits[-1] < dt.time(15, 15)  # the earliest square-off of the brokers
