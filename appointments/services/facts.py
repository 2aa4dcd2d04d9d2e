"""Our rows in the words of `domain.py`."""

from __future__ import annotations

from appointments.domain import BookedAppointment, BookedAttendee, Facts, Status
from appointments.models import Appointment


def booking_of(row: Appointment) -> BookedAppointment:
    """The cached booking as its adapter once read it."""
    window = (row.window_starts, row.window_ends)
    return BookedAppointment(
        external_id=row.external_id,
        status=Status(row.status),
        provider_status=row.provider_status,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        day=row.day,
        session=row.session,
        batch=row.batch,
        window=(window[0], window[1]) if window[0] and window[1] else None,
        title=row.title,
        host=row.host,
        location=row.location,
        reference=row.reference,
        meeting_link=row.meeting_link,
        attendees=tuple(
            BookedAttendee(
                external_id=one.external_id,
                name=one.name,
                email=one.email,
                phone=one.phone,
                time_zone=one.time_zone,
                guests=tuple(one.guests),
            )
            for one in row.attendees.all()
        ),
        is_group=row.is_group,
        is_paid=row.is_paid,
        locator=row.locator,
        warnings=tuple(row.warnings),
        updated_at=row.provider_updated_at,
        cancelled_at=row.cancelled_at,
        cancelled_by=row.cancelled_by,
        cancel_reason=row.cancel_reason,
    )


def facts_of(row: Appointment) -> Facts:
    return Facts.of(booking_of(row))
