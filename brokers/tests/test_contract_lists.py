"""Contract lists of the day: fetched before the open, retried, requested, red if missing."""

from __future__ import annotations

import datetime as dt
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
import time_machine
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from brokers.contract_lists import list_states, progress_of, wanted_lists
from brokers.models import BrokerInstrument, ContractListImport
from brokers.ports import QUOTES_RESERVED
from brokers.services.contract_lists import import_due, request_imports, run_import
from brokers.services.instruments import import_instruments
from brokers.simulator.contracts import generate
from brokers.tasks import import_contract_lists
from marketplace.models import CalendarYear, Contract, Template
from marketplace.services import publish
from marketplace.tests import factories as make
from quantleap.core import clock
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.errors import InvalidRequest
from quantleap.core.models import ActorKind, AuditEntry, StaffUser

pytestmark = pytest.mark.django_db

KITE = "http://127.0.0.1:18201"
NOREN = "http://127.0.0.1:18202"
KITE_LIST, NOREN_LIST = f"{KITE}/instruments/NFO", f"{NOREN}/NFO_symbols.txt.zip"
PAGE = "/admin/brokers/contractlistimport/"
State = ContractListImport.State


def ist(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+05:30")


@pytest.fixture(autouse=True)
def _simulated(settings: Any) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": KITE_LIST},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": NOREN_LIST},
    }
    make.load_reference_data()


class Brokers:
    """Both brokers' download addresses; ``listed`` is the day whose list they have."""

    def __init__(self, mocked: responses.RequestsMock) -> None:
        self.mocked = mocked
        self.publish(dt.date(2026, 8, 4))

    def publish(self, day: dt.date) -> None:
        """Put the lists of ``day`` there."""
        listed = generate(day)
        self.mocked.upsert("GET", KITE_LIST, body=listed.kite_csv())
        self.mocked.upsert("GET", NOREN_LIST, body=listed.noren_zip())

    def fail(self, url: str = KITE_LIST) -> None:
        """Answer as Kite does before it has written the file."""
        self.mocked.upsert("GET", url, body="Bad Gateway", status=502)

    @property
    def calls(self) -> int:
        """How many downloads there were."""
        return len(self.mocked.calls)


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        yield Brokers(mocked)


def beat(now: str) -> int:
    """One wake-up at an Indian wall clock's time; how many imports it ran."""
    with time_machine.travel(ist(now), tick=False):
        return int(import_contract_lists())


def newest() -> dict[str, str]:
    return {state.name: str(state.newest) for state in list_states()}


def test_both_lists_come_before_the_open_once_a_day(brokers: Brokers) -> None:
    assert beat("2026-08-04 08:29:59") == 0
    assert beat("2026-08-04 08:30:00") == 2
    assert newest() == {"Zebu NFO": "2026-08-04", "Zerodha NFO": "2026-08-04"}
    assert beat("2026-08-04 08:30:10") == 0
    assert beat("2026-08-04 14:00:00") == 0
    assert brokers.calls == 2
    row = ContractListImport.objects.filter(broker="zebu").get()
    assert (row.state, row.source, row.asked_by) == (State.DONE, NOREN_LIST, "system")
    assert "contracts:" in row.report


def test_the_second_day_of_the_same_process_has_its_own_list(brokers: Brokers) -> None:
    beat("2026-08-04 08:30:00")
    brokers.publish(dt.date(2026, 8, 5))
    assert beat("2026-08-05 00:00:10") == 0
    assert beat("2026-08-05 08:30:07") == 2
    assert newest() == {"Zebu NFO": "2026-08-05", "Zerodha NFO": "2026-08-05"}
    expired = BrokerInstrument.objects.filter(contract__expiry="2026-08-04")
    assert set(expired.values_list("last_seen", flat=True)) == {dt.date(2026, 8, 4)}


