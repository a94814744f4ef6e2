"""The figures themselves: percentiles, medians, promises."""

from __future__ import annotations

import pytest

from bench.figures import (
    Lateness,
    Target,
    lateness,
    median_of,
    percentile,
    ratio,
    ratio_intervals,
    table,
    targets,
)


def run(last: float, *, early: int = 0, count: int = 3) -> Lateness:
    return Lateness(count=count, early=early, first=1.0, p50=2.0, p99=last, last=last)


def test_percentiles_are_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile([7.0], 0.01) == 7


def test_lateness_counts_what_came_before_its_time() -> None:
    measured = lateness([10.004, 9.999, 10.002], due=10.0)
    assert measured == Lateness(count=3, early=1, first=-1.0, p50=2.0, p99=4.0, last=4.0)


def test_medians_forgive_no_early_and_no_lost_order() -> None:
    middle = median_of([run(10), run(30, early=1), run(20, count=2)])
    assert (middle.last, middle.early, middle.count) == (20, 1, 2)


def test_ratios_compare_the_runs_that_stood_beside_each_other() -> None:
    above, below = [run(10), run(100), run(60)], [run(1), run(50), run(20)]
    assert ratio(above, below, lambda r: r.last) == 3


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        (Target("last", 75.0, 75.0), True),
        (Target("last", 75.1, 75.0), False),
        (Target("faster", 50.0, 50.0, "x", True), True),
        (Target("faster", 49.9, 50.0, "x", True), False),
    ],
)
def test_a_target_says_whether_it_holds(target: Target, holds: bool) -> None:
    assert target.holds is holds
    assert target.line().startswith("PASS" if holds else "FAIL")
    assert target.json()["holds"] is holds


def test_one_early_order_breaks_the_promise() -> None:
    good = targets([run(20)], [run(2000)], [run(12)], subscribers=3)
    assert all(target.holds for target in good)
    bad = targets([run(20, early=1)], [run(2000)], [run(12)], subscribers=3)
    assert [target.name for target in bad if not target.holds] == [
        "orders before T, most of all runs"
    ]


def test_the_table_is_aligned() -> None:
    lines = table({"ours": run(20), "bare": run(1234.5)}).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_an_interval_of_a_ratio_tells_noise_from_a_cost() -> None:
    intervals = ratio_intervals({"none": [0.9, 1.15], "noise": [1.4, 0.95], "cost": [1.6, 1.5]})
    assert intervals["noise"].low < 1.1 < intervals["noise"].middle
    assert 1.1 < intervals["cost"].low < intervals["cost"].middle < intervals["cost"].high


def test_a_series_borrows_the_spread_of_the_others() -> None:
    alone = ratio_intervals({"cost": [1.6, 1.5]})["cost"]
    beside = ratio_intervals({"cost": [1.6, 1.5], "wild": [0.5, 2.0]})["cost"]
    assert beside.middle == alone.middle
    assert beside.low < 1 < alone.low
