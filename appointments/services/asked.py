"""What a request to book or to move asks for, and whether a booking is just that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from appointments.domain import (
    BookedAppointment,
    BookedAttendee,
    RescheduleRequest,
    ScheduleRequest,
)
from appointments.models import Booking
from appointments.models.appointments import digits, fold

OFFERED = "offered"
"""Where `Booking.wish` keeps what is ours alone and goes to no provider."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """
    How the form named what was asked for. Kept with the request, since names change, and windows
    are shown only while they are open.
    """

    service: str = ""
    host: str = ""
    """Names; empty where the form had none."""
    window: tuple[time, time] | None = None
    """Hours of the window that was chosen, wall clock in the connection's zone."""
    batch: str = ""
    """Whose hours they are, where a session has several."""
    minutes: int = 0
    """How long all known bookings of this service take; 0: nobody knows, or they differ."""

    @classmethod
    def of(cls, wish: Mapping[str, Any]) -> Offered:
        """What `Booking.wish` holds of it."""
        kept = wish.get(OFFERED, {})
        hours = [time.fromisoformat(one) for one in kept.get("window", ())]
        return cls(
            service=kept.get("service", ""),
            host=kept.get("host", ""),
            window=(hours[0], hours[1]) if hours else None,
            batch=kept.get("batch", ""),
            minutes=kept.get("minutes", 0),
        )

    def hours_on(self, moment: datetime, *, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Both ends of the window on the day of *moment* in *zone*, the connection's."""
        assert self.window is not None  # noqa: S101 - a caller's bug
        day = moment.astimezone(zone).date()
        opens, closes = (datetime.combine(day, one, tzinfo=zone) for one in self.window)
        return opens, closes

    def as_json(self) -> dict[str, Any]:
        """As it stands in `Booking.wish`: nothing of what is not known."""
        hours = [f"{one:%H:%M}" for one in self.window or ()]
        values = {
            "service": self.service,
            "host": self.host,
            "window": hours,
            "batch": self.batch,
            "minutes": self.minutes,
        }
        kept = {name: value for name, value in values.items() if value}
        return {OFFERED: kept} if kept else {}


def request_of(booking: Booking) -> ScheduleRequest:
    """What was asked for, as the adapter takes it."""
    values = {name: value for name, value in booking.wish.items() if name != OFFERED}
    for name in ("starts_at", "ends_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    return ScheduleRequest(**values)


def move_of(booking: Booking, seen: BookedAppointment) -> RescheduleRequest:
    """Where it is to be moved, as the adapter takes it."""
    return RescheduleRequest(
        appointment=seen,
        starts_at=booking.starts_at,
        session=booking.wish["session"],
        batch=booking.wish["batch"],
    )


def fits(one: BookedAppointment, booking: Booking) -> bool:
    """Whether *one* can be what *booking* was to make: the same person at the same time."""
    wish = request_of(booking)
    local = booking.starts_at.astimezone(booking.connection.zone).date()
    same_time = (
        one.starts_at == booking.starts_at if one.starts_at is not None else one.day == local
    )
    return same_time and any(_is_person(person, wish) for person in one.attendees)


def is_somebody_else(people: Sequence[BookedAttendee], wish: ScheduleRequest) -> bool:
    """Whether none of *people* is whom *wish* is for, beyond doubt."""
    return bool(people) and all(_is_surely(one, wish) is False for one in people)


def _is_surely(person: BookedAttendee, wish: ScheduleRequest) -> bool | None:
    """By customer number or address; None if neither can be compared."""
    if wish.customer_id and person.external_id:
        return wish.customer_id == person.external_id
    if wish.email and person.email:
        return fold(wish.email) == fold(person.email)
    return None


def _is_person(person: BookedAttendee, wish: ScheduleRequest) -> bool:
    if (is_surely := _is_surely(person, wish)) is not None:
        return is_surely
    if wish.phone and person.phone:
        return digits(wish.phone) == digits(person.phone)
    return bool(wish.name) and fold(wish.name) == fold(person.name)
