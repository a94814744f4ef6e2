"""What the scenarios stand on: the stand-in's process, a market, an executor, a moved clock."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.apps import apps
from django.conf import settings
from django.db import connection

from brokers import sealed_credentials
from brokers.models import FeedAccount
from brokers.tests.factories import make_feed
from execution.tests.installation import API_KEY, Control, load_market, start_executor
from quantleap.core import clock
from quantleap.embedded.state import PROJECT_ROOT

#: Ten in the morning of an ordinary Tuesday.
START: Final = clock.at_ist(dt.date(2026, 9, 8), dt.time(10, 0))
#: Seconds: a day of a few minutes. Proving an order absent takes five seconds at least.
TIMING: Final = {
    "QUANTLEAP_ARM_LEAD": 6.0,
    "QUANTLEAP_CONNECT_LEAD": 4.0,
    "QUANTLEAP_ENTRY_GRACE": 12.0,
    "QUANTLEAP_VISIBILITY_DELAY": 2.0,
}


class Ground:
    """One stand-in, one database, one executor at a time. Use :func:`ground`."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.control = Control(f"http://127.0.0.1:{ports['control']}")
        self.executors: list[Any] = []
        self._started = 0
        self.primary = self.feed = load_market(self.control, clock.now())
        _analyze()

    def start_executor(self) -> Any:
        """One more executor in this process."""
        self._started += 1
        self.executors.append(start_executor(f"faults-{self._started}"))
        return self.executors[-1]

    def stop_executors(self) -> None:
        """Stop all that run."""
        while self.executors:
            self.executors.pop().stop()

    def feed_of(self, broker: str, *, spare: bool = False) -> None:
        """A feed of this broker gives the prices: instead of the usual one, or as its spare."""
        role = FeedAccount.Role.SPARE if spare else FeedAccount.Role.PRIMARY
        if not spare:
            FeedAccount.objects.filter(pk=self.primary.pk).update(is_active=False)
        feed = make_feed(f"{broker}-{self._started}", broker, role, now=clock.now())
        feed.api_key = sealed_credentials.seal(feed, "api_key", API_KEY)
        token = self.control.token(broker, feed.client_id)
        feed.access_token = sealed_credentials.seal(feed, "access_token", token)
        feed.save()
        if not spare:
            self.feed = feed

    def clear(self) -> None:
        """Forget every run, at the stand-in and here; contracts, calendar and feed stay."""
        self.stop_executors()
        self.control.ask("POST", "/line", mode="clear")
        self.control.ask("DELETE", "/tricks")
        self.control.ask("POST", "/reset")
        FeedAccount.objects.exclude(pk=self.primary.pk).delete()
        FeedAccount.objects.filter(pk=self.primary.pk).update(is_active=True, clock_samples=[])
        self.feed = self.primary
        tables = [m._meta.db_table for m in apps.get_app_config("execution").get_models()]
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")

    def close(self) -> None:
        """Stop the executors and let go of the control port."""
        self.stop_executors()
        self.control.close()


def _analyze() -> None:
    """Tell PostgreSQL what was just loaded: without it publishing takes it seconds each time."""
    role, target = settings.QUANTLEAP_OWNER_DATABASE, connection.settings_dict
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
        autocommit=True,
    ) as session:
        session.execute("ANALYZE")


@contextmanager
def moved_clock() -> Iterator[dict[str, str]]:
    """Our clock at :data:`START`; what a child's environment needs to agree."""
    before, anchor = clock._offset, time.time()
    clock._offset = START.timestamp() - anchor
    try:
        yield {
            "QUANTLEAP_CLOCK_START": START.isoformat(),
            "QUANTLEAP_CLOCK_ANCHOR": repr(anchor),
        }
    finally:
        clock._offset = before


@contextmanager
def standin(environment: dict[str, str], limits: Sequence[str] = ()) -> Iterator[dict[str, int]]:
    """The stand-in's process; its ports by name."""
    import os

    command = [sys.executable, "-m", "execution.tests.faults.standin"]
    for limit in limits:
        command += ["--limit", limit]
    with subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def ground(limits: Sequence[str] = ()) -> Iterator[Ground]:
    """Everything, in a database that Django is set up on already; settings are put back."""
    changed: dict[str, Any] = {}
    with moved_clock() as environment, standin(environment, limits) as ports:
        kite, noren = (f"http://127.0.0.1:{ports[name]}" for name in ("zerodha", "zebu"))
        overrides: dict[str, Any] = TIMING | {
            "QUANTLEAP_BROKERS": {
                "zerodha": {"api": kite, "login": kite, "instruments": f"{kite}/instruments/NFO"},
                "zebu": {
                    "api": noren,
                    "login": noren,
                    "instruments": f"{noren}/NFO_symbols.txt.zip",
                },
            }
        }
        for name, value in overrides.items():
            changed[name] = getattr(settings, name)
            setattr(settings, name, value)
        try:
            playground = Ground(ports)
            try:
                yield playground
            finally:
                playground.close()
        finally:
            for name, value in changed.items():
                setattr(settings, name, value)
