"""An exit never opens a position, and nobody else's trade is ours to close.

I5 (never more than planned or held), for exits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from execution.exit_limits import (
    Grant,
    Tracked,
    Witnesses,
    exit_quantities,
    foreign_quantity,
    share,
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
    closable = sum(allowed[position.key] for position in opposed)
    assert held - closable == min(held, abs(foreign))


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
    ("what", "witnesses", "granted"),
    [
        ("both say what we know", Witnesses(65, 65), Grant(65)),
        ("positions lag behind the fills", Witnesses(0, 65), None),
        (
            "positions have said so for long: converted to another product",
            Witnesses(0, 65, True),
            Grant(0, 65),
        ),
        ("squared off by hand, positions fail", Witnesses(None, 0), Grant(0, 65)),
        ("squared off by hand, positions lag", Witnesses(65, 0), Grant(0, 65)),
        ("only positions, as we know it", Witnesses(65, None), Grant(65)),
        ("only positions, another figure", Witnesses(0, None), None),
        ("only positions, another figure for long", Witnesses(0, None, True), Grant(0, 65)),
        ("nobody answers", Witnesses(None, None), None),
        ("nobody answers any more", Witnesses(None, None, True), None),
        ("more than ours, bought by hand", Witnesses(130, 130), Grant(65)),
        ("a part sold by hand, positions lag", Witnesses(65, 25), Grant(25, 40)),
        ("a part sold by hand, the rest shows nowhere", Witnesses(-40, 25), None),
        ("a part sold by hand, the rest long gone", Witnesses(-40, 25, True), Grant(0, 65)),
        ("bought by hand, and ours is gone", Witnesses(0, 130), None),
        ("bought by hand, and ours long converted", Witnesses(0, 130, True), Grant(0, 65)),
        ("bought by hand and converted", Witnesses(65, 130, True), Grant(65)),
    ],
)
def test_whom_to_believe(what: str, witnesses: Witnesses, granted: Grant | None) -> None:
    assert share([Tracked(1, 65)], witnesses) == {1: granted}, what


def test_what_was_converted_closes_nobody_elses_leg() -> None:
    """The book still nets a converted long with another strategy's short. The short is open, and
    may be closed once the positions have settled."""
    short = [Tracked(1, 0, sign=1), Tracked(2, -65)]
    assert share(short, Witnesses(-65, 0)) == {1: Grant(0), 2: Grant(0, 65)}
    assert share(short, Witnesses(-65, 0, settled=True))[2] == Grant(65)


def test_a_hand_trade_hid_that_an_exit_given_up_had_filled() -> None:
    """Seen (story 3171): one strategy short 1, another long 65 in a contract. The exit of the long
    filled, but the book did not show it, and it was given up as absent; 64 had been sold by hand.
    The book's word, "64 of 65 are gone", was believed, and 1 more was sold than anybody held."""
    legs = [Tracked(1, -1), Tracked(2, 65)]
    assert share(legs, Witnesses(-65, 0)) == {1: Grant(1), 2: None}, "wait: who sold the rest?"
    assert share(legs, Witnesses(-65, 0, settled=True)) == {1: Grant(1), 2: Grant(0, 65)}
    assert share(legs, Witnesses(0, 0)) == {1: Grant(1), 2: Grant(1, 64)}, "the control"


def test_an_exit_given_up_was_closed_twice() -> None:
    """Seen (story 18387): long 129 and short 65 in one contract, an exit of 65 of each hidden and
    filled. The short's was given up as absent; in the net nothing had changed, so it left again."""
    agreed = Witnesses(64, 64)
    long, short = Tracked(1, 129, selling=65), Tracked(2, -65, lost_buying=65)
    assert share([long, short], agreed) == {1: Grant(64), 2: None}
    assert share([long, Tracked(2, -65)], agreed)[2] == Grant(65), "not looked for any more"
    assert share([Tracked(1, 129), short], agreed)[2] == Grant(65), "nothing could make up for it"
    lost_too = Tracked(1, 129, lost_selling=65)
    assert share([lost_too, short], agreed) == {1: Grant(64), 2: None}, "both were given up"
    larger = Tracked(2, -195, lost_buying=65)
    assert share([long, larger], Witnesses(-66, -66))[2] == Grant(130), "the rest waits for nobody"


def test_which_of_two_exits_of_a_leg_has_filled() -> None:
    """One exit was given up, the other rests: no further one leaves while one of them has filled
    and it is unknown which."""
    leg = Tracked(1, 130, selling=65, lost_selling=65)
    assert share([leg], Witnesses(65, 130))[1] is None, "the one that rests may fill as well"
    assert share([leg], Witnesses(130, 130))[1] == Grant(65), "none of them has"
    assert share([leg], Witnesses(0, 130, settled=True))[1] == Grant(0, 65), "both"


