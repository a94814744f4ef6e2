"""What the isolation benchmark promises is broken by a cost and not by noise."""

from __future__ import annotations

from bench.figures import Lateness, ratio_intervals
from bench.isolation import Played, entry_ratios, judge


def day(p99: float, exits: float = 400.0, entries: int = 8) -> Played:
    """Entries that differ by a quarter among themselves."""
    return Played(
        entries=[
            Lateness(199, 0, 0.1, 2.0, p99 * (0.85 + 0.05 * number), 9.0)
            for number in range(entries)
        ],
        exits=[Lateness(199, 0, 0.1, 200.0, exits, exits) for _ in range(entries)],
    )


def judged(days: dict[str, dict[str, list[Played]]]) -> list[str]:
    intervals = ratio_intervals({name: entry_ratios(pair) for name, pair in days.items()})
    return [target.name for target in judge(intervals, days) if not target.holds]


def broken(*hostile: Played) -> list[str]:
    quiet = {"control": [day(5.0), day(5.1)], "hostile": [day(5.4), day(4.7)]}
    mine = {"control": [day(5.0), day(5.1)], "hostile": list(hostile)}
    return judged({"drip": quiet, "huge": quiet, "garbage": mine})


def test_noise_breaks_no_promise() -> None:
    assert broken(day(5.2), day(5.0)) == []


def test_half_as_much_again_is_found_in_its_manner() -> None:
    assert "garbage: entries, p99, at least" in broken(day(7.5), day(8.0))


def test_a_cost_spread_over_all_manners_is_found() -> None:
    """No single manner misses its target; only the mean over all of them does."""
    costly = {"control": [day(5.0), day(5.5)], "hostile": [day(5.6), day(6.4)]}
    assert judged(dict.fromkeys(("drip", "huge", "garbage"), costly)) == [
        "every manner: entries, p99"
    ]


def test_a_slower_machine_is_no_cost() -> None:
    """Both days of a pair are slow together; what the other pairs took does not matter."""
    slow = {"control": [day(12.0), day(5.0)], "hostile": [day(12.3), day(5.0)]}
    quick = {"control": [day(2.4), day(2.5)], "hostile": [day(2.5), day(2.4)]}
    assert judged({"drip": quick, "garbage": slow}) == []


def test_exits_a_quarter_of_a_second_later_are_found() -> None:
    assert broken(day(5.0, exits=651.0), day(5.0, exits=652.0)) == [
        "garbage: last exit, later than control"
    ]
