"""Scenarios c and d: neighbours, restarts, exits and entries of a day that goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

from brokers.models import BrokerAccount
from execution.tests.faults.judge import Right
from execution.tests.faults.stage import Scenario, Stage, Wait, nothing

#: An order may be hidden for longer than these days last: nothing is proven absent.
FAR_SIGHTED: Final[dict[str, Any]] = {"QUANTLEAP_VISIBILITY_DELAY": 60.0}
LONG_GRACE: Final[dict[str, Any]] = {"QUANTLEAP_ENTRY_GRACE": 30.0}


# -- c: exits, restarts, neighbours ----------------------------------------------------------------
def unreadable_token(stage: Stage) -> Iterator[Wait]:
    """One stored token cannot be decrypted, and the executor is started again."""
    yield stage.all_open
    some = stage.first(1)
    BrokerAccount.objects.filter(pk__in=[a.pk for a in some]).update(access_token="v1|x|y|z")
    stage.restart()
    hold = stage.scenario.hold
    yield hold
    stage.trouble(some)
    yield from stage.must("the others have left", hold + 8, lambda d: stage.flat(d, but=some))
    yield from stage.must("a person is told", hold + 15, lambda d: stage.alarmed(d, some))
    stage.log_in(some)


def absurd_price(stage: Stage) -> Iterator[Wait]:
    """One book gives an average price of a hundred million."""
    some = stage.first(1)
    for field in ("average_price", "avgprc"):
        value: object = 1e8 if field == "average_price" else "100000000.00"
        accounts = [a for a in some if (a.broker == "zebu") == (field == "avgprc")]
        stage.trick("edit", ("book",), accounts, field=field, value=value)
    hold = stage.scenario.hold
    yield hold
    yield from stage.must("the others have left", hold + 8, lambda d: stage.flat(d, but=some))
    yield from stage.must(
        "the one has left, or a person is told",
        hold + 15,
        lambda d: stage.flat(d) or stage.alarmed(d, some),
    )
    stage.calm(some)


def hanging_positions(stage: Stage) -> Iterator[Wait]:
    """One account's positions are answered after 30 s, every time."""
    some = stage.first(1)
    stage.fault("delay", some, op="positions", seconds=30)
    yield stage.scenario.hold
    yield from stage.must(
        "the others have left", stage.scenario.hold + 6, lambda d: stage.flat(d, but=some)
    )
    stage.end_faults()


def hanging_feed(stage: Stage) -> Iterator[Wait]:
    yield stage.scenario.hold - 3
    stage.feed_fault("delay", seconds=30)
    yield from stage.must("everybody has left", stage.scenario.hold + 8, stage.flat)


def restarted_before(stage: Stage) -> Iterator[Wait]:
    yield -5
    stage.restart()


def disabled_while_open(stage: Stage) -> Iterator[Wait]:
    """Some accounts are switched off while they hold positions, and the executor is restarted."""
    yield stage.all_open
    some = [account.pk for account in stage.first(2)]
    BrokerAccount.objects.filter(pk__in=some).update(status=BrokerAccount.Status.DISABLED)
    stage.restart()


def closed_outside(stage: Stage) -> Iterator[Wait]:
    yield stage.all_open
    some = stage.first(2)
    for account in some:
        stage.square_off(account)
    yield stage.scenario.hold
    stage.trouble(some)
    yield stage.scenario.hold + 8
    wrong = stage.rows().filter(account__in=some).exclude(realised_pnl=None)
    for execution in wrong:
        stage.problems[execution.account.broker].append(f"profit {execution.realised_pnl}")


def sibling_rests(stage: Stage) -> Iterator[Wait]:
    """The exit time comes while one entry rests inside the grace."""
    stage.fault("partial_fill", fraction=0, count=1)
    yield from stage.must("what had filled is closed", 14, stage.flat)


def sibling_unknown(stage: Stage) -> Iterator[Wait]:
    """One entry is accepted, its answer lost, and the order hidden for 30 s."""
    stage.fault("hide", seconds=30, answer="drop", count=1)
    yield from stage.must("an exit has left for what is known", 18, stage.exits_sent)
    yield 32


# -- d: entries ------------------------------------------------------------------------------------
def network_away(stage: Stage) -> Iterator[Wait]:
    """Both brokers' networks are away from T - 0.3 to T + 14.2 s; what was written before arrives
    11 s later, as a kernel retransmits it."""
    yield -0.3
    stage.line("away")
    yield 14.2
    stage.line("clear", late=11.4)
    yield 34


def second_login(stage: Stage) -> Iterator[Wait]:
    """Everybody has logged in again shortly before the entry; the old sessions are dead."""
    yield -3.6
    stage.end_sessions()
    stage.log_in()


def first_hidden_second_refused(stage: Stage) -> Iterator[Wait]:
    """The first send is hidden past the visibility and takes the margin; the second is refused."""
    stage.fault("hide", seconds=9, answer="drop", count=1)
    yield 3
    stage.fault("reject", cause="MARGIN", match={"side": "SELL"})
    yield 16


def swallowed_syns(stage: Stage) -> Iterator[Wait]:
    """Zebu answers no SYN from before the connects until 4 s after the entry."""
    stage.line("swallow", "zebu")
    yield 4
    stage.line("clear", "zebu")


