"""Shard leases: one owner, growing tokens, and what a claim does with rows found SENDING."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from execution.clock_offset import Reading
from execution.engine.database import leases
from execution.engine.memory.fence import Fence, moment
from execution.engine.memory.ownership import Ownership
from execution.models import Execution, ExecutorNode, ShardLease
from execution.selectors import database_now
from execution.tests.leaserows import T, intent, seconds, traded
from execution.timing import from_settings
from quantleap.core import clock

TTL = 10.0


def lapse(owner: str = "a") -> None:
    """Let the leases of an owner have run out a second ago, by the database's clock."""
    ShardLease.objects.filter(owner=owner).update(expires_at=database_now() - seconds(1))


@pytest.mark.django_db
class TestOwnership:
    """Who owns what."""

    def test_free_shards_are_claimed_up_to_the_share(self) -> None:
        leases.ensure_rows(8)
        claims = leases.claim(owner="a", wanted=5, ttl=TTL)
        assert [c.shard for c in claims] == [0, 1, 2, 3, 4]
        rest = leases.claim(owner="b", wanted=8, ttl=TTL)
        assert [c.shard for c in rest] == [5, 6, 7]

    def test_a_heartbeat_keeps_and_a_lapse_loses(self) -> None:
        leases.ensure_rows(1)
        (first,) = leases.claim(owner="a", wanted=1, ttl=TTL)
        tokens = {0: first.token}
        lapse()
        assert leases.heartbeat(owner="a", tokens=tokens, ttl=TTL) == {0}
        assert leases.claim(owner="b", wanted=1, ttl=TTL) == []
        lapse()
        (second,) = leases.claim(owner="b", wanted=1, ttl=TTL)
        assert second.token > first.token
        assert leases.heartbeat(owner="a", tokens=tokens, ttl=TTL) == set()

    def test_an_old_token_of_the_same_owner_is_nobody(self) -> None:
        leases.ensure_rows(1)
        (first,) = leases.claim(owner="a", wanted=1, ttl=TTL)
        leases.release(owner="a", tokens={0: first.token})
        (second,) = leases.claim(owner="a", wanted=1, ttl=TTL)
        assert leases.heartbeat(owner="a", tokens={0: first.token}, ttl=TTL) == set()
        assert leases.heartbeat(owner="a", tokens={0: second.token}, ttl=TTL) == {0}

    def test_the_others_take_a_leavers_shards_at_once(self) -> None:
        """An executor that leaves no longer counts. Seen: after a clean stop half the shards had no
        owner for 8.9 to 10.5 s."""
        leases.ensure_rows(8)
        for owner in ("a", "b"):
            leases.announce(owner=owner, started_at=T, ttl=TTL)
        mine = {c.shard: c.token for c in leases.claim(owner="a", wanted=4, ttl=TTL)}
        leases.claim(owner="b", wanted=4, ttl=TTL)
        leases.leave(owner="a", tokens=mine)
        alive = leases.announce(owner="b", started_at=T, ttl=TTL).fit
        assert alive == 1
        share = leases.fair_share(8, alive) - 4
        taken = leases.claim(owner="b", wanted=share, ttl=TTL)
        assert {c.shard for c in taken} == set(mine)

    @pytest.mark.parametrize(("shards", "executors", "share"), [(8, 1, 8), (8, 3, 3), (8, 20, 1)])
    def test_fair_share(self, shards: int, executors: int, share: int) -> None:
        assert leases.fair_share(shards, executors) == share

    def test_executors_that_stopped_beating_do_not_count(self) -> None:
        assert leases.announce(owner="a", started_at=T, ttl=TTL).fit == 1
        assert leases.announce(owner="b", started_at=T, ttl=TTL).fit == 2
        late = database_now() - seconds(TTL + 1)
        ExecutorNode.objects.filter(owner="a").update(heartbeat_at=late)
        assert leases.announce(owner="b", started_at=T, ttl=TTL).fit == 1


