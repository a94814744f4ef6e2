"""Publishing, closing, withdrawing: one service each, also with concurrent calls."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from marketplace import ports, services
from marketplace.definition import Definition, DefinitionError, parse_definition
from marketplace.models import Leg, Price, Strategy, Template, TemplateStats, TemplateVersion
from marketplace.selectors import draft_definition, strategies_for_day
from marketplace.selectors.catalogue import offered
from marketplace.services import template_lifecycle
from marketplace.services.drafts import replace_draft
from marketplace.tests import factories as make
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.errors import DomainError, InvalidRequest, InvalidTransition, NotFound
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.ports import Port

NOW = make.TEST_NOW
AUTHOR = Actor("STAFF", "author")


class Subscribers:
    """Three live subscriptions, none of which would enter."""

    def __init__(self) -> None:
        self.cancelled: list[int] = []

    def count(self, template_id: int) -> int:
        return 3

    def partners(self, template_id: int) -> list[int]:
        return []

    def refused(
        self, template_id: int, definition: Definition, day: dt.date
    ) -> list[ports.RefusedSubscription]:
        words = ["0 lots", "0 lots", "3:1"]
        return [
            ports.RefusedSubscription(f"sub_{number}", f"/{number}/", "CAUSE", text)
            for number, text in enumerate(words)
        ]

    def follows(
        self,
        template_id: int,
        *,
        partner_id: int | None,
        environment: str,
        customer_id: int | None = None,
    ) -> bool:
        return False

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        assert transaction.get_connection().in_atomic_block
        self.cancelled.append(template_id)
        return 3


@pytest.fixture
def subscribers(monkeypatch: pytest.MonkeyPatch) -> Subscribers:
    view = Subscribers()
    port: Port[ports.SubscriberView] = Port("test", view)
    monkeypatch.setattr(template_lifecycle, "SUBSCRIBERS", port)
    return view


def publish(template: Template, note: str = "note") -> TemplateVersion:
    return services.publish(template_id=template.pk, actor=AUTHOR, note=note, now=NOW)


@pytest.mark.django_db
def test_a_version_is_what_the_draft_said() -> None:
    template = make.make_short_straddle(published=False)
    version = publish(template, "  first  ")
    template.refresh_from_db()
    assert parse_definition(version.definition) == draft_definition(template.pk)
    assert (version.number, version.change_note, version.published_by) == (1, "first", "author")
    assert (template.state, template.current_version_id) == ("LISTED", version.pk)
    event = OutboxEvent.objects.get(type="template.published")
    assert event.partner_id is None
    assert event.payload["template_id"] == template.public_id
    assert event.payload["version"] == 1
    entry = AuditEntry.objects.get(action="template.published")
    assert (entry.actor_id, entry.target_id) == ("author", template.public_id)


@pytest.mark.django_db
def test_a_draft_change_is_traded_only_after_publishing() -> None:
    template = make.make_iron_condor()
    Leg.objects.filter(strategy__template=template).update(lots=4)
    [(_, _, version_id, traded)] = strategies_for_day("live")
    assert {leg.lots for leg in traded.strategies[0].legs} == {1}
    second = publish(template)
    [(_, _, now_version, traded)] = strategies_for_day("live")
    assert (second.number, now_version) == (2, second.pk)
    assert now_version != version_id
    assert {leg.lots for leg in traded.strategies[0].legs} == {4}


@pytest.mark.django_db
def test_what_trades_today_is_one_query_and_one_environment(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    listed = make.make_iron_condor()
    closed = make.make_iron_condor()
    withdrawn = make.make_iron_condor()
    make.make_iron_condor(published=False)
    make.make_iron_condor(environment="test")
    services.close_to_new(template_id=closed.pk, actor=SYSTEM, now=NOW)
    services.withdraw(template_id=withdrawn.pk, actor=SYSTEM, now=NOW)
    with django_assert_num_queries(1):
        rows = strategies_for_day("live")
    assert [row[0] for row in rows] == [listed.pk, closed.pk]
    assert [row[1] for row in rows] == [listed.public_id, closed.public_id]


@pytest.mark.django_db
def test_nothing_changed_is_refused() -> None:
    template = make.make_iron_condor()
    with pytest.raises(InvalidRequest, match="Nothing changed since version 1"):
        publish(template)
    assert TemplateVersion.objects.count() == 1


@pytest.mark.django_db
def test_every_finding_is_told_at_once_by_name() -> None:
    make.load_test_contracts()
    template = make.make_template(
        published=False,
        strategy={"underlying": "BANKNIFTY", "name": "Spread"},
        legs=[make.leg_spec("BUY", "CE"), make.leg_spec(option_type="FUT", expiry="MONTHLY")],
        requires_disclosure=True,
    )
    Price.objects.all().delete()
    make.add_strategy(template, [], name="Empty")
    with pytest.raises(InvalidRequest) as refused:
        publish(template)
    assert refused.value.details == {
        "strategies.0.legs.0.expiry": "BANKNIFTY has no weekly expiry; choose MONTHLY.",
        "strategies.0.legs.1.option_type": "Futures legs cannot be traded yet; choose CE or PE.",
        "strategies.1.legs": "Add at least one leg.",
        "prices": "A paid template needs a price that is in force today (or make it free).",
        "disclosure": "Subscribers must accept a disclosure, but its text is empty.",
    }
    expected = "Spread, leg 1 (BUY CE ATM WEEKLY): BANKNIFTY has no weekly expiry"
    assert expected in refused.value.message
    template.refresh_from_db()
    assert template.state == "DRAFT"
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db
def test_without_a_contract_list_the_expiry_is_not_judged() -> None:
    make.make_template(strategy={"underlying": "BANKNIFTY"})


@pytest.mark.django_db
def test_a_broken_rule_is_a_finding_not_a_crash() -> None:
    template = make.make_template(published=False)
    Leg.objects.update(strike={"kind": "STRIKE_TYPE"})
    with pytest.raises(InvalidRequest, match="missing field"):
        publish(template)
    with pytest.raises(DefinitionError):
        draft_definition(template.pk)


@pytest.mark.django_db
def test_the_preview_says_what_publishing_would_do(subscribers: Subscribers) -> None:
    template = make.make_short_straddle()
    Leg.objects.filter(option_type="PE").update(stop=None)
    preview = services.preview(template_id=template.pk, now=NOW)
    assert preview.allowed
    assert (preview.number, preview.subscribers) == (2, 3)
    assert [(refusal.words, refusal.count, refusal.more) for refusal in preview.refusals] == [
        ("0 lots", 2, 0),
        ("3:1", 1, 0),
    ]
    [change] = preview.changes
    assert change.place == "Short straddle, leg 2 (SELL PE ATM WEEKLY)"
    assert (change.field, change.before, change.after) == (
        "Stop",
        "stop at entry premium + 25 %",
        "none",
    )
    with pytest.raises(NotFound):
        services.preview(template_id=0, now=NOW)


@pytest.mark.django_db
def test_the_arrows_of_a_templates_life(subscribers: Subscribers) -> None:
    template = make.make_iron_condor(published=False)
    for step in (services.close_to_new, services.reopen, services.withdraw):
        with pytest.raises(InvalidTransition) as refused:
            step(template_id=template.pk, actor=AUTHOR, now=NOW)
        assert refused.value.extra == {"status": "DRAFT"}
    publish(template)
    assert services.close_to_new(template_id=template.pk, actor=AUTHOR, now=NOW)
    assert not services.close_to_new(template_id=template.pk, actor=AUTHOR, now=NOW)
    Leg.objects.update(lots=2)
    assert publish(template).number == 2
    template.refresh_from_db()
    assert template.state == "CLOSED_TO_NEW"
    assert services.reopen(template_id=template.pk, actor=AUTHOR, now=NOW)
    withdrawal = services.withdraw(template_id=template.pk, actor=AUTHOR, now=NOW)
    assert (withdrawal.changed, withdrawal.cancelled) == (True, 3)
    again = services.withdraw(template_id=template.pk, actor=AUTHOR, now=NOW)
    assert (again.changed, again.cancelled) == (False, 0)
    assert subscribers.cancelled == [template.pk]
    with pytest.raises(InvalidTransition):
        publish(template)
    with pytest.raises(InvalidTransition):
        services.reopen(template_id=template.pk, actor=AUTHOR, now=NOW)
    types = list(OutboxEvent.objects.order_by("id").values_list("type", flat=True))
    assert types == ["template.published", "template.published", "template.withdrawn"]
    for step in (services.close_to_new, services.reopen, services.withdraw):
        with pytest.raises(NotFound):
            step(template_id=0, actor=AUTHOR, now=NOW)


@pytest.mark.django_db
def test_the_database_refuses_to_change_a_version() -> None:
    make.make_iron_condor()
    for statement in (
        "UPDATE marketplace_templateversion SET change_note = 'x'",
        "DELETE FROM marketplace_templateversion",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.django_db
def test_the_counter_follows() -> None:
    template = make.make_template()
    TemplateStats.objects.all().delete()
    for delta in (1, 1, -1):
        services.adjust_subscriber_count(template_id=template.pk, delta=delta)
    assert TemplateStats.objects.get(template=template).subscriber_count == 1


@pytest.mark.django_db
def test_a_draft_keeps_rows_by_key_and_says_what_changed() -> None:
    template = make.make_short_straddle()
    draft = draft_definition(template.pk)

    def save(definition: Definition) -> int:
        return replace_draft(template_id=template.pk, definition=definition, actor=AUTHOR, now=NOW)

    assert save(draft) == 0
    old_rows = set(Leg.objects.values_list("pk", flat=True))
    (strategy,) = draft.strategies
    swapped = make.strategy_spec(
        strategy.legs[::-1], **{f: getattr(strategy, f) for f in ("key", "name", "move_to_cost")}
    )
    assert save(Definition((swapped,))) == 1
    assert draft_definition(template.pk).strategies[0].legs == strategy.legs[::-1]
    assert set(Leg.objects.values_list("pk", flat=True)) == old_rows
    other = make.make_short_straddle()
    stolen = draft_definition(other.pk)
    for foreign in (stolen, Definition((make.strategy_spec(stolen.strategies[0].legs),))):
        with pytest.raises(InvalidRequest, match="reload the page"):
            save(foreign)
    with pytest.raises(InvalidRequest, match="DAX is not traded here"):
        save(make.definition_spec(make.strategy_spec(underlying="DAX", key="")))
    assert save(Definition(())) == 1
    assert not Strategy.objects.filter(template=template).exists()
    with pytest.raises(NotFound):
        replace_draft(template_id=0, definition=draft, actor=AUTHOR, now=NOW)


# -- two at once --------------------------------------------------------------------------------


class Pause:
    """Holds the first publisher just before it commits, until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.release = threading.Event()

    def wait(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.release.wait(20)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except (DatabaseError, DomainError) as error:  # handed to the test, which looks at it
            outcome.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def blocked_sessions() -> int:
    """Sessions of this database that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pause]:
    pause = Pause()
    record = template_lifecycle._record

    def slow_record(*args: Any, **kwargs: Any) -> None:
        record(*args, **kwargs)
        pause.wait()

    monkeypatch.setattr(template_lifecycle, "_record", slow_record)
    yield pause
    pause.release.set()


def two_publishers(template: Template, pause: Pause) -> list[Any]:
    """A publishes and stops before its commit; the draft changes; B publishes meanwhile."""
    first, first_outcome = in_thread(lambda: publish(template, "A"))
    assert pause.reached.wait(20)
    Leg.objects.update(lots=7)
    second, second_outcome = in_thread(lambda: publish(template, "B"))
    while second.is_alive() and not blocked_sessions():
        second.join(0.01)
    pause.release.set()
    for thread in (first, second):
        thread.join(20)
        assert not thread.is_alive()
    return [*first_outcome, *second_outcome]


@pytest.mark.django_db(transaction=True)
def test_two_publishers_at_once_make_two_consecutive_versions(paused: Pause) -> None:
    template = make.make_iron_condor(published=False)
    first, second = two_publishers(template, paused)
    assert (first.number, first.change_note) == (1, "A")
    assert (second.number, second.change_note) == (2, "B")
    template.refresh_from_db()
    assert template.current_version_id == second.pk
    assert OutboxEvent.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_without_the_row_lock_the_same_play_goes_wrong(
    paused: Pause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the test above can fail. Without the lock the unique constraint stops B."""
    template = make.make_iron_condor(published=False)
    unlocked = Template.objects.get_queryset().__class__
    monkeypatch.setattr(unlocked, "select_for_update", lambda self, **_: self)
    first, second = two_publishers(template, paused)
    assert first.number == 1
    assert isinstance(second, DatabaseError)


@pytest.mark.django_db(transaction=True)
def test_the_counter_loses_no_step() -> None:
    template = make.make_template()
    TemplateStats.objects.all().delete()
    started = threading.Barrier(8)

    def subscribe() -> None:
        started.wait(20)
        services.adjust_subscriber_count(template_id=template.pk, delta=1)

    threads = [in_thread(subscribe) for _ in range(8)]
    for thread, outcome in threads:
        thread.join(20)
        assert outcome == [None]
    assert TemplateStats.objects.get(template=template).subscriber_count == 8


@pytest.mark.django_db
def test_a_price_of_tier_pro_alone_is_not_enough() -> None:
    """Bug: the template was listed and offered to nobody."""
    template = make.make_template(published=False, fee=999)
    Price.objects.update(tier="PRO")
    with pytest.raises(InvalidRequest) as refused:
        publish(template)
    assert refused.value.details == {
        "prices": "A paid template needs a price that is in force today (or make it free). "
        "Its prices are for PRO, but every customer's tier is STANDARD."
    }
    template.refresh_from_db()
    assert template.state == Template.State.DRAFT
    # the control: with a price that somebody can have it is published and offered
    Price.objects.create(template=template, monthly_fee=999, effective_from=make.TEST_NOW.date())
    publish(template)
    templates = offered(partner_id=None, environment="live", day=make.TEST_NOW.date())
    assert [row.pk for row in templates] == [template.pk]
