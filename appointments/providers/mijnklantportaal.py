"""
MijnKlantportaal, API v1.

Source: the vendor's developer documentation (Cancel appointment, Schedule Appointment, List
Appointments, Get Appointment, Change appointment status, Rate limiting), read 2026-11.
Times: answers carry ISO 8601 with offset; requests carry none (`Y-m-d H:i`), meant in the zone of
the portal. Lengths: none documented. Pages: none, a list holds a whole window of days.

Quirks:
    `start_at` of the list defaults to this very moment, so local midnight is always sent.
    Whether the end of the window belongs to it is not said: a day more is asked for.
    DELETE takes neither a body nor a parameter, so no reason reaches the customer. It answers
    200 with the appointment, whose status has to be looked at.
    A second DELETE answers 409, so repeating a cancel is harmless.
    What is pending is confirmed or cancelled by PATCH, where 409 means that it is no longer
    pending. The PATCH changes nothing but the status: there is no moving to another time, and
    nothing shows free slots.
    "canceled" has one l. No field of an answer is promised, so each may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from appointments.domain import (
    Already,
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelAnswer,
    CancelRequest,
    Capabilities,
    CapabilityMissing,
    ConfirmAnswer,
    Confirmed,
    ConfirmRequest,
    DateWindow,
    Informs,
    Page,
    Refusal,
    Refused,
    ScheduleAnswer,
    Scheduled,
    ScheduleField,
    ScheduleRequest,
    Scope,
    Status,
)
from appointments.providers.base import Provider, read_records
from appointments.providers.reading import (
    Json,
    Unreadable,
    identifier,
    maybe_text,
    moment,
    objects,
    reading,
    said,
)
from appointments.providers.transport import PAGE_DEADLINE, Reply

PIECE = timedelta(days=31)
"""Longest window asked for at once: no upper bound of `days` is documented."""

LOCAL_MINUTE = "%Y-%m-%d %H:%M"
"""The text of the documentation says `Y-m-d H:i`; its example has seconds. The text is followed."""

# Source: Schedule Appointment and Cancel appointment, field `status`. Not a closed list.
STATUSES: Mapping[str, Status] = {
    "scheduled": Status.BOOKED,
    "pending": Status.PENDING,
    "canceled": Status.CANCELLED,
}

# Source: Cancel appointment (404); the others are not documented there.
REFUSALS: Mapping[int, Refusal] = {
    400: Refusal.INVALID,
    403: Refusal.PERMISSION,
    404: Refusal.NOT_FOUND,
    405: Refusal.OTHER,
    406: Refusal.OTHER,
    409: Refusal.OTHER,
    410: Refusal.NOT_FOUND,
    412: Refusal.OTHER,
    415: Refusal.INVALID,
    422: Refusal.INVALID,
}


class MijnKlantportaal(Provider):
    slug: ClassVar[str] = "mijnklantportaal"
    label: ClassVar[str] = "MijnKlantportaal"
    default_base_url: ClassVar[str] = "https://api.mijnklantportaal.nl/v1"
    default_wait: ClassVar[int] = 60
    capabilities: ClassVar[Capabilities] = Capabilities(
        reads_one=True,
        repeat_is_safe=True,
        informs=Informs.NOT_DOCUMENTED,
        confirms_pending=True,
        requests_per_minute=60,
        schedule_fields=(
            ScheduleField(name="title"),
            # Either the customer, or a name and an address: the form asks for one or the other.
            ScheduleField(name="customer_id", required=False, pattern="cst_.+"),
            ScheduleField(name="name", required=False),
            ScheduleField(name="email", required=False),
            ScheduleField(name="starts_at"),
            ScheduleField(name="ends_at"),
        ),
    )

    @classmethod
    def headers(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {credentials['api_key']}"}

    def check(self) -> None:
        today = datetime.now(self.account.time_zone).date()
        self._items(today, days=1)

    def pages(self, window: DateWindow) -> Iterator[Page]:
        first = window.first
        while first <= window.last:
            last = min(first + PIECE - timedelta(days=1), window.last)
            yield self._piece(DateWindow(first=first, last=last))
            first = last + timedelta(days=1)

    def read(self, ref: BookingRef) -> BookedAppointment | None:
        reply = self.http.read(_path(ref.external_id), expect=(200, 404))
        if reply.status == 404:
            reply.object()  # A web page that says 404 says nothing about an appointment.
            return None
        return _read_own(reply, ref.external_id)

    def cancel(self, request: CancelRequest) -> CancelAnswer:
        if request.scope is not Scope.WHOLE:
            raise CapabilityMissing(f"{self.label} cancels whole appointments only")
        if request.appointment.status is Status.PENDING:
            return self._change(request.appointment.external_id, to="canceled")
        return self._delete(request.appointment.external_id)

    def confirm(self, request: ConfirmRequest) -> ConfirmAnswer:
        return self._change(request.appointment.external_id, to="scheduled")

    def schedule(self, request: ScheduleRequest) -> ScheduleAnswer:
        """
        Book, once; see `Provider.schedule`.

        The answer's time is to be compared with the time meant: the portal's zone is our guess.
        """
        payload = write_booking(request, zone=self.account.time_zone)
        reply = self.http.write("POST", "appointments", payload=payload, expect=(201, *REFUSALS))
        if reply.status != 201:
            return _refused(reply)
        with reading():
            booked = read_appointment(reply.object())
        if not booked.is_live:
            raise AnswerNotUnderstood("not_scheduled", status=reply.status)
        return Scheduled(external_id=booked.external_id, appointment=booked)

    # --- requests

    def _piece(self, window: DateWindow) -> Page:
        zone = self.account.time_zone

        def read_one(item: Json) -> BookedAppointment | None:
            appointment = read_appointment(item)
            return appointment if starts_within(appointment, window, zone=zone) else None

        days = (window.last - window.first).days + 1
        return read_records(self._items(window.first, days=days + 1), read_one, id_key="id")

    def _items(self, first: date, *, days: int) -> list[Json]:
        """The records of *days* days from midnight of *first* on, in the portal's zone."""
        reply = self.http.read(
            "appointments",
            params={"start_at": f"{first.isoformat()} 00:00", "days": days},
            deadline=PAGE_DEADLINE,
        )
        with reading():
            return objects(reply.object(), "data")

    def _delete(self, external_id: str) -> CancelAnswer:
        reply = self.http.write("DELETE", _path(external_id), expect=(200, *REFUSALS))
        if reply.status == 409:
            return Already(said=_words(reply.object()))
        return _changed(reply, external_id, to=Status.CANCELLED)

    def _change(self, external_id: str, *, to: str) -> Confirmed | Refused:
        """Confirm or decline what is pending; *to* is their word for what it shall be."""
        reply = self.http.write(
            "PATCH", _path(external_id), payload={"status": to}, expect=(200, *REFUSALS)
        )
        if reply.status == 409:
            return Refused(why=Refusal.NOT_PENDING, said=_words(reply.object()))
        return _changed(reply, external_id, to=STATUSES[to])


