"""I5: an exit never opens a position, and nobody else's trade is ours to close."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from execution.exits import (
    Tracked,
    Witnesses,
    believed_net,
    exit_quantities,
    foreign_quantity,
)

quantities = st.integers(-500, 500)
books = st.lists(quantities, max_size=6).map(
    lambda units: [Tracked(key, quantity) for key, quantity in enumerate(units)]
)
nets = st.integers(-1500, 1500)


def net_after(positions: list[Tracked], broker_net: int, allowed: dict[int, int]) -> int:
    """What the broker shows once every allowed exit is filled."""
    return broker_net - sum(
        allowed[position.key] * (1 if position.quantity > 0 else -1) for position in positions
    )


@given(positions=books, broker_net=nets)
def test_no_exit_closes_more_than_its_leg_holds(positions: list[Tracked], broker_net: int) -> None:
    allowed = exit_quantities(positions, broker_net)
    assert set(allowed) == {position.key for position in positions}
    assert all(0 <= allowed[position.key] <= abs(position.quantity) for position in positions)


@given(positions=books, broker_net=nets)
def test_what_is_left_is_at_most_what_was_foreign(
    positions: list[Tracked], broker_net: int
) -> None:
    """After all exits only foreign units remain, in their own direction: nothing was opened."""
    foreign = foreign_quantity(positions, broker_net)
    left = net_after(positions, broker_net, exit_quantities(positions, broker_net))
    assert abs(left) <= abs(foreign)
    assert left == 0 or (left > 0) == (foreign > 0)


@given(positions=books, broker_net=nets, sign=st.sampled_from([1, -1]))
def test_with_one_direction_no_single_exit_crosses_zero(
    positions: list[Tracked], broker_net: int, sign: int
) -> None:
    """Whatever the order in which the exits fill, the broker's net never changes its sign."""
    same = [Tracked(p.key, sign * abs(p.quantity)) for p in positions]
    net = broker_net
    for key, units in exit_quantities(same, broker_net).items():
        before, net = net, net - sign * units
        assert units == 0 or (before * sign > 0 and net * sign >= 0), key


@given(positions=books)
def test_without_anything_foreign_everything_may_leave(positions: list[Tracked]) -> None:
    """Also where long and short net to 0 in one contract: both must be able to exit."""
    net = sum(position.quantity for position in positions)
    allowed = exit_quantities(positions, net)
    assert allowed == {position.key: abs(position.quantity) for position in positions}


@given(positions=books, foreign=quantities)
def test_foreign_reduces_only_what_it_opposes(positions: list[Tracked], foreign: int) -> None:
    net = sum(position.quantity for position in positions) + foreign
    allowed = exit_quantities(positions, net)
    opposed = [p for p in positions if (foreign < 0 < p.quantity) or (p.quantity < 0 < foreign)]
    for position in positions:
        if position not in opposed:
            assert allowed[position.key] == abs(position.quantity)
    held = sum(abs(position.quantity) for position in opposed)
    kept = sum(allowed[position.key] for position in opposed)
    assert held - kept == min(held, abs(foreign))


@given(positions=books, broker_net=nets)
def test_the_oldest_gives_first(positions: list[Tracked], broker_net: int) -> None:
    foreign = foreign_quantity(positions, broker_net)
    opposed = [p for p in positions if (foreign < 0 < p.quantity) or (p.quantity < 0 < foreign)]
    assume(len(opposed) > 1)
    allowed = exit_quantities(list(reversed(positions)), broker_net)
    for older, younger in itertools.pairwise(opposed):
        if allowed[younger.key] < abs(younger.quantity):
            assert allowed[older.key] == 0


def test_long_and_short_in_one_contract_both_exit() -> None:
    assert exit_quantities([Tracked(1, 65), Tracked(2, -65)], 0) == {1: 65, 2: 65}


def test_closed_by_hand_is_not_closed_again() -> None:
    assert exit_quantities([Tracked(1, -65), Tracked(2, -130)], -130) == {1: 0, 2: 130}


def test_a_customers_own_position_is_left_alone() -> None:
    assert exit_quantities([Tracked(1, -65)], -265) == {1: 65}


# -- whom to believe ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("what", "witnesses", "believed"),
    [
        ("both say what we know", Witnesses(65, 65), 65),
        ("positions lag behind the fills", Witnesses(0, 65), None),
        (
            "positions have said so for long: converted to another product",
            Witnesses(0, 65, True),
            0,
        ),
        ("squared off by hand, positions fail", Witnesses(None, 0), 0),
        ("squared off by hand, positions lag", Witnesses(65, 0), 0),
        ("only positions, as we know it", Witnesses(65, None), 65),
        ("only positions, another figure", Witnesses(0, None), None),
        ("only positions, another figure for long", Witnesses(0, None, True), 0),
        ("nobody answers", Witnesses(None, None), None),
        ("nobody answers any more", Witnesses(None, None, True), None),
    ],
)
def test_whom_to_believe(what: str, witnesses: Witnesses, believed: int | None) -> None:
    assert believed_net(65, witnesses) == believed, what


@given(
    ours=quantities,
    positions=st.none() | quantities,
    book=st.none() | quantities,
    settled=st.booleans(),
)
def test_nothing_is_believed_that_no_witness_said(
    ours: int, positions: int | None, book: int | None, settled: bool
) -> None:
    believed = believed_net(ours, Witnesses(positions, book, settled))
    if believed is not None:
        assert believed in (positions, book, ours)
        assert positions is not None or book is not None
    if positions is None and book is None:
        assert believed is None
    if positions == book == ours:
        assert believed == ours
