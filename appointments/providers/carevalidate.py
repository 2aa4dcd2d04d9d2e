"""
CareValidate (Care360), REST API v1: Calendly bookings that belong to a medical case.

Source: public documentation, chapters "Calendar" and "Cases" of the production site and of the
staging site, which differ, read 2026-11; what they leave open is said where it matters.
Times: RFC 3339 in UTC (`Z`). Lengths: none documented; a reason is held to Calendly's 10,000.
Page: the list is not paged; it is asked for in steps of 30 days.

Quirks:
- The list shows only what is coming and not cancelled, and nothing reads one appointment. Whoever
  is absent there may still stand in the events of the case, which say `isDeleted`.
- Custom events (entered by hand, `agentName` "custom") have a cancel route of their own; what
  the other route does with them is not documented, so neither is ever tried after the other.
- The message lies: on the production site a cancel is answered "Meeting schedule successfully".
  An answer is judged by its HTTP status and by `success`, never by what it says.
- No status word means cancelled. The three published vocabularies (list, webhooks, an older
  article) agree on nothing else, so a word is shown as it is, and a listed row counts as booked.
- A case is medical. Of its detail only the events and the patient's name and address are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar

from appointments.domain import (
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelAnswer,
    CancelRequest,
    Capabilities,
    CapabilityMissing,
    Confirmed,
    DateWindow,
    Informs,
    NotSent,
    Page,
    Refusal,
    Refused,
    ScheduleAnswer,
    Scheduled,
    ScheduleField,
    ScheduleRequest,
    Scope,
    Service,
    Status,
)
from appointments.providers.base import Provider, read_records
from appointments.providers.reading import (
    Json,
    Unreadable,
    as_object,
    flag,
    id_of,
    identifier,
    maybe_moment,
    maybe_object,
    maybe_objects,
    maybe_text,
    moment,
    objects,
    reading,
)
from appointments.providers.transport import PAGE_DEADLINE, Reply

APPOINTMENTS = "api/v1/calendar/appointments"
CANCEL = "api/v1/calendar/appointments/cancel"
AVAILABILITY = "api/v1/calendar/provider-availability"
CASE_DETAIL = "api/v1/customer-case-detail"

DAY = timedelta(days=1)
LIST_STEP = timedelta(days=30)
"""Longest range of one list request. None is documented; the list of cases stops at 60 days."""

SAID_LIMIT = 500
CUSTOM, CALENDLY = "custom", "calendly"

LOCATIONS = (
    "google_conference",
    "zoom_conference",
    "gotomeeting_conference",
    "microsoft_teams_conference",
    "webex_conference",
)
"""Source: "Schedule Appointment", field `location`."""

STATES = (
    "AL,AK,AZ,AR,CA,CO,CT,DE,DC,FL,GA,HI,ID,IL,IN,IA,KS,KY,LA,ME,MD,MA,MI,MN,MS,MO,MT,NE,NV,NH,NJ,"
    "NM,NY,NC,ND,OH,OK,OR,PA,RI,SC,SD,TN,TX,UT,VT,VA,WA,WV,WI,WY"
)
"""Every US state and DC: the availability call wants states, the desk wants every clinician."""

NO = frozenset(range(400, 500)) - {401, 408, 425, 429}
"""Statuses that may be a refusal. 401 and 429 have names of their own; 408 and 425 say nothing."""

WHY_MAIN = {400: Refusal.EMAIL, 404: Refusal.NOT_FOUND, 403: Refusal.PERMISSION}
"""400 has several causes on the main route; a wrong address is the first that staff can mend."""
WHY_CUSTOM = {400: Refusal.INVALID, 404: Refusal.NOT_FOUND, 403: Refusal.PERMISSION}

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class CareValidate(Provider):
    slug = "carevalidate"
    label = "CareValidate"
    default_base_url = "https://api.care360-next.carevalidate.com"
    default_wait: ClassVar[int] = 60
    capabilities = Capabilities(
        reads_one=False,
        needs_email=True,
        reason_limit=10_000,
        cancels_past=False,
        informs=Informs.PRESUMABLY_INVITEE,
        lingers_minutes=10,
        schedule_fields=(
            ScheduleField(name="service"),
            ScheduleField(name="starts_at"),
            ScheduleField(name="name", required=False),
            ScheduleField(name="email"),
            ScheduleField(name="time_zone"),
            ScheduleField(name="location", choices=LOCATIONS),
        ),
        requests_per_minute=500,
    )

    @classmethod
    def headers(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        return {"cv-api-key": credentials["api_key"]}

    # --- reading

    @classmethod
    def capabilities_for(cls, locator: Mapping[str, str]) -> Capabilities:
        """A custom event takes neither address nor reason, and Calendly knows nothing of it."""
        if locator.get("kind") != CUSTOM:
            return cls.capabilities
        return replace(
            cls.capabilities,
            needs_email=False,
            reason_limit=0,
            informs=Informs.NOT_DOCUMENTED,
        )

    def check(self) -> None:
        today = datetime.now(self.account.time_zone).date()
        self._listed(today, today)

    def pages(self, window: DateWindow) -> Iterator[Page]:
        """
        List *window*, asked for a day wider on either side: whose days they are is not documented.

        The steps are ours, so they end by themselves. An appointment over midnight comes twice.
        """
        for first, last in steps(window.first - DAY, window.last + DAY):
            page = read_records(self._listed(first, last), read_row, id_key="id")
            inside = tuple(one for one in page.records if self._starts_in(window, one))
            yield Page(records=inside, rejected=page.rejected)

    def read(self, ref: BookingRef) -> BookedAppointment | None:
        """
        Look for one booking in the list around its known date, then in the events of its case.

        What was moved to another week is found in the case only.
        """
        return self._in_list(ref) or self._in_case(ref)

    def invitee(self, ref: BookingRef) -> BookedAttendee | None:
        """
        Who the case was made for, to be offered as the address to cancel with.

        The booking may have been made with another address: only a person can know.
        """
        case = self._case(ref, events=False)
        if case is None:
            return None
        with reading():
            return read_submitter(case)

    def services(self) -> tuple[Service, ...]:
        reply = self.http.read(AVAILABILITY, params={"provider_states": STATES})
        with reading():
            found = [read_service(item) for item in objects(succeeded(reply), "data")]
        return tuple({one.external_id: one for one in found if one is not None}.values())

    # --- writing

    def cancel(self, request: CancelRequest) -> CancelAnswer:
        if request.scope is not Scope.WHOLE:
            raise CapabilityMissing("CareValidate cancels whole appointments only")
        if request.appointment.locator.get("kind") == CUSTOM:
            return self._cancel_custom(request)
        if not request.email:
            raise NotSent("email_missing")
        reply = self.http.write("POST", CANCEL, payload=write_cancel(request), expect={200, *NO})
        return read_cancelled(reply, why=WHY_MAIN)

    def schedule(self, request: ScheduleRequest) -> ScheduleAnswer:
        """Book a free slot. The answer shows no id, so the booking is found by listing."""
        reply = self.http.write(
            "POST", APPOINTMENTS, payload=write_schedule(request), expect={200, 400, 403}
        )
        if reply.status != 200:
            why = Refusal.PERMISSION if reply.status == 403 else Refusal.INVALID
            return Refused(why=why, said=said(refusal(reply)), conclusive=True)
        return Scheduled(said=said(succeeded(reply)))

    # --- under the hood

    def _cancel_custom(self, request: CancelRequest) -> CancelAnswer:
        case_id = request.appointment.locator.get("case_id", "")
        if not is_uuid(case_id):
            raise NotSent("case_unknown")
        reply = self.http.write(
            "POST",
            f"api/v1/cases/{case_id}",
            payload=write_cancel_custom(request),
            expect={200, *NO},
        )
        return read_cancelled(reply, why=WHY_CUSTOM)

    def _listed(self, first: date, last: date) -> list[Json]:
        """Rows that overlap *first* to *last*, both included."""
        params = {"start_date": first.isoformat(), "end_date": last.isoformat()}
        reply = self.http.read(APPOINTMENTS, params=params, deadline=PAGE_DEADLINE)
        with reading():
            return objects(succeeded(reply), "data")

    def _starts_in(self, window: DateWindow, booking: BookedAppointment) -> bool:
        """Compared as moments: turning a far-off moment into a local day can overflow."""
        zone = self.account.time_zone
        opens = datetime.combine(window.first, time.min, tzinfo=zone)
        closes = datetime.combine(window.last + DAY, time.min, tzinfo=zone)
        return booking.starts_at is not None and opens <= booking.starts_at < closes

    def _in_list(self, ref: BookingRef) -> BookedAppointment | None:
        if ref.starts_at is None:
            return None
        day = ref.starts_at.astimezone(self.account.time_zone).date()
        rows = self._listed(day - DAY, day + DAY)
        with reading():
            return newest(read_row(row) for row in rows if id_of(row, "id") == ref.external_id)

    def _in_case(self, ref: BookingRef) -> BookedAppointment | None:
        case = self._case(ref, events=True)
        if case is None:
            return None
        with reading():
            return newest(
                read_case_event(event, case=case, ref=ref)
                for event in maybe_objects(case, "calendarEvents")
                if id_of(event, "id") == ref.external_id
            )

    def _case(self, ref: BookingRef, *, events: bool) -> Json | None:
        """The case of a booking; None if it is not known to us, or no longer to CareValidate."""
        case_id = ref.locator.get("case_id", "")
        if not is_uuid(case_id):
            return None
        params = {"caseId": case_id} | ({"includeCalendarEvents": "true"} if events else {})
        reply = self.http.read(CASE_DETAIL, params=params, expect={200, 404})
        if reply.status == 404:
            refusal(reply)
            return None
        with reading():
            case = as_object(succeeded(reply).get("caseDetail"), "caseDetail")
            if identifier(case, "id").lower() != case_id.lower():
                raise AnswerNotUnderstood("other_id", status=reply.status)
        return case


# --- what we send -----------------------------------------------------------------------------


def write_cancel(request: CancelRequest) -> Json:
    """Shape: {"email": str, "appointmentId": str, "reason"?: str}; never null, never empty."""
    body: Json = {"email": request.email, "appointmentId": request.appointment.external_id}
    if request.reason.strip():
        body["reason"] = request.reason
    return body


def write_cancel_custom(request: CancelRequest) -> Json:
    """Shape: {"action": "CANCEL_CALENDAR_EVENT", "calendar": {"id": str}}; takes no reason."""
    return {"action": "CANCEL_CALENDAR_EVENT", "calendar": {"id": request.appointment.external_id}}


def write_schedule(request: ScheduleRequest) -> Json:
    """
    Shape: {"eventTypeId": str, "startTime": str, "email": str, "timezone": str, "location": str,
    "firstName"?: str, "lastName"?: str}.

    A name is split at its first space; a name of one word is sent as the first name.
    """
    body: Json = {
        "eventTypeId": request.service,
        "startTime": request.starts_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "email": request.email,
        "timezone": request.time_zone,
        "location": request.location,
    }
    first, _, last = request.name.strip().partition(" ")
    names = {"firstName": first, "lastName": last.strip()}
    return body | {key: name for key, name in names.items() if name}


def steps(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Cut *first* to *last*, both included, into ranges of at most 30 days."""
    while first <= last:
        yield first, min(last, first + LIST_STEP - DAY)
        first += LIST_STEP


