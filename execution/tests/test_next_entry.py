"""Which entry a version published now would trade: the row of a run decides, not the clock."""

from __future__ import annotations

import datetime as dt

import pytest

from execution.arming import arm_due
from execution.models import Run
from execution.timing import from_settings
from marketplace.models import Template
from marketplace.ports import RUNS
from marketplace.selectors.template_summary import standing
from marketplace.tests import factories as make
from quantleap.core import clock

pytestmark = pytest.mark.django_db


def ist(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+05:30")


def reached(template: Template, now: str) -> str:
    """The first entry that a publication at ``now`` reaches."""
    first = standing(template, ist(now)).reached
    return f"{clock.to_ist(first.at):%Y-%m-%d %H:%M}" if first else "none"


@pytest.fixture
def template() -> Template:
    make.load_test_contracts(underlyings=["NIFTY"], strikes_each_side=12)
    return make.make_short_straddle()  # enters at 09:20


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-08-04 09:17:00", "2026-08-04 09:20"),
        ("2026-08-04 09:19:00", "2026-08-05 09:20"),  # armed at 09:18 with the old version
        ("2026-08-04 09:20:01", "2026-08-05 09:20"),
        ("2026-08-04 15:41:00", "2026-08-05 09:20"),
        ("2026-08-07 19:00:00", "2026-08-10 09:20"),  # a Friday evening
        ("2026-11-23 16:00:00", "2026-11-25 09:20"),  # before a holiday
        ("2026-12-30 16:00:00", "2026-12-31 09:20"),
        ("2026-12-31 16:00:00", "none"),  # the last trading day of the last loaded year
    ],
)
def test_the_first_entry_of_a_new_version(template: Template, now: str, expected: str) -> None:
    arm_due(now=ist(now), timing=from_settings())  # as the tick of every second does
    assert reached(template, now) == expected


def test_an_entry_that_nobody_armed_is_still_reached(template: Template) -> None:
    assert not Run.objects.exists()
    assert reached(template, "2026-08-04 09:19:00") == "2026-08-04 09:20"
    assert not RUNS.get().made(dt.date(2026, 8, 4))
