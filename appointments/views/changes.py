"""Moving an appointment to another time, and confirming a pending one."""

from __future__ import annotations

from typing import Any, assert_never

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from appointments.booking_forms import ConfirmForm, MoveForm
from appointments.booking_wording import (
    booking_conflict,
    clash_sentence,
    confirm_consequence,
    move_consequence,
)
from appointments.codes import in_words
from appointments.connection_wording import freshness
from appointments.domain import Slot
from appointments.models import Appointment, Booking
from appointments.services.clash import clashes, planned_move
from appointments.services.schedule import (
    BookingConflict,
    ask_to_confirm,
    ask_to_move,
    change_conflict,
)
from appointments.services.slots import slots_to_move
from appointments.views.appointments import facts
from appointments.views.request import MAY_SCHEDULE, StaffRequest, needs, see_other
from appointments.views.slots import SHOW, chosen, slot_words, slots_form, wanted
from appointments.views.when import day_title, when

MOVE = "move"
"""What the button asks for that moves: all others only show."""


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def move(request: StaffRequest, pk: int) -> HttpResponse:
    """Choose where to move an appointment to; on POST record the intent to move it."""
    appointment = _appointment(pk)
    if not appointment.capabilities.reschedules:
        raise Http404
    if request.method != "POST" or request.POST.get("do") == SHOW:
        return _move_page(request, appointment, MoveForm(appointment=appointment))
    slot, data = _chosen(request, appointment)
    form = MoveForm(data, appointment=appointment)
    if not form.is_valid():
        return _move_page(request, appointment, form, status=422)
    if request.POST.get("do") != MOVE:
        return _move_page(request, appointment, form, slot=slot)
    result = ask_to_move(
        appointment,
        by=request.user,
        to=form.wish(),
        form_key=form.cleaned_data["form_key"],
        version=form.cleaned_data["version"],
        offered=form.offered(),
    )
    match result:
        case Booking():
            return see_other(result)
        case BookingConflict():
            # Around what was chosen, with the version of now, so that it can be pressed again.
            fresh = _appointment(pk)
            form = MoveForm(data | {"version": fresh.version}, appointment=fresh)
            form.is_valid()
            return _move_page(request, fresh, form, conflict=result, status=409)
        case _:
            assert_never(result)


def _chosen(request: StaffRequest, appointment: Appointment) -> tuple[Slot | None, dict[str, str]]:
    """The slot of the button that was pressed, and the fields as they are then."""
    data = {name: str(value) for name, value in request.POST.items()}
    found = chosen(request.POST, zone=appointment.connection.zone)
    if found is None:
        return None, data
    slot, fields = found
    return slot, data | {name: fields[name] for name in ("starts_at", "session", "batch", "slot")}


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def confirm(request: StaffRequest, pk: int) -> HttpResponse:
    """Say what confirming means; on POST record the intent to confirm."""
    appointment = _appointment(pk)
    if not appointment.capabilities.confirms_pending:
        raise Http404
    if request.method != "POST":
        return _confirm_page(request, appointment)
    form = ConfirmForm(request.POST, appointment=appointment)
    if not form.is_valid():
        return _confirm_page(request, appointment, status=422)
    result = ask_to_confirm(
        appointment,
        by=request.user,
        form_key=form.cleaned_data["form_key"],
        version=form.cleaned_data["version"],
    )
    match result:
        case Booking():
            return see_other(result)
        case BookingConflict():
            return _confirm_page(request, _appointment(pk), conflict=result, status=409)
        case _:
            assert_never(result)


def _appointment(pk: int) -> Appointment:
    found = Appointment.objects.select_related("connection__health")
    return get_object_or_404(found.prefetch_related("attendees"), pk=pk)


def _move_page(
    request: StaffRequest,
    appointment: Appointment,
    form: MoveForm,
    *,
    slot: Slot | None = None,
    conflict: BookingConflict | None = None,
    status: int = 200,
) -> HttpResponse:
    connection = appointment.connection
    context = _standing(request, appointment, Booking.Kind.MOVE, conflict)
    to = _to(form, slot) if form.is_valid() else ""
    context |= {
        "form": form,
        "to": to,
        "consequence": move_consequence(appointment, to) if to else "",
        "clashes": _clashes(appointment, form) if to else [],
        "connection": connection,
    }
    context |= wanted(
        slots_form(connection, request.POST, first=when(appointment).day),
        request.POST,
        lambda first, days: slots_to_move(appointment, first=first, days=days),
        connection=connection,
    )
    return render(request, "appointments/move.html", context, status=status)


def _clashes(appointment: Appointment, form: MoveForm) -> list[str]:
    """What stands at the chosen time already; only of a valid form."""
    planned = planned_move(appointment, form.wish(), form.offered())
    return [clash_sentence(one) for one in clashes(planned)]


def _to(form: MoveForm, slot: Slot | None) -> str:
    """Where it goes, in words, on the desk's clock."""
    if slot := slot or form.chosen_slot():
        return slot_words(slot, connection=form.appointment.connection)
    wish = form.wish()
    local = timezone.localtime(wish.starts_at)
    day = day_title(local.date(), today=timezone.localdate())
    lane = (in_words(wish.session), wish.batch)
    return ", ".join(part for part in (day, *lane, f"{local:%H:%M}") if part)


def _confirm_page(
    request: StaffRequest,
    appointment: Appointment,
    *,
    conflict: BookingConflict | None = None,
    status: int = 200,
) -> HttpResponse:
    context = _standing(request, appointment, Booking.Kind.CONFIRM, conflict)
    context |= {
        "form": ConfirmForm(appointment=appointment),
        "consequence": confirm_consequence(appointment),
    }
    return render(request, "appointments/confirm.html", context, status=status)


def _standing(
    request: StaffRequest,
    appointment: Appointment,
    kind: Booking.Kind,
    conflict: BookingConflict | None,
) -> dict[str, Any]:
    """What the page says about the appointment as it is, and what stands against the change."""
    against = change_conflict(appointment, kind)
    shown = conflict or against
    return {
        "appointment": appointment,
        "facts": facts(appointment),
        "zone": settings.TIME_ZONE,
        "freshness": freshness(appointment.connection),
        "notice": booking_conflict(shown, viewer=request.user) if shown else "",
        "in_the_way": shown and (shown.booking or shown.cancellation),
        "is_blocked": against is not None,
    }