# --- what they answer -------------------------------------------------------------------------


def succeeded(reply: Reply) -> Json:
    """
    The body of a 200 that says it is one.

    Shape: {"status": 200, "success": true, "message"?: str, ...}. `status` repeats the HTTP
    status; a body that contradicts it, or has `success` other than true, is no success.
    """
    body = reply.object()
    if body.get("success") is not True or body.get("status", reply.status) != reply.status:
        raise AnswerNotUnderstood("not_success", status=reply.status)
    return body


def refusal(reply: Reply) -> Json:
    """
    The body of a 4xx that says no.

    Shape: {"status": int, "success": false, "message": str, "error"?: str}. A 403, which no page
    documents, may be empty.
    """
    if reply.status == 403 and reply.is_empty:
        return {}
    body = reply.object()
    if body.get("success") is True:
        raise AnswerNotUnderstood("contradictory", status=reply.status)
    return body


def said(body: Json) -> str:
    """`error` names the rule that failed, and stands on 400 only; `message` is for people."""
    with reading():
        return (maybe_text(body, "error") or maybe_text(body, "message"))[:SAID_LIMIT]


def read_cancelled(reply: Reply, *, why: Mapping[int, Refusal]) -> CancelAnswer:
    """
    Shape: {"status": 200, "success": true, "message": str}, on the route of custom events with
    "data": {"success": true}. No answer shows the appointment.

    A refusal proves little: 400 may also mean that it was cancelled already.
    """
    if reply.status != 200:
        body = refusal(reply)
        return Refused(
            why=why.get(reply.status, Refusal.OTHER),
            said=said(body),
            conclusive=reply.status == 403,
        )
    body = succeeded(reply)
    if maybe_object(body, "data").get("success", True) is not True:
        raise AnswerNotUnderstood("not_success", status=reply.status)
    return Confirmed(said=said(body))


