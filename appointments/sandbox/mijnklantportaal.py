"""
MijnKlantportaal as a local world: the calendar of a practice in Amsterdam.

It answers by the vendor's documentation (read in November 2026) and is as strict about requests
as its contract. What the vendor does not document is decided here: what is canceled stays in the
list, DELETE works on what is pending too, a body where none belongs is a 415, and the person
booked gets a mail for each booking and each cancellation.

State: `appointments` by id, exactly as they are answered; `titles` by id, which no answer shows;
`customers` by id; `count` of ids given out; `mails`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from random import Random
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from appointments.sandbox.core import Answer, Json, Request, World
from appointments.sandbox.people import Person

ZONE = ZoneInfo("Europe/Amsterdam")
FULL_KEY = "mkp_sandbox_full_5f8c1d9e"
READ_ONLY_KEY = "mkp_sandbox_read_only_b27a"
SCOPES: Mapping[str, frozenset[str]] = {
    FULL_KEY: frozenset({"appointments.read", "appointments.write"}),
    READ_ONLY_KEY: frozenset({"appointments.read"}),
}

LOCAL_MINUTE = "%Y-%m-%d %H:%M"
MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
LIST_PARAMETERS = {"start_at", "days"}
SCHEDULE_FIELDS = {"name", "customerId", "attendeeName", "attendeeEmail", "startsAt", "endsAt"}

SUNDAY = 6
OPENING, CLOSING = time(8, 30), time(17)
DAYS_AHEAD = 21
KINDS = (
    # Title, minutes, whether it is held online.
    ("Intake gesprek", 45, False),
    ("Kennismaking", 30, True),
    ("Adviesgesprek", 60, False),
    ("Jaargesprek", 60, False),
    ("Online spreekuur", 20, True),
    ("Vervolgafspraak", 30, False),
)


class _Turned(Exception):
    """A request that is turned away; holds the answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.answer = Answer(status=status, body={"message": message, **more})


