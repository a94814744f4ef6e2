"""The rooms themselves under the hold stories: their services, their runs, their PostgreSQL.

Whatever a story numbers (subscriptions, accounts, holds) is found by that number here, and an
answer comes in the model's words, so that the two can be compared.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.selectors import trading_accounts
from brokers.services.accounts import (
    connect_account,
    disable_account,
    enable_account,
    remove_account,
)
from execution import services as day
from execution.arming import arm_due
from execution.models import Execution, KillSwitch, Run
from execution.tests.holdmodel import CHANGED, SAME
from execution.tests.holdrecords import Account, Followed, Offer, Person, Refused
from execution.tests.holdrecords import Hold as ModelHold
from execution.timing import Timing
from marketplace import services as marketplace
from marketplace.models import Strategy, Template
from marketplace.tests.factories import make_template
from partners.models import Customer
from partners.suspensions import carry_out_due, reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import ist_date
from quantleap.core.errors import DomainError
from subscriptions import services
from subscriptions.billing.invoicing import runs
from subscriptions.billing.models import CreditNote, Invoice
from subscriptions.billing.settlement import withdrawal_credits
from subscriptions.billing.tests.factories import HOME, pay
from subscriptions.models import Hold, Subscription

#: Sessions of all accounts hold for ever: whether somebody logged in is another story's.
_FOR_EVER: Final = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
_BESIDE: Final = ("status", "status_reason", "holder", "hold_reason", "hold_scope")

#: All that is compared after each step, in one question: it is asked ten thousand times.
_LOOK: Final = """
SELECT json_build_object(
    'subscriptions', (SELECT json_agg(json_build_array(
        id, status, status_reason, status_note, extract(epoch FROM status_changed_at)::bigint
    )) FROM subscriptions_subscription),
    'holds', (SELECT json_agg(id) FROM subscriptions_hold WHERE lifted_at IS NULL),
    'invoices', (SELECT json_agg(json_build_array(
        subscription_id, period_start, period_end)) FROM billing_invoice),
    'stopped', (SELECT json_agg(json_build_array(subscription_id, anchor, next_no, stop_on))
                  FROM billing_billingsegment
                 WHERE stop_on IS NOT NULL AND next_on IS NOT NULL),
    'unbilled', (SELECT json_agg(id) FROM subscriptions_subscription AS s
                  WHERE status = 'ACTIVE' AND ends_on IS NULL AND environment = 'live'
                    AND monthly_fee > 0 AND NOT EXISTS (
                        SELECT FROM billing_billingsegment
                         WHERE subscription_id = s.id AND stop_on IS NULL)),
    'armed', (SELECT json_agg(json_build_array(e.subscription_id, e.account_id))
                FROM execution_execution AS e JOIN execution_run AS r ON r.id = e.run_id
               WHERE e.status = 'ARMED' AND r.trade_date = %s),
    'followers', (SELECT json_agg(json_build_array(template_id, subscriber_count))
                    FROM marketplace_templatestats))
