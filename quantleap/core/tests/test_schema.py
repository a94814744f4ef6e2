"""The OpenAPI documents: one per audience, the same as committed, inner ones for staff only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.test import Client

from quantleap.core.api.openapi import AUDIENCES, build_document
from quantleap.core.models import StaffUser

URL = "/api/v1/schema"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_user("asha", is_staff=True))
    return client


@pytest.mark.parametrize("audience", list(AUDIENCES.values()), ids=lambda audience: audience.name)
def test_a_document_holds_its_audiences_paths_only(audience: Any) -> None:
    document = build_document(audience)
    assert document["openapi"] == "3.1.0"
    assert all(audience.includes(path) for path in document["paths"])
    assert "Error" in document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "default" in operation["responses"]


@pytest.mark.parametrize("audience", list(AUDIENCES.values()), ids=lambda audience: audience.name)
def test_no_description_is_eaten_as_html(audience: Any) -> None:
    """Descriptions are Markdown: a bare <partner> is a tag, and the reader sees nothing of it."""
    eaten = {
        path: text
        for path, text in _descriptions(build_document(audience), "")
        if re.search(r"<[A-Za-z/!]", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL))
    }
    assert eaten == {}


@pytest.mark.parametrize("audience", list(AUDIENCES.values()), ids=lambda audience: audience.name)
def test_every_operation_has_a_summary_and_a_heading(audience: Any) -> None:
    bare = [
        operation["operationId"]
        for methods in build_document(audience)["paths"].values()
        for operation in methods.values()
        if not operation.get("summary") or not any(operation["tags"])
    ]
    assert bare == []


def _descriptions(part: Any, path: str) -> Iterator[tuple[str, str]]:
    children = part.items() if isinstance(part, dict) else enumerate(part)
    for name, value in children:
        where = f"{path}/{name}"
        if name in ("description", "summary", "title") and isinstance(value, str):
            yield where, value
        elif isinstance(value, dict | list):
            yield from _descriptions(value, where)


def test_partner_routes_are_in_the_partners_document() -> None:
    document = build_document(AUDIENCES["partner"])
    operation = document["paths"]["/api/v1/partner/user-tokens"]["post"]
    assert operation["operationId"] == "partner_user_tokens_create"
    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key"]
    assert document["security"] == [{"partnerKey": [], "partnerSecret": []}]


@pytest.mark.django_db
class TestServed:
    """Over HTTP."""

    @pytest.mark.parametrize("accept", ["*/*", "application/yaml"])
    def test_yaml(self, accept: str) -> None:
        answer = Client().get(URL, headers={"Accept": accept})
        assert answer.status_code == 200
        assert yaml.safe_load(answer.content)["info"]["title"] == "QuantLeap partner API"

    def test_json_by_accept_and_by_format(self) -> None:
        by_accept = Client().get(URL, headers={"Accept": "application/json"})
        by_format = Client().get(URL + "?format=json", headers={"Accept": "text/html,*/*"})
        assert json.loads(by_accept.content) == json.loads(by_format.content)

    def test_an_unknown_audience_is_named(self) -> None:
        answer = Client().get(URL + "?audience=everyone")
        assert answer.status_code == 400
        assert answer.json()["details"] == {"audience": "One of partner, user, admin."}

    @pytest.mark.parametrize("url", [URL, "/api/v1/docs"])
    def test_the_admins_document_needs_a_staff_login(self, url: str, staff: Client) -> None:
        anonymous = Client().get(url + "?audience=admin")
        assert anonymous.status_code == 401
        assert anonymous.json()["code"] == "invalid_credentials"
        assert staff.get(url + "?audience=admin").status_code == 200

    def test_the_page_loads_nothing_from_elsewhere(self) -> None:
        page = Client().get("/api/v1/docs?audience=user").content.decode()
        assert "/static/drf_spectacular_sidecar/" in page
        assert "https://" not in page
        assert "audience\\u003Duser" in page  # as the template escapes it in a script