@pytest.mark.django_db(transaction=True)
def test_two_claimers_never_get_the_same_shard() -> None:
    leases.ensure_rows(8)
    shards_by_owner: dict[str, list[int]] = {}
    barrier = threading.Barrier(4)

    def body(owner: str) -> None:
        barrier.wait(10)
        try:
            claims = leases.claim(owner=owner, wanted=8, ttl=TTL)
            shards_by_owner[owner] = [c.shard for c in claims]
        finally:
            connection.close()

    threads = [threading.Thread(target=body, args=(f"o{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    taken = [shard for shards in shards_by_owner.values() for shard in shards]
    assert len(taken) == len(set(taken))


@pytest.mark.django_db(transaction=True)
def test_a_shard_cannot_be_claimed_under_a_write_of_its_owner() -> None:
    leases.ensure_rows(1)
    (mine,) = leases.claim(owner="a", wanted=1, ttl=TTL)
    lapse()
    with transaction.atomic(), connection.cursor() as cursor:
        assert leases.hold(cursor, owner="a", tokens={0: mine.token}) == {0}
        other: list[Any] = []

        def steal() -> None:
            try:
                other.append(leases.claim(owner="b", wanted=1, ttl=TTL))
            finally:
                connection.close()

        thread = threading.Thread(target=steal)
        thread.start()
        thread.join(10)
        assert other == [[]]  # skipped, not taken
    assert len(leases.claim(owner="b", wanted=1, ttl=TTL)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("lease_ran_out", "sent_at", "state", "sends"),
    [
        (-3.0, None, "PLANNED", 0),  # the old owner had fenced itself before T: never sent
        (+2.0, None, "UNKNOWN", 1),  # it may have sent at T
        (-3.0, 0.1, "UNKNOWN", 1),  # it says it did
    ],
)
def test_what_a_claim_does_with_rows_found_sending(
    lease_ran_out: float,
    sent_at: float | None,
    state: str,
    sends: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "_offset", T.timestamp() + 15 - time.time())  # it is T + 15 s
    execution = traded(0)
    row = intent(execution, "A" * 12, sent_at=None if sent_at is None else T + seconds(sent_at))
    leases.ensure_rows(1)
    expires_at = clock.real(T + seconds(lease_ran_out))
    ShardLease.objects.update(owner="dead", token=5, expires_at=expires_at)
    (claim,) = leases.claim(owner="new", wanted=1, ttl=TTL)
    row.refresh_from_db()
    assert (row.state, row.sends) == (state, sends)
    assert (claim.never_sent, claim.unknown) == ((1, 0) if state == "PLANNED" else (0, 1))


# -- clocks that differ --------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize("fast", [3.0, 9.0, 12.0])
def test_the_executor_with_the_fast_clock_took_the_others_leases(
    fast: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.ensure_rows(2)
    assert leases.announce(owner="right", started_at=T, ttl=TTL).fit == 1
    (mine,) = leases.claim(owner="right", wanted=1, ttl=TTL)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + fast)
    living = leases.announce(owner="fast", started_at=T, ttl=TTL)
    assert living.reading.is_off
    assert abs(living.reading.offset_ms - fast * 1000) <= living.reading.error_ms + 1
    assert living.fit == 1, "only the one whose clock is right counts"
    assert [claim.shard for claim in leases.claim(owner="fast", wanted=2, ttl=TTL)] == [1]
    assert leases.heartbeat(owner="right", tokens={mine.shard: mine.token}, ttl=TTL) == {0}
    # its lease ends as late as everybody's, and nobody was forgotten for its sake
    lease = ShardLease.objects.get(shard=1)
    assert lease.expires_at is not None
    assert lease.expires_at - database_now() <= seconds(TTL)
    assert ExecutorNode.objects.count() == 2


@pytest.mark.parametrize(
    ("offset", "error", "off"),
    [(250, 0, False), (251, 0, True), (-251, 0, True), (900, 700, False), (900, 600, True)],
)
def test_a_slow_answer_of_the_database_condemns_no_clock(
    offset: int, error: int, off: bool
) -> None:
    assert Reading(offset, error).is_off is off


@pytest.mark.django_db
def test_a_clock_that_is_off_takes_open_positions_alone() -> None:
    """Where no other executor is, one with a wrong clock claims shards with open positions only."""
    leases.ensure_rows(4)
    traded(2)
    claims = leases.claim(owner="off", wanted=4, ttl=TTL, only_traded=True)
    assert [claim.shard for claim in claims] == [2]


# -- shards in use -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_open_positions_of_shards_left_behind_were_orphans() -> None:
    """Seen: eight shards became four with a position in the seventh; nobody closed it."""
    leases.ensure_rows(8)
    traded(6)
    assert leases.left_behind(4) == 1
    claims = leases.claim(owner="a", wanted=leases.fair_share(4 + 1, 1), ttl=TTL, shards=4)
    assert [claim.shard for claim in claims] == [6, 0, 1, 2, 3]
    assert leases.claim(owner="b", wanted=8, ttl=TTL, shards=4) == []
    Execution.objects.update(status="CLOSED")
    assert leases.left_behind(4) == 0


@pytest.mark.parametrize("stopped", ["none", "monotonic", "monotonic and boottime"])
def test_an_executor_fences_itself_before_its_lease_can_lapse(
    stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: a paused machine woke up 26 s later and sent; its monotonic clock had stood still."""
    now = dict.fromkeys(("monotonic", "boottime", "real_timestamp"), 1000.0)
    for name in now:
        monkeypatch.setattr(clock, name, lambda name=name: now[name])

    def pass_by(seconds: float) -> None:
        for name in now:
            now[name] += 0.0 if name in stopped else seconds

    timing = from_settings()
    ownership = Ownership("fence", Fence(timing.lease_ttl - leases.FENCE_MARGIN))
    ownership.tokens = {0: 1}
    ownership.fence.renewed(moment())
    assert ownership.owns(0)
    assert not ownership.owns(1)
    pass_by(timing.lease_ttl - leases.FENCE_MARGIN - 0.01)
    assert ownership.owns(0)
    pass_by(0.02)
    assert ownership.fenced()
    assert not ownership.owns(0)
    ownership.fence.renewed(moment())
    assert ownership.owns(0)


def test_a_wall_that_is_set_back_opens_no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    fence = Fence(8.0)
    fence.renewed(moment())
    later, wall = clock.monotonic() + 9.0, clock.real_timestamp() - 3600
    monkeypatch.setattr(clock, "real_timestamp", lambda: wall)
    assert fence.is_open(clock.monotonic())
    assert not fence.is_open(later)
