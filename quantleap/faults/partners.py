"""Faults of webhooks to partners."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from partners.webhooks.http import Outcome, Sender
from quantleap.faults.planting import Faults, Planting

FAULTS: Final = Faults()


@FAULTS.fault("skip_webhook", "deliveries are recorded but not made")
def skip_webhook(plant: Planting) -> None:
    """One delivery of each process is reported as accepted and never sent."""
    skipped: list[str] = []

    @plant.around(Sender, "post")
    def post(
        original: Callable[..., Future[Outcome]], sender: Sender, url: str, *rest: Any
    ) -> Future[Outcome]:
        if skipped:
            return original(sender, url, *rest)
        skipped.append(url)
        accepted: Future[Outcome] = Future()
        accepted.set_result(Outcome(200))
        return accepted
