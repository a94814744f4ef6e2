"""A billing run in a process of its own: how long, how much CPU, how much memory.

``python -m bench.billrun --as-of 2026-08-04 --out FILE``: writes what :func:`measure` finds as
JSON.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import re
import resource
import time
from pathlib import Path
from typing import Any

from bench.figures import percentile
from quantleap.embedded.processes import PROC


def measure(as_of: dt.date) -> dict[str, Any]:
    """One run with today's clock: invoices, seconds (wall and CPU), chunks in ms, memory in MB.

    Needs a connection to a PostgreSQL on this machine for the CPU time of its backend.
    """
    from django.db import connection

    from quantleap.core import clock
    from subscriptions.billing.invoicing import runs

    marks: list[float] = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    busy, posted = time.process_time(), _backend_seconds(backend)
    started, begun = time.time(), time.perf_counter()
    result = runs.run(
        as_of, now=clock.now(), progress=lambda _count: marks.append(time.perf_counter())
    )
    seconds = time.perf_counter() - begun
    starts = [begun, *marks]
    chunks = sorted((end - start) * 1000 for start, end in zip(starts, marks, strict=False))
    measured = {
        "invoices": result.invoices,
        "needs_review": result.needs_review,
        "started": started,
        "ended": started + seconds,
        "seconds": round(seconds, 4),
        "per_second": round(result.invoices / seconds, 1),
        "cpu_s": round(time.process_time() - busy, 3),
        "backend_cpu_s": round(_backend_seconds(backend) - posted, 3),
        "chunks": len(chunks),
        "peak_mb": round(_memory_mb("self", "VmHWM"), 2),
        "backend_private_mb": round(_memory_mb(str(backend), "RssAnon"), 2),
    }
    if chunks:
        measured |= {
            "chunk_p50_ms": round(percentile(chunks, 0.5), 1),
            "chunk_p99_ms": round(percentile(chunks, 0.99), 1),
            "chunk_max_ms": round(chunks[-1], 1),
        }
    return measured


def _backend_seconds(pid: int) -> float:
    """CPU seconds of a process, user and system (proc_pid_stat(5): fields 14 and 15).

    Unknown (nan) where there is no /proc.
    """
    if not PROC.is_dir():
        return math.nan
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: str, name: str) -> float:
    """A line of /proc/PID/status in MB; without /proc, our own peak or unknown (nan).

    getrusage is only the fallback: Linux keeps its maximum over exec, so it would include the
    parent process.
    """
    if not PROC.is_dir():
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # macOS: bytes
        return own if name == "VmHWM" else math.nan
    match = re.search(rf"^{name}:\s+(\d+) kB", (PROC / pid / "status").read_text(), re.M)
    return int(match[1]) / 1024 if match else math.nan


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as-of", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--at", type=float, default=0.0, help="unix second to begin at")
    options = parser.parse_args()

    import django

    django.setup()
    time.sleep(max(0.0, options.at - time.time()))
    options.out.write_text(json.dumps([measure(options.as_of) for _ in range(options.times)]))


if __name__ == "__main__":
    main()
