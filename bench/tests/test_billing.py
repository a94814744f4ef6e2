"""The billing benchmark: its portfolio is due, run and loop bill alike, its report is whole."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench import billing, billrun, portfolio, rowbyrow
from quantleap.core import clock
from subscriptions.billing.invoicing import runs
from subscriptions.billing.models import BillingSegment, Invoice
from subscriptions.billing.tests import tax_oracle

pytestmark = pytest.mark.django_db

DUE = 40


@pytest.fixture
def today() -> dt.date:
    return clock.ist_date(clock.now())


@pytest.fixture
def dataset() -> portfolio.Dataset:
    return portfolio.open_books()


def test_the_portfolio_has_what_a_run_meets(dataset: portfolio.Dataset, today: dt.date) -> None:
    portfolio.load(dataset, DUE, as_of=today, prefix="x")
    assert BillingSegment.objects.filter(next_on__lte=today).count() == DUE
    measured = billrun.measure(today)
    assert measured["invoices"] == portfolio.expected_invoices(DUE) == Invoice.objects.count()
    assert measured["needs_review"] == DUE // portfolio.MISSED_EACH
    assert {invoice.igst > 0 for invoice in Invoice.objects.all()} == {True, False}
    assert {invoice.partner_id is None for invoice in Invoice.objects.all()} == {True, False}
    assert runs.run(today, now=clock.now()).withheld == 0
    assert (measured["chunks"], billrun.measure(today)["invoices"]) == (1, 0)
    assert measured["peak_mb"] > 10


def test_run_and_loop_bill_alike(dataset: portfolio.Dataset, today: dt.date) -> None:
    assert billing.compare(dataset, DUE, today) == 0
    assert billing.check_ledger()["findings"] == []


def test_a_loop_that_taxes_otherwise_is_seen(
    dataset: portfolio.Dataset, today: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tax_oracle, "rate_on", lambda *_: Decimal("12.00"))
    assert billing.compare(dataset, DUE, today) == DUE


def test_a_loop_that_tells_nobody_is_seen(
    dataset: portfolio.Dataset, today: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowbyrow, "_emit", lambda *_: None)
    assert billing.compare(dataset, DUE, today) == DUE


def test_the_report_has_its_fields(dataset: portfolio.Dataset, today: dt.date) -> None:
    measured: dict[str, Any] = {"as_of": str(today), "different": 0}
    for name in ("small", "large"):
        portfolio.load(dataset, DUE, as_of=today, prefix=name)
        measured[name] = billrun.measure(today) | {
            "due": DUE,
            "expected": portfolio.expected_invoices(DUE),
        }
    measured["idle"] = [billrun.measure(today)]
    measured["rounds"] = [billing.play_round(dataset, number, DUE, today) for number in range(2)]
    measured["two_workers"] = measured["large"]
    measured["proof"] = billing.check_ledger()
    result = json.loads(json.dumps(billing.result_json(measured, billing.judge(measured))))
    assert {"machine", "median_ratio", "idle_seconds", "targets", "rounds", "large"} <= set(result)
    assert {target["name"]: target["holds"] for target in result["targets"]}.items() >= {
        ("invoices missing or too many", True),
        ("billed differently by run and loop", True),
        ("findings of the ledger's proof", True),
    }
    assert str(DUE) in billing.table(measured)


_PEAK = "from bench.billrun import _memory_mb; {}; print(_memory_mb('self', 'VmHWM'))"


def peak_mb(statement: str) -> float:
    command = [sys.executable, "-c", _PEAK.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_memory_is_that_of_the_process_itself() -> None:
    lean = peak_mb("pass")
    assert 50 < peak_mb("x = bytearray(b'x') * 64_000_000; del x") - lean < 80
    ballast = bytearray(b"x") * 300_000_000  # of the process that starts it
    assert abs(peak_mb("pass") - lean) < 5
    assert len(ballast) == 300_000_000


def test_without_proc_a_run_is_measured_all_the_same(
    dataset: portfolio.Dataset, today: dt.date, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(billrun, "PROC", tmp_path / "none")
    portfolio.load(dataset, 3, as_of=today, prefix="x")
    measured = billrun.measure(today)
    assert measured["invoices"] == portfolio.expected_invoices(3)
    assert measured["peak_mb"] > 0
    assert math.isnan(measured["backend_cpu_s"])
    assert math.isnan(measured["backend_private_mb"])


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ({"large": {"seconds": 30.1}}, "100,000 due subscriptions"),
        ({"large": {"peak_mb": 111.0}}, "memory, 100,000 above 10,000"),
        ({"large": {"invoices": 109_999}}, "invoices missing or too many"),
        ({"different": 1}, "billed differently by run and loop"),
        ({"proof": {"findings": ["x"]}}, "findings of the ledger's proof"),
        ({"idle": [{"seconds": 0.2, "invoices": 0}]}, "nothing due"),
        ({"rounds": [{"ratio": 9.9}]}, "the run / a row-by-row loop"),
    ],
)
def test_each_promise_can_be_broken(broken: dict[str, Any], promise: str) -> None:
    run = {"due": 100_000, "expected": 110_000, "invoices": 110_000, "seconds": 29.0}
    measured: dict[str, Any] = {
        "small": {"due": 10_000, "expected": 11_000, "invoices": 11_000, "peak_mb": 100.0},
        "large": run | {"peak_mb": 105.0},
        "two_workers": run,
        "idle": [{"seconds": 0.05, "invoices": 0}],
        "rounds": [{"ratio": 10.0}],
        "different": 0,
        "proof": {"findings": []},
    }
    assert all(target.holds for target in billing.judge(measured))
    for name, value in broken.items():
        measured[name] = measured[name] | value if isinstance(value, dict) else value
    assert [target.name for target in billing.judge(measured) if not target.holds] == [promise]
