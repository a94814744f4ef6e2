"""Evaluates stops and targets once a second on the platform's feed, once for a whole run."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from execution import lifecycle
from execution.causes import EXIT_REQUESTED
from execution.engine.database import loader
from execution.engine.database.decisions import decide_trigger
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.runtime.condition_log import About, ConditionLog
from execution.engine.runtime.database_pool import DatabasePool
from execution.pricing import mark
from execution.risk import trigger
from execution.state import LiveRun
from execution.timing import Timing
from marketplace.ports import QUOTES, Need, Quote
from quantleap.core import clock

log = structlog.get_logger(__name__)
EVERY: Final = 1.0


class RiskMonitor:
    """Compares fresh prices with the levels of every held leg."""

    def __init__(
        self,
        *,
        day: TradingDay,
        timing: Timing,
        db: DatabasePool,
        feeds: DatabasePool,
        owner: str,
        work: WorkList,
        decided: Callable[[], None],
    ) -> None:
        """``decided`` is called when an exit decision was taken, here or by another executor."""
        self._day = day
        self._timing = timing
        self._db = db
        self._feeds = feeds
        self._owner = owner
        self._work = work
        self._decided = decided
        self._unquoted = ConditionLog(
            logging.ERROR, "risk_without_quotes", "risk_with_quotes_again"
        )
        self._unpriced = ConditionLog(
            logging.WARNING, "risk_without_price", "risk_with_price_again"
        )

    async def loop(self) -> None:
        """Evaluate once a second, for ever."""
        while True:
            await self.once()
            await asyncio.sleep(EVERY)

    async def requests_loop(self) -> None:
        """Notice requested exits once a second, in a loop of its own: no feed may delay them."""
        while True:
            await self._requested()
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """Read prices once and take the decisions that they trigger."""
        held = [run for run in self._day.runs.values() if self.holds(run)]
        now = clock.now()
        coming = {
            run.strategy.underlying for run in self._day.runs.values() if self._near(run, now)
        }
        watched = [
            (run, key)
            for run in held
            for key, watch in run.watches.items()
            if not watch.triggered and key in run.resolved
        ]
        contracts = {run.resolved[key].contract_id for run, key in watched}
        self._unpriced.end_others([_about(run, key) for run, key in watched])
        if not contracts:
            self._unquoted.end()
        if not contracts and not coming:
            return
        market = await self._feeds.run(
            QUOTES.get().read, coming, contracts, now=now, need=Need.RISK
        )
        oldest = market.at - dt.timedelta(seconds=self._timing.quote_age_risk)
        fresh = {key: quote for key, quote in market.quotes.items() if quote.at >= oldest}
        if missing := contracts - fresh.keys():
            self._unquoted.begin(missing=len(missing), trouble=market.trouble)
        else:
            self._unquoted.end()
        for run in held:
            for leg_key, quote in _by_leg(run, fresh).items():
                watch = run.watches.get(leg_key)
                worth = mark(quote, oldest=oldest, tick=run.resolved[leg_key].tick_size)
                if watch is None:
                    continue
                if worth is None:  # an old trade and a one-sided book: no rule can be evaluated
                    self._unpriced.begin(_about(run, leg_key))
                    continue
                self._unpriced.end(_about(run, leg_key))
                run.priced_mono[leg_key] = clock.monotonic()
                kind = trigger(watch, worth.price)
                if kind is None:
                    continue
                decided = await self._db.run(
                    decide_trigger,
                    run,
                    watch,
                    kind=kind,
                    worth=worth,
                    source=quote.source,
                    owner=self._owner,
                    now=now,
                )
                await self._db.run(loader.refresh_decisions, {run.id: run})
                if decided:
                    log.info("leg_triggered", run=run.public_id, leg=leg_key, kind=kind)
                self._decided()

    def _near(self, run: LiveRun, now: dt.datetime) -> bool:
        """Whether ``run`` enters soon: it will need the strikes around the index level then."""
        lead = dt.timedelta(seconds=self._timing.connect_lead)
        return run.status == lifecycle.ARMED and not run.resolved and run.entry_at - lead <= now

    def holds(self, run: LiveRun) -> bool:
        """Whether stops and targets of ``run`` are evaluated: it is held and not exiting."""
        return (
            bool(run.resolved)
            and not run.run_exit
            and clock.now() >= run.entry_at
            and any(
                execution.status in (lifecycle.COMMITTED, lifecycle.OPEN)
                for execution in self._day.of_run(run.id)
            )
        )

    async def _requested(self) -> None:
        ids = list(self._day.executions)
        if not ids:
            return
        asked = await self._db.run(loader.requested_exits, ids)
        for execution_id, reason in asked.items():
            execution = self._day.executions.get(execution_id)
            if execution is not None and not execution.exit_reason:
                execution.exit_reason = reason or EXIT_REQUESTED
                self._work.schedule([execution])


def _about(run: LiveRun, leg_key: str) -> About:
    return ("run", run.public_id), ("leg", leg_key)


def _by_leg(run: LiveRun, quotes: Mapping[int, Quote]) -> dict[str, Quote]:
    """The quotes of a run's resolved legs, by leg key."""
    legs = run.resolved.items()
    return {key: quotes[leg.contract_id] for key, leg in legs if leg.contract_id in quotes}
