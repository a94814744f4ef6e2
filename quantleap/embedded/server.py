"""What the two embedded servers have in common: one child process, one log, one socket folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.folders import remove_socket_folder
from quantleap.embedded.processes import POLL_SECONDS, RunAs, end_child, spawn


class Server:
    """A server process of ours; the two subclasses implement ``start`` and ``stop``."""

    name: str
    folder_name: str
    death_signal: signal.Signals
    #: Longest start; recovery of the stored data is part of it.
    ready_seconds: float

    def __init__(self, base_dir: Path, *, run_as: RunAs | None) -> None:
        self.run_as = run_as
        self.folder = base_dir / self.folder_name
        self.log_path = base_dir / "log" / f"{self.name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.command: list[str] = []
        self.sockets: Path | None = None
        self.sockets_are_temporary = False

    @property
    def pid(self) -> int:
        """The server's process id; raises EmbeddedServiceError if it was not started."""
        if self.child is None:
            raise EmbeddedServiceError(f"{self.name} is not running")
        return self.child.pid

    def start(self) -> None:
        """Start and return once the server has answered."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop in an orderly way and remove temporary files."""
        raise NotImplementedError

    def end_leftovers(self) -> None:
        """End processes of this server that a dead supervisor left; touch nothing else."""
        raise NotImplementedError

    def erase(self) -> None:
        """Remove the stopped server's folder with all that it stored."""
        self.end_leftovers()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def is_running(self) -> bool:
        """True while the server's process lives (it may still be recovering)."""
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """``kill -9``, for tests: no clean-up."""
        if self.child is not None:
            end_child(self.child, ((signal.SIGKILL, 10.0),))
            self.child = None

    def restart(self) -> None:
        """Start again at the same address, whether it was stopped, killed or is running."""
        if self.child is not None:
            end_child(self.child, ((signal.SIGINT, 30.0), (signal.SIGKILL, 10.0)))
            self.child = None
        self.start()

    def launch(self, command: Sequence[str], *, cwd: Path) -> None:
        """Start the server program, its output appended to the log."""
        self.command = list(command)
        with self.open_log() as log:
            self.child = spawn(
                self.command,
                env=self.environment(),
                cwd=cwd,
                output=log,
                death_signal=self.death_signal,
                run_as=self.run_as,
            )

    def open_log(self) -> IO[bytes]:
        """The server's log, opened for appending by us, so that the server needs no right to it."""
        return self.log_path.open("ab")

    def environment(self) -> dict[str, str]:
        """A small fixed environment: nothing of ours (keys, PG variables) reaches the server."""
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}

    def raise_if_ended(self) -> None:
        """Raise EmbeddedServiceError, with the end of the log, if the process is gone."""
        if self.child is not None and (status := self.child.poll()) is not None:
            self.child = None
            raise EmbeddedServiceError(
                f"{self.name} ended at once (exit {status}); the end of {self.log_path}:\n"
                f"{log_tail(self.log_path)}"
            )

    def wait_for_answer(self, ask: Callable[[], object], refusal: type[Exception]) -> None:
        """Ask until the server answers; ``refusal`` is the error of one that does not yet.

        Raises EmbeddedServiceError, with the end of the log, and stops it if it takes too long.
        """
        deadline = time.monotonic() + self.ready_seconds
        while True:
            try:
                ask()
            except refusal as error:
                self.raise_if_ended()
                if time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedServiceError(
                        f"{self.name} did not answer within {self.ready_seconds:.0f} s ({error}); "
                        f"the end of {self.log_path}:\n{log_tail(self.log_path)}"
                    ) from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def remove_temporary_sockets(self) -> None:
        """Remove the socket folder if it stands outside ``var/``."""
        if self.sockets is not None and self.sockets_are_temporary:
            remove_socket_folder(self.sockets)
        self.sockets = None
        self.sockets_are_temporary = False


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