class MijnKlantportaalWorld(World):
    slug = "mijnklantportaal"
    label = "MijnKlantportaal"
    base_path = "/mijnklantportaal/v1"
    credentials = MappingProxyType({"api_key": FULL_KEY})

    def __init__(self) -> None:
        super().__init__()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        """The vendor's clock; a test may set another."""

    def empty(self) -> Json:
        return {"appointments": {}, "titles": {}, "customers": {}, "count": 0}

    def tally(self) -> tuple[int, int]:
        words = [one["status"] for one in self.state["appointments"].values()]
        return len(words), words.count("canceled")

    # --- for tests and the demo

    def add(
        self,
        *,
        starts_at: datetime,
        person: Person,
        minutes: int = 30,
        title: str = "Intake gesprek",
        status: str = "scheduled",
        is_customer: bool = True,
        link: str | None = None,
        **fields: Any,
    ) -> str:
        """
        Put an appointment into the calendar and answer its id.

        *fields* replace the vendor's own fields, as in `attendeeEmail=None`.
        """
        appointment_id = self._fresh_id("apt")
        self.state["titles"][appointment_id] = title
        self.state["appointments"][appointment_id] = {
            "id": appointment_id,
            "customerId": self.customer(person) if is_customer else None,
            "attendeeName": person.name,
            "attendeeEmail": person.email,
            "startsAt": _stamp(starts_at),
            "endsAt": _stamp(starts_at + timedelta(minutes=minutes)),
            "status": status,
            "onlineMeetingLink": link,
            "createdAt": _stamp(self.now()),
            **fields,
        }
        return appointment_id

    def customer(self, person: Person) -> str:
        """The id of *person* as a customer of the portal, who becomes one if need be."""
        for customer_id, customer in self.state["customers"].items():
            if customer["email"] == person.email:
                return str(customer_id)
        customer_id = self._fresh_id("cst")
        self.state["customers"][customer_id] = {"name": person.name, "email": person.email}
        return customer_id

    def seed(self, *, now: datetime, people: Sequence[Person], random: Random) -> None:
        today = now.astimezone(ZONE).date()
        for ahead in range(-1, DAYS_AHEAD + 1):
            day = today + timedelta(days=ahead)
            if day.weekday() == SUNDAY and ahead not in (0, 1):
                continue
            starts_at = datetime.combine(day, OPENING, ZONE) + timedelta(
                minutes=15 * random.randrange(6)
            )
            while starts_at.time() < CLOSING and random.random() < 0.92:
                self._seed_one(starts_at, people=people, random=random)
                starts_at += timedelta(minutes=15 * random.randrange(4, 12))
        self._seed_special(now=now, people=people)

    def _seed_one(self, starts_at: datetime, *, people: Sequence[Person], random: Random) -> None:
        title, minutes, is_online = random.choice(KINDS)
        status = random.choices(("scheduled", "pending", "canceled"), (80, 10, 10))[0]
        link = f"https://meet.example.com/{random.getrandbits(32):08x}"
        nearby = [person for person in people if person.time_zone == ZONE.key]
        self.add(
            starts_at=starts_at,
            person=random.choice(nearby if random.random() < 0.8 else people),
            minutes=minutes,
            title=title,
            status=status,
            is_customer=random.random() < 0.7,
            link=link if is_online and status != "canceled" else None,
            createdAt=_stamp(starts_at - timedelta(days=random.randrange(22, 60))),
        )

    def _seed_special(self, *, now: datetime, people: Sequence[Person]) -> None:
        """One of each kind that a dashboard has to bear, today and tomorrow."""
        today = datetime.combine(now.astimezone(ZONE).date(), time(11), ZONE)
        tomorrow = today + timedelta(days=1)
        noted = _stamp(today - timedelta(days=30))
        self.add(
            starts_at=today, person=people[0], is_customer=False, status="pending", createdAt=noted
        )
        for hours, status in ((2, "canceled"), (-2, "no-show")):
            self.add(
                starts_at=today + timedelta(hours=hours),
                person=people[2],
                status=status,
                createdAt=noted,
            )
        self.add(starts_at=tomorrow, person=people[4], status="pending", createdAt=noted)
        nameless = self.add(
            starts_at=tomorrow, person=people[3], is_customer=False, createdAt=noted
        )
        for field in ("attendeeName", "attendeeEmail"):
            del self.state["appointments"][nameless][field]
        for ahead in range(2, 6):  # Several that wait for the desk's word, not only by chance.
            day = today + timedelta(days=ahead)
            if day.weekday() != SUNDAY:
                self.add(starts_at=day, person=people[3 + ahead], status="pending", createdAt=noted)

    # --- answers

    def operation(self, request: Request) -> str:
        return self._route(request)[0]

    def answer(self, request: Request) -> Answer:
        try:
            _name, answer, scope = self._route(request)
            self._admit(request, scope)
            answered = answer(request)
        except _Turned as turned:
            answered = turned.answer
        limits = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59"}
        return Answer(
            status=answered.status, body=answered.body, headers={**limits, **answered.headers}
        )

    def _route(self, request: Request) -> tuple[str, Callable[[Request], Answer], str]:
        """What is asked, who answers it, and the scope it needs."""
        match (request.method, request.path.removeprefix("/").split("/")):
            case ("GET", ["appointments"]):
                return "list", self._list, "appointments.read"
            case ("POST", ["appointments"]):
                return "schedule", self._schedule, "appointments.write"
            case ("GET", ["appointments", _]):
                return "read", self._read, "appointments.read"
            case ("DELETE", ["appointments", _]):
                return "cancel", self._cancel, "appointments.write"
            case ("PATCH", ["appointments", _]):
                declines = isinstance(request.body, dict) and request.body.get("status") != (
                    "scheduled"
                )
                name = "cancel" if declines else "confirm"
                return name, self._change, "appointments.write"
            case _:
                return "other", self._nowhere, "appointments.read"

    def _admit(self, request: Request, scope: str) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key not in SCOPES:
            raise _Turned(401, "Unauthenticated.")
        if scope not in SCOPES[key]:
            raise _Turned(403, "This key does not have the required scope.")

    def _nowhere(self, request: Request) -> Answer:
        raise _Turned(404, f"The route {request.path} could not be found.")

    def _list(self, request: Request) -> Answer:
        """Everything that starts in the window, by wall clock; the end does not belong to it."""
        _only(request.query, LIST_PARAMETERS)
        start = self.now().astimezone(ZONE).replace(tzinfo=None)
        if "start_at" in request.query:
            start = _wall_clock(request.one("start_at"), "start_at")
        days = request.one("days", "7")
        if not re.fullmatch("[1-9][0-9]{0,4}", days):
            raise _invalid("days", "must be a whole number of at least 1.")
        end = start + timedelta(days=int(days))
        found = [one for one in self._appointments() if start <= _local(one["startsAt"]) < end]
        found.sort(key=lambda one: (_local(one["startsAt"]), one["id"]))
        return Answer(status=200, body={"data": found})

    def _read(self, request: Request) -> Answer:
        _only(request.query, set())
        return Answer(status=200, body=self._named(request))

    def _cancel(self, request: Request) -> Answer:
        _only(request.query, set())
        if request.body is not None or "content-type" in request.headers:
            raise _Turned(415, "This request takes no body.")
        appointment = self._named(request)
        if appointment["status"] == "canceled":
            raise _Turned(409, "This appointment has already been canceled.")
        return self._call_off(appointment)

    def _change(self, request: Request) -> Answer:
        """Confirm or decline what is pending."""
        _only(request.query, set())
        appointment = self._named(request)
        body = _json_object(request)
        _only(body, {"status"})
        if body.get("status") not in ("scheduled", "canceled"):
            raise _invalid("status", "must be scheduled or canceled.")
        if appointment["status"] != "pending":
            raise _Turned(409, "The appointment is not pending.")
        if body["status"] == "canceled":
            return self._call_off(appointment)
        appointment["status"] = "scheduled"
        self._tell(appointment, "is confirmed")
        return Answer(status=200, body=appointment)

    def _schedule(self, request: Request) -> Answer:
        _only(request.query, set())
        body = _json_object(request)
        _only(body, SCHEDULE_FIELDS)
        for field, value in body.items():
            if not isinstance(value, str) or not value:
                raise _invalid(field, "must be a text.")
        for field in ("name", "startsAt", "endsAt"):
            if field not in body:
                raise _invalid(field, "is required.")
        starts_at = _existing(body["startsAt"], "startsAt")
        ends_at = _existing(body["endsAt"], "endsAt")
        if ends_at <= starts_at:
            raise _invalid("endsAt", "must be after startsAt.")
        person = self._invited(body)
        appointment_id = self.add(
            starts_at=starts_at,
            person=person,
            title=body["name"],
            is_customer="customerId" in body,
            endsAt=_stamp(ends_at),
        )
        appointment = self.state["appointments"][appointment_id]
        self._tell(appointment, "is booked")
        return Answer(status=201, body=appointment)

    # --- the calendar

    def _appointments(self) -> list[Json]:
        return list(self.state["appointments"].values())

    def _named(self, request: Request) -> Json:
        found: Json | None = self.state["appointments"].get(request.path.split("/")[-1])
        if found is None:
            raise _Turned(404, "The appointment could not be found.")
        return found

    def _call_off(self, appointment: Json) -> Answer:
        appointment |= {"status": "canceled", "onlineMeetingLink": None}
        self._tell(appointment, "is canceled")
        return Answer(status=200, body=appointment)

    def _invited(self, body: Json) -> Person:
        """Whom the booking is for: a customer, or the name and address given."""
        if "customerId" in body:
            customer = self.state["customers"].get(body["customerId"])
            if customer is None:
                raise _invalid("customerId", "is not a customer of this portal.")
            name, email = customer["name"], customer["email"]
        else:
            name, email = body.get("attendeeName", ""), body.get("attendeeEmail", "")
        if not name:
            raise _invalid("attendeeName", "is required when customerId is not present.")
        if not EMAIL.fullmatch(email):
            raise _invalid("attendeeEmail", "must be an e-mail address.")
        return Person(first_name=name, last_name="", email=email, phone="")

    def _tell(self, appointment: Json, what: str) -> None:
        if address := appointment.get("attendeeEmail"):
            title = self.state["titles"][appointment["id"]]
            self.mail(address, f"{title}, {appointment['startsAt']}: {what}")

    def _fresh_id(self, prefix: str) -> str:
        self.state["count"] += 1
        digest = hashlib.sha256(f"{prefix} {self.state['count']}".encode()).hexdigest()
        return f"{prefix}_{digest[:12]}"


