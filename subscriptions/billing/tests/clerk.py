"""A browser of somebody with chosen rights."""

from __future__ import annotations

from django.test import Client

from quantleap.core.models import StaffUser


def staff(*permissions: str) -> Client:
    from django.contrib.auth.models import Permission

    user = StaffUser.objects.create_user("clerk", "c@example.com", "pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client
