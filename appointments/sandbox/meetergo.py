"""
meetergo as a local world: a practice in Berlin with consultations, courses and a weekly series.

It answers by the vendor's documentation (read in November 2026) and is as strict about requests
as its contract: what the contract does not allow is a 400. Where nothing is documented, it does
the likeliest thing: a second cancellation is a 400, *all future occurrences* are the later ones,
and a person removed from a group vanishes from both lists. An appointment moves only to a start
that its free slots show, is told to everybody on it, and does not move once it is cancelled or
has begun.

State: `appointments` by id, exactly as they are answered; `series` (appointment id to series id,
which no answer shows); `provisional` bookings by id; `count` of ids given out; `mails`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from appointments.sandbox.core import Answer, Json, Request, World
from appointments.sandbox.people import Person

ZONE = ZoneInfo("Europe/Berlin")
NAMESPACE = uuid5(NAMESPACE_URL, "https://meetergo.sandbox.example")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
COMPANY_ID = "9c1d2e3f-4a5b-4c6d-8e7f-0a1b2c3d4e5f"
REASON_LIMIT = 500
"""UTF-16 units, as a server in JavaScript counts."""
OPENING, CLOSING = time(8), time(18)


@dataclass(frozen=True, kw_only=True)
class Host:
    id: str
    name: str
    """Shown as `mainHost`, so that a demo can be read; the ids stay ids."""


@dataclass(frozen=True, kw_only=True)
class MeetingType:
    id: str
    name: str
    minutes: int
    channel: str = "local"
    location: str | None = None
    is_group: bool = False
    is_paid: bool = False
    double_opt_in: bool = False
    """A booking only counts once the attendee has confirmed it by mail."""


KATRIN = Host(id="2b9d8c1e-77aa-4f0b-8d55-6a1c9e4f7b30", name="Dr. Katrin Behrens")
TOMASZ = Host(id="5e3a7b90-1c4d-4e2f-9b86-0d7f2a5c8e14", name="Tomasz Wolski")
AYLIN = Host(id="c40f9d27-6b1e-4a83-8f35-9e2d7c0b1a66", name="Aylin Demir")
HOSTS = (KATRIN, TOMASZ, AYLIN)

CONSULTATION = MeetingType(
    id="8f6c2f0e-53b7-4a4b-9f1d-1f7f0a9d3c21",
    name="Beratung 30 Minuten",
    minutes=30,
    location="Raum 2",
)
FIRST_VISIT = MeetingType(
    id="3d7e5a1c-90b2-4c6f-a8d4-7b1e9f3c2a50",
    name="Erstgespräch",
    minutes=60,
    location="Raum 1",
)
ONLINE = MeetingType(
    id="a95b3c7d-2e14-4f80-b6a9-c83d5e7f1042",
    name="Online-Beratung",
    minutes=45,
    channel="google",
)
CALL = MeetingType(
    id="e1c8d4b6-7f25-4939-8a0e-5d6b2c9f7413",
    name="Telefontermin",
    minutes=15,
    channel="phone-incoming",
)
PHYSIO = MeetingType(
    id="6b2f8e94-d31a-4c57-9e0b-f4a7c5d81e29",
    name="Krankengymnastik",
    minutes=30,
    location="Raum 3",
)
MASSAGE = MeetingType(
    id="d0a6e3f5-4b9c-4e12-8d77-2c5f1b8a9e60",
    name="Massage (Selbstzahler)",
    minutes=45,
    location="Raum 3",
    is_paid=True,
)
COURSE = MeetingType(
    id="1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
    name="Rückenkurs",
    minutes=60,
    location="Kursraum",
    is_group=True,
)
NUTRITION = MeetingType(
    id="f7d1b5c3-8a60-4e9d-b2f4-6c0e3a9d5187",
    name="Ernährungsberatung",
    minutes=60,
    location="Raum 1",
    double_opt_in=True,
)
MEETING_TYPES = (
    CONSULTATION,
    FIRST_VISIT,
    ONLINE,
    CALL,
    PHYSIO,
    MASSAGE,
    COURSE,
    NUTRITION,
)

RESCHEDULE_FIELDS = {"start", "ignoreAvailability"}
CANCEL_FIELDS = {"reason", "attendeeId", "cancelAll", "cancelEntireSeries"}
BOOKING_FIELDS = {
    "meetingTypeId",
    "start",
    "hostIds",
    "queueId",
    "attendee",
    "duration",
    "channel",
    "location",
    "icsTitle",
    "icsDescription",
    "skipNotifications",
    "phoneOnlyBooking",
}
ATTENDEE_FIELDS = {
    "email",
    "firstname",
    "lastname",
    "fullname",
    "phone",
    "receiveReminders",
    "notes",
    "language",
    "timezone",
    "bringalongEmails",
    "dataPolicyAccepted",
}
LIST_PARAMETERS = {
    "page",
    "pageSize",
    "start",
    "end",
    "userId",
    "meetingTypeId",
    "search",
    "status",
    "sortBy",
    "sortDirection",
}
AVAILABILITY_PARAMETERS = {
    "meetingTypeId",
    "start",
    "end",
    "hostIds",
    "queueId",
    "timezone",
    "meetingDuration",
    "existingAppointmentId",
}


class _Turned(Exception):
    """A request that is turned away; holds the answer."""

    def __init__(self, status: int, message: str | list[str], **more: Any) -> None:
        super().__init__(message)
        errors = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
        body = {"statusCode": status, "message": message, "error": errors[status], **more}
        self.answer = Answer(status=status, body=body)


class MeetergoWorld(World):
    slug = "meetergo"
    label = "meetergo"
    base_path = "/meetergo"
    time_zone = "Europe/Berlin"
    user_id = "71d0c9e2-3f58-4b6a-9c14-8e5a2d7b0f93"
    """The administrator whose appointments, and so the practice's, are shown."""
    personal_key = "rgo-sandbox-5b81d0f2c7"
    """Accepted beside the platform key: a Personal Access Token of the same user."""
    credentials = {  # noqa: RUF012 - declared so by World, and never changed
        "api_key": "ak_live:0c2f4e6a-8b1d-4f3e-9a57-d6c8b0e2f419:sandbox",
        "user_id": user_id,
    }

    def empty(self) -> Json:
        return {"appointments": {}, "series": {}, "provisional": {}, "count": 0}

    def add(
        self,
        *,
        start: datetime,
        people: Sequence[Person],
        kind: MeetingType = CONSULTATION,
        host: Host = KATRIN,
        series: str = "",
        **fields: Any,
    ) -> str:
        """
        Put an appointment into the book and answer its id.

        *series* joins occurrences; *fields* replace the vendor's own fields of the appointment,
        as in `paymentId="pay_1"`.
        """
        attendees = [self._attendee(_written(person)) for person in people]
        appointment = self._appointment(start=start, attendees=attendees, kind=kind, host=host)
        appointment |= fields
        appointment["attendeeIds"] = [one["id"] for one in appointment["attendees"]]
        self.state["appointments"][appointment["id"]] = appointment
        if series:
            self.state["series"][appointment["id"]] = series
        return str(appointment["id"])

    def tally(self) -> tuple[int, int]:
        book = self.state["appointments"].values()
        return len(book), sum(one["isCancelled"] for one in book)

    def operation(self, request: Request) -> str:
        return self._route(request)[0]

    def answer(self, request: Request) -> Answer:
        try:
            self._admit(request)
            return self._route(request)[1](request)
        except _Turned as turned:
            return turned.answer

    def _route(self, request: Request) -> tuple[str, Callable[[Request], Answer]]:
        match (request.method, request.path.removeprefix("/").split("/")):
            case ("GET", ["v4", "appointment", "paginated"]):
                return "list", self._list
            case ("GET", ["v4", "appointment", _]):
                return "read", self._read
            case ("POST", ["v4", "appointment", _, "cancel"]):
                return "cancel", self._cancel
            case ("POST", ["v4", "appointment", _, "reschedule"]):
                return "reschedule", self._reschedule
            case ("GET", ["v4", "booking-availability"]):
                return "availability", self._availability
            case ("POST", ["v4", "booking"]):
                return "schedule", self._book
            case ("GET", ["v4", "provisional-booking", "paginated"]):
                return "provisional", self._list_provisional
            case _:
                return "other", self._nowhere

    # --- who may ask

    def _admit(self, request: Request) -> None:
        """
        Let in the key or the token of this practice.

        The key must name a user to act as; the token must not name another one.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise _Turned(401, "No credential was sent")
        if key not in (self.credentials["api_key"], self.personal_key):
            raise _Turned(401, "The credential is not valid")
        named = request.headers.get("x-meetergo-api-user-id", "")
        if key == self.personal_key:
            if named not in ("", self.user_id):
                raise _Turned(403, "Insufficient permissions")
            return
        if not UUID.fullmatch(named):
            raise _Turned(
                400, "With an API key the header x-meetergo-api-user-id has to be present"
            )
        if named != self.user_id:
            raise _Turned(403, "Insufficient permissions")

    # --- answers

    def _nowhere(self, request: Request) -> Answer:
        raise _Turned(404, f"Cannot {request.method} {request.path}")

    def _list(self, request: Request) -> Answer:
        """One page. The values of `status` are not documented, so it filters nothing here."""
        _only(request, LIST_PARAMETERS)
        page, size = _paging(request)
        for field in ("meetingTypeId", "userId"):
            if field in request.query:
                _uuid(request.one(field), field)
        for field in ("start", "end"):
            if field in request.query:
                _moment(request.one(field), field)
        sort = request.one("sortBy", "appointment.start")
        if sort not in ("appointment.start", "appointment.createdAt"):
            raise _invalid("sortBy", "must be appointment.start or appointment.createdAt")
        direction = request.one("sortDirection", "ASC")
        if direction not in ("ASC", "DESC"):
            raise _invalid("sortDirection", "must be ASC or DESC")
        found = [one for one in self.state["appointments"].values() if _fits(one, request)]
        field = sort.removeprefix("appointment.")
        found.sort(key=lambda one: (one[field], one["id"]), reverse=direction == "DESC")
        shown = found[page * size : (page + 1) * size]
        return Answer(status=200, body={"appointments": shown, "total": len(found)})

    def _read(self, request: Request) -> Answer:
        return Answer(status=200, body=self._named(request))

    def _cancel(self, request: Request) -> Answer:
        appointment = self._named(request)
        body = _cancel_body(request)
        if appointment["isCancelled"]:
            raise _Turned(400, "Appointment is already cancelled")
        if attendee_id := body.get("attendeeId"):
            self._remove(appointment, attendee_id, reason=body.get("reason", ""))
            return Answer(status=200, body=appointment)
        group = appointment["meetingInfo"]["groupBooking"] or len(appointment["attendees"]) > 1
        if group and not body.get("cancelAll"):
            raise _Turned(400, "Group bookings need attendeeId or cancelAll.")
        series = body.get("cancelEntireSeries", False)
        self._call_off(
            [appointment, *(self._later(appointment) if series else ())],
            reason=body.get("reason", ""),
        )
        return Answer(status=200, body=appointment)

    def _availability(self, request: Request) -> Answer:
        _only(request, AVAILABILITY_PARAMETERS)
        kind = _meeting_type(request.one("meetingTypeId"))
        start = _moment(request.one("start"), "start")
        end = _moment(request.one("end"), "end")
        if "queueId" in request.query:
            raise _Turned(404, "Queue not found")
        host_ids = request.query.get("hostIds", [])
        if not host_ids:
            raise _invalid("hostIds", "hostIds or queueId must be given")
        for host_id in host_ids:
            _host(host_id)
        length, besides = timedelta(minutes=kind.minutes), ""
        if "meetingDuration" in request.query:
            length = timedelta(minutes=_minutes(request.one("meetingDuration")))
        if "existingAppointmentId" in request.query:
            besides = self._existing(request.one("existingAppointmentId"))["id"]
        days: dict[str, list[Json]] = {}
        for spot in _starts(start, end, length):
            if self._is_free(host_ids, spot, spot + length, besides=besides):
                days.setdefault(f"{spot.astimezone(ZONE):%Y-%m-%d}", []).append(
                    {"startTime": _stamp(spot)}
                )
        dates = [{"date": day, "spots": spots} for day, spots in days.items()]
        return Answer(
            status=200, body={"timezone": request.one("timezone", ZONE.key), "dates": dates}
        )

    def _reschedule(self, request: Request) -> Answer:
        """Another start, the same length, the same people: each of them gets a mail."""
        appointment = self._named(request)
        body = _body(request, RESCHEDULE_FIELDS)
        start = _moment(body.get("start"), "start")
        _flag(body, "ignoreAvailability")
        if appointment["isCancelled"]:
            raise _Turned(400, "Appointment is already cancelled")
        begins, now = _time(appointment["start"]), datetime.now(UTC)
        if min(begins, start) < now:
            raise _Turned(400, "Appointments in the past cannot be rescheduled")
        length = _time(appointment["end"]) - begins
        if not body.get("ignoreAvailability"):
            offered = start in _starts(start, start, length)
            hosts = appointment["hostIds"]
            besides = appointment["id"]
            if not offered or not self._is_free(hosts, start, start + length, besides=besides):
                raise _Turned(400, "Slot is no longer available")
        appointment |= {
            "start": _stamp(start),
            "end": _stamp(start + length),
            "rescheduledAt": _stamp(now),
            "updatedAt": _stamp(now),
        }
        self._tell([appointment], "is the new time")
        return Answer(status=200, body={"appointment": appointment})

    def _book(self, request: Request) -> Answer:
        body = _booking_body(request)
        kind = _meeting_type(body["meetingTypeId"])
        host = _host(body["hostIds"][0])
        start = _moment(body["start"], "start")
        if kind.double_opt_in:
            return self._note_down(body, kind=kind)
        attendee = self._attendee(body["attendee"])
        if (course := self._running(kind, host, start)) is not None:
            course["attendees"].append(attendee)
            course["attendeeIds"].append(attendee["id"])
            appointment = course
        else:
            length = timedelta(minutes=body.get("duration", kind.minutes))
            if start < datetime.now(UTC) or not self._is_free([host.id], start, start + length):
                raise _Turned(400, "Slot is no longer available")
            appointment = self._appointment(start=start, attendees=[attendee], kind=kind, host=host)
            appointment["end"] = _stamp(start + length)
            self.state["appointments"][appointment["id"]] = appointment
        if not body.get("skipNotifications"):
            self._tell([appointment], "is booked", only=attendee["id"])
        return Answer(
            status=201,
            body={"appointmentId": appointment["id"], "secret": appointment["secret"]},
        )

    def _note_down(self, body: Json, *, kind: MeetingType) -> Answer:
        """A booking that is none yet: the attendee is asked by mail to confirm it."""
        provisional = {
            "id": self._fresh_id("provisional"),
            "type": "doubleOptIn",
            "createdAt": _stamp(datetime.now(UTC)),
            "meetingTypeId": kind.id,
            "dto": body,
            "status": "pending",
        }
        self.state["provisional"][provisional["id"]] = provisional
        if address := body["attendee"].get("email"):
            self.mail(address, f"{kind.name}: please confirm")
        return Answer(
            status=201,
            body={"bookingType": "doubleOptIn", "provisionalBookingId": provisional["id"]},
        )

    def _list_provisional(self, request: Request) -> Answer:
        _only(request, {"page", "pageSize", "status"})
        page, size = _paging(request)
        status = request.one("status")
        if status not in ("", "pending", "confirmed", "expired", "declined_by_host"):
            raise _invalid("status", "is not one of the known values")
        found = [one for one in self.state["provisional"].values() if status in ("", one["status"])]
        shown = found[page * size : (page + 1) * size]
        return Answer(status=200, body={"provisionalBookings": shown, "total": len(found)})

    # --- the book

    def _named(self, request: Request) -> Json:
        """The appointment that the path names."""
        return self._existing(request.path.split("/")[3])

    def _existing(self, external_id: str) -> Json:
        _uuid(external_id, "id")
        appointment: Json | None = self.state["appointments"].get(external_id)
        if appointment is None:
            raise _Turned(404, "Appointment not found")
        return appointment

    def _remove(self, appointment: Json, attendee_id: str, *, reason: str) -> None:
        """Take one person off a group; the rest goes on."""
        if attendee_id not in appointment["attendeeIds"]:
            raise _invalid("attendeeId", "is no attendee of this appointment")
        self._tell([appointment], "was cancelled for you", only=attendee_id, reason=reason)
        appointment["attendees"] = [
            one for one in appointment["attendees"] if one["id"] != attendee_id
        ]
        appointment["attendeeIds"].remove(attendee_id)
        appointment["updatedAt"] = _stamp(datetime.now(UTC))

    def _call_off(self, appointments: Sequence[Json], *, reason: str) -> None:
        """Cancel for everybody; each person gets one mail, however many occurrences there are."""
        now = _stamp(datetime.now(UTC))
        for one in appointments:
            _mark_cancelled(one, source="host", by=self.user_id, reason=reason or None, at=now)
        self._tell(appointments, "was cancelled", reason=reason)

    def _later(self, appointment: Json) -> list[Json]:
        """Later occurrences of the same series that still stand."""
        series = self.state["series"].get(appointment["id"])
        return [
            one
            for one in self.state["appointments"].values()
            if series is not None
            and self.state["series"].get(one["id"]) == series
            and one["start"] > appointment["start"]
            and not one["isCancelled"]
        ]

    def _tell(
        self, appointments: Sequence[Json], what: str, *, only: str = "", reason: str = ""
    ) -> None:
        """One mail per person on *appointments*, or to the attendee *only*."""
        first = appointments[0]
        addresses = {
            attendee["email"]: None
            for one in appointments
            for attendee in one["attendees"]
            if attendee["email"] and only in ("", attendee["id"])
        }
        line = f"{first['meetingInfo']['name']}, {first['start']} {what}"
        for address in addresses:
            self.mail(address, f"{line}: {reason}" if reason else line)

    def _running(self, kind: MeetingType, host: Host, start: datetime) -> Json | None:
        """The course that somebody who books *kind* at *start* joins."""
        if not kind.is_group:
            return None
        for one in self.state["appointments"].values():
            if (
                one["meetingTypeId"] == kind.id
                and host.id in one["hostIds"]
                and one["start"] == _stamp(start)
                and not one["isCancelled"]
            ):
                running: Json = one
                return running
        return None

    def _is_free(
        self, host_ids: Sequence[str], start: datetime, end: datetime, *, besides: str = ""
    ) -> bool:
        return not any(
            set(host_ids) & set(one["hostIds"])
            and not one["isCancelled"]
            and one["id"] != besides
            and _time(one["start"]) < end
            and start < _time(one["end"])
            for one in self.state["appointments"].values()
        )

    def _fresh_id(self, what: str) -> str:
        self.state["count"] += 1
        return str(uuid5(NAMESPACE, f"{what}-{self.state['count']}"))

    def _appointment(
        self, *, start: datetime, attendees: list[Json], kind: MeetingType, host: Host
    ) -> Json:
        """A new appointment with every field that the vendor always sends."""
        external_id = self._fresh_id("appointment")
        now = _stamp(datetime.now(UTC))
        link = f"https://meet.example.com/{external_id[:8]}" if kind.channel == "google" else None
        return {
            "id": external_id,
            "secret": f"secret-{external_id[:8]}",
            "ics": "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            "meetingInfo": {
                "name": kind.name,
                "description": "",
                "duration": kind.minutes,
                "channel": kind.channel,
                "groupBooking": kind.is_group,
            },
            "hostingInfo": {"mainHost": host.name, "meetingLink": link},
            "cancel": {},
            "crmOptions": {},
            "start": _stamp(start),
            "end": _stamp(start + timedelta(minutes=kind.minutes)),
            "isCancelled": False,
            "attendees": attendees,
            "attendeeIds": [one["id"] for one in attendees],
            "roundRobinEntries": [],
            "meetingTypeId": kind.id,
            "hostIds": [host.id],
            "scheduledReminderIds": [],
            "companyId": COMPANY_ID,
            "createdAt": now,
            "updatedAt": now,
            "resolvableErrors": [],
            "location": kind.location,
            "paymentId": f"pay_{external_id[:8]}" if kind.is_paid else None,
            "note": None,
            "transcription": None,
            "summary": None,
        }

    def _attendee(self, item: Json) -> Json:
        """A person on an appointment, from the form of a booking request."""
        attendee_id = self._fresh_id("attendee")
        first, last = item.get("firstname"), item.get("lastname")
        return {
            "id": attendee_id,
            "secret": f"secret-{attendee_id[:8]}",
            "email": item.get("email"),
            "fullname": item.get("fullname") or f"{first} {last}",
            "firstname": first,
            "lastname": last,
            "phone": item.get("phone"),
            "language": item.get("language", "de"),
            "timezone": item.get("timezone", ZONE.key),
            "bringalongEmails": item.get("bringalongEmails", []),
            "notes": item["notes"],
            "receiveReminders": item["receiveReminders"],
            "noShow": False,
        }

    # --- the demo

    def seed(self, *, now: datetime, people: Sequence[Person], random: Random) -> None:
        today = now.astimezone(ZONE).date()
        nearby = [one for one in people if one.time_zone == ZONE.key]
        days = [
            day
            for offset in range(-1, 22)
            if (day := today + timedelta(days=offset)).weekday() != 6 or offset in (0, 1)
        ]
        self._seed_courses(days, people=nearby, random=random)
        self._seed_series(today, person=nearby[0])
        for day in days:
            self._seed_day(
                day,
                count=6 if abs((day - today).days) <= 1 else 3,
                people=[*nearby * 6, *people],  # Few come from far away.
                random=random,
            )
        self._seed_oddities(today, people=nearby, random=random)
        self._date_back(now, random=random)

    def _seed_day(self, day: date, *, count: int, people: Sequence[Person], random: Random) -> None:
        kinds = (CONSULTATION, FIRST_VISIT, ONLINE, CALL, PHYSIO, PHYSIO, MASSAGE)
        spots = [(host, hour) for host in HOSTS for hour in (8, 9, 10, 11, 13, 14, 15)]
        for host, hour in random.sample(spots, count):
            start = _local(day, hour, random.choice((0, 0, 15)))
            person, kind = random.choice(people), random.choice(kinds)
            if self._is_free([host.id], start, start + timedelta(minutes=kind.minutes)):
                self.add(start=start, people=[person], kind=kind, host=host)

    def _seed_courses(
        self, days: Sequence[date], *, people: Sequence[Person], random: Random
    ) -> None:
        """Back courses in the evening: two in the first days, then one a week."""
        for index in (1, 3, 9, 15):
            self.add(
                start=_local(days[index], 17),
                people=random.sample(people, random.randint(4, 6)),
                kind=COURSE,
                host=AYLIN,
            )

    def _seed_series(self, today: date, *, person: Person) -> None:
        """One person comes every week: five times, all of them ahead."""
        first = today + timedelta(days=2 if today.weekday() == 5 else 1)
        for week in range(5):
            self.add(
                start=_local(first + timedelta(weeks=week), 16),
                people=[person],
                kind=PHYSIO,
                host=TOMASZ,
                series="physio-weekly",
            )

    def _seed_oddities(self, today: date, *, people: Sequence[Person], random: Random) -> None:
        """A few of everything that is out of the ordinary, on days that are soon looked at."""
        alone = [
            one
            for one in self.state["appointments"].values()
            if len(one["attendees"]) == 1 and one["id"] not in self.state["series"]
        ]
        odd = random.sample(alone, 12)
        for one in odd[:2]:
            one["attendees"][0]["phone"] = None
        odd[2]["attendees"][0]["email"] = None
        odd[3]["attendees"][0]["bringalongEmails"] = ["begleitung@example.org"]
        odd[4]["resolvableErrors"] = [{"errorCode": "calendar_event_not_updated"}]
        odd[5]["attendees"][0]["fullname"] = None
        reasons = ["Termin passt nicht mehr"] * 4 + ["Praxis geschlossen"] * 2
        for one, reason in zip(odd[6:], reasons, strict=True):
            closed = reason == "Praxis geschlossen"
            _mark_cancelled(
                one,
                source="host" if closed else "attendee",
                by=self.user_id if closed else None,
                reason=reason,
                at=one["createdAt"],
            )
        # A course with one booking, and a couple on what does not call itself a group.
        soon = today + timedelta(days=1)
        self.add(start=_local(soon, 18), people=[people[-1]], kind=COURSE, host=AYLIN)
        couple = self.add(start=_local(soon, 18), people=people[1:3], kind=FIRST_VISIT, host=KATRIN)
        self.state["appointments"][couple]["meetingInfo"]["groupBooking"] = None
        self.add(start=_local(today, 16, 30), people=[people[3]], kind=MASSAGE, host=KATRIN)

    def _date_back(self, now: datetime, *, random: Random) -> None:
        """Nothing of the demo was booked or cancelled this very second."""
        for one in self.state["appointments"].values():
            booked = now - timedelta(days=random.randint(3, 30), minutes=random.randint(0, 600))
            one["createdAt"] = one["updatedAt"] = _stamp(booked)
            if one["isCancelled"]:
                called_off = _stamp(now - timedelta(minutes=random.randint(90, 3000)))
                one["updatedAt"] = one["cancel"]["actionAt"] = called_off


# --- what arrives -----------------------------------------------------------------------------


def _invalid(field: str, what: str) -> _Turned:
    return _Turned(
        400, "Validation failed", errors=[{"field": field, "message": f"{field} {what}"}]
    )


def _only(request: Request, allowed: set[str]) -> None:
    """Refuse a query that the contract does not know, so that a typing error shows."""
    if unknown := sorted(set(request.query) - allowed):
        raise _Turned(400, [f"property {name} should not exist" for name in unknown])


def _paging(request: Request) -> tuple[int, int]:
    wrong = []
    page, size = request.one("page"), request.one("pageSize")
    if not page.isdecimal():
        wrong.append("page must be an integer number")
    if not size.isdecimal() or not 1 <= int(size) <= 100:
        wrong.append("pageSize must be an integer number from 1 to 100")
    if wrong:
        raise _Turned(400, wrong)
    return int(page), int(size)


def _fits(appointment: Json, request: Request) -> bool:
    """Whether the list shows *appointment*. Both bounds concern its start and are inclusive."""
    start = _time(appointment["start"])
    if "start" in request.query and start < _moment(request.one("start"), "start"):
        return False
    if "end" in request.query and start > _moment(request.one("end"), "end"):
        return False
    if request.one("meetingTypeId", appointment["meetingTypeId"]) != appointment["meetingTypeId"]:
        return False
    if "userId" in request.query and request.one("userId") not in appointment["hostIds"]:
        return False
    wanted = request.one("search").casefold()
    words = [appointment["meetingInfo"]["name"]]
    words += [
        one[field] or "" for one in appointment["attendees"] for field in ("fullname", "email")
    ]
    return wanted in " ".join(words).casefold()


def _body(request: Request, allowed: set[str]) -> Json:
    body = request.body
    if not isinstance(body, dict):
        raise _Turned(400, "The body must be a JSON object")
    if unknown := sorted(set(body) - allowed):
        raise _Turned(400, [f"property {name} should not exist" for name in unknown])
    return body


def _flag(body: Json, field: str) -> None:
    if not isinstance(body.get(field, False), bool):
        raise _invalid(field, "must be a boolean value")


def _cancel_body(request: Request) -> Json:
    body = _body(request, CANCEL_FIELDS)
    reason = body.get("reason", "")
    if not isinstance(reason, str):
        raise _invalid("reason", "must be a string")
    if len(reason.encode("utf-16-le", "surrogatepass")) // 2 > REASON_LIMIT:
        raise _invalid("reason", "must be shorter than or equal to 500 characters")
    _flag(body, "cancelAll")
    _flag(body, "cancelEntireSeries")
    if "attendeeId" in body:
        _uuid(body["attendeeId"], "attendeeId")
        if body.get("cancelAll") or body.get("cancelEntireSeries"):
            raise _invalid("attendeeId", "must not come with cancelAll or cancelEntireSeries")
    return body


def _booking_body(request: Request) -> Json:
    """A booking request as the contract wants it: host or queue, and an attendee to write to."""
    body = _body(request, BOOKING_FIELDS)
    _uuid(body.get("meetingTypeId"), "meetingTypeId")
    _moment(body.get("start"), "start")
    _flag(body, "skipNotifications")
    _flag(body, "phoneOnlyBooking")
    if ("hostIds" in body) == ("queueId" in body):
        raise _invalid("hostIds", "or queueId must be given, and not both")
    if "queueId" in body:
        raise _Turned(404, "Queue not found")
    hosts = body["hostIds"]
    if not isinstance(hosts, list) or not hosts:
        raise _invalid("hostIds", "must be a list that is not empty")
    for host in hosts:
        _uuid(host, "hostIds")
    duration = body.get("duration", 1)
    if not isinstance(duration, int) or duration < 1:
        raise _invalid("duration", "must be a number of minutes")
    _check_attendee(body.get("attendee"), phone_only=body.get("phoneOnlyBooking", False))
    return body


def _check_attendee(attendee: Any, *, phone_only: bool) -> None:
    if not isinstance(attendee, dict):
        raise _invalid("attendee", "must be an object")
    if unknown := sorted(set(attendee) - ATTENDEE_FIELDS):
        raise _Turned(400, [f"property attendee.{name} should not exist" for name in unknown])
    if not isinstance(attendee.get("receiveReminders"), bool):
        raise _invalid("attendee.receiveReminders", "must be a boolean value")
    if not isinstance(attendee.get("notes"), dict):
        raise _invalid("attendee.notes", "must be an object")
    for field in ("email", "firstname", "lastname", "fullname", "phone", "language", "timezone"):
        if field in attendee and (not isinstance(attendee[field], str) or not attendee[field]):
            raise _invalid(f"attendee.{field}", "must be a string that is not empty")
    if not ("fullname" in attendee or {"firstname", "lastname"} <= attendee.keys()):
        raise _invalid("attendee.fullname", "or firstname and lastname must be given")
    if ("phone" if phone_only else "email") not in attendee:
        raise _invalid("attendee.phone" if phone_only else "attendee.email", "must be given")
    guests = attendee.get("bringalongEmails", [])
    if not isinstance(guests, list) or len(guests) > 5:
        raise _invalid("attendee.bringalongEmails", "must be a list of at most 5 addresses")
    for address in [*guests, attendee.get("email", "a@example.com")]:
        if not isinstance(address, str) or not EMAIL.fullmatch(address):
            raise _invalid("attendee.email", "must be an email")


def _minutes(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise _invalid("meetingDuration", "must be a number of minutes")
    return int(text)


def _uuid(value: Any, field: str) -> None:
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise _invalid(field, "must be a UUID")


def _meeting_type(external_id: str) -> MeetingType:
    _uuid(external_id, "meetingTypeId")
    for kind in MEETING_TYPES:
        if kind.id == external_id:
            return kind
    raise _Turned(404, "Meeting type not found")


def _host(external_id: str) -> Host:
    _uuid(external_id, "hostIds")
    for host in HOSTS:
        if host.id == external_id:
            return host
    raise _Turned(404, "User not found")


# --- times ------------------------------------------------------------------------------------


def _moment(value: Any, field: str) -> datetime:
    """A moment with its offset. A plus sign that was not escaped has become a space: refused."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in value:
        raise _invalid(field, "must be a valid ISO 8601 date string with offset")
    return moment.astimezone(UTC)


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _stamp(moment: datetime) -> str:
    """`2026-12-11T08:00:00.000Z`, as the vendor writes it; sorts as it reads."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _local(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), tzinfo=ZONE)


def _starts(start: datetime, end: datetime, length: timedelta) -> Iterator[datetime]:
    """Every half hour of opening, Monday to Saturday, from *start* to *end* and not in the past."""
    start = max(start, datetime.now(UTC))
    day = start.astimezone(ZONE).date()
    while day <= end.astimezone(ZONE).date():
        spot = datetime.combine(day, OPENING, tzinfo=ZONE)
        while day.weekday() != 6 and spot + length <= datetime.combine(day, CLOSING, tzinfo=ZONE):
            if start <= spot <= end:
                yield spot
            spot += timedelta(minutes=30)
        day += timedelta(days=1)


# --- records ----------------------------------------------------------------------------------


def _written(person: Person) -> Json:
    """A person in the form of a booking request."""
    return {
        "email": person.email,
        "firstname": person.first_name,
        "lastname": person.last_name,
        "fullname": person.name,
        "phone": person.phone,
        "timezone": person.time_zone,
        "receiveReminders": True,
        "notes": {},
    }


def _mark_cancelled(
    appointment: Json, *, source: str, by: str | None, reason: str | None, at: str
) -> None:
    """*at*: when, as the vendor writes it."""
    appointment |= {
        "isCancelled": True,
        "updatedAt": at,
        "cancel": {"actionSource": source, "actionAt": at, "actionBy": by, "reason": reason},
    }
