"""The account at the broker that stands behind our rows. Pure.

One person may have several rows with the same account: as a customer of two partners, or with two
strategies in it. The broker sees one account: one book, one net position in a contract, one limit
on calls. So everything that concerns the broker is kept per real account, and only what belongs to
a login (session, egress) per row.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple


class RealAccount(NamedTuple):
    """Environment, broker and client id: rows that agree in these are one account at the broker."""

    environment: str
    broker: str
    client_id: str

    def shard(self, shards: int) -> int:
        """Its shard among ``shards``: a stable hash, so that every process agrees.

        An account with open positions stays in its shard; the database makes sure of that
        (docs/adr/0038).
        """
        return zlib.crc32(f"{self.broker}:{self.client_id}".encode()) % shards
