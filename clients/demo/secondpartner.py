"""The second partner, and the persons who are customers of both with one account (twice.py)."""

from __future__ import annotations

from clients.demo.broker import Simulator
from clients.demo.evidence import Execution, Twice
from clients.demo.installation import Installation
from clients.demo.partner import PartnerApi, in_parallel
from clients.demo.staff import Staff
from clients.demo.story import DAY, Story
from clients.demo.twice import ACCOUNTS, BUYS, FIRST, HALVES, SECOND, SELLS, Half, hours


class SecondPartner:
    """Takes the persons of two partners through the day. ``first`` is the other partner's API."""

    def __init__(
        self, story: Story, installation: Installation, simulator: Simulator, first: PartnerApi
    ) -> None:
        self.story = story
        self.installation = installation
        self.simulator = simulator
        self.apis = {FIRST: first}
        self.subscriptions: dict[str, str] = {}

    def prepare(self, staff: Staff) -> None:
        """Staff create, in the console, both strategies and the second partner with a key."""
        for plan in (SELLS, BUYS):
            staff.publish(plan, [hours(self.story, plan)])
        partner = staff.add_partner(SECOND, "Second", f"{self.installation.url}/broker-login/done")
        key = staff.issue_key(partner)
        self.apis[SECOND] = PartnerApi(self.installation.url, key)

    def onboard(self, funds: int) -> None:
        """Each person connects, logs in and subscribes at both partners."""
        in_parallel("one account at two partners", HALVES, self._join)
        for broker, client_id in ACCOUNTS:
            body = {"broker": broker, "client_id": client_id, "funds": funds}
            self.simulator.call("POST", "/funds", body)
            self.simulator.calls(broker, client_id)  # from now on each call is recorded

    def _join(self, half: Half) -> None:
        api, customer = self.apis[half.customer.partner], half.customer
        api.connect(customer)
        api.daily_login(customer)
        template = api.templates()[half.plan.name]
        self.subscriptions[half.name] = api.subscribe(customer, template)

    def look(self) -> Twice:
        """Read the results."""
        return Twice(
            executions=self._executions(),
            calls={account: self.simulator.calls(*account) for account in ACCOUNTS},
            executors=self.installation.shards(),
        )

    def _executions(self) -> dict[str, Execution]:
        executions = {}
        for half in HALVES:
            api = self.apis[half.customer.partner]
            _, execution = api.read_back(self.subscriptions[half.name], DAY)
            if execution is not None:
                executions[half.name] = execution
        return executions
