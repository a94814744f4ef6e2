"""What the docs promise exists: commands, options, settings, addresses, tasks, codes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.urls import Resolver404, resolve

from execution.descriptions import CAUSES
from partners.webhooks.events import EVENT_TYPES
from quantleap.core.api.exceptions import _BY_STATUS
from quantleap.core.api.openapi import ERROR_SCHEMA
from quantleap.core.errors import DomainError

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = {
    path: path.read_text()
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if "tests" not in path.parts
}
OTHER_CODE = ("Makefile", "compose.yaml", "gunicorn.conf.py")
#: Django's and its apps' own; their options are theirs.
FOREIGN = {"migrate", "check", "collectstatic", "shell", "createsuperuser", "makemigrations"}
#: Not raised on any API route: staff's pages and commands.
STAFF_ONLY = {
    "already_engaged",
    "already_reversed",
    "billing_not_configured",
    "calendar_moved",
    "external_user_id_taken",
    "idem_key_reused",
    "invalid_instrument_file",
    "invoice_changed",
    "not_engaged",
    "no_such_task",
    "nothing_to_credit",
    "out_of_balance",
    "payment_key_reused",
    "receipt_exists",
}

page_of = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(name, long options) of every ``manage.py …`` in a page."""
    for name, rest in re.findall(r"manage\.py ([a-z_]+)([^`\n]*)", text):
        yield name, re.findall(r"(--[a-z][a-z-]*)", rest.split("#")[0])


@page_of
def test_every_command_and_option_exists(page: Path) -> None:
    known = get_commands()
    for name, options in commands(page.read_text()):
        if page.name == "README.md" and page.parent == ROOT and name not in known:
            continue  # prose: "manage.py included"
        assert name in known, f"manage.py {name}"
        if name in FOREIGN:
            continue
        app = known[name]
        assert isinstance(app, str)
        path = Path(str(importlib.import_module(f"{app}.management.commands.{name}").__file__))
        command: Any = load_command_class(app, name)
        offered = set(command.create_parser("manage.py", name)._option_string_actions)
        written = set(re.findall(r'"(--[a-z][a-z-]*)"', path.read_text()))  # subcommands' too
        assert set(options) <= offered | written, f"manage.py {name}"


@page_of
def test_every_setting_exists(page: Path) -> None:
    named = set(re.findall(r"\bQUANTLEAP_[A-Z_]+[A-Z]\b", page.read_text()))
    text = "\n".join([*CODE.values(), *((ROOT / name).read_text() for name in OTHER_CODE)])
    assert {name for name in named if not re.search(rf"\b{name}\b", text)} == set()


def read_in_production() -> set[str]:
    """Variables of the environment that a production installation reads."""
    variables: set[str] = set()
    for name in ("base", "production"):
        text = CODE[ROOT / "quantleap" / "settings" / f"{name}.py"]
        variables |= set(re.findall(r"""\benv\.\w+\(\s*["'](\w+)["']""", text))
        assert text.count("env.") == len(re.findall(r"""\benv\.\w+\(\s*["']""", text)), name
    seed_staff = ROOT / "quantleap" / "core" / "management" / "commands" / "seed_staff.py"
    for text in (CODE[seed_staff], (ROOT / "gunicorn.conf.py").read_text()):
        variables |= set(re.findall(r"""\benviron(?:\.get\(|\[)["'](\w+)["']""", text))
    return variables


def test_every_variable_that_production_reads_is_in_deploy_md() -> None:
    """Bug: neither the brokers' addresses nor the limits of the trading day stood there."""
    read = {name for name in read_in_production() if not name.startswith("QUANTLEAP_SIMULATOR_")}
    assert {"DATABASE_URL", "QUANTLEAP_ADMIN_PASSWORD", "QUANTLEAP_ACCESS_LOG"} <= read
    page = (ROOT / "docs/deploy.md").read_text()
    environment = page[page.index("## Environment") : page.index("## What refuses to start")]
    assert read - set(re.findall(r"`([A-Z_]+)`", environment)) == set()


def test_every_setting_that_nobody_reads_is_gone() -> None:
    """Bug: a switch for figures that are shown nowhere, which did nothing."""
    base = CODE[ROOT / "quantleap" / "settings" / "base.py"]
    others = "\n".join(text for path, text in CODE.items() if path.parent.name != "settings")
    ours = set(re.findall(r"^(QUANTLEAP_\w+)\b", base, re.MULTILINE))
    assert {name for name in ours if not re.search(rf"\b{name}\b", others)} == set()


def test_headings_stand_between_blank_lines() -> None:
    for path in PAGES:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert re.findall(r"^[^\n]+\n(#+ .+)$", text, re.MULTILINE) == [], path.name


@page_of
def test_every_module_that_is_named_exists(page: Path) -> None:
    """``execution/descriptions.py`` in backticks, from the clone, a room or the docs."""
    missing = []
    for name in re.findall(r"`([\w/]+\.(?:py|json|yaml|typ|sh))`", page.read_text()):
        if not name.startswith("var/") and not any(
            str(path).endswith(f"/{name}") for path in files()
        ):
            missing.append(name)
    assert missing == []


