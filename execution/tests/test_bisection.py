"""One poisoned row among fifty, wherever it stands: the others are written, and it is named."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from decimal import Decimal

import pytest
from django.db import DataError, OperationalError
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BrokerInstrument, Side
from execution import lifecycle
from execution.engine.database.bisection import write_apart
from execution.engine.database.entry_writer import EntryPlan, commit_entries, miss_armed
from execution.engine.database.writer import Batch, write
from execution.models import Alarm, Execution, OrderIntent
from execution.state import LiveExecution, LiveIntent
from execution.steps import StatusChange
from execution.tests.armedruns import MANY
from execution.tests.leaserows import T
from execution.tests.writtenrows import OWNER
from marketplace.models import Contract

#: Above numeric(12, 4): what a broker's book said in the incident.
ABSURD = Decimal(100_000_000)
NUL = {"leg\0": 65}


# -- the helper by itself ------------------------------------------------------------------------
@given(
    count=st.integers(1, 200),
    poisoned=st.sets(st.integers(0, 199), max_size=4),
)
def test_all_but_the_culprits_are_written_once_in_order(count: int, poisoned: set[int]) -> None:
    tries: list[Sequence[int]] = []

    def attempt(part: Sequence[int]) -> list[int]:
        tries.append(part)
        if poisoned & set(part):
            raise DataError("numeric field overflow\nDETAIL: more")
        return list(part)

    apart = write_apart(range(count), attempt)
    written = [number for part in apart.results for number in part]
    bad = sorted(poisoned & set(range(count)))
    assert written == [number for number in range(count) if number not in poisoned]
    assert apart.culprits == [(number, "numeric field overflow") for number in bad]
    assert len(tries) <= 1 + 2 * len(bad) * count.bit_length()


def test_a_database_that_is_away_is_no_culprit() -> None:
    def attempt(part: Sequence[int]) -> None:
        raise OperationalError("server closed the connection")

    with pytest.raises(OperationalError):
        write_apart(range(8), attempt)


# -- with the database ---------------------------------------------------------------------------
@pytest.fixture
def tokens(many_tokens: dict[int, int]) -> dict[int, int]:
    """Every shard, leased to us."""
    return many_tokens


def planned(execution: LiveExecution, **fields: object) -> LiveIntent:
    """An entry order that is being sent."""
    contract = Contract.objects.order_by("pk")[0]
    code = f"B{execution.id:011d}"
    values: dict[str, object] = {
        "code": code,
        "tag": f"Q{code}1",
        "execution_id": execution.id,
        "account_id": execution.account_id,
        "shard": execution.shard,
        "leg_key": execution.run.strategy.legs[0].key,
        "leg_index": 0,
        "group": 0,
        "slice": 0,
        "purpose": lifecycle.ENTRY,
        "attempt_group": 0,
        "contract_id": contract.pk,
        "instrument": BrokerInstrument("NFO", "X", "1"),
        "side": Side.BUY,
        "quantity": 65,
        "price": Decimal(10),
        "reference_price": Decimal(10),
        "due_at": T,
        "planned_at": T,
        "state": lifecycle.SENDING,
        "sends": 1,
    }
    return LiveIntent(**{**values, **fields})  # type: ignore[arg-type]


def commit(
    executions: Sequence[LiveExecution], tokens: dict[int, int], poisoned: int | None = None
) -> frozenset[int]:
    """The commit before T; one plan has a slice that no smallint holds."""
    plans = [
        EntryPlan(execution, [planned(execution, slice=32_768 if number == poisoned else 0)])
        for number, execution in enumerate(executions)
    ]
    return commit_entries(plans, owner=OWNER, tokens=tokens, now=T)


def unwritable() -> list[int]:
    """Executions that need a person because of what could not be stored."""
    executions = Execution.objects.filter(needs_attention=True, cause="UNWRITABLE")
    return list(executions.values_list("id", flat=True))


def clear_attention() -> None:
    """As if nobody had ever needed attention."""
    Alarm.objects.all().delete()
    Execution.objects.update(cause="", message="")


@pytest.mark.parametrize("poisoned", [0, 1, 24, 25, 48, 49])
def test_slice_32768_of_one_subscriber_and_nobodys_run_commits(
    executions: list[LiveExecution], tokens: dict[int, int], poisoned: int
) -> None:
    culprit = executions[poisoned]
    committed = commit(executions, tokens, poisoned)
    others = {execution.id for execution in executions} - {culprit.id}
    assert committed == others
    assert set(OrderIntent.objects.values_list("execution_id", flat=True)) == others
    row = Execution.objects.get(pk=culprit.id)
    assert (row.status, row.cause, row.needs_attention) == ("FAILED", "UNWRITABLE", True)
    assert "smallint" in row.message


def test_one_price_of_1e8_and_nobodys_fills_are_written(
    executions: list[LiveExecution], tokens: dict[int, int]
) -> None:
    """Only the row with the absurd price is refused, wherever it stands in the batch."""
    commit(executions, tokens)
    for poisoned in range(MANY):
        clear_attention()
        price = Decimal(100 + poisoned)
        OrderIntent.objects.update(state="ACCEPTED", filled_quantity=0)
        fills = [
            planned(execution, state=lifecycle.FILLED, filled_quantity=65, average_price=price)
            for execution in executions
        ]
        fills[poisoned].average_price = ABSURD
        written = write(Batch(results=fills), owner=OWNER, tokens=tokens, now=T)
        filled = OrderIntent.objects.filter(state="FILLED", average_price=price)
        assert filled.count() == MANY - 1
        assert [(refused.what, refused.execution_id) for refused in written.refused] == [
            ("result", executions[poisoned].id)
        ]
        assert unwritable() == [executions[poisoned].id]


def test_one_poisoned_thing_of_each_kind_spares_the_batch(
    executions: list[LiveExecution], tokens: dict[int, int]
) -> None:
    """One exit order and one status are refused; all others of the batch are written."""
    commit(executions, tokens)
    for poisoned in range(0, MANY, 7):
        clear_attention()
        OrderIntent.objects.filter(purpose="EXIT").delete()
        Execution.objects.update(status="COMMITTED")
        copies = [copy.copy(execution) for execution in executions]
        exits = [
            planned(
                execution,
                code=f"E{execution.id:011d}",
                purpose=lifecycle.EXIT,
                price=ABSURD * 100 if number == (poisoned + 1) % MANY else Decimal(10),
            )
            for number, execution in enumerate(copies)
        ]
        batch = Batch(
            inserts=list(zip(copies, exits, strict=True)),
            statuses=[
                StatusChange(execution, "OPEN", closed_outside=NUL if number == poisoned else None)
                for number, execution in enumerate(copies)
            ],
        )
        written = write(batch, owner=OWNER, tokens=tokens, now=T)
        assert len(written.inserted) == len(written.statuses) == MANY - 1
        assert {(refused.what, refused.execution_id) for refused in written.refused} == {
            ("insert", copies[(poisoned + 1) % MANY].id),
            ("status", copies[poisoned].id),
        }
        assert Execution.objects.filter(status="OPEN").count() == MANY - 1
        assert set(unwritable()) == {copies[poisoned].id, copies[(poisoned + 1) % MANY].id}


def test_who_is_missed_is_written_without_the_one_that_cannot_be(
    executions: list[LiveExecution], tokens: dict[int, int]
) -> None:
    executions[17].customer_email = "asha\0@example.com"  # its webhook cannot be written
    missed = miss_armed(
        executions[0].run.id, executions, "GRACE_OVER", owner=OWNER, tokens=tokens, now=T
    )
    assert len(missed) == MANY - 1
    assert unwritable() == [executions[17].id]


def test_a_batch_in_order_is_one_transaction(
    executions: list[LiveExecution],
    tokens: dict[int, int],
    django_assert_num_queries: object,
) -> None:
    """The control: nothing is cut where nothing is refused (savepoint, lock, update, release)."""
    commit(executions, tokens)
    fills = [
        planned(execution, state=lifecycle.FILLED, filled_quantity=65) for execution in executions
    ]
    with django_assert_num_queries(4):  # type: ignore[operator]
        written = write(Batch(results=fills), owner=OWNER, tokens=tokens, now=T)
    assert written.refused == ()
