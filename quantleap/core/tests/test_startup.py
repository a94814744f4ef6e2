"""What production refuses, tried with the real entry points: gunicorn, worker, beat, manage.py.

Bug: with a deliberate fault, a simulator, a moved clock or unusable keys, 5 of 5 gunicorns served
200, because only `manage.py` ran the checks.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quantleap.embedded.postgres import SUPERUSER
from quantleap.embedded.state import PROJECT_ROOT
from quantleap.supervisor import environment_without_servers

pytestmark = pytest.mark.process

WAIT = 240.0  # seconds; a start takes one or two, this is for a machine that is very busy
KEY = base64.b64encode(secrets.token_bytes(32)).decode()
APPLICATION, OWNER = "quantleap_app", "quantleap_owner"

PYTHON = (sys.executable, "-m")
ENTRY_POINTS: dict[str, tuple[str, ...]] = {
    "gunicorn": (
        *(*PYTHON, "gunicorn", "quantleap.wsgi:application", "--worker-class", "gthread"),
        *("--bind", "127.0.0.1:0", "--no-control-socket"),
    ),
    "worker": (*PYTHON, "celery", "-A", "quantleap", "worker", "-P", "threads", "-c", "1"),
    "beat": (*PYTHON, "celery", "-A", "quantleap", "beat"),
    "manage.py": (sys.executable, "manage.py", "check_ledger"),
}
#: What is set wrongly, the variable that has to be named, and its value (None: not set at all).
BAD: dict[str, tuple[str, str | None]] = {
    "no profile": ("DJANGO_SETTINGS_MODULE", None),
    "a profile that is not there": ("DJANGO_SETTINGS_MODULE", "quantleap.settings.prod"),
    "a deliberate fault": ("QUANTLEAP_FAULT", "skip_commit"),
    "the simulator": ("QUANTLEAP_SIMULATOR_URL", "http://127.0.0.1:8900"),
    "a moved clock": ("QUANTLEAP_CLOCK_START", "2026-09-08T09:14:00"),
    "a clock that others can move": ("QUANTLEAP_CLOCK_FILE", "/dev/zero"),
    "a clock that cannot be read": ("QUANTLEAP_CLOCK_START", "tomorrow"),
    "short encryption keys": ("QUANTLEAP_ENCRYPTION_KEYS", "k:c2hvcnQ="),
    "an encryption key of zeros": ("QUANTLEAP_ENCRYPTION_KEYS", f"k:{'A' * 43}="),
    "a guessable secret key": ("DJANGO_SECRET_KEY", "unused"),
    "no cache": ("REDIS_URL", None),
    "a queue without a password": ("REDIS_URL", "redis://127.0.0.1:6379/0"),
    "any host": ("ALLOWED_HOSTS", "*"),
    "links over http": ("QUANTLEAP_PUBLIC_URL", "http://console.example.com"),
    "every proxy": ("QUANTLEAP_TRUSTED_PROXIES", "0.0.0.0/0"),
    "every proxy of IPv6": ("QUANTLEAP_TRUSTED_PROXIES", "::/0"),
    "half the internet": ("QUANTLEAP_TRUSTED_PROXIES", "10.0.0.1,128.0.0.0/1"),
    "hops that are no number": ("QUANTLEAP_TRUSTED_HOPS", "two"),
    "a broker over http": ("QUANTLEAP_ZEBU_API", "http://go.mynt.in"),
    "a login over http": ("QUANTLEAP_ZERODHA_LOGIN", "http://kite.zerodha.com"),
    "weak hashing": ("QUANTLEAP_BCRYPT_ROUNDS", "4"),
    "the owner's role": ("DATABASE_URL", f"postgres://{OWNER}@"),
    "a superuser": ("DATABASE_URL", f"postgres://{SUPERUSER}@"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Production as it should be, on the tests' own servers."""
    return {
        **environment_without_servers(),
        "DJANGO_SETTINGS_MODULE": "quantleap.settings.production",
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": os.environ["REDIS_URL"],
        "ALLOWED_HOSTS": "console.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://console.example.com",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(64),
        "QUANTLEAP_ENCRYPTION_KEYS": f"k:{KEY}",
        "QUANTLEAP_TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8,unix",
        "PYTHONWARNINGS": "ignore",
    }


def environment(good: dict[str, str], name: str, value: str | None) -> dict[str, str]:
    changed = {**good}
    changed.pop(name, None)
    if name == "DATABASE_URL" and value is not None:
        value = good["DATABASE_URL"].replace(f"postgres://{APPLICATION}@", value)
        assert value != good["DATABASE_URL"]
    if value is not None:
        changed[name] = value
    return changed


