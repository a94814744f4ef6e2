"""Production neither imports the deliberate faults nor starts where they are installed."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from quantleap.embedded.state import PROJECT_ROOT
from quantleap.supervisor import environment_without_servers

pytestmark = pytest.mark.process

WAIT = 240.0  # seconds; a start takes one or two, this is for a machine that is very busy
PRODUCTION = "quantleap.settings.production"
#: Production's settings, copied by somebody who took the faults along.
COPY = """
from quantleap.settings.production import *
QUANTLEAP_PROFILE = {profile!r}
INSTALLED_APPS = [*INSTALLED_APPS, {app!r}]
"""
REFUSED = "refused by ImportError quantleap.faults breaks things"
SET_UP = "import django; django.setup()\n"
SAY = "print('refused by', type(error).__name__, error)\n"
IMPORT = SET_UP + (
    "import sys; assert not any(name.startswith('quantleap.faults') for name in sys.modules)\n"
    "try:\n    import quantleap.faults.execution\n"
    f"except ImportError as error:\n    {SAY}"
)
INSTALL = f"import django\ntry:\n    django.setup()\nexcept ImportError as error:\n    {SAY}"
ASK = SET_UP + (
    "from execution.engine.orders.sender import OrderSender\n"
    "print('wrapped' if hasattr(OrderSender.why_not_send, '__wrapped__') else 'as written')\n"
)


def environment(profile: str, **given: str) -> dict[str, str]:
    """Production as it should be, but for the profile and what is ``given``."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {
        **environment_without_servers(),
        "DJANGO_SETTINGS_MODULE": profile,
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": os.environ["REDIS_URL"],
        "ALLOWED_HOSTS": "console.example.com",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(64),
        "QUANTLEAP_ENCRYPTION_KEYS": f"k:{key}",
        "PYTHONWARNINGS": "ignore",
        **given,
    }


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *command),
        env=env,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


@pytest.fixture(params=["production", "staging"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a profile that installs the faults."""
    app = "quantleap.faults" if request.param == "staging" else "quantleap.faults.apps.FaultsConfig"
    text = COPY.format(profile=request.param, app=app)
    (tmp_path / "copied_settings.py").write_text(text)
    return environment("copied_settings", PYTHONPATH=f"{tmp_path}{os.pathsep}{PROJECT_ROOT}")


def test_production_neither_loads_nor_imports_the_package() -> None:
    done = run("-c", IMPORT, **environment(PRODUCTION))
    assert done.returncode == 0, done.stderr
    assert REFUSED in done.stdout


def test_an_installation_that_has_it_cannot_be_loaded(copy: dict[str, str]) -> None:
    """Whoever gets round the guard before each process gets no further."""
    done = run("-c", INSTALL, **copy)
    assert done.returncode == 0, done.stderr
    assert REFUSED in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("manage.py", "check", "--deploy"),
        (
            *("-m", "gunicorn", "quantleap.wsgi:application", "--worker-class", "gthread"),
            *("--bind", "127.0.0.1:0", "--no-control-socket"),
        ),
        ("-m", "execution.engine.process"),
    ],
    ids=["check --deploy", "gunicorn", "executor"],
)
def test_an_installation_that_has_it_does_not_start(
    copy: dict[str, str], command: tuple[str, ...]
) -> None:
    done = run(*command, **copy)
    assert done.returncode == 4, done.stderr
    assert "QuantLeap does not start: INSTALLED_APPS holds 'quantleap.faults" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "answer"),
    [("send_twice", "wrapped"), ("skip_webhook", "as written"), ("", "as written")],
    ids=["its own", "another", "none"],
)
def test_the_control_a_developers_machine_plants_what_is_named(name: str, answer: str) -> None:
    done = run("-c", ASK, **environment("quantleap.settings.test", QUANTLEAP_FAULT=name))
    assert (done.returncode, done.stdout.strip()) == (0, answer), done.stderr


def test_a_developers_machine_refuses_a_fault_that_is_none() -> None:
    given = environment("quantleap.settings.test", QUANTLEAP_FAULT="sent_twice")
    done = run("manage.py", "check", **given)
    assert done.returncode != 0
    assert "QUANTLEAP_FAULT names 'sent_twice'" in done.stderr


def test_the_image_is_built_without_the_package() -> None:
    left_out = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "quantleap/faults" in left_out
