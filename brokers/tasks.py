"""Celery tasks of this room. Each calls one service and may run any number of times."""

from __future__ import annotations

from celery import shared_task

from brokers.services.contract_lists import import_due
from brokers.services.feed_watch import watch_feeds
from brokers.services.sessions import sweep_sessions
from quantleap.core import clock


@shared_task(name="brokers.expire_sessions")
def expire_sessions() -> int:
    """Beat, every minute: announce and end broker sessions."""
    return sweep_sessions(now=clock.now())


@shared_task(name="brokers.watch_feeds")
def watch_feed_accounts() -> int:
    """Beat, every few seconds: check whether every feed account still gives prices."""
    return watch_feeds(now=clock.now())


@shared_task(name="brokers.import_contract_lists", ignore_result=True)
def import_contract_lists() -> int:
    """Beat, every ten seconds: fetch the lists of the day that are due, and requested ones."""
    return len(import_due(now=clock.now()))
