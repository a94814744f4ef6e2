"""The API keeps its promises: today's documents against stored ones.

``contract/`` holds the documents of 30 November 2026. Clients were generated from them, so nothing
that they promise may be removed or changed; for an intended break, copy docs/api over them.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from quantleap.core.api.compare import Difference, differences
from quantleap.core.api.openapi import AUDIENCES, document_yaml

KEPT = Path(__file__).parent / "contract"
PUBLISHED = ("partner", "user")
LIST = "/api/v1/user/subscriptions"
CANCEL = "/api/v1/user/subscriptions/{subscription_id}"
Document = dict[str, Any]


def published(audience: str) -> Document:
    document: Document = yaml.safe_load((KEPT / f"openapi-{audience}.yaml").read_text())
    return document


@pytest.mark.parametrize("audience", PUBLISHED)
def test_what_was_promised_is_still_promised(audience: str) -> None:
    today = yaml.safe_load(document_yaml(AUDIENCES[audience]))
    broken = [
        str(difference)
        for difference in differences(published(audience), today)
        if difference.breaks
    ]
    assert broken == []


# -- the comparison itself ------------------------------------------------------------------------
def changed(change: Callable[[Document], object]) -> list[Difference]:
    """What the comparison says of one change of a document."""
    new = copy.deepcopy(published("user"))
    change(new)
    return differences(published("user"), new)


def _parameters(document: Document) -> list[Document]:
    parameters: list[Document] = document["paths"][CANCEL]["delete"]["parameters"]
    return parameters


def _schema(document: Document, name: str) -> Document:
    schema: Document = document["components"]["schemas"][name]
    return schema


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a path is gone": (lambda d: d["paths"].pop(LIST), f"/paths/{LIST}"),
    "a method is gone": (lambda d: d["paths"][CANCEL].pop("delete"), f"/paths/{CANCEL}/delete"),
    "an operation has another id": (
        lambda d: d["paths"][LIST]["get"].update(operationId="other"),
        f"/paths/{LIST}/get/operationId",
    ),
    "a status code is gone": (
        lambda d: d["paths"][LIST]["get"]["responses"].pop("200"),
        f"/paths/{LIST}/get/responses/200",
    ),
    "an answer is another schema": (
        lambda d: d["paths"][LIST]["get"]["responses"]["200"]["content"]["application/json"].update(
            schema={"type": "array"}
        ),
        f"/paths/{LIST}/get/responses/200/content/application/json/schema/$ref",
    ),
    "a parameter is gone": (
        lambda d: _parameters(d).pop(0),
        f"/paths/{CANCEL}/delete/parameters/query open_positions",
    ),
    "a parameter takes less": (
        lambda d: _parameters(d)[0]["schema"]["enum"].remove("MANAGE"),
        f"/paths/{CANCEL}/delete/parameters/query open_positions/schema/enum/'MANAGE'",
    ),
    "a parameter more that must be there": (
        lambda d: _parameters(d).append({"in": "query", "name": "new", "required": True}),
        f"/paths/{CANCEL}/delete/parameters/query new",
    ),
    "a body must have a field more": (
        lambda d: _schema(d, "UserSubscribeRequestRequest").update(required=["broker_client_id"]),
        "/components/schemas/UserSubscribeRequestRequest/required",
    ),
    "a property that is called description is gone": (
        lambda d: _schema(d, "TemplateShape")["properties"].pop("description"),
        "/components/schemas/TemplateShape/properties/description",
    ),
    "a property that is called tags has another type": (
        lambda d: _schema(d, "TemplateShape")["properties"]["tags"].update(type="string"),
        "/components/schemas/TemplateShape/properties/tags/type",
    ),
    "a property may be missing": (
        lambda d: _schema(d, "TemplateShape")["required"].remove("tags"),
        "/components/schemas/TemplateShape/required/'tags'",
    ),
}


@pytest.mark.parametrize("why", BREAKS)
def test_a_break_is_named_by_its_place(why: str) -> None:
    change, where = BREAKS[why]
    broken = [difference for difference in changed(change) if difference.breaks]
    assert broken, why
    assert all(difference.where.startswith(where) for difference in broken), broken


ADDITIONS: dict[str, Callable[[Document], object]] = {
    "a path more": lambda d: d["paths"].update({"/api/v1/user/new": {"get": {}}}),
    "a parameter more": lambda d: _parameters(d).append({"in": "query", "name": "new"}),
    "a property more": lambda d: (
        _schema(d, "TemplateShape")["properties"].update(new={"type": "string"}),
        _schema(d, "TemplateShape")["required"].append("new"),
    ),
    "a code more": lambda d: _schema(d, "Error")["properties"]["code"]["examples"].append("new"),
}


@pytest.mark.parametrize("why", ADDITIONS)
def test_an_addition_differs_and_breaks_nobody(why: str) -> None:
    additions = changed(ADDITIONS[why])
    assert additions
    assert not any(difference.breaks for difference in additions), additions


def test_texts_and_their_order_are_no_difference() -> None:
    def other_texts(document: Document) -> None:
        for methods in document["paths"].values():
            for operation in methods.values():
                operation.update(summary="Other", description="Other.", tags=["Other"])
                operation.get("parameters", []).reverse()
        for schema in document["components"]["schemas"].values():
            schema["description"] = "Other."
            schema.get("required", []).reverse()

    assert changed(other_texts) == []


@pytest.mark.process
def test_the_command_says_so_by_its_exit_status(tmp_path: Path) -> None:
    old, new = KEPT / "openapi-user.yaml", tmp_path / "new.yaml"
    document = published("user")
    document["paths"][LIST]["get"]["operationId"] = "other"
    new.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "quantleap.core.api.compare"]

    def run(*names: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, names)],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert (run(old, old).returncode, run(old).returncode) == (0, 2)
    differing = run(old, new)
    assert differing.returncode == 1
    assert differing.stdout == (
        f"/paths/{LIST}/get/operationId: 'user_subscriptions_list' -> 'other'\n"
    )
