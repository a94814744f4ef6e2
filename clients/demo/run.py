"""``make demo``: plays the story against a fresh installation and judges the day and its month."""

from __future__ import annotations

import argparse
import datetime as dt
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from clients.demo import report
from clients.demo.broker import Simulator
from clients.demo.checks import Verdict, judge
from clients.demo.evidence import Evidence, StopMove
from clients.demo.forms import PageError
from clients.demo.installation import ROOT, Installation, InstallationError
from clients.demo.keep_open import interrupt_on_signals, stay_open, welcome
from clients.demo.month import MonthEnd
from clients.demo.partner import ApiError, PartnerApi, in_parallel
from clients.demo.progress import say
from clients.demo.receiver import Receiver
from clients.demo.secondpartner import SecondPartner
from clients.demo.staff import PartnerKey, Staff
from clients.demo.story import (
    DAY,
    HOLD_SECONDS,
    MARKET_SHIFT,
    PAUSED,
    PLANS,
    STRADDLE,
    ZEBU,
    ZERODHA,
    Customer,
    Hours,
    Plan,
    Story,
    make_story,
)

#: A minute and a half before all who have joined by then are armed; joining takes half of it.
CLOCK_START: Final = dt.time(9, 17)
STAFF: Final = "staff"
SETTINGS: Final = {"QUANTLEAP_VISIBILITY_DELAY": "4", "QUANTLEAP_LOG_LEVEL": "INFO"}
#: Number of executors, which divide the accounts between them as in production.
WORKERS: Final = 2
FUNDS: Final = 50_000_000
LEAVE_BEFORE: Final = 60.0  # seconds before the entry: armed (at 120), not yet committed
MOVE_AFTER: Final = 14.0  # seconds after the entry: hidden orders are visible again by then
RAMP: Final = 4.0
STOPPED_AFTER: Final = 14.0  # seconds after the move by which the stop has triggered
CLOSED_WITHIN: Final = 30.0  # seconds after the exit
WEBHOOKS_WITHIN: Final = 20.0
POLL: Final = 0.5
LOOKED_AT: Final = 3  # straddles whose stops are read before and after the move


@dataclass(frozen=True)
class Config:
    """What to play. ``settings`` are environment variables of the installation.

    ``keep`` leaves the finished day open for browsing until Ctrl-C.
    """

    base_dir: Path
    story: Story
    clock_start: dt.time = CLOCK_START
    settings: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False


