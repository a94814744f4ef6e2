"""What the isolation benchmark promises is broken by a cost and not by noise."""

from __future__ import annotations

from bench.figures import Lateness
from bench.isolation import Played, judge


def day(p99: float, exits: float = 400.0, entries: int = 8) -> Played:
    """Entries that differ by a quarter among themselves."""
    return Played(
        entries=[
            Lateness(199, 0, 0.1, 2.0, p99 * (0.85 + 0.05 * number), 9.0)
            for number in range(entries)
        ],
        exits=[Lateness(199, 0, 0.1, 200.0, exits, exits) for _ in range(entries)],
    )


def broken(hostile: Played) -> list[str]:
    quiet = {"control": [day(5.0), day(5.1)], "hostile": [day(5.1), day(5.0)]}
    found = {
        "drip": quiet,
        "huge": quiet,
        "garbage": {"control": [day(5.0), day(5.1)], "hostile": [hostile]},
    }
    return [target.name for target in judge(found) if not target.holds]


def test_noise_breaks_no_promise() -> None:
    assert broken(day(5.2)) == []


def test_half_as_much_again_is_found_in_its_manner() -> None:
    assert broken(day(8.0)) == ["garbage: entries, p99, at least"]


def test_a_cost_in_every_manner_is_found_though_no_manner_shows_it_alone() -> None:
    costly = {"control": [day(5.0)], "hostile": [day(5.7)]}
    judged = judge(dict.fromkeys(("drip", "huge", "garbage"), costly))
    assert [target.name for target in judged if not target.holds] == ["every manner: entries, p99"]


def test_exits_a_quarter_of_a_second_later_are_found() -> None:
    assert broken(day(5.0, exits=651.0)) == ["garbage: last exit, later than control"]
