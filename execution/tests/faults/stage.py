"""One scenario's customers, orders and levers while it is played."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from brokers import sealed_credentials
from brokers.base import Side
from brokers.models import BrokerAccount
from execution.models import Execution as ExecutionRow
from execution.models import OrderIntent
from execution.tags import parse_tag
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.faults import judge
from execution.tests.faults.ground import Ground
from execution.tests.faults.judge import Right, Seen
from execution.tests.hand_trades import trade_by_hand
from marketplace.models import Template
from marketplace.tests.factories import (
    leg_spec,
    make_iron_condor,
    make_short_straddle,
    make_template,
)
from quantleap.core import clock

DIALECTS: Final = ("zerodha", "zebu")
#: Legs by shape: a hedged condor (bought legs first), a sold straddle, the same with a stop of a
#: quarter, a bought and a sold straddle in turn, one bought leg far away from the index.
LEGS: Final = {"condor": 4, "straddle": 2, "stopped": 2, "crossed": 2, "far": 1}
_numbers = itertools.count(1)
#: What a scenario waits for: seconds from T, or something to become true.
Wait = float | Callable[[], bool]
Play = Callable[["Stage"], Iterator[Wait]]


def nothing(stage: Stage) -> Iterator[Wait]:
    """Just the day."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the matrix.

    ``accounts`` are of each dialect; ``hold`` is from entry to exit in seconds, ``patience`` what
    everything may take beyond that. ``alone``: it strikes the feed, a line or the executor, so that
    nothing is played beside it. ``settings`` differ from the usual timing; ``rights`` is what is
    right for one dialect, where the other has something else.

    ``strategies`` enter ``apart`` seconds from each other, each with a share of the accounts, or
    all of them with everybody (``shared``). ``lots`` are a subscriber's multiplier, ``orders`` an
    account's entry orders where they are more than the legs.
    """

    name: str
    what: str
    play: Play
    right: Right
    shape: str = "condor"
    accounts: int = 4
    hold: float = 10.0
    patience: float = 30.0
    dialects: Sequence[str] = DIALECTS
    alone: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    rights: Mapping[str, Right] = field(default_factory=dict)
    strategies: int = 1
    apart: float = 0.0
    shared: bool = False
    lots: int = 1
    orders: int = 0

    @property
    def entries(self) -> int:
        """Entry orders of one account."""
        per_strategy = self.orders or LEGS[self.shape]
        return per_strategy * self.strategies if self.shared else per_strategy


class Stage:
    """A scenario under way."""

    def __init__(self, ground: Ground, scenario: Scenario) -> None:
        self.ground, self.scenario, self.control = ground, scenario, ground.control
        number = next(_numbers)
        self.accounts: dict[str, list[BrokerAccount]] = {
            dialect: make_accounts(
                scenario.accounts,
                partner=make_partner(),
                brokers=(dialect,),
                prefix=f"{scenario.name}{'K' if dialect == 'zerodha' else 'N'}{number}X".upper(),
            )
            for dialect in scenario.dialects
        }
        #: Newest access token by client.
        self.tokens: dict[str, str] = {}
        self.log_in()
        self.entry_at = self.exit_at = clock.now()
        self.alarms: dict[str, dt.datetime] = {}
        self.foreign: dict[tuple[str, str], int] = {}
        self.trouble_at: dt.datetime | None = None
        self.troubled: list[str] = []
        self.problems: dict[str, list[str]] = {dialect: [] for dialect in scenario.dialects}
        self._playing: Iterator[Wait] = scenario.play(self)
        self._wait: Wait | None = None

    # -- who ---------------------------------------------------------------------------------
    @property
    def everybody(self) -> list[BrokerAccount]:
        """All accounts."""
        return [account for accounts in self.accounts.values() for account in accounts]

    def first(self, count: int) -> list[BrokerAccount]:
        """So many accounts of each dialect."""
        return [account for accounts in self.accounts.values() for account in accounts[:count]]

    def publish(self, entry_at: dt.datetime, hold: float) -> None:
        """The strategies, and who is subscribed to which."""
        scenario = self.scenario
        self.entry_at, self.exit_at = entry_at, entry_at + dt.timedelta(seconds=hold)
        for number in range(scenario.strategies):
            apart = dt.timedelta(seconds=number * scenario.apart)
            times = {
                "entry_time": clock.to_ist(self.entry_at + apart).time(),
                "exit_time": clock.to_ist(self.exit_at + apart).time(),
            }
            template = _template(scenario.shape, number, times)
            subscribed = self.everybody if scenario.shared else self._share(number)
            subscribe_accounts(template, subscribed, multipliers=[Decimal(scenario.lots)])

    def _share(self, number: int) -> list[BrokerAccount]:
        step = self.scenario.strategies
        return [a for accounts in self.accounts.values() for a in accounts[number::step]]

    # -- levers ------------------------------------------------------------------------------
    def fault(
        self,
        kind: str,
        accounts: Iterable[BrokerAccount] | None = None,
        op: str = "place",
        **params: Any,
    ) -> None:
        """A fault of the simulator on the calls of these accounts (or of everybody)."""
        match = params.pop("match", {})
        for account in self.everybody if accounts is None else accounts:
            self.control.ask(
                "POST",
                "/faults",
                kind=kind,
                op=op,
                match={"client_id": account.client_id, **match},
                **params,
            )

    def trick(
        self,
        kind: str,
        ops: Iterable[str],
        accounts: Iterable[BrokerAccount] | None = None,
        **params: Any,
    ) -> None:
        """A trick of the stand-in's shell on the calls of these accounts (or of everybody)."""
        clients = [a.client_id for a in (self.everybody if accounts is None else accounts)]
        self.control.ask("POST", "/tricks", kind=kind, ops=list(ops), clients=clients, **params)

    def line(self, mode: str, broker: str | None = None, **params: Any) -> None:
        """What the line to a broker (or to both) does from now on."""
        named = {} if broker is None else {"broker": broker}
        self.control.ask("POST", "/line", mode=mode, **named, **params)

    def calm(self, accounts: Iterable[BrokerAccount] | None = None) -> None:
        """The tricks on these accounts end."""
        clients = [a.client_id for a in (self.everybody if accounts is None else accounts)]
        self.control.ask("DELETE", "/tricks", clients=clients)

    def feed_trick(self, kind: str, **params: Any) -> None:
        """A trick on the feed's quotes."""
        self.control.ask(
            "POST",
            "/tricks",
            kind=kind,
            ops=["quote"],
            clients=[self.ground.feed.client_id],
            **params,
        )

    def end_sessions(self, accounts: Iterable[BrokerAccount] | None = None) -> None:
        """The broker forgets these customers' logins."""
        for account in self.everybody if accounts is None else accounts:
            self.control.ask(
                "DELETE", "/sessions", broker=account.broker, client_id=account.client_id
            )

    def log_in(self, accounts: Sequence[BrokerAccount] | None = None) -> None:
        """These customers log in again."""
        log_in(self.everybody if accounts is None else accounts, self._token, clock.now())

    def _token(self, broker: str, client_id: str) -> str:
        token = self.tokens[client_id] = self.control.token(broker, client_id)
        return token

    def square_off(self, account: BrokerAccount) -> None:
        """The customer closes in the broker's own app what our entries have opened."""
        for intent in OrderIntent.objects.filter(account=account, purpose="ENTRY"):
            if not intent.filled_quantity:
                continue
            buys = intent.side == "SELL"
            factor = Decimal("1.05") if buys else Decimal("0.95")
            self.by_hand(
                account,
                intent.symbol,
                Side.BUY if buys else Side.SELL,
                intent.filled_quantity,
                (intent.average_price * factor).quantize(Decimal("0.1")),
            )

    def by_hand(
        self, account: BrokerAccount, symbol: str, side: Side, quantity: int, price: Decimal
    ) -> None:
        """One order of the customer's own."""
        trade_by_hand(account, symbol, side, quantity, price)

    def egress(self) -> dict[str, str]:
        """Everybody gets a source address of their own; it by client."""
        given = {}
        for number, account in enumerate(self.everybody, start=5):
            given[account.client_id] = f"127.0.1.{number}"
            account.egress = sealed_credentials.seal(account, "egress", given[account.client_id])
            account.save(update_fields=["egress"])
        return given

    def feed_fault(self, kind: str, **params: Any) -> None:
        """A fault of the simulator on the feed's quotes."""
        match = {"client_id": self.ground.feed.client_id}
        self.control.ask("POST", "/faults", kind=kind, op="quote", match=match, **params)

    def premiums(self, factor: float) -> None:
        """Options of the index are worth about so many times what they were."""
        known = self.control.ask("GET", "/market")["underlyings"]["NIFTY"]["iv"]
        self.control.ask("POST", "/market", underlying="NIFTY", iv=known * factor)

    def end_faults(self) -> None:
        """The simulator's faults and the shell's tricks end, for everybody here."""
        clients = [account.client_id for account in self.everybody]
        self.control.ask("DELETE", "/faults", client_ids=clients)
        self.calm()

    def restart(self) -> None:
        """The executor is stopped, and another one starts."""
        self.ground.stop_executors()
        self.ground.start_executor()

    def trouble(self, accounts: Iterable[BrokerAccount] | None = None) -> None:
        """The alarm's seconds begin now, for these accounts (or everybody)."""
        self.trouble_at = clock.now()
        self.troubled = [a.client_id for a in (self.everybody if accounts is None else accounts)]

    # -- looking -----------------------------------------------------------------------------
    @property
    def since_entry(self) -> float:
        """Seconds from T."""
        return (clock.now() - self.entry_at).total_seconds()

    def rows(self) -> Any:
        """The product's executions of this scenario."""
        return ExecutionRow.objects.filter(account__in=self.everybody)

    def all_open(self) -> bool:
        """Whether everybody has entered."""
        entered: int = self.rows().filter(status="OPEN").count()
        return entered == len(self.everybody)

    def look(self) -> None:
        """Note whose alarm is new."""
        rows = self.rows().filter(needs_attention=True)
        for client in rows.values_list("account__client_id", flat=True):
            self.alarms.setdefault(client, clock.now())

    def must(self, what: str, by: float, test: Callable[[str], bool]) -> Iterator[Wait]:
        """Wait until it is true of every dialect; a problem of those it is not ``by`` seconds
        from T."""
        dialects = self.scenario.dialects
        yield lambda: self.since_entry > by or all(test(dialect) for dialect in dialects)
        for dialect in dialects:
            if not test(dialect):
                self.problems[dialect].append(f"not {by:g} s after T: {what}")

    def flat(self, dialect: str, but: Iterable[BrokerAccount] = ()) -> bool:
        """Whether nothing is open at the stand-in, but for some."""
        others = {account.client_id for account in but}
        mine = {account.client_id for account in self.accounts[dialect]} - others
        return not any(client in mine for client, _ in self.open_positions())

    def exits_sent(self, dialect: str) -> bool:
        """Whether an exit of everybody of a dialect is in the stand-in's book."""
        codes = set(
            OrderIntent.objects.filter(account__in=self.accounts[dialect])
            .exclude(purpose="ENTRY")
            .values_list("code", flat=True)
        )
        book = map(_order, self.control.ask("GET", "/book")["orders"])
        clients = {order.client for order in book if order.code in codes}
        return clients >= {account.client_id for account in self.accounts[dialect]}

    def entries_sent(self) -> Counter[str]:
        """How many entry orders of each client reached the stand-in's book."""
        codes = set(
            OrderIntent.objects.filter(account__in=self.everybody, purpose="ENTRY").values_list(
                "code", flat=True
            )
        )
        book = map(_order, self.control.ask("GET", "/book")["orders"])
        return Counter(order.client for order in book if order.code in codes)

    def alarmed(self, dialect: str, accounts: Iterable[BrokerAccount] | None = None) -> bool:
        """Whether these (or all) of a dialect have an alarm."""
        asked = self.everybody if accounts is None else accounts
        return all(a.client_id in self.alarms for a in asked if a.broker == dialect)

    def play_on(self) -> None:
        """Let the scenario act if what it waits for is there."""
        while True:
            wait = self._wait
            if isinstance(wait, (int, float)) and self.since_entry < wait:
                return
            if callable(wait) and not wait():
                return
            try:
                self._wait = next(self._playing)
            except StopIteration:
                self._wait = float("inf")
                return

    def is_over(self) -> bool:
        """Whether it may be judged: it has done its part and everybody is flat, or time is up."""
        if (clock.now() - self.exit_at).total_seconds() > self.scenario.patience:
            return True
        if self._wait != float("inf"):
            return False
        rows = list(self.rows().values_list("status", flat=True))
        if len(rows) < len(self.everybody) or not judge.TERMINAL.issuperset(rows):
            return False
        return not self.open_positions()

    def open_positions(self) -> dict[tuple[str, str], int]:
        """Net units at the stand-in that are not 0, hidden orders' included."""
        clients = {account.client_id for account in self.everybody}
        rows = self.control.ask("GET", "/positions")["positions"]
        return {
            (row["client_id"], row["symbol"]): row["quantity"]
            for row in rows
            if row["client_id"] in clients and row["quantity"]
        }

    def seen(self, dialect: str) -> Seen:
        """Everything there is to judge by, of one dialect."""
        clients = [account.client_id for account in self.accounts[dialect]]
        mine = frozenset(clients)
        book = self.control.ask("GET", "/book")["orders"]
        calls = self.control.ask("GET", "/calls")["calls"]
        intents = OrderIntent.objects.filter(account__in=self.accounts[dialect])
        executions = ExecutionRow.objects.filter(account__in=self.accounts[dialect])
        return Seen(
            entry_at=self.entry_at,
            clients=clients,
            orders=[_order(row) for row in book if row["client_id"] in mine],
            positions={k: q for k, q in self.open_positions().items() if k[0] in mine},
            intents=[
                judge.Intent(
                    i.account.client_id,
                    i.code,
                    i.purpose,
                    i.state,
                    i.quantity,
                    i.filled_quantity,
                    i.cause,
                )
                for i in intents.select_related("account")
            ],
            executions=[
                judge.Execution(e.account.client_id, e.status, e.cause, e.needs_attention)
                for e in executions.select_related("account")
            ],
            alarms={c: at for c, at in self.alarms.items() if c in mine},
            calls={(c["client_id"], c["op"]): c["count"] for c in calls if c["client_id"] in mine},
        )

    def verdicts(self) -> dict[str, judge.Verdict]:
        """By dialect."""
        verdicts = {}
        for dialect in self.scenario.dialects:
            seen = self.seen(dialect)
            verdicts[dialect] = judge.judge(
                seen,
                self.scenario.rights.get(dialect, self.scenario.right),
                self.scenario.entries,
                trouble_at=self.trouble_at,
                troubled=[c for c in self.troubled if c in seen.clients],
                foreign=self.foreign,
            )
            verdicts[dialect].problems.extend(self.problems[dialect])
        return verdicts


def _template(shape: str, number: int, times: dict[str, dt.time]) -> Template:
    if shape == "condor":
        return make_iron_condor(strategy=times)
    if shape == "far":
        return make_template(legs=(leg_spec("BUY", "CE", "OTM30"),), strategy=times)
    if shape == "crossed" and number % 2:
        legs = (leg_spec("BUY", "CE"), leg_spec("BUY", "PE"))
        return make_template(legs=legs, strategy=times)
    return make_short_straddle(stop_pct=25 if shape == "stopped" else None, strategy=times)


def _order(row: Mapping[str, Any]) -> judge.Order:
    tag = parse_tag(row["tag"])
    return judge.Order(
        client=row["client_id"],
        tag=row["tag"],
        code=tag.code if tag else "",
        symbol=row["symbol"],
        side=row["side"],
        quantity=int(row["quantity"]),
        filled=int(row["filled_quantity"]),
        status=row["status"],
        received_at=dt.datetime.fromisoformat(row["received_at"]),
        updated_at=dt.datetime.fromisoformat(row["updated_at"]),
    )