LONG = Tracked(1, 65)
RESTING_BUY = Tracked(2, 0, sign=1, buying=65)


def test_a_long_closed_outside_was_sold_again() -> None:
    """Bug: another strategy's resting buy "explained" a net of 0 as 65 in flight. A SELL of 65
    would have opened the reverse."""
    legs = [LONG, RESTING_BUY]
    for book in (65, None):
        assert share(legs, Witnesses(0, book))[1] is None, "wait: it may be a delay"
        assert share(legs, Witnesses(0, book, settled=True))[1] == Grant(0, 65)
    assert share(legs, Witnesses(65, 65)) == {1: Grant(65), 2: Grant(0)}, "the control"


# -- a book that is dead --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("what", "legs", "witnesses", "granted"),
    [
        ("an entry that nobody tells of", [RESTING_BUY], Witnesses(65, None, True), Grant(65)),
        ("a moment before", [RESTING_BUY], Witnesses(65, None), Grant(0)),
        ("it has not filled", [RESTING_BUY], Witnesses(0, None, True), Grant(0, cleared=True)),
        ("it has filled in part", [RESTING_BUY], Witnesses(25, None, True), Grant(25)),
        ("no more than was ordered", [RESTING_BUY], Witnesses(200, None, True), Grant(65)),
        (
            "the positions may lag behind the other leg's exit",
            [Tracked(1, 65, selling=65), RESTING_BUY],
            Witnesses(65, None, True),
            Grant(0),
        ),
        (
            "a short's exit may have bought it",
            [Tracked(1, -65, buying=65), RESTING_BUY],
            Witnesses(0, None, True),
            Grant(0),
        ),
        (
            "positions show nothing in our direction",
            [Tracked(1, -65), RESTING_BUY],
            Witnesses(0, None, True),
            Grant(0),
        ),
        (
            "another strategy's exit may have sold it, or somebody by hand",
            [Tracked(1, 65, selling=65), Tracked(2, 65)],
            Witnesses(65, None, True),
            Grant(0),
        ),
        (
            "another strategy's exit has not sold yet",
            [Tracked(1, 65, selling=65), Tracked(2, 65)],
            Witnesses(130, None),
            Grant(65),
        ),
        (
            "the same with a book",
            [Tracked(1, 65, selling=65), Tracked(2, 65)],
            Witnesses(65, 130),
            Grant(65),
        ),
        (
            "the exit that closed what nobody had told of, and another strategy's entry",
            [Tracked(1, 0, sign=1, buying=65, over=-65), Tracked(2, 65)],
            Witnesses(0, None, True),
            Grant(0),
        ),
    ],
)
def test_what_may_leave_while_the_book_is_silent(
    what: str, legs: list[Tracked], witnesses: Witnesses, granted: Grant
) -> None:
    assert share(legs, witnesses)[legs[-1].key] == granted, what


def test_one_of_two_strategies_may_close_what_one_has_filled() -> None:
    legs = [Tracked(1, 0, sign=1, buying=65), Tracked(2, 0, sign=1, buying=65)]
    shared = share(legs, Witnesses(65, None, True))
    assert shared == {1: Grant(65), 2: Grant(0)}


legs_in_doubt = st.lists(
    st.tuples(
        st.sampled_from([1, -1]), st.integers(0, 130), st.sampled_from([0, 65]), st.booleans()
    ),
    min_size=1,
    max_size=4,
)


def doubtful(key: int, sign: int, held: int, unreported: int, entry: bool) -> Tracked:
    """A leg with one unreported order: an entry, or an exit of at most what it holds."""
    units = unreported if entry else min(unreported, held)
    buys = (sign > 0) == entry
    return Tracked(
        key, sign * held, sign, buying=units if buys else 0, selling=0 if buys else units
    )