Starts = dict[tuple[str, str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def starts(good: dict[str, str]) -> Starts:
    """Every entry point with every bad setting, a few at a time."""

    def start(cell: tuple[str, str]) -> subprocess.CompletedProcess[str]:
        entry, bad = cell
        return subprocess.run(
            ENTRY_POINTS[entry],
            env=environment(good, *BAD[bad]),
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )

    cells = [(entry, bad) for entry in ENTRY_POINTS for bad in BAD]
    with ThreadPoolExecutor(6) as pool:
        return dict(zip(cells, pool.map(start, cells), strict=True))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_a_refused_start_names_the_setting(starts: Starts, entry: str, bad: str) -> None:
    ended = starts[entry, bad]
    said = [line for line in ended.stderr.splitlines() if "QuantLeap does not start: " in line]
    assert ended.returncode == 4, ended.stderr
    assert any(BAD[bad][0] in line for line in said), ended.stderr
    assert "Traceback" not in ended.stderr
    value = BAD[bad][1]
    if value and BAD[bad][0] in ("DJANGO_SECRET_KEY", "QUANTLEAP_ENCRYPTION_KEYS"):
        assert value not in ended.stderr


#: The control: the same entry points with good settings, and what each says once it is up.
UP: dict[str, tuple[tuple[str, ...], str]] = {
    "gunicorn": (ENTRY_POINTS["gunicorn"], "Control: serving"),
    "worker": ((*ENTRY_POINTS["worker"], "-Q", "nobody", "-l", "INFO"), " ready."),
    "beat": (
        (*ENTRY_POINTS["beat"], "-l", "INFO", "-S", "celery.beat:Scheduler"),
        "beat: Starting",
    ),
}


@pytest.mark.parametrize("entry", ["gunicorn", "worker", "beat", "manage.py"])
def test_the_good_settings_do_start(good: dict[str, str], entry: str, tmp_path: Path) -> None:
    if entry == "manage.py":
        check = (sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
        done = subprocess.run(check, env=good, cwd=PROJECT_ROOT, timeout=WAIT, check=False)
        assert done.returncode == 0
        return
    command, word = UP[entry]
    if entry == "gunicorn":
        hook = tmp_path / "conf.py"
        hook.write_text(
            "def post_worker_init(worker):\n    print('Control: serving', flush=True)\n"
        )
        command = (*command, "--config", str(hook))
    # beat says that it starts where it says that it beats: at DEBUG
    with process(command, good | {"QUANTLEAP_LOG_LEVEL": "DEBUG"}) as (child, lines):
        assert lines.wait_for(lambda line: word in line), lines.text
        assert child.poll() is None


@pytest.mark.parametrize("entry", ["gunicorn", "worker"])
def test_an_unreachable_database_does_not_prevent_a_start(good: dict[str, str], entry: str) -> None:
    """It may be back before the process manager's next try; the role is judged then."""
    command = UP[entry][0]
    silent = environment(good, "DATABASE_URL", None)
    silent["DATABASE_URL"] = f"postgres://{APPLICATION}@127.0.0.1:1/quantleap"
    with process(command, silent) as (child, lines):
        assert lines.wait_for(lambda line: "database_unreachable_at_start" in line), lines.text
        assert child.poll() is None


def test_a_command_without_profile_uses_no_named_database(good: dict[str, str]) -> None:
    """`local` is what a bare clone gets; it must not get hold of production's database."""
    naked = environment(good, "DJANGO_SETTINGS_MODULE", None)
    del naked["DATABASE_URL"], naked["REDIS_URL"]
    command = (sys.executable, "manage.py", "help")
    for given, status in (({}, 0), ({"DATABASE_URL_FILE": "/run/secrets/database_url"}, 4)):
        done = subprocess.run(
            command, env={**naked, **given}, cwd=PROJECT_ROOT, capture_output=True, check=False
        )
        assert done.returncode == status, done.stderr


def test_the_build_profile_has_no_keys_and_serves_nobody(tmp_path: Path) -> None:
    building = {
        **environment_without_servers(),
        "DJANGO_SETTINGS_MODULE": "quantleap.settings.build",
        "PYTHONWARNINGS": "ignore",
    }
    command = (sys.executable, "manage.py", "collectstatic", "--noinput", "--dry-run")
    done = subprocess.run(command, env=building, cwd=PROJECT_ROOT, timeout=WAIT, check=False)
    assert done.returncode == 0
    refused = subprocess.run(
        ENTRY_POINTS["beat"],
        env=building,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert (refused.returncode, "DJANGO_SETTINGS_MODULE" in refused.stderr) == (4, True)


# -- a process that is supposed to stay ------------------------------------------------------------
class Lines:
    """What a process has said so far."""

    def __init__(self, stream: Iterator[str]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def wait_for(self, matches: Callable[[str], bool]) -> bool:
        """Whether a line like that came before the process ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(map(matches, self._lines)), WAIT)
            return any(map(matches, self._lines))

    def close(self) -> None:
        """Once the process and its group are gone."""
        self._reader.join(WAIT)

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class process:
    """Starts a command for the length of a ``with`` block; all of its group ends with it."""

    def __init__(self, command: tuple[str, ...], env: dict[str, str]) -> None:
        self._command, self._env = command, env

    def __enter__(self) -> tuple[subprocess.Popen[str], Lines]:
        self._child = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        self._lines = Lines(self._child.stdout)
        return self._child, self._lines

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(WAIT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(WAIT)
            self._lines.close()
            assert self._child.stdout is not None
            self._child.stdout.close()
