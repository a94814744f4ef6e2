"""Celery beat's schedules: what the code asks for, what the database says, stop and start.

The code (``CELERY_BEAT_SCHEDULE``) decides what runs and when; beat writes it into its own tables
when it starts. Nobody edits those in the console. With the right ``core.operate_schedules`` a
person can stop a schedule, start it again, and run it now; each is audited. A required schedule
that is stopped or differs from the code is red on the first page, and so is a beat that has
stopped.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import current_app, schedules
from django.conf import settings
from django.db import transaction
from django.utils.timesince import timesince
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from kombu.exceptions import OperationalError

from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import DomainError, InvalidTransition, Unavailable

#: The consequence of each stopped schedule, to follow "While it is stopped".
STOPPED_MEANS: Final[Mapping[str, str]] = {
    "relay-outbox": "no event is relayed: partners receive nothing.",
    "deliver-webhooks": "no webhook is sent: partners receive nothing.",
    "send-endpoint-mails": "nobody gets a mail when a webhook endpoint is disabled.",
    "send-customer-mails": "nobody gets a mail to confirm an address, or about its change.",
    "send-partner-mails": "partners get no mail that they were suspended or reinstated.",
    "execution-tick": "no run is armed: strategies that are not armed yet do not trade.",
    "expire-broker-sessions": "yesterday's logins still look valid in the morning.",
    "watch-feeds": "nobody notices a feed that gives no prices.",
    "import-contract-lists": "no contract list is fetched before the open.",
    "carry-out-suspensions": "no subscription is paused or cancelled when a suspension's day is "
    "over; none of them enters or is billed all the same.",
    "forget-user-tokens": "expired user tokens are kept.",
    "announce-expiring-keys": "partners get no event that a key of theirs expires.",
    "mature-commission": "no commission becomes payable.",
    "bill": "no invoice is written.",
    "take-over-billing": "a billing run that was killed is not finished.",
    "credit-withdrawals": "no customer is credited for a withdrawn template.",
    "recognise-revenue": "no revenue is recognised.",
    "check-ledger": "nobody checks the ledger.",
    "send-invoice-mails": "no invoice is mailed.",
    "watch-keys": "nobody notices an encryption key that is missing.",
    "purge": "old events, deliveries and sessions are kept.",
    "forget-idempotency-records": "records of finished requests are kept.",
}
UNKNOWN: Final = "its task is not done."

#: Beat records what it has started after 60 starts (CELERY_BEAT_SYNC_EVERY), about twice a minute,
#: and at least every 3 minutes (Celery's ``Scheduler.sync_every``). This limit means that three
#: records in a row are missing.
SILENT_AFTER: Final = dt.timedelta(minutes=10)
#: A schedule with this or a shorter period shows whether beat lives; a daily one cannot.
FREQUENT: Final = dt.timedelta(minutes=1)


class NoSuchTask(DomainError):
    """409: the schedule names a task that this version does not have."""

    status = 409
    code = "no_such_task"
    error = "This version has no such task"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A schedule that differs from what the code asks for, and how."""

    name: str
    what: str
    pk: int | None = None


def required() -> Mapping[str, Mapping[str, Any]]:
    """The schedules that the code asks for, by name."""
    entries: Mapping[str, Mapping[str, Any]] = settings.CELERY_BEAT_SCHEDULE
    return entries


def troubles(now: dt.datetime) -> list[Trouble]:
    """Required schedules that are stopped, changed or missing, and a beat that is silent.

    ``now`` is a time of the real clock, because beat uses the real clock even if ours was moved
    (:func:`quantleap.core.clock.real`). One query. Before beat has started for the first time no
    schedule exists: then beat itself is reported as missing.
    """
    rows = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked")
    known = {row.name: row for row in rows.filter(name__in=required())}
    if not known:
        return [Trouble("All schedules", "beat has not started yet: no task runs")]
    problems = list(_silence(known.values(), now))
    for name, entry in required().items():
        row = known.get(name)
        what = "not known to beat" if row is None else difference(row, entry, now)
        if what:
            problems.append(Trouble(name, what, row.pk if row else None))
    return problems


