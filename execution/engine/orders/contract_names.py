"""Each broker's names of the traded contracts."""

from __future__ import annotations

from collections.abc import Iterable

from brokers.base import BrokerInstrument
from brokers.selectors import instrument_names
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.wire.channel_factory import own_names


class ContractNames:
    """Names by broker and contract, read once."""

    def __init__(self, db: DatabasePool) -> None:
        self._db = db
        self._names: dict[str, dict[int, BrokerInstrument]] = {}

    async def load(self, broker: str, contract_ids: Iterable[int]) -> None:
        """Load the broker's names of contracts that are not known yet."""
        known = self._names.setdefault(broker, {})
        missing = [key for key in contract_ids if key not in known]
        if not missing:
            return
        own = own_names(broker, missing)
        known.update(
            own if own is not None else await self._db.run(instrument_names, broker, missing)
        )

    def of(self, broker: str, contract_id: int) -> BrokerInstrument | None:
        """The broker's name of a contract loaded by :meth:`load`; None: it has none."""
        return self._names.get(broker, {}).get(contract_id)
