"""
HuskyVoice, appointments API v1.

Source: the vendor's page "Cancelling Appointments" and their public pages on appointments, keys,
limits and availability, read 2026-11. Paths lie below `v1/`, so the base URL is the bare host.
Times: `created_at` and `updated_at` in UTC with milliseconds; an appointment itself has a date,
a session and a batch, but no clock time and no length. Page: at most 200, numbered from 1.

Quirks, as far as they shape this module:

- The list knows one day at a time, and that day is UTC, while the `date` of a row may be local.
  So one day more is asked for at both ends, and `date` decides. Without a day, page 1 would be
  the oldest history; such a request is never made.
- The only clock times are the opening windows of a day. Full windows are left out there, so a
  missing window means nothing. It is a side call: when it fails, the listing goes on without.
- Cancelling is a PATCH of the status. Cancelling again is the same 200 with `updated_at`
  unchanged (the latter is assumed), so a repeat is harmless.
- The PATCH is wide: `notes` is never returned, so a reason written there could erase a note that
  nobody has seen. Nothing but the status is sent.
- How a refusal by policy looks is not documented. Codes decide first, the status second, words
  never.
- Moving is the same PATCH with `appointment_date`, session and batch; afterwards the status is
  "rescheduled", which means booked. No answer shows a clock time: day, session and batch are all
  that proves a move, so none within the same batch is sent, and none without a session.
- Not known: whether the Z of `appointment_date` is true (a sample contradicts it), so one test
  booking should be made before people rely on booking or moving from here. It is written as the
  true moment; if the vendor takes it for a wall clock, the answer shows another place than asked
  for, or a refusal, and never a confirmation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from urllib.parse import quote

from appointments.domain import (
    NOTHING,
    AccessDenied,
    Already,
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelAnswer,
    CancellationPolicy,
    CancelRequest,
    Capabilities,
    CapabilityMissing,
    Confirmed,
    DateWindow,
    Informs,
    NotSent,
    Page,
    ProviderError,
    RateLimited,
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
    Service,
    Slot,
    SlotQuery,
    Status,
)
from appointments.providers.base import PageGuard, Provider, read_records
from appointments.providers.reading import (
    Json,
    Unreadable,
    as_object,
    clock,
    day,
    flag,
    identifier,
    maybe_moment,
    maybe_text,
    objects,
    readable,
    reading,
    said,
    text,
)
from appointments.providers.transport import (
    PAGE_DEADLINE,
    READ_DEADLINE,
    Params,
    Reply,
    retry_wait,
)

PAGE_SIZE = 200
"""The most that a page may hold. Source: "Getting Appointments"."""
SIDE_DEADLINE = 3.0
"""Seconds for names and windows, which are welcome but never waited for."""
LONGEST_NOTICE = 366 * 24
"""Hours; a policy that asks for more is taken for a mistake."""
ONE_DAY = timedelta(days=1)

STATUSES: Mapping[str, Status] = MappingProxyType(
    {
        "confirmed": Status.BOOKED,
        "rescheduled": Status.BOOKED,  # moved to another time, and standing
        "cancelled": Status.CANCELLED,
        "completed": Status.COMPLETED,
    }
)
"""Source: "Getting Appointments", filter `status`. Case matters."""

CODES: Mapping[str, Refusal] = MappingProxyType(
    {
        "UNAUTHORIZED": Refusal.CREDENTIALS,
        "INSUFFICIENT_SCOPE": Refusal.PERMISSION,
        "NOT_FOUND": Refusal.NOT_FOUND,
        "SLOT_FULL": Refusal.SLOT_TAKEN,
        "OUTSIDE_AVAILABILITY": Refusal.SLOT_TAKEN,
        "DUPLICATE_BOOKING": Refusal.DUPLICATE,
        # Below: the refusal is documented, its code is assumed.
        "VALIDATION_ERROR": Refusal.INVALID,
        "CANCELLATION_NOT_ALLOWED": Refusal.POLICY,
        "CANCELLATION_NOTICE_REQUIRED": Refusal.POLICY,
        "DAILY_QUOTA_EXCEEDED": Refusal.QUOTA,
        "INSUFFICIENT_CREDITS": Refusal.QUOTA,
    }
)
"""Source: "Cancelling", "Updating Appointments", "Deleting Calls", "Request Quotas"."""

REFUSING: Mapping[int, Refusal] = MappingProxyType(
    {
        400: Refusal.INVALID,
        402: Refusal.QUOTA,
        403: Refusal.POLICY,
        404: Refusal.NOT_FOUND,
        405: Refusal.OTHER,
        406: Refusal.OTHER,
        409: Refusal.POLICY,
        410: Refusal.NOT_FOUND,
        412: Refusal.OTHER,
        415: Refusal.OTHER,
        422: Refusal.POLICY,
    }
)
"""What a status says when its code is unknown. Assumed, but for 403 and 404."""

SESSIONS = ("Morning", "Afternoon", "Evening")
OPEN = "OPEN"
"""The only status of a window that is documented; windows come only while they are open."""
MOST_PLACES = 10_000
UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
PHONE_PATTERN = r"\+[1-9][0-9]{6,14}"
"""E.164; the vendor's page on keys adds that only +91 is supported for calls."""


