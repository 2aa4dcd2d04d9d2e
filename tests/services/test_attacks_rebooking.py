"""Attacks on booking, moving and rebooking that succeeded once."""

from __future__ import annotations

import html
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from appointments.domain import Status
from appointments.models import Appointment, Booking
from appointments.sandbox.people import PEOPLE
from appointments.services import book
from appointments.services.asked import request_of
from appointments.services.schedule import (
    BookingConflict,
    BookingConflictKind,
    ask_to_schedule,
    keep_both,
)
from tests.desk import SLUGS, Desk
from tests.services.test_change import asked, booked
from tests.services.test_rebook import rebook, rebooked
from tests.services.test_schedule import ask, request_for
from tests.views.conftest import ask_for

State = Booking.State


def page_of(desk: Desk, booking: Booking) -> str:
    web = Client()
    web.force_login(desk.staff)
    return html.unescape(web.get(booking.get_absolute_url()).content.decode())


def end_right_after_the_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody cancels it at the provider once it said yes, before we read it back."""
    settle = book._settle

    def settled(booking: Booking, *args: Any, **how: Any) -> None:
        settle(booking, *args, **how)
        world = desk.world(booking.connection.provider)
        row = world.state["appointments"][booking.external_id]
        row |= {"status": "cancelled", "deletedAt": "2026-01-01T00:00:00.000Z"}

    monkeypatch.setattr(book, "_settle", settled)


# --- what was read back does not stand --------------------------------------------------------


def test_a_new_one_that_was_cancelled_since_is_not_booked_now(desk: Desk) -> None:
    """Whoever cancels the old one too leaves the person with nothing."""
    old = desk.book("carevalidate")
    booking = desk.work_booking(rebooked(desk, old, at="mijnklantportaal"))
    assert "Both are booked now" in page_of(desk, booking)
    new = booking.appointment
    assert new is not None

    desk.cancel(new)

    page = page_of(desk, booking)
    assert "Both are booked now" not in page
    assert "Cancel the old one" not in page


@pytest.mark.parametrize("slug", ["mijnklantportaal", "meetergo"])
def test_what_is_cancelled_before_it_is_read_back_is_not_as_asked(
    slug: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmed or moved, and cancelled by somebody else a moment later."""
    booking = asked(desk, booked(desk, slug))
    end_right_after_the_answer(desk, monkeypatch)

    desk.work_booking(booking)

    assert (booking.state, booking.deviations) == (State.CONFIRMED, ["status"])
    assert "The provider said yes, but it is not booked" in page_of(desk, booking)


def test_a_new_one_that_is_cancelled_before_it_is_read_back_leaves_the_old_one_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = rebooked(desk, desk.book("carevalidate"))
    end_right_after_the_answer(desk, monkeypatch)

    desk.work_booking(booking)

    assert (booking.state, booking.deviations) == (State.CONFIRMED, ["status"])
    assert "Cancel the old one" not in page_of(desk, booking)


def test_a_new_one_that_is_listed_no_more_is_not_booked_now(desk: Desk) -> None:
    """Gone is not cancelled: it takes the place of nothing, and nobody books a third one."""
    old = desk.book("carevalidate")
    booking = desk.work_booking(rebooked(desk, old))
    assert booking.appointment is not None
    new = Appointment.objects.filter(pk=booking.appointment.pk)
    new.update(status=Status.GONE, missing_since=timezone.now())

    page = page_of(desk, booking)
    assert "Both are booked now" not in page
    assert "Cancel the old one" not in page
    assert rebook(desk, old) == BookingConflict(kind=BookingConflictKind.REBOOKED, booking=booking)


def test_what_was_undone_can_be_rebooked_again(desk: Desk) -> None:
    old = desk.book("carevalidate")
    booking = desk.work_booking(rebooked(desk, old, at="mijnklantportaal"))
    assert booking.appointment is not None
    desk.cancel(booking.appointment)

    assert "Rebook again" in page_of(desk, booking)
    assert isinstance(rebook(desk, old, at="mijnklantportaal"), Booking)


# --- one person of a group that is none any more ----------------------------------------------


def test_who_is_left_alone_is_not_rebooked_a_second_time(desk: Desk) -> None:
    """Rebooked as one of two; then the other leaves, and the page asks for no person any more."""
    old = desk.book("meetergo", people=2)
    staying = old.attendees.get(email=PEOPLE[16].email)
    first = desk.work_booking(rebooked(desk, old, attendee=staying))
    desk.work(desk.remove(old, PEOPLE[15]))
    old.refresh_from_db()
    assert old.attendees.get() == staying

    assert rebook(desk, old) == BookingConflict(kind=BookingConflictKind.REBOOKED, booking=first)


def test_who_is_joined_by_others_is_not_rebooked_a_second_time(desk: Desk) -> None:
    """Rebooked when alone on it, so without being named; then it becomes a group."""
    old = desk.book("meetergo")
    first = desk.work_booking(rebooked(desk, old))

    assert rebook(desk, old, attendee=old.attendees.get()) == BookingConflict(
        kind=BookingConflictKind.REBOOKED, booking=first
    )


