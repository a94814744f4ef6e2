"""How much may be closed: I5 (never more than planned or held). Pure.

``foreign = what the account holds - what all our open executions track``. Only a foreign amount
that *reduces* a position reduces its exit: the customer closed something by hand, or the broker's
risk desk did. Two of our own executions, one long and one short in a contract, net to 0 at the
broker and both must still be able to exit. No exit ever opens a position.

Two witnesses show what the account holds: its positions and its order book (docs/adr/0034). Orders
of ours that the book does not report may explain a difference, of their own sign only (0036).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tracked:
    """One leg of one execution in a contract. Units, positive long, negative short.

    ``quantity`` is what it holds as far as we know. ``buying`` and ``selling`` (not negative) are
    units that its own orders may have traded beyond that, unreported; ``lost_buying`` and
    ``lost_selling`` those of orders that were given up as absent and are still watched for.
    ``over`` is by how much its fills fall short of ``quantity``: an exit closed what no entry is
    known to have filled. ``sign`` is the leg's direction, for a leg that holds nothing.
    """

    key: int
    quantity: int
    sign: int = 0
    buying: int = 0
    selling: int = 0
    over: int = 0
    lost_buying: int = 0
    lost_selling: int = 0

    @property
    def direction(self) -> int:
        """+1 long, -1 short: by what the leg holds, else by ``sign``."""
        return (self.quantity > 0) - (self.quantity < 0) or self.sign

    @property
    def traded(self) -> int:
        """Signed units of its known fills."""
        return self.quantity + self.over


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What the broker reports for one contract, in units; None where it did not answer.

    ``positions`` is the net of its list of positions, ``book`` the sum of all fills in its order
    book, including orders that are not ours. ``settled``: the positions have shown the same for a
    while, and nothing of ours filled in that time.
    """

    positions: int | None = None
    book: int | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """Units of a leg that may be closed now, and units that somebody else has closed (outside).

    ``cleared``: the positions have shown for a while that none of its unreported entries filled.
    """

    units: int
    outside: int = 0
    cleared: bool = False


def foreign_quantity(positions: Sequence[Tracked], broker_net: int) -> int:
    """Units at the broker that are not ours (signed)."""
    return broker_net - sum(position.traded for position in positions)


def exit_quantities(positions: Sequence[Tracked], broker_net: int) -> dict[int, int]:
    """Units that each position may close, none more than it holds, if all of them close.

    A foreign amount against a direction is taken from that direction's positions in ascending key
    order: the oldest execution is assumed to be the one that was closed by hand.
    """
    granted = share(positions, Witnesses(book=broker_net))
    return {key: grant.units if grant is not None else 0 for key, grant in granted.items()}


def share(legs: Sequence[Tracked], witnesses: Witnesses) -> dict[int, Grant | None]:
    """What every leg may close now; None: wait and read again.

    - An order that somebody else placed is in the book and is believed at once, unless the
      positions show even less than it leaves. Observed: an exit that was given up as absent had
      filled unreported, the customer sold a part by hand, and the book's report of that part was
      taken for the whole.
    - A difference that only the positions show may be their delay behind the fills, so it is
      believed only if it lasts. Observed: positions three seconds late, an unwinding that read
      "nothing is open", and one naked short for every customer. A conversion to another product
      shows in no order and lasts.
    - Orders of ours that are under way explain a difference of their own sign. Observed: a long
      closed outside, "explained" by another strategy's resting buy order, was sold once more.
    - Only the positions can show that an exit which was given up has filled nothing, and an
      unreported order of the opposite strategy may offset it in the net. The units that may be
      hidden wait until that order is reported or the exit is no longer watched for. Observed: two
      strategies of one account, an exit of each hidden and filled, and one was closed twice.
    - Without the book, positions that lasted show what our silent entries have filled. No more is
      closed than they show in that direction, less what another order of ours may be closing.
    - Without any witness nothing is closed: a customer may have squared off a moment ago.
    """
    if witnesses.positions is None and witnesses.book is None:
        return {leg.key: None for leg in legs}
    granted: dict[int, Grant | None] = {}
    for sign in (1, -1):
        granted.update(_share_side(_Side.of(legs, sign), witnesses))
    flat = [leg for leg in legs if leg.key not in granted]
    return granted | {leg.key: Grant(0) for leg in flat}


