"""Faults are planted in seams that exist, and leave no trace; each is shown to break something."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_migrate

from clients.demo.controls import CONTROLS
from execution.engine.orders.sender import OrderSender
from execution.engine.wire.paper_channel import PaperChannel
from quantleap.embedded.state import PROJECT_ROOT
from quantleap.faults.catalogue import FAULTS, fault
from quantleap.faults.planting import Fault, Planting, Seam, SeamMissing

HERE = Path(__file__).parent
PRODUCT = ("quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution")
#: Who may name the package or its switch: the profile that installs it, the guard that refuses it.
KNOW_OF_IT = {"quantleap/settings/local.py", "quantleap/core/production_checks.py"}
NAMES_IT = re.compile(r"quantleap[.]faults|QUANTLEAP_FAULT\b")


# -- every fault -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_finds_its_seams_and_leaves_no_trace(name: str) -> None:
    """A seam that was renamed, or made another kind of thing, is found missing here."""
    receivers = list(post_migrate.receivers)
    with FAULTS[name].planted() as planting:
        wrapped = {seam: seam.function() for seam in planting.seams}
    assert wrapped, "it changes something"
    for seam, wrapper in wrapped.items():
        assert seam.function() is vars(wrapper)["__wrapped__"]
    assert post_migrate.receivers == receivers


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_takes_what_its_seams_are_called_with(name: str) -> None:
    """A seam that got another parameter would end the control with a TypeError, hours later."""
    with FAULTS[name].planted() as planting:
        seams = dict(planting.seams)
    for seam, instead in seams.items():
        parameters = inspect.signature(seam.function()).parameters.values()
        named = {
            parameter.name: parameter
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        given = [
            parameter for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY
        ]
        inspect.signature(instead).bind(seam.function(), *given, **named)
        is_async = inspect.iscoroutinefunction(seam.function())
        assert inspect.iscoroutinefunction(instead) is is_async, str(seam)


def test_every_fault_is_shown_to_change_what_it_names() -> None:
    """By a test beside this one that begins with its name."""
    tests = {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    shown = {name for name in FAULTS if any(test.startswith(f"test_{name}_") for test in tests)}
    assert shown == set(FAULTS)


def test_every_control_of_the_demo_is_a_fault() -> None:
    assert set(CONTROLS) - {"none"} <= set(FAULTS)
    assert {name: entry.name for name, entry in FAULTS.items()} == {name: name for name in FAULTS}


# -- what makes a seam -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (OrderSender, "sends_twice"),
        (OrderSender, "has_sent"),
        (PaperChannel, "warm_up_"),
        (PaperChannel, "holds"),
    ],
    ids=["no such method", "a property", "no such method of a child", "inherited"],
)
def test_what_is_no_function_of_its_owner_is_no_seam(owner: Any, name: str) -> None:
    with pytest.raises(SeamMissing, match=name):
        Seam(owner, name).function()


def test_a_fault_with_a_missing_seam_is_not_half_planted() -> None:
    why_not_send = OrderSender.why_not_send

    def wrap(plant: Planting) -> None:
        plant.around(OrderSender, "why_not_send")(lambda original, *given: "")
        plant.around(OrderSender, "sends_twice")(lambda original, *given: "")

    with pytest.raises(SeamMissing, match=r"sender\.OrderSender\.sends_twice"):
        Fault("half", "nothing", wrap).plant()
    assert OrderSender.why_not_send is why_not_send


def test_each_planting_begins_anew() -> None:
    """What one process did first, another one does first too."""
    module = ModuleType("product")
    exec("def total(amount):\n    return amount\n", vars(module))

    def wrap(plant: Planting) -> None:
        calls: list[int] = []

        @plant.around(module, "total")
        def total(original: Any, amount: int) -> int:
            calls.append(amount)
            return int(original(amount)) + len(calls)

    with Fault("more", "sums", wrap).planted() as planting:
        assert [str(seam) for seam in planting.seams] == ["product.total"]
        assert [module.total(10), module.total(10)] == [11, 12]
    with Fault("more", "sums", wrap).planted():
        assert module.total(10) == 11
    assert module.total(10) == 10


# -- at the start ----------------------------------------------------------------------------------
def test_the_setting_plants_its_fault_when_apps_are_ready(settings: Any) -> None:
    settings.QUANTLEAP_FAULT = "reversal_earns"
    planted: list[Planting] = []
    plant = Fault.plant
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fault, "plant", lambda self: planted.append(plant(self)))
        apps.get_app_config("faults").ready()
    ((seam, _),) = planted[0].seams.items()
    try:
        assert str(seam) == "subscriptions.billing.settlement.commissions.claw_back"
        assert hasattr(seam.function(), "__wrapped__")
    finally:
        planted[0].undo()
    assert not hasattr(seam.function(), "__wrapped__")


def test_without_the_setting_nothing_is_wrapped() -> None:
    apps.get_app_config("faults").ready()
    for entry in FAULTS.values():
        with entry.planted() as planting:
            seams = list(planting.seams)
        assert not any(hasattr(seam.function(), "__wrapped__") for seam in seams)


@pytest.mark.parametrize("name", ["sent_twice", "None", " send_twice"])
def test_a_fault_that_is_none_is_refused(settings: Any, name: str) -> None:
    """A control that breaks nothing would prove nothing."""
    settings.QUANTLEAP_FAULT = name
    for refused in (lambda: fault(name), apps.get_app_config("faults").ready):
        with pytest.raises(ImproperlyConfigured, match="none of begin_again, bill_twice"):
            refused()


# -- the product knows nothing of it ---------------------------------------------------------------
def product_modules() -> list[Path]:
    """Code of the product without its tests and without this package."""
    paths = [path for room in PRODUCT for path in (PROJECT_ROOT / room).rglob("*.py")]
    return [path for path in paths if "tests" not in path.parts and HERE.parent not in path.parents]


def test_the_product_names_neither_the_package_nor_its_switch() -> None:
    texts = {
        path.relative_to(PROJECT_ROOT).as_posix(): path.read_text() for path in product_modules()
    }
    assert len(texts) > 300, "all of the product is looked at"
    assert {name for name, text in texts.items() if NAMES_IT.search(text)} == KNOW_OF_IT
