"""The request as our views see it, after the middleware."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from appointments.middleware import BACKGROUND


class StaffRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User
    htmx: HtmxDetails


def wants_fragment(request: StaffRequest) -> bool:
    """Whether a part of the page is enough; going back in the history needs all of it."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def is_background(request: StaffRequest) -> bool:
    """Whether the page asked by itself, without anybody doing anything."""
    return request.headers.get(BACKGROUND) == "true"
