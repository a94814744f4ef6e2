"""Persons at two partners: what the story of their accounts comes to."""

from __future__ import annotations

import datetime as dt
from collections import Counter

from clients.demo.pace import MOST
from clients.demo.story import make_story
from clients.demo.twice import ACCOUNTS, BUYS, CLIENTS, HALVES, SELLS, entry_at, exit_at, hours

FREEZE_LOTS = 27  # 1,800 units of NIFTY


def test_each_account_is_one_person_at_both_partners() -> None:
    """Each partner has an app of its own for each account."""
    assert dict.fromkeys(ACCOUNTS, 2) == Counter(
        (half.customer.broker, half.customer.client_id) for half in HALVES
    )
    assert {broker for broker, _ in ACCOUNTS} == {"zebu", "zerodha"}
    assert len({half.customer.email for half in HALVES}) == len(ACCOUNTS)
    apps = [half.customer.api_key for half in HALVES]
    assert apps == ["zebu9001", "second9001", "zebu9003", "second9003"]
    assert len({half.customer.partner for half in HALVES}) == 2


def test_what_one_sells_the_other_buys_at_the_same_second() -> None:
    story = make_story(24, 8)
    for sold, bought in zip(HALVES[::2], HALVES[1::2], strict=True):
        assert (sold.leg.side, bought.leg.side) == ("SELL", "BUY")
        assert (sold.leg.option_type, sold.leg.steps) == (bought.leg.option_type, bought.leg.steps)
        assert sold.customer.slices(sold.leg) == bought.customer.slices(bought.leg) == [3] * 12
        assert (sold.is_stopped, bought.is_stopped) == (True, False)
    sells, buys = hours(story, SELLS), hours(story, BUYS)
    assert (
        (sells.entry, sells.exit)
        == (buys.entry, buys.exit)
        == (dt.time(9, 20, 6), dt.time(9, 20, 59))
    )


def test_together_they_exceed_the_pace_and_the_freeze_limit() -> None:
    """Each half needs more orders than a second allows, and more lots than one order may have."""
    for half in HALVES:
        assert 2 * len(half.customer.slices(half.leg)) > 2 * MOST
        assert half.customer.lots(half.leg) > FREEZE_LOTS


def test_they_are_nobody_of_the_others_and_trade_beside_nobody() -> None:
    for story in (make_story(), make_story(24, 8, hold_seconds=36)):
        assert not CLIENTS & {customer.client_id for customer in story.customers}
        assert entry_at(story) > story.entry_at
        assert exit_at(story) > story.exit_at
