"""What a held broker account means for what is open in it."""

from __future__ import annotations

import pytest

from execution.models import Execution
from execution.services import request_exit
from execution.tests.rows import make_execution, make_run
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_short_straddle
from partners.tests.factories import make_partner
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db


def test_an_exit_in_one_account_reaches_no_other() -> None:
    """The same request without an account reaches the other execution as well."""
    load_reference_data()
    template = make_short_straddle()
    run = make_run(template)
    held, other = (
        make_execution(run, make_subscription(template, make_partner(), now=TEST_NOW))
        for _ in range(2)
    )
    both = [held.subscription_id, other.subscription_id]
    asked = Execution.objects.filter(exit_requested_at__isnull=False)
    reached = request_exit(both, reason="EXIT_NOW", now=TEST_NOW, account_id=held.account_id)
    assert (reached, list(asked)) == (1, [held])
    assert request_exit(both, reason="EXIT_NOW", now=TEST_NOW) == 1, "the other one, without it"
    assert asked.all().count() == 2
