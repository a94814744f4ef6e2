"""Every action and address of every registered page needs a permission.

Driven by the URL conf and the registry, so that a new button is covered automatically. Bug: the
actions of a library's page needed none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.test import Client
from django_celery_beat.schedulers import ModelEntry

from brokers.tests.factories import make_feed
from execution.models import KillSwitch
from quantleap.core import clock
from quantleap.core.models import StaffUser
from quantleap.core.schedules import required
from quantleap.core.tests.matrix.dataset import Dataset, fingerprint
from quantleap.core.tests.matrix.routes import leaves

#: unfold's kinds of buttons, and Django's own.
KINDS = ("actions", "actions_list", "actions_detail", "actions_row", "actions_submit_line")
#: Actions open to every viewer: they only show something or redirect, and change nothing.
LOOKS = {"view"}
CONFIRM = {"confirm": "yes", "again": "yes", "post": "yes", "reason": "x", "_save": "Save"}


def buttons() -> Iterator[tuple[type[models.Model], Any, str, str]]:
    """Model, page, kind and name of every action of every page."""
    for model, page in admin.site._registry.items():
        for kind in KINDS:
            for entry in getattr(page, kind, None) or ():
                inner = entry["items"] if isinstance(entry, dict) else [entry]
                for name in inner:
                    yield model, page, kind, getattr(name, "__name__", str(name))


def rights_of(page: Any, name: str) -> set[str]:
    """The rights that an action names."""
    method: Any = getattr(page, name, None) or admin.site.get_action(name)
    return set(getattr(method, "allowed_permissions", ()))


def staff(*codenames: str) -> Client:
    user = StaffUser.objects.create_user(f"staff{StaffUser.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def viewer() -> Client:
    """A user who may view everything and change nothing."""
    names = [f"view_{model._meta.model_name}" for model in admin.site._registry]
    return staff(*names)


@pytest.fixture
def rows(dataset: Dataset) -> dict[type[models.Model], Any]:
    """A row for every page that could be made one."""
    make_feed()
    Group.objects.create(name="Finance")
    ModelEntry.from_entry("execution-tick", **required()["execution-tick"])
    KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="x", engaged_at=clock.now())
    return {model: model._default_manager.first() for model in admin.site._registry}


def everything() -> dict[str, Any]:
    """All tables of ours, and those of the libraries that the console shows."""
    tables: dict[str, Any] = dict(fingerprint())
    for label in ("auth", "django_celery_beat"):
        for model in apps.get_app_config(label).get_models():
            tables[model._meta.db_table] = list(model._default_manager.order_by("pk").values())
    return tables


def test_every_action_of_every_page_names_a_right() -> None:
    without = [
        f"{model._meta.label}.{name} ({kind})"
        for model, page, kind, name in buttons()
        if not rights_of(page, name)
    ]
    assert without == []
    assert len(list(buttons())) >= 30


def test_django_s_own_delete_action_is_open_to_nobody_by_looking(
    rows: dict[type[models.Model], Any],
) -> None:
    client = viewer()
    before = everything()
    for model, row in rows.items():
        if row is None:
            continue
        url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        client.post(url, {"action": "delete_selected", "_selected_action": [row.pk], **CONFIRM})
    assert everything() == before


def test_view_permissions_open_no_action(
    rows: dict[type[models.Model], Any], record_property: Any
) -> None:
    """Every address below every page, with a real row, read and posted to."""
    client, before = viewer(), everything()
    named = {
        f"/{getattr(getattr(page, name), 'url_path', name)}/": rights_of(page, name)
        for _, page, kind, name in buttons()
        if kind not in ("actions", "actions_submit_line")
    }
    tried, opened = 0, []
    for model, row in rows.items():
        section = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for path in {path for path, _ in leaves() if path.startswith(section)}:
            if "{" in path and row is None:
                continue
            url = path.replace("{object_id}", str(getattr(row, "pk", ""))).replace(
                "{id}", str(getattr(row, "pk", ""))
            )
            below = "/" + path.removeprefix(section)
            needs = next((r for end, r in named.items() if below.endswith(end)), None)
            for answer in (client.get(url), client.post(url, CONFIRM)):
                tried += 1
                assert answer.status_code < 500, url
                if needs is not None and not needs & LOOKS and answer.status_code not in (403, 404):
                    opened.append(f"{url}: {answer.status_code}")
    assert opened == []
    assert everything() == before
    record_property("tried", f"{tried} bad requests: addresses of the console, rights to look only")
    assert tried >= 300


def test_without_a_right_no_address_of_a_page_opens(
    rows: dict[type[models.Model], Any],
) -> None:
    client = staff()
    opened = []
    for model, row in rows.items():
        section = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for path in {path for path, _ in leaves() if path.startswith(section)}:
            if "{" in path and row is None:
                continue
            url = path.replace("{object_id}", str(getattr(row, "pk", ""))).replace(
                "{id}", str(getattr(row, "pk", ""))
            )
            for answer in (client.get(url), client.post(url, CONFIRM)):
                leads = answer.status_code == 302 and path.endswith("/{object_id}/")
                if answer.status_code not in (403, 404) and not leads:
                    opened.append(f"{url}: {answer.status_code}")
    assert opened == []


def test_a_save_button_that_does_more_needs_the_right_to_save(
    rows: dict[type[models.Model], Any],
) -> None:
    client = viewer()
    for model, page, kind, name in buttons():
        if kind == "actions_submit_line" and rows[model] is not None:
            options = model._meta
            url = f"/admin/{options.app_label}/{options.model_name}/{rows[model].pk}/change/"
            action = f"{options.app_label}_{options.model_name}_{name}"
            assert client.post(url, {action: "1", **CONFIRM}).status_code == 403
            assert rights_of(page, name) - LOOKS


def test_autocomplete_needs_the_view_permission(
    rows: dict[type[models.Model], Any],
) -> None:
    """Django's autocomplete requires the view permission for the chosen model."""
    source: list[tuple[Any, Any]] = [
        (model, field)
        for model in admin.site._registry
        for field in model._meta.fields
        if field.is_relation and field.related_model in admin.site._registry
    ]
    client = staff()
    for model, field in source:
        query = {
            "app_label": model._meta.app_label,
            "model_name": model._meta.model_name,
            "field_name": field.name,
            "term": "",
        }
        assert client.get("/admin/autocomplete/", query).status_code in (403, 404), field
    assert len(source) >= 20


def test_the_search_names_only_pages_that_one_may_open(rows: Any) -> None:
    assert b"Audit" in staff("view_auditentry").get("/admin/search/?s=audit").content
    assert b"Audit" not in staff().get("/admin/search/?s=audit").content
