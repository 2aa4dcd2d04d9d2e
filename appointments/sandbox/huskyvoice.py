"""
HuskyVoice in the sandbox: strict about requests as the contract says, with a policy to switch.

What the vendor does not document is decided here and marked: the codes of a refused cancellation,
that nobody is told of a change made through the API, and that only what stands and has not begun
is moved. A moved booking is "rescheduled" and takes a place like any other, although the vendor's
`filled_slots` counts confirmed ones only: a window may show a place and still be full. The Z of
`appointment_date` is true here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from appointments.sandbox.core import Answer, Json, Request, World
from appointments.sandbox.people import Person

FULL_KEY = "sk_live_sandbox_full"
READ_ONLY_KEY = "sk_live_sandbox_read_only"
NO_SLOTS_KEY = "sk_live_sandbox_no_slots"
SCOPES: Mapping[str, frozenset[str]] = {
    FULL_KEY: frozenset({"appointments:read", "appointments:write", "slots:read"}),
    READ_ONLY_KEY: frozenset({"appointments:read", "slots:read"}),
    NO_SLOTS_KEY: frozenset({"appointments:read", "appointments:write"}),
}

ANNA_NAGAR = "3b1f8a52-0a3f-4d0a-9a53-6a2c3f1d9e10"
ADYAR = "7d2e9b64-5c1a-4f3b-8e7d-1a0b9c8d7e6f"
CHECKUP = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
FOLLOW_UP = "9a6b1c7d-2e3f-4a5b-8c9d-0e1f2a3b4c5d"
VACCINATION = "2c5d8e1f-6a7b-4c9d-8e0f-3a4b5c6d7e8f"
SERVICES = {
    CHECKUP: "General Checkup",
    FOLLOW_UP: "Follow-up Visit",
    VACCINATION: "Vaccination",
}


@dataclass(frozen=True, kw_only=True)
class Window:
    """One opening window of every working day."""

    branch: str
    session: str
    batch: str
    start: time
    end: time
    places: int
    """How many confirmed bookings fill it."""


def _window(line: str) -> Window:
    """One line of WINDOWS: branch, session, batch, start, end, places."""
    branch, session, batch, start, end, places = line.split()
    return Window(
        branch={"anna-nagar": ANNA_NAGAR, "adyar": ADYAR}[branch],
        session=session,
        batch=batch,
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        places=int(places),
    )


_LINES = """
anna-nagar Morning   MA 09:00 11:00 10
anna-nagar Morning   MB 11:00 13:00 10
anna-nagar Afternoon AA 14:00 16:30  8
anna-nagar Evening   EA 17:30 20:00 12
adyar      Morning   MA 09:30 12:00  6
adyar      Evening   EA 17:00 19:30  3
"""

WINDOWS = tuple(_window(line) for line in _LINES.strip().splitlines())
"""Open on every day but Sunday, whatever the weekday."""
SUNDAY = 6

SESSIONS = ("Morning", "Afternoon", "Evening")
DOCTORS = ("Dr. Priya Sharma", "Dr. Rao", "Dr. Lakshmi Iyer", None)
LIVE = ("confirmed", "rescheduled")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z"
SESSION = "|".join(SESSIONS)

LIST_QUERY = {
    "date": DAY,
    "status": "confirmed|rescheduled|cancelled|completed",
    "appointment_type": UUID,
    "branch_id": UUID,
    "session": SESSION,
    "batch": ".{1,50}",
    "page": "[1-9][0-9]{0,5}",
    "limit": "[1-9]|[1-9][0-9]|1[0-9][0-9]|200",
}
AVAILABILITY_QUERY = {"date": DAY, "branch_id": UUID, "session": SESSION}
UPDATE_FIELDS = {
    "status": "confirmed|completed|cancelled",
    "appointment_date": INSTANT,
    "assigned_doctor": ".{1,200}",
    "notes": ".{0,2000}",
    "session": SESSION,
    "batch": ".{1,50}",
}
SCHEDULE_FIELDS = {
    "appointment_type": ".{1,200}",
    "appointment_date": INSTANT,
    "patient_name": ".{1,200}",
    "parent_phone": r"\+[1-9][0-9]{6,14}",
    "branch_id": UUID,
    "session": SESSION,
}
FILTERS = ("status", "appointment_type", "branch_id", "session", "batch")
REQUIRED = ("appointment_type", "appointment_date", "patient_name", "parent_phone")

NEEDED = {
    "list": "appointments:read",
    "read": "appointments:read",
    "policy": "appointments:read",
    "services": "appointments:read",
    "availability": "slots:read",
    "cancel": "appointments:write",
    "reschedule": "appointments:write",
    "change": "appointments:write",
    "schedule": "appointments:write",
}
"""Scope of each operation."""

FAILURES = {
    "VALIDATION_ERROR": (400, "Request validation failed"),
    "UNAUTHORIZED": (401, "Missing or invalid API key"),
    "INSUFFICIENT_SCOPE": (403, "API key does not have the required scope"),
    "NOT_FOUND": (404, "Appointment not found"),
    "SLOT_FULL": (409, "No capacity left in this window"),
    "OUTSIDE_AVAILABILITY": (409, "The time is outside the calendar windows"),
    "DUPLICATE_BOOKING": (409, "The patient has a booking already"),
    # Assumed from here on: that a policy refuses is documented, how it looks is not.
    "CANCELLATION_NOT_ALLOWED": (403, "Cancellation is disabled for this organization"),
    "CANCELLATION_NOTICE_REQUIRED": (409, "At least {hours} hours notice is required"),
    "APPOINTMENT_NOT_ACTIVE": (409, "The appointment is cancelled or over"),
}


class Failed(Exception):
    """Ends a request with one of FAILURES."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        status, usual = FAILURES[code]
        body = {"success": False, "error": {"code": code, "message": message or usual}}
        self.answer = Answer(status=status, body=body)


