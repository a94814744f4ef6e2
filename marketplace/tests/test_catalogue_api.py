"""The catalogue's routes: shape, filters, who sees what, caching, query counts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from marketplace import ports
from marketplace.models import Price, Template
from marketplace.services import adjust_subscriber_count, close_to_new
from marketplace.tests import factories as make
from quantleap.core.api.principal import CustomerPrincipal, PartnerPrincipal
from quantleap.core.audit import SYSTEM

PUBLIC = "/api/v1/marketplace/templates"
PARTNER = "/api/v1/partner/marketplace/templates"


def partner(
    partner_id: int = 7, environment: str = "live", permissions: Any = ("marketplace:read",)
) -> APIClient:
    """A client whose authentication already happened (the door itself is partners' to test)."""
    principal = PartnerPrincipal(
        partner_id, "zebu", 1, "key_1", environment, frozenset(permissions)
    )
    client = APIClient()
    client.force_authenticate(user=principal, token=principal)  # type: ignore[arg-type]
    return client


def customer(partner_id: int | None, environment: str = "live") -> APIClient:
    principal = CustomerPrincipal(5, "usr_1", partner_id, environment)
    client = APIClient()
    client.force_authenticate(user=principal, token=principal)  # type: ignore[arg-type]
    return client


class Rates:
    """18 %, and 28 % from tomorrow on; no query, no table of another room."""

    def rate_on(self, day: dt.date) -> Decimal | None:
        return Decimal("18.00") if day <= make.TEST_NOW.date() else Decimal("28.00")

    def within_state(self, day: dt.date, **whose: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def _today(db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    make.load_reference_data()
    monkeypatch.setattr(ports.TAX_RATES, "_implementation", Rates())
    with time_machine.travel(make.TEST_NOW, tick=False):
        yield


def names(client: APIClient, url: str = PUBLIC, **query: Any) -> list[str]:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer.json()
    return [row["name"] for row in answer.json()["templates"]]


def test_the_shape_of_a_row() -> None:
    template = make.make_iron_condor(name="NIFTY Iron Condor - Weekly", description="Four legs.")
    adjust_subscriber_count(template_id=template.pk, delta=45)
    body = partner().get(PARTNER).json()
    assert body["pagination"] == {"total": 1, "page": 1, "per_page": 10}
    pricing = {
        "type": "PAID",
        "monthly_fee": 999,
        "currency": "INR",
        "tax_rate_pct": 18,
        "monthly_total": 1178.82,
    }
    tags = ["NIFTY", "WEEKLY", "IRON_CONDOR"]
    assert body["templates"] == [
        {
            "template_id": template.public_id,
            "basket_id": template.public_id,
            "template_owner_id": "admin_quantleap",
            "name": "NIFTY Iron Condor - Weekly",
            "description": "Four legs.",
            "category": "INCOME",
            "index": "NIFTY",
            "entry_time": "09:20",
            "difficulty_level": "INTERMEDIATE",
            "difficulty": "INTERMEDIATE",
            "tags": tags,
            "subscriber_count": 45,
            "pricing": pricing,
            "marketplace_config": {
                "is_template": True,
                "visibility": "PUBLIC",
                "category": "INCOME",
                "difficulty_level": "INTERMEDIATE",
                "tags": tags,
                "pricing": pricing,
            },
            "performance": {
                "subscriber_count": 45,
                "avg_monthly_return_pct": None,
                "max_drawdown_pct": None,
                "win_rate_pct": None,
            },
            "performance_metrics": {
                "win_rate": None,
                "avg_monthly_return": None,
                "max_drawdown": None,
                "sharpe_ratio": None,
                "trading_days": 0,
                "verified": False,
                "as_of": None,
            },
            "strategy_summary": {
                "index": "NIFTY",
                "entry_time": "09:20",
                "exit_time": "15:15",
                "num_legs": 4,
                "expiry_type": "WEEKLY",
                "num_strategies": 1,
            },
            "version": 1,
            "created_at": "2026-08-04T03:30:00.000000Z",
            "updated_at": "2026-08-04T03:30:00.000000Z",
        }
    ]


def test_the_detail_adds_legs_rules_and_disclosure() -> None:
    template = make.make_short_straddle(disclosure="Options can lose all.", disclosure_version=3)
    body = APIClient().get(f"{PUBLIC}/{template.public_id}").json()["template"]
    assert body["disclosure"] == {
        "required": False,
        "version": 3,
        "text": "Options can lose all.",
    }
    (strategy,) = body["strategies"]
    assert [leg["label"] for leg in strategy["legs"]] == [
        "SELL CE ATM WEEKLY",
        "SELL PE ATM WEEKLY",
    ]
    assert strategy["legs"][0]["stop"] == {"kind": "PREMIUM_PERCENT", "params": {"value": "25"}}
    assert strategy["legs"][0]["words"].endswith("stop at entry premium + 25 %")
    assert strategy["rules"][0] == (
        "Enters at 09:20:00 and exits by 15:15:00 IST, every trading day."
    )
    assert body["payoff_preview"] == []  # no contract list is loaded


def test_the_payoff_preview_of_a_condor() -> None:
    make.load_test_contracts()
    template = make.make_iron_condor()
    (picture,) = (
        APIClient().get(f"{PUBLIC}/{template.public_id}").json()["template"]["payoff_preview"]
    )
    assert picture["simulated"] is True
    assert picture["premium_source"].startswith("Black-Scholes estimate")
    assert len(picture["break_evens"]) == 2
    assert picture["max_profit"] == pytest.approx(picture["net_premium"])
    assert picture["max_loss"] == pytest.approx(picture["net_premium"] - 200 * 65, abs=0.02)


def test_a_black_box_shows_neither_legs_nor_rules() -> None:
    make.load_test_contracts()
    template = make.make_short_straddle(black_box=True)
    row = APIClient().get(PUBLIC).json()["templates"][0]
    assert row["strategy_summary"]["num_legs"] is None
    assert row["strategy_summary"]["expiry_type"] is None
    answer = APIClient().get(f"{PUBLIC}/{template.public_id}")
    body = answer.json()["template"]
    assert body["strategies"][0]["legs"] == []
    assert body["strategies"][0]["rules"] == []
    assert body["payoff_preview"] == []
    for word in ("ATM", "PREMIUM_PERCENT", "ALL_LEGS", "PARTIAL"):
        assert word not in answer.content.decode()


def make_partners(*numbers: int) -> None:
    """Partners of these numbers; the room above is asked for by name."""
    model = apps.get_model("partners", "Partner")
    for number in numbers:
        model.objects.create(
            pk=number, slug=f"of{number}", name=f"Of {number}", default_broker="zebu"
        )


def test_who_sees_what() -> None:
    make_partners(7, 9)
    make.make_template(name="public")
    make.make_template(name="for seven", visibility="PARTNERS", visible_to=[7, 9])
    make.make_template(name="hidden", visibility="PRIVATE", owner="CUSTOMER", owner_customer_id=5)
    make.make_template(name="draft", published=False)
    make.make_template(name="sandbox", environment="test")
    closed = make.make_template(name="closed")
    close_to_new(template_id=closed.pk, actor=SYSTEM, now=make.TEST_NOW)
    both = {"public", "for seven"}
    assert set(names(APIClient())) == {"public"}
    assert set(names(partner(7), PARTNER)) == both
    assert set(names(partner(8), PARTNER)) == {"public"}
    assert set(names(customer(9))) == both
    assert set(names(customer(None))) == {"public"}
    assert names(partner(7, "test"), PARTNER) == ["sandbox"]
    answers = {
        client.get(f"{url}/{template.public_id}").content.split(b"request_id")[0]
        for template in Template.objects.exclude(name__in=both)
        for client, url in ((partner(7), PARTNER), (APIClient(), PUBLIC))
    }
    answers.add(APIClient().get(f"{PUBLIC}/bsk_unknown").content.split(b"request_id")[0])
    assert len(answers) == 1
    assert b'"statusCode":404' in answers.pop()


def test_a_key_needs_its_permission() -> None:
    make.make_template()
    for url in (PARTNER, f"{PARTNER}/bsk_unknown"):
        answer = partner(permissions=()).get(url)
        assert answer.status_code == 403
        assert answer.json()["details"] == {"permission": "marketplace:read"}
        assert customer(None).get(url).status_code == 401
        assert APIClient().get(url).status_code == 401


def test_filters_and_their_allowed_values() -> None:
    make.make_template(name="one", tags=["WEEKLY", "SAFE"], description="Theta, mostly")
    make.make_template(
        name="two",
        strategy={"underlying": "BANKNIFTY"},
        category="DIRECTIONAL",
        difficulty="BEGINNER",
        tags=["WEEKLY"],
        fee=None,
    )
    client = APIClient()
    assert names(client, category="INCOME") == ["one"]
    assert names(client, category="BANKNIFTY") == ["two"]
    assert names(client, index="NIFTY") == ["one"]
    assert names(client, difficulty="BEGINNER") == ["two"]
    assert names(client, pricing_type="FREE") == ["two"]
    assert set(names(client, tag="WEEKLY")) == {"one", "two"}
    assert names(client, tag=["WEEKLY", "SAFE"]) == ["one"]
    assert names(client, q="THETA") == ["one"]
    assert names(client, q="tw") == ["two"]
    assert names(client, q="100%") == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("category", "GAMBLING", "INCOME, DIRECTIONAL"),
        ("index", "DAX", "BANKEX, BANKNIFTY, FINNIFTY, MIDCPNIFTY, NIFTY, SENSEX"),
        ("difficulty", "beginner", "BEGINNER, INTERMEDIATE, ADVANCED"),
        ("pricing_type", "CHEAP", "FREE, PAID"),
        ("sort", "random", "popular, newest, fee"),
        ("tag", "NONE", "IRON_CONDOR, NIFTY, WEEKLY"),
    ],
)
def test_an_unknown_value_is_told_the_allowed_ones(name: str, value: str, allowed: str) -> None:
    make.make_iron_condor()
    answer = APIClient().get(PUBLIC, {name: value})
    assert answer.status_code == 400
    assert allowed in answer.json()["details"][name]


@pytest.mark.parametrize(
    "query",
    [
        "sort=fee&sort=newest",
        "index=",
        "colour=red",
        "page=0",
        "per_page=101",
        "q=%00",
        "q=" + "x" * 101,
        "tag=%00",
        "category=%F0%9F%92%A9",
    ],
)
def test_bad_queries_are_refused_by_name(query: str) -> None:
    answer = APIClient().get(f"{PUBLIC}?{query}")
    assert answer.status_code == 400
    assert query.split("=", maxsplit=1)[0] in answer.json()["details"]


def test_sorting_is_total() -> None:
    later = make.TEST_NOW + dt.timedelta(minutes=1)
    a = make.make_template(name="a", fee=500)
    make.make_template(name="b", fee=None)
    make.make_template(name="c", fee=100, now=later)
    adjust_subscriber_count(template_id=a.pk, delta=3)
    client = APIClient()
    with time_machine.travel(later, tick=False):
        assert names(client) == ["a", "c", "b"]
        assert names(client, sort="newest") == ["c", "b", "a"]
        assert names(client, sort="fee") == ["b", "c", "a"]
        paged = [names(client, sort="fee", per_page=1, page=page) for page in (1, 2, 3, 4)]
    assert paged == [["b"], ["c"], ["a"], []]


def test_the_fee_in_force_for_the_caller() -> None:
    template = make.make_template(fee=999)
    today = dt.date(2026, 8, 4)

    def price(
        fee: int, day: dt.date, partner_id: int | None = None, tier: str = "STANDARD"
    ) -> None:
        Price.objects.create(
            template=template,
            monthly_fee=Decimal(fee),
            effective_from=day,
            partner_id=partner_id,
            tier=tier,
        )

    make_partners(7)
    price(1099, today)
    price(1, today + dt.timedelta(days=1))
    price(2, today, tier="PRO")
    price(799, dt.date(2026, 1, 1), partner_id=7)

    def fee(client: APIClient, url: str) -> Any:
        return client.get(url).json()["templates"][0]["pricing"]["monthly_fee"]

    assert fee(APIClient(), PUBLIC) == 1099
    assert fee(partner(7), PARTNER) == 799
    assert fee(partner(8), PARTNER) == 1099
    Price.objects.filter(partner_id=None, effective_from__lte=today, tier="STANDARD").delete()
    assert names(APIClient()) == []


def test_an_etag_saves_the_answer() -> None:
    make.load_test_contracts()
    template = make.make_template()
    for url in (PUBLIC, f"{PUBLIC}/{template.public_id}"):
        first = APIClient().get(url)
        again = APIClient().get(url, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        adjust_subscriber_count(template_id=template.pk, delta=1)
        changed = APIClient().get(url, headers={"If-None-Match": first.headers["ETag"]})
        assert changed.status_code == 200


def test_prices_are_taxed_at_the_rate_of_the_day() -> None:
    template = make.make_template()
    url = f"{PUBLIC}/{template.public_id}"
    today = APIClient().get(url)
    with time_machine.travel(make.TEST_NOW + dt.timedelta(days=1), tick=False):
        later = APIClient().get(url, headers={"If-None-Match": today.headers["ETag"]})
        row = APIClient().get(PUBLIC).json()["templates"][0]
    assert later.status_code == 200, "another rate is another answer"
    for shown, pct, total in ((today.json()["template"], 18, 1178.82), (row, 28, 1278.72)):
        price = shown["pricing"]
        assert (price["tax_rate_pct"], price["monthly_total"]) == (pct, total)
        assert shown["marketplace_config"]["pricing"] == price


def test_without_a_rate_the_total_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.TAX_RATES, "_implementation", None)
    make.make_template()
    price = APIClient().get(PUBLIC).json()["templates"][0]["pricing"]
    assert (price["monthly_fee"], price["tax_rate_pct"], price["monthly_total"]) == (
        999, None, None,
    )  # fmt: skip


def test_the_same_two_queries_however_many_templates() -> None:
    for number in range(12):
        make.make_template(name=f"t{number}")

    def queries(**query: Any) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert APIClient().get(PUBLIC, query).status_code == 200
        return len(captured)

    assert queries(per_page=1) == queries(per_page=12) == 2


def test_routes_without_a_version_are_the_same() -> None:
    make.make_template()
    answer = APIClient().get("/marketplace/templates")
    assert answer.json() == APIClient().get(PUBLIC).json()
    assert partner().get("/partner/marketplace/templates").status_code == 200
