"""Two and three workers, interrupted runs, a pause in the middle: real transactions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from threading import Barrier, Event
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import Sum

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.tenancy import TenantQuerySet
from quantleap.core.tests.parallel import at_once
from subscriptions import services
from subscriptions.billing.invoicing import number_series, run_sql, runs, segments
from subscriptions.billing.ledger import posting
from subscriptions.billing.models import (
    BillingRun,
    BillingSegment,
    Invoice,
)
from subscriptions.billing.tests.exactbooks import (
    ANCHORS,
    LATE,
    expected,
    periods,
    the_books_are_exact,
)
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, noon

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template()


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def test_control_without_locks_and_constraints_bills_twice(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between stand the lock, the unique period and the unique posting; without them: doubles."""
    follow(template, partner, [START] * 6)
    meet = Barrier(2)
    issue = runs._issue

    def meet_then_issue(*arguments: Any) -> None:
        meet.wait(timeout=30)
        issue(*arguments)

    monkeypatch.setattr(runs, "_issue", meet_then_issue)
    monkeypatch.setattr(run_sql, "DUE", run_sql.DUE.replace("FOR NO KEY UPDATE SKIP LOCKED", ""))
    with _without_constraints(
        ("billing_invoice", "invoice_period_uniq"),
        ("billing_ledgertransaction", "ledger_idem_key_uniq"),
    ):
        at_once(2, lambda _: bill(START).invoices, errors=(DatabaseError,))
        assert set(periods().values()) == {2}
        _forget_everything()