class HuskyVoiceWorld(World):
    slug = "huskyvoice"
    label = "HuskyVoice"
    base_path = "/huskyvoice"
    credentials = MappingProxyType({"api_key": FULL_KEY})
    time_zone = "Asia/Kolkata"

    def __init__(self) -> None:
        super().__init__()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        """The vendor's clock; a test may set another."""

    def empty(self) -> Json:
        return {
            "policy": {
                "allow_cancellation": True,
                "cancellation_notice_hours": 24,
                "timezone": self.time_zone,
            },
            "made": 0,
            "appointments": {},
        }

    def tally(self) -> tuple[int, int]:
        words = [row["status"] for row in self._rows.values()]
        return len(words), words.count("cancelled")

    # --- for tests and the control page

    def set_policy(
        self,
        *,
        allow_cancellation: bool | None = None,
        cancellation_notice_hours: float | None = None,
        timezone: str | None = None,
    ) -> None:
        """Change what is given, keep the rest. *timezone*: an IANA name."""
        wanted = {
            "allow_cancellation": allow_cancellation,
            "cancellation_notice_hours": cancellation_notice_hours,
            "timezone": timezone,
        }
        self.state["policy"] |= {name: value for name, value in wanted.items() if value is not None}

    def add(
        self,
        *,
        day: date,
        session: str | None = "Morning",
        batch: str | None = "MA",
        status: str = "confirmed",
        patient: str | None = "Aadhi Raman",
        phone: str | None = "+919840000001",
        service: str | None = CHECKUP,
        branch: str | None = ANNA_NAGAR,
        doctor: str | None = None,
        token: str | int | None = None,
        reference: str | None = None,
        at: datetime | None = None,
        made: datetime | None = None,
    ) -> str:
        """
        Book without asking any rule; answer the new id.

        *at*: the moment that the day filter goes by; by default the start of the window. *made*:
        when it was booked and last changed; by default three days ago.
        """
        self.state["made"] += 1
        number: int = self.state["made"]
        external_id = f"appt_{number * 7919 % 1_000_000:06d}x{number}"
        written = _written(made or self.now() - timedelta(days=3))
        self._rows[external_id] = {
            "appointment_id": external_id,
            "appointment_type": service,
            "branch_id": branch,
            "date": day.isoformat(),
            "session": session,
            "batch": batch,
            "token": token,
            "patient_name": patient,
            "parent_phone": phone,
            "assigned_doctor": doctor,
            "status": status,
            "external_reference_id": reference,
            "created_at": written,
            "updated_at": written,
            "_at": _written(at or self._earliest(day, branch, session, batch)),
        }
        return external_id

    def seed(self, *, now: datetime, people: Sequence[Person], random: Random) -> None:
        today = now.astimezone(self._zone).date()
        near = [person for person in people if person.time_zone == "Asia/Kolkata"]
        crowd = [*people, *(near * 4)]
        for offset in range(-1, 11):
            day = today + timedelta(days=offset)
            if day.weekday() == SUNDAY and offset not in (0, 1):
                continue
            for number in range(6 + offset % 3):
                self._seed_one(day, number, now=now, person=random.choice(crowd), random=random)
        for person in random.sample(crowd, 3):  # fills a window, which availability then omits
            self.add(
                day=today + timedelta(days=1),
                session="Evening",
                batch="EA",
                branch=ADYAR,
                patient=person.name,
                phone=_digits(person.phone),
                made=now - timedelta(days=2),
            )

    def _seed_one(
        self, day: date, number: int, *, now: datetime, person: Person, random: Random
    ) -> None:
        """The *number*-th booking of a day; some numbers are of a special kind."""
        window = random.choice(WINDOWS)
        phone = _digits(person.phone)
        over = self._at(day, window.end) < now
        token = str(random.randint(1, 40))
        reference = f"EMR-{random.randint(20000, 29999)}"
        self.add(
            day=day,
            session=window.session,
            batch=None if number == 5 else window.batch,
            branch=window.branch,
            status=_seeded_status(day, number, over=over),
            patient=person.first_name if number == 2 else person.name,
            # Masked with X, as in every sample of the vendor.
            phone=phone[:-6] + "XXXXXX" if number == 1 else phone,
            service=random.choice(tuple(SERVICES)),
            doctor=random.choice(DOCTORS),
            token=token if number % 2 else None,
            reference=reference if number == 0 else None,
            made=now - timedelta(days=random.randint(1, 9), minutes=random.randint(0, 600)),
        )

    # --- answering

    def operation(self, request: Request) -> str:
        match request.method, _segments(request.path):
            case "GET", ["v1", "appointments"]:
                return "list"
            case "POST", ["v1", "appointments"]:
                return "schedule"
            case "GET", ["v1", "appointments", _]:
                return "read"
            case "PATCH", ["v1", "appointments", _]:
                body = request.body if isinstance(request.body, dict) else {}
                if body.get("status") == "cancelled":
                    return "cancel"
                return "reschedule" if "appointment_date" in body else "change"
            case "GET", ["v1", "appointment-config"]:
                return "policy"
            case "GET", ["v1", "services"]:
                return "services"
            case "GET", ["v1", "appointment-slots", "availability"]:
                return "availability"
            case _:
                return "unknown"

    def answer(self, request: Request) -> Answer:
        operation = self.operation(request)
        try:
            if operation == "unknown":
                raise Failed("NOT_FOUND", "No such address")
            _demand_scope(request, NEEDED[operation])
            return self._do(operation, request)
        except Failed as failed:
            return failed.answer

    def _do(self, operation: str, request: Request) -> Answer:
        match operation:
            case "list":
                return self._list(_checked_query(request, LIST_QUERY))
            case "availability":
                return self._availability(_checked_query(request, AVAILABILITY_QUERY))
            case "schedule":
                return self._schedule(_checked_body(request, SCHEDULE_FIELDS, REQUIRED))
            case "read":
                return _done(self._row(request))
            case "cancel" | "reschedule" | "change":
                row = self._row(request)
                return self._update(row, _checked_body(request, UPDATE_FIELDS))
            case "policy":
                return Answer(status=200, body={"success": True, "data": self.state["policy"]})
            case _:
                services = [{"service_id": key, "name": name} for key, name in SERVICES.items()]
                return Answer(status=200, body={"success": True, "data": services})

    def _list(self, query: Mapping[str, str]) -> Answer:
        rows = [
            row
            for row in self._rows.values()
            if row["_at"].startswith(query.get("date", ""))
            and all(row[key] == query[key] for key in FILTERS if key in query)
        ]
        rows.sort(key=lambda row: (row["_at"], row["appointment_id"]))
        page, limit = int(query.get("page", "1")), int(query.get("limit", "50"))
        shown = rows[(page - 1) * limit : page * limit]
        pagination = {"page": page, "limit": limit, "total": len(rows)}
        body = {"success": True, "data": [_public(row) for row in shown], "pagination": pagination}
        return Answer(status=200, body=body)

    def _update(self, row: Json, body: Mapping[str, str]) -> Answer:
        if body.get("status") == "cancelled":
            if row["status"] == "cancelled":
                return _done(row)
            self._demand_notice(row)
        if "appointment_date" in body:
            row |= self._moved(row, body) | {"status": "rescheduled"}
        visible = set(body) - {"appointment_date", "notes"}
        row |= {name: body[name] for name in visible}
        # Never the same twice, however quick the clock: whoever compares, sees the change.
        before = datetime.fromisoformat(row["updated_at"])
        row["updated_at"] = _written(max(self.now(), before + timedelta(milliseconds=1)))
        return _done(row)

    def _moved(self, row: Json, body: Mapping[str, str]) -> Json:
        """Where *row* goes; a place of its own in the window does not stand in its way."""
        begun = datetime.fromisoformat(row["_at"]) < self.now()
        if row["status"] not in LIVE or begun:
            raise Failed("APPOINTMENT_NOT_ACTIVE")
        return self._place(
            datetime.fromisoformat(body["appointment_date"]),
            branch=row["branch_id"],
            session=body.get("session", ""),
            batch=body.get("batch", ""),
            besides=row["appointment_id"],
        )

    def _demand_notice(self, row: Json) -> None:
        policy = self.state["policy"]
        if not policy["allow_cancellation"]:
            raise Failed("CANCELLATION_NOT_ALLOWED")
        hours = policy["cancellation_notice_hours"]
        start = self._earliest(
            date.fromisoformat(row["date"]), row["branch_id"], row["session"], row["batch"]
        )
        if self.now() + timedelta(hours=hours) > start:
            text = FAILURES["CANCELLATION_NOTICE_REQUIRED"][1].format(hours=hours)
            raise Failed("CANCELLATION_NOTICE_REQUIRED", text)

    def _schedule(self, body: Mapping[str, str]) -> Answer:
        if "branch_id" not in body:
            raise Failed("VALIDATION_ERROR", "branch_id is required: there are several branches")
        at = datetime.fromisoformat(body["appointment_date"])
        place = self._place(at, branch=body["branch_id"], session=body.get("session", ""))
        who = (body["patient_name"], body["parent_phone"], place["date"])
        for row in self._rows.values():
            known = (row["patient_name"], row["parent_phone"], row["date"])
            if row["status"] in LIVE and known == who:
                raise Failed("DUPLICATE_BOOKING")
        external_id = self.add(
            day=date.fromisoformat(place["date"]),
            session=place["session"],
            batch=place["batch"],
            patient=body["patient_name"],
            phone=body["parent_phone"],
            service=_service_id(body["appointment_type"]),
            branch=body["branch_id"],
            at=at,
        )
        row = self._rows[external_id]
        row["created_at"] = row["updated_at"] = _written(self.now())
        ids = {"appointment_id": external_id, "token": None}
        return Answer(status=201, body={"success": True, **ids, "data": _public(row)})

    def _place(
        self, at: datetime, *, branch: str, session: str, batch: str = "", besides: str = ""
    ) -> Json:
        """Where a booking at *at* falls; refused when there is no window, or no room in it."""
        local = at.astimezone(self._zone)
        day, clock = local.date(), local.time()
        for window in WINDOWS:
            if window.branch != branch or session not in ("", window.session):
                continue
            if batch not in ("", window.batch):
                continue
            if not window.start <= clock < window.end:
                continue
            if at < self.now() or day.weekday() == SUNDAY:
                break
            if self._taken(window, day, LIVE, besides=besides) >= window.places:
                raise Failed("SLOT_FULL")
            where = {"date": day.isoformat(), "session": window.session, "batch": window.batch}
            return where | {"_at": _written(at)}
        raise Failed("OUTSIDE_AVAILABILITY")

    def _availability(self, query: Mapping[str, str]) -> Answer:
        if "date" not in query:
            raise Failed("VALIDATION_ERROR", "date is required")
        day = date.fromisoformat(query["date"])
        slots = [
            self._slot(number, window, day)
            for number, window in enumerate(WINDOWS)
            if day.weekday() != SUNDAY
            and self._filled(window, day) < window.places
            and query.get("branch_id", window.branch) == window.branch
            and query.get("session", window.session) == window.session
        ]
        body = {"success": True, "date": query["date"], "slots": slots}
        return Answer(status=200, body=body)

    def _slot(self, number: int, window: Window, day: date) -> Json:
        calendar = f"a1b2c3d4-e5f6-7890-abcd-ef12345678{number:02d}"
        filled = self._filled(window, day)
        return {
            "slot_id": f"{calendar}||{day}",
            "calendar_id": calendar,
            "branch_id": window.branch,
            "day": WEEKDAYS[day.weekday()],
            "session": window.session,
            "batch": window.batch,
            "start_time": f"{window.start:%H:%M}",
            "end_time": f"{window.end:%H:%M}",
            "appointment_type": None,
            "max_slots": window.places * 2,
            "ai_slots": window.places,
            "filled_slots": filled,
            "available_slots": window.places - filled,
            "status": "OPEN",
            "created_at": "2026-05-01T10:00:00.000Z",
            "updated_at": "2026-05-01T10:00:00.000Z",
        }

    # --- looking things up

    @property
    def _rows(self) -> dict[str, Json]:
        rows: dict[str, Json] = self.state["appointments"]
        return rows

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.state["policy"]["timezone"])

    def _row(self, request: Request) -> Json:
        external_id = _segments(request.path)[-1]
        if not re.fullmatch("[A-Za-z0-9_-]{1,64}", external_id):
            raise Failed("VALIDATION_ERROR")
        if external_id not in self._rows:
            raise Failed("NOT_FOUND")
        return self._rows[external_id]

    def _filled(self, window: Window, day: date) -> int:
        """Only confirmed ones count: as documented, and so it does not tally with the list."""
        return self._taken(window, day, ("confirmed",))

    def _taken(self, window: Window, day: date, words: Sequence[str], *, besides: str = "") -> int:
        """Bookings in *window* whose status is one of *words*."""
        place = (window.branch, window.session, window.batch, day.isoformat())
        return sum(
            (row["branch_id"], row["session"], row["batch"], row["date"]) == place
            for row in self._rows.values()
            if row["status"] in words and row["appointment_id"] != besides
        )

    def _at(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, tzinfo=self._zone)

    def _earliest(
        self, day: date, branch: str | None, session: str | None, batch: str | None
    ) -> datetime:
        """Start of the window; where there is none, 00:00 of the day."""
        for window in WINDOWS:
            if (window.branch, window.session, window.batch) == (branch, session, batch):
                return self._at(day, window.start)
        return self._at(day, time.min)