# --- at the same moment -----------------------------------------------------------------------


def test_both_are_not_kept_while_the_old_one_is_being_cancelled(desk: Desk) -> None:
    """One presses "Cancel the old one", another "Keep both": only one of them can be told yes."""
    old = desk.book("carevalidate")
    booking = desk.work_booking(rebooked(desk, old))
    cancellation = desk.ask(old)

    keep_both(booking, by=desk.staff)
    desk.work(cancellation)

    old.refresh_from_db()
    assert (booking.kept_both_at is not None) == old.is_live


def test_one_booking_at_the_provider_proves_one_request_at_the_same_moment(
    transactional_db: None, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers read the same listing, and both find in it what they look for."""
    both = [ask("mijnklantportaal", desk, title=title) for title in ("Intake", "Second intake")]
    desk.fault("mijnklantportaal", "lose_answer", operation="schedule")
    desk.work_booking(both[0])
    desk.fault("mijnklantportaal", "reset", operation="schedule")
    desk.work_booking(both[1])
    assert {one.state for one in both} == {State.UNKNOWN}
    found, have_both = book._found, threading.Barrier(2, timeout=10)

    def found_at_once(*args: Any, **how: Any) -> None:
        have_both.wait()
        found(*args, **how)

    monkeypatch.setattr(book, "_found", found_at_once)

    def work(booking: Booking) -> None:
        try:
            desk.work_booking(booking)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {Booking.objects.get(pk=one.pk).state for one in both} == {
        State.CONFIRMED,
        State.UNKNOWN,
    }


def test_the_same_from_two_windows_is_booked_once(transactional_db: None, desk: Desk) -> None:
    """Each window made a form key of its own; two bookings would mail the person twice."""
    desk.book("mijnklantportaal")
    there, request = desk.connection("mijnklantportaal"), request_for("mijnklantportaal", desk)
    start = threading.Barrier(2)
    results: list[Booking | BookingConflict] = []

    def press() -> None:
        start.wait()
        try:
            results.append(ask_to_schedule(there, by=desk.staff, request=request, form_key=uuid4()))
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    booking = Booking.objects.get()
    conflict = BookingConflict(kind=BookingConflictKind.ASKED_BEFORE, booking=booking)
    assert len(results) == 2
    assert booking in results
    assert conflict in results


def test_the_same_is_not_asked_for_while_nobody_knows_of_the_first(
    client: Client, desk: Desk
) -> None:
    first = ask("mijnklantportaal", desk)
    desk.fault("mijnklantportaal", "reset", operation="schedule")
    desk.work_booking(first)
    assert first.state == State.UNKNOWN
    client.force_login(desk.staff)
    local = first.starts_at.astimezone(first.connection.zone)
    fields = {name: value for name, value in first.wish.items() if value} | {
        "connection": first.connection.pk,
        "form_key": str(uuid4()),
        "starts_at": f"{local:%Y-%m-%dT%H:%M}",
        "ends_at": f"{local + timedelta(minutes=30):%Y-%m-%dT%H:%M}",
    }

    answer = ask_for(client, fields)

    assert answer.status_code == 409
    assert f'href="{first.get_absolute_url()}"' in answer.content.decode()
    assert Booking.objects.get() == first
    assert ask_for(client, fields | {"title": "Another"}).status_code == 303


@pytest.mark.parametrize("slug", SLUGS)
def test_the_same_is_not_booked_again_by_a_slower_window(slug: str, desk: Desk) -> None:
    """The first may be confirmed within a second, before the other one presses."""
    first = desk.work_booking(ask(slug, desk))
    assert first.state == State.CONFIRMED
    request = request_of(first)

    again = ask_to_schedule(first.connection, by=desk.staff, request=request, form_key=uuid4())
    later = replace(request, name="Somebody Else")
    other = ask_to_schedule(first.connection, by=desk.staff, request=later, form_key=uuid4())

    conflict = BookingConflict(kind=BookingConflictKind.BOOKED_BEFORE, booking=first)
    assert again == conflict
    assert isinstance(other, Booking)
    assert len(desk.received(slug, "schedule")) == 1
    # What it booked is over: now it may be asked for anew.
    Appointment.objects.filter(booking_requests=first).update(status=Status.CANCELLED)
    anew = ask_to_schedule(first.connection, by=desk.staff, request=request, form_key=uuid4())
    assert isinstance(anew, Booking)


@pytest.mark.parametrize("is_done", [False, True], ids=["asked", "booked"])
def test_a_rebooking_does_not_book_what_was_asked_for_as_a_new_one(
    is_done: bool, desk: Desk
) -> None:
    """One of two colleagues uses Schedule, the other one Rebook, for the same person and time."""
    old = desk.book("carevalidate")
    first = ask("mijnklantportaal", desk)
    if is_done:
        desk.work_booking(first)

    found = rebook(desk, old, request=request_of(first))

    kinds = (BookingConflictKind.ASKED_BEFORE, BookingConflictKind.BOOKED_BEFORE)
    assert found == BookingConflict(kind=kinds[is_done], booking=first)
    assert Booking.objects.get() == first