@pytest.mark.parametrize(
    ("wall", "why"),
    [
        ("2026-08-08 09:00", "a Saturday"),
        ("2026-11-24 09:00", "a holiday"),
        ("2027-01-04 09:00", "a year that is not loaded"),
        ("2026-08-04 15:40", "after the close"),
        ("2026-11-08 19:15", "after the Muhurat session"),
    ],
)
def test_nothing_is_fetched_without_a_session_ahead(brokers: Brokers, wall: str, why: str) -> None:
    assert beat(wall) == 0, why
    assert brokers.calls == 0


@pytest.mark.parametrize(
    "wall",
    [
        "2026-02-01 08:30",  # the Budget's Sunday
        "2026-11-08 08:30",  # Muhurat on a Sunday evening
        "2026-08-31 08:30",  # a month's last day
        "2026-11-23 08:30",  # the day to which an expiry moved
        "2026-01-01 08:30",  # New Year, loaded
    ],
)
def test_every_day_with_a_session_has_its_list(brokers: Brokers, wall: str) -> None:
    brokers.publish(ist(wall).date())
    assert beat(wall) == 2


def test_the_year_2028_once_it_is_loaded(brokers: Brokers) -> None:
    assert beat("2028-02-29 09:00") == 0
    CalendarYear.objects.create(year=2028, source="a list")
    brokers.publish(dt.date(2028, 2, 29))
    assert beat("2028-02-29 09:00") == 2


def test_a_failed_download_is_retried(
    brokers: Brokers,
) -> None:
    """Every two minutes until the open, then every ten."""
    brokers.fail()
    assert beat("2026-08-04 08:30:00") == 2
    assert newest() == {"Zebu NFO": "2026-08-04", "Zerodha NFO": "None"}
    failed = ContractListImport.objects.filter(broker="zerodha").get()
    assert (failed.state, failed.problem) == (State.FAILED, "127.0.0.1:18201 answered HTTP 502")
    assert beat("2026-08-04 08:31:50") == 0
    assert beat("2026-08-04 08:32:00") == 1
    assert beat("2026-08-04 09:14:59") == 1
    assert beat("2026-08-04 09:20:00") == 0
    assert beat("2026-08-04 09:24:59") == 1
    brokers.publish(dt.date(2026, 8, 4))
    assert beat("2026-08-04 09:35:00") == 1
    assert newest()["Zerodha NFO"] == "2026-08-04"
    assert beat("2026-08-04 10:00:00") == 0


