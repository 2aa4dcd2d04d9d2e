"""
Bookings as an iCalendar file, RFC 5545.

Times are in UTC; a booking without a clock time is an all-day event, since no time is ever made
up. No e-mail address goes in, and telephone numbers only where they are asked for: a calendar
ends up in places that the portal does not know.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from django.utils.translation import gettext as _
from icalendar import Calendar, Event, vText

from appointments.codes import in_words
from appointments.domain import Status
from appointments.models import Appointment, Connection
from appointments.models.appointments import and_others, name_of
from appointments.views.rows import word_of
from appointments.views.when import moment_or_lane

MADE_BY = "-//Appointment portal//Calendar feed//EN"
REFRESHED = timedelta(minutes=15)
"""How often a calendar is told to look again."""

_SPACE = uuid.UUID("6f1f3d6e-5f0b-4c39-9d7a-6a2f4b8f0c11")

_STATUS: Mapping[str, str] = {
    Status.BOOKED: "CONFIRMED",
    Status.COMPLETED: "CONFIRMED",
    Status.CANCELLED: "CANCELLED",
}
"""Whatever else a booking may be, it is not certain: tentative."""


def calendar(
    name: str,
    bookings: Iterable[Appointment],
    *,
    connections: Mapping[int, Connection],
    with_phones: bool,
    doubtful: Container[int] = (),
    link: Callable[[Appointment], str],
) -> bytes:
    """
    *bookings*, with their attendees at hand, as the file that calendars read.

    *doubtful*: keys of those of which nobody knows whether they are cancelled.
    """
    made = Calendar()
    made.add("version", "2.0")
    made.add("prodid", MADE_BY)
    # As text: the library would write what RFC 5545 does not know as it is, line breaks too.
    made.add("name", vText(plain(name)))
    made.add("x-wr-calname", vText(plain(name)))
    made.add("refresh-interval", REFRESHED, parameters={"VALUE": "DURATION"})
    made.add("x-published-ttl", vText("PT15M"))
    for one in bookings:
        connection = connections[one.connection_id]
        event = _event(one, connection, with_phones=with_phones, link=link(one))
        if one.pk in doubtful:
            # Nobody knows whether it is cancelled: a calendar has no better word for that.
            event["status"] = vText("TENTATIVE")
            event["summary"] = vText(f"? {event['summary']}")
        made.add_component(event)
    content: bytes = made.to_ical()
    return content


def _event(booking: Appointment, connection: Connection, *, with_phones: bool, link: str) -> Event:
    changed = changed_at(booking)
    made = Event()
    made.add("uid", _uid(booking, connection))
    # Without a METHOD, the stamp says when the booking was last revised.
    made.add("dtstamp", changed)
    made.add("last-modified", changed)
    made.add("sequence", int((changed - booking.first_seen_at).total_seconds()))
    made.add("status", _STATUS.get(booking.status, "TENTATIVE"))
    made.add("summary", plain(_summary(booking, connection)))
    made.add("description", plain("\n".join(_lines(booking, connection, with_phones=with_phones))))
    if booking.location:
        made.add("location", plain(in_words(booking.location)))
    made.add("url", link)
    made.add("class", "PRIVATE")
    _put_time(made, booking)
    return made


def _put_time(made: Event, booking: Appointment) -> None:
    if booking.starts_at is None:
        made.add("dtstart", booking.day)
        made.add("transp", "TRANSPARENT")
        return
    made.add("dtstart", booking.starts_at.astimezone(UTC))
    if booking.ends_at is not None and booking.ends_at > booking.starts_at:
        made.add("dtend", booking.ends_at.astimezone(UTC))
    if booking.status == Status.CANCELLED:
        made.add("transp", "TRANSPARENT")


def _uid(booking: Appointment, connection: Connection) -> str:
    """The same for as long as the booking exists, and for no other one anywhere."""
    name = f"{connection.provider}/{connection.pk}/{booking.external_id}"
    return f"{uuid.uuid5(_SPACE, name)}@appointment-portal"


def changed_at(booking: Appointment) -> datetime:
    """When what we know of *booking* changed last."""
    moments = (
        booking.seen_at,
        booking.changed_here_at,
        booking.missing_since,
        booking.practitioner_at,
    )
    return max(one for one in moments if one is not None)


def _summary(booking: Appointment, connection: Connection) -> str:
    word = ""
    if booking.status not in (Status.BOOKED, Status.COMPLETED):
        word = f"{word_of(booking.status, booking.provider_status)}: "
    when = _when(booking, connection)
    lane = f"{when}: " if booking.starts_at is None else ""
    parts = (_who(booking), booking.title)
    return word + lane + " · ".join(part for part in parts if part)


def _when(booking: Appointment, connection: Connection) -> str:
    found = moment_or_lane(
        starts_at=booking.starts_at,
        ends_at=booking.ends_at,
        day=booking.day,
        session=booking.session,
        batch=booking.batch,
        window_starts=booking.window_starts,
        window_ends=booking.window_ends,
        zone=connection.zone,
    )
    # A calendar is read in any zone, and its day is that of the practice.
    return f"{found.lane} ({found.elsewhere or found.window})" if found.window else found.lane


def _who(booking: Appointment) -> str:
    """The people by name, never by an address or a number instead."""
    people = [name_of(one.name) for one in booking.attendees.all()]
    if len(people) < 2:
        return "".join(people)
    return and_others(people[0], len(people) - 1)


def _lines(booking: Appointment, connection: Connection, *, with_phones: bool) -> Iterator[str]:
    if booking.is_with:
        yield _("With: %(name)s") % {"name": booking.is_with}
    yield _("Provider: %(provider)s, %(account)s") % {
        "provider": connection.provider_label,
        "account": connection.name,
    }
    if booking.reference:
        yield _("Reference: %(reference)s") % {"reference": booking.reference}
    if with_phones:
        for one in booking.attendees.all():
            if one.phone:
                yield f"{name_of(one.name)}: {one.phone}"


def plain(text: str) -> str:
    """*text* without what a calendar file cannot hold: control characters, halves of characters."""
    whole = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return "".join(char for char in whole if char.isprintable() or char in "\n\t")