# --- their words into ours --------------------------------------------------------------------


def read_appointment(item: Json) -> BookedAppointment:
    """
    Shape: {"id": str, "customerId": str|null, "attendeeName": str, "attendeeEmail": str,
    "startsAt": str, "endsAt": str, "status": str, "onlineMeetingLink": str|null,
    "createdAt": str}, none of them promised. The title given when booking never comes back.

    Raises:
        Unreadable: without an id or a start there is nothing to show.
    """
    word = maybe_text(item, "status")
    return BookedAppointment(
        external_id=identifier(item, "id"),
        status=STATUSES.get(word, Status.OTHER),
        provider_status=word,
        starts_at=moment(item, "startsAt"),
        ends_at=_maybe_end(item),
        meeting_link=maybe_text(item, "onlineMeetingLink"),
        attendees=_attendees(item),
    )


def _attendees(item: Json) -> tuple[BookedAttendee, ...]:
    """The one person booked, or nobody if no field says who."""
    attendee = BookedAttendee(
        external_id=maybe_text(item, "customerId"),
        name=maybe_text(item, "attendeeName"),
        email=maybe_text(item, "attendeeEmail"),
    )
    return () if attendee == BookedAttendee() else (attendee,)


def _maybe_end(item: Json) -> datetime | None:
    """The end, if it has an offset: without one it would be a guess, so it counts as absent."""
    try:
        return moment(item, "endsAt")
    except Unreadable:
        return None


