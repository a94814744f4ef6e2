"""All scenarios, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from execution.tests.faults import at_the_broker, days, networks, prices_and_limits
from execution.tests.faults.stage import Scenario

EVERYTHING: Final[Sequence[Scenario]] = sorted(
    (
        *at_the_broker.SCENARIOS,
        *prices_and_limits.SCENARIOS,
        *days.SCENARIOS,
        *networks.SCENARIOS,
    ),
    key=lambda scenario: (scenario.alone, sorted(scenario.settings)),
)


def chosen(names: str) -> list[Scenario]:
    """Those of a comma-separated list of names; everything for an empty one. Raises ValueError."""
    requested = [name.strip() for name in names.split(",") if name.strip()]
    known = {scenario.name: scenario for scenario in EVERYTHING}
    unknown = [name for name in requested if name not in known]
    if unknown:
        raise ValueError(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in requested] or list(EVERYTHING)
