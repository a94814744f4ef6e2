"""The run and the oracle agree on random portfolios; and would not, were one of them wrong.

``make billing-oracle PORTFOLIOS=200`` plays more of the same (``ORACLE_SEED`` for the same again).
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from subscriptions.billing.invoicing import run_sql, segments
from subscriptions.billing.settlement import commissions, reversals
from subscriptions.billing.tests import portfolios
from subscriptions.billing.tests.factories import AWAY, HOME
from subscriptions.billing.tests.portfolios import (
    Setup,
    build_setup,
    compare,
    drive,
    invoiced,
    load,
    undone,
)
from subscriptions.billing.tests.portfolios_drawn import (
    EVENING,
    FIRST_RATE,
    SIZE,
    Case,
    cases,
    with_runs,
)
from subscriptions.billing.tests.portfolios_oracle import (
    NOON,
    Action,
    Bill,
    Event,
    Followed,
    Moment,
    Portfolio,
    RunDay,
    Tax,
    balances,
    begun,
    bills,
    earned,
    fiscal_year,
    months_after,
    numbered,
    rate_of,
    taxed,
)
from subscriptions.billing.tests.receipts_oracle import Came, settled
from subscriptions.periods import period

PORTFOLIOS: Final = int(os.environ.get("PORTFOLIOS", "8"))
#: Always the same in the suite; another one each time that more is asked for.
SEED: Final = int(
    os.environ.get("ORACLE_SEED")
    or (random.SystemRandom().randrange(10**8) if "PORTFOLIOS" in os.environ else 20260131)
)
#: So many random portfolios are billed twice: often, and once at the end.
TWICE: Final = max(2, PORTFOLIOS // 20)

JAN31: Final = dt.date(2026, 1, 31)
END: Final = dt.date(2026, 7, 15)


def day(month: int, number: int, year: int = 2026) -> dt.date:
    """A day of 2026."""
    return dt.date(year, month, number)


def at_home(
    *events: tuple[dt.date, Action], start: dt.date = JAN31, fee: str = "999.00"
) -> Followed:
    """Somebody at home."""
    return Followed(start, Decimal(fee), HOME, tuple(itertools.starmap(Event, events)))


def periods(followed: Followed, last: dt.date = END) -> list[tuple[int, int, dt.date, dt.date]]:
    """Segment, number, first day and first day after."""
    return [period[:4] for period in begun(followed, last)]


def evenings(*days: dt.date) -> tuple[RunDay, ...]:
    """A run in the evening of each day."""
    return tuple(RunDay(Moment(on, EVENING), on) for on in days)


# -- the oracle itself, by hand --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        (JAN31, 0, JAN31),
        (JAN31, 1, day(2, 28)),
        (JAN31, 2, day(3, 31)),
        (JAN31, 3, day(4, 30)),
        (JAN31, 25, dt.date(2028, 2, 29)),
        (dt.date(2026, 12, 30), 2, dt.date(2027, 2, 28)),
        (dt.date(2028, 2, 29), 12, dt.date(2029, 2, 28)),
    ],
)
def test_months_are_counted_from_the_anchor(
    anchor: dt.date, months: int, expected: dt.date
) -> None:
    assert months_after(anchor, months) == expected


def test_the_financial_year_begins_in_april() -> None:
    days = (day(3, 31), day(4, 1), dt.date(2099, 12, 31))
    assert [fiscal_year(on) for on in days] == ["2025-26", "2026-27", "2099-00"]


def test_a_pause_within_the_paid_period_leaves_no_trace() -> None:
    paused = at_home((day(3, 2), Action.PAUSE), (day(3, 30), Action.RESUME))
    assert periods(paused) == periods(at_home())
    assert [number for _, number, *_ in periods(at_home())] == [0, 1, 2, 3, 4, 5]


def test_resumed_after_the_paid_period_a_segment_begins() -> None:
    """The subscription resumes on the first unpaid day, and its new segment begins that day."""
    paused = at_home((day(3, 2), Action.PAUSE), (day(3, 31), Action.RESUME))
    assert periods(paused, day(5, 31)) == [
        (1, 0, JAN31, day(2, 28)),
        (1, 1, day(2, 28), day(3, 31)),
        (2, 0, day(3, 31), day(4, 30)),
        (2, 1, day(4, 30), day(5, 31)),
        (2, 2, day(5, 31), day(6, 30)),
    ]


def test_a_period_that_begins_on_the_day_of_a_pause_had_begun() -> None:
    assert len(periods(at_home((day(2, 28), Action.PAUSE)))) == 2
    assert len(periods(at_home((day(2, 27), Action.PAUSE)))) == 1
    assert len(periods(at_home((JAN31, Action.CANCEL)))) == 1


def test_after_a_cancellation_nothing_counts() -> None:
    ended = at_home(
        (day(2, 1), Action.PAUSE), (day(2, 2), Action.CANCEL), (day(2, 3), Action.RESUME)
    )
    assert len(periods(ended)) == 1


def test_who_comes_back_within_the_month_goes_on_in_it() -> None:
    """On the same day, twice, and on its last day: one period, and the next at the new fee."""
    returning = at_home(
        (JAN31, Action.CANCEL), (JAN31, Action.SUBSCRIBE), (JAN31, Action.SUBSCRIBE),
        (day(2, 3), Action.CANCEL), (day(2, 27), Action.SUBSCRIBE),
    )  # fmt: skip
    began = begun(returning, day(3, 30))
    assert [(*period[:4], period.turn) for period in began] == [
        (1, 0, JAN31, day(2, 28), 0),
        (1, 1, day(2, 28), day(3, 31), 2),
    ]
    dearer = Followed(
        JAN31, Decimal(999), HOME,
        (Event(day(2, 3), Action.CANCEL), Event(day(2, 3), Action.SUBSCRIBE, Decimal(1499))),
    )  # fmt: skip
    assert [period.fee for period in begun(dearer, day(3, 30))] == [999, 1499]


def test_who_comes_back_after_the_month_begins_anew() -> None:
    """The new periods are counted from the day of the return."""
    returning = at_home((day(2, 3), Action.CANCEL), (day(2, 28), Action.SUBSCRIBE))
    assert [(period.first, period.after) for period in begun(returning, day(3, 27))] == [
        (JAN31, day(2, 28)),
        (day(2, 28), day(3, 28)),
    ]


def test_tax_by_hand() -> None:
    rate = Decimal("18.00")
    halves, whole = Decimal("89.91"), Decimal("179.82")
    assert taxed(Decimal("999.00"), rate, home=True) == Tax(halves, halves, Decimal(0))
    assert taxed(Decimal("999.00"), rate, home=False) == Tax(Decimal(0), Decimal(0), whole)
    # 9 % of 0.50 are 4.5 paise, which is 5
    assert taxed(Decimal("0.50"), rate, home=True).cgst == Decimal("0.05")
    assert taxed(Decimal("0.50"), rate, home=False).igst == Decimal("0.09")
    rates = [(day(4, 1), Decimal(12)), FIRST_RATE]
    assert [rate_of(rates, on) for on in (day(3, 31), day(4, 1))] == [rate, Decimal(12)]
    with pytest.raises(LookupError):
        rate_of(rates, dt.date(2017, 6, 30))


def test_a_portfolio_by_hand() -> None:
    """Two months missed over the end of a financial year, a change of rate between them."""
    away = Followed(day(2, 28), Decimal("499.95"), AWAY)
    nowhere = Followed(day(2, 28), Decimal("499.95"), "", partner_state=AWAY)
    portfolio = Portfolio(
        (away, nowhere, at_home(start=day(3, 31), fee="0.00")),
        (FIRST_RATE, (day(3, 28), Decimal("12.00"))),
        HOME,
        day(4, 27),
        evenings(day(2, 27), day(3, 1), day(4, 10)),
    )
    nil, fee = Decimal("0.00"), Decimal("499.95")
    expected = [
        Bill(0, 0, 1, 0, day(2, 28), day(3, 28), fee, Decimal("18.00"), nil, nil, Decimal("89.99"),
             Decimal("589.94"), day(3, 1), False),
        Bill(0, 0, 1, 1, day(3, 28), day(4, 28), fee, Decimal("12.00"), nil, nil, Decimal("59.99"),
             Decimal("559.94"), day(4, 10), False),
    ]  # fmt: skip
    assert bills(portfolio) == expected
    assert numbered(expected) == {"2025-26": 1, "2026-27": 1}
    # 499.95 x 13 / 31 is 209.6564...
    assert earned(expected[1], day(4, 9)) == Decimal("209.65")
    assert balances(expected, day(4, 9)) == {
        "receivable:0": Decimal("1149.88"),
        "gst_output:igst": Decimal("-149.98"),
        "revenue": Decimal("-709.60"),
        "deferred_revenue": Decimal("-290.30"),
    }


def test_a_late_invoice_has_its_runs_date_and_a_mark() -> None:
    """Of two invoices of one run, only the late one is marked for review."""
    runs = (RunDay(Moment(day(2, 28), EVENING), day(2, 27)), *evenings(day(3, 31)))
    portfolio = Portfolio((at_home(start=day(2, 28)),), (FIRST_RATE,), HOME, END, runs)
    marks = [(bill.issued_on, bill.needs_review) for bill in bills(portfolio)]
    assert marks == [(day(3, 31), True), (day(3, 31), False)]


def test_a_morning_run_is_too_early_for_a_noon_resumption() -> None:
    resumed = at_home((JAN31, Action.PAUSE), (day(5, 5), Action.RESUME))
    morning = RunDay(Moment(day(5, 5), NOON - 8), day(5, 5))
    portfolio = Portfolio((resumed,), (FIRST_RATE,), HOME, END, (morning, *evenings(day(5, 9))))
    assert [bill.issued_on for bill in bills(portfolio)] == [day(5, 5), day(5, 9)]


def test_money_by_hand() -> None:
    """Two bills of one customer: 1,500.00 pay the first and a part of the second; both bounce."""
    portfolio = Portfolio((at_home(),), (FIRST_RATE,), HOME, day(3, 1), evenings(JAN31, day(3, 1)))
    owed = bills(portfolio)
    total, much, part = Decimal("1178.82"), Decimal("1500.00"), Decimal("321.18")
    came = [Came(0, day(3, 1), much), Came(0, day(3, 2), Decimal("900.00"))]
    money = settled(owed, came, [1], Decimal(30))
    assert money.paid == {(0, 0, 1, 0): total, (0, 0, 1, 1): total}
    # 30 % of 999.00, twice; 42.36 are nobody's but the customer's
    assert money.accounts == {
        "gateway_clearing:manual": Decimal("2400.00"),
        "customer_credit:0": Decimal("-42.36"),
        "receivable:0": Decimal("-2357.64"),
        "revshare_expense": Decimal("599.40"),
        "partner_payable_pending:1": Decimal("-599.40"),
    }
    taken_back = settled(
        owed, [came[0], Came(0, day(3, 2), Decimal("900.00"), day(3, 9))], [1], Decimal(30)
    )
    assert taken_back.paid == {(0, 0, 1, 0): total, (0, 0, 1, 1): part}
    # 999.00 x 321.18 / 1178.82 is 272.18...; 30 % of it 81.65...
    assert taken_back.accounts["revshare_expense"] == Decimal("381.35")
    assert settled(owed, [Came(0, JAN31, much, JAN31)], [1], Decimal(30)).accounts == {}


# -- the run against the oracle --------------------------------------------------------------------
class Tally:
    """What was compared, told while it goes on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.portfolios = self.subscriptions = self.invoices = self.runs = 0
        self.begun = time.monotonic()

    def add(self, case: Case, invoices: int) -> None:
        self.portfolios += 1
        self.subscriptions += len(case.portfolio.subscriptions)
        self.runs += len(case.portfolio.runs)
        self.invoices += invoices
        if self.portfolios % 10 == 0:
            self.say(str(self))

    def __str__(self) -> str:
        return (
            f"{self.portfolios} portfolios of {self.subscriptions} subscriptions: "
            f"{self.invoices} invoices by {self.runs} runs, seed {SEED}, "
            f"{time.monotonic() - self.begun:.0f} s"
        )