# --- requests and answers ---------------------------------------------------------------------


def _seeded_status(day: date, number: int, *, over: bool) -> str:
    if number == 4 and day.day % 2:
        return "cancelled"
    if over:
        return "no_show" if number == 1 else "completed"
    return "rescheduled" if number == 3 else "confirmed"


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")


def _demand_scope(request: Request, scope: str) -> None:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or key not in SCOPES:
        raise Failed("UNAUTHORIZED")
    if scope not in SCOPES[key]:
        raise Failed("INSUFFICIENT_SCOPE")


def _checked_query(request: Request, allowed: Mapping[str, str]) -> dict[str, str]:
    if any(len(values) != 1 for values in request.query.values()):
        raise Failed("VALIDATION_ERROR", "A parameter was given twice")
    query = {name: values[0] for name, values in request.query.items()}
    return _checked(query, allowed)


def _checked_body(
    request: Request, allowed: Mapping[str, str], required: Sequence[str] = ()
) -> dict[str, str]:
    body = request.body
    if not isinstance(body, dict) or not body or not set(required) <= set(body):
        raise Failed("VALIDATION_ERROR")
    return _checked(body, allowed)


def _checked(given: Mapping[str, Any], allowed: Mapping[str, str]) -> dict[str, str]:
    """Refuse what the contract does not allow; answer what it does."""
    for name, value in given.items():
        pattern = allowed.get(name)
        if pattern is None or not isinstance(value, str):
            raise Failed("VALIDATION_ERROR", f"{name} is not allowed")
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise Failed("VALIDATION_ERROR", f"{name} is not valid")
    try:
        for name in {"date", "appointment_date"} & set(given):
            datetime.fromisoformat(given[name])
    except ValueError as error:
        raise Failed("VALIDATION_ERROR", "No such day") from error
    return dict(given)


def _service_id(named: str) -> str:
    """The service with this id, or with this name whatever its case."""
    for service_id, name in SERVICES.items():
        if named.casefold() in (service_id, name.casefold()):
            return service_id
    raise Failed("VALIDATION_ERROR", "No such appointment_type")


def _public(row: Json) -> Json:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _done(row: Json) -> Answer:
    return Answer(status=200, body={"success": True, "data": _public(row)})


def _written(when: datetime) -> str:
    """As the vendor writes moments: `2026-12-03T12:00:00.000Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digits(phone: str) -> str:
    return re.sub(r"[^0-9+]", "", phone)
