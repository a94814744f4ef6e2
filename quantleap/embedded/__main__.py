"""``python -m quantleap.embedded start|stop|status``: the two servers without the application."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.processes import is_alive, wait_until
from quantleap.embedded.services import EmbeddedServices
from quantleap.embedded.state import RunLock, ServiceUrls, default_base_dir, discover


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m quantleap.embedded", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--base-dir", type=Path, default=None, help="default: var/ in the clone")
    options = parser.parse_args(arguments)
    base_dir = (options.base_dir or default_base_dir()).absolute()
    try:
        return {"start": start, "stop": stop, "status": status}[options.command](base_dir)
    except EmbeddedServiceError as error:
        print(error, file=sys.stderr)
        return 1


def start(base_dir: Path) -> int:
    """Run both servers until Ctrl-C or SIGTERM."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    with EmbeddedServices(base_dir) as services:
        show(services.urls)
        print("Ctrl-C stops both.", flush=True)
        asked.wait()
    return 0


def stop(base_dir: Path) -> int:
    """Ask the process that runs the services to stop and wait for it."""
    pid = RunLock(base_dir).holder()
    if pid is None:
        print("not running")
        return 0
    os.kill(pid, signal.SIGTERM)
    if wait_until(lambda: not is_alive(pid), 60.0):
        print("stopped")
        return 0
    print(f"process {pid} has not stopped within 60 s", file=sys.stderr)
    return 1


def status(base_dir: Path) -> int:
    """Print the addresses; exit status 3 if nothing runs."""
    urls = discover(base_dir)
    if urls is None:
        print("not running")
        return 3
    show(urls)
    return 0


def show(urls: ServiceUrls) -> None:
    """Print the addresses as shell assignments."""
    for name, value in urls.environment().items():
        print(f"{name}='{value}'")


if __name__ == "__main__":
    sys.exit(main())
