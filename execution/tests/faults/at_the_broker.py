"""Scenarios a: what a broker does to orders, books and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from execution.tests.faults.judge import Right
from execution.tests.faults.stage import Scenario, Stage, Wait, nothing

NOT_NOW: Final = "Order cannot be cancelled or modified as it is being processed"
#: Noren tells of fills by its websocket, too: nobody has to miss its book.
UPDATED: Final = {"zebu": Right()}
#: The real grace: what a broker asks for is longer than the grace of the other scenarios.
LONG_GRACE: Final[dict[str, Any]] = {"QUANTLEAP_ENTRY_GRACE": 30.0}


def pieces(stage: Stage) -> Iterator[Wait]:
    stage.trick("pieces", ("book", "positions"), size=10)
    return iter(())


def big_books(stage: Stage) -> Iterator[Wait]:
    """A book of a megabyte, in pieces as Ethernet makes them."""
    stage.trick("bulk", ("book",), megabytes=1)
    stage.line("pieces", size=1448)
    return iter(())


def dead_book(stage: Stage) -> Iterator[Wait]:
    stage.fault("html_502", op="book")
    yield 0
    stage.trouble()


def slow_book(stage: Stage) -> Iterator[Wait]:
    stage.fault("delay", op="book", seconds=8)
    yield 0
    stage.trouble()


def resting_entry(stage: Stage) -> Iterator[Wait]:
    """The first entry of everybody rests, and cannot be cancelled; its sibling fills."""
    stage.fault("partial_fill", fraction=0, count=1)
    for operation in ("cancel", "modify"):
        stage.fault("say", op=operation, message=NOT_NOW)
    yield 12
    stage.trouble()
    yield from stage.must("what had filled is closed", 24, stage.flat)
    yield from stage.must("a person is told of the order that rests", 30, stage.alarmed)
    stage.end_faults()


def resting_exits(stage: Stage) -> Iterator[Wait]:
    """Exits rest, and can neither be cancelled nor changed, until 20 s after the exit."""
    stage.fault("partial_fill", fraction=0, match={"side": "BUY"})
    for operation in ("cancel", "modify"):
        stage.fault("say", op=operation, message=NOT_NOW)
    yield 8
    stage.trouble()
    yield 28
    stage.end_faults()


def changeable_exits(stage: Stage) -> Iterator[Wait]:
    """Exits rest and cannot be cancelled; a change of price would do."""
    stage.fault("partial_fill", fraction=0, match={"side": "BUY"})
    stage.fault("say", op="cancel", message=NOT_NOW)
    return iter(())


def first_exits_rest(stage: Stage) -> None:
    """The first exit of each leg rests; the orders that follow would fill."""
    stage.fault("partial_fill", fraction=0, match={"side": "BUY"}, count=2)


def unchangeable_exits(stage: Stage) -> Iterator[Wait]:
    """Exits rest and cannot be changed; a cancel and another order would do."""
    first_exits_rest(stage)
    stage.fault("say", op="modify", message=NOT_NOW)
    return iter(())


def unanswered_changes(stage: Stage) -> Iterator[Wait]:
    """Cancels are refused, and every change is applied and answered with 504."""
    stage.fault("partial_fill", fraction=0, match={"side": "BUY"})
    stage.fault("say", op="cancel", message=NOT_NOW)
    stage.fault("status_after_accept", op="modify", status=504)
    return iter(())


def idle_changes(stage: Stage) -> Iterator[Wait]:
    """Every change is answered as done, and none is."""
    first_exits_rest(stage)
    stage.trick("idle", ("modify",))
    return iter(())


def crossing_fills(fraction: float) -> Any:
    """An exit fills, or a part of it, just before its change arrives; cancels are refused."""

    def play(stage: Stage) -> Iterator[Wait]:
        stage.fault("partial_fill", fraction=0, match={"side": "BUY"})
        stage.fault("say", op="cancel", message=NOT_NOW)
        stage.trick("fills", ("modify",), fraction=fraction)
        return iter(())

    return play


def refused_leg(lag: float) -> Any:
    """One leg is refused for margin while positions are shown so late."""

    def play(stage: Stage) -> Iterator[Wait]:
        stage.trick("stale", ("positions",), seconds=lag)
        stage.fault("reject", cause="MARGIN", count=1)
        yield 10

    return play


def squared_off_without_positions(stage: Stage) -> Iterator[Wait]:
    yield stage.all_open
    some = stage.first(2)
    stage.fault("html_502", some, op="positions")
    for account in some:
        stage.square_off(account)
    yield stage.scenario.hold
    stage.trouble(some)


def squared_off_without_witness(stage: Stage) -> Iterator[Wait]:
    yield stage.all_open
    some = stage.first(2)
    for operation in ("positions", "book"):
        stage.fault("html_502", some, op=operation)
    for account in some:
        stage.square_off(account)
    yield stage.scenario.hold
    stage.trouble(some)
    yield stage.scenario.hold + 15
    stage.end_faults()


def hidden_behind_504(stage: Stage) -> Iterator[Wait]:
    """One entry of everybody is accepted, answered with 504, and not in the book for 14 s."""
    stage.fault("hide", seconds=14, answer="status", count=1)
    yield 18


def busy(stage: Stage) -> Iterator[Wait]:
    stage.trick("busy", ("place",), seconds=8, retry_after=3)
    return iter(())


def narrow_band(stage: Stage) -> Iterator[Wait]:
    """Exits more than 1 % from the last price are refused; the refusal names the band."""
    yield stage.all_open
    stage.trick("band", ("place",), percent=1)


def refused_exits(stage: Stage) -> Iterator[Wait]:
    """Every exit is refused for its price, until 20 s after the exit."""
    yield stage.all_open
    stage.fault("reject", cause="PRICE_BAND", match={"side": "BUY"})
    yield stage.scenario.hold
    stage.trouble()
    yield stage.scenario.hold + 20
    stage.end_faults()


def token_dies_before(stage: Stage) -> Iterator[Wait]:
    yield -3
    stage.end_sessions(stage.first(1))
    yield 0
    others = stage.first(1)
    yield from stage.must(
        "everybody else has entered",
        8,
        lambda dialect: (
            stage.rows().filter(account__broker=dialect, status="OPEN").count()
            >= len(stage.accounts[dialect]) - sum(a.broker == dialect for a in others)
        ),
    )


def token_dies_while_open(stage: Stage) -> Iterator[Wait]:
    """Some sessions end while positions are open; their owners log in again 8 s after the exit."""
    yield stage.all_open
    some = stage.first(2)
    stage.end_sessions(some)
    yield stage.scenario.hold
    stage.trouble(some)
    yield stage.scenario.hold + 8
    stage.log_in(some)


def token_dies_after_the_first(stage: Stage) -> Iterator[Wait]:
    """The bought legs are accepted, the sold ones find no session; login 20 s later."""
    stage.fault("expired_session", match={"side": "SELL"}, count=1)
    yield 0
    stage.trouble()
    yield 14
    stage.end_faults()
    stage.log_in()


def every_state_listed(stage: Stage) -> Iterator[Wait]:
    """Order books list every state of an order: the same id three times."""
    stage.control.ask("POST", "/manner", history=True)
    return iter(())


def late_feed(stage: Stage) -> Iterator[Wait]:
    """The feed's prices are three minutes old from before the entry on."""
    stage.feed_trick("stale", seconds=180)
    return iter(())


