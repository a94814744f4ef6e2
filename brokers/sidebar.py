"""The room's entries in the console's sidebar."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

BROKERS: Final = Section(
    "Brokers",
    (
        Link("Accounts", "account_balance", "brokers.BrokerAccount"),
        Link("Feed accounts", "sensors", "brokers.FeedAccount"),
        Link("Contract lists", "download", "brokers.ContractListImport"),
        Link("Login attempts", "login", "brokers.LoginAttempt"),
    ),
)
