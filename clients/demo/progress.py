"""Progress of the demo: a bar on a terminal, otherwise a line per step."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

WIDTH: Final = 28
EVERY: Final = 0.1


def say(line: str) -> None:
    """Print one line."""
    print(line, flush=True)


class Progress:
    """A progress bar for ``total`` steps; extra calls of ``step`` are allowed."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.done = 0
        self._started = time.monotonic()
        self._shown = 0.0
        self._live = sys.stdout.isatty()

    def __enter__(self) -> Self:
        """Show an empty bar."""
        self._show()
        return self

    def step(self) -> None:
        """Count one step."""
        self.done += 1
        if time.monotonic() - self._shown >= EVERY:
            self._show()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on its own line."""
        seconds = time.monotonic() - self._started
        if self._live:
            self._show()
            sys.stdout.write(f" {seconds:.1f} s\n")
            sys.stdout.flush()
        else:
            say(f"  {self.title}: {self.done} of {self.total}, {seconds:.1f} s")

    def _show(self) -> None:
        self._shown = time.monotonic()
        if not self._live:
            return
        filled = WIDTH * self.done // max(1, self.total)
        bar = "#" * filled + "." * (WIDTH - filled)
        sys.stdout.write(f"\r  {self.title:<28} [{bar}] {self.done}/{self.total}")
        sys.stdout.flush()