def random_cases(count: int, size: int = SIZE) -> Callable[[Any], Any]:
    """``count`` portfolios of ``SEED``, each of ``size`` subscriptions."""

    def decorate(test: Any) -> Any:
        rules = settings(
            max_examples=count,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=(Phase.generate, Phase.shrink),
            print_blob=True,
        )
        return seed(SEED)(rules(given(case=cases(size))(test)))

    return decorate


@pytest.fixture
def setup(db: None) -> Setup:
    """What portfolios need, in the test's transaction."""
    return build_setup()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest, so that the progress of many portfolios is seen."""

    def line(words: str) -> None:
        with capsys.disabled():
            print(words, flush=True)  # noqa: T201

    return line


def test_the_run_and_the_oracle_agree(
    setup: Setup, say: Callable[[str], None], record_property: Callable[[str, object], None]
) -> None:
    tally = Tally(say if PORTFOLIOS > 10 else lambda _: None)
    tally.say(f"\nseed {SEED}, {PORTFOLIOS} portfolios")

    @random_cases(PORTFOLIOS)
    def agree(case: Case) -> None:
        faults, invoices = compare(case, setup)
        assert not faults, "\n".join([f"seed {SEED}, {len(faults)} differences", *faults[:20]])
        tally.add(case, invoices)

    agree()
    record_property("tried", str(tally))
    assert tally.portfolios >= PORTFOLIOS
    assert tally.subscriptions == tally.portfolios * SIZE


def test_often_or_once_at_the_end_is_the_same(setup: Setup) -> None:
    """Without the oracle: only number, date of issue and the mark for review may differ."""
    compared = []

    def outcome(case: Case) -> list[tuple[object, ...]]:
        with undone():
            by_customer = load(case, setup)
            drive(case, by_customer)
            return [bill[:12] for bill in invoiced(by_customer)]

    @random_cases(TWICE, size=15)
    def same(case: Case) -> None:
        last = case.portfolio.last
        first = min(subscription.start for subscription in case.portfolio.subscriptions)
        often = [first + dt.timedelta(days=more) for more in range(0, (last - first).days, 11)]
        once = outcome(with_runs(case, [last]))
        assert outcome(with_runs(case, [*often, last])) == once
        compared.append(len(once))

    same()
    assert len(compared) >= TWICE


# -- controls: faults that the comparison notices --------------------------------------------------
def small() -> Case:
    """Month ends, an outage, a pause over the end of a period, a change of rate."""
    portfolio = Portfolio(
        (
            at_home(),
            at_home(fee="499.95"),
            at_home((day(3, 2), Action.PAUSE), (day(6, 10), Action.RESUME)),
            Followed(day(3, 30), Decimal("333.33"), AWAY),
        ),
        (FIRST_RATE, (day(4, 30), Decimal("12.00"))),
        HOME,
        END,
        evenings(day(2, 15), day(4, 30), END),
    )
    return Case(portfolio, (2,), (1, 1, 0, 2))


def faulty(monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    """Put a fault into a statement of the run."""
    statement = getattr(run_sql, name)
    assert right in statement
    monkeypatch.setattr(run_sql, name, statement.replace(right, wrong))


def test_without_a_fault_nothing_is_noticed(setup: Setup) -> None:
    assert compare(small(), setup) == ([], 20)


@pytest.mark.parametrize(
    ("right", "wrong", "noticed"),
    [
        pytest.param(
            "due.anchor + make_interval(months => no.period_no",
            "due.next_on + make_interval(months => no.period_no - due.next_no",
            "after 2026-03-28 instead of 2026-03-31",
            id="a month is added to the previous end (Kill Bill 127)",
        ),
        pytest.param(
            "round(due.monthly_fee * rate.rate_pct / 200, 2)",
            "trunc(due.monthly_fee * rate.rate_pct / 200, 2)",
            "cgst 44.99 instead of 45.00",
            id="tax is rounded down",
        ),
        pytest.param(
            "effective_from <= period.first",
            "effective_from <= %(today)s",
            "rate 12.00 instead of 18.00",
            id="the rate of the day of issue",
        ),
        pytest.param(
            "generate_series(due.next_no, due.last_no)",
            "generate_series(due.last_no, due.last_no)",
            "is missing",
            id="missed months are left out",
        ),
        pytest.param(
            "period.after <= %(today)s AS stale",
            "period.after < %(today)s AS stale",
            "needs_review",
            id="review begins a day late",
        ),
    ],
)
def test_the_control_a_fault_in_the_run(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, noticed: str
) -> None:
    faulty(monkeypatch, "NEW", right, wrong)
    faults, _ = compare(small(), setup)
    assert any(noticed in words for words in faults), faults


def test_the_control_a_month_that_who_comes_back_never_pays(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The period after the one that goes on is left out."""
    right = segments.begun

    def late(subscriptions: Any) -> Any:
        return {
            key: replace(start, period=period(start.segment.anchor, start.period.number + 1))
            for key, start in right(subscriptions).items()
        }

    portfolio = Portfolio(
        (at_home((day(2, 3), Action.CANCEL), (day(2, 3), Action.SUBSCRIBE)),),
        (FIRST_RATE,), HOME, END, evenings(END),
    )  # fmt: skip
    case = Case(portfolio, (2,), (1,))
    assert compare(case, setup) == ([], 6)
    monkeypatch.setattr(segments, "begun", late)
    faults, _ = compare(case, setup)
    assert any("is missing" in words for words in faults), faults