class Demo:
    """One run of the story."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.story = config.story
        begin = dt.datetime.combine(DAY, config.clock_start)
        self.installation = Installation(
            config.base_dir,
            begin.isoformat(),
            {**SETTINGS, **config.settings},
            workers=WORKERS,
        )
        self.receiver = Receiver()
        self.subscriptions: dict[tuple[str, str], str] = {}
        self.fault_ids: dict[str, str] = {}
        self.began = time.monotonic()

    def play(self) -> Verdict:
        """From an empty folder to the verdict; everything is stopped in any case."""
        self.receiver.start()
        try:
            say("Installation: PostgreSQL, Valkey, web, workers, beat, broker simulator")
            self.installation.start()
            self.began = time.monotonic()
            verdict = self._day()
            if self.config.keep:
                say("\nThe day is over, and yours to look at.")
                say("\n".join(welcome(self.installation, STAFF, self.password)))
                stay_open(self.installation)
            return verdict
        finally:
            self.installation.stop()
            self.receiver.stop()

    def _day(self) -> Verdict:
        self.simulator = Simulator(*self.installation.simulator.values())
        spot = self.simulator.calm()
        symbols, lot_size = self.simulator.contracts(DAY)
        self.evidence = Evidence(spot=spot, lot_size=lot_size, symbols=symbols)
        say(f"{DAY:%A, %d %B %Y}: NIFTY at {spot}, lots of {lot_size}")
        expected = self.story.expected()
        orders = sum(len(outcome.orders) for outcome in expected)
        say(f"Expected: {orders} entry orders of {len(expected)} subscriptions")
        key = self._staff_prepare()
        self.api = PartnerApi(self.installation.url, key)
        self.second = SecondPartner(self.story, self.installation, self.simulator, self.api)
        self.second.prepare(self.staff)
        self._onboard()
        self._arm_faults()
        self._leave()
        self._entry()
        self._market_moves()
        self._exit()
        self._close_month()
        self._look_back()
        verdict = judge(self.story, self.evidence)
        written = report.as_json(verdict, self.evidence.seconds)
        report.write(self.config.base_dir / "report.json", written)
        for line in report.lines(written):
            say(line)
        return verdict

    # -- before the market -------------------------------------------------------------------
    def _staff_prepare(self) -> PartnerKey:
        say("Operators: calendar, limits, contract lists, first staff account")
        password = self.password = secrets.token_urlsafe(18)
        steps = (
            ("load_freeze_quantities",),
            ("load_calendar",),
            ("import_instruments", "--broker", ZEBU),
            ("import_instruments", "--broker", ZERODHA),
            ("createsuperuser", "--noinput", "--username", STAFF, "--email", "staff@example.com"),
        )
        for step in steps:
            self.installation.command(
                *step, now=self.simulator.now(), DJANGO_SUPERUSER_PASSWORD=password
            )
        say("Staff, in the console: tax, quotes, two strategies, a partner with key and webhooks")
        staff = self.staff = Staff(self.installation.url)
        staff.log_in(STAFF, password)
        staff.enter_tax_and_supplier()
        staff.add_feed("Primary feed", ZERODHA, "FEED01", "PRIMARY")
        staff.add_feed("Spare feed", ZEBU, "FEED02", "SPARE")
        for plan in PLANS:
            staff.publish(plan, [Hours(plan.name, self.story.entry, self.story.exit)])
        partner = staff.add_partner("zebu", "Zebu", f"{self.installation.url}/broker-login/done")
        key = staff.issue_key(partner)
        self.receiver.secret = staff.add_webhook_endpoint(partner, self.receiver.url)
        return key

    def _onboard(self) -> None:
        say("Partner, over the API: accounts, daily logins, subscriptions")
        customers = self.story.customers
        in_parallel("broker accounts", customers, self.api.connect)
        for broker in (ZEBU, ZERODHA):
            for customer in customers:
                if customer.broker == broker:
                    self._fund(customer)
        ready = [customer for customer in customers if customer.absent != "SESSION_EXPIRED"]
        in_parallel("daily logins", ready, self.api.daily_login)
        templates = self.api.templates()
        in_parallel(
            "subscriptions",
            self.story.subscriptions(),
            lambda pair: self._subscribe(*pair, templates),
        )
        in_parallel(
            "multipliers to be refused",
            self.story.illegal(),
            lambda pair: self._try_illegal(*pair, templates),
        )
        self.second.onboard(FUNDS)

    def _fund(self, customer: Customer) -> None:
        body = {"broker": customer.broker, "client_id": customer.client_id, "funds": FUNDS}
        self.simulator.call("POST", "/funds", body)

    def _subscribe(self, customer: Customer, plan: Plan, templates: Mapping[str, str]) -> None:
        subscription = self.api.subscribe(customer, templates[plan.name])
        self.subscriptions[customer.email, plan.key] = subscription

    def _try_illegal(self, customer: Customer, plan: Plan, templates: Mapping[str, str]) -> None:
        try:
            self.api.subscribe(customer, templates[plan.name])
        except ApiError as error:
            if error.status != 400:
                raise
            self.evidence.refusals[customer.email, plan.key] = str(error.body.get("message", ""))

    def _arm_faults(self) -> None:
        for customer, fault in self.story.faulty():
            body = fault.order(customer.broker, customer.client_id)
            self.fault_ids[fault.name] = self.simulator.call("POST", "/faults", body)["id"]
        say(f"Faults waiting at the brokers: {', '.join(self.fault_ids)}")

    def _leave(self) -> None:
        """One customer pauses and one cancels, after their executions were armed."""
        armed = self.story.entry_at - dt.timedelta(seconds=LEAVE_BEFORE)
        if self.simulator.now() < armed:
            self._wait_until(armed, "everybody is armed")
        for customer in self.story.absent():
            leave = self.api.pause if customer.absent == PAUSED else self.api.cancel
            for plan in PLANS:
                mine = self.subscriptions.get((customer.email, plan.key))
                if mine is None or customer.absent == "SESSION_EXPIRED":
                    continue
                self.evidence.next_entry_affected[customer.email, plan.key] = leave(mine)
            say(f"{customer.name}: {customer.absent}")

    # -- the day -----------------------------------------------------------------------------
    def _wait_until(self, instant: dt.datetime, title: str) -> None:
        left = (instant - self.simulator.now()).total_seconds()
        if left < -1:
            raise InstallationError(f"late: {title} was {-left:.0f} s ago; give the set-up longer")
        say(f"Waiting {max(0, left):.0f} s: {title}")
        deadline = time.monotonic() + left
        while (rest := deadline - time.monotonic()) > 0:
            self.installation.check()
            time.sleep(min(POLL, rest))

    def _entry(self) -> None:
        self._wait_until(self.story.entry_at, f"entry at {self.story.entry} IST")
        self._wait_until(
            self.story.entry_at + dt.timedelta(seconds=MOVE_AFTER), "orders, faults and all"
        )
        say(f"  {len(self.simulator.book())} orders at the brokers")

    def _market_moves(self) -> None:
        watched = self._straddles()
        before = [self.api.put_stop(self.subscriptions[c.email, STRADDLE]) for c in watched]
        say(f"The market moves: NIFTY up {MARKET_SHIFT} in {RAMP:.0f} s")
        self.simulator.move(MARKET_SHIFT, RAMP)
        moved = self.simulator.now() + dt.timedelta(seconds=STOPPED_AFTER)
        self._wait_until(moved, "calls stopped, puts moved to cost")
        after = [self.api.put_stop(self.subscriptions[c.email, STRADDLE]) for c in watched]
        self.evidence.stop_moves = [
            StopMove(customer.email, *stops)
            for customer, *stops in zip(watched, before, after, strict=True)
        ]

    def _straddles(self) -> list[Customer]:
        customers = [
            customer
            for customer, plan in self.story.subscriptions()
            if plan.key == STRADDLE and not customer.absent and customer.fault is None
        ]
        return customers[1 : LOOKED_AT + 1]

    def _exit(self) -> None:
        self._wait_until(self.story.exit_at, f"exit at {self.story.exit} IST")
        deadline = time.monotonic() + CLOSED_WITHIN
        while time.monotonic() < deadline:
            self.installation.check()
            if not self.simulator.net_positions():
                say("  every position is closed at the brokers")
                break
            time.sleep(POLL)
        self._until_still(deadline)

    def _until_still(self, deadline: float) -> None:
        """Wait until the API reports that the runs are over."""
        now = self.simulator.now()
        while time.monotonic() < deadline:
            runs = self.installation.run_reports(DAY, now)
            if runs and all(run["status"] in ("CLOSED", "MISSED") for run in runs):
                return
            time.sleep(POLL)

    def _close_month(self) -> None:
        self.evidence.month = MonthEnd(
            self.story,
            self.installation,
            self.simulator,
            self.staff,
            self.api,
            self.subscriptions,
        ).play()
        say(f"  the month took {self.evidence.month.seconds:.0f} s")

    # -- looking back ------------------------------------------------------------------------
    def _look_back(self) -> None:
        evidence = self.evidence
        in_parallel("reading the day back", list(self.subscriptions.items()), self._read_back)
        evidence.book = self.simulator.book()
        evidence.net_positions = self.simulator.net_positions()
        hits = self.simulator.fault_hits()
        evidence.fault_hits = {
            name: hits.get(fault_id, 0) for name, fault_id in self.fault_ids.items()
        }
        evidence.twice = self.second.look()
        # Only runs that are late by the number of customers, not by the pace of a single account.
        names = {plan.name for plan in PLANS}
        runs = self.installation.run_reports(DAY, self.simulator.now())
        evidence.lateness = worst_lateness([run for run in runs if run["template"] in names])
        self._await_webhooks()
        evidence.bad_signatures = list(self.receiver.refused)
        evidence.seconds = time.monotonic() - self.began

    def _read_back(self, item: tuple[tuple[str, str], str]) -> None:
        key, subscription_id = item
        self.evidence.subscriptions[key], execution = self.api.read_back(subscription_id, DAY)
        if execution is not None:
            self.evidence.executions[key] = execution

    def _await_webhooks(self) -> None:
        deadline = time.monotonic() + WEBHOOKS_WITHIN
        while True:
            self.evidence.webhooks = self.receiver.all()
            figures = judge(self.story, self.evidence).figures
            complete = figures["webhooks_delivered"] == figures["webhooks_expected"]
            if complete or time.monotonic() > deadline:
                return
            time.sleep(POLL)


def worst_lateness(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """First, p50, p99 and last write of the first leg group in ms after T, of the worst run."""
    worst: dict[str, float | None] = {}
    for name in ("first", "p50", "p99", "max"):
        figures = [run["lateness_ms"][name] for run in runs if run["lateness_ms"][name] is not None]
        chosen = min if name == "first" else max
        worst[name] = chosen(figures) if figures else None
    return worst


def play(config: Config) -> Verdict | None:
    """Play the story; None (and a message) if a part died on the way."""
    (config.base_dir / "report.json").unlink(missing_ok=True)
    try:
        return Demo(config).play()
    except (InstallationError, PageError, ApiError, requests.RequestException) as error:
        say(f"\nThe demo stopped: {error}")
        say(f"Logs: {config.base_dir / 'log'}")
        return None
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped")
        return None


def main() -> int:
    """Exit status 0 only if all checks passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zebu", type=int, default=200, help="customers at Zebu")
    parser.add_argument("--zerodha", type=int, default=50, help="customers at Zerodha")
    parser.add_argument("--base-dir", type=Path, default=ROOT / "var" / "demo")
    parser.add_argument(
        "--clock-start", type=dt.time.fromisoformat, default=CLOCK_START, help="HH:MM:SS, IST"
    )
    parser.add_argument("--hold", type=int, default=HOLD_SECONDS, help="seconds until the exit")
    parser.add_argument(
        "--keep", action="store_true", help="leave the finished day open until Ctrl-C"
    )
    options = parser.parse_args()
    interrupt_on_signals()
    story = make_story(options.zebu, options.zerodha, options.hold)
    config = Config(
        options.base_dir.absolute(), story, clock_start=options.clock_start, keep=options.keep
    )
    verdict = play(config)
    return 0 if verdict is not None and verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