def starts_within(appointment: BookedAppointment, window: DateWindow, *, zone: ZoneInfo) -> bool:
    starts_at = appointment.starts_at
    return starts_at is not None and (
        window.first <= starts_at.astimezone(zone).date() <= window.last
    )


def _read_own(reply: Reply, external_id: str) -> BookedAppointment:
    """
    The appointment of *reply*, provided that it is the one asked for.

    Raises:
        AnswerNotUnderstood: unreadable, or about another appointment.
    """
    with reading():
        appointment = read_appointment(reply.object())
    if appointment.external_id != external_id:
        raise AnswerNotUnderstood("other_id", status=reply.status)
    return appointment


def _changed(reply: Reply, external_id: str, *, to: Status) -> Confirmed | Refused:
    """
    Believe a 200 that shows this appointment in the state *to*; everything else is a refusal.

    Raises:
        AnswerNotUnderstood: a 200 that shows something else, so it may be changed or not.
    """
    if reply.status != 200:
        return _refused(reply)
    appointment = _read_own(reply, external_id)
    if appointment.status is not to:
        raise AnswerNotUnderstood(f"not_{to}", status=reply.status)
    return Confirmed(appointment=appointment)


def _refused(reply: Reply) -> Refused:
    """
    Shape: {"message": str, "errors": {field: [str]}}, both optional.

    Raises:
        AnswerNotUnderstood: no JSON object, so it is not the provider that speaks.
    """
    body = {} if reply.status == 403 and reply.is_empty else reply.object()
    return Refused(why=REFUSALS[reply.status], said=_words(body), conclusive=reply.status == 403)


def _words(body: Json) -> str:
    return said(body.get("message"), body.get("errors"))


# --- our words into theirs --------------------------------------------------------------------


def write_booking(request: ScheduleRequest, *, zone: ZoneInfo) -> Json:
    """
    Shape: {"name": str, "startsAt": "Y-m-d H:i", "endsAt": "Y-m-d H:i"}, and either
    {"customerId": str} or {"attendeeName": str, "attendeeEmail": str}.

    Raises:
        ValueError: no end, or a time that the wall clock of *zone* cannot name.
    """
    if request.ends_at is None:
        raise ValueError("a booking needs an end")
    body = {
        "name": request.title,
        "startsAt": local_minute(request.starts_at, zone),
        "endsAt": local_minute(request.ends_at, zone),
    }
    if request.customer_id:
        return {**body, "customerId": request.customer_id}
    return {**body, "attendeeName": request.name, "attendeeEmail": request.email}


def local_minute(moment: datetime, zone: ZoneInfo) -> str:
    """
    *moment* as the wall clock of *zone* shows it, `Y-m-d H:i`, or not at all.

    A wall clock without an offset shows the hour twice in which summer time ends, and leaves one
    out in spring. Rather than have the provider pick another moment, none is written.

    Raises:
        ValueError: *moment* has no zone, falls into such an hour, or not on a whole minute.
    """
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    if moment.second or moment.microsecond:
        raise ValueError("the time is not on a whole minute")
    exact = moment.astimezone(UTC)
    if exact.astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise ValueError("the clock skips this time")
    local = exact.astimezone(zone)
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        raise ValueError("the clock shows this time twice")
    return local.strftime(LOCAL_MINUTE)


def _path(external_id: str) -> str:
    return f"appointments/{quote(external_id, safe='')}"
