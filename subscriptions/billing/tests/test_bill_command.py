"""``manage.py bill``, the seed, and the tasks of the morning."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from subscriptions.billing import tasks
from subscriptions.billing.models import Invoice, LedgerTransaction, Supplier, TaxRate
from subscriptions.billing.tests.factories import AWAY, bill, follow, load_billing

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, out: io.StringIO | None = None) -> tuple[str, str]:
    out, err = out or io.StringIO(), io.StringIO()
    call_command("bill", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_bills_draws_and_names_what_was_withheld() -> None:
    load_billing()
    load_reference_data()
    template, partner = make_template(), make_partner()
    today = clock.ist_date(clock.now())
    follow(template, partner, [today] * 3)
    (lost,) = follow(template, partner, [today], state="")
    out, err = run("--chunk", "2", out=Terminal())
    assert f"as of {today}: 3 invoices, 0 to review" in out
    assert out.count("\r[") == 2
    assert "WITHHELD: 1 due subscription of customers" in err
    assert f"{lost.public_id} {lost.customer.email} due since {today}" in err
    out, _ = run("--as-of", str(today))
    assert out == f"as of {today}: No invoices, 0 to review\n"


def test_tomorrow_and_an_empty_installation_are_refused_in_words() -> None:
    tomorrow = clock.ist_date(clock.now()) + dt.timedelta(days=1)
    with pytest.raises(CommandError, match="has not come yet"):
        run("--as-of", str(tomorrow))
    with pytest.raises(CommandError, match="no supplier"):
        run()


def test_the_seed_makes_what_is_missing_and_keeps_what_is_there() -> None:
    call_command("seed_billing", stdout=io.StringIO())
    Supplier.objects.update(legal_name="Ours")
    call_command("seed_billing", stdout=io.StringIO())
    assert Supplier.objects.get().legal_name == "Ours"
    assert TaxRate.objects.count() == 1


def test_the_tasks_of_a_morning() -> None:
    load_billing()
    load_reference_data()
    today = clock.ist_date(clock.now())
    yesterday = today - dt.timedelta(days=1)
    follow(make_template(), make_partner(), [yesterday], state=AWAY)
    assert tasks.run_daily() == 1
    assert tasks.run_daily() == 0
    assert Decimal(tasks.recognise_daily()) > 0
    assert tasks.recognise_daily() == "0.00"
    assert tasks.check_ledger_daily() is True
    assert LedgerTransaction.objects.filter(kind="recognition").get().effective_on == yesterday
    assert Invoice.objects.get().issued_on == today
    assert bill(today).invoices == 0
