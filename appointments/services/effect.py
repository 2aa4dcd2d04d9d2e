"""What a cancellation takes away: recognised in a read, and marked in our copy."""

from __future__ import annotations

from datetime import datetime

from appointments.domain import BookedAppointment, Scope, Status
from appointments.models import Appointment, Attendee, Cancellation
from appointments.services.facts import facts_of


def has_left(scope: Scope | str, attendee_id: str, seen: BookedAppointment) -> bool:
    """Whether what was to be cancelled is cancelled, as *seen* shows it."""
    if seen.status is Status.CANCELLED:
        return True
    return scope == Scope.ATTENDEE and attendee_id not in {
        one.external_id for one in seen.attendees
    }


def take_effect(cancellation: Cancellation, *, at: datetime) -> None:
    """
    Mark in our copy what *cancellation* took away at *at*.

    The emptied content hash makes the next read of this booking be written in any case.
    """
    row = Appointment.objects.filter(pk=cancellation.appointment_id)
    if cancellation.scope != Scope.ATTENDEE:
        row.update(status=Status.CANCELLED, changed_here_at=at, content="")
        return
    Attendee.objects.filter(
        appointment=cancellation.appointment_id, external_id=cancellation.attendee_external_id
    ).delete()
    version = facts_of(row.get()).version
    row.update(version=version, changed_here_at=at, content="")
