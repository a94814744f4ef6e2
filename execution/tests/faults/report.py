"""How the matrix is told: a line when a scenario is judged, a table and JSON at the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from execution.tests.faults.judge import Verdict

FIGURES: Final = (
    "expected",
    "sent",
    "duplicate",
    "lost",
    "early",
    "open",
    "reversed",
    "unnamed",
    "late",
    "alarm",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario in one dialect."""

    scenario: str
    what: str
    dialect: str
    verdict: Verdict
    seconds: float

    def line(self) -> str:
        """``a7 zebu right …`` with the first problem, for whoever waits."""
        said = "right" if self.verdict.is_right else f"NOT RIGHT: {self.verdict.problems[0]}"
        return f"{self.scenario:8} {self.dialect:8} {self.seconds:4.0f} s  {said}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenario": self.scenario,
            "what": self.what,
            "dialect": self.dialect,
            "right": self.verdict.is_right,
            "seconds": round(self.seconds, 1),
            **dataclasses.asdict(self.verdict),
        }


def table(rows: Sequence[Row]) -> str:
    """Every row with its figures, and the problems of those that are not right."""
    head = ["scenario", "dialect", *FIGURES, "right"]
    cells = [head]
    for row in rows:
        figures = [getattr(row.verdict, name) for name in FIGURES]
        shown = ["-" if value is None else str(value) for value in figures]
        cells.append([row.scenario, row.dialect, *shown, "yes" if row.verdict.is_right else "NO"])
    widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for row in rows:
        lines += [f"{row.scenario} {row.dialect}: {text}" for text in row.verdict.problems[:6]]
        if row.verdict.problems:
            ends = ", ".join(f"{count} {end}" for end, count in row.verdict.ends.items())
            lines.append(f"{row.scenario} {row.dialect}: {ends}")
    right = sum(row.verdict.is_right for row in rows)
    return "\n".join([*lines, f"{right} of {len(rows)} right"])


def write(rows: Sequence[Row], path: Path) -> None:
    """The same as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n", encoding="utf-8")