def test_nothing_begins_while_an_entry_is_near(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = ist("2026-08-04 09:20:00")
    monkeypatch.setattr(QUOTES_RESERVED, "_implementation", lambda now: now == near)
    assert beat("2026-08-04 09:20:00") == 0
    assert beat("2026-08-04 09:20:10") == 2


def test_a_shrunken_list_is_refused_unless_accepted(brokers: Brokers) -> None:
    """The page says why, and offers to accept it."""
    beat("2026-08-04 08:30:00")
    text = generate(dt.date(2026, 8, 5)).kite_csv().splitlines(keepends=True)
    brokers.mocked.upsert("GET", KITE_LIST, body="".join(text[:50]))
    beat("2026-08-05 08:30:00")
    row = ContractListImport.objects.filter(broker="zerodha", state=State.FAILED).get()
    assert "the last list had" in row.problem
    now = ist("2026-08-05 08:31")
    asked = request_imports(lists=[("zerodha", "NFO")], actor=SYSTEM, now=now, force=True)
    with time_machine.travel(now, tick=False):
        import_due(now=now)
    asked[0].refresh_from_db()
    assert asked[0].state == State.DONE


def test_a_killed_worker_does_not_keep_its_list(brokers: Brokers) -> None:
    now = ist("2026-08-04 08:30")
    (row,) = request_imports(lists=[("zerodha", "NFO")], actor=SYSTEM, now=now)
    ContractListImport.objects.filter(pk=row.pk).update(state=State.RUNNING, started_at=now)
    assert beat("2026-08-04 08:39:00") == 1  # Zebu's
    beat("2026-08-04 08:41:00")
    row.refresh_from_db()
    assert (row.state, row.problem) == (State.FAILED, "The worker was lost while it imported")
    assert beat("2026-08-04 08:43:00") == 1
    assert newest()["Zerodha NFO"] == "2026-08-04"


def test_a_crash_is_a_failed_import(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not look like one that is still running."""

    def broken(**kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("brokers.services.contract_lists.import_instruments", broken)
    with pytest.raises(ZeroDivisionError):
        beat("2026-08-04 08:30:00")
    row = ContractListImport.objects.filter(state=State.FAILED).get()
    assert row.problem == "It was interrupted; the worker's log says why"


def test_one_list_is_open_only_once() -> None:
    now = ist("2026-08-04 08:30")
    assert len(request_imports(lists=wanted_lists(), actor=SYSTEM, now=now)) == 2
    assert request_imports(lists=wanted_lists(), actor=SYSTEM, now=now) == []
    with pytest.raises(IntegrityError), transaction.atomic():
        ContractListImport.objects.create(
            broker="zebu", exchange="NFO", trade_date=now.date(), asked_by="x"
        )
    with pytest.raises(InvalidRequest):
        request_imports(lists=[("zebu", "MCX")], actor=SYSTEM, now=now)
    with pytest.raises(InvalidRequest):
        request_imports(lists=[], actor=SYSTEM, now=now)


@pytest.mark.django_db(transaction=True)
def test_two_workers_run_one_import_once(brokers: Brokers) -> None:
    brokers.publish(clock.ist_date(clock.now()))
    now = clock.now()
    (row,) = request_imports(lists=[("zerodha", "NFO")], actor=SYSTEM, now=now)
    start, ran = threading.Barrier(2), []

    def work() -> None:
        try:
            start.wait()
            ran.append(run_import(row.pk, now=now))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == [False, True]
    assert brokers.calls == 1


def test_other_exchanges_are_fetched_once_they_were_imported() -> None:
    assert wanted_lists() == [("zebu", "NFO"), ("zerodha", "NFO")]
    now = ist("2026-08-04 08:00")
    ContractListImport.objects.create(
        broker="zebu", exchange="BFO", trade_date=now.date(), asked_by="x", state=State.DONE
    )
    assert wanted_lists() == [("zebu", "BFO"), ("zebu", "NFO"), ("zerodha", "NFO")]


def test_publishing_makes_the_exchanges_list_wanted(staff: Client, brokers: Brokers) -> None:
    """Bug: nobody fetched BFO on a new installation, and nothing said so."""
    beat("2026-08-04 08:30:00")
    assert tile(staff, "2026-08-04 08:31").startswith("ql-good")
    draft = make.make_template(published=False, strategy={"underlying": "SENSEX"})
    assert ("zebu", "BFO") not in wanted_lists()
    publish(template_id=draft.pk, actor=SYSTEM, note="first version", now=make.TEST_NOW)
    both = [(broker, exchange) for broker in ("zebu", "zerodha") for exchange in ("BFO", "NFO")]
    assert wanted_lists() == both
    red = tile(staff, "2026-08-04 08:31")
    assert red.startswith("ql-bad")
    assert "Zebu BFO: never imported" in red
    for broker in ("zebu", "zerodha"):
        ContractListImport.objects.create(
            broker=broker, exchange="BFO", trade_date="2026-08-04", asked_by="x", state=State.DONE
        )
    assert tile(staff, "2026-08-04 08:31").startswith("ql-good")
    ContractListImport.objects.filter(exchange="BFO").delete()
    Template.objects.update(state=Template.State.WITHDRAWN)
    assert wanted_lists() == [("zebu", "NFO"), ("zerodha", "NFO")]


def test_every_exchange_of_the_brokers_can_be_imported_by_hand(staff: Client) -> None:
    form = staff.get(f"{PAGE}add/").context["form"]
    names = [name for _, name in form.fields["lists"].choices]
    assert names == ["Zebu BFO", "Zebu NFO", "Zerodha BFO", "Zerodha NFO"]
    assert form.fields["lists"].initial == ["zebu NFO", "zerodha NFO"]
    assert staff.post(f"{PAGE}add/", {"lists": ["zebu BFO"]}).status_code == 302
    assert ContractListImport.objects.values_list("broker", "exchange").get() == ("zebu", "BFO")


def test_a_broker_that_is_not_spoken_to_has_no_list(settings: Any, brokers: Brokers) -> None:
    settings.QUANTLEAP_BROKERS = {
        **settings.QUANTLEAP_BROKERS,
        "zerodha": {"api": "https://api.kite.trade", "login": "", "instruments": ""},
    }
    assert wanted_lists() == [("zebu", "NFO")]
    assert beat("2026-08-04 08:30:00") == 1


def test_a_list_without_the_requested_exchange_is_refused(brokers: Brokers) -> None:
    now = ist("2026-08-04 08:00")
    ContractListImport.objects.create(
        broker="zerodha", exchange="BFO", trade_date=now.date(), asked_by="x", state=State.DONE
    )
    brokers.mocked.add("GET", f"{KITE}/instruments/BFO", body=generate(now.date()).kite_csv())
    (row,) = request_imports(lists=[("zerodha", "BFO")], actor=SYSTEM, now=now)
    run_import(row.pk, now=now)
    row.refresh_from_db()
    assert (row.state, row.problem) == (State.FAILED, "The file holds nothing of BFO")
    assert not Contract.objects.exists()


# -- by hand ------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(StaffUser.objects.create_superuser("asha", "asha@example.com", "secret"))
    return client


def test_import_now_is_a_page_a_row_and_a_worker(staff: Client, brokers: Brokers) -> None:
    brokers.publish(clock.ist_date(clock.now()))
    asked = staff.get(f"{PAGE}import-now/", follow=True).content.decode()
    assert "Zebu NFO" in asked
    done = staff.post(f"{PAGE}add/", {"lists": ["zebu NFO", "zerodha NFO"]}, follow=True)
    assert "a worker fetches it within seconds" in done.content.decode()
    assert done.headers["Refresh"] == "3"
    assert set(ContractListImport.objects.values_list("state", "asked_by")) == {
        (State.QUEUED, "asha")
    }
    assert AuditEntry.objects.get(action="contract_lists.asked").actor_id == "asha"
    assert import_contract_lists() == 2  # on any day, at any hour
    entry = AuditEntry.objects.filter(action="instruments.imported").latest("id")
    assert (entry.actor_kind, entry.actor_id) == (ActorKind.STAFF, "asha")
    shown = staff.get(PAGE)
    assert "Refresh" not in shown.headers
    assert "lines, 0 broken; contracts:" in shown.content.decode()
    row = ContractListImport.objects.first()
    assert row is not None
    assert staff.get(f"{PAGE}{row.pk}/change/").status_code == 200


def test_progress_is_shown_while_it_runs(staff: Client, brokers: Brokers) -> None:
    brokers.publish(clock.ist_date(clock.now()))
    now = clock.now()
    (row,) = request_imports(lists=[("zerodha", "NFO")], actor=Actor("STAFF", "asha"), now=now)
    seen = []

    def look(text: str) -> None:
        seen.append(text)
        assert progress_of(row.pk) == text
        assert text.split(",", maxsplit=1)[0] in staff.get(PAGE).content.decode()

    assert run_import(row.pk, now=now, progress=look)
    assert seen[0] == f"downloading {KITE_LIST}"
    assert any("lines read" in text for text in seen)


@pytest.mark.usefixtures("dead_cache")
def test_an_import_succeeds_without_a_cache(staff: Client, brokers: Brokers) -> None:
    """Bug: "It was interrupted; the worker's log says why"."""
    brokers.publish(clock.ist_date(clock.now()))
    now = clock.now()
    (row,) = request_imports(lists=[("zerodha", "NFO")], actor=Actor("STAFF", "asha"), now=now)

    def look(text: str) -> None:
        assert progress_of(row.pk) == ""
        assert staff.get(PAGE).status_code == 200

    assert run_import(row.pk, now=now, progress=look)
    row.refresh_from_db()
    assert (row.state, row.problem) == (State.DONE, "")


def test_importing_wants_its_own_right(client: Client) -> None:
    user = StaffUser.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_contractlistimport"))
    client.force_login(user)
    assert client.get(PAGE).status_code == 200
    assert client.get(f"{PAGE}import-now/").status_code == 403
    assert client.post(f"{PAGE}add/", {"lists": ["zebu NFO"]}).status_code == 403
    assert not ContractListImport.objects.exists()


def test_nothing_chosen_is_said_beside_the_field(staff: Client) -> None:
    answer = staff.post(f"{PAGE}add/", {})
    assert answer.status_code == 400
    assert "Choose one." in answer.content.decode()


def run_command(**options: Any) -> str:
    out = io.StringIO()
    call_command("import_instruments", stdout=out, **options)
    return out.getvalue()


def test_one_command_imports_every_list(brokers: Brokers) -> None:
    brokers.publish(clock.ist_date(clock.now()))
    output = run_command()
    assert "Zebu NFO" in output
    assert "Zerodha NFO" in output
    assert "lines read" in output
    assert all(str(state.newest) == str(clock.ist_date(clock.now())) for state in list_states())
    brokers.fail()
    with pytest.raises(CommandError, match="1 of 2 lists were not imported"):
        run_command()


def test_the_command_says_what_is_missing(settings: Any) -> None:
    with pytest.raises(CommandError, match="need --broker"):
        run_command(url="http://127.0.0.1/list")
    settings.QUANTLEAP_BROKERS = {
        kind: {"api": "https://broker.example", "login": "", "instruments": ""}
        for kind in ("zerodha", "zebu")
    }
    with pytest.raises(CommandError, match="QUANTLEAP_LIVE_BROKERS"):
        run_command()


def test_what_is_seeded_or_imported_by_hand_counts_as_todays(brokers: Brokers) -> None:
    now = ist("2026-08-04 07:00")
    text = generate(now.date()).kite_csv()
    import_instruments(
        broker="zerodha", lines=io.StringIO(text), source="a file", actor=SYSTEM, now=now
    )
    assert newest() == {"Zebu NFO": "None", "Zerodha NFO": "2026-08-04"}
    assert beat("2026-08-04 08:30:00") == 1


# -- the first page -----------------------------------------------------------------------------


def tile(client: Client, wall: str) -> str:
    with time_machine.travel(ist(wall), tick=False):
        client.force_login(StaffUser.objects.get())
        page = client.get("/admin/").content.decode()
    return next(part for part in page.split("ql-card ql-tile ")[1:] if ">Contract lists<" in part)


def test_a_list_that_is_not_todays_is_red_on_a_trading_day(staff: Client, brokers: Brokers) -> None:
    never = tile(staff, "2026-08-08 12:00")
    assert never.startswith("ql-bad")
    assert "never imported" in never
    beat("2026-08-04 08:30:00")
    assert tile(staff, "2026-08-04 08:31").startswith("ql-good")
    early = tile(staff, "2026-08-05 08:00")
    assert early.startswith("ql-plain")
    assert "imported from 08:30 IST on" in early
    brokers.fail(NOREN_LIST)
    beat("2026-08-05 08:30:00")
    late = tile(staff, "2026-08-05 09:10")
    assert late.startswith("ql-bad")
    assert "Zebu NFO: 127.0.0.1:18202 answered HTTP 502; import it now" in late
    assert tile(staff, "2026-08-05 15:40").startswith("ql-plain")
    assert tile(staff, "2026-08-08 10:00").startswith("ql-plain")  # a Saturday
    assert tile(staff, "2026-11-08 17:00").startswith("ql-bad")  # Muhurat in an hour


def test_the_tile_leads_to_the_button(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    assert f'href="{PAGE}" class="ql-card ql-tile ql-bad"' in page
    assert "Import now" in staff.get(PAGE).content.decode()


def test_the_tile_is_not_for_everybody(client: Client) -> None:
    client.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    assert "Contract lists" not in client.get("/admin/").content.decode()


def test_the_tile_has_a_constant_number_of_queries(
    brokers: Brokers, django_assert_num_queries: Callable[[int], Any]
) -> None:
    for day in ("04", "05", "06"):
        brokers.publish(dt.date(2026, 8, int(day)))
        beat(f"2026-08-{day} 08:30:00")
    with django_assert_num_queries(4):
        list_states()
