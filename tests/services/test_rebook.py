"""In place of another one: first the new one, then the old one, and no half of it is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from appointments.domain import Scope
from appointments.models import Appointment, Booking
from appointments.models.bookings import BookingEventKind as Event
from appointments.sandbox.people import PEOPLE
from appointments.services.schedule import (
    BookingConflict,
    BookingConflictKind,
    BookingVerdict,
    Replacing,
    ask_to_rebook,
    keep_both,
    settle_by_hand,
)
from appointments.services.slots import days_at_once, slots_to_book, slots_to_move, start_in
from tests.desk import Desk
from tests.services.test_schedule import ask, request_for

State = Booking.State


def rebook(
    desk: Desk, old: Appointment, *, at: str = "mijnklantportaal", **how: Any
) -> Booking | BookingConflict:
    desk.read(at)
    connection = desk.connection(at)
    connection.refresh_from_db()
    attendee = how.pop("attendee", None)
    asked = {"request": request_for(at, desk)} if "request" not in how else {}
    wanted: dict[str, Any] = {"by": desk.staff, "form_key": uuid4()} | asked | how
    return ask_to_rebook(
        connection,
        replacing=Replacing(appointment=old, attendee=attendee),
        **wanted,
    )


def rebooked(desk: Desk, old: Appointment, **how: Any) -> Booking:
    booking = rebook(desk, old, **how)
    assert isinstance(booking, Booking), booking
    return booking


def half_done() -> list[Booking]:
    return list(Booking.objects.half_done())


def test_it_is_half_done_until_the_old_one_is_cancelled(desk: Desk) -> None:
    """At another connection: the new one first, and the old one stands meanwhile."""
    old = desk.book("carevalidate")
    booking = rebooked(desk, old)
    assert half_done() == []

    desk.work_booking(booking)

    assert booking.state == State.CONFIRMED
    assert half_done() == [booking]
    assert desk.received("carevalidate") == []
    desk.cancel(old)
    assert half_done() == []


def test_it_is_never_half_done_while_nobody_knows_of_the_new_one(desk: Desk) -> None:
    booking = rebooked(desk, desk.book("carevalidate"))
    desk.fault("mijnklantportaal", "lose_answer", operation="schedule")

    desk.work_booking(booking)
    assert (booking.state, half_done()) == (State.UNKNOWN, [])
    assert list(Booking.objects.for_people()) == [booking]
    desk.work_booking(booking)

    assert half_done() == [booking]


def test_a_refused_new_one_leaves_the_old_one_and_may_be_tried_again(desk: Desk) -> None:
    old = desk.book("carevalidate")
    booking = rebooked(desk, old)
    desk.fault(
        "mijnklantportaal", "status", operation="schedule", status=422, body={"message": "no"}
    )
    desk.work_booking(booking)

    assert (booking.state, half_done()) == (State.REFUSED, [])
    assert isinstance(rebook(desk, old), Booking)


def test_one_of_a_group_is_done_when_that_person_is_removed(desk: Desk) -> None:
    old = desk.book("meetergo", people=3)
    leaving = old.attendees.get(email=PEOPLE[16].email)
    booking = desk.work_booking(rebooked(desk, old, attendee=leaving))
    assert half_done() == [booking]

    desk.remove(old, PEOPLE[15])
    desk.work(old.cancellations.get())
    assert half_done() == [booking]
    old.refresh_from_db()
    desk.cancel(old, scope=Scope.ATTENDEE, attendee=leaving)

    assert half_done() == []
    old.refresh_from_db()
    assert old.is_live


def test_keeping_both_takes_a_named_person(desk: Desk, colleague: User) -> None:
    booking = desk.work_booking(rebooked(desk, desk.book("carevalidate")))

    keep_both(booking, by=colleague)

    assert half_done() == []
    assert booking.kept_both_by == colleague
    assert booking.events.filter(event=Event.KEPT_BOTH, by=colleague).count() == 1
    keep_both(booking, by=desk.staff)
    assert booking.kept_both_by == colleague


def test_what_is_not_half_done_cannot_be_kept(desk: Desk) -> None:
    booking = rebooked(desk, desk.book("carevalidate"))

    keep_both(booking, by=desk.staff)

    assert booking.kept_both_at is None


def test_a_verdict_that_the_new_one_stands_leaves_it_half_done(desk: Desk) -> None:
    booking = rebooked(desk, desk.book("carevalidate"))
    desk.fault("mijnklantportaal", "reset", operation="schedule")
    desk.work_booking(booking)

    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work_booking(booking)
        settle_by_hand(booking, by=desk.staff, verdict=BookingVerdict.DONE, reason="I rang them")

    assert (booking.state, half_done()) == (State.SETTLED, [booking])


def test_two_people_at_once_book_one_new_appointment(desk: Desk, colleague: User) -> None:
    old = desk.book("carevalidate")
    first = rebooked(desk, old)

    assert rebook(desk, old, by=colleague) == BookingConflict(
        kind=BookingConflictKind.REBOOKED, booking=first
    )
    desk.work_booking(first)
    assert rebook(desk, old, by=colleague) == BookingConflict(
        kind=BookingConflictKind.REBOOKED, booking=first
    )


def test_the_same_form_twice_is_one_intent(desk: Desk) -> None:
    old, key = desk.book("carevalidate"), uuid4()

    assert rebook(desk, old, form_key=key) == rebook(desk, old, form_key=key)
    assert Booking.objects.count() == 1


def test_what_is_cancelled_is_not_replaced(desk: Desk) -> None:
    old = desk.book("carevalidate")
    desk.cancel(old)

    assert rebook(desk, old) == BookingConflict(kind=BookingConflictKind.NOT_LIVE)


def test_the_database_refuses_two_open_rebookings_of_one_booking(desk: Desk) -> None:
    first = rebooked(desk, desk.book("carevalidate"))
    first.pk, first.form_key = None, uuid4()

    with pytest.raises(IntegrityError), transaction.atomic():
        first.save(force_insert=True)


def test_the_database_refuses_keeping_both_without_a_name(desk: Desk) -> None:
    booking = rebooked(desk, desk.book("carevalidate"))

    with pytest.raises(IntegrityError), transaction.atomic():
        Booking.objects.filter(pk=booking.pk).update(kept_both_at=timezone.now())


def test_without_permission_nothing_is_recorded(desk: Desk) -> None:
    visitor = User.objects.create_user("visitor")

    with pytest.raises(PermissionDenied):
        rebook(desk, desk.book("carevalidate"), by=visitor)
    assert not Booking.objects.exists()


def test_one_booking_at_the_provider_proves_one_request(desk: Desk) -> None:
    """Two requests for the same person and time, both answers lost, one of them carried out."""
    both = [ask("mijnklantportaal", desk, title=title) for title in ("Intake", "Second intake")]
    desk.fault("mijnklantportaal", "lose_answer", operation="schedule")
    desk.work_booking(both[0])
    desk.fault("mijnklantportaal", "reset", operation="schedule")
    desk.work_booking(both[1])

    states = {desk.work_booking(one).state for one in both}

    assert states == {State.CONFIRMED, State.UNKNOWN}


# --- free slots -------------------------------------------------------------------------------


def test_slots_of_a_provider_that_is_down_say_so_in_time(desk: Desk) -> None:
    row = desk.book("meetergo")
    desk.fault("meetergo", "reset", operation="availability")

    found = slots_to_move(row, first=desk.soon.date(), days=3)

    assert (found.slots, found.why) == ((), "connection")


def test_slots_that_lack_what_the_provider_needs_ask_for_it(desk: Desk) -> None:
    desk.book("meetergo")
    like = request_for("meetergo", desk, service="")

    found = slots_to_book(desk.connection("meetergo"), first=desk.soon.date(), days=3, like=like)

    assert found.why == "service_unknown"


def test_slots_keep_to_the_pace_of_the_provider(desk: Desk, settings: Any) -> None:
    """Somebody at a page is told at once; the worker's requests are not held up by it."""
    settings.PROVIDER_PACING = True
    row = desk.book("huskyvoice")

    found = [slots_to_move(row, first=desk.soon.date(), days=7).why for _ in range(3)]

    assert found[-1] == "own_limit"


def test_no_window_that_is_over_is_offered(desk: Desk) -> None:
    row = desk.book("huskyvoice")
    found = slots_to_move(row, first=desk.soon.date() + timedelta(days=1), days=1)
    last = max(one.starts_at for one in found.slots)

    with time_machine.travel(last + timedelta(minutes=1), tick=False):
        left = slots_to_move(row, first=desk.soon.date() + timedelta(days=1), days=1)
        assert all(start_in(one) > timezone.now() for one in left.slots)
    assert len(left.slots) < len(found.slots)


def test_a_provider_without_slots_offers_no_days(desk: Desk) -> None:
    assert days_at_once(desk.connection("carevalidate")) == ()
    assert days_at_once(desk.connection("mijnklantportaal")) == ()
