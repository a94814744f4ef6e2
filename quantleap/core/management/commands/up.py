"""``manage.py up``: the whole installation on this machine (``make run``)."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any, Final

from django.core.management import get_commands
from django.core.management.base import BaseCommand, CommandError

from quantleap.embedded import EmbeddedServiceError
from quantleap.embedded.processes import die_with_parent
from quantleap.embedded.state import default_base_dir
from quantleap.supervisor import Layout, Supervisor, SupervisorError

KINDS: Final = ("web", "worker", "beat", "simulator")


class Command(BaseCommand):
    """Servers, database, seed, web, worker, beat and broker simulator, until Ctrl-C."""

    help = "Run everything on this machine until Ctrl-C (embedded servers, web, worker, beat)."
    # Every child runs the checks; here they would only run before there is a database.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; the defaults are those of ``make run``."""
        defaults = Layout()
        parser.add_argument("--port", type=int, default=defaults.port, help="console and API")
        parser.add_argument(
            "--simulator-port",
            type=int,
            default=defaults.simulator_port,
            help="control port; the next two ports serve the brokers' formats",
        )
        parser.add_argument("--workers", type=int, default=1, help="Celery worker processes")
        parser.add_argument("--only", action="append", choices=KINDS, help="start only these")
        parser.add_argument("--base-dir", type=Path, help="default: var/ in the clone")
        parser.add_argument("--clock-start", help="ISO 8601; IST unless it names an offset")
        parser.add_argument("--fresh", action="store_true", help="empty the embedded servers first")
        parser.add_argument("--no-seed", action="store_true", help="leave the database unseeded")
        parser.add_argument(
            "--die-with-parent", action="store_true", help="stop when make or the demo is killed"
        )
        parser.add_argument("--quiet", action="store_true", help="print only failures")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start everything, watch it, stop it."""
        supervisor = Supervisor(
            base_dir=options["base_dir"] or default_base_dir(),
            layout=Layout(
                port=options["port"],
                simulator_port=options["simulator_port"],
                workers=options["workers"],
                only=frozenset(options["only"]) if options["only"] else None,
            ),
            clock_start=options["clock_start"],
            fresh=options["fresh"],
            report=(lambda line: None) if options["quiet"] else self._say,
        )
        asked = threading.Event()
        _interrupt_on_signals()
        if options["die_with_parent"]:
            die_with_parent(signal.SIGTERM)
        try:
            supervisor.start(seed="seed" in get_commands() and not options["no_seed"])
            if not options["quiet"]:
                self._welcome(supervisor)
            _set_on_signals(asked)
            supervisor.watch(asked)
        except KeyboardInterrupt:
            self._say("interrupted")
        except (SupervisorError, EmbeddedServiceError) as error:
            raise CommandError(str(error)) from error
        finally:
            _set_on_signals(asked)  # a second Ctrl-C must not cut the orderly stop short
            supervisor.stop()
        if not options["quiet"]:
            self._say("stopped")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _welcome(self, supervisor: Supervisor) -> None:
        self._say(f"\nQuantLeap is up: {supervisor.layout.url}/admin/")
        self._say(f"logs in {supervisor.base_dir / 'log'}; Ctrl-C stops everything")
        welcome = supervisor.base_dir / "run" / "welcome.txt"
        if welcome.exists():
            self._say("\n" + welcome.read_text())


STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _stop_signals() -> list[signal.Signals]:
    """The signals that stop the installation; not a closed terminal under ``nohup``, which stays
    ignored."""
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in STOP_SIGNALS if not (nohup and number == signal.SIGHUP)]


def _interrupt_on_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _stop_signals():
        signal.signal(number, interrupt)


def _set_on_signals(asked: threading.Event) -> None:
    for number in _stop_signals():
        signal.signal(number, lambda number, frame: asked.set())
