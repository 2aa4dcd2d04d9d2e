"""
meetergo, API v4.

Source: the vendor's reference page "Cancel an appointment", its guides (Authentication, Error
Handling, Rescheduling & Cancellation, Create booking) and its own published client
`meetergo/meetergo-mcp-server`, all read in November 2026. Where they disagree, the client is
believed. Nothing was tried against the real service.

Times: ISO 8601, with offset; one without is meant in UTC. Lengths: minutes.
Pages: counted from 0, at most 100 appointments.
Limit: 100 requests a minute per key, bursts up to 200.

Quirks:
- An `ak_live:` key needs the header `x-meetergo-api-user-id`; an `rgo-` token must not send it.
- A group needs `attendeeId` or `cancelAll`, or it answers 400. While one person has booked, a
  group may look like an ordinary appointment.
- No field links the occurrences of a series.
- A removed attendee is no cancelled appointment: the answer says `isCancelled: false`.
- A second cancellation is not documented. After any refusal the read decides.
- There is no idempotency key, and every cancellation mails all participants.
- `secret` lets its holder cancel without logging in. It is never kept; nor are `ics`,
  `crmOptions`, `transcription`, `summary` and the notes.
- Moving a booking keeps its id, its length and its people; the answer wraps the appointment, unlike
  the answer to a cancellation. `ignoreAvailability` is never sent: what is taken stays taken.
- Free starts are asked for by meeting type and hosts. Named there, the appointment that is to be
  moved does not block its own time.

Not done: provisional bookings (a list of their own), webhooks; names of hosts and
meeting types (`/v4/user` and `/v4/meeting-type` exist, but their answers are not documented).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from types import MappingProxyType
from urllib.parse import quote

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.domain import (
    AnswerNotUnderstood,
    AppointmentsError,
    AwaitsConfirmation,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelAnswer,
    CancelRequest,
    Capabilities,
    Confirmed,
    DateWindow,
    Informs,
    NotSent,
    Page,
    Refusal,
    Refused,
    RescheduleAnswer,
    Rescheduled,
    RescheduleRequest,
    ScheduleAnswer,
    Scheduled,
    ScheduleField,
    ScheduleRequest,
    Scope,
    Slot,
    SlotQuery,
    Status,
)
from appointments.providers.base import (
    BadCredentials,
    CredentialField,
    PageGuard,
    Provider,
    read_records,
)
from appointments.providers.reading import (
    ID_LIMIT,
    Json,
    Unreadable,
    as_object,
    flag,
    id_of,
    identifier,
    maybe_flag,
    maybe_moment,
    maybe_object,
    maybe_objects,
    maybe_text,
    moment,
    objects,
    readable,
    reading,
    said,
    texts,
    utc_moment,
)
from appointments.providers.transport import PAGE_DEADLINE, Params, Reply

API_KEY_PREFIX = "ak_live:"
TOKEN_PREFIX = "rgo-"  # noqa: S105 - how a token begins, not a token
UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

PAGE_SIZE = 100

DONE = frozenset({200, 201})
"""The reference names no number; the guide's general table says 201 for a POST that creates."""
REFUSING = frozenset(range(400, 500)) - {401, 408, 425, 429}
"""Answers after which a read decides, and 403. What is left out has a meaning of its own."""
NOT_BOOKING = frozenset({400, 403, 404, 406, 409, 422})

# Source: guide "Error Handling"; 409 and 422 are not in its list.
REFUSALS: Mapping[int, Refusal] = MappingProxyType(
    {
        400: Refusal.INVALID,
        403: Refusal.PERMISSION,
        404: Refusal.NOT_FOUND,
        406: Refusal.QUOTA,
        422: Refusal.INVALID,
    }
)
# A 400 may be the time or the input; that a taken time is a 409, too, is assumed.
TIME_REFUSALS: Mapping[int, Refusal] = MappingProxyType({**REFUSALS, 409: Refusal.SLOT_TAKEN})

# Source: "Create booking", which spells it in two ways; compared without case.
AWAITING = frozenset({"doubleoptin"})


