"""What waits for a person: an execution's alarms and orders in one place, counted once."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from execution.attention import MOST_ORDERS, Matter, asked, matters, newest_of_each, unanswered
from execution.models import Alarm, Execution, OrderIntent
from execution.tests.consoleday import ATTENTION, Day, get
from execution.tests.rows import enter, make_alarm, make_execution
from quantleap.core import clock
from quantleap.core.console import page_of

pytestmark = pytest.mark.django_db


def execution_of(day: Day, state: str = "FILLED") -> Execution:
    (subscription,) = day.subscribers(1)
    execution = make_execution(day.run, subscription, "OPEN")
    enter(execution, day.contracts, state)
    return execution


def listed() -> list[Matter]:
    return matters(list(newest_of_each()))


def test_an_alarm_and_its_order_were_two_rows(day: Day, staff: Client) -> None:
    """Seen: an execution's alarm above, its orders at the end of the list, as if they were two
    things to do."""
    other = execution_of(day, "UNKNOWN")  # listed between them, by its orders
    execution = execution_of(day, "ESCALATED")
    named, beside = execution.intents.order_by("pk")
    make_alarm(execution, order_tag=named.tag, leg_key=named.leg_key)
    make_alarm(execution, "PAST_EXIT")
    make_alarm(other, "ENTRY_UNKNOWN")
    first, second = listed()
    assert (second.execution, first.execution) == (execution, other)
    assert [row.alarm.cause for row in second.alarms] == ["PAST_EXIT", "UNRESOLVED"]
    assert [row.order for row in second.alarms] == [None, named]
    assert second.orders == (beside,)
    for page in (get(staff, reverse(ATTENTION)), get(staff, page_of(day.run))):
        page = page[: page.find('id="scorecard"')]
        bodies = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
        (mine,) = (body for body in bodies if execution.public_id in body)
        assert page.count(execution.public_id) == 1, "one place for one execution"
        for tag in (named.tag, beside.tag):
            assert page.count(tag) == mine.count(tag) == 1
        settle = reverse("admin:execution_execution_settle", args=[execution.pk])
        assert settle in mine, "one thing to do for all of it"
        assert reverse("admin:execution_execution_settle", args=[other.pk]) not in page


def test_the_first_page_and_the_list_count_the_same_alarms(day: Day, staff: Client) -> None:
    first, second = execution_of(day), execution_of(day)
    for execution, causes in ((first, ("PAST_EXIT", "DUPLICATE")), (second, ("PAST_EXIT",))):
        for cause in causes:
            make_alarm(execution, cause)
    make_alarm(second, "EXIT_RESTING", cleared_at=clock.now(), cleared_by="it is filled")
    Alarm.objects.create(run=day.run, cause="NO_PRICE")
    Alarm.objects.create(account=first.account, cause="BOOK_UNREAD")
    assert [len(matter.alarms) for matter in listed()] == [1, 1, 1, 2]
    page = get(staff, reverse(ATTENTION))
    for text in (get(staff, reverse("admin:index")), page):
        assert "5 alarms are open" in text
    assert page.count("/settle/") == 5 + 1, "each alarm, and both of the first execution"
    assert page.count("qd-matter") - page.count("qd-matters") == 4
    narrowed = get(staff, reverse(ATTENTION), cause="PAST_EXIT")
    assert narrowed.count("/settle/") == 2
    assert "alarms are open" not in narrowed
    assert f"/execution/{first.pk}/settle" not in narrowed, "it would settle what is not shown"


def test_what_is_only_asked_is_no_work_for_a_person(day: Day, staff: Client) -> None:
    execution = execution_of(day, "UNKNOWN")
    assert list(unanswered()) == list(unanswered(day.run.pk)) == [execution]
    assert list(unanswered(day.run.pk + 1)) == []
    (matter,) = asked([execution])
    assert set(matter.orders) == set(execution.intents.all())
    page = get(staff, reverse(ATTENTION))
    assert "Not known yet" in page
    assert "Needs a person" not in page
    make_alarm(execution, "ENTRY_UNKNOWN")
    assert list(unanswered()) == []
    page = get(staff, reverse(ATTENTION))
    assert "Not known yet" not in page
    assert "An alarm is open" in page


def test_many_orders_of_one_execution_are_counted(day: Day, staff: Client) -> None:
    execution = execution_of(day, "UNKNOWN")
    enter(execution, day.contracts, "UNKNOWN", freeze=65, attempt_group=1)
    for number in range(2, 5):
        enter(execution, day.contracts, "UNKNOWN", attempt_group=number)
    total = OrderIntent.objects.filter(execution=execution).count()
    (matter,) = asked([execution])
    assert (len(matter.orders), matter.more_orders) == (MOST_ORDERS, total - MOST_ORDERS)
    assert f"{total - MOST_ORDERS} more orders like these" in get(staff, reverse(ATTENTION))


def test_the_open_ones_are_looked_up_before_what_they_are_about(day: Day) -> None:
    """Seen with 12,500 alarms and 50 open ones: all of them, with everything they are about, for
    one run's page, because the planner joined before it looked which were open."""
    make_alarm(execution_of(day))
    rows = newest_of_each(run_id=day.run.pk)
    assert len(rows) == 1
    assert str(rows.query).count("SELECT") == 1


def test_the_list_costs_the_same_however_much_is_open(day: Day) -> None:
    def read() -> int:
        with CaptureQueriesContext(connection) as queries:
            listed()
            asked(list(unanswered()))
        return len(queries)

    make_alarm(execution_of(day, "ESCALATED"))
    execution_of(day, "UNKNOWN")
    few = read()
    for _ in range(4):
        make_alarm(execution_of(day, "ESCALATED"))
        execution_of(day, "UNKNOWN")
    assert read() == few
    Alarm.objects.all().delete()
    OrderIntent.objects.all().delete()
    assert (listed(), asked(list(unanswered()))) == ([], [])