def test_the_control_a_pause_that_is_ignored(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "stop", lambda _ids, *, on: 0)
    faults, _ = compare(small(), setup)
    assert any("should not be" in words for words in faults), faults


def test_the_control_a_posting_of_another_amount(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced, so that the database lets it pass: tax is booked as revenue."""
    faulty(monkeypatch, "ENTRIES", "-new.igst)", "0.00)")
    faulty(monkeypatch, "ENTRIES", "-new.taxable)", "-new.taxable - new.igst)")
    faults, _ = compare(small(), setup)
    assert any("account gst_output:igst is None" in words for words in faults), faults


def bounced() -> Case:
    """One of two receipts of one customer goes back."""
    case = small()
    came = (
        Came(0, day(4, 30), Decimal("1500.00")),
        Came(0, day(5, 2), Decimal("3000.00"), day(6, 1)),
        Came(3, day(5, 3), Decimal("400.00"), day(5, 3)),
    )
    return replace(case, came=came)


def test_without_a_fault_money_that_goes_back_leaves_nothing(setup: Setup) -> None:
    assert compare(bounced(), setup) == ([], 20)


@pytest.mark.parametrize(
    ("where", "name", "noticed"),
    [
        pytest.param(commissions, "claw_back", "account revshare_expense is", id="commission"),
        pytest.param(reversals, "save_standing", "is PARTLY_PAID with", id="standing"),
    ],
)
def test_the_control_a_reversal_that_forgets(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, noticed: str
) -> None:
    """The commission stays with the partner; the invoice stays as it was paid."""

    def forget(*_arguments: Any, **_named: Any) -> None:
        return None

    monkeypatch.setattr(where, name, forget)
    monkeypatch.setattr(portfolios, "judged_at_the_commit", forget)
    faults, _ = compare(bounced(), setup)
    assert any(noticed in words for words in faults), faults