def slow_quote(stage: Stage) -> Iterator[Wait]:
    """The feed takes 3 s for each quote from before the decision on; a spare is well."""
    stage.ground.feed_of("zebu", spare=True)
    stage.feed_fault("delay", seconds=3)
    return iter(())


def margin_in_a_burst(stage: Stage) -> Iterator[Wait]:
    """The first of many slices is refused for margin: hardly any may follow it."""
    stage.fault("reject", cause="MARGIN", count=1)
    yield 8
    sent = stage.entries_sent()
    for account in stage.everybody:
        if sent[account.client_id] > 12:
            stage.problems[account.broker].append(
                f"{account.client_id}: {sent[account.client_id]} entries left all the same"
            )


def no_session(stage: Stage) -> Iterator[Wait]:
    yield -0.5
    stage.end_sessions()


def slow_answers(stage: Stage) -> Iterator[Wait]:
    stage.fault("delay", seconds=0.4)
    return iter(())


def interim(stage: Stage) -> Iterator[Wait]:
    stage.trick("interim", ("place", "book", "positions", "cancel"))
    return iter(())


def twins(stage: Stage) -> Iterator[Wait]:
    for account in stage.everybody:
        stage.trick("twin", ("place",), [account], count=1)
    return iter(())


def stopped_in_the_last_second(stage: Stage) -> Iterator[Wait]:
    """A second executor is there; the first is stopped 0.6 s before the entry."""
    first = stage.ground.executors[0]
    stage.ground.start_executor()
    yield -0.6
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    yield 5
    stopping.join(20)


SCENARIOS: Final = (
    Scenario(
        "c2",
        "a stored token cannot be decrypted, then a restart",
        unreadable_token,
        Right(alarm=15),
        shape="straddle",
        hold=16,
        patience=45,
        alone=True,
    ),
    Scenario(
        "c3",
        "a book row with an average price of 100,000,000",
        absurd_price,
        Right(),
        shape="straddle",
    ),
    Scenario(
        "c4",
        "one account's positions hang for 30 s",
        hanging_positions,
        Right(),
        shape="straddle",
        patience=45,
    ),
    Scenario("c5", "the feed hangs at the exit", hanging_feed, Right(), alone=True),
    Scenario("c7", "the executor is restarted at T - 5", restarted_before, Right(), alone=True),
    Scenario(
        "c8",
        "accounts switched off while open, then a restart",
        disabled_while_open,
        Right(),
        shape="straddle",
        hold=16,
        alone=True,
    ),
    Scenario(
        "c9",
        "closed outside by the customer",
        closed_outside,
        Right(alarm=20),
        shape="straddle",
        hold=12,
    ),
    Scenario(
        "c10",
        "one leg filled, its sibling rests at the exit time",
        sibling_rests,
        Right(enters="any"),
        shape="straddle",
        hold=7,
    ),
    Scenario(
        "c10b",
        "one leg filled, its sibling unknown for 30 s",
        sibling_unknown,
        Right(),
        shape="straddle",
        settings=FAR_SIGHTED,
        patience=60,
    ),
    Scenario(
        "c12",
        "two strategies of one customer, opposite in the same contracts",
        nothing,
        Right(),
        shape="crossed",
        strategies=2,
        shared=True,
        patience=40,
    ),
    Scenario(
        "d1",
        "networks away from T - 0.3 to T + 14.2, bytes arrive late",
        network_away,
        Right(enters="any"),
        accounts=2,
        hold=40,
        patience=60,
        settings=LONG_GRACE,
        alone=True,
    ),
    Scenario("d3", "everybody logs in again at T - 3.6", second_login, Right()),
    Scenario(
        "d4",
        "the first send hidden, the second refused for margin",
        first_hidden_second_refused,
        Right(enters="any"),
        shape="straddle",
        hold=20,
    ),
    Scenario(
        "d5",
        "Zebu answers no SYN until T + 4",
        swallowed_syns,
        Right(enters="any"),
        rights={"zerodha": Right(within=1.0)},
        alone=True,
    ),
    Scenario(
        "d6",
        "every quote call takes 3 s, a spare feed is well",
        slow_quote,
        Right(within=3.0),
        alone=True,
    ),
    Scenario(
        "d8",
        "margin refused at the first of many slices",
        margin_in_a_burst,
        Right(enters="any"),
        lots=200,
        accounts=2,
        patience=45,
    ),
    Scenario(
        "d9",
        "no session at the entry of two strategies a second apart",
        no_session,
        Right(enters="none"),
        strategies=2,
        apart=1,
        shared=True,
        accounts=2,
    ),
    Scenario(
        "d10",
        "two entries a second apart, answers after 0.4 s",
        slow_answers,
        Right(),
        strategies=2,
        apart=1,
        shared=True,
        accounts=2,
        hold=20,
        patience=45,
    ),
    Scenario("d11", "103 Early Hints before every answer", interim, Right(quiet=True)),
    Scenario("d11b", "two answers in one segment", twins, Right()),
    Scenario(
        "d15",
        "one of two executors is stopped at T - 0.6",
        stopped_in_the_last_second,
        Right(within=2.0),
        alone=True,
    ),
)
