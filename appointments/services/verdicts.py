"""
What people found out about their requests, and what a provider shows after all.

A request that somebody settled as "nothing came of it" may have been carried out all the same. Then
two people may come, or the patient at another time than the desk thinks: it must not stay quiet.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone

from appointments.domain import BookedAppointment
from appointments.models import Appointment, Booking, Connection
from appointments.models.bookings import DONE_AFTER_ALL, JUDGED_NOT_DONE
from appointments.services.asked import fits, move_of

State = Booking.State
Kind = Booking.Kind


def weigh_verdicts(connection: Connection, records: Sequence[BookedAppointment]) -> None:
    """
    Raise an alarm for each request of *connection* that *records* show as done, against the word
    of a person; end it where they do not show it any more.

    Our copy holds *records* already. What is to be confirmed is left out: that anybody at the
    provider confirmed it later speaks against nobody.
    """
    judged = (
        Booking.objects.filter(
            connection=connection,
            state=State.SETTLED,
            why__in=(JUDGED_NOT_DONE, DONE_AFTER_ALL),
            starts_at__gte=timezone.now(),
        )
        .exclude(kind=Kind.CONFIRM)
        .select_related("connection")
    )
    for booking in judged:
        shown = next((one for one in records if _shows(one, booking)), None)
        if booking.why == JUDGED_NOT_DONE:
            if shown is not None:
                row = Appointment.objects.get(connection=connection, external_id=shown.external_id)
                booking.contradict(row)
        elif shown is None and any(one.external_id == booking.external_id for one in records):
            booking.agree()


def _shows(one: BookedAppointment, booking: Booking) -> bool:
    """Whether *one* is what *booking* was to bring about."""
    if booking.kind == Kind.MOVE:
        is_it = one.external_id == booking.external_id
        request = move_of(booking, one)
        is_there = is_it and request.is_met_by(one, zone=booking.connection.zone)
        return is_there and not _was_moved_since(booking)
    if booking.external_id:
        return one.external_id == booking.external_id and one.is_live and fits(one, booking)
    return one.is_live and fits(one, booking) and _is_nobodys(one, booking)


def _was_moved_since(booking: Booking) -> bool:
    """Whether a later request may have brought it to where it is."""
    later = Booking.objects.filter(
        appointment=booking.appointment_id, kind=Kind.MOVE, pk__gt=booking.pk
    )
    return later.exclude(state__in=(State.REFUSED, State.NOT_SENT, State.WITHDRAWN)).exists()


def _is_nobodys(one: BookedAppointment, booking: Booking) -> bool:
    """Whether *one* came up after *booking* was asked for, and by no other request of ours."""
    others = Booking.objects.filter(connection=booking.connection_id, kind=Kind.BOOK).exclude(
        pk=booking.pk
    )
    if others.filter(external_id=one.external_id).exists():
        return False
    # One that was asked for anew, and of which nobody knows yet which booking it is.
    nameless = others.filter(starts_at=booking.starts_at, pk__gt=booking.pk, external_id="")
    over = (State.REFUSED, State.NOT_SENT, State.WITHDRAWN)
    anew = nameless.exclude(state__in=over).exclude(why=JUDGED_NOT_DONE)
    if any(fits(one, other) for other in anew.select_related("connection")):
        return False
    return Appointment.objects.filter(
        connection=booking.connection_id,
        external_id=one.external_id,
        first_seen_at__gte=booking.requested_at,
    ).exists()