@given(
    drawn=legs_in_doubt,
    hand=st.sampled_from([0, 0, 65, -65, -130, 130]),
    traded=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_without_a_book_no_account_is_turned_over(
    drawn: list[tuple[int, int, int, bool]], hand: int, traded: list[bool]
) -> None:
    """Whatever was traded by hand and whichever silent orders filled, the exits of a direction
    close at most what it holds beyond its exits under way."""
    legs = [doubtful(key, *leg) for key, leg in enumerate(drawn)]
    truth, pending = {}, {}
    for leg, (sign, _, _, entry), done in zip(legs, drawn, traded, strict=False):
        units = (leg.buying or leg.selling) if done else 0
        truth[leg.key] = sign * leg.quantity + (units if entry else -units)
        pending[leg.key] = 0 if entry or done else leg.buying or leg.selling
    net = hand + sum(truth[leg.key] * leg.direction for leg in legs)
    shared = share(legs, Witnesses(net, None, settled=True))
    for sign in (1, -1):
        mine = [leg for leg in legs if leg.direction == sign]
        closing = sum(grant.units for leg in mine if (grant := shared[leg.key]) is not None)
        closable = sum(truth[leg.key] - pending[leg.key] for leg in mine) + min(0, sign * hand)
        spare = max(0, sign * hand)
        assert closing <= max(0, closable) + spare


@dataclass(frozen=True)
class Doubt:
    """A leg, and what became of its orders behind our back. Units."""

    sign: int
    held: int
    given_up: int
    closed: int
    under_way: int
    traded: bool

    def leg(self, key: int) -> Tracked:
        lost, going = self.given_up, min(self.under_way, self.held - self.given_up)
        words = ("lost_selling", "selling") if self.sign > 0 else ("lost_buying", "buying")
        return Tracked(
            key, self.sign * self.held, self.sign, **dict(zip(words, (lost, going), strict=True))
        )

    @property
    def surely_held(self) -> int:
        """What the leg holds in truth, less what its exit under way may still close."""
        return self.held - self.closed - min(self.under_way, self.held - self.given_up)

    @property
    def unseen(self) -> int:
        """Units of its exits that the positions show, and no book."""
        return self.closed + min(self.under_way, self.held - self.given_up) * self.traded


@st.composite
def doubts(draw: st.DrawFn) -> Doubt:
    held = draw(st.sampled_from([1, 65, 130]))
    given_up = draw(st.sampled_from([0, 0, 1, 65, held])) % (held + 1)
    return Doubt(
        sign=draw(st.sampled_from([1, -1])),
        held=held,
        given_up=given_up,
        closed=draw(st.sampled_from([0, given_up, given_up // 2])),
        under_way=draw(st.sampled_from([0, 0, 65])),
        traded=draw(st.booleans()),
    )


@given(
    drawn=st.lists(doubts(), min_size=1, max_size=4),
    hand=st.sampled_from([0, 0, 0, 1, -1, 65, -65, 64]),
    settled=st.booleans(),
)
@example(drawn=[Doubt(1, 1, 1, 1, 0, False), Doubt(-1, 1, 0, 0, 0, False)], hand=1, settled=True)
@example(
    drawn=[
        Doubt(1, 1, 0, 0, 65, False),
        Doubt(1, 1, 1, 1, 0, False),
        Doubt(1, 1, 0, 0, 0, False),
    ],
    hand=-1,
    settled=False,
)
def test_what_a_book_hides_of_exits_is_never_closed_twice(
    drawn: list[Doubt], hand: int, settled: bool
) -> None:
    """Exits that were given up, or are under way, have filled, and the book shows them as little as
    we know of them; beside them the customer trades by hand, which it does show. The positions tell
    of everything."""
    legs = [doubt.leg(key) for key, doubt in enumerate(drawn)]
    book = hand + sum(leg.quantity for leg in legs)
    positions = book - sum(doubt.sign * doubt.unseen for doubt in drawn)
    shared = share(legs, Witnesses(positions, book, settled))
    for sign in (1, -1):
        mine = [key for key, doubt in enumerate(drawn) if doubt.sign == sign]
        closing = sum(grant.units for key in mine if (grant := shared[key]) is not None)
        surely_held = sum(drawn[key].surely_held for key in mine)
        by_hand = sign * hand
        assert closing <= max(0, surely_held + min(0, by_hand)) + max(0, by_hand)
    if not any(doubt.given_up for doubt in drawn) and positions == book and not hand:
        # ... and who is not in doubt waits for nobody.
        assert all(grant is not None for grant in shared.values())


@given(
    positions=st.none() | quantities,
    book=st.none() | quantities,
    settled=st.booleans(),
    held=quantities,
)
def test_nobody_closes_more_than_they_hold_whatever_is_said(
    positions: int | None, book: int | None, settled: bool, held: int
) -> None:
    grant = share([Tracked(1, held)], Witnesses(positions, book, settled))[1]
    if grant is None:
        assert not settled or (positions is None and book is None)
        return
    assert grant.units + grant.outside <= abs(held)
    if positions == book == held:
        assert grant.units == abs(held)
