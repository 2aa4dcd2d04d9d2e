"""Attacks on the pages around the list that succeeded once."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from appointments.urls import urlpatterns


@pytest.mark.parametrize("name", [str(one.name) for one in urlpatterns if one.name != "feed"])
def test_a_login_in_between_leads_to_a_page(name: str, web: Client) -> None:
    """Whoever pressed a button after the session had ended comes back with a GET."""
    (pattern,) = (one for one in urlpatterns if one.name == name)
    address = reverse(name, kwargs=dict.fromkeys(pattern.pattern.converters, 1))

    assert web.get(address).status_code in (200, 302, 303, 404)
