"""Fixtures for the tests of the marketplace's pages."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    """A browser in which an author with every right is logged in."""
    # A conftest is imported before the settings are there.
    from quantleap.core.models import StaffUser

    user = StaffUser.objects.create_superuser("asha", "asha@example.com", "secret-pass")
    client.force_login(user)
    return client
