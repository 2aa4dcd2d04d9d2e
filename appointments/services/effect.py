"""What a cancellation takes away: recognised in a read, and marked in our copy."""

from __future__ import annotations

from datetime import datetime

from appointments.domain import BookedAppointment, Scope, Status
from appointments.models import Appointment, Attendee, Cancellation
from appointments.services.facts import facts_of
from appointments.services.queue import TRACE_LATER_ONES, wake


def has_left(scope: Scope | str, attendee_id: str, seen: BookedAppointment) -> bool:
    """Whether what was to be cancelled is cancelled, as *seen* shows it."""
    if seen.status is Status.CANCELLED:
        return True
    booked = {one.external_id.casefold() for one in seen.attendees}
    # Somebody without an id might be the one: then nothing is proved.
    return scope == Scope.ATTENDEE and "" not in booked and attendee_id.casefold() not in booked


def why_left(cancellation: Cancellation, seen: BookedAppointment, *, why: str) -> str:
    """*why*, unless more is gone than was asked for: then that has to be said."""
    if cancellation.scope == Scope.ATTENDEE and seen.status is Status.CANCELLED:
        return "whole_cancelled"
    return why


def lock_appointment(cancellation: Cancellation) -> None:
    """
    Lock what an unsettled *cancellation* is about, before the cancellation itself.

    A listing locks in this order too: the other way round each would wait for the other.
    """
    Appointment.objects.select_for_update().get(pk=cancellation.appointment_id)


def take_effect(cancellation: Cancellation, *, at: datetime) -> None:
    """
    Mark in our copy what *cancellation* took away at *at*.

    The emptied content hash makes the next read of this booking be written in any case. Belongs
    into the commit that settles: a listing which began before must not write over it.
    """
    if cancellation.scope == Scope.FOLLOWING:
        wake(TRACE_LATER_ONES, cancellation.pk)
    row = Appointment.objects.filter(pk=cancellation.appointment_id)
    if cancellation.scope != Scope.ATTENDEE or row.get().status == Status.CANCELLED:
        row.update(status=Status.CANCELLED, changed_here_at=at, content="")
        return
    Attendee.objects.filter(
        appointment=cancellation.appointment_id, external_id=cancellation.attendee_external_id
    ).delete()
    version = facts_of(row.get()).version
    row.update(version=version, changed_here_at=at, content="")
