"""The run against a second biller: the same invoices, books and numbers, whatever happened.

``make billing-oracle PORTFOLIOS=200`` is this module with more portfolios. Each batch prints its
seed; ``ORACLE_SEED`` begins with another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, assume, given, seed, settings

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from subscriptions.billing.tests.oracle_portfolios import (
    DEFAULT_STATE,
    SIZE,
    Case,
    cases,
)
from subscriptions.billing.tests.oracle_world import House, World, compare

BATCH: Final = 10
PORTFOLIOS: Final = int(os.environ.get("PORTFOLIOS", BATCH))
FIRST_SEED: Final = int(os.environ.get("ORACLE_SEED", 1))
SEEDS: Final = range(FIRST_SEED, FIRST_SEED + -(-PORTFOLIOS // BATCH))


@pytest.fixture
def house(transactional_db: None) -> House:
    load_reference_data()
    partner = make_partner("zebu", default_state=DEFAULT_STATE)
    return House([make_template(), make_template()], partner)


def given_cases(number: int, count: int, judge: Callable[[Case], None]) -> None:
    """Judge ``count`` random cases of this seed.

    Nothing is shrunk: subscriptions do not touch each other, so a disagreement names the one that
    differs with its whole life, and that is as small as it gets.
    """

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
    )
    @given(case=cases())
    def judged(case: Case) -> None:
        assume(case.varied)
        judge(case)

    judged()


@pytest.mark.parametrize("number", SEEDS)
def test_the_run_and_the_oracle_agree(
    number: int, house: House, record_property: Callable[[str, Any], None]
) -> None:
    tally = {"portfolios": 0, "invoices": 0, "late": 0, "runs": 0, "changes": 0}

    def judge(case: Case) -> None:
        world = World(house, case.portfolio)
        made = compare(world, world.play(case.history))
        tally["portfolios"] += 1
        tally["invoices"] += len(made)
        tally["late"] += sum(one.needs_review for one in made)
        tally["runs"] += len(case.history.runs)
        tally["changes"] += world.changes

    given_cases(number, BATCH, judge)
    record_property(
        "tried",
        f"{tally['portfolios']} portfolios of {SIZE} subscriptions over 24 months, seed {number}: "
        f"{tally['invoices']} invoices ({tally['late']} to review), {tally['runs']} runs, "
        f"{tally['changes']} pauses, resumptions and cancellations",
    )
    assert tally["portfolios"] == BATCH
    assert min(tally.values()) > 0
