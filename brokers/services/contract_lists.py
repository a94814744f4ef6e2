"""Contract lists of the day: requested by beat or staff, fetched, imported, retried."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

import structlog
from django.db import IntegrityError, transaction

from brokers import instrument_files
from brokers.contract_lists import LOST, ListKey, is_due, list_states, offered_lists, tell_progress
from brokers.endpoints import endpoints, require_enabled
from brokers.models import ContractListImport
from brokers.ports import QUOTES_RESERVED
from brokers.registry import get_adapter
from brokers.services.instruments import import_instruments
from marketplace.selectors import load_calendar
from quantleap.core import audit, clock
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.errors import DomainError, InvalidRequest
from quantleap.core.models import ActorKind

State = ContractListImport.State
log = structlog.get_logger(__name__)


def address_of(broker: str, exchange: str) -> str:
    """The URL of ``broker``'s list of ``exchange``."""
    configured = endpoints(broker)
    if exchange == "NFO":
        return configured.instruments
    return configured.api + get_adapter(broker).instruments_path(exchange)


@transaction.atomic
def request_imports(
    *, lists: Iterable[ListKey], actor: Actor, now: dt.datetime, force: bool = False
) -> list[ContractListImport]:
    """Request today's lists, which a worker fetches within seconds; returns the new rows.

    A list that is already being fetched is not requested twice. InvalidRequest for a list that no
    broker of this installation has, or for none.
    """
    asked = sorted(set(lists))
    if not asked or not set(asked) <= set(offered_lists()):
        raise InvalidRequest(
            "Choose at least one of the lists", details={"lists": "Choose at least one."}
        )
    fresh = []
    for broker, exchange in asked:
        row = ContractListImport(
            broker=broker,
            exchange=exchange,
            trade_date=clock.ist_date(now),
            force=force,
            asked_by=actor.id,
            queued_at=now,
        )
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:  # one is open: it is being fetched anyway
            continue
        fresh.append(row)
    if actor != SYSTEM:
        audit.record(
            actor=actor,
            action="contract_lists.asked",
            target_type="contract_list",
            target_id=", ".join(f"{row.broker} {row.exchange}" for row in fresh)[:80],
            data={"force": force},
        )
    return fresh


def import_due(*, now: dt.datetime) -> list[int]:
    """Request what is due today, and run every request; returns the ids that were run.

    It may run as often and as concurrently as you like: a row runs once. Nothing begins while an
    entry is near, because reading a list keeps the processor busy; the next wake-up does it.
    """
    if QUOTES_RESERVED.get()(now):
        return []
    _give_up_lost(now)
    calendar = load_calendar()
    due = [state.key for state in list_states() if is_due(state, calendar, now)]
    if due:
        request_imports(lists=due, actor=SYSTEM, now=now)
    waiting = ContractListImport.objects.filter(state=State.QUEUED).order_by("id")
    return [pk for pk in waiting.values_list("pk", flat=True) if run_import(pk, now=now)]


def _give_up_lost(now: dt.datetime) -> None:
    ContractListImport.objects.filter(state=State.RUNNING, started_at__lt=now - LOST).update(
        state=State.FAILED, finished_at=now, problem="The worker was lost while it imported"
    )


def run_import(
    import_id: int, *, now: dt.datetime, progress: Callable[[str], None] = lambda text: None
) -> bool:
    """Fetch and import one requested list; False if another worker has it.

    An error is stored in the row, as text. The download happens outside any transaction.
    """
    mine = ContractListImport.objects.filter(pk=import_id, state=State.QUEUED).update(
        state=State.RUNNING, started_at=now, trade_date=clock.ist_date(now)
    )
    if not mine:
        return False
    row = ContractListImport.objects.get(pk=import_id)

    def tell(text: str) -> None:
        tell_progress(row.pk, text)
        progress(text)

    try:
        require_enabled(row.broker)
        source = address_of(row.broker, row.exchange)
        tell(f"downloading {source}")
        with instrument_files.open_url(source) as lines:
            import_instruments(
                broker=row.broker,
                lines=lines,
                source=source,
                actor=_actor(row),
                now=now,
                force=row.force,
                progress=tell,
                asked=row,
            )
    except DomainError as error:
        _fail(row, error.message)
    except Exception:
        _fail(row, "It was interrupted; the worker's log says why")
        raise
    return True


def _actor(row: ContractListImport) -> Actor:
    return SYSTEM if row.asked_by == SYSTEM.id else Actor(ActorKind.STAFF, row.asked_by)


def _fail(row: ContractListImport, problem: str) -> None:
    ContractListImport.objects.filter(pk=row.pk, state=State.RUNNING).update(
        state=State.FAILED, finished_at=clock.now(), problem=problem[:500]
    )
    log.warning(
        "contract_list.failed", broker=row.broker, exchange=row.exchange, problem=problem[:500]
    )
