"""``make week``: plays the week on a moved clock, with one executor, and judges every evening."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests

from clients.demo.broker import Simulator
from clients.demo.forms import PageError
from clients.demo.installation import ROOT, Installation, InstallationError
from clients.demo.keep_open import interrupt_on_signals
from clients.demo.partner import ApiError, PartnerApi
from clients.demo.progress import say
from clients.demo.staff import PartnerKey, Staff
from clients.demo.story import IST
from clients.week import story
from clients.week.judge import Evening, OurOrder, Traded, judge
from clients.week.story import FIRST, FOLLOWERS, HAND, LATE, OFFERS, SECOND, STUCK, Day, after
from clients.week.street import POLL, Operator, Street, TimeMachine, wait_for

SETTINGS: Final = {
    "QUANTLEAP_VISIBILITY_DELAY": "4",
    "QUANTLEAP_LOG_LEVEL": "INFO",
    # The clock jumps over the hours, so the minutes before an entry are cut to seconds.
    "QUANTLEAP_ARM_LEAD": "10",
    "QUANTLEAP_CONNECT_LEAD": "5",
}
ARMED_BEFORE: Final = 11.0  # seconds before the entry to which the clock jumps
SETTLED: Final = 25.0  # seconds within which entries and exits finish
LISTS: Final = re.compile(r"Contract lists.{0,600}?Today(?:'|&#x27;)s", re.DOTALL)
HOLIDAY_LOOK: Final = 10.0


class Week:
    """One run of the week."""

    def __init__(self, installation: Installation, days: Sequence[Day], report: Path) -> None:
        self.installation = installation
        self.days = days
        self.report_path = report
        self.began = time.monotonic()
        self.subscriptions: dict[tuple[int, str], str] = {}
        self._first_executor = 0
        self.stray = 0
        self.written: list[dict[str, Any]] = []

    def play(self) -> bool:
        """From an empty folder to the last evening; returns whether all checks passed."""
        say("Installation: PostgreSQL, Valkey, web, workers, beat, broker simulator")
        self.installation.start()
        simulator = Simulator(*self.installation.simulator.values())
        self.street = Street(simulator)
        self.machine = TimeMachine(self.installation)
        self.operator = Operator(self.installation)
        self._prepare()
        held = True
        for number, day in enumerate(self.days):
            if number:
                self._night(self.days[number - 1].date, day)
            held &= self._day(day)
        return held

    # -- before the week -----------------------------------------------------------------------
    def _prepare(self) -> None:
        wait_for(lambda: bool(self.operator.executors()), "the executor")
        admin = self.installation.read("admin.json")
        self.staff = Staff(self.installation.url)
        self.staff.log_in(admin["username"], admin["password"])
        say("Staff: three strategies, a second partner")
        for offer in OFFERS:
            self.staff.publish(offer.plan, [offer.hours])
        second = self.staff.add_partner(
            SECOND, "Second", f"{self.installation.url}/broker-login/done"
        )
        first = PartnerKey(**self.installation.read("partner.json")["live"])
        keys = {FIRST: first, SECOND: self.staff.issue_key(second)}
        self.apis = {name: PartnerApi(self.installation.url, key) for name, key in keys.items()}
        say("Partners: accounts and subscriptions")
        for follower in FOLLOWERS:
            self.apis[follower.partner].connect(follower.customer)
        for follower, offer in story.followings():
            api = self.apis[follower.partner]
            mine = api.subscribe(follower.customer, api.templates()[offer.plan.name])
            self.subscriptions[id(follower), offer.plan.key] = mine

    # -- a day -----------------------------------------------------------------------------------
    def _day(self, day: Day) -> bool:
        expiry = f", {day.expiry} expires" if day.expiry else ""
        say(f"\nDay {day.number}, {day.date:%A, %d %B %Y}{expiry}")
        self._first_executor = len(self.operator.executors()) - 1
        self._morning(day)
        self._entry(day)
        if day.hand_trade:
            self._at(day, story.BY_HAND, "a customer squares off one leg in the broker's app")
            say(f"  {self.street.close_by_hand(HAND)} closed by hand")
        if day.deploy:
            self._at(day, story.DEPLOY, "rolling deployment")
            self.operator.deploy()
        self._at(day, story.NOON, "everybody logs in again")
        self._log_in(FOLLOWERS)
        if day.stuck:
            self._at(day, story.NOON, "a broker refuses one customer's exits from now on")
            self.street.refuse_exits(STUCK)
        self._exit(day)
        return self._evening(day)

    def _at(self, day: Day, wall: dt.time, what: str) -> None:
        self.machine.jump(day.date, wall)
        self.installation.check()
        say(f"  {self.machine.now():%H:%M} {what}")

    def _morning(self, day: Day) -> None:
        self._at(day, story.LISTS_FROM, "contract lists of the day")
        page = f"{self.installation.url}/admin/"
        web = self.staff.browser.session
        wait_for(
            lambda: LISTS.search(web.get(page, timeout=30).text) is not None,
            "today's contract lists",
        )
        self._at(day, story.LISTS_FROM, "the daily logins")
        self._log_in(
            [
                follower
                for follower in FOLLOWERS
                if not (day.late_riser and follower.customer is LATE)
            ]
        )

    def _log_in(self, followers: Sequence[story.Follower]) -> None:
        for follower in followers:
            self.apis[follower.partner].daily_login(follower.customer)

    def _entry(self, day: Day) -> None:
        self._at(day, after(story.ENTRY, -ARMED_BEFORE), "waiting for the entries")
        last = OFFERS[-1].hours.entry
        self._until(day, after(last, 1))
        self._until_still(
            lambda: len([order for order in self.street.book(day.date) if order.filled])
        )
        orders = len(self.street.book(day.date))
        say(f"  {self.machine.now():%H:%M:%S} {orders} orders at the brokers")

    def _exit(self, day: Day) -> None:
        self._at(day, after(OFFERS[0].hours.exit, -3), "waiting for the exits")
        self._until(day, after(OFFERS[-1].hours.exit, 1))
        stuck = {STUCK.client_id} if day.stuck else set()
        deadline = time.monotonic() + SETTLED
        while time.monotonic() < deadline:
            seen = self._observe(day).executions
            if all(
                execution.is_over
                for execution in seen
                if execution.follower.customer.client_id not in stuck
            ):
                break
            time.sleep(POLL)

    def _until(self, day: Day, wall: dt.time) -> None:
        """Wait in real time until the clock shows ``wall``."""
        to = dt.datetime.combine(day.date, wall, IST)
        while self.machine.now() < to:
            self.installation.check()
            time.sleep(POLL)

    def _until_still(self, figure: Callable[[], int]) -> None:
        """Wait until a figure has not changed for two seconds, up to a limit."""
        deadline, before, since = time.monotonic() + SETTLED, -1, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < 2.0:
            now = figure()
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(POLL)

    # -- evenings and nights --------------------------------------------------------------------
    def _evening(self, day: Day) -> bool:
        self._at(day, story.EVENING, "the close is over; judging")
        deadline = time.monotonic() + SETTLED
        while True:
            evening = self._observe(day)
            problems = judge(evening)
            if not any(problems.values()) or time.monotonic() > deadline:
                break
            time.sleep(1.0)
        self.street.forget_faults()
        for name, texts in problems.items():
            say(f"  {'FAIL' if texts else 'PASS'}  {name.replace('_', ' ')}")
            for line in texts[:5]:
                say(f"          {line}")
        pnl = sum(
            (execution.pnl for execution in evening.executions if execution.pnl is not None),
            Decimal(0),
        )
        say(
            f"  {len(evening.book)} orders, P&L {pnl}; {time.monotonic() - self.began:.0f} s so far"
        )
        self._write(day, evening, problems)
        return not any(problems.values())

    def _observe(self, day: Day) -> Evening:
        executions: list[Traded] = []
        left_open: list[Traded] = []
        for follower, offer in story.followings():
            mine = self.subscriptions[id(follower), offer.plan.key]
            path = f"/partner/subscriptions/{mine}/executions"
            for row in self.apis[follower.partner].call("GET", path)["executions"]:
                execution = _traded(follower, offer, row)
                if row["trade_date"] == day.date.isoformat():
                    executions.append(execution)
                elif not execution.is_over:
                    left_open.append(execution)
        return Evening(
            day=day,
            executions=executions,
            book=self.street.book(day.date),
            net=self.street.net(),
            left_open=left_open,
            executors=self.operator.executors()[self._first_executor :],
            expected_executors=2 if day.deploy else 1,
            stray=self.stray,
        )

    def _night(self, before: dt.date, day: Day) -> None:
        """Everything between two trading days, including the holiday."""
        if before < story.HOLIDAY < day.date:
            self.machine.jump(story.HOLIDAY, after(story.ENTRY, -2))
            say(f"\n{story.HOLIDAY:%A, %d %B}: the exchange is closed")
            time.sleep(HOLIDAY_LOOK)
            self.stray = len(self.street.book(story.HOLIDAY))
        if day.restart:
            self.machine.jump(day.date, story.RESTART)
            say(f"\n{self.machine.now():%d %B, %H:%M}: the executor is restarted")
            self.operator.restart()

    def _write(self, day: Day, evening: Evening, problems: Mapping[str, list[str]]) -> None:
        self.written.append(
            {
                "date": day.date.isoformat(),
                "checks": {name: not texts for name, texts in problems.items()},
                "problems": {name: texts for name, texts in problems.items() if texts},
                "executions": {
                    execution.name: [execution.status, execution.cause]
                    for execution in evening.executions
                },
                "left_open": {
                    execution.name: [execution.status, execution.cause]
                    for execution in evening.left_open
                },
                "orders": len(evening.book),
                "by_hand": len(evening.hand),
                "executors": list(evening.executors),
            }
        )
        whole = {"days": self.written, "seconds": round(time.monotonic() - self.began, 1)}
        self.report_path.write_text(json.dumps(whole, indent=2) + "\n")


def _traded(follower: story.Follower, offer: story.Offer, row: Mapping[str, Any]) -> Traded:
    pnl = row["pnl"]
    return Traded(
        follower=follower,
        offer=offer,
        status=row["status"],
        cause=(row.get("failure") or {}).get("cause") or "",
        pnl=None if pnl is None else Decimal(pnl),
        orders=tuple(
            OurOrder(order["tag"], order["symbol"], order["side"], order["filled_quantity"])
            for order in row["orders"]
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only if every check of every evening passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-dir", type=Path, default=ROOT / "var" / "week")
    parser.add_argument("--port", type=int, help="console and API; default: a free one")
    parser.add_argument("--simulator-port", type=int, help="its control port; the next two follow")
    parser.add_argument("--short", action="store_true", help="two days and the night between them")
    options = parser.parse_args(arguments)
    interrupt_on_signals()
    days = story.SHORT if options.short else story.WEEK
    base_dir = options.base_dir.absolute()
    base_dir.mkdir(parents=True, exist_ok=True)
    report = base_dir / "report.json"
    report.unlink(missing_ok=True)
    installation = Installation(
        base_dir,
        dt.datetime.combine(days[0].date, after(story.LISTS_FROM, -60)).isoformat(),
        SETTINGS,
        port=options.port,
        simulator_port=options.simulator_port,
        seed=True,
    )
    try:
        held = Week(installation, days, report).play()
    except (InstallationError, PageError, ApiError, requests.RequestException) as error:
        say(f"\nThe week stopped: {error}\nLogs: {base_dir / 'log'}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped")
        return 1
    finally:
        installation.stop()
    say(f"\n{'Every check of every evening holds' if held else 'A check has failed'}: {report}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
