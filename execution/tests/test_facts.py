"""Can the day be told from its log? Lines of a day, and the thread that writes them."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from execution.engine.runtime.facts import MOST, FactLog
from execution.models import Execution, OrderIntent, Run
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle
from quantleap.core import logging as core_logging

Lines = list[dict[str, Any]]


class Kept(logging.Handler):
    """Keeps what would have been written, as it would have been written."""

    def __init__(self) -> None:
        super().__init__()
        options = core_logging.formatter()
        self.setFormatter(options.pop("()")(**options))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Format at once: a line is what it was when it was written."""
        self.texts.append(self.format(record))

    @property
    def lines(self) -> Lines:
        """Every line, parsed: each has to be one JSON object."""
        return [json.loads(text) for text in list(self.texts)]

    def of(self, event: str) -> Lines:
        """The lines of one kind of fact."""
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def day_log() -> Iterator[Kept]:
    """The log of a process at INFO, whatever the test profile says."""
    kept, root = Kept(), logging.getLogger()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    yield kept
    root.removeHandler(kept)
    root.setLevel(before)


# -- a day ---------------------------------------------------------------------------------------
@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_a_day_of_twenty_orders_was_one_line(
    installation: Installation, executor: Callable[[], Any], day_log: Kept
) -> None:
    """Seen: a thousand orders were one line, ``entry_fired``, and nobody could tell the day."""
    template = make_short_straddle(strategy=installation.entry_in(9, 6))
    installation.subscribe(template, 5)
    running = executor()
    wait_until(runs_closed, 60)
    running.stop()
    orders = {intent.tag: intent for intent in OrderIntent.objects.all()}
    run = Run.objects.get().public_id
    executions = set(Execution.objects.values_list("public_id", flat=True))
    filled = [intent for intent in orders.values() if intent.state == "FILLED"]
    assert len(filled) == 20
    (decided,) = day_log.of("run_decided")
    assert (decided["run"], len(decided["legs"])) == (run, 2)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in day_log.lines:
        if line["event"].startswith("order_"):
            assert line["run"] == run
            assert line["execution"] in executions
            counts[line["tag"]][line["event"]] += 1
    assert counts.keys() == orders.keys()
    for intent in filled:
        facts = counts[intent.tag]
        assert (facts["order_decided"], facts["order_sent"]) == (1, 1)
        # The book may be quicker than the answer; then the fill is the answer.
        assert facts["order_answered"] <= 1 <= facts["order_filled"]
        last = [line for line in day_log.of("order_filled") if line["tag"] == intent.tag][-1]
        assert (last["filled"], last["of"]) == (intent.quantity, intent.quantity)
    closed = [line for line in day_log.of("execution_status") if line["status"] == "CLOSED"]
    assert {line["execution"] for line in closed} == executions
    assert all("pnl" in line for line in closed)
    # of the engine: the feeds of an earlier test may still look for a simulator that has gone
    loud = [line for line in day_log.lines if line["level"] in ("warning", "error")]
    assert [line for line in loud if line["logger"].startswith("execution")] == []
    assert "apikey" not in "".join(day_log.texts)


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_twenty_of_twenty_failures_left_no_warning(
    installation: Installation, executor: Callable[[], Any], day_log: Kept
) -> None:
    template = make_short_straddle(strategy=installation.entry_in(9, 6))
    subscribe_accounts(template, make_accounts(20, partner=make_partner()))  # nobody logs in
    running = executor()
    wait_until(lambda: Execution.objects.filter(status="FAILED").count() == 20, 40)
    running.stop()
    warned = [line for line in day_log.of("execution_status") if line["level"] == "warning"]
    assert {(line["status"], line["cause"]) for line in warned} == {("FAILED", "SESSION_EXPIRED")}
    failed = set(Execution.objects.values_list("public_id", flat=True))
    assert {line["execution"] for line in warned} == failed
    assert len(warned) == 20


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_a_refused_order_is_a_warning_with_the_brokers_words(
    installation: Installation, executor: Callable[[], Any], day_log: Kept
) -> None:
    template = make_short_straddle(strategy=installation.entry_in(9, 6))
    (account,) = installation.subscribe(template, 1)
    installation.strike(account, "reject", cause="MARGIN", count=1)
    running = executor()
    wait_until(runs_closed, 60)
    running.stop()
    refused = OrderIntent.objects.get(state="REJECTED")
    lines = [line for line in day_log.lines if line.get("tag") == refused.tag]
    (warned,) = [line for line in lines if line["level"] == "warning"]
    assert (warned["event"], warned["state"]) == ("order_answered", "REJECTED")
    assert warned["cause"] == "MARGIN"
    assert warned["message"]


# -- heartbeats ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("level", "heard"), [("INFO", False), ("WARNING", False), ("DEBUG", True)])
def test_ninety_three_of_a_hundred_lines_were_heartbeats(level: str, heard: bool) -> None:
    """Seen: beat's "Sending due task" and the worker's "received" and "succeeded", each second."""
    loggers = core_logging.heartbeats(level)
    for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):
        allowed = logging.getLevelName(loggers[name]["level"])
        assert (allowed <= logging.INFO) is heard
        assert allowed <= logging.ERROR  # a task that fails is heard


# -- the thread ----------------------------------------------------------------------------------
def test_nothing_is_written_while_an_entry_fires(day_log: Kept) -> None:
    facts, entry_is_near = FactLog(), threading.Event()
    entry_is_near.set()
    asked = threading.Semaphore(0)

    def busy() -> bool:
        asked.release()
        return entry_is_near.is_set()

    facts.wait_while(busy)
    for number in range(100):
        facts.note("fact", number=number)
    assert all(asked.acquire(timeout=10) for _ in range(3))  # it has come by three times
    assert day_log.of("fact") == []
    entry_is_near.clear()
    wait_until(lambda: len(day_log.of("fact")) == 100, 10)
    assert [line["number"] for line in day_log.of("fact")] == list(range(100))


def test_a_process_that_ends_writes_what_it_has_noted(day_log: Kept) -> None:
    facts = FactLog()
    facts.wait_while(lambda: True)
    for number in range(50):
        facts.note("fact", number=number)
    facts.flush()
    assert [line["number"] for line in day_log.of("fact")] == list(range(50))


def test_a_log_that_cannot_be_written_does_not_eat_the_memory(
    day_log: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.engine.runtime.facts.MOST", 10)
    assert MOST > 100_000
    facts = FactLog()
    facts.wait_while(lambda: True)
    for number in range(25):
        facts.note("fact", number=number)
    facts.flush()
    assert len(day_log.of("fact")) == 10
    (lost,) = day_log.of("facts_lost")
    assert (lost["count"], lost["level"]) == (15, "error")
