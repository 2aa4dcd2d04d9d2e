"""The request as our views see it, after the middleware."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django_htmx.middleware import HtmxDetails

from appointments.middleware import BACKGROUND
from appointments.models import Batch, Booking, Cancellation

MAY_VIEW = "appointments.view_appointment"
MAY_CANCEL = "appointments.cancel_appointment"
MAY_SCHEDULE = "appointments.schedule_appointment"
MAY_SETTLE = "appointments.settle_cancellation"
MAY_TAG = "appointments.tag_appointment"


class StaffRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User
    htmx: HtmxDetails


def needs[V: Callable[..., HttpResponseBase]](*permissions: str) -> Callable[[V], V]:
    """A view for whoever has *permissions*, and may see appointments: all pages show some."""
    return permission_required((MAY_VIEW, *permissions), raise_exception=True)


def wants_fragment(request: StaffRequest) -> bool:
    """Whether a part of the page is enough; going back in the history needs all of it."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def see_other(subject: Batch | Booking | Cancellation | str) -> HttpResponse:
    """After a POST: on to a page, or the page of what was recorded, that a reload may ask for."""
    response = redirect(subject)
    response.status_code = 303
    return response


def is_background(request: StaffRequest) -> bool:
    """Whether the page asked by itself, without anybody doing anything."""
    return request.headers.get(BACKGROUND) == "true"
