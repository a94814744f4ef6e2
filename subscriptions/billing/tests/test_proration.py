"""Shares of payments and credits: exact in total, never more than there was."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core.money import PAISA, ZERO, share
from subscriptions.billing.invoice_standing import Standing
from subscriptions.billing.settlement import proration
from subscriptions.billing.settlement.proration import Parts
from subscriptions.billing.tests.tax_oracle import tax

money = st.integers(1, 5_000_00).map(lambda paise: Decimal(paise) / 100)
points = st.integers(0, 10_000)


def _invoice(fee: Decimal, intra: bool) -> Parts:
    taxed = tax(fee, Decimal(18), supplier_state="33", place_of_supply="33" if intra else "27")
    return Parts(taxed.taxable, taxed.cgst, taxed.sgst, taxed.igst)


def _cuts(total: Decimal, weights: list[int]) -> list[Decimal]:
    """``total`` in parts that may be credited one after the other."""
    parts, left = [], total
    for weight in weights:
        part = (total * weight / 100).quantize(PAISA)
        if proration.may_credit(total, total - left, part) and part < left:
            parts.append(part)
            left -= part
    return [*parts, left]


def test_three_tenths_of_a_fee_of_999() -> None:
    paid = Standing(Decimal(999), Decimal("1178.82"), paid=Decimal("1178.82"))
    assert proration.commission(paid, 3000) == Decimal("299.70")
    assert proration.base_paid(paid) - proration.commission(paid, 3000) == Decimal("699.30")


@given(money, points, st.lists(st.integers(1, 60), max_size=6), st.booleans())
def test_partial_payments_earn_what_one_payment_earns(
    fee: Decimal, bps: int, weights: list[int], intra: bool
) -> None:
    """No payment lowers the commission, and all of them together earn the full share."""
    total = _invoice(fee, intra).total
    parts = [part for weight in weights if (part := (total * weight / 100).quantize(PAISA))]
    paid = ZERO
    earned = ZERO
    for part in [*parts, total]:
        paid = min(total, paid + part)
        now = proration.commission(Standing(fee, total, paid=paid), bps)
        assert now >= earned, "a payment never loses anybody anything"
        assert abs(now - fee * paid / total * bps / 10_000) < 2 * PAISA
        earned = now
    assert earned == share(fee, bps)


@given(money, st.booleans(), st.lists(st.integers(1, 60), max_size=6))
def test_credits_of_an_invoice_add_up_to_it_part_by_part(
    fee: Decimal, intra: bool, weights: list[int]
) -> None:
    invoice = _invoice(fee, intra)
    credited = Parts(ZERO, ZERO, ZERO, ZERO)
    for amount in _cuts(invoice.total, weights):
        part = proration.credit_parts(invoice, credited, amount)
        assert part.total == amount
        assert part.cgst == part.sgst
        assert min(part.taxable, part.cgst, part.igst) >= 0
        credited = Parts(
            credited.taxable + part.taxable,
            credited.cgst + part.cgst,
            credited.sgst + part.sgst,
            credited.igst + part.igst,
        )
        left = invoice - credited
        assert min(left.taxable, left.cgst, left.igst) >= 0
    assert credited == invoice


@given(money, st.booleans(), points, st.lists(st.integers(1, 60), max_size=6))
def test_a_full_refund_in_any_steps_takes_back_everything(
    fee: Decimal, intra: bool, bps: int, weights: list[int]
) -> None:
    invoice = _invoice(fee, intra)
    credited = Parts(ZERO, ZERO, ZERO, ZERO)
    refunded = ZERO
    earned = share(fee, bps)
    for amount in _cuts(invoice.total, weights):
        part = proration.credit_parts(invoice, credited, amount)
        credited = Parts(
            credited.taxable + part.taxable,
            credited.cgst + part.cgst,
            credited.sgst + part.sgst,
            credited.igst + part.igst,
        )
        refunded += amount
        state = Standing(
            fee, invoice.total, invoice.total, refunded, credited.total, credited.taxable
        )
        left = proration.commission(state, bps)
        assert 0 <= left <= earned
        # per refund within a paisa of floor(share of what stays paid)
        assert left == share(fee - credited.taxable, bps)
        earned = left
    assert earned == 0


@given(st.data(), money)
def test_revenue_and_deferral_are_credited_in_proportion(data: st.DataObject, fee: Decimal) -> None:
    recognised = data.draw(st.integers(0, int(fee * 100))) / Decimal(100)
    credited = data.draw(st.integers(1, int(fee * 100))) / Decimal(100)
    part = proration.recognised_part(recognised, fee, credited)
    assert 0 <= part <= min(recognised, credited)
    assert recognised - part <= fee - credited, "never more earned than there is"
    assert proration.recognised_part(recognised, fee, fee) == recognised


@given(st.lists(st.integers(0, 500), max_size=6), st.integers(0, 2000))
def test_taking_back_begins_with_the_newest(held: list[int], amount: int) -> None:
    rupees = [Decimal(rupee_amount) for rupee_amount in held]
    if amount > sum(held):
        with pytest.raises(ValueError, match="cannot be taken back"):
            proration.take_back(rupees, Decimal(amount))
        return
    parts = proration.take_back(rupees, Decimal(amount))
    assert sum(parts) == amount
    assert all(0 <= part <= available for part, available in zip(parts, rupees, strict=True))
    older = list(accumulate(parts[:-1], initial=ZERO))
    for index, taken_before in enumerate(older):
        if taken_before:
            # something older was touched, so everything newer is gone
            assert parts[index:] == tuple(rupees[index:])


def test_a_credit_is_all_or_a_rupee_at_least() -> None:
    total = Decimal("1178.82")
    for amount, allowed in (
        ("0", False),
        ("0.99", False),
        ("1.00", True),
        ("1177.82", True),
        ("1177.83", False),
        ("1178.82", True),
        ("1178.83", False),
    ):
        assert proration.may_credit(total, ZERO, Decimal(amount)) is allowed, amount
    assert proration.may_credit(Decimal("0.59"), ZERO, Decimal("0.59"))
    with pytest.raises(ValueError, match="cannot be credited"):
        proration.credit_parts(
            _invoice(Decimal(999), True), _invoice(Decimal(999), True), Decimal(1)
        )