"""


@dataclass
class Seen:
    """What the database holds, by its own keys."""

    subscriptions: dict[int, tuple[str, str, str, int]]
    holds: set[int]
    invoices: list[tuple[int, dt.date, dt.date]]
    #: What was stopped and has something left to bill: subscription, anchor, next month, last day.
    stopped: list[tuple[int, dt.date, int, dt.date]]
    #: Paid ones that trade, are renewed, and have no month to come.
    unbilled: list[int]
    armed: set[tuple[int, int]]
    followers: dict[int, int]


@dataclass
class Rooms:
    """Keys of the rows by the story's numbers and names."""

    timing: Timing
    partners: dict[str, int] = field(default_factory=dict)
    templates: dict[str, int] = field(default_factory=dict)
    customers: dict[str, int] = field(default_factory=dict)
    subscriptions: dict[int, int] = field(default_factory=dict)
    accounts: dict[int, int] = field(default_factory=dict)
    holds: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Rooms:
        """The same rows, for a story that adds its own."""
        return replace(
            self,
            subscriptions=dict(self.subscriptions),
            accounts=dict(self.accounts),
            holds=dict(self.holds),
        )

    # -- the cast --------------------------------------------------------------------------------
    def meets(self, person: Person) -> None:
        """A partner, and a customer of theirs who lives where the supplier is."""
        if person.partner not in self.partners:
            self.partners[person.partner] = make_partner(person.partner).pk
        self.customers[person.name] = Customer.objects.create(
            partner_id=self.partners[person.partner],
            environment=person.environment,
            email=_email(person),
            state=HOME,
        ).pk

    def offers(self, offer: Offer, now: dt.datetime) -> None:
        template = make_template(
            name=offer.name,
            fee=offer.fee,
            environment=offer.environment,
            strategy={"weekdays": list(offer.weekdays)},
            now=now,
        )
        self.templates[offer.name] = template.pk

    def connects(self, person: Person, account: Account, now: dt.datetime) -> None:
        """Connects an account and logs in."""
        connect_account(
            customer=Customer.objects.get(pk=self.customers[person.name]),
            broker="zebu",
            client_id=account.client,
            api_key="key",
            api_secret="secret",
            actor=SYSTEM,
            now=now,
        )
        self._logs_in(person, account)

    def _logs_in(self, person: Person, account: Account) -> None:
        row = BrokerAccount.objects.exclude(status="removed").get(
            client_id=account.client, partner_id=self.partners[person.partner]
        )
        token = sealed_credentials.seal(row, "access_token", f"token-{account.client}")
        BrokerAccount.objects.filter(pk=row.pk).update(
            status="enabled", access_token=token, token_expires_at=_FOR_EVER
        )
        self.accounts[account.number] = row.pk

    # -- customers, partners, staff, payment -----------------------------------------------------
    def transition(self, what: str, number: int, who: str, note: str, now: dt.datetime) -> str:
        result = _asked(
            lambda: getattr(services, what)(
                subscription_id=self.subscriptions[number],
                actor=SYSTEM,
                reason=who,
                note=note,
                now=now,
            )
        )
        return CHANGED if result.changed else SAME

    def subscribe(self, person: Person, offer: str, clients: tuple[str, ...], now: Any) -> int:
        """The key of the new subscription."""
        subscription: Subscription = _asked(
            lambda: services.subscribe(
                partner_id=self.partners[person.partner],
                environment=person.environment,
                template_id=Template.objects.get(pk=self.templates[offer]).public_id,
                user_email=_email(person),
                accounts=[
                    services.AccountChoice(client_id=client, broker="zebu") for client in clients
                ],
                actor=SYSTEM,
                now=now,
            )
        )
        return subscription.pk

    def note(self, key: int, subscription: Followed, accounts: list[Account]) -> None:
        """A subscription that was made, and accounts that it may have connected."""
        self.subscriptions[subscription.number] = key
        for account in accounts:
            if account.number not in self.accounts:
                self._logs_in(subscription.person, account)

    def place(
        self, scope: str, target: Any, holder: str, note: str, now: dt.datetime
    ) -> tuple[str, int]:
        """What came of it, and the hold's key."""
        environment = target[1] if scope == "PARTNER" else "live"
        result = _asked(
            lambda: services.place_hold(
                scope=scope,
                target_id=self._target(scope, target),
                holder=holder,
                note=note,
                actor=SYSTEM,
                now=now,
                environment=environment,
            )
        )
        return (CHANGED if result.changed else SAME), result.hold.pk

    def _target(self, scope: str, target: Any) -> int:
        return {
            "SUBSCRIPTION": lambda: self.subscriptions[target],
            "CUSTOMER": lambda: self.customers[target],
            "ACCOUNT": lambda: self.accounts[target],
            "PARTNER": lambda: self.partners[target[0]],
        }[scope]()

    def suspend(self, partner: str, plan: str, until: dt.date | None, now: dt.datetime) -> str:
        done = suspend_partner(
            partner_id=self.partners[partner],
            plan=plan,
            reason="debt",
            actor=SYSTEM,
            now=now,
            run_until=until,
        )
        return CHANGED if done.changed else SAME

    def reinstate(self, partner: str, now: dt.datetime) -> str:
        done = reinstate_partner(
            partner_id=self.partners[partner], reason="paid", actor=SYSTEM, now=now
        )
        return CHANGED if done.changed else SAME

    def carry_out(self, now: dt.datetime) -> None:
        carry_out_due(now=now)

    def note_holds(self, holds: Iterable[ModelHold]) -> None:
        """The keys of holds that a plan, or the removal of the last account, has placed."""
        for hold in holds:
            if hold.number in self.holds:
                continue
            rows = Hold.objects.filter(scope=hold.scope, holder=hold.holder, lifted_at=None)
            if hold.scope == "PARTNER":
                partner, environment = hold.target
                rows = rows.filter(partner_id=self.partners[partner], environment=environment)
            else:
                rows = rows.filter(subscription_id=self.subscriptions[hold.target])
            self.holds[hold.number] = rows.values_list("pk", flat=True).first() or 0

    def newest_hold(self) -> int:
        """The key of the hold that was placed last."""
        return Hold.objects.order_by("-pk").values_list("pk", flat=True)[0]

    def lift(self, number: int, who: str, note: str, now: dt.datetime) -> str:
        result = _asked(
            lambda: services.lift_hold(
                hold_id=self.holds[number], who=who, note=note, actor=SYSTEM, now=now
            )
        )
        return CHANGED if result.changed else SAME

    def pays(self, number: int, first: dt.date, now: dt.datetime) -> None:
        """An invoice, as a whole."""
        invoice = Invoice.objects.get(
            subscription_id=self.subscriptions[number], period_start=first
        )
        pay(invoice, invoice.total - invoice.credited, day=ist_date(now))

    # -- accounts and templates ------------------------------------------------------------------
    def switch(self, number: int, enabled: bool, now: dt.datetime) -> None:
        account = BrokerAccount.objects.get(pk=self.accounts[number])
        (enable_account if enabled else disable_account)(account=account, actor=SYSTEM, now=now)

    def disconnect(self, number: int, now: dt.datetime) -> None:
        account = BrokerAccount.objects.get(pk=self.accounts[number])
        remove_account(account=account, exit_now=False, actor=SYSTEM, now=now)

    def move(self, what: str, offer: str, now: dt.datetime) -> str:
        """close_to_new, reopen, withdraw or publish: a publication has another exit time."""
        key = self.templates[offer]
        if what == "publish":
            strategy = Strategy.objects.get(template_id=key)
            at = dt.time(15, 10) if strategy.exit_time == dt.time(15, 15) else dt.time(15, 15)
            Strategy.objects.filter(pk=strategy.pk).update(exit_time=at)
            _asked(lambda: marketplace.publish(template_id=key, actor=SYSTEM, note="anew", now=now))
            return CHANGED
        done = _asked(lambda: getattr(marketplace, what)(template_id=key, actor=SYSTEM, now=now))
        changed = done.changed if what == "withdraw" else done
        return CHANGED if changed else SAME

    def stop(self, offer: str, now: dt.datetime) -> None:
        day.engage_kill_switch(
            template_id=self.templates[offer], reason="odd", actor=SYSTEM, now=now
        )

    def release(self, offer: str, now: dt.datetime) -> None:
        switch = KillSwitch.objects.get(target_id=self.templates[offer], released_at__isnull=True)
        day.release_kill_switch(switch_id=switch.pk, actor=SYSTEM, now=now)

    # -- runs ------------------------------------------------------------------------------------
    def arm(self, now: dt.datetime) -> None:
        arm_due(now=now, timing=self.timing)

    def entering(self, now: dt.datetime) -> set[tuple[int, int]]:
        """Who is armed, in accounts that the executor would enter with: its own question."""
        armed = list(
            Execution.objects.filter(status="ARMED", run__trade_date=ist_date(now)).values_list(
                "subscription_id", "account_id"
            )
        )
        opened = trading_accounts({account for _, account in armed}, now)
        return {part for part in armed if not opened[part[1]].problem}

    def pinned(self, now: dt.datetime) -> dict[int, int]:
        """Today's runs: the version of each template."""
        todays_runs = Run.objects.filter(trade_date=ist_date(now))
        return dict(todays_runs.values_list("template_id", "version__number"))

    def run(self, now: dt.datetime) -> None:
        """The month's run, and what withdrawn templates give back."""
        runs.run(ist_date(now), now=now)
        withdrawal_credits.credit_due(now=now)

    def given_back(self) -> dict[tuple[int, dt.date], Decimal]:
        """What was credited before tax, by subscription and first day of the month."""
        credited = CreditNote.objects.values_list(
            "invoice__subscription_id", "invoice__period_start", "taxable"
        )
        return {(key, first): taxable for key, first, taxable in credited}

    # -- looking ---------------------------------------------------------------------------------
    def look(self, now: dt.datetime) -> Seen:
        """Everything that is compared, after what a commit would have asked the database."""
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            cursor.execute(_LOOK, [ist_date(now)])
            (answer,) = cursor.fetchone()
        rows: dict[str, list[Any]] = {name: held or [] for name, held in answer.items()}
        return Seen(
            subscriptions={key: tuple(rest) for key, *rest in rows["subscriptions"]},
            holds=set(rows["holds"]),
            invoices=[
                (key, dt.date.fromisoformat(first), dt.date.fromisoformat(after))
                for key, first, after in rows["invoices"]
            ],
            stopped=[
                (key, dt.date.fromisoformat(anchor), number, dt.date.fromisoformat(last))
                for key, anchor, number, last in rows["stopped"]
            ],
            unbilled=list(rows["unbilled"]),
            armed={(key, account) for key, account in rows["armed"]},
            followers=dict(rows["followers"]),
        )


def _email(person: Person) -> str:
    return f"{person.name}@example.com"


def _asked(act: Callable[[], Any]) -> Any:
    """What a service answers; its refusal in the model's words."""
    try:
        return act()
    except DomainError as error:
        beside = {name: error.extra[name] for name in _BESIDE if name in error.extra}
        raise Refused(error.code, **beside) from error