class Meetergo(Provider):
    """One user's, or one company's, appointments at meetergo."""

    slug = "meetergo"
    label = "meetergo"
    capabilities = Capabilities(
        reads_one=True,
        one_attendee=True,
        following=True,
        reason_limit=500,
        informs=Informs.ALL_PARTICIPANTS,
        schedule_fields=(
            ScheduleField(name="service", pattern=UUID),
            ScheduleField(name="host", pattern=UUID),
            ScheduleField(name="starts_at"),
            ScheduleField(name="name"),
            ScheduleField(name="email"),
            ScheduleField(name="phone", required=False),
            ScheduleField(name="time_zone", required=False),
        ),
        reschedules=True,
        slot_days=31,
        requests_per_minute=100,
    )
    credential_fields = (
        CredentialField(
            name="api_key",
            label=gettext_lazy("API key or access token"),
            help=gettext_lazy("Begins with ak_live: (key) or rgo- (token)."),
        ),
        CredentialField(
            name="user_id",
            label=gettext_lazy("User id"),
            required=False,
            help=gettext_lazy(
                "UUID of the user to act as: needed with a key, not allowed with a token."
            ),
        ),
    )
    default_base_url = "https://api.meetergo.com"

    @classmethod
    def check_credentials(cls, credentials: Mapping[str, str]) -> None:
        super().check_credentials(credentials)
        key, user_id = credentials["api_key"], credentials.get("user_id", "")
        if key.startswith(TOKEN_PREFIX):
            if user_id:
                raise BadCredentials(
                    _("meetergo: a token (rgo-) acts as its owner and must come without user_id."),
                    credential="user_id",
                )
        elif key.startswith(API_KEY_PREFIX):
            if not re.fullmatch(UUID, user_id):
                raise BadCredentials(
                    _("meetergo: a key (ak_live:) needs user_id, the UUID of the user to act as."),
                    credential="user_id",
                )
        else:
            raise BadCredentials(
                _("meetergo: api_key begins with ak_live: (key) or rgo- (token)."),
                credential="api_key",
            )

    @classmethod
    def headers(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {credentials['api_key']}"}
        if credentials["api_key"].startswith(API_KEY_PREFIX):
            headers["x-meetergo-api-user-id"] = credentials["user_id"]
        return headers

    def check(self) -> None:
        """List one appointment: other calls may be closed to a key that can do all we need."""
        reply = self.http.read("v4/appointment/paginated", params={"page": 0, "pageSize": 1})
        with reading():
            objects(reply.object(), "appointments")

    def pages(self, window: DateWindow) -> Iterator[Page]:
        """
        List from a day before *window* and pick ours.

        Both bounds of the provider's list are taken to mean the start of an appointment, which
        is not documented; a day more at the front costs little if they mean something else.
        """
        bounds = {
            "start": self._midnight(window.first - timedelta(days=1)),
            "end": self._midnight(window.last + timedelta(days=1)),
            "sortBy": "appointment.start",
            "sortDirection": "ASC",
        }
        guard = PageGuard()
        for number in count():
            reply = self.http.read(
                "v4/appointment/paginated",
                params={"page": number, "pageSize": PAGE_SIZE, **bounds},
                deadline=PAGE_DEADLINE,
            )
            with reading():
                items = objects(reply.object(), "appointments")
            page = read_records(items, read_appointment, id_key="id")
            guard.admit(page, size=len(items))
            yield self._within(window, page)
            if len(items) < PAGE_SIZE:
                return

    def read(self, ref: BookingRef) -> BookedAppointment | None:
        reply = self.http.read(_path(ref.external_id), expect=(200, 404))
        body = reply.object()
        if reply.status == 404:
            return None
        with reading():
            appointment = read_appointment(body)
        if appointment.external_id != ref.external_id:
            raise AnswerNotUnderstood("other_id", status=reply.status)
        return appointment

    def slots(self, query: SlotQuery) -> tuple[Slot, ...]:
        window, moving = query.window, query.moving
        reply = self.http.read(
            "v4/booking-availability",
            params={
                **write_slot_query(query),
                "start": self._midnight(window.first),
                "end": self._midnight(window.last + timedelta(days=1)),
                "timezone": self.account.time_zone.key,
            },
        )
        with reading():
            starts = read_starts(reply.object())
        length = None if moving is None else length_of(moving)
        hosts = hosts_of(query)
        return tuple(
            Slot(
                starts_at=start,
                ends_at=None if length is None else start + length,
                host=hosts[0] if len(hosts) == 1 else "",
            )
            for start in starts
            if self._on_a_day_of(window, start)
        )

    def cancel(self, request: CancelRequest) -> CancelAnswer:
        external_id = request.appointment.external_id
        reply = self.http.write(
            "POST",
            f"{_path(external_id)}/cancel",
            payload=write_cancel(request),
            expect=DONE | REFUSING,
        )
        if reply.status in REFUSING:
            return read_refusal(reply, why=REFUSALS.get(reply.status, Refusal.OTHER))
        body = reply.object()
        with reading():
            appointment = read_appointment(body)
            done = read_outcome(body, request=request, appointment=appointment)
        if appointment.external_id != external_id:
            raise AnswerNotUnderstood("other_id", status=reply.status)
        if not done:
            raise AnswerNotUnderstood("not_as_asked", status=reply.status)
        return Confirmed(appointment=appointment)

    def schedule(self, request: ScheduleRequest) -> ScheduleAnswer:
        reply = self.http.write(
            "POST", "v4/booking", payload=write_booking(request), expect=DONE | NOT_BOOKING
        )
        if reply.status in NOT_BOOKING:
            return read_refusal(reply, why=TIME_REFUSALS[reply.status])
        with reading():
            return read_booking(reply.object())

    def reschedule(self, request: RescheduleRequest) -> RescheduleAnswer:
        external_id, zone = request.appointment.external_id, self.account.time_zone
        if request.is_met_by(request.appointment, zone=zone):
            raise NotSent("nothing_to_move")  # It would mail everybody the time they know.
        reply = self.http.write(
            "POST",
            f"{_path(external_id)}/reschedule",
            payload=write_reschedule(request),
            expect=DONE | REFUSING,
        )
        if reply.status in REFUSING:
            return read_refusal(reply, why=TIME_REFUSALS.get(reply.status, Refusal.OTHER))
        body = reply.object()
        with reading():
            appointment = read_appointment(as_object(body.get("appointment"), "appointment"))
        if appointment.external_id != external_id:
            raise AnswerNotUnderstood("other_id", status=reply.status)
        if not request.is_met_by(appointment, zone=zone):
            raise AnswerNotUnderstood("not_as_asked", status=reply.status)
        return Rescheduled(appointment=appointment)

    def _midnight(self, day: date) -> str:
        midnight = datetime.combine(day, time.min, tzinfo=self.account.time_zone)
        return f"{midnight.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def _within(self, window: DateWindow, page: Page) -> Page:
        """*page* without the appointments that start on other days."""
        records = tuple(
            record
            for record in page.records
            if record.starts_at is not None and self._on_a_day_of(window, record.starts_at)
        )
        return Page(records=records, rejected=page.rejected)

    def _on_a_day_of(self, window: DateWindow, start: datetime) -> bool:
        return window.first <= start.astimezone(self.account.time_zone).date() <= window.last


def _path(external_id: str) -> str:
    return f"v4/appointment/{quote(external_id, safe='')}"


# --- theirs into ours -------------------------------------------------------------------------


def read_appointment(item: Json) -> BookedAppointment:
    """
    Shape, as far as it concerns us: {"id": str, "start": str, "end": str, "isCancelled": bool,
    "cancel": {"actionSource", "actionAt", "actionBy", "reason"} | {} | null,
    "meetingInfo": {"name": str, "channel": str, "groupBooking": bool | null},
    "hostingInfo": {"mainHost": str | null, "meetingLink": str | null},
    "attendees": [see read_attendee], "hostIds": [str], "meetingTypeId": str, "updatedAt": str,
    "location": str | null, "paymentId": str | null, "deletedAt": str | null,
    "resolvableErrors": [{"errorCode": str}]}.

    The vendor has no word for the state and no name for a host but what `mainHost` holds.
    """
    meeting, hosting = maybe_object(item, "meetingInfo"), maybe_object(item, "hostingInfo")
    cancel = maybe_object(item, "cancel")
    attendees = read_attendees(item)
    hosts = read_host_ids(item)
    status = read_status(item)
    return BookedAppointment(
        external_id=identifier(item, "id"),
        status=status,
        provider_status="deleted" if status is Status.OTHER else "",
        starts_at=utc_moment(item, "start"),
        ends_at=maybe_moment(item, "end"),
        title=maybe_text(meeting, "name"),
        host=maybe_text(hosting, "mainHost") or next(iter(hosts), ""),
        location=maybe_text(item, "location"),
        meeting_link=maybe_text(hosting, "meetingLink"),
        attendees=attendees,
        is_group=maybe_flag(meeting, "groupBooking") or len(attendees) > 1,
        is_paid=bool(maybe_text(item, "paymentId")),
        locator={
            "meeting_type_id": id_of(item, "meetingTypeId"),
            "host_ids": ",".join(hosts),
            "channel": maybe_text(meeting, "channel")[:ID_LIMIT],
        },
        warnings=tuple(
            code
            for one in maybe_objects(item, "resolvableErrors")
            if (code := maybe_text(one, "errorCode"))
        ),
        updated_at=maybe_moment(item, "updatedAt"),
        cancelled_at=maybe_moment(cancel, "actionAt"),
        cancelled_by=maybe_text(cancel, "actionSource"),
        cancel_reason=maybe_text(cancel, "reason"),
    )


def read_status(item: Json) -> Status:
    """
    Shape: {"isCancelled": bool, "cancel": {"actionAt": str} | null, "deletedAt": str | null}.

    The vendor's client takes a moment in `cancel.actionAt` for cancelled, too. What `deletedAt`
    of an appointment means is not documented, so such a one is neither booked nor cancelled.
    """
    cancelled_at = maybe_moment(maybe_object(item, "cancel"), "actionAt")
    if flag(item, "isCancelled") or cancelled_at is not None:
        return Status.CANCELLED
    return Status.OTHER if _is_deleted(item) else Status.BOOKED


def read_attendees(item: Json) -> tuple[BookedAttendee, ...]:
    """
    Shape: {"attendees": [see read_attendee], "attendeeIds": [str]}.

    Whoever stands in `attendeeIds` alone is booked as well, namelessly: only who is in neither
    list has been removed.
    """
    listed = objects(item, "attendees")
    known = {id_of(one, "id").casefold() for one in listed}
    return (
        *(read_attendee(one) for one in listed if not _is_deleted(one)),
        *(
            BookedAttendee(external_id=one)
            for one in texts(item, "attendeeIds")
            if one.casefold() not in known
        ),
    )


def read_attendee(item: Json) -> BookedAttendee:
    """
    Shape: {"id": str, "fullname", "firstname", "lastname", "email", "phone", "timezone":
    str | null, "bringalongEmails": [str] | null}.
    """
    first, last = maybe_text(item, "firstname"), maybe_text(item, "lastname")
    return BookedAttendee(
        external_id=id_of(item, "id"),
        name=maybe_text(item, "fullname") or f"{first} {last}".strip(),
        email=maybe_text(item, "email"),
        phone=maybe_text(item, "phone"),
        time_zone=maybe_text(item, "timezone"),
        guests=texts(item, "bringalongEmails"),
    )


def read_host_ids(item: Json) -> tuple[str, ...]:
    """Shape: {"hostIds": [str]}; at most twenty, each no longer than an id."""
    return tuple(one for one in texts(item, "hostIds") if 0 < len(one) <= ID_LIMIT)[:20]


def read_outcome(body: Json, *, request: CancelRequest, appointment: BookedAppointment) -> bool:
    """
    Whether the answer to a cancellation says that exactly what was asked is done.

    Of *this and later ones* the answer shows only this one. If a person was to be removed and
    the whole appointment is cancelled with others still on it, that is more than was asked.
    """
    cancelled = appointment.status is Status.CANCELLED
    if request.scope is not Scope.ATTENDEE:
        return cancelled
    if cancelled and appointment.attendees:
        return False
    return read_removal(body, attendee_id=request.attendee_id)


def read_removal(body: Json, *, attendee_id: str) -> bool:
    """
    Shape: {"attendees": [{"id": str, "deletedAt": str | null}], "attendeeIds": [str]}.

    Removed is who is in neither list, or is there with a `deletedAt`. An attendee without an
    id might be the one, so it proves nothing.
    """
    wanted = attendee_id.casefold()
    found = [
        one for one in objects(body, "attendees") if identifier(one, "id").casefold() == wanted
    ]
    if found:
        return all(_is_deleted(one) for one in found)
    listed = body.get("attendeeIds")
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Unreadable("attendeeIds is not a list of texts")
    return wanted not in {one.casefold() for one in listed}


def _is_deleted(item: Json) -> bool:
    """Only a moment counts: no other value of `deletedAt` is documented."""
    return maybe_moment(item, "deletedAt") is not None


def read_booking(body: Json) -> ScheduleAnswer:
    """
    Shape: {"appointmentId": str, "secret": str}, perhaps with `id` for `appointmentId`; or
    {"bookingType": "doubleOptIn", "provisionalBookingId": str}, when nothing is booked yet.

    Ids are documented as UUIDs; no other text is taken for the proof of a booking.
    """
    kind = maybe_text(body, "bookingType").casefold()
    if kind in AWAITING or id_of(body, "provisionalBookingId"):
        return AwaitsConfirmation()
    key = "appointmentId" if body.get("appointmentId") is not None else "id"
    external_id = identifier(body, key)
    if not re.fullmatch(UUID, external_id):
        raise Unreadable(f"{key} is not a UUID")
    return Scheduled(external_id=external_id)


def read_starts(body: Json) -> list[datetime]:
    """
    Shape: {"dates": [{"spots": [{"startTime": "2026-12-11T08:00:00.000Z"}]}]}.

    A start without an offset is none: the question names a zone, so it could be meant in that
    one or, as elsewhere here, in UTC. What nothing can be made of is left out, unless nothing is
    left then: that is no calendar without a free time.
    """
    spots: list[Json] = []
    for day in objects(body, "dates"):
        spots += objects(day, "spots") if isinstance(day.get("spots"), list) else [{}]
    return sorted(set(readable(spots, lambda spot: moment(spot, "startTime"))))


def length_of(booking: BookedAppointment) -> timedelta | None:
    """How long it takes; None if it does not say, or nothing that could be true."""
    if booking.starts_at is None or booking.ends_at is None:
        return None
    length = booking.ends_at - booking.starts_at
    return length if timedelta(minutes=1) <= length <= timedelta(days=1) else None


def read_refusal(reply: Reply, *, why: Refusal) -> Refused:
    """
    Shape: {"message": str | [str], "errors": [{"message": str}]}; every part may be missing.

    Only a JSON object is the provider's word, except that a 403 may come without a body.

    Raises:
        AnswerNotUnderstood: a web page, or nothing at all.
    """
    forbidden = reply.status == 403
    body = {} if forbidden and reply.is_empty else reply.object()
    details = [one.get("message") for one in maybe_objects(body, "errors")]
    return Refused(why=why, said=said(body.get("message"), details), conclusive=forbidden)


# --- ours into theirs -------------------------------------------------------------------------


def write_cancel(request: CancelRequest) -> Json:
    """
    Shape: {"reason": str, "attendeeId": str, "cancelAll": true, "cancelEntireSeries": true}.

    What is not meant is left out, since nothing says how null is taken. `cancelAll` is sent only
    for a group that was read as one: the provider's 400 guards the people on any other.

    Raises:
        AppointmentsError: a person is to be removed, but which is not said. Sent as it is, this
            could cancel the appointment for everybody.
    """
    body: Json = {"reason": request.reason} if request.reason else {}
    match request.scope:
        case Scope.ATTENDEE:
            if not request.attendee_id:
                raise AppointmentsError("no attendee is named")
            return body | {"attendeeId": request.attendee_id}
        case Scope.FOLLOWING:
            return body | {"cancelEntireSeries": True}
        case Scope.WHOLE:
            return body | {"cancelAll": True} if request.appointment.is_group else body


def write_reschedule(request: RescheduleRequest) -> Json:
    """Shape: {"start": "2026-12-11T09:00:00Z"}; without `ignoreAvailability`, which is false."""
    return {"start": request.starts_at.astimezone(UTC).isoformat().replace("+00:00", "Z")}


def write_slot_query(query: SlotQuery) -> Params:
    """
    Shape: {"meetingTypeId": str, "hostIds": [str], "existingAppointmentId": str,
    "meetingDuration": minutes}; the last two only for a booking that is to be moved.

    Raises:
        NotSent: the meeting type or the hosts are not known, or not by an id that can be sent.
    """
    moving, hosts = query.moving, hosts_of(query)
    service = query.service or (moving.locator.get("meeting_type_id", "") if moving else "")
    if not re.fullmatch(UUID, service):
        raise NotSent("service_unknown")
    if not hosts:
        raise NotSent("host_unknown")
    asked: dict[str, str | int | Sequence[str]] = {"meetingTypeId": service, "hostIds": hosts}
    if moving is not None:
        if re.fullmatch(UUID, moving.external_id):
            asked["existingAppointmentId"] = moving.external_id
        if (length := length_of(moving)) is not None:
            asked["meetingDuration"] = round(length.total_seconds() / 60)
    return asked


def hosts_of(query: SlotQuery) -> list[str]:
    """The hosts whose time is asked for: the one that is named, or all of the booking."""
    known = query.moving.locator.get("host_ids", "") if query.moving else ""
    hosts = [query.host] if query.host else known.split(",")
    return [host for host in hosts if re.fullmatch(UUID, host)]


def write_booking(request: ScheduleRequest) -> Json:
    """
    Shape: {"meetingTypeId": str, "start": str with offset, "hostIds": [str],
    "attendee": {"fullname", "email", "phone", "timezone": str, "receiveReminders": bool,
    "notes": {}}}; the last two are required.
    """
    attendee: Json = {
        "fullname": request.name,
        "email": request.email,
        "phone": request.phone,
        "timezone": request.time_zone,
    }
    given = {key: value for key, value in attendee.items() if value}
    return {
        "meetingTypeId": request.service,
        "start": request.starts_at.isoformat(),
        "hostIds": [request.host],
        "attendee": given | {"receiveReminders": True, "notes": {}},
    }
