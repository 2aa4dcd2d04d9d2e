"""
CareValidate (Care360) as it behaves towards a front desk: Calendly bookings on medical cases.

Documented and kept: the list shows only what is not deleted, has not ended and belongs to a case
that is not archived, sorted by end; the cancel wants the invitee's address; custom events have a
route of their own and cannot be cancelled twice; a successful cancel speaks of scheduling.

Assumed, as the contract assumes it: 400 for a wrong address, for what is already cancelled or has
ended and for a taken slot, 404 for an unknown appointment; days are UTC days; the case shows what
became of an event. Calendly mails both sides; nobody is told about a custom event.

Times: `2026-12-07T15:00:00Z` in the list, `2026-12-07T15:00:00.000Z` in a case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, ClassVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from appointments.sandbox.core import Answer, Json, Request, World
from appointments.sandbox.people import PEOPLE, Person

ZONE = ZoneInfo("America/New_York")
"""Where the practice is."""
DAY = timedelta(days=1)
SLOT = timedelta(minutes=30)

APPOINTMENTS = "/api/v1/calendar/appointments"
CANCEL = "/api/v1/calendar/appointments/cancel"
AVAILABILITY = "/api/v1/calendar/provider-availability"
CASE_DETAIL = "/api/v1/customer-case-detail"
CASES = "/api/v1/cases/"

ROUTES = {
    ("GET", APPOINTMENTS): "list",
    ("POST", APPOINTMENTS): "schedule",
    ("POST", CANCEL): "cancel",
    ("GET", AVAILABILITY): "services",
    ("GET", CASE_DETAIL): "case",
}

LOCATIONS = (
    "google_conference",
    "zoom_conference",
    "gotomeeting_conference",
    "microsoft_teams_conference",
    "webex_conference",
)


@dataclass(frozen=True, kw_only=True)
class Clinician:
    """Somebody with one kind of appointment, licensed in some states."""

    name: str
    email: str
    event_type: str
    states: tuple[str, ...]


CLINICIANS = (
    Clinician(
        name="Dr. Rachel Adeyemi",
        email="rachel.adeyemi@clinic.example.com",
        event_type="85f13305-0647-4473-9e63-0a56af405f6f",
        states=("NY", "NJ", "CT"),
    ),
    Clinician(
        name="Dr. Thomas Whitfield",
        email="thomas.whitfield@clinic.example.com",
        event_type="2d7e4b61-98c3-4f0a-8b15-c46f0e9a7d32",
        states=("NY", "PA", "FL"),
    ),
    Clinician(
        name="Dr. Ana Castellanos",
        email="ana.castellanos@clinic.example.com",
        event_type="f03a9c58-1b64-4e27-a9d0-7735be2c8146",
        states=("CA", "NY", "TX"),
    ),
    Clinician(
        name="Beth Olsen, RN",
        email="beth.olsen@clinic.example.com",
        event_type="6b48d1f7-e25c-4930-b7a6-19f83c5d0e42",
        states=("NY", "MA", "VT"),
    ),
)


class CareValidateWorld(World):
    """
    State: {"cases": {id: case}, "events": [event], "lingers": seconds, "corrected": {...} | null}.

    *lingers* is how long a cancelled booking goes on being listed. *corrected* is the one booking
    of the demo that was made with another address than its case has: {"id", "name", "email"}.
    """

    slug = "carevalidate"
    label = "CareValidate"
    base_path = "/carevalidate"
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "cv-sandbox-key"}
    time_zone = ZONE.key

    def empty(self) -> Json:
        return {"cases": {}, "events": [], "lingers": 0, "corrected": None}

    def operation(self, request: Request) -> str:
        if request.method == "POST" and request.path.startswith(CASES):
            return "cancel"
        return ROUTES.get((request.method, request.path), "unknown")

    def answer(self, request: Request) -> Answer:
        if request.headers.get("cv-api-key") != self.credentials["api_key"]:
            return failure(401, "Unauthorized")
        if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
            return invalid("Content-Type must be application/json")
        match self.operation(request):
            case "list":
                return self._list(request)
            case "schedule":
                return self._schedule(request.body)
            case "services":
                return self._services(request)
            case "case":
                return self._case(request)
            case "cancel" if request.path == CANCEL:
                return self._cancel(request.body)
            case "cancel":
                return self._cancel_custom(request.path.removeprefix(CASES), request.body)
            case _:
                return failure(404, f"Cannot {request.method} {request.path}")

    # --- for tests and the demo

    def tally(self) -> tuple[int, int]:
        events = self.state["events"]
        return len(events), sum(one["deleted_at"] is not None for one in events)

    def add(
        self,
        *,
        starts_at: datetime | None = None,
        minutes: int = 30,
        person: Person = PEOPLE[26],
        booked_with: str = "",
        custom: bool = False,
        title: str = "Follow-up",
        description: str | None = None,
        status: str | None = "EVENT_ACCEPTED_BY_PROVIDER",
        clinician: int = 0,
        deleted: bool = False,
        archived: bool = False,
        shows_person: bool = True,
        shows_meeting: bool = True,
        random: Random | None = None,
    ) -> str:
        """
        Enter one booking, tomorrow by default, and answer its id.

        *booked_with* is the invitee's address where it is not the one of the case. *shows_person*
        and *shows_meeting* say whether the list's row has a submitter and meeting details.
        """
        starts_at = starts_at or datetime.now(UTC).replace(microsecond=0) + DAY
        made = stamp(starts_at - 5 * DAY)
        event = {
            "id": _new_id(random),
            "case": self._case_of(person, archived=archived, random=random),
            "custom": custom,
            "email": booked_with or person.email,
            "start": stamp(starts_at),
            "end": stamp(starts_at + timedelta(minutes=minutes)),
            "title": title,
            "description": description,
            "status": status,
            "clinician": clinician,
            "timezone": {"Asia/Kolkata": "Asia/Calcutta"}.get(person.time_zone, person.time_zone),
            "location": "zoom_conference",
            "agent_id": None if custom else _new_id(random),
            "deleted_at": made if deleted else None,
            "shows_person": shows_person,
            "shows_meeting": shows_meeting and not custom,
            "made_at": made,
            "changed_at": made,
        }
        self.state["events"].append(event)
        return str(event["id"])

    def event(self, event_id: str) -> Json | None:
        return next((one for one in self.state["events"] if one["id"] == event_id), None)

    def is_cancelled(self, event_id: str) -> bool:
        event = self.event(event_id)
        return event is not None and event["deleted_at"] is not None

    def seed(self, *, now: datetime, people: Sequence[Person], random: Random) -> None:
        local = [one for one in people if one.time_zone == ZONE.key]
        patients = [*local, *random.sample(list(people), k=min(12, len(people)))]
        for number, starts_at in enumerate(_times(now.astimezone(ZONE), random)):
            person = patients[number % len(patients)]
            options: Json = {
                "title": random.choice(_TITLES),
                "description": "Video visit",
                "status": random.choice(_STATUSES),
                "clinician": number % len(CLINICIANS),
            } | _SPECIAL.get(number, {})
            if number == _CORRECTED:
                address = f"{person.email.split('@')[0]}@work.example.com"
                options |= {"booked_with": address, "description": f"Booked with {address}"}
            made = self.add(starts_at=starts_at, person=person, random=random, **options)
            if number == _CORRECTED:
                self.state["corrected"] = {"id": made, "name": person.name, "email": address}

    # --- reading

    def _list(self, request: Request) -> Answer:
        wanted = {"start_date": _is_day, "end_date": _is_day}
        if wrong := _wrong_query(request, required=wanted, optional={"user_email": _is_email}):
            return invalid(wrong)
        first, last = request.one("start_date"), request.one("end_date")
        if last < first:
            return invalid("end_date must not be before start_date")
        found = [event for event in self._coming() if _overlaps(event, first, last)]
        if email := request.one("user_email").lower():
            if not any(email in self._users(event) for event in self.state["events"]):
                return failure(404, "User not found")
            found = [event for event in found if email in self._users(event)]
        found.sort(key=lambda event: event["end"])
        rows = [self._row(event) for event in found]
        return success("Appointments fetched successfully", data=rows)

    def _coming(self) -> Iterator[Json]:
        """What the list may show at all: coming, standing (or lingering), case not archived."""
        now = datetime.now(UTC)
        for event in self.state["events"]:
            archived = self.state["cases"][event["case"]]["archived"]
            gone = event["deleted_at"] and now >= _moment(event["deleted_at"]) + timedelta(
                seconds=self.state["lingers"]
            )
            if _moment(event["end"]) > now and not archived and not gone:
                yield event

    def _users(self, event: Json) -> set[str]:
        patient = self.state["cases"][event["case"]]["person"]["email"]
        return {patient.lower(), CLINICIANS[event["clinician"]].email}

    def _row(self, event: Json) -> Json:
        case = self.state["cases"][event["case"]]
        shown = {"id": case["id"], "shortId": case["short_id"]}
        if event["shows_person"]:
            shown["submitter"] = case["person"]
        return {
            "id": event["id"],
            "createdAt": event["made_at"],
            "updatedAt": event["changed_at"],
            "title": event["title"],
            "start": event["start"],
            "end": event["end"],
            "topic": event["title"],
            "description": event["description"],
            "color": "#3366CC" if event["custom"] else "#FF5733",
            "isEditable": event["custom"],
            "agentEventId": event["agent_id"],
            "agentName": "custom" if event["custom"] else "calendly",
            "status": None if event["custom"] else event["status"],
            "isDeleted": False,
            "meetingDetails": _meeting(event) if event["shows_meeting"] else None,
            "case": shown,
        }

    def _case(self, request: Request) -> Answer:
        if wrong := _wrong_query(
            request,
            required={"caseId": _is_uuid},
            optional={"includeCalendarEvents": lambda value: value in ("true", "false")},
        ):
            return invalid(wrong)
        case = self.state["cases"].get(request.one("caseId").lower())
        if case is None:
            return failure(404, "Case not found")
        shown = {
            "id": case["id"],
            "type": "GLP",
            "title": f"Case for {case['person']['firstName']} {case['person']['lastName']}",
            "status": "APPROVED",
            "shortId": case["short_id"],
            "isArchived": case["archived"],
            "submitter": case["person"],
        }
        if request.one("includeCalendarEvents") == "true":
            events = [event for event in self.state["events"] if event["case"] == case["id"]]
            shown["calendarEvents"] = [_case_event(event) for event in events]
        return success(None, caseDetail=shown)

    def _services(self, request: Request) -> Answer:
        optional = {
            "provider_email": _is_email,
            "event_type_id": _is_text,
            "start_time": _is_moment,
            "end_time": _is_moment,
        }
        required = {"provider_states": _is_states}
        if wrong := _wrong_query(request, required=required, optional=optional):
            return invalid(wrong)
        ranged = {"start_time", "end_time"} & set(request.query)
        if ranged and not {"start_time", "end_time", "event_type_id"} <= set(request.query):
            return invalid("start_time, end_time and event_type_id go together")
        states = {state.strip() for state in request.one("provider_states").split(",")}
        found = [
            {
                "providerName": one.name,
                "calendlyLink": f"https://calendly.example/{one.email.split('@')[0]}",
                "eventTypeId": one.event_type,
            }
            for one in CLINICIANS
            if states & set(one.states)
            and request.one("provider_email", one.email).lower() == one.email
            and request.one("event_type_id", one.event_type) == one.event_type
        ]
        return success("Providers Availability link fetched successfully", data=found)

    # --- writing

    def _cancel(self, body: Any) -> Answer:
        required = {"email": _is_email, "appointmentId": _is_uuid}
        if wrong := _wrong(body, required=required, optional={"reason": _is_reason}):
            return invalid(wrong)
        event = self.event(body["appointmentId"].lower())
        if event is None:
            return failure(404, "Appointment not found")
        if event["custom"]:
            return invalid("Appointment has no Calendly event")
        if event["deleted_at"]:
            return invalid("Appointment is already cancelled")
        if _moment(event["end"]) <= datetime.now(UTC):
            return invalid("Appointment has ended")
        if event["email"].lower() != body["email"].lower():
            return invalid("No invitee with this email for the appointment")
        self._delete(event)
        reason = body.get("reason", "")
        self._mail_both(event, f"cancelled: {event['title']}" + (f" ({reason})" if reason else ""))
        # As printed on the production site: a cancel that speaks of scheduling.
        return success("Meeting schedule successfully")

    def _cancel_custom(self, case_id: str, body: Any) -> Answer:
        if not _is_uuid(case_id):
            return invalid("caseId must be a valid UUID")
        wanted = {
            "action": lambda action: action == "CANCEL_CALENDAR_EVENT",
            "calendar": _is_object,
        }
        if wrong := _wrong(body, required=wanted):
            return invalid("Invalid action" if wrong.startswith("action") else wrong)
        if wrong := _wrong(body["calendar"], required={"id": _is_uuid}):
            return invalid(wrong)
        if case_id.lower() not in self.state["cases"]:
            return failure(404, "Case not found")
        event = self.event(body["calendar"]["id"].lower())
        if event is None or event["case"] != case_id.lower():
            return invalid("Calendar event not found on this case")
        if not event["custom"]:
            return invalid("Only custom calendar events can be cancelled")
        if event["deleted_at"]:
            return invalid("Calendar event is already cancelled")
        self._delete(event)
        return success("Calendar event cancelled successfully", data={"success": True})

    def _schedule(self, body: Any) -> Answer:
        if wrong := _wrong(body, required=_SCHEDULE, optional=_SCHEDULE_OPTIONAL):
            return invalid(wrong)
        types = [one.event_type for one in CLINICIANS]
        if body["eventTypeId"] not in types:
            return invalid("eventTypeId is unknown")
        clinician, starts_at = types.index(body["eventTypeId"]), _moment(body["startTime"])
        if not self._is_free(clinician, starts_at):
            return invalid("The selected time is no longer available")
        person = Person(
            first_name=body.get("firstName", ""),
            last_name=body.get("lastName", ""),
            email=body["email"],
            phone="",
            time_zone=body["timezone"],
        )
        made = self.add(starts_at=starts_at, person=person, clinician=clinician)
        event = self.event(made)
        assert event is not None  # noqa: S101 - it was entered one line above
        event["location"] = body["location"]
        self._mail_both(event, f"booked: {event['title']}")
        return success("Meeting schedule successfully")

    def _is_free(self, clinician: int, starts_at: datetime) -> bool:
        """Whether *starts_at* is a coming full or half hour at which the clinician is idle."""
        if starts_at <= datetime.now(UTC) or starts_at.minute % 30 or starts_at.second:
            return False
        return not any(
            event["clinician"] == clinician
            and event["deleted_at"] is None
            and _moment(event["start"]) < starts_at + SLOT
            and starts_at < _moment(event["end"])
            for event in self.state["events"]
        )

    def _delete(self, event: Json) -> None:
        event["deleted_at"] = event["changed_at"] = stamp(datetime.now(UTC))

    def _mail_both(self, event: Json, what: str) -> None:
        self.mail(event["email"], what)
        self.mail(CLINICIANS[event["clinician"]].email, what)

    def _case_of(self, person: Person, *, archived: bool, random: Random | None) -> str:
        """The open case of *person*, or a new one."""
        for case in self.state["cases"].values():
            if not archived and not case["archived"] and case["person"]["email"] == person.email:
                return str(case["id"])
        new_id = _new_id(random)
        self.state["cases"][new_id] = {
            "id": new_id,
            "short_id": f"ADA-{new_id[:5].upper()}",
            "archived": archived,
            "person": {
                "id": f"usr_{new_id[-4:]}",
                "firstName": person.first_name,
                "lastName": person.last_name,
                "email": person.email,
            },
        }
        return new_id


# --- answers ----------------------------------------------------------------------------------


def success(message: str | None, **more: Any) -> Answer:
    said = {} if message is None else {"message": message}
    return Answer(status=200, body={"status": 200, "success": True, **said, **more})


def failure(status: int, message: str, **more: Any) -> Answer:
    body = {"status": status, "success": False, "message": message, **more}
    return Answer(status=status, body=body)


def invalid(error: str) -> Answer:
    return failure(400, "Invalid request", error=error)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _meeting(event: Json) -> Json:
    link = f"https://calendly.example/{event['agent_id'][:8]}"
    return {
        "cancelURL": f"{link}/cancel",
        "rescheduleURL": f"{link}/reschedule",
        "meetingLink": f"{link}/join",
        "meetingProvider": event["location"],
        "providerName": CLINICIANS[event["clinician"]].name,
        "timezone": event["timezone"],
    }


def _case_event(event: Json) -> Json:
    """As the webhooks print it: other names for start and end, and milliseconds."""
    shown = _meeting(event) if event["shows_meeting"] else {"timezone": event["timezone"]}
    return shown | {
        "id": event["id"],
        "title": event["title"],
        "topic": event["title"],
        "description": event["description"],
        "createdAt": event["made_at"].replace("Z", ".000Z"),
        "updatedAt": event["changed_at"].replace("Z", ".000Z"),
        "startDateTime": event["start"].replace("Z", ".000Z"),
        "endDateTime": event["end"].replace("Z", ".000Z"),
        "isDeleted": event["deleted_at"] is not None,
        "status": None if event["custom"] else event["status"],
    }


def _overlaps(event: Json, first: str, last: str) -> bool:
    opens = datetime.combine(date.fromisoformat(first), time.min, tzinfo=UTC)
    closes = datetime.combine(date.fromisoformat(last), time(23, 59, 59), tzinfo=UTC)
    return _moment(event["end"]) >= opens and _moment(event["start"]) <= closes


# --- what a request may hold ------------------------------------------------------------------

type Checks = Mapping[str, Callable[[Any], bool]]

_NO_CHECKS: Checks = {}


def _wrong(body: Any, *, required: Checks, optional: Checks = _NO_CHECKS) -> str:
    """The first rule that *body* breaks, in words; empty if there is none."""
    if not isinstance(body, dict):
        return "the body must be a JSON object"
    known = {**required, **optional}
    for name in required:
        if name not in body:
            return f"{name} should not be empty"
    for name, value in body.items():
        if name not in known:
            return f"property {name} should not exist"
        if not known[name](value):
            return f"{name} is not valid"
    return ""


def _wrong_query(request: Request, *, required: Checks, optional: Checks) -> str:
    if twice := [name for name, values in request.query.items() if len(values) > 1]:
        return f"{twice[0]} is given twice"
    given = {name: values[0] for name, values in request.query.items()}
    return _wrong(given, required=required, optional=optional)


def _is_text(value: Any, longest: int = 255) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest


def _is_reason(value: Any) -> bool:
    return _is_text(value, 10_000)


def _is_email(value: Any) -> bool:
    return _is_text(value, 254) and re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value) is not None


def _is_uuid(value: Any) -> bool:
    pattern = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_day(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_moment(value: Any) -> bool:
    """A date and time with its offset."""
    try:
        return isinstance(value, str) and "T" in value and _moment(value).tzinfo is not None
    except ValueError:
        return False


def _is_states(value: Any) -> bool:
    pattern = r"[A-Z]{2}( ?, ?[A-Z]{2})*"
    return _is_text(value) and re.fullmatch(pattern, value, re.ASCII) is not None


def _is_zone(value: Any) -> bool:
    pattern = r"[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}"
    return _is_text(value, 64) and re.fullmatch(pattern, value) is not None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tracking(value: Any) -> bool:
    names = {"utmCampaign", "utmSource", "utmMedium", "utmContent", "utmTerm", "salesforceUuid"}
    return (
        isinstance(value, dict)
        and set(value) <= names
        and all(one is None or (isinstance(one, str) and len(one) <= 255) for one in value.values())
    )


_SCHEDULE: Checks = {
    "eventTypeId": _is_uuid,
    "startTime": _is_moment,
    "email": _is_email,
    "timezone": _is_zone,
    "location": lambda value: value in LOCATIONS,
}
_SCHEDULE_OPTIONAL: Checks = {
    "firstName": _is_text,
    "lastName": _is_text,
    "tracking": _is_tracking,
}


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _new_id(random: Random | None) -> str:
    return str(UUID(int=random.getrandbits(128), version=4) if random else uuid4())


# --- the demo ---------------------------------------------------------------------------------

_TITLES = ("Initial consultation", "Follow-up", "Medication review", "Nutrition check-in")
_STATUSES = (
    *["EVENT_ACCEPTED_BY_PROVIDER"] * 6,
    *[None] * 3,
    "CONFIRMED",
    "NEED_RESCHEDULE",
    "WAITING_ROOM",  # documented nowhere: must be shown, and must not crash
)

_CORRECTED = 1
"""Number of the booking made with another address than the case has."""

_SPECIAL: Mapping[int, Json] = {
    _CORRECTED: {"title": "Follow-up (booked with work address)"},
    2: {"custom": True, "title": "Lab results call"},
    3: {"shows_person": False},
    5: {"custom": True, "title": "Case conference"},
    7: {"deleted": True},
    9: {"shows_meeting": False},
    12: {"shows_person": False, "shows_meeting": False},
    14: {"custom": True, "title": "Insurance call"},
    17: {"deleted": True},
    21: {"custom": True, "title": "Case conference", "deleted": True},
    24: {"archived": True},
    30: {"shows_person": False},
    33: {"custom": True, "title": "Lab results call", "shows_person": False},
    40: {"status": None, "shows_meeting": False},
}


def _times(now: datetime, random: Random) -> list[datetime]:
    """When the demo's bookings start: today and tomorrow first, then the weeks, then yesterday."""
    today = now.date()
    weeks = [today + number * DAY for number in range(2, 22)]
    later = [slot for day in weeks if day.isoweekday() != 7 for slot in _slots(day)]
    return [
        *_sample(_later_today(now), 5, random),
        *_sample(_slots(today + DAY), 6, random),
        *_sample(later, 47, random),
        *_sample(_slots(today - DAY), 2, random),
    ]


def _sample(slots: list[datetime], most: int, random: Random) -> list[datetime]:
    return random.sample(slots, k=min(most, len(slots)))


def _slots(day: date) -> list[datetime]:
    """The half hours of an office day, Saturday's being short, in the practice's zone."""
    hours = 4 if day.isoweekday() >= 6 else 8
    opens = datetime.combine(day, time(9), tzinfo=ZONE)
    return [opens + number * SLOT for number in range(hours * 2)]


def _later_today(now: datetime) -> list[datetime]:
    """What is left of today's office hours; in the evening, the half hours until midnight."""
    left = [slot for slot in _slots(now.date()) if slot > now]
    if len(left) >= 5:
        return left
    start = now.replace(minute=now.minute // 30 * 30, second=0, microsecond=0)
    evening = [start + number * SLOT for number in range(1, 11)]
    return [slot for slot in evening if slot.date() == now.date()]
