"""A trading day as the console's pages show it: its rows, its addresses, who looks."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from brokers.tests.factories import make_contract
from execution.models import Alarm, Execution, ExecutorNode, KillSwitch, OrderIntent, Run
from execution.tests.factories import make_accounts, subscribe_accounts
from execution.tests.rows import decide, enter, leave, make_alarm, make_execution, make_run
from marketplace.models import Contract, Template
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.models import StaffUser
from subscriptions.models import Subscription


class Day:
    """One run of a straddle with as many subscribers as asked for."""

    def __init__(self) -> None:
        self.template: Template = make_short_straddle(name="NIFTY straddle")
        self.contracts: list[Contract] = [
            make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")
        ]
        self.run: Run = make_run(self.template, clock.ist_date(clock.now()))
        decide(self.run, self.contracts)
        self.count = 0

    def subscribers(self, count: int) -> list[Subscription]:
        self.count += count
        return subscribe_accounts(self.template, make_accounts(count, prefix=f"D{self.count}"))

    def fill(self, count: int) -> None:
        """``count`` executions of every kind, with orders."""
        for number, subscription in enumerate(self.subscribers(count * 5)):
            self._one(number % 5, subscription)

    def _one(self, kind: int, subscription: Subscription) -> None:
        if kind == 0:
            execution = make_execution(self.run, subscription, "OPEN")
            enter(execution, self.contracts, late_ms=4)
        elif kind == 1:
            execution = make_execution(
                self.run, subscription, "CLOSED", realised_pnl=Decimal("1300.00")
            )
            for entry in enter(execution, self.contracts, late_ms=16):
                leave(execution, entry)
        elif kind == 2:
            execution = make_execution(self.run, subscription, "FAILED", cause="MARGIN")
            enter(execution, self.contracts, "REJECTED", cause="MARGIN", message="RMS: no margin")
        elif kind == 3:
            execution = make_execution(self.run, subscription, "OPEN")
            make_alarm(execution)
            enter(execution, self.contracts, "ESCALATED", cause="UNRESOLVED")
        else:
            execution = make_execution(self.run, subscription, "COMMITTED")
            enter(execution, self.contracts, "UNKNOWN")


def login(*permissions: str, superuser: bool = False) -> Client:
    """A client of a staff user with just these permissions."""
    number = StaffUser.objects.count()
    user = StaffUser.objects.create_user(
        f"staff{number}", password="secret-pass", is_staff=True, is_superuser=superuser
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def list_of(model: Any) -> str:
    return reverse(f"admin:execution_{model._meta.model_name}_changelist")


def list_at(model: Any, day: Day) -> str:
    return list_of(model)


LISTS = (Run, Execution, Alarm, OrderIntent, KillSwitch, ExecutorNode)
ATTENTION = "admin:execution_execution_attention"
Address = Callable[[Day], str]
PAGES: dict[str, Address] = {
    **{f"list of {m._meta.model_name}": functools.partial(list_at, m) for m in LISTS},
    "attention": lambda day: reverse(ATTENTION),
    "run": lambda day: page_of(day.run),
    "execution": lambda day: page_of(Execution.objects.order_by("pk")[1]),
    "order": lambda day: page_of(OrderIntent.objects.order_by("pk")[0]),
    "engage": lambda day: reverse("admin:execution_killswitch_add"),
}


def get(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def missed_by_all(day: Day, now: dt.datetime) -> None:
    """As it was seen on a fresh installation: nobody entered, and the run is still "Armed"."""
    for subscription in day.subscribers(3):
        make_execution(day.run, subscription, "MISSED", cause="NO_QUOTE")
    entry_at = now - dt.timedelta(seconds=5)
    Run.objects.filter(pk=day.run.pk).update(
        status="ARMED",
        entry_at=entry_at,
        grace_until=entry_at + dt.timedelta(seconds=30),
        exit_at=now + dt.timedelta(hours=4),
    )
