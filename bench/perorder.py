"""Baseline: one Celery task per order, each posting with ``requests``.

The usual first design of a platform. It has no database, no bookkeeping and no checks; all that it
would still need would only make it slower. ``celery -A bench.perorder worker``.
"""

from __future__ import annotations

import os

import requests
from celery import Celery

from bench import orders
from quantleap.settings.databases import celery_broker

app = Celery("bench", broker=celery_broker(os.environ["REDIS_URL"]))
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    task_default_queue="bench",
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.send_order")
def send_order(url: str, account: str, number: int) -> None:
    """Place one order."""
    requests.post(
        f"{url}{orders.PATH}",
        data=orders.form(number),
        headers=orders.headers(account),
        timeout=7,
    ).raise_for_status()


@app.task(name="bench.ready")
def ready(url: str) -> None:
    """Report to the sink that this worker is ready."""
    requests.post(f"{url}/bench/ready", timeout=7).raise_for_status()


def publish(url: str, count: int) -> None:
    """One task per order, over one connection to the broker."""
    with app.producer_or_acquire() as producer:
        for number in range(count):
            send_order.apply_async((url, f"tokenC{number:05d}", number), producer=producer)