def feed_falls_back(stage: Stage) -> Iterator[Wait]:
    """The feed's clock falls back by a day while a position is open; a spare is right."""
    stage.ground.feed_of("zebu", spare=True)
    yield stage.all_open
    stage.feed_trick("stale", seconds=86_400)
    stage.premiums(2.0)
    yield from stage.must("the stops have fired at the spare's prices", 25, stage.flat)


def own_ways(stage: Stage) -> Iterator[Wait]:
    """Everything that an account sends leaves by its egress address."""
    expected = stage.egress()
    yield stage.scenario.hold + 3
    peers = stage.control.ask("GET", "/peers")
    for account in stage.everybody:
        token = stage.tokens[account.client_id]
        seen = set(peers.get(token, ()))
        if seen != {expected[account.client_id]}:
            stage.problems[account.broker].append(f"{account.client_id} by {sorted(seen)}")


def dead_feed_and_a_jump(stage: Stage) -> Iterator[Wait]:
    """No price at the exit, and options are worth 60 % more than at the entry."""
    yield stage.scenario.hold - 4
    stage.feed_fault("html_502")
    stage.premiums(1.6)


SCENARIOS: Final = (
    Scenario("a0", "nothing is wrong", nothing, Right(quiet=True)),
    Scenario("a1", "books and positions in pieces of 10 bytes", pieces, Right(quiet=True)),
    Scenario(
        "a1b",
        "books of a megabyte in pieces of 1,448 bytes",
        big_books,
        Right(quiet=True),
        alone=True,
    ),
    Scenario(
        "a2",
        "order book 500 for ever",
        dead_book,
        Right(over=False, alarm=20),
        shape="straddle",
        rights=UPDATED,
    ),
    Scenario(
        "a2b",
        "order book 500 for ever, hedged strategy",
        dead_book,
        Right(enters="any", over=False, alarm=20),
        rights=UPDATED,
        accounts=12,
    ),
    Scenario(
        "a2c",
        "order book slower (8 s) than the time-out",
        slow_book,
        Right(enters="any", over=False, alarm=25),
        rights=UPDATED,
    ),
    Scenario(
        "a3",
        "one entry rests past the grace, cancels refused",
        resting_entry,
        Right(enters="any", alarm=20, calls={"cancel": 15}),
        shape="straddle",
        hold=16,
    ),
    Scenario(
        "a4",
        "exits rest, cancels and changes refused",
        resting_exits,
        Right(alarm=15, calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4b",
        "exits rest, cancels refused, changes accepted",
        changeable_exits,
        Right(calls={"cancel": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4c",
        "exits rest, changes refused, cancels accepted",
        unchangeable_exits,
        Right(calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4d",
        "exits rest, cancels refused, changes applied and answered 504",
        unanswered_changes,
        Right(calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4e",
        "exits rest, changes answered as done and never applied",
        idle_changes,
        Right(calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4f",
        "exits fill while their change is on its way, cancels refused",
        crossing_fills(1.0),
        Right(calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
    ),
    Scenario(
        "a4g",
        "exits fill by half while their change is on its way, cancels refused",
        crossing_fills(0.5),
        Right(calls={"cancel": 20, "modify": 20}),
        shape="straddle",
        hold=8,
        lots=2,
    ),
    Scenario(
        "a5",
        "a leg refused for margin, positions 3 s late",
        refused_leg(3),
        Right(enters="any", causes=frozenset({"MARGIN"})),
        shape="straddle",
    ),
    Scenario(
        "a5b",
        "a leg refused for margin, positions 1 s late",
        refused_leg(1),
        Right(enters="any", causes=frozenset({"MARGIN"})),
    ),
    Scenario(
        "a6",
        "squared off by the customer while positions fail",
        squared_off_without_positions,
        Right(alarm=20),
        shape="straddle",
        hold=12,
    ),
    Scenario(
        "a6b",
        "squared off by the customer while positions and book fail",
        squared_off_without_witness,
        Right(alarm=20),
        shape="straddle",
        hold=12,
    ),
    Scenario(
        "a7",
        "504 after accepting, order hidden 14 s",
        hidden_behind_504,
        Right(doubles=True),
        accounts=12,
        hold=20,
    ),
    Scenario(
        "a8",
        "too many requests for 8 s, Retry-After 3",
        busy,
        Right(calls={"place": 30}),
        hold=32,
        settings=LONG_GRACE,
    ),
    Scenario(
        "a9",
        "exits refused beyond 1 % of the last price",
        narrow_band,
        Right(calls={"place": 30}),
        shape="straddle",
    ),
    Scenario(
        "a9b",
        "every exit refused for its price for 20 s",
        refused_exits,
        Right(alarm=15, calls={"place": 30}),
        shape="straddle",
        patience=60,
    ),
    Scenario(
        "a10",
        "a session dies at T - 3",
        token_dies_before,
        Right(enters="any", calls={"book": 40}),
    ),
    Scenario(
        "a10b",
        "sessions die while positions are open, login after the exit",
        token_dies_while_open,
        Right(alarm=15, calls={"book": 60}),
        patience=45,
    ),
    Scenario(
        "a10c",
        "a session dies after the first accepted orders",
        token_dies_after_the_first,
        Right(enters="any", alarm=12),
        patience=45,
    ),
    Scenario(
        "a11",
        "order books list every state of an order",
        every_state_listed,
        Right(quiet=True),
        alone=True,
    ),
    Scenario(
        "a12",
        "the only feed is 3 minutes late",
        late_feed,
        Right(enters="none", causes=frozenset({"NO_QUOTE"})),
        alone=True,
    ),
    Scenario(
        "a12b",
        "the feed falls back by a day, a spare is right",
        feed_falls_back,
        Right(),
        shape="stopped",
        hold=40,
        alone=True,
    ),
    Scenario("a13", "everybody has an egress address", own_ways, Right(quiet=True)),
    Scenario(
        "a14",
        "no feed at the exit, and premiums 60 % higher",
        dead_feed_and_a_jump,
        Right(),
        shape="straddle",
        hold=12,
        alone=True,
    ),
)