def test_without_locks_the_database_refuses_the_second_run(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(template, partner, [START] * 6)
    meet = Barrier(2)
    issue = runs._issue

    def meet_then_issue(*arguments: Any) -> None:
        if not Invoice.objects.exists():
            meet.wait(timeout=30)
        issue(*arguments)

    monkeypatch.setattr(runs, "_issue", meet_then_issue)
    monkeypatch.setattr(run_sql, "DUE", run_sql.DUE.replace("FOR NO KEY UPDATE SKIP LOCKED", ""))
    outcomes = at_once(2, lambda _: bill(START).invoices, errors=(DatabaseError,))
    assert [str(outcome).count("invoice_period_uniq") for outcome in outcomes].count(1) == 1
    the_books_are_exact(6)


def _statements() -> list[str]:
    return [
        name
        for name, value in vars(run_sql).items()
        if isinstance(value, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|CREATE|DROP)", value)
    ]


@pytest.mark.parametrize("broken", [*_statements(), "take", "save"])
def test_a_run_that_breaks_anywhere_leaves_nothing_half_done(
    broken: str, template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its second chunk, at every statement; twice; then a run that goes through."""
    subscriptions = follow(template, partner, ANCHORS)
    for _ in range(2):
        with monkeypatch.context() as patch:
            _break(patch, broken)
            with pytest.raises((DatabaseError, _Broken)):
                bill(LATE, chunk=3)
        failed = BillingRun.objects.latest("id")
        assert failed.finished_at is not None
        assert failed.error
        assert Invoice.objects.count() == BillingSegment.objects.aggregate(n=Sum("next_no"))["n"]
    bill(LATE, chunk=3)
    the_books_are_exact(expected(subscriptions))


class _Broken(RuntimeError):
    """Stands for the end of a process."""


def _break(patch: pytest.MonkeyPatch, what: str) -> None:
    """Fail at a place of the second chunk of the next run."""
    calls = Counter[str]()

    def second_time(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            calls[what] += 1
            if calls[what] == 2:
                raise _Broken(what)
            return result

        return call

    if what == "take":
        patch.setattr(number_series, "take", second_time(number_series.take))
    elif what == "save":
        patch.setattr(BillingRun, "save", _once_in_a_transaction(second_time(BillingRun.save)))
    else:
        chunk = runs._chunk

        def broken_chunk(facts: dict[str, Any]) -> Any:
            calls["chunk"] += 1
            if calls["chunk"] == 2:
                patch.setattr(run_sql, what, getattr(run_sql, what) + "; SELECT 1 / 0")
            return chunk(facts)

        patch.setattr(runs, "_chunk", broken_chunk)


def _once_in_a_transaction(save: Callable[..., Any]) -> Callable[..., Any]:
    """The run's row is also written before and after: only the chunk's writing breaks."""
    original = BillingRun.save

    def call(*arguments: Any, **options: Any) -> Any:
        return (save if connection.in_atomic_block else original)(*arguments, **options)

    return call


def test_what_a_dead_worker_held_is_billed_by_the_living_one(
    template: Template, partner: Partner
) -> None:
    """Its rows were skipped while it lived; the run comes back to them before it ends."""
    subscriptions = follow(template, partner, [START] * 6)
    held, go_on = Event(), Event()

    def dies(_number: int) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            ids = list(BillingSegment.objects.order_by("id").values_list("id", flat=True)[:2])
            cursor.execute(
                "SELECT FROM billing_billingsegment WHERE id = ANY(%s) FOR UPDATE", [ids]
            )
            held.set()
            go_on.wait(timeout=30)
            transaction.set_rollback(True)

    def release(invoices: int) -> None:
        assert invoices in (2, 4)
        go_on.set()
        worker.result(timeout=30)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(_closing, dies, 0)
        assert held.wait(timeout=30)
        assert bill(START, progress=release).invoices == 6
    the_books_are_exact(len(subscriptions))


def _closing(call: Callable[[int], Any], number: int) -> Any:
    try:
        return call(number)
    finally:
        connection.close()


@pytest.mark.parametrize("what", ["pause", "cancel"])
def test_a_pause_during_a_run_waits_and_both_go_through(
    what: str, template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = _pause_meets_run(what, template, partner, monkeypatch)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    the_books_are_exact(3)
    assert BillingSegment.objects.filter(stop_on__isnull=False).count() == 1


def test_control_a_stronger_lock_deadlocks_pause_and_run(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FOR UPDATE instead of FOR NO KEY UPDATE on the subscription: PostgreSQL ends one of them."""
    original = TenantQuerySet.select_for_update

    def stronger(self: Any, *args: Any, **options: Any) -> Any:
        return original(self, *args, **{**options, "no_key": False})

    monkeypatch.setattr(TenantQuerySet, "select_for_update", stronger)
    outcomes = _pause_meets_run("pause", template, partner, monkeypatch)
    errors = [outcome for outcome in outcomes if isinstance(outcome, OperationalError)]
    assert len(errors) == 1
    assert "deadlock" in str(errors[0])


def _pause_meets_run(
    what: str, template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """The run holds the segment, the pause holds the subscription; then both go on."""
    (first, *_) = follow(template, partner, [START] * 3)
    meet = Barrier(2)
    issue, stop = runs._issue, segments.stop

    def meet_then_issue(*arguments: Any) -> None:
        meet.wait(timeout=30)
        issue(*arguments)

    def meet_then_stop(*arguments: Any, **options: Any) -> int:
        meet.wait(timeout=30)
        return stop(*arguments, **options)

    monkeypatch.setattr(runs, "_issue", meet_then_issue)
    monkeypatch.setattr(segments, "stop", meet_then_stop)

    def call(number: int) -> Any:
        if number:
            return bill(START)
        return getattr(services, what)(
            subscription_id=first.pk, actor=SYSTEM, reason="USER", now=noon(START)
        )

    return at_once(2, call, errors=(DatabaseError,))


def test_postings_of_several_transactions_do_not_deadlock() -> None:
    """Each posts twice, over the same accounts in opposite order."""
    codes = ["bank", "suspense", "revenue", "round_off"]
    with transaction.atomic():
        posting.account_ids(codes)

    def call(number: int) -> None:
        for turn in range(10):
            with transaction.atomic():
                for pair in (codes[:2], codes[2:])[:: 1 if number % 2 else -1]:
                    posting.post(
                        idem_key=f"{number}:{turn}:{pair[0]}",
                        kind="test",
                        effective_on=START,
                        postings=[
                            posting.debit(pair[0], Decimal(1)),
                            posting.credit(pair[1], Decimal(1)),
                        ],
                        now=noon(START),
                    )

    assert at_once(3, call, errors=(DatabaseError,)) == [None] * 3
    assert [posting.balance(code) for code in codes] == [30, -30, 30, -30]


def test_one_key_posted_at_once_is_posted_once() -> None:
    def call(_number: int) -> bool:
        with transaction.atomic():
            return posting.post(
                idem_key="one",
                kind="test",
                effective_on=START,
                postings=[
                    posting.debit("bank", Decimal(1)),
                    posting.credit("suspense", Decimal(1)),
                ],
                now=noon(START),
            ).created

    assert at_once(4, call, errors=(DatabaseError,)).count(True) == 1
    assert posting.balance("bank") == 1


@contextmanager
def _owner() -> Iterator[psycopg.Connection]:
    role, target = settings.QUANTLEAP_OWNER_DATABASE, connection.settings_dict
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
        autocommit=True,
    ) as session:
        yield session


@contextmanager
def _without_constraints(*named: tuple[str, str]) -> Iterator[None]:
    """Drop unique constraints as the owner, and put them back."""
    with _owner() as session:
        definitions = []
        for table, name in named:
            row = session.execute("SELECT pg_get_indexdef(%s::regclass)", [name]).fetchone()
            assert row is not None
            definitions.append(row[0])
            session.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
        try:
            yield
        finally:
            for (table, name), definition in zip(named, definitions, strict=True):
                session.execute(definition.encode())
                session.execute(
                    f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}".encode()
                )


def _forget_everything() -> None:
    with _owner() as session:
        session.execute("TRUNCATE billing_invoice, billing_ledgertransaction CASCADE")
