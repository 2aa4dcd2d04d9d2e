"""A front desk with four connections: books at the sandbox, reads, asks, works."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol
from uuid import uuid4

from django.contrib.auth.models import User
from django.utils import timezone

from appointments.domain import Scope
from appointments.models import Appointment, Booking, Cancellation, Connection, ProviderCall
from appointments.sandbox.core import Fault, FaultKind, Sandbox
from appointments.sandbox.people import PEOPLE, Person
from appointments.services import book, send
from appointments.services.cancel import Conflict, Wish, ask_to_cancel
from appointments.services.connect import connect
from appointments.services.sync import sync

SLUGS = ("mijnklantportaal", "meetergo", "carevalidate", "huskyvoice")
ZONES = {
    "mijnklantportaal": "Europe/Amsterdam",
    "meetergo": "Europe/Berlin",
    "carevalidate": "America/New_York",
    "huskyvoice": "Asia/Kolkata",
}


class Server(Protocol):
    """Whoever puts the four providers behind HTTP."""

    sandbox: Sandbox

    def base_url(self, slug: str) -> str: ...


class Desk:
    def __init__(self, server: Server, staff: User) -> None:
        self.server = server
        self.sandbox = server.sandbox
        self.staff = staff
        self.connections: dict[str, Connection] = {}

    def connection(self, slug: str) -> Connection:
        """The connection to *slug*, made on first use."""
        if slug not in self.connections:
            self.connections[slug], _ = connect(
                slug,
                name=f"Practice {slug}",
                base_url=self.server.base_url(slug),
                credentials=dict(self.world(slug).credentials),
                time_zone=ZONES[slug],
            )
        return self.connections[slug]

    def world(self, slug: str) -> Any:
        return self.sandbox.worlds[slug]

    @cached_property
    def soon(self) -> datetime:
        """
        15:00 UTC, two to six days ahead, from Monday to Wednesday.

        Far enough for any notice, a working day (and so is the next), daytime everywhere.
        """
        noon = datetime.now(UTC).replace(hour=15, minute=0, second=0, microsecond=0)
        day = noon + timedelta(days=2)
        while day.weekday() > 2:
            day += timedelta(days=1)
        return day

    # --- at the provider

    def add(self, slug: str, *, people: int = 1, **fields: Any) -> str:
        """Put a booking into the provider's book; its id."""
        world = self.world(slug)
        match slug:
            case "mijnklantportaal":
                return str(world.add(starts_at=self.soon, person=PEOPLE[0], **fields))
            case "meetergo":
                chosen = fields.pop("who", PEOPLE[15 : 15 + people])
                fields.setdefault("start", self.soon)
                return str(world.add(people=chosen, **fields))
            case "carevalidate":
                return str(world.add(starts_at=self.soon, **fields))
            case _:
                fields.setdefault("day", self.soon.date() + timedelta(days=1))
                return str(world.add(**fields))

    def fault(self, slug: str, kind: FaultKind, operation: str = "cancel", **how: Any) -> None:
        self.sandbox.add_fault(Fault(provider=slug, operation=operation, kind=kind, **how))

    def received(self, slug: str, operation: str = "cancel") -> list[str]:
        return self.sandbox.received(slug, operation)

    def mails(self, slug: str) -> list[Any]:
        return list(self.world(slug).mails)

    # --- at the desk

    def read(self, slug: str) -> None:
        """Refresh. A worker may be at it already, and may have begun too early to see all."""
        wait_until(lambda: sync(self.connection(slug)) is not None)

    def book(self, slug: str, **fields: Any) -> Appointment:
        """A booking at the provider that we have read."""
        external_id = self.add(slug, **fields)
        self.read(slug)
        return self.row(slug, external_id)

    def row(self, slug: str, external_id: str) -> Appointment:
        return Appointment.objects.select_related("connection").get(
            connection=self.connection(slug), external_id=external_id
        )

    def wish(self, appointment: Appointment, **wish: Any) -> Wish:
        wish.setdefault("reason", "Practitioner is ill")
        if appointment.capabilities.needs_email and "email" not in wish:
            first = appointment.attendees.first()
            wish["email"] = first.email if first else "someone@example.com"
        return Wish(**wish)

    def try_to_ask(self, appointment: Appointment, **wish: Any) -> Cancellation | Conflict:
        by = wish.pop("by", self.staff)
        form_key = wish.pop("form_key", None) or uuid4()
        version = wish.pop("version", appointment.version)
        return ask_to_cancel(
            appointment,
            by=by,
            wish=self.wish(appointment, **wish),
            form_key=form_key,
            version=version,
        )

    def ask(self, appointment: Appointment, **wish: Any) -> Cancellation:
        asked = self.try_to_ask(appointment, **wish)
        assert isinstance(asked, Cancellation), asked
        return asked

    def remove(self, appointment: Appointment, who: Person, **wish: Any) -> Cancellation:
        """Ask to remove one person of a group."""
        attendee = appointment.attendees.get(email=who.email)
        return self.ask(appointment, scope=Scope.ATTENDEE, attendee=attendee, **wish)

    # --- in the worker

    def work(self, cancellation: Cancellation) -> Cancellation:
        """Let the worker look at it once, as if it were due."""
        Cancellation.objects.filter(pk=cancellation.pk, due_at__isnull=False).update(
            due_at=timezone.now()
        )
        send.process(cancellation.pk)
        cancellation.refresh_from_db()
        return cancellation

    def cancel(self, appointment: Appointment, **wish: Any) -> Cancellation:
        return self.work(self.ask(appointment, **wish))

    def work_booking(self, booking: Booking) -> Booking:
        Booking.objects.filter(pk=booking.pk, due_at__isnull=False).update(due_at=timezone.now())
        book.process(booking.pk)
        booking.refresh_from_db()
        return booking


def answers(cancellation: Cancellation) -> list[str]:
    """What came of each call, in order; `-` for a call without an answer."""
    calls = ProviderCall.objects.filter(cancellation=cancellation).select_related("answer")
    return [call.answer.kind if hasattr(call, "answer") else "-" for call in calls]


def events(cancellation: Cancellation) -> list[str]:
    return list(cancellation.events.values_list("event", flat=True))


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait for something that no page shows."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
