"""Feeds for tests that set their own quotes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal

from marketplace.ports import Market, Need, Quote


class ToldFeed:
    """A ``QuoteSource`` whose subclasses implement :meth:`spot` and :meth:`quotes`."""

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        """No levels."""
        return {}

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        """No quotes."""
        return {}

    def read(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        """Both, at ``now``."""
        return Market(
            self.spot(underlyings, now=now), self.quotes(contract_ids, now=now, need=need), now
        )

    def last_level(self, underlying: str) -> Decimal | None:
        """None: nothing was heard before."""
        return None
