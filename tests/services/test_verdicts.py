"""A request that somebody settled as "nothing came of it", and that is shown as done after all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from appointments.domain import ScheduleRequest
from appointments.models import Booking
from appointments.services.schedule import (
    BookingVerdict,
    MoveWish,
    ask_to_schedule,
    keep_both,
    settle_by_hand,
)
from tests.desk import SLUGS, Desk
from tests.services.test_change import asked, free
from tests.services.test_rebook import rebooked
from tests.services.test_schedule import ask, request_for

State = Booking.State
TITLE = "Settled as not done, but shown as done"


def lost(desk: Desk, booking: Booking, operation: str = "schedule") -> Booking:
    """Carried out, and we never heard of it."""
    desk.fault(booking.connection.provider, "lose_answer", operation=operation)
    desk.work_booking(booking)
    assert booking.state == State.UNKNOWN
    return booking


def judged(desk: Desk, booking: Booking) -> Booking:
    """Settled by a person as not done, without another read."""
    long_ago = timezone.now() - timedelta(hours=1)
    Booking.objects.filter(pk=booking.pk).update(state=State.NEEDS_HUMAN, sent_at=long_ago)
    booking.refresh_from_db()
    settle_by_hand(booking, by=desk.staff, verdict=BookingVerdict.NOT_DONE, reason="I rang")
    Booking.objects.filter(pk=booking.pk).update(due_at=None)
    booking.refresh_from_db()
    assert (booking.state, booking.why) == (State.SETTLED, "judged_not_done")
    return booking


def after_reading(desk: Desk, booking: Booking) -> Booking:
    desk.read(booking.connection.provider)
    return Booking.objects.select_related("appointment").get(pk=booking.pk)


def events(booking: Booking) -> list[str]:
    return list(booking.events.values_list("event", flat=True))


def by_number(desk: Desk) -> Booking:
    """Asked for by the number of a customer, without a name or an address."""
    person = desk.book("mijnklantportaal").attendees.get()
    start = desk.soon + timedelta(days=1)
    end = start + timedelta(minutes=30)
    made = ask_to_schedule(
        desk.connection("mijnklantportaal"),
        by=desk.staff,
        request=ScheduleRequest(
            starts_at=start, ends_at=end, title="Intake", customer_id=person.external_id
        ),
        form_key=uuid4(),
    )
    assert isinstance(made, Booking)
    return made


def test_who_was_booked_by_number_is_found_after_a_lost_answer(desk: Desk) -> None:
    booking = lost(desk, by_number(desk))
    Booking.objects.filter(pk=booking.pk).update(sent_at=timezone.now() - timedelta(hours=1))
    booking.refresh_from_db()

    assert desk.work_booking(booking).state == State.CONFIRMED


def test_who_was_booked_by_number_after_all_is_an_alarm(desk: Desk) -> None:
    booking = judged(desk, lost(desk, by_number(desk)))

    assert after_reading(desk, booking).is_contradicted


@pytest.mark.parametrize("slug", SLUGS)
def test_a_new_one_that_is_listed_after_all_is_an_alarm(
    slug: str, desk: Desk, client: Client
) -> None:
    booking = judged(desk, lost(desk, ask(slug, desk)))
    assert list(Booking.objects.for_people()) == []

    booking = after_reading(desk, booking)
    desk.read(slug)

    assert booking.is_contradicted
    assert list(Booking.objects.for_people()) == [booking]
    assert events(booking).count("contradicted") == 1
    assert booking.appointment is not None
    client.force_login(desk.staff)
    for path in (booking.get_absolute_url(), "/unsettled/", "/activity/?kind=bookings"):
        assert TITLE in client.get(path).content.decode()


def test_a_move_that_is_shown_after_all_is_an_alarm(desk: Desk, client: Client) -> None:
    row = desk.book("meetergo")
    booking = judged(desk, lost(desk, asked(desk, row, to=free(desk, row)), "reschedule"))

    booking = after_reading(desk, booking)

    assert booking.is_contradicted
    assert list(Booking.objects.for_people()) == [booking]
    client.force_login(desk.staff)
    page = client.get(booking.get_absolute_url()).content.decode()
    assert TITLE in page
    assert 'data-tone="alarm"' in page


def test_what_nothing_came_of_stays_quiet(desk: Desk) -> None:
    booking = ask("mijnklantportaal", desk)
    desk.fault("mijnklantportaal", "reset", operation="schedule")
    desk.work_booking(booking)
    row = desk.book("meetergo")
    move = asked(desk, row, to=free(desk, row))
    desk.fault("meetergo", "reset", operation="reschedule")
    desk.work_booking(move)
    found = [after_reading(desk, judged(desk, one)) for one in (booking, move)]

    assert [one.is_contradicted for one in found] == [False, False]
    assert list(Booking.objects.for_people()) == []


@pytest.mark.parametrize("slug", SLUGS)
def test_one_that_was_asked_for_anew_raises_no_alarm(slug: str, desk: Desk) -> None:
    """The second request is what is listed, whether the provider gave it an id or not."""
    first = ask(slug, desk)
    desk.fault(slug, "reset", operation="schedule")
    desk.work_booking(first)
    judged(desk, first)
    second = ask_to_schedule(
        first.connection, by=desk.staff, request=request_for(slug, desk), form_key=uuid4()
    )
    assert isinstance(second, Booking)
    desk.work_booking(second)
    assert second.state == State.CONFIRMED

    assert not after_reading(desk, first).is_contradicted
    assert list(Booking.objects.for_people()) == []


@pytest.mark.parametrize("slug", SLUGS)
def test_a_request_for_somebody_else_at_that_time_silences_nothing(slug: str, desk: Desk) -> None:
    """Of whose booking nobody knows the id: it is another person all the same."""
    first = judged(desk, lost(desk, ask(slug, desk)))
    somebody = {"name": "Jan Smit", "email": "jan@example.org", "phone": "+919840000888"}
    lacking = {name: "" for name in somebody if not first.wish[name]}
    other = request_for(slug, desk, **(somebody | lacking))
    second = ask_to_schedule(first.connection, by=desk.staff, request=other, form_key=uuid4())
    assert isinstance(second, Booking)
    assert second.starts_at == first.starts_at
    Booking.objects.filter(pk=second.pk).update(state=State.SETTLED, why="judged_done", due_at=None)

    assert after_reading(desk, first).is_contradicted


def test_a_move_that_was_asked_for_anew_raises_no_alarm(desk: Desk) -> None:
    row = desk.book("meetergo")
    to: MoveWish = free(desk, row)
    first = asked(desk, row, to=to)
    desk.fault("meetergo", "reset", operation="reschedule")
    desk.work_booking(first)
    judged(desk, first)
    row.refresh_from_db()
    desk.work_booking(asked(desk, row, to=to))

    assert not after_reading(desk, first).is_contradicted


def test_the_alarm_ends_when_it_is_cancelled(desk: Desk) -> None:
    booking = after_reading(desk, judged(desk, lost(desk, ask("mijnklantportaal", desk))))
    book: Any = desk.world("mijnklantportaal").state["appointments"]
    book[booking.external_id]["status"] = "canceled"

    booking = after_reading(desk, booking)

    assert not booking.is_contradicted
    assert list(Booking.objects.for_people()) == []


@pytest.mark.parametrize("kind", ["new", "move"])
def test_somebody_who_looked_ends_the_alarm(kind: str, desk: Desk, client: Client) -> None:
    """It may be right as it is: booked by hand at the provider, after nothing came of ours."""
    if kind == "new":
        booking = judged(desk, lost(desk, ask("mijnklantportaal", desk)))
    else:
        row = desk.book("meetergo")
        booking = judged(desk, lost(desk, asked(desk, row, to=free(desk, row)), "reschedule"))
    booking = after_reading(desk, booking)
    client.force_login(desk.staff)
    for path in (booking.get_absolute_url(), "/unsettled/"):
        assert "Leave it as it is shown" in client.get(path).content.decode()

    client.post(f"{booking.get_absolute_url()}keep-both/")

    booking = after_reading(desk, booking)
    assert list(Booking.objects.for_people()) == []
    assert booking.kept_both_by == desk.staff
    assert events(booking)[-1] == "accepted"
    page = client.get(booking.get_absolute_url()).content.decode()
    assert "Leave it as it is shown" not in page
    assert 'data-tone="neutral"' in page
    assert len(desk.received(booking.connection.provider, "schedule")) == (kind == "new")


@pytest.mark.parametrize("slug", SLUGS)
def test_a_rebooking_is_settled_once_what_came_of_it_is_cancelled(slug: str, desk: Desk) -> None:
    """Also at CareValidate, which does not list what is cancelled: the old one just stands."""
    desk.book(slug)
    old = desk.book("carevalidate" if slug == "meetergo" else "meetergo")
    booking = after_reading(desk, judged(desk, lost(desk, rebooked(desk, old, at=slug))))
    assert booking.appointment is not None
    assert list(Booking.objects.for_people()) == [booking]

    desk.cancel(booking.appointment)
    desk.read(slug)

    assert list(Booking.objects.for_people()) == []


def test_a_rebooking_that_is_shown_after_all_is_half_done_again(desk: Desk, client: Client) -> None:
    """Both are booked, so nothing is booked a third time, and somebody decides."""
    old = desk.book("meetergo")
    booking = judged(desk, lost(desk, rebooked(desk, old)))

    booking = after_reading(desk, booking)

    client.force_login(desk.staff)
    page = client.get(booking.get_absolute_url()).content.decode()
    assert "The new appointment is shown after all." in page
    assert "Rebook again" not in page
    assert "Keep both" in page
    keep_both(booking, by=desk.staff)
    assert list(Booking.objects.for_people()) == []
