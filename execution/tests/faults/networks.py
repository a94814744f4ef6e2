"""Scenarios r and n: every fault of an answer, and what networks do to connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from execution.tests.faults.days import FAR_SIGHTED, LONG_GRACE
from execution.tests.faults.judge import Right
from execution.tests.faults.stage import Scenario, Stage, Wait


def placing(kind: str, **params: Any) -> Callable[[Stage], Iterator[Wait]]:
    """A fault of the simulator on orders."""

    def play(stage: Stage) -> Iterator[Wait]:
        stage.fault(kind, **params)
        return iter(())

    return play


def tricked(kind: str, **params: Any) -> Callable[[Stage], Iterator[Wait]]:
    """A trick of the shell on orders; ``count`` is by account."""

    def play(stage: Stage) -> Iterator[Wait]:
        for account in stage.everybody:
            stage.trick(kind, ("place",), [account], **params)
        return iter(())

    return play


def lined(mode: str, begin: float, end: float, **params: Any) -> Callable[[Stage], Iterator[Wait]]:
    """A line's mode between two moments, seconds from T."""

    def play(stage: Stage) -> Iterator[Wait]:
        broker = params.pop("broker", None)
        yield begin
        stage.line(mode, broker, **params)
        yield end
        stage.line("clear", broker)

    return play


def away_for_the_whole_grace(stage: Stage) -> Iterator[Wait]:
    """Nobody listens at Zebu until the grace is over; nothing may leave afterwards."""
    stage.line("refuse", "zebu")
    yield 14
    stage.line("clear", "zebu")
    yield 22


def slow_broker(stage: Stage) -> Iterator[Wait]:
    """Zebu takes 4.5 s for every call."""
    some = stage.accounts["zebu"]
    for operation in ("place", "book", "positions", "cancel"):
        stage.fault("delay", some, op=operation, seconds=4.5)
    yield stage.scenario.hold
    yield from stage.must(
        "Zerodha's have left", stage.scenario.hold + 5, lambda d: d == "zebu" or stage.flat(d)
    )


def one_refused(stage: Stage) -> Iterator[Wait]:
    """One sold leg of four is refused for margin; the other may not stay naked."""
    stage.fault("reject", cause="MARGIN", match={"side": "SELL"}, count=1)
    yield from stage.must("everything is unwound", 10, stage.flat)


SCENARIOS: Final = (
    Scenario(
        "r4",
        "every order accepted, every answer after the time-out",
        placing("delay", seconds=8),
        Right(),
        hold=24,
        settings=LONG_GRACE,
        patience=60,
    ),
    Scenario(
        "r5",
        "504 after accepting, hidden 20 s, within the visibility",
        placing("hide", seconds=20, answer="status", count=1),
        Right(),
        shape="straddle",
        hold=26,
        settings=FAR_SIGHTED,
        patience=45,
    ),
    Scenario(
        "r5b",
        "every answer is dropped after accepting",
        placing("drop_after_accept"),
        Right(),
    ),
    Scenario(
        "r6",
        "two calls cut off before they are accepted",
        placing("refuse", count=2),
        Right(enters="any"),
    ),
    Scenario(
        "r7",
        "nobody listens at Zebu for the whole grace",
        away_for_the_whole_grace,
        Right(enters="none"),
        rights={"zerodha": Right()},
        alone=True,
    ),
    Scenario(
        "r8",
        "one call in four is one too many",
        placing("rate_limit", count=1),
        Right(enters="any"),
    ),
    Scenario("r9", "half of the JSON", placing("truncated_json"), Right()),
    Scenario(
        "r9b",
        "a gateway's page instead of accepting",
        placing("html_502", count=1),
        Right(enters="any"),
    ),
    Scenario(
        "r9c",
        "200 with nothing in it after accepting",
        tricked("answer", status=200, body="", after=True),
        Right(),
    ),
    Scenario(
        "r9d",
        "200 with a megabyte of nonsense after accepting",
        tricked("answer", status=200, body="x" * 1_000_000, after=True, count=1),
        Right(),
        accounts=2,
    ),
    Scenario(
        "r9e",
        "answers to orders drop by drop, for longer than the time-out",
        tricked("pieces", size=2, pause=0.5),
        Right(),
        hold=30,
        settings=LONG_GRACE,
    ),
    Scenario(
        "r10",
        "half of an order's request, then a reset",
        lined("half", -2, 3, count=6),
        Right(enters="any"),
        alone=True,
        hold=16,
    ),
    Scenario(
        "r10b",
        "reset after accepting",
        lined("reset", -2, 3, count=12),
        Right(),
        alone=True,
        hold=16,
    ),
    Scenario(
        "r21",
        "one leg of four refused for margin",
        one_refused,
        Right(enters="any", causes=frozenset({"MARGIN"})),
        hold=12,
    ),
    Scenario(
        "r24",
        "half of the first order fills, the rest never",
        placing("partial_fill", fraction=0.5, count=1),
        Right(enters="any"),
        lots=2,
        hold=20,
    ),
    Scenario(
        "r26",
        "Zebu takes 4.5 s for every call",
        slow_broker,
        Right(enters="any"),
        rights={"zerodha": Right(within=2.0)},
        accounts=3,
        patience=60,
        alone=True,
    ),
    Scenario(
        "n1",
        "black hole from T - 0.5 to T + 6",
        lined("away", -0.5, 6),
        Right(enters="any"),
        accounts=2,
        hold=36,
        settings=LONG_GRACE,
        alone=True,
    ),
    Scenario(
        "n2",
        "links that are open at T - 1.5 fall silent",
        lined("silent", -1.5, 0),
        Right(enters="any"),
        accounts=2,
        hold=36,
        settings=LONG_GRACE,
        alone=True,
    ),
    Scenario(
        "n3",
        "everything in pieces of 10 bytes",
        lined("pieces", -8, 30, size=10),
        Right(quiet=True),
        accounts=2,
        alone=True,
    ),
    Scenario(
        "n4",
        "nobody listens from T - 9 to T + 2",
        lined("refuse", -9, 2),
        Right(enters="any"),
        accounts=2,
        hold=20,
        alone=True,
    ),
)