def _invalid(field: str, rule: str) -> _Turned:
    text = f"The {field} field {rule}"
    return _Turned(422, text, errors={field: [text]})


def _only(given: Mapping[str, object], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise _invalid(name, "is not known.")


def _json_object(request: Request) -> Json:
    if "json" not in request.headers.get("content-type", ""):
        raise _Turned(415, "This request takes JSON.")
    if not isinstance(request.body, dict):
        raise _Turned(422, "The given data was invalid.")
    return request.body


def _wall_clock(text: str, field: str) -> datetime:
    """A local time without an offset, `Y-m-d H:i`."""
    if MINUTE.fullmatch(text):
        try:
            return datetime.strptime(text, LOCAL_MINUTE)  # noqa: DTZ007 - that is what it means
        except ValueError:
            pass
    raise _invalid(field, "must match the format Y-m-d H:i.")


def _existing(text: str, field: str) -> datetime:
    """The moment meant; of an hour that is lived through twice, the first."""
    when = _wall_clock(text, field).replace(tzinfo=ZONE)
    if when.astimezone(UTC).astimezone(ZONE).replace(tzinfo=None) != when.replace(tzinfo=None):
        raise _invalid(field, "names a time that does not exist.")
    return when


def _stamp(when: datetime) -> str:
    """ATOM, in the portal's zone: `2026-12-07T10:00:00+01:00`."""
    return when.astimezone(ZONE).isoformat(timespec="seconds")


def _local(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp).astimezone(ZONE).replace(tzinfo=None)
