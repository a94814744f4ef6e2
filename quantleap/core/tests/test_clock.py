"""One clock, which a demo may move and nobody may stop."""

from __future__ import annotations

import datetime as dt
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core import clock

READ = "from quantleap.core import clock; print(clock.now().isoformat(), clock.offset_seconds())"


def elsewhere(**environment: str) -> subprocess.CompletedProcess[str]:
    """A separate process, because the offset is read once, at import."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("QUANTLEAP_CLOCK")
    }
    return subprocess.run(
        [sys.executable, "-c", READ],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_variables_it_is_the_real_time() -> None:
    assert elsewhere().stdout.split()[1] == "0.0"


@pytest.mark.parametrize("start", ["2026-08-04T09:16:00", "2026-08-04T03:46:00+00:00"])
def test_two_processes_with_one_anchor_have_one_time(start: str) -> None:
    anchor = repr(clock.real_now().timestamp())
    offsets = {
        elsewhere(QUANTLEAP_CLOCK_START=start, QUANTLEAP_CLOCK_ANCHOR=anchor).stdout.split()[1]
        for _ in range(2)
    }
    assert len(offsets) == 1
    moved = dt.datetime.fromtimestamp(float(anchor) + float(offsets.pop()), dt.UTC)
    assert abs(moved - dt.datetime(2026, 8, 4, 3, 46, tzinfo=dt.UTC)) < dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    "variables",
    [
        {"QUANTLEAP_CLOCK_START": "yesterday"},
        {"QUANTLEAP_CLOCK_START": "2026-08-04T09:16:00", "QUANTLEAP_CLOCK_ANCHOR": "noon"},
    ],
)
def test_an_unreadable_variable_stops_the_start(
    variables: dict[str, str],
) -> None:
    failed = elsewhere(**variables)
    assert failed.returncode != 0
    assert "QUANTLEAP_CLOCK_" in failed.stderr


def shared(path: Path, offset: float) -> Path:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(struct.pack("<d", offset))
    return path


def test_the_clock_of_a_living_process_could_not_be_moved(tmp_path: Path) -> None:
    """Bug: the origin was read at the start, so that nobody lived through a second day."""
    path = shared(tmp_path / "clock", 3600.0)
    asks = "import sys\nfrom quantleap.core import clock\n"
    asks += "for _ in sys.stdin: print(clock.offset_seconds(), clock.moved_by(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", asks],
        env=os.environ | {"QUANTLEAP_CLOCK_FILE": str(path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset in (3600.0, 3600.0 + 86_400.0, -5.5):
            shared(path, offset)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline().split() == [str(offset), "QUANTLEAP_CLOCK_FILE"]
        process.stdin.close()


@pytest.mark.parametrize("content", [b"", b"abc"], ids=["empty", "short"])
def test_a_clock_file_that_is_none_stops_the_start_by_its_name(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "clock"
    path.write_bytes(content)
    for name in (str(path), str(tmp_path / "missing")):
        failed = elsewhere(QUANTLEAP_CLOCK_FILE=name)
        assert failed.returncode != 0
        assert "QUANTLEAP_CLOCK_FILE" in failed.stderr


@given(st.datetimes(min_value=dt.datetime(2000, 1, 1), max_value=dt.datetime(2100, 1, 1)))
def test_indian_wall_clock_and_instant_are_equivalent(
    naive: dt.datetime,
) -> None:
    instant = naive.replace(tzinfo=dt.UTC)
    wall = clock.to_ist(instant)
    assert clock.at_ist(wall.date(), wall.time()) == instant
    assert clock.ist_date(instant) == (naive + dt.timedelta(hours=5, minutes=30)).date()
