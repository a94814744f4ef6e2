"""An entry's bytes are made before T, and made anew only where they would differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from brokers.base import BrokerInstrument, HttpRequest, OrderRequest, Session
from brokers.registry import get_adapter
from execution import lifecycle
from execution.engine.wire.sockets import Target
from execution.state import LiveExecution, LiveIntent
from execution.tests.inmemory import live_execution, live_intent
from execution.tests.parts import Parts

NAME = BrokerInstrument("NFO", "NIFTY2681125000CE", "1")


class Desk:
    """A desk with one account, and the orders that were written out."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.log_in("first")
        self.desk = Parts(
            channels=SimpleNamespace(by_account=self.channels),
            names=SimpleNamespace(of=lambda *_: NAME),
        ).sender

    def log_in(self, token: str) -> None:
        """A new session is a new channel."""
        self.channels = getattr(self, "channels", {})
        self.channels[1] = SimpleNamespace(
            adapter=SimpleNamespace(place_order=self._place),
            session=Session("AB1234", "key", token),
            target=Target.of("http://127.0.0.1:1", ""),
        )

    def _place(self, session: Session, order: OrderRequest) -> HttpRequest:
        self.made.append(order.tag)
        return get_adapter("zerodha").place_order(session, order)

    def prepared(self, execution: LiveExecution, intent: LiveIntent) -> bytes:
        assert self.desk.prepare(execution, intent)
        return intent.raw


def entry(**fields: Any) -> tuple[LiveExecution, LiveIntent]:
    execution = live_execution(broker="zerodha")
    return execution, live_intent(execution, **fields)


def test_the_sold_legs_bytes_were_made_twice() -> None:
    installation, (execution, intent) = Desk(), entry()
    before = installation.prepared(execution, intent)
    intent.state, intent.sends = lifecycle.SENDING, 1
    assert installation.prepared(execution, intent) == before
    assert len(installation.made) == 1


def test_another_send_has_a_tag_of_its_own() -> None:
    installation, (execution, intent) = Desk(), entry(sends=1)
    before = installation.prepared(execution, intent)
    intent.sends = 2
    after = installation.prepared(execution, intent)
    assert before != after
    assert len(set(installation.made)) == 2


def test_another_session_is_in_the_bytes() -> None:
    installation, (execution, intent) = Desk(), entry()
    assert b"first" in installation.prepared(execution, intent)
    installation.log_in("second")
    assert b"second" in installation.prepared(execution, intent)


def test_an_exit_is_written_out_every_time() -> None:
    """Its price may have been changed while it rested."""
    installation, (execution, intent) = Desk(), entry(purpose=lifecycle.EXIT)
    installation.prepared(execution, intent)
    installation.prepared(execution, intent)
    assert len(installation.made) == 2


def test_nobody_logged_in_is_no_order() -> None:
    installation, (execution, intent) = Desk(), entry()
    installation.channels.clear()
    assert not installation.desk.prepare(execution, intent)