def files() -> list[str]:
    """Everything of the project, without what runs leave."""
    tops = (*ROOMS, "clients", "bench", "deploy", "docs")
    inside = [str(path) for top in tops for path in (ROOT / top).rglob("*.*")]
    return [*inside, *(str(path) for path in ROOT.glob("*.*"))]


@page_of
def test_every_console_page_exists(page: Path) -> None:
    """Addresses below /admin/, a number in the place of <id>."""
    for address in re.findall(r"`(?:GET |POST )?(/admin/[\w/<>-]*/)", page.read_text()):
        path = re.sub(r"<\w+>", "1", address)
        try:
            match = resolve(path)
        except Resolver404:
            pytest.fail(f"{address} leads nowhere")
        assert match.func.__name__ != "catch_all_view", f"{address} is nobody's"


def operations() -> set[tuple[str, str]]:
    """(METHOD, path without version) of both public documents; parameters as ``{}``."""
    pairs = set()
    for audience in ("partner", "user"):
        document = yaml.safe_load((ROOT / f"docs/api/openapi-{audience}.yaml").read_text())
        for path, methods in document["paths"].items():
            bare = re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1"))
            pairs |= {(method.upper(), bare) for method in methods}
    return pairs


@page_of
def test_every_route_exists(page: Path) -> None:
    known = operations()
    for method, path in re.findall(
        r"\b(GET|POST|PUT|DELETE) (/(?:partner|user|auth)/[\w/{}-]*)", page.read_text()
    ):
        assert (method, re.sub(r"\{\w+\}", "{}", path)) in known, f"{method} {path}"


def test_what_beat_wakes_is_what_deploy_md_says() -> None:
    table = (ROOT / "docs/deploy.md").read_text().split("What beat wakes")[1].split("\n\n")[1]
    documented = set(re.findall(r"`(\w+\.\w+)`", table))
    assert documented == {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def test_every_cause_that_is_explained_exists() -> None:
    table = (ROOT / "docs/trading-day.md").read_text().split("## Causes")[1].split("\n## ")[0]
    documented = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)*\b", "".join(_first_cells(table))))
    assert documented
    assert documented <= set(CAUSES)


def _first_cells(table: str) -> Iterator[str]:
    return (line.split("|")[1] for line in table.splitlines() if line.startswith("| "))


def test_what_a_test_key_can_do_is_what_partners_md_says() -> None:
    """Bug: the documents promised a test environment whose catalogue nobody can fill."""
    form = CODE[ROOT / "marketplace/admin/forms.py"]
    assert '"environment"' not in form, "templates of the test environment: tell docs/partners.md"
    text = (ROOT / "docs/partners.md").read_text()
    assert "the catalogue of a test key is empty" in text


def codes() -> dict[str, list[str]]:
    """Code of every domain error, with the classes that raise it."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if re.search(r"\.(errors|services|idempotency)(\.|$)", module.name):
                importlib.import_module(module.name)
    by_code: dict[str, list[str]] = {}
    classes = [DomainError]
    for error_class in classes:
        classes += error_class.__subclasses__()
        by_code.setdefault(error_class.code, []).append(error_class.__name__)
    return by_code


def is_raised(name: str) -> bool:
    """Whether some module makes one (``raise X``, ``raise X(…)``), outside its declaration."""
    raised = rf"raise (?:\w+\.)?{name}\b|= {name}\(|return {name}\("
    return any(re.search(raised, text) for text in CODE.values())


def test_every_error_code_in_the_documents_can_be_raised() -> None:
    """Bug: rate_limited and oauth_token_expired, which no code ever produced."""
    named = set(ERROR_SCHEMA["properties"]["code"]["examples"])
    raised = set(codes()) | {code for code, _ in _BY_STATUS.values()}
    assert named - raised == set()
    of_errors = {code: names for code, names in codes().items() if code in named}
    silent = {code for code, names in of_errors.items() if not any(map(is_raised, names))}
    assert silent - {code for code, _ in _BY_STATUS.values()} == set()


def test_every_error_code_of_the_api_is_in_the_documents() -> None:
    named = set(ERROR_SCHEMA["properties"]["code"]["examples"])
    assert set(codes()) - STAFF_ONLY - named == set()


def test_every_event_that_is_offered_is_emitted() -> None:
    """Bug: invoice.payment_failed and key.expiring could be chosen and never came."""
    sources = "\n".join(t for p, t in CODE.items() if not str(p).endswith("webhooks/events.py"))
    silent = {name for name in EVENT_TYPES if f'"{name}"' not in sources}
    assert silent == set()


def test_events_named_in_partners_md_exist() -> None:
    text = (ROOT / "docs/partners.md").read_text()
    kinds = {name.split(".")[0] for name in EVENT_TYPES}
    names = re.findall(r"`([a-z_]+\.[a-z_]+ed)`", text)
    named = {name for name in names if name.split(".")[0] in kinds}
    assert named
    assert named <= set(EVENT_TYPES)
