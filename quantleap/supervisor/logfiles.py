"""The log files below ``var/log``: limited by size and by day, while their writers live.

Every part writes its output to one file for as long as it lives, and so do the embedded servers, so
a file is neither renamed nor reopened: its content is copied and the file is truncated. All of them
write in append mode, so each continues at the new end without a notice. Lines written between the
last byte copied and the truncation are lost, which is acceptable for a day's log on a developer's
machine (docs/adr/0044). In production none of this runs: processes write to standard error, and the
service manager keeps it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import time
from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 20_000_000
#: Files kept of each log beside the one that is written: two weeks of quiet days.
KEPT: Final = 14
LOOK_SECONDS: Final = 5.0


class LogFiles:
    """The folder of logs. ``largest`` in bytes, ``kept`` in files of each log."""

    def __init__(self, folder: Path, *, largest: int = LARGEST_BYTES, kept: int = KEPT) -> None:
        self.folder = folder
        self.largest = largest
        self.kept = kept
        self._look_at = 0.0
        self._day = dt.date.today()  # noqa: DTZ011 - the machine's own day: its files say the same

    def path(self, name: str) -> Path:
        """Where the part ``name`` writes."""
        return self.folder / f"{name}.log"

    def look(self) -> None:
        """Rotate what is due; checks at most every few seconds, however often it is called."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        self.rotate_due(dt.date.today())  # noqa: DTZ011

    def rotate_due(self, today: dt.date) -> None:
        """Rotate what has grown too large, and on a new day everything that is not empty."""
        fresh_day, self._day = today != self._day, today
        for path in sorted(self.folder.glob("*.log")):
            size = path.stat().st_size
            if size > self.largest or (fresh_day and size):
                self.rotate(path)

    def rotate(self, path: Path) -> None:
        """Move the content of a log to ``<name>.log.1``; older ones move up, the oldest is
        deleted."""
        older = [path.with_name(f"{path.name}.{number}") for number in range(1, self.kept + 1)]
        older[-1].unlink(missing_ok=True)
        for newer, place in reversed(list(itertools.pairwise(older))):
            if newer.exists():
                newer.replace(place)
        with path.open("r+b") as source, older[0].open("xb") as copy:
            older[0].chmod(0o600)
            shutil.copyfileobj(source, copy)
            source.truncate(0)
