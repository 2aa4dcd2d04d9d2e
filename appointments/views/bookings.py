"""Scheduling: the form of one connection, and what came of it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from appointments.forms import SCHEDULE_LABELS, ScheduleForm
from appointments.models import Booking, Connection
from appointments.services.schedule import ask_to_schedule, offers
from appointments.views.polling import interval, knows, token_of
from appointments.views.request import StaffRequest, see_other, wants_fragment
from appointments.wording import booking_outcome, failure


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("appointments.schedule_appointment", raise_exception=True)
def schedule(request: StaffRequest) -> HttpResponse:
    """Choose a connection, fill in its form, and on POST record the intent to book."""
    connections = [
        one
        for one in Connection.objects.active().select_related("health")
        if one.capabilities.schedules
    ]
    asked = request.POST.get("connection") or request.GET.get("connection", "")
    connection = next((one for one in connections if str(one.pk) == asked), None)
    if connection is None:
        context = {"connections": connections, "is_unknown": bool(asked)}
        return render(request, "appointments/schedule.html", context, status=404 if asked else 200)

    form = _form(connection, request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        context = _context(connections, connection, form)
        status = 422 if request.method == "POST" else 200
        return render(request, "appointments/schedule.html", context, status=status)
    booking = ask_to_schedule(
        connection, by=request.user, request=form.wish(), form_key=form.cleaned_data["form_key"]
    )
    return see_other(booking)


@require_safe
@permission_required("appointments.schedule_appointment", raise_exception=True)
def outcome(request: StaffRequest, pk: int) -> HttpResponse:
    """Show where a request to book stands; the page asks again while that may change."""
    booking = get_object_or_404(
        Booking.objects.select_related("connection", "appointment__connection", "requested_by"),
        pk=pk,
    )
    context = _state(booking)
    if not wants_fragment(request):
        return render(request, "appointments/booking.html", context)
    if knows(request, context["token"]):
        return HttpResponse(status=204)
    return render(request, "appointments/booking.html#state", context)


def _form(connection: Connection, data: Any) -> ScheduleForm:
    return ScheduleForm(
        data,
        capabilities=connection.capabilities,
        zone=connection.zone,
        offers=offers(connection),
    )


def _context(
    connections: list[Connection], connection: Connection, form: ScheduleForm
) -> dict[str, Any]:
    health = getattr(connection, "health", None)
    warning = ""
    if health is not None and health.is_failing:
        warning = failure(health.failure, connection.provider_label)
    return {
        "connections": connections,
        "connection": connection,
        "form": form,
        "warning": warning,
    }


def _state(booking: Booking) -> dict[str, Any]:
    delay = interval(booking.requested_at) if booking.is_moving else ""
    return {
        "booking": booking,
        "outcome": booking_outcome(booking),
        "wish": [
            (SCHEDULE_LABELS.get(name, name), value)
            for name, value in booking.wish.items()
            if value
        ],
        "poll_delay": delay,
        "token": token_of(booking.state, booking.why, booking.booked_at, delay),
    }
