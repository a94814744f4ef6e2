"""Starts processes, recognises them later, and ends exactly those and no others.

A pid alone proves nothing (numbers repeat, in containers at once), so every process that a later
start may have to end is recorded with its command line, which is compared before a signal is sent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

LAUNCHER: Final = Path(__file__).with_name("launch.py")
PROC: Final = Path("/proc")  # Linux; elsewhere `ps` answers
POLL_SECONDS: Final = 0.02

PR_SET_PDEATHSIG: Final = 1

# The kernel's death signal fires when the *thread* that forked ends, so every child is forked by
# one thread that lives as long as this process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


@dataclass(frozen=True)
class RunAs:
    """The account a child runs under: numeric ids and the one ambient capability it keeps."""

    uid: int
    gid: int
    capability: int | None = None


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes] | int,
    death_signal: signal.Signals,
    run_as: RunAs | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` (absolute program path first) in a session of its own.

    ``output`` receives stdout and stderr. ``death_signal`` reaches the child if this process dies
    in any way (Linux). A session of its own keeps the terminal's Ctrl-C away from it, so that the
    supervisor decides the order in which things stop.
    """
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    launcher += ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    if run_as is not None:
        launcher += ["--user", f"{run_as.uid}:{run_as.gid}"]
        if run_as.capability is not None:
            launcher += ["--capability", str(run_as.capability)]
    launcher += ["--", *command]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            launcher,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )

    return _spawner.submit(start).result()


def die_with_parent(number: signal.Signals) -> None:
    """Linux: have the kernel send this process ``number`` when its parent dies; elsewhere nothing.

    Called in the main thread by a program that was started for its parent's sake, such as the
    supervisor under ``make run``.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number)) != 0:
        raise OSError(ctypes.get_errno(), "cannot tie this process to its parent")
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def is_alive(pid: int) -> bool:
    """True if ``pid`` names a process that is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]


def command_line(pid: int) -> str:
    """The command line of ``pid``, arguments joined by spaces; empty where there is none."""
    if PROC.is_dir():
        try:
            raw = (PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            return ""
        return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    listing = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.strip()


def pids_in_folder(folder: Path, program: str) -> list[int]:
    """Linux: processes called ``program`` whose working directory is ``folder``; elsewhere none.

    PostgreSQL's own children carry titles instead of arguments, so the working directory is the one
    thing that ties them to a data folder.
    """
    pids = []
    for entry in PROC.glob("[0-9]*"):
        try:
            if (
                entry.joinpath("comm").read_text().strip() == program
                and entry.joinpath("cwd").readlink() == folder
                and is_alive(int(entry.name))
            ):
                pids.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or not ours to look at
    return pids


def signal_quietly(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal to a process (or its group) that may be gone already."""
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group that holds only zombies.
        return


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until ``condition`` holds; False if it did not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end_pid(pid: int, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """End a process that is not our child: each signal in turn with its patience in seconds."""
    for number, patience in steps:
        signal_quietly(pid, number)
        if wait_until(lambda: not is_alive(pid), patience):
            return


def end_child(
    child: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]
) -> int | None:
    """End our own child: each signal in turn with its patience in seconds; its exit status."""
    for number, patience in steps:
        if child.poll() is None:
            child.send_signal(number)
        try:
            return child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
    return child.poll()
