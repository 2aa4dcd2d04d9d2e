"""A browser without scripts, one with, and books of any length."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from appointments.domain import BookedAppointment, BookedAttendee, Status
from appointments.models import Appointment, Connection, WorkerPulse
from appointments.services.records import store

HTMX = {"HX-Request": "true"}
POLL = HTMX | {"X-Background": "true"}

Book = Callable[..., list[Appointment]]


@pytest.fixture
def web(staff: User) -> Client:
    """Somebody of the front desk, logged in, with a worker at work."""
    WorkerPulse.beat("worker of the tests")
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def meetergo(db: None) -> Connection:
    """A connection that nobody answers at: enough where only our copy is looked at."""
    return make_connection("meetergo", name="Physio am Park")


@pytest.fixture
def book(meetergo: Connection) -> Book:
    """Put bookings into our copy, without asking a provider."""

    def book(count: int = 1, *, connection: Connection = meetergo, **fields: Any) -> Any:
        start = fields.pop("starts_at", timezone.now() + timedelta(hours=1))
        records = [record(number, start=start, **fields) for number in range(count)]
        store(connection, records, read_at=timezone.now())
        return list(Appointment.objects.filter(connection=connection).in_order())

    return book


def record(number: int, *, start: datetime, **fields: Any) -> BookedAppointment:
    person = BookedAttendee(
        external_id=f"person-{number}",
        name=f"Person {number}",
        email=f"person{number}@example.org",
        phone=f"+31 6 55500{number:03d}",
    )
    moment = start + timedelta(minutes=30 * number)
    values: dict[str, Any] = {
        "external_id": f"booking-{number}",
        "status": Status.BOOKED,
        "starts_at": moment,
        "ends_at": moment + timedelta(minutes=30),
        "title": "Consultation",
        "host": "Dr. Behrens",
        "attendees": (person,),
    }
    return BookedAppointment(**(values | fields))


@pytest.fixture
def linde(db: None) -> Connection:
    """Shows no free times, so that one is typed."""
    return make_connection("mijnklantportaal", name="De Linde")


def filled(connection: Connection, **fields: Any) -> dict[str, Any]:
    """The form of a new appointment at MijnKlantportaal, tomorrow from 10 to half past."""
    tomorrow = timezone.localdate() + timedelta(days=1)
    values = {
        "connection": connection.pk,
        "form_key": str(uuid4()),
        "title": "Intake",
        "name": "Emma Visser",
        "email": "emma@example.org",
        "starts_at": f"{tomorrow}T10:00",
        "ends_at": f"{tomorrow}T10:30",
    }
    return values | fields


def ask_for(web: Client, fields: Mapping[str, Any]) -> Any:
    """Send the form of a new appointment, and then what its review shows; the last answer."""
    review = web.post("/schedule/", fields)
    if review.status_code != 200:
        return review
    return web.post("/schedule/", {**fields, **review_of(review), "do": "book"})


def review_of(answer: Any) -> dict[str, str]:
    """What the review adds to what was typed."""
    page = answer.content.decode()
    found = {name: re.search(rf'name="{name}" value="([^"]+)"', page) for name in _REVIEWED}
    return {name: one[1] for name, one in found.items() if one is not None}


_REVIEWED = ("form_key", "reviewed")


def make_connection(slug: str, *, name: str) -> Connection:
    connection = Connection(
        name=name, provider=slug, base_url="http://127.0.0.1:9", time_zone="Europe/Amsterdam"
    )
    connection.credentials = {"api_key": "made-up"}
    connection.save()
    return connection