def read_row(item: Json) -> BookedAppointment:
    """
    One row of the list.

    Shape: {"id": str, "start": str, "end": str, "title"?, "topic"?, "agentName"?, "status"?: str,
    "isDeleted"?: bool, "updatedAt"?: str, "meetingDetails"?: {...},
    "case"?: {"id": str, "shortId"?: str, "submitter"?: {...}}}.

    What `meetingDetails` holds is not documented; the names of the webhooks' `calendarEvent` are
    looked for there. Its links to cancel and to reschedule work for whoever has them: left out.
    """
    case, meeting = maybe_object(item, "case"), maybe_object(item, "meetingDetails")
    starts_at, ends_at = moment(item, "start"), maybe_moment(item, "end")
    return BookedAppointment(
        external_id=identifier(item, "id"),
        status=Status.CANCELLED if _is_deleted(item) else Status.BOOKED,
        provider_status=maybe_text(item, "status"),
        starts_at=starts_at,
        ends_at=_in_order(starts_at, ends_at),
        title=maybe_text(item, "title") or maybe_text(item, "topic"),
        host=maybe_text(meeting, "providerName"),
        location=maybe_text(meeting, "meetingProvider"),
        reference=maybe_text(case, "shortId"),
        meeting_link=maybe_text(meeting, "meetingLink"),
        attendees=_attendees(case, time_zone=maybe_text(meeting, "timezone")),
        locator={"kind": _kind(item), "case_id": id_of(case, "id")},
        updated_at=maybe_moment(item, "updatedAt"),
    )


