"""Booking at a provider: sent once, read back, compared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from appointments.domain import ScheduleRequest
from appointments.models import Appointment, Booking
from appointments.sandbox.people import PEOPLE
from appointments.services.schedule import ask_to_schedule, offers
from tests.desk import SLUGS, Desk

every_provider = pytest.mark.parametrize("slug", SLUGS)
State = Booking.State


def request_for(slug: str, desk: Desk, **changes: Any) -> ScheduleRequest:
    """A request that this provider's sandbox accepts."""
    who = PEOPLE[2]
    at = desk.soon + timedelta(hours=1)
    common: dict[str, Any] = {"starts_at": at, "name": who.name, "email": who.email}
    match slug:
        case "mijnklantportaal":
            common |= {"title": "Intake", "ends_at": at + timedelta(minutes=30)}
        case "meetergo":
            service = offers(desk.connection(slug)).services[0]
            common |= {"service": service.external_id, "host": service.hosts[0]}
        case "carevalidate":
            service = offers(desk.connection(slug)).services[0]
            common |= {
                "service": service.external_id,
                "time_zone": "America/New_York",
                "location": "zoom_conference",
            }
        case _:
            at = (desk.soon + timedelta(days=1)).replace(hour=4)
            service = offers(desk.connection(slug)).services[0]
            world = desk.world(slug)
            common |= {
                "starts_at": at,
                "service": service.external_id,
                "phone": "+919840000999",
                "branch": next(iter(world.state["appointments"].values()))["branch_id"],
            }
    return ScheduleRequest(**(common | changes))


def ask(slug: str, desk: Desk, **changes: Any) -> Booking:
    desk.book(slug)
    connection = desk.connection(slug)
    connection.refresh_from_db()
    booking = ask_to_schedule(
        connection, by=desk.staff, request=request_for(slug, desk, **changes), form_key=uuid4()
    )
    assert isinstance(booking, Booking), booking
    return booking


@every_provider
def test_a_booking_is_sent_once_and_read_back(slug: str, desk: Desk) -> None:
    booking = desk.work_booking(ask(slug, desk))

    assert booking.state == State.CONFIRMED, (booking.why, booking.said)
    assert len(desk.received(slug, "schedule")) == 1
    assert booking.appointment is not None
    assert booking.appointment.external_id
    if slug != "huskyvoice":  # which has no clock time to compare
        assert booking.booked_at == booking.starts_at


@every_provider
def test_a_lost_answer_is_looked_up_and_never_sent_again(slug: str, desk: Desk) -> None:
    """It was booked, we did not hear it: the list shows it."""
    booking = ask(slug, desk)
    desk.fault(slug, "lose_answer", operation="schedule")
    desk.work_booking(booking)
    assert booking.state == State.UNKNOWN

    desk.work_booking(booking)

    assert booking.state == State.CONFIRMED
    assert booking.appointment is not None
    assert len(desk.received(slug, "schedule")) == 1


@every_provider
def test_what_is_not_found_by_the_end_of_the_quiet_period_is_for_a_person(
    slug: str, desk: Desk
) -> None:
    booking = ask(slug, desk)
    desk.fault(slug, "status", operation="schedule", status=500, body={"message": "x"})
    desk.work_booking(booking)

    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work_booking(booking)

    assert booking.state == State.NEEDS_HUMAN
    assert len(desk.received(slug, "schedule")) == 1


def test_a_refusal_is_shown_with_their_words(desk: Desk) -> None:
    booking = ask("mijnklantportaal", desk)
    body = {"message": "The given data was invalid.", "errors": {"startsAt": ["closed"]}}
    desk.fault("mijnklantportaal", "status", operation="schedule", status=422, body=body)

    desk.work_booking(booking)

    assert booking.state == State.REFUSED
    assert "invalid" in booking.said


def test_a_wrong_zone_is_noticed_by_reading_back(desk: Desk) -> None:
    """The provider booked another moment than was meant: both are kept, nothing is moved."""
    booking = ask("mijnklantportaal", desk)
    desk.connections["mijnklantportaal"].time_zone = "Europe/London"
    desk.connections["mijnklantportaal"].save()

    desk.work_booking(booking)

    assert booking.state == State.CONFIRMED
    assert booking.booked_at == booking.starts_at - timedelta(hours=1)


def test_the_same_form_twice_books_once(desk: Desk) -> None:
    desk.book("mijnklantportaal")
    key, connection = uuid4(), desk.connection("mijnklantportaal")
    request = request_for("mijnklantportaal", desk)

    first = ask_to_schedule(connection, by=desk.staff, request=request, form_key=key)
    second = ask_to_schedule(connection, by=desk.staff, request=request, form_key=key)

    assert first == second
    assert Booking.objects.count() == 1


def test_without_permission_nothing_is_recorded(desk: Desk) -> None:
    visitor = User.objects.create_user("visitor")
    connection = desk.connection("mijnklantportaal")

    with pytest.raises(PermissionDenied):
        ask_to_schedule(
            connection,
            by=visitor,
            request=request_for("mijnklantportaal", desk),
            form_key=uuid4(),
        )
    assert not Booking.objects.exists()


def test_a_worker_lost_while_sending_looks_and_does_not_send(desk: Desk) -> None:
    booking = ask("mijnklantportaal", desk)
    now = timezone.now()
    Booking.objects.filter(pk=booking.pk).update(state=State.SENDING, sent_at=now, lease_until=now)

    desk.work_booking(booking)

    assert booking.state == State.UNKNOWN
    assert desk.received("mijnklantportaal", "schedule") == []


def test_the_title_we_booked_with_is_kept_where_the_provider_does_not_repeat_it(
    desk: Desk,
) -> None:
    booking = desk.work_booking(ask("mijnklantportaal", desk, title="Contract extension"))
    desk.read("mijnklantportaal")

    assert booking.appointment is not None
    assert Appointment.objects.get(pk=booking.appointment.pk).title == "Contract extension"