def _silence(rows: Iterable[PeriodicTask], now: dt.datetime) -> Iterator[Trouble]:
    """Whether beat has stopped: judged by its latest start of any schedule."""
    telling = [row for row in rows if row.enabled and _is_frequent(row)]
    # A start clears a schedule's last run, and a new beat has none: then the age of its row counts.
    runs = [row.last_run_at for row in telling if row.last_run_at]
    last = max(runs or [row.date_changed for row in telling], default=now)
    if now - last > SILENT_AFTER:
        yield Trouble("All schedules", f"nothing has run for {timesince(last, now)}: start beat")


def _is_frequent(row: PeriodicTask) -> bool:
    every = getattr(row.schedule, "run_every", None)
    return every is not None and every <= FREQUENT


def difference(row: PeriodicTask, entry: Mapping[str, Any], now: dt.datetime) -> str:
    """How beat's row differs from the code's entry, as text; "" if it does not."""
    if not row.enabled:
        return "stopped"
    if row.task != entry["task"]:
        return f"starts {row.task} instead of {entry['task']}"
    if _rhythm(row.schedule) != _rhythm(schedules.maybe_schedule(entry["schedule"])):
        return f"runs {row.schedule} instead of {schedules.maybe_schedule(entry['schedule'])}"
    if _loaded(row.args, []) != list(entry.get("args") or ()):
        return "is called with other arguments"
    if _loaded(row.kwargs, {}) != dict(entry.get("kwargs") or {}):
        return "is called with other arguments"
    if row.queue != (entry.get("options") or {}).get("queue"):
        return f"goes to the queue {row.queue}"
    if row.one_off:
        return "runs once only"
    if row.start_time is not None and row.start_time > now:
        return "does not begin before a later day"
    if row.expires is not None and row.expires <= now:
        return "has expired"
    return ""


def _loaded(text: str, empty: Any) -> Any:
    try:
        return json.loads(text or "null") or empty
    except ValueError:
        return text


def _rhythm(schedule: Any) -> tuple[object, ...]:
    """The schedule in a comparable form, whichever library created it."""
    if isinstance(schedule, schedules.crontab):
        parts = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return (*(frozenset(getattr(schedule, part)) for part in parts), str(schedule.tz))
    return (getattr(schedule, "run_every", schedule),)


def stop(*, task: PeriodicTask, actor: Actor) -> None:
    """Stop the schedule. InvalidTransition if it is stopped already."""
    _switch(task, to=False, actor=actor)


def start(*, task: PeriodicTask, actor: Actor) -> None:
    """Start the schedule again, from its next due time. InvalidTransition if it is running."""
    _switch(task, to=True, actor=actor)


@transaction.atomic
def _switch(task: PeriodicTask, *, to: bool, actor: Actor) -> None:
    rows = PeriodicTask.objects.filter(pk=task.pk, enabled=not to)
    # clear the last run, so that a restarted schedule does not catch up at once
    if not rows.update(enabled=to, last_run_at=None):
        raise InvalidTransition(f"{task.name} is {'running' if to else 'stopped'} already.")
    PeriodicTasks.update_changed()
    _record("schedule.started" if to else "schedule.stopped", task, actor, {"enabled": to})


def run_now(*, task: PeriodicTask, actor: Actor) -> None:
    """Send the task to a worker, as beat would, once the transaction is committed.

    NoSuchTask if this version has no task of that name; Unavailable if the queue does not accept
    it.
    """
    current_app.loader.import_default_modules()
    if task.task not in current_app.tasks:
        raise NoSuchTask(f"This version has no task {task.task}.")
    with transaction.atomic():
        _record("schedule.run", task, actor, {})
    options = {"queue": task.queue} if task.queue else {}
    args, kwargs = _loaded(task.args, []), _loaded(task.kwargs, {})
    try:
        current_app.send_task(task.task, args=args, kwargs=kwargs, **options)
    except OperationalError as error:
        raise Unavailable("The workers cannot be reached. Try again in a minute.") from error


def _record(action: str, task: PeriodicTask, actor: Actor, changed: Mapping[str, bool]) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="schedule",
        target_id=task.name[:80],
        data={
            "task": task.task,
            "changed": {name: {"from": not to, "to": to} for name, to in changed.items()},
        },
    )
