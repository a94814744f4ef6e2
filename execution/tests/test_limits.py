"""Limits that agree: what the API takes the service takes, the table and the engine's columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction

from brokers.base import BookState, HttpResponse, Side
from brokers.orders import report
from brokers.registry import get_adapter
from brokers.wire_values import MAX_PRICE, MAX_UNITS
from execution import pricing, risk
from execution.models import Execution, LegWatch, OrderIntent
from execution.plan import MAX_SLICES
from marketplace.rules import MAX_PERCENT
from marketplace.tests.factories import load_reference_data, make_template, percent
from marketplace.validation import MAX_LEGS
from partners.tests.factories import make_partner, make_tenant
from quantleap.core.errors import InvalidRequest
from subscriptions import limits
from subscriptions.api.serializers import AllocationRequest, UserSubscribeRequest
from subscriptions.models import Allocation
from subscriptions.tests.factories import make_subscription

#: Field of the API, its largest value, and the columns that must hold it.
BOUNDED = [
    ("lot_multiplier", limits.MAX_LOT_MULTIPLIER, (Allocation, Execution)),
    ("max_lots_per_order", limits.MAX_LOTS_PER_ORDER, (Allocation, Execution)),
    ("priority", limits.MAX_PRIORITY, (Allocation, Execution)),
]


def most(field: Any) -> Decimal:
    """The largest number that a column holds."""
    if isinstance(field, models.DecimalField):
        return Decimal(10) ** (field.max_digits - field.decimal_places) - Decimal(1).scaleb(
            -field.decimal_places
        )
    return Decimal(connection.ops.integer_field_range(field.get_internal_type())[1] or 0)


@pytest.mark.parametrize(("name", "largest", "tables"), BOUNDED)
@pytest.mark.parametrize("serializer", [AllocationRequest, UserSubscribeRequest])
def test_the_api_takes_the_largest_and_every_column_holds_it(
    name: str, largest: Any, tables: tuple[Any, ...], serializer: Any
) -> None:
    field = serializer().fields[name]
    assert field.run_validation(largest) == largest
    with pytest.raises(Exception, match=r"than|digits"):
        field.run_validation(largest + 1)
    for table in tables:
        assert most(table._meta.get_field(name)) >= largest


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "largest", "tables"), BOUNDED)
def test_service_and_table_refuse_one_more_than_the_limit(
    name: str, largest: Any, tables: tuple[Any, ...]
) -> None:
    """Both accept the limit itself."""
    load_reference_data()
    template, partner = make_template(), make_partner()
    subscription = make_subscription(template, partner, **{name: largest})
    allocation = subscription.allocations.get()
    assert getattr(allocation, name) == largest
    with pytest.raises(InvalidRequest) as refused:
        make_subscription(template, partner, **{name: largest + 1})
    assert list(refused.value.details) == [name]
    with pytest.raises((DataError, IntegrityError)), transaction.atomic():
        Allocation.objects.filter(pk=allocation.pk).update(**{name: largest + 1})


def test_a_slice_a_leg_and_a_price_fit_the_columns_of_an_order() -> None:
    column = OrderIntent._meta.get_field
    assert most(column("slice")) >= MAX_SLICES
    assert most(column("leg_index")) >= MAX_LEGS
    assert most(column("group")) >= MAX_LEGS
    assert most(column("quantity")) >= MAX_UNITS
    assert most(column("filled_quantity")) >= MAX_UNITS
    assert most(column("average_price")) >= MAX_PRICE
    assert most(column("reference_price")) >= MAX_PRICE
    dearest = pricing.marketable_limit(
        Side.BUY, last=MAX_PRICE, bid=None, ask=MAX_PRICE, tick=Decimal("0.05"), widen=6
    )
    assert most(column("price")) >= dearest


@pytest.mark.parametrize("side", Side)
def test_the_farthest_levels_of_the_dearest_option_fit(side: Any) -> None:
    """The farthest stop and target fit the columns of the watch."""
    for level, name in ((risk.stop_level, "stop_price"), (risk.target_level, "target_price")):
        price = level(side, MAX_PRICE, percent(int(MAX_PERCENT)), Decimal("0.05"))
        assert price is not None
        assert abs(price) <= most(LegWatch._meta.get_field(name))


# -- at the adapters -----------------------------------------------------------------------------
def row(**fields: Any) -> Any:
    values: dict[str, Any] = {
        "broker_order_id": "B1",
        "tag": "Q1",
        "state": BookState.FILLED,
        "quantity": 65,
        "filled": 65,
        "average": Decimal(100),
        "symbol": "X",
        "exchange": "NFO",
        "side": Side.BUY,
        "product": None,
        "message": "",
        "cause": None,
    }
    return report(**{**values, **fields})


@pytest.mark.parametrize(
    "absurd",
    [
        {"average": Decimal(100_000_000)},
        {"average": MAX_PRICE + Decimal("0.05")},
        {"quantity": 2**31, "filled": 2**31},
    ],
)
def test_a_book_row_with_an_absurd_price_is_unreadable(absurd: dict[str, Any]) -> None:
    """An average price of 1e8 makes only that account's row unreadable."""
    assert row().state is BookState.FILLED, "the control"
    order_report = row(**absurd)
    assert (order_report.state, order_report.filled_quantity, order_report.average_price) == (
        BookState.OTHER,
        0,
        0,
    )
    assert "could not be read" in order_report.message


def test_the_other_rows_of_kites_book_stand() -> None:
    """The rest of a book with an unreadable row is used."""
    body = (
        b'{"status":"success","data":['
        b'{"order_id":"1","status":"COMPLETE","tradingsymbol":"X","exchange":"NFO",'
        b'"transaction_type":"BUY","quantity":65,"filled_quantity":65,"average_price":100000000,'
        b'"tag":"A","product":"MIS"},'
        b'{"order_id":"2","status":"COMPLETE","tradingsymbol":"X","exchange":"NFO",'
        b'"transaction_type":"BUY","quantity":65,"filled_quantity":65,"average_price":101.5,'
        b'"tag":"B","product":"MIS"}]}'
    )
    book = get_adapter("zerodha").parse_order_book(HttpResponse(200, {}, body))
    assert book.ok
    assert [order.state for order in book.orders] == [BookState.OTHER, BookState.FILLED]


@pytest.mark.django_db
def test_33000_orders_are_refused_where_they_are_written() -> None:
    """A multiplier of 33,000 with one lot an order makes that many orders."""
    load_reference_data()
    template, tenant = make_template(), make_tenant("zebu")
    answer = tenant.client.post(
        "/partner/marketplace/subscribe",
        {
            "template_id": template.public_id,
            "user_email": "asha@example.com",
            "user_state": "33",
            "broker_client_id": "Z1",
            "lot_multiplier": 33_000,
            "max_lots_per_order": 1,
        },
    )
    assert answer.status_code == 400
    assert "Makes 33000 orders" in answer.json()["details"]["lot_multiplier"]