def read_case_event(event: Json, *, case: Json, ref: BookingRef) -> BookedAppointment:
    """
    One event of a case, which says what the list cannot: that it was cancelled.

    Shape of *event*: {"id": str, "isDeleted": bool, "startDateTime"?, "endDateTime"?, "title"?,
    "topic"?, "timezone"?, "status"?, "meetingLink"?, "providerName"?, "meetingProvider"?: str}.
    Shape of *case*: {"id": str, "shortId"?: str, "submitter"?: {...}}.

    `isDeleted` is the question here, so an event without it is no answer. Of a cancelled one the
    known start is kept when none is given; a standing one without a start cannot be placed.
    """
    deleted = flag(event, "isDeleted")
    if deleted and ref.starts_at is not None:
        starts_at = maybe_moment(event, "startDateTime") or ref.starts_at
    else:
        starts_at = moment(event, "startDateTime")
    return BookedAppointment(
        external_id=identifier(event, "id"),
        status=Status.CANCELLED if deleted else Status.BOOKED,
        provider_status=maybe_text(event, "status"),
        starts_at=starts_at,
        ends_at=_in_order(starts_at, maybe_moment(event, "endDateTime")),
        title=maybe_text(event, "title") or maybe_text(event, "topic"),
        host=maybe_text(event, "providerName"),
        location=maybe_text(event, "meetingProvider"),
        reference=maybe_text(case, "shortId"),
        meeting_link=maybe_text(event, "meetingLink"),
        attendees=_attendees(case, time_zone=maybe_text(event, "timezone")),
        locator=dict(ref.locator),
        updated_at=maybe_moment(event, "updatedAt"),
    )


def read_submitter(case: Json) -> BookedAttendee | None:
    """
    The patient of a case, name and address only; None when neither is there.

    Shape: {"submitter": {"firstName"?: str, "lastName"?: str, "email"?: str}}. That the submitter
    is the patient is documented; that it is the invitee is not.
    """
    person = maybe_object(case, "submitter")
    names = (maybe_text(person, "firstName"), maybe_text(person, "lastName"))
    name, email = " ".join(one for one in names if one), maybe_text(person, "email")
    return BookedAttendee(name=name, email=email) if name or email else None


def read_service(item: Json) -> Service | None:
    """
    Shape: {"providerName"?: str, "calendlyLink"?: str, "eventTypeId"?: str}; None if it cannot be
    booked for want of an id.
    """
    external_id = id_of(item, "eventTypeId")
    if not external_id:
        return None
    return Service(external_id=external_id, name=maybe_text(item, "providerName") or external_id)


def newest(found: Iterable[BookedAppointment]) -> BookedAppointment | None:
    """The one changed last, should an answer hold an id twice."""
    oldest = datetime.min.replace(tzinfo=UTC)
    return max(found, key=lambda one: one.updated_at or oldest, default=None)


def is_uuid(value: str) -> bool:
    """Whether *value* may stand as a case id: it goes into a path, and they want a UUID there."""
    return _UUID.fullmatch(value) is not None


def _attendees(case: Json, *, time_zone: str) -> tuple[BookedAttendee, ...]:
    person = read_submitter(case)
    return () if person is None else (replace(person, time_zone=time_zone),)


def _kind(item: Json) -> str:
    """That anything but "custom" is Calendly's is assumed; only "custom" is documented."""
    return CUSTOM if maybe_text(item, "agentName").lower() == CUSTOM else CALENDLY


def _is_deleted(item: Json) -> bool:
    """In a list always false, as documented; a value that is neither yes nor no is no booking."""
    return flag(item, "isDeleted") if item.get("isDeleted") is not None else False


def _in_order(starts_at: datetime, ends_at: datetime | None) -> datetime | None:
    if ends_at is not None and ends_at < starts_at:
        raise Unreadable("the end lies before the start")
    return ends_at
