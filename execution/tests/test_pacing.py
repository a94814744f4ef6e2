"""One pace for each real account; exits go before entries, entries before reads."""

from __future__ import annotations

from brokers.pace import JITTER, Call
from brokers.registry import get_adapter
from execution.pacing import ENTRIES, EXITS, READS, Pacers

KITE = get_adapter("zerodha").capabilities
NOREN = get_adapter("zebu").capabilities


def test_exits_are_more_urgent_than_entries_and_reads_least() -> None:
    assert EXITS < ENTRIES < READS


def test_one_person_at_two_partners_has_one_pace() -> None:
    pacers = Pacers()
    first, second = pacers.of(KITE, "AB1234"), pacers.of(KITE, "AB1234")
    for _ in range(8):
        first.take(0.0, Call.PLACE)
    assert second.next_slot(0.0, Call.PLACE, ENTRIES) == 1.0 + JITTER
    assert pacers.of(KITE, "XY9876").next_slot(0.0, Call.PLACE, ENTRIES) == 0.0
    assert pacers.of(NOREN, "AB1234").next_slot(0.0, Call.PLACE, ENTRIES) == 0.0


def test_a_burst_of_entries_leaves_room_for_an_exit() -> None:
    """An exit may leave in the second of the burst."""
    pacer = Pacers().of(KITE, "AB1234")
    sent = 0
    while pacer.next_slot(0.0, Call.PLACE, ENTRIES) == 0.0:
        pacer.take(0.0, Call.PLACE)
        sent += 1
    assert sent == 8
    assert pacer.next_slot(0.0, Call.CHANGE, EXITS) == 0.0


def test_reads_of_the_book_never_use_up_a_noren_login() -> None:
    """Its minute counts all calls together: polling twice a second alone would fill it."""
    pacer, reads = Pacers().of(NOREN, "Z56004"), 0
    for half_second in range(120):
        now = half_second / 2
        if pacer.next_slot(now, Call.READ, READS) == now:
            pacer.take(now, Call.READ)
            reads += 1
    assert reads == 71
    assert pacer.next_slot(59.5, Call.PLACE, ENTRIES) == 59.5
