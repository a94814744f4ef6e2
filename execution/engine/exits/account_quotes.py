"""Quotes from the account's own broker for exits that no feed prices: own session, few calls."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from brokers.feed import as_quote
from brokers.real_account import RealAccount
from execution.engine.memory.actors import Actor
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.orders.contract_names import ContractNames
from marketplace.ports import Quote
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Seconds for which an exit waits for its account's own quote.
WITHIN: Final = 1.0
#: Seconds for which an answer is reused: a waiting exit asks in every round.
AGAIN: Final = 1.0
#: Most calls per request: at Noren each contract needs one, and they share the rate of exits and
#: cancels.
CALLS: Final = 4


@dataclass(frozen=True, slots=True)
class _Asked:
    at: float
    quotes: Mapping[int, Quote]


class AccountQuotes:
    """Reads quotes from the broker that holds the position."""

    def __init__(self, names: ContractNames, calls: BrokerCalls) -> None:
        self._names = names
        self._calls = calls
        self._asked: dict[RealAccount, _Asked] = {}

    async def of(self, actor: Actor, contract_ids: Collection[int]) -> Mapping[int, Quote]:
        """Quotes by contract, as many as arrive in time; never raises."""
        now = clock.monotonic()
        asked = self._asked.get(actor.real)
        if asked is None or now - asked.at >= AGAIN:
            try:
                quotes = await asyncio.wait_for(self._ask(actor, contract_ids), WITHIN)
            except TimeoutError:
                quotes = {}
            asked = self._asked[actor.real] = _Asked(now, quotes)
        missing = sorted(set(contract_ids) - set(asked.quotes))
        log.warning("exit_priced_by_account", account=str(actor.real), missing=missing)
        return asked.quotes

    async def _ask(self, actor: Actor, contract_ids: Collection[int]) -> Mapping[int, Quote]:
        channel, broker = actor.reader(), actor.real.broker
        names = {
            str(key): name
            for key in contract_ids
            if (name := self._names.of(broker, key)) is not None
        }
        if channel is None or not names:
            return {}
        quotes: dict[int, Quote] = {}
        for keys, request in list(channel.adapter.quotes(channel.session, names))[:CALLS]:
            response = await self._calls.quote(channel, request)
            if response is None:
                continue
            read = channel.adapter.parse_quotes(response, keys, names)
            rows = read.quotes if read.ok else {}
            quotes |= {int(key): as_quote(row, channel.real.broker) for key, row in rows.items()}
        return quotes
