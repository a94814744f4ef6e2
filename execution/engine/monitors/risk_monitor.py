"""Risk rules, once a second, on the platform's feed: one decision for all subscribers of a run."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

import structlog

from execution.engine.database import loader
from execution.engine.database.decisions import decide_trigger, prices_of
from execution.engine.runtime.condition_log import About, ConditionLog
from execution.live import LiveRun
from execution.pricing import mark
from execution.risk import trigger
from marketplace.ports import QUOTES, Need
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
EVERY: Final = 1.0


class RiskMonitor:
    """Compares fresh prices with the levels of every leg that is being held."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._unquoted = ConditionLog(
            logging.ERROR, "risk_without_quotes", "risk_with_quotes_again"
        )
        self._unpriced = ConditionLog(
            logging.WARNING, "risk_without_price", "risk_with_price_again"
        )

    async def loop(self) -> None:
        """Look once a second, for ever."""
        while True:
            await self.once()
            await asyncio.sleep(EVERY)

    async def requests_loop(self) -> None:
        """Notice the exits that somebody asked for: no feed may keep them waiting."""
        while True:
            await self._requested()
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """One look."""
        executor = self._executor
        held = [run for run in executor.runs.values() if self.holds(run)]
        now = executor.now()
        coming = {run.strategy.underlying for run in executor.runs.values() if self._near(run, now)}
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
        market = await executor.feeds.run(
            QUOTES.get().ask, coming, contracts, now=now, need=Need.RISK
        )
        oldest = market.at - dt.timedelta(seconds=executor.timing.quote_age_risk)
        fresh = {key: quote for key, quote in market.quotes.items() if quote.at >= oldest}
        if missing := contracts - fresh.keys():
            self._unquoted.begin(missing=len(missing), trouble=market.trouble)
        else:
            self._unquoted.end()
        for run in held:
            for leg_key, quote in prices_of(run, fresh).items():
                watch = run.watches.get(leg_key)
                worth = mark(quote, oldest=oldest, tick=run.resolved[leg_key].tick_size)
                if watch is None:
                    continue
                if worth is None:  # an old trade under a book with one side: no rule can be judged
                    self._unpriced.begin(_about(run, leg_key))
                    continue
                self._unpriced.end(_about(run, leg_key))
                run.priced_mono[leg_key] = clock.monotonic()
                kind = trigger(watch, worth.price)
                if kind is None:
                    continue
                decided = await executor.db.run(
                    decide_trigger,
                    run,
                    watch,
                    kind=kind,
                    worth=worth,
                    source=quote.source,
                    owner=executor.owner,
                    now=now,
                )
                await executor.db.run(loader.refresh_decisions, {run.id: run})
                if decided:
                    log.info("leg_triggered", run=run.public_id, leg=leg_key, kind=kind)
                executor.rounds.touch_due()

    def _near(self, run: LiveRun, now: dt.datetime) -> bool:
        """Whether ``run`` enters soon: it will ask for the strikes around the level of then."""
        lead = dt.timedelta(seconds=self._executor.timing.connect_lead)
        return run.status == "ARMED" and not run.resolved and run.entry_at - lead <= now

    def holds(self, run: LiveRun) -> bool:
        """Whether stops and targets of ``run`` are judged: it is held, and stays so."""
        return (
            bool(run.resolved)
            and not run.run_exit
            and self._executor.now() >= run.entry_at
            and any(
                execution.status in ("COMMITTED", "OPEN")
                for execution in self._executor.of_run(run.id)
            )
        )

    async def _requested(self) -> None:
        executor = self._executor
        ids = list(executor.executions)
        if not ids:
            return
        asked = await executor.db.run(loader.requested_exits, ids)
        for execution_id, reason in asked.items():
            execution = executor.executions.get(execution_id)
            if execution is not None and not execution.exit_reason:
                execution.exit_reason = reason or "EXIT_REQUESTED"
                executor.rounds.touch([execution])


def _about(run: LiveRun, leg_key: str) -> About:
    return ("run", run.public_id), ("leg", leg_key)
