"""``manage.py check_ledger [--json]``: the checks of the ledger, and its trial balance."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from quantleap.core import clock
from subscriptions.billing.ledger import checks
from subscriptions.billing.ledger.trial_balance import TrialBalance, trial_balance
from subscriptions.billing.models import LedgerCheck


def report(check: LedgerCheck, balance: TrialBalance) -> dict[str, Any]:
    """Both results as JSON; rupees as text, debit positive."""
    return {
        "checked_at": check.checked_at.isoformat(),
        "ok": check.ok,
        "findings": check.findings,
        "accounts": check.accounts,
        "transactions": check.transactions,
        "entries": check.entries,
        "invoices": check.invoices,
        "ledger_sum": str(balance.sum),
        "unbalanced_transactions": balance.unbalanced,
        "trial_balance": {
            line.name: {
                "kind": line.kind,
                "accounts": line.accounts,
                "debit": str(line.debit),
                "credit": str(line.credit),
                "balance": str(line.balance),
            }
            for line in balance.lines
        },
    }


class Command(BaseCommand):
    """Run the nightly checks and store the result. Exit status 1: the ledger is wrong."""

    help = "Check the ledger now; print its trial balance and what was found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="machine-readable")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and print; the exit status is the result."""
        check = checks.check_ledger(now=clock.now())
        balance = trial_balance()
        if options["json"]:
            self.stdout.write(json.dumps(report(check, balance), indent=2))
        else:
            self._print(check, balance)
        if not check.ok:
            raise SystemExit(1)

    def _print(self, check: LedgerCheck, balance: TrialBalance) -> None:
        self.stdout.write(f"{'':<26}{'debit':>18}{'credit':>18}{'balance':>18}")
        for line in balance.lines:
            self.stdout.write(f"{line.name:<26}{line.debit:>18}{line.credit:>18}{line.balance:>18}")
        self.stdout.write(
            f"{check.entries} entries of {check.transactions} transactions add up to "
            f"{balance.sum}; {check.invoices} invoices"
        )
        for finding in check.findings:
            self.stdout.write(f"WRONG: {finding['what']} ({finding['count']})")
            for example in finding["examples"]:
                self.stdout.write(f"  {example}")
        if check.ok:
            self.stdout.write("Every check passed.")
