"""The demo's control ``split_account``: one person at two partners is two accounts, as before."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.realaccount import RealAccount
from execution.engine import sabotage
from execution.engine.actors import Actors

REAL = RealAccount("live", "zebu", "ZB9001")
HERE, THERE = 1, 2  # rows of ours, of two partners


def test_rows_of_one_account_have_one_actor_and_one_pace() -> None:
    actors = Actors()
    assert actors.of(REAL, HERE) is actors.of(REAL, THERE) is actors.at(THERE)
    assert sabotage.divided(REAL.client_id, HERE) == REAL.client_id


def test_split_again_each_row_has_a_book_and_a_pace_of_its_own(settings: Any) -> None:
    """What is kept of it says still whose account it is: that is what the broker is asked with."""
    settings.QUANTLEAP_SABOTAGE = sabotage.SPLIT_ACCOUNT
    actors = Actors()
    here, there = actors.of(REAL, HERE), actors.of(REAL, THERE)
    assert here is not there
    assert here is actors.of(REAL, HERE) is actors.at(HERE)
    assert here.real == there.real == REAL
    assert len({sabotage.divided(REAL.client_id, row) for row in (HERE, THERE)}) == 2


@pytest.mark.parametrize("name", sabotage.ALL)
def test_every_other_control_leaves_accounts_whole(settings: Any, name: str) -> None:
    settings.QUANTLEAP_SABOTAGE = name
    actors = Actors()
    whole = actors.of(REAL, HERE) is actors.of(REAL, THERE)
    assert whole is (name != sabotage.SPLIT_ACCOUNT)
