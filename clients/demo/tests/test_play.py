"""``make play``: what its morning is made of, and the morning itself as a newcomer meets it."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from brokers.simulator import facts
from clients.demo import keep_open, play
from clients.demo.installation import ROOT
from clients.demo.story import IST
from clients.ports import claim_block
from quantleap.core.tests.browser import fits, shoot
from quantleap.supervisor import environment_without_servers

README = (ROOT / "README.md").read_text()
#: Seconds. A fresh installation takes about forty; a busy machine three times as long.
PROMPT_WITHIN = 300
TRADE_WITHIN = 180
TOUR_WITHIN = 300
STOPPED_WITHIN = 60


# -- what ends it --------------------------------------------------------------------------------
@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in keep_open.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_closed_terminal_ends_it_but_not_under_nohup() -> None:
    """Seen: an installation left running with nohup ended at the logout."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    keep_open.interrupt_on_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.default_int_handler
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keep_open.interrupt_on_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler


# -- the plan of the morning ---------------------------------------------------------------------
def at(hour: int, minute: int, second: int = 0) -> dt.datetime:
    return dt.datetime.combine(play.DAY, dt.time(hour, minute, second), IST)


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (at(9, 14, 20), at(9, 16)),  # never in the first minute of the session
        (at(9, 15, 25), at(9, 16)),
        (at(9, 15, 26), at(9, 17)),
        (at(9, 21, 59), at(9, 23)),  # a machine that took eight minutes
    ],
    ids=str,
)
def test_the_first_entry_is_at_most_two_minutes_away(now: dt.datetime, first: dt.datetime) -> None:
    """The first entry also leaves 35 seconds, and is never in the session's first minute."""
    assert play.first_entry(now) == first
    assert now + play.FIRST_AFTER <= first <= now + dt.timedelta(minutes=2)


def test_whoever_subscribes_waits_three_minutes_at_most() -> None:
    entries = [slot.entry for slot in play.hours(at(9, 16))]
    assert entries[:3] == [dt.time(9, 16), dt.time(9, 19), dt.time(9, 22)]
    assert len(entries) == len(set(entries)) == 10
    assert play.hours(at(9, 16))[0].exit == dt.time(9, 26)


def test_it_is_a_trading_day_whatever_day_it_is() -> None:
    """Nothing of it is read from today's date: the day and the hour are written down."""
    session = facts.load().session(play.DAY)
    assert session is not None
    assert session.opens == play.MARKET_OPENS
    assert session.opens > play.CLOCK_START
    assert f"{play.DAY:%A, %-d %B %Y}" in README


# -- the morning itself --------------------------------------------------------------------------
@dataclass
class Playing:
    """A running ``make play``, and what it printed."""

    process: subprocess.Popen[str]
    folder: Path
    prompt: str
    prompted: float

    def printed(self, pattern: str) -> str:
        """What stands in the prompt where ``pattern`` has its group."""
        match = re.search(pattern, self.prompt)
        assert match is not None, self.prompt
        return match[1]


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[Playing]:
    """``make play`` in a folder and on ports of its own, up to its prompt."""
    port, claim = claim_block()
    folder = tmp_path / "play"
    command = ("make", "play", f"PLAY_DIR={folder}", f"PORT={port}", f"SIMULATOR_PORT={port + 1}")
    said = tmp_path / "said.txt"
    with claim, said.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_without_servers(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            wait_until(
                lambda: "Watch it:" in said.read_text() or process.poll() is not None, PROMPT_WITHIN
            )
            assert process.poll() is None, said.read_text()
            yield Playing(process, folder, said.read_text(), time.monotonic())
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
            process.wait(STOPPED_WITHIN)
            assert "\nStopped." in said.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.5)


def tour(folder: Path) -> str:
    """The README's shell blocks as they stand, for an installation in another folder."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 8
    return "\n".join(["set -eu", *blocks]).replace("var/play", str(folder))


@pytest.mark.browser
def test_the_readmes_tour_ends_with_positions(playing: Playing, chromium_path: str) -> None:
    """The console shows filled orders within three minutes of the prompt."""
    before = set(ROOT.iterdir())
    walked = playing.folder / "tour.txt"
    with walked.open("w") as output:
        walk = subprocess.Popen(
            ("bash", "-c", tour(playing.folder)),
            cwd=ROOT,
            env=environment_without_servers(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
            look_at_the_console(
                browser.new_page(base_url=playing.printed(r"(http\S+?)/admin/")), playing
            )
            browser.close()
        wait_until(lambda: walk.poll() is not None, TOUR_WITHIN)
    finally:
        if walk.poll() is None:
            os.killpg(walk.pid, signal.SIGKILL)
            walk.wait()
    judge_the_tour(walk.returncode, walked.read_text())
    assert (playing.folder / "invoice.pdf").read_bytes().startswith(b"%PDF-")
    assert set(ROOT.iterdir()) == before  # `invoice.pdf` used to land in the clone


def look_at_the_console(page: Page, playing: Playing) -> None:
    """Log in as the prompt says, and see an order filled within three minutes of it."""
    page.goto("/admin/login/")
    page.fill("[name=username]", playing.printed(r"/admin/   (\S+) / "))
    page.fill("[name=password]", playing.printed(r"/admin/   \S+ / (\S+)"))
    page.click("button[type=submit]")
    # the tour's own customer may have come in time for the first entry, with two orders more
    entered = page.locator("tr", has_text=re.compile("7 of 8|8 of 9"))
    deadline = playing.prompted + TRADE_WITHIN
    while not entered.count():
        assert time.monotonic() < deadline, "no run had entered within three minutes"
        page.wait_for_timeout(1000)
        page.goto("/admin/")
    expect(entered.first).to_contain_text("Entered")
    expect(page.get_by_text("nothing here needs a person")).to_be_visible()
    shoot(page, "play-first-page")
    entered.first.get_by_role("link").first.click()
    filled = page.locator("#orders-list .qd-label", has_text="Filled")
    expect(filled.first).to_be_visible()
    assert filled.count() in (14, 16)
    assert time.monotonic() < deadline
    assert fits(page)


def judge_the_tour(status: int, said: str) -> None:
    """Every step printed something sensible, and none printed hundreds of points."""
    assert status == 0, said[-2000:]
    for expected in (
        '"name": "NIFTY Iron Condor - Weekly"',
        '"message": "Subscription created successfully"',
        '"message": "Broker login completed"',
        '"stop_price"',
        '"state": "FILLED"',
        '"message": "Subscription paused"',
        '"next_entry_affected"',
        " invoices, 0 to review",
        '"number": "QL26-',
        "invoice.pdf",
        "Every check passed.",
    ):
        assert expected in said, expected
    assert '"points"' not in said
    assert said.count("\n") < 1200
