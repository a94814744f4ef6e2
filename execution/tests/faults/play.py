"""Plays scenarios, several beside each other where they do not strike what all of them share."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings

from execution.tests.faults.ground import Ground
from execution.tests.faults.report import Row
from execution.tests.faults.stage import Scenario, Stage
from quantleap.core import clock

#: Seconds from publishing to entry: arming wants six.
LEAD: Final = 9.0
LOOK_EVERY: Final = 0.1


def waves(scenarios: Iterable[Scenario], together: int) -> list[list[Scenario]]:
    """Who is played beside whom: those with the same settings, at most ``together`` at once."""
    groups: list[list[Scenario]] = []
    for scenario in scenarios:
        wave = groups[-1] if groups else []
        fits = (
            wave
            and not scenario.alone
            and not wave[-1].alone
            and len(wave) < together
            and dict(wave[-1].settings) == dict(scenario.settings)
        )
        if fits:
            wave.append(scenario)
        else:
            groups.append([scenario])
    return groups


def play(
    ground: Ground,
    scenarios: Sequence[Scenario],
    *,
    together: int = 6,
    accounts: int | None = None,
    tell: Callable[[str], object] = str,
) -> list[Row]:
    """Every scenario in its dialects, judged; ``tell`` gets a line each.

    ``accounts`` of each dialect instead of a scenario's own number.
    """
    rows: list[Row] = []
    if accounts is not None:
        scenarios = [dataclasses.replace(s, accounts=accounts) for s in scenarios]
    for wave in waves(scenarios, together):
        with changed_settings(wave[0].settings):
            for row in _play_wave(ground, wave):
                rows.append(row)
                tell(row.line())
    return rows


def _play_wave(ground: Ground, wave: Sequence[Scenario]) -> Iterator[Row]:
    ground.clear()
    begun = time.monotonic()
    stages = [Stage(ground, scenario) for scenario in wave]
    ground.start_executor()
    waiting: list[Stage] = []
    for stage in stages:
        at = clock.now() + dt.timedelta(seconds=LEAD + 1)
        stage.publish(at.replace(microsecond=0), stage.scenario.hold)
        waiting.append(stage)
        for published in waiting:  # publishing takes a while, and the first ones' clocks run
            published.play_on()
    while waiting:
        for stage in waiting:
            stage.play_on()
            stage.look()
        for stage in [stage for stage in waiting if stage.is_over()]:
            waiting.remove(stage)
            for dialect, verdict in stage.verdicts().items():
                spent = time.monotonic() - begun
                scenario = stage.scenario
                yield Row(scenario.name, scenario.what, dialect, verdict, spent)
        time.sleep(LOOK_EVERY)
    ground.stop_executors()


@contextmanager
def changed_settings(overrides: Any) -> Iterator[None]:
    """Django settings for a while."""
    before = {name: getattr(settings, name) for name in overrides}
    for name, value in overrides.items():
        setattr(settings, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
