"""An execution carried past its close stayed open, with its alarm, and no page could end it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from brokers.tests.factories import make_contract
from execution.carried_executions import end_carried, is_carried
from execution.models import Alarm, Execution, OrderIntent
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.rows import decide, enter, make_alarm, make_execution, make_run
from marketplace.tests.factories import load_reference_data, make_short_straddle
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.console import page_of
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser
from quantleap.core.tests.confirming import confirm

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 9, 16)
CLOSED = clock.at_ist(DAY, dt.time(15, 40))
NOTE = "squared off by the broker at 15:25"


@pytest.fixture
def carried() -> Execution:
    """Wednesday's, still leaving when the session closed: one leg filled, one order unknown."""
    load_reference_data(CLOSED)
    template = make_short_straddle()
    contracts = [make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")]
    run = make_run(template, DAY)
    decide(run, contracts)
    account = make_accounts(1, partner=make_partner())
    (subscription,) = subscribe_accounts(template, account)
    execution = make_execution(run, subscription, "EXITING", cause="SESSION_OVER")
    filled, unknown = enter(execution, contracts)
    OrderIntent.objects.filter(pk=unknown.pk).update(state="UNKNOWN", filled_quantity=0)
    assert filled.state == "FILLED"
    make_alarm(execution, "SESSION_OVER")
    return execution


def end(execution: Execution, now: dt.datetime = CLOSED, note: str = NOTE) -> None:
    end_carried(execution_id=execution.pk, note=note, actor=SYSTEM, now=now)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: dt.datetime) -> None:
    monkeypatch.setattr(clock, "_offset", now.timestamp() - clock.real_now().timestamp())


def content_of(answer: Any) -> str:
    """What a question's page holds, without the frame around it."""
    text = str(answer.content.decode())
    begins = text.index('id="content-main"')
    return text[begins : text.index("</form>", begins)]


def test_a_carried_execution_had_no_page_to_end_it(carried: Execution) -> None:
    end(carried)
    carried.refresh_from_db()
    assert (carried.status, carried.cause, carried.realised_pnl) == ("CLOSED", "SESSION_OVER", None)
    assert carried.closed_at == CLOSED
    states = set(OrderIntent.objects.values_list("state", "cause"))
    assert states == {("FILLED", ""), ("ESCALATED", "UNRESOLVED")}
    alarm = Alarm.objects.get()
    assert (alarm.settled_by, alarm.note) == (SYSTEM.id, NOTE)
    event = OutboxEvent.objects.get(type="execution.completed")
    assert (event.payload["status"], event.payload["cause"]) == ("CLOSED", "SESSION_OVER")
    assert "pnl" not in event.payload
    entry = AuditEntry.objects.get(action="execution.ended")
    assert (entry.target_id, entry.data["note"]) == (carried.public_id, NOTE)


def test_it_ends_once(carried: Execution) -> None:
    end(carried)
    with pytest.raises(InvalidTransition, match="This execution is over"):
        end(carried, note="again")
    assert AuditEntry.objects.filter(action="execution.ended").count() == 1
    with pytest.raises(NotFound):
        end_carried(execution_id=0, note=NOTE, actor=SYSTEM, now=CLOSED)


def test_before_the_close_an_exit_is_asked_for_instead(carried: Execution) -> None:
    early = CLOSED - dt.timedelta(seconds=1)
    assert (is_carried(carried, early), is_carried(carried, CLOSED)) == (False, True)
    with pytest.raises(InvalidTransition, match="ask for its exit instead"):
        end(carried, early)
    assert Execution.objects.get().status == "EXITING"
    assert not AuditEntry.objects.filter(action="execution.ended").exists()


def test_staff_end_it_in_the_console_with_a_note(
    carried: Execution, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, CLOSED + dt.timedelta(minutes=1))
    client.force_login(StaffUser.objects.create_superuser("asha", "asha@example.com", "secret"))
    page = reverse("admin:execution_execution_end", args=[carried.pk])
    assert "sends nothing" in client.get(page).content.decode()
    assert confirm(client, page).status_code == 400  # what the broker's book says is asked for
    assert Execution.objects.get().status == "EXITING"
    assert confirm(client, page, {"note": NOTE}).status_code == 302
    assert Execution.objects.get().status == "CLOSED"
    assert AuditEntry.objects.get(action="execution.ended").actor_id == "asha"


@pytest.mark.parametrize(
    ("status", "now", "said"),
    [
        ("OPEN", CLOSED - dt.timedelta(hours=1), "Its exit can be asked for instead."),
        ("CLOSED", CLOSED + dt.timedelta(hours=1), "it is over (Closed)"),
    ],
    ids=["before-the-close", "over"],
)
def test_end_it_was_offered_where_nothing_is_carried(
    carried: Execution,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    now: dt.datetime,
    said: str,
) -> None:
    """Bug: the page had a form and a button for what is refused anyway."""
    set_clock(monkeypatch, now)
    Execution.objects.update(status=status)
    client.force_login(StaffUser.objects.create_superuser("asha", "asha@example.com", "secret"))
    page = reverse("admin:execution_execution_end", args=[carried.pk])
    form = content_of(client.get(page))
    assert said in form
    for offered in ('name="note"', "<button", "End it"):
        assert offered not in form, offered
    assert page not in client.get(page_of(carried)).content.decode()
    assert confirm(client, page, {"note": NOTE}).status_code == 409, "refused all the same"
    assert Execution.objects.get().status == status
    assert not AuditEntry.objects.filter(action="execution.ended").exists()


def test_the_page_of_a_carried_execution_had_no_way_to_end_it(
    carried: Execution, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm says *End it*, and no page led there."""
    set_clock(monkeypatch, CLOSED + dt.timedelta(minutes=1))
    client.force_login(StaffUser.objects.create_superuser("asha", "asha@example.com", "secret"))
    page = reverse("admin:execution_execution_end", args=[carried.pk])
    assert page in client.get(page_of(carried)).content.decode()
    assert 'name="note"' in content_of(client.get(page))
    viewer = StaffUser.objects.create_user("ravi", password="secret", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_execution"))
    client.force_login(viewer)
    assert page not in client.get(page_of(carried)).content.decode()