class HuskyVoice(Provider):
    slug = "huskyvoice"
    label = "HuskyVoice"
    default_base_url = "https://api.huskyvoice.ai"
    capabilities = Capabilities(
        reads_one=True,
        repeat_is_safe=True,
        has_policy=True,
        cancels_past=False,
        informs=Informs.PROBABLY_NOBODY,
        schedule_fields=(
            ScheduleField(name="service"),
            ScheduleField(name="starts_at"),
            ScheduleField(name="name"),
            ScheduleField(name="phone", pattern=PHONE_PATTERN),
            ScheduleField(name="session", required=False, choices=SESSIONS),
            ScheduleField(name="branch", required=False),
        ),
        reschedules=True,
        slot_days=7,  # each a request of sixty a minute
        requests_per_minute=60,
        has_daily_quota=True,
        near_days=1,
        # Two requests a day with the windows; bookings reach 10 days ahead by default. The quota
        # for a whole day is not published, and used up it stops the cancelling too.
        listing_days=14,
        sync_minutes=5,
    )

    @classmethod
    def headers(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {credentials['api_key']}"}

    # --- reading

    def check(self) -> None:
        reply = self._get("v1/appointments", params=list_params(_today(), page=1, limit=1))
        with reading():
            objects(envelope(reply.object()), "data")

    def pages(self, window: DateWindow) -> Iterator[Page]:
        windows = _Windows(self._windows_of)

        def read_one(item: Json) -> BookedAppointment | None:
            if not window.first <= day(item, "date") <= window.last:
                return None
            record = read_appointment(item, names=self._names)
            return windows.place(record) if record.is_live else record

        asked = window.first - ONE_DAY
        while asked <= window.last + ONE_DAY:
            yield from self._pages_of(asked, read_one)
            asked += ONE_DAY

    def read(self, ref: BookingRef) -> BookedAppointment | None:
        reply = self._get(path_of(ref.external_id), expect={200, 404})
        body = reply.object()
        if reply.status == 404:
            return None
        with reading():
            item = as_object(envelope(body).get("data", body), "data")
            return read_appointment(_same(item, ref.external_id), names=self._names)

    def policy(self) -> CancellationPolicy:
        body = self._get("v1/appointment-config").object()
        with reading():
            return read_policy(as_object(envelope(body).get("data", body), "data"))

    def services(self) -> tuple[Service, ...]:
        return self._services(deadline=READ_DEADLINE)

    def slots(self, query: SlotQuery) -> tuple[Slot, ...]:
        """
        The open windows of each day, one request a day; see `Provider.slots`.

        The places left are the vendor's count, which leaves out bookings that were moved: only
        the answer to a booking says whether there was one.
        """
        wish = _Wish.of(query)
        found: list[Slot] = []
        asked = query.window.first
        while asked <= query.window.last:
            windows = self._windows_of(asked, more=wish.params(), deadline=READ_DEADLINE)
            found += [self._slot(asked, one) for one in windows if wish.fits(one)]
            asked += ONE_DAY
        return tuple(sorted(found, key=lambda slot: (slot.starts_at, slot.branch, slot.batch)))

    def _slot(self, day: date, window: OpeningWindow) -> Slot:
        """*window* as moments: its clock times are meant in the zone of the practice."""
        starts, ends = (
            datetime.combine(day, clock, tzinfo=self.account.time_zone).astimezone(UTC)
            for clock in window.hours
        )
        return Slot(
            starts_at=starts,
            ends_at=ends,
            session=window.session,
            batch=window.batch,
            branch=window.branch,
            service=window.service,
            left=window.left,
        )

    def _pages_of(
        self, asked: date, read_one: Callable[[Json], BookedAppointment | None]
    ) -> Iterator[Page]:
        """One UTC day. Each day has a guard of its own: a row may come up on two of them."""
        guard = PageGuard()
        number = 0
        while True:
            number += 1
            reply = self._get(
                "v1/appointments",
                params=list_params(asked, page=number, limit=PAGE_SIZE),
                deadline=PAGE_DEADLINE,
            )
            with reading():
                items = objects(envelope(reply.object()), "data")
            page = read_records(items, read_one, id_key="appointment_id")
            guard.admit(page, size=len(items))
            yield page
            if len(items) < PAGE_SIZE:
                return

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Names of the services by id; empty when they cannot be had."""
        if self.account.service_names:
            return self.account.service_names
        try:
            services = self._services(deadline=SIDE_DEADLINE)
        except ProviderError:
            return NOTHING
        return {service.external_id: service.name for service in services}

    def _services(self, *, deadline: float) -> tuple[Service, ...]:
        reply = self._get("v1/services", deadline=deadline)
        with reading():
            return readable(objects(envelope(reply.object()), "data"), read_service)

    def _windows_of(
        self,
        asked: date,
        *,
        more: Mapping[str, str] = NOTHING,
        deadline: float = SIDE_DEADLINE,
    ) -> tuple[OpeningWindow, ...]:
        """*more*: what else the question holds."""
        reply = self._get(
            "v1/appointment-slots/availability",
            params={"date": asked.isoformat(), **more},
            deadline=deadline,
        )
        with reading():
            return read_windows(envelope(reply.object()), asked)

    def _get(
        self,
        path: str,
        *,
        params: Params | None = None,
        expect: Collection[int] = (200,),
        deadline: float = READ_DEADLINE,
    ) -> Reply:
        reply = self.http.read(path, params=params, expect={*expect, 402, 429}, deadline=deadline)
        self._refuse_limited(reply)
        if reply.status == 402:
            reply.object()  # A page of a relay in between is not the provider's word.
            raise AccessDenied("quota", status=402)
        return reply

    # --- writing

    def cancel(self, request: CancelRequest) -> CancelAnswer:
        if request.scope is not Scope.WHOLE:
            raise CapabilityMissing(f"{self.label} cancels whole appointments only")
        reply = self.http.write(
            "PATCH",
            path_of(request.appointment.external_id),
            payload=write_cancellation(),
            expect={200, 429, *REFUSING},
        )
        self._refuse_limited(reply)
        if reply.status != 200:
            return read_refusal(reply)
        with reading():
            return read_cancellation(reply.object(), request.appointment)

    def schedule(self, request: ScheduleRequest) -> ScheduleAnswer:
        reply = self.http.write(
            "POST",
            "v1/appointments",
            payload=write_booking(request),
            expect={201, 429, *REFUSING},
        )
        self._refuse_limited(reply)
        if reply.status != 201:
            return read_refusal(reply)
        with reading():
            return read_scheduled(reply.object())

    def reschedule(self, request: RescheduleRequest) -> RescheduleAnswer:
        if not request.session:
            raise NotSent("session_missing")
        if request.is_met_by(request.appointment, zone=self.account.time_zone):
            raise NotSent("nothing_to_move")
        reply = self.http.write(
            "PATCH",
            path_of(request.appointment.external_id),
            payload=write_move(request),
            expect={200, 429, *REFUSING},
        )
        self._refuse_limited(reply)
        if reply.status != 200:
            return read_refusal(reply)
        with reading():
            moved = read_own(reply.object(), request.appointment)
        if not request.is_met_by(moved, zone=self.account.time_zone):
            raise AnswerNotUnderstood("not_as_asked", status=reply.status)
        # The title is a name that this answer does not hold; the window was that of the old time.
        return Rescheduled(appointment=replace(moved, title=request.appointment.title))

    def _refuse_limited(self, reply: Reply) -> None:
        """
        Tell a used-up quota, which no wait of ours outlasts, from too many requests a minute.

        Raises:
            RateLimited: the answer was a 429; nothing was done.
        """
        if reply.status != 429:
            return
        try:
            code = Failure.read(reply).code
        except AnswerNotUnderstood:
            code = ""
        if CODES.get(code) is Refusal.QUOTA:
            raise RateLimited("quota", wait=None)
        raise RateLimited("rate_limited", wait=retry_wait(reply, default=self.http.default_wait))


# --- ours into theirs -------------------------------------------------------------------------


def list_params(asked: date, *, page: int, limit: int) -> dict[str, str | int]:
    return {"date": asked.isoformat(), "page": page, "limit": limit}


def path_of(external_id: str) -> str:
    return f"v1/appointments/{quote(external_id, safe='')}"


def write_cancellation() -> Json:
    """Shape: {"status": "cancelled"}, and nothing else; the module's docstring says why."""
    return {"status": "cancelled"}


def write_booking(request: ScheduleRequest) -> Json:
    """
    Shape: {"appointment_type": str, "appointment_date": "2026-12-14T04:00:00.000Z",
    "patient_name": str, "parent_phone": "+919840000001", "session"?: str, "branch_id"?: str}.

    The branch is required by organizations that have several.
    """
    body = {
        "appointment_type": request.service,
        "appointment_date": write_moment(request.starts_at),
        "patient_name": request.name,
        "parent_phone": request.phone,
        "session": request.session,
        "branch_id": request.branch,
    }
    return {key: value for key, value in body.items() if value}


def write_move(request: RescheduleRequest) -> Json:
    """Shape: {"appointment_date": see write_moment, "session": str, "batch"?: str}"""
    body = {"appointment_date": write_moment(request.starts_at), "session": request.session}
    return body | {"batch": request.batch} if request.batch else body


def write_moment(when: datetime) -> str:
    """`2026-12-14T04:00:00.000Z`, the moment in UTC, as the vendor's samples write it."""
    written = when.astimezone(UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


# --- theirs into ours -------------------------------------------------------------------------


def envelope(body: Json) -> Json:
    """
    Pass *body* on unless it says itself that it is a failure.

    Envelopes differ: `{success, data}`, `{success, slots}`, and policy or record perhaps bare.
    """
    if body.get("success", True) is not True or body.get("error"):
        raise Unreadable("success is not true")
    return body


def read_appointment(item: Json, *, names: Mapping[str, str] = NOTHING) -> BookedAppointment:
    """
    Shape: {"appointment_id": str, "date": "2026-12-07", "status": str, and, all of them perhaps
    null or absent: "session": str, "batch": str, "appointment_type": service id, "branch_id": str,
    "patient_name": str, "parent_phone": str, perhaps masked with X, "assigned_doctor": str,
    "token": str or int, "external_reference_id": str, "updated_at": UTC}.

    *names*: services by id. A service without a name stays without; its id tells nobody anything.
    """
    word = text(item, "status")
    service, branch = maybe_text(item, "appointment_type"), maybe_text(item, "branch_id")
    locator = {"service_id": service, "branch_id": branch}
    return BookedAppointment(
        external_id=identifier(item, "appointment_id"),
        status=STATUSES.get(word, Status.OTHER),
        provider_status=word,
        day=day(item, "date"),
        session=maybe_text(item, "session"),
        batch=maybe_text(item, "batch"),
        title=names.get(service, ""),
        host=maybe_text(item, "assigned_doctor"),
        reference=maybe_text(item, "token") or maybe_text(item, "external_reference_id"),
        attendees=_attendees(item),
        locator={key: value for key, value in locator.items() if value},
        updated_at=maybe_moment(item, "updated_at"),
    )


def _attendees(item: Json) -> tuple[BookedAttendee, ...]:
    """The patient, perhaps a child; the number is the parent's."""
    name, phone = maybe_text(item, "patient_name"), maybe_text(item, "parent_phone")
    return (BookedAttendee(name=name, phone=phone),) if name or phone else ()


def _same(item: Json, external_id: str) -> Json:
    if identifier(item, "appointment_id") != external_id:
        raise AnswerNotUnderstood("other_id", status=200)
    return item


def read_own(body: Json, seen: BookedAppointment) -> BookedAppointment:
    """
    Shape: {"success": true, "data": appointment, as `read_appointment` takes it}, as a PATCH is
    answered.

    Raises:
        AnswerNotUnderstood: it is another appointment than *seen*.
    """
    flag(envelope(body), "success")
    return read_appointment(_same(as_object(body.get("data"), "data"), seen.external_id))


def read_cancellation(body: Json, seen: BookedAppointment) -> Confirmed | Already:
    """
    Shape: {"success": true, "data": appointment, as `read_appointment` takes it}.

    *seen*: the appointment as it was read before the request. Whether it was cancelled by this
    request or before is told by `updated_at` alone.

    Raises:
        AnswerNotUnderstood: it is another appointment, or not cancelled.
    """
    record = read_own(body, seen)
    if record.status is not Status.CANCELLED:
        raise AnswerNotUnderstood("still_booked", status=200)
    if seen.updated_at is not None and record.updated_at == seen.updated_at:
        return Already()
    return Confirmed(appointment=replace(record, title=seen.title, window=seen.window))


def read_scheduled(body: Json) -> Scheduled:
    """Shape: {"success": true, "appointment_id": str, "token": str or null, "data": appointment}"""
    flag(envelope(body), "success")
    external_id = identifier(body, "appointment_id")
    record = read_appointment(_same(as_object(body.get("data"), "data"), external_id))
    if not record.is_live:
        raise AnswerNotUnderstood("not_booked", status=201)
    return Scheduled(external_id=external_id, appointment=record)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What an answer says about a failure."""

    code: str
    message: str

    @classmethod
    def read(cls, reply: Reply) -> Failure:
        """
        Shape: {"error": {"code": str, "message": str}}; "error" may be plain text.

        Raises:
            AnswerNotUnderstood: it is no JSON object, so it is not the provider's word.
        """
        body = reply.object()
        error = body.get("error", body.get("message"))
        if not isinstance(error, dict):
            return cls(code="", message=said(error))
        code = error.get("code")
        return cls(code=code if isinstance(code, str) else "", message=said(error.get("message")))


def read_refusal(reply: Reply) -> Refused:
    """
    Turn a documented or assumed no into words of ours: by its code, else by its status.

    Raises:
        AnswerNotUnderstood: the code says that their side failed, which refuses nothing; or the
            answer is a page.
    """
    if reply.status == 403 and reply.is_empty:
        return Refused(why=Refusal.POLICY, conclusive=True)
    failure = Failure.read(reply)
    if failure.code == "INTERNAL_ERROR":
        raise AnswerNotUnderstood("server_error", status=reply.status)
    by_code = CODES.get(failure.code)
    return Refused(
        why=by_code or REFUSING[reply.status],
        said=failure.message,
        conclusive=reply.status == 403 or by_code in (Refusal.PERMISSION, Refusal.QUOTA),
    )


def read_service(item: Json) -> Service:
    """Shape: {"service_id": str, "name": str}; assumed."""
    return Service(external_id=identifier(item, "service_id"), name=text(item, "name"))


def read_policy(item: Json) -> CancellationPolicy:
    """Shape: {"allow_cancellation": bool, "cancellation_notice_hours": number, "timezone"?: str}"""
    hours = item.get("cancellation_notice_hours")
    if isinstance(hours, bool) or not isinstance(hours, int | float):
        raise Unreadable("cancellation_notice_hours is no number")
    if not 0 <= hours <= LONGEST_NOTICE:
        raise Unreadable("cancellation_notice_hours is out of range")
    return CancellationPolicy(
        allowed=flag(item, "allow_cancellation"),
        notice=timedelta(hours=hours),
        time_zone=maybe_text(item, "timezone"),
    )


# --- opening windows --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OpeningWindow:
    """When a batch of a session is open at a branch, on one day. Wall clock of the practice."""

    branch: str
    session: str
    batch: str
    service: str
    """Id of the only service that is booked in it; empty: any."""
    hours: tuple[time, time]
    is_open: bool
    left: int | None
    """Places left; None if the vendor does not say."""

    def holds(self, booking: BookedAppointment) -> bool:
        return (
            (self.branch, self.session, self.batch)
            == (booking.locator.get("branch_id", ""), booking.session, booking.batch)
        ) and self.service in ("", booking.locator.get("service_id", ""))


def read_windows(body: Json, asked: date) -> tuple[OpeningWindow, ...]:
    """
    Shape: {"success": true, "date": "2026-12-07", "slots": [{"branch_id": str, "session": str,
    "batch": str or null, "start_time": "09:00", "end_time": "11:00",
    "appointment_type": service id or null, "available_slots"?: int, "status"?: "OPEN"}]}.

    A window that makes no sense is left out: none is better than a wrong one. If none makes
    sense, that is no day without windows.
    """
    if day(body, "date") != asked:
        raise Unreadable("date is another day")
    return readable(objects(body, "slots"), _read_window)


def _read_window(item: Json) -> OpeningWindow:
    start, end = clock(item, "start_time"), clock(item, "end_time")
    if start.tzinfo or end.tzinfo or start >= end:
        raise Unreadable("start_time and end_time are no window")
    session = text(item, "session")
    if not session:
        raise Unreadable("session is empty")
    return OpeningWindow(
        branch=text(item, "branch_id"),
        session=session,
        batch=maybe_text(item, "batch"),
        service=maybe_text(item, "appointment_type"),
        hours=(start, end),
        is_open=item.get("status", OPEN) == OPEN,
        left=_places(item.get("available_slots")),
    )


def _places(value: object) -> int | None:
    """A number of places that a practice can have; anything else says nothing."""
    if isinstance(value, bool) or not isinstance(value, int) or value > MOST_PLACES:
        return None
    return max(value, 0)


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """Which windows are wanted; empty: any."""

    branch: str
    session: str
    service: str

    @classmethod
    def of(cls, query: SlotQuery) -> _Wish:
        known = NOTHING if query.moving is None else query.moving.locator
        return cls(
            branch=query.branch or known.get("branch_id", ""),
            session=query.session,
            service=query.service or known.get("service_id", ""),
        )

    def params(self) -> dict[str, str]:
        """What the vendor can look for itself: a branch by its UUID, one of its sessions."""
        params = {}
        if re.fullmatch(UUID, self.branch):
            params["branch_id"] = self.branch
        if self.session in SESSIONS:
            params["session"] = self.session
        return params

    def fits(self, window: OpeningWindow) -> bool:
        return (
            window.is_open
            and window.left != 0
            and self.branch in ("", window.branch)
            and self.session in ("", window.session)
            and (not self.service or window.service in ("", self.service))
        )


class _Windows:
    """
    Opening windows during one listing: a day is asked for once, and only when a row needs it.

    After the first failure no more is asked: the key lacks the scope, or the requests that are
    left this minute are needed for the listing itself.
    """

    def __init__(self, fetch: Callable[[date], tuple[OpeningWindow, ...]]) -> None:
        self._fetch = fetch
        self._known: dict[date, tuple[OpeningWindow, ...]] = {}
        self._failed = False

    def place(self, booking: BookedAppointment) -> BookedAppointment:
        """Add the window, if exactly one fits."""
        if booking.day is None:
            return booking
        fitting = {one.hours for one in self._on(booking.day) if one.holds(booking)}
        return replace(booking, window=fitting.pop()) if len(fitting) == 1 else booking

    def _on(self, asked: date) -> tuple[OpeningWindow, ...]:
        if asked not in self._known and not self._failed:
            try:
                self._known[asked] = self._fetch(asked)
            except ProviderError:
                self._failed = True
        return self._known.get(asked, ())


def _today() -> date:
    return datetime.now(UTC).date()