@dataclass(frozen=True, slots=True)
class _Side:
    """The legs of one direction, counted as long, and what the other legs may explain."""

    sign: int
    legs: tuple[Tracked, ...]
    tracked: int
    traded: int
    #: units by which our unreported orders may have lowered the account's net
    lowered: int
    #: whether an exit has closed what no entry is known to have filled
    over: bool
    #: units by which unreported orders of the other direction's legs may have raised it
    others: int
    #: units by which any order that is unreported or was given up may have raised it
    raised: int

    @classmethod
    def of(cls, legs: Sequence[Tracked], sign: int) -> _Side:
        own_legs = sorted((leg for leg in legs if leg.direction == sign), key=lambda leg: leg.key)
        up, down = ("buying", "selling") if sign > 0 else ("selling", "buying")
        return cls(
            sign=sign,
            legs=tuple(own_legs),
            tracked=sign * sum(leg.quantity for leg in legs),
            traded=sign * sum(leg.traded for leg in legs),
            lowered=sum(getattr(leg, down) + max(0, -sign * leg.over) for leg in legs),
            over=any(leg.over for leg in legs),
            others=sum(getattr(leg, up) for leg in legs if leg.direction != sign),
            raised=sum(getattr(leg, up) + getattr(leg, f"lost_{up}") for leg in legs),
        )

    def sure(self, leg: Tracked) -> int:
        """Units that a leg holds whatever the outcome of its own exits."""
        leaving = leg.selling if self.sign > 0 else leg.buying
        return max(0, self.sign * leg.quantity - leaving)

    def coming(self, leg: Tracked) -> int:
        """Units that the leg's silent entries may have added."""
        units = leg.buying if self.sign > 0 else leg.selling
        return max(0, units + min(0, self.sign * leg.over))

    def lost(self, leg: Tracked) -> int:
        """Units that the leg's exits which were given up may have closed."""
        return leg.lost_selling if self.sign > 0 else leg.lost_buying

    def hidden(self, foreign: int, difference: int, outside: int) -> int:
        """Units by which exits that were given up may have lowered the account's net, unreported.

        ``foreign``: units that others have traded by the book; ``difference``: what the positions
        show beyond what we track; ``outside``: units that are already taken from the legs.
        """
        taken = outside - max(0, -foreign)
        return max(0, foreign + self.raised - difference - taken)

    def leaving(self) -> int:
        """Units that exits under way in this direction may still close."""
        return sum(leg.selling if self.sign > 0 else leg.buying for leg in self.legs)


def _share_side(side: _Side, witnesses: Witnesses) -> dict[int, Grant | None]:
    positions, book = witnesses.positions, witnesses.book
    sure = {leg.key: side.sure(leg) for leg in side.legs}
    foreign = 0 if book is None else side.sign * book - side.traded
    if positions is None:
        return _grants(side, sure, max(0, -foreign))
    shown = side.sign * positions
    difference = shown - side.tracked
    unexplained = max(0, -difference - side.lowered)
    # A position converted to another product stays in the book's sum for the rest of the day.
    if foreign and (difference or not witnesses.settled):
        outside = max(0, -foreign)
        if unexplained > outside and not witnesses.settled:
            return {leg.key: None for leg in side.legs}
        outside = max(outside, unexplained)
        hidden = side.hidden(foreign, difference, outside)
        return _grants(side, sure, outside, hidden=hidden, nothing=witnesses.settled)
    if 0 < -foreign <= side.raised:
        # Somebody traded against it and nothing is missing: it was converted, or an unreported
        # order of ours has offset it.
        return {leg.key: None for leg in side.legs}
    unsure = unexplained or book is None or side.over
    if difference < 0 and unsure and not witnesses.settled:
        return {leg.key: None for leg in side.legs}
    at_most = _ALL
    if book is None or side.over:
        # It is unknown whether an order of ours traded or somebody else's did: close only what
        # would be right in both cases.
        at_most = max(0, sum(sure.values()) - max(0, side.others - difference))
    hidden = side.hidden(foreign, difference, unexplained)
    if not witnesses.settled:
        return _grants(side, sure, unexplained, hidden=hidden, at_most=at_most)
    probable = min(difference - side.others, shown - sum(sure.values()) - side.leaving())
    # A book that can be read again shows every fill; without it the positions must leave no room.
    nothing = book is not None or not (difference > 0 or side.lowered or side.others)
    return _grants(
        side,
        sure,
        unexplained,
        hidden=hidden,
        at_most=at_most,
        probable=max(0, probable),
        nothing=nothing,
    )


#: No bound.
_ALL: Final = 1 << 60


def _grants(
    side: _Side,
    sure: dict[int, int],
    outside: int,
    *,
    hidden: int = 0,
    at_most: int = _ALL,
    probable: int = 0,
    nothing: bool = False,
) -> dict[int, Grant | None]:
    """Take ``outside`` units from the oldest legs and give ``probable`` ones to the oldest."""
    remaining = {}
    for leg in side.legs:
        taken = min(sure[leg.key], outside)
        outside -= taken
        remaining[leg.key] = sure[leg.key] - taken
    waits = _waiting(side, remaining, hidden)
    granted: dict[int, Grant | None] = {}
    for leg in side.legs:
        units = min(remaining[leg.key] - waits[leg.key], at_most)
        at_most -= units
        more = min(side.coming(leg), probable)
        probable -= more
        if waits[leg.key] and not units + more:
            granted[leg.key] = None
            continue
        granted[leg.key] = Grant(
            units + more,
            sure[leg.key] - remaining[leg.key],
            cleared=nothing and not more and side.coming(leg) > 0,
        )
    return granted


def _waiting(side: _Side, remaining: Mapping[int, int], hidden: int) -> dict[int, int]:
    """Units by leg that wait, because exits that were given up may have closed ``hidden`` units.

    It is unknown of which leg: each leg waits with what its own exits may have closed, and where
    somebody else has closed that already, the other legs wait with as much.
    """
    waits = {leg.key: min(remaining[leg.key], side.lost(leg), hidden) for leg in side.legs}
    rest = min(hidden, sum(side.lost(leg) for leg in side.legs)) - sum(waits.values())
    for key, units in waits.items():
        more = min(remaining[key] - units, max(0, rest))
        waits[key] += more
        rest -= more
    return waits
