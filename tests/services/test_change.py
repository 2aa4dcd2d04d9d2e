"""Moving and confirming: looked at first, sent once, read back, and settled by reading."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from appointments.domain import CapabilityMissing, Scope, Status
from appointments.models import (
    Appointment,
    Booking,
    BookingEvent,
    Cancellation,
    RequestBudget,
)
from appointments.models.bookings import BOOKING_TRANSITIONS, OPEN_BOOKINGS, BookingState
from appointments.models.bookings import BookingEventKind as Event
from appointments.models.cancellations import IllegalTransition
from appointments.models.secrets import CannotDecrypt
from appointments.sandbox.people import PEOPLE
from appointments.services import book
from appointments.services.cancel import Conflict, ConflictKind
from appointments.services.facts import booking_of
from appointments.services.records import store
from appointments.services.schedule import (
    BookingConflict,
    BookingConflictKind,
    BookingVerdict,
    MoveWish,
    ask_to_confirm,
    ask_to_move,
    settle_by_hand,
    take_back,
)
from appointments.services.slots import slots_to_move
from tests.desk import Desk

MOVING = ("meetergo", "huskyvoice")
CHANGING = (
    ("meetergo", "reschedule"),
    ("huskyvoice", "reschedule"),
    ("mijnklantportaal", "confirm"),
)
State = Booking.State

every_mover = pytest.mark.parametrize("slug", MOVING)
every_change = pytest.mark.parametrize(("slug", "operation"), CHANGING)


def booked(desk: Desk, slug: str) -> Appointment:
    """A booking that can be changed at *slug*."""
    return desk.book(slug, **({"status": "pending"} if slug == "mijnklantportaal" else {}))


def free(desk: Desk, row: Appointment) -> MoveWish:
    """The last slot that the provider offers for *row* in the days after it."""
    start = (row.starts_at or row.starts_at_the_earliest).date()
    found = slots_to_move(row, first=start, days=3)
    assert not found.why
    now = (row.day, row.session, row.batch)
    zone = row.connection.zone
    slot = next(
        one
        for one in reversed(found.slots)
        if (one.starts_at.astimezone(zone).date(), one.session, one.batch) != now
    )
    return MoveWish(starts_at=slot.starts_at, session=slot.session, batch=slot.batch)


def ask(
    desk: Desk, row: Appointment, *, to: MoveWish | None = None, **how: Any
) -> Booking | BookingConflict:
    """Ask to move *row*, or to confirm it where it is pending."""
    wanted: dict[str, Any] = {"by": desk.staff, "form_key": uuid4(), "version": row.version} | how
    if row.status == Status.PENDING:
        return ask_to_confirm(row, **wanted)
    return ask_to_move(row, to=to or free(desk, row), **wanted)


def asked(desk: Desk, row: Appointment, **how: Any) -> Booking:
    booking = ask(desk, row, **how)
    assert isinstance(booking, Booking), booking
    return booking


def changes(booking: Booking) -> list[str]:
    return list(booking.events.values_list("event", flat=True))


def now_at(desk: Desk, row: Appointment) -> Any:
    """What the provider's own book says of *row*."""
    book = desk.world(row.connection.provider).state["appointments"][row.external_id]
    names = ("start", "date", "session", "batch", "status")
    return {name: book[name] for name in names if name in book}


# --- all is well ------------------------------------------------------------------------------


@every_change
def test_a_change_is_sent_once_read_back_and_shown(slug: str, operation: str, desk: Desk) -> None:
    row = booked(desk, slug)

    booking = desk.work_booking(asked(desk, row))

    assert (booking.state, booking.deviations) == (State.CONFIRMED, []), (booking.why, booking.said)
    assert booking.shown
    assert len(desk.received(slug, operation)) == 1
    assert changes(booking) == [
        Event.ASKED,
        Event.CLAIMED,
        Event.PROVIDER_CONFIRMED,
        Event.READ_BACK,
    ]
    row.refresh_from_db()
    assert row.status == Status.BOOKED
    assert row.version != booking.facts.version
    if operation == "reschedule":
        assert row.starts_at in (None, booking.starts_at)
        assert row.changed_here_at is not None


def test_a_move_of_a_group_moves_everybody(desk: Desk) -> None:
    row = desk.book("meetergo", people=3)

    booking = desk.work_booking(asked(desk, row))

    assert (booking.state, booking.deviations) == (State.CONFIRMED, [])
    assert row.attendees.count() == 3
    assert {mail["to"] for mail in desk.mails("meetergo")} == {one.email for one in PEOPLE[15:18]}


def test_a_listing_that_began_before_the_move_does_not_put_it_back(desk: Desk) -> None:
    row = desk.book("meetergo")
    before = booking_of(row)
    began = timezone.now()

    booking = desk.work_booking(asked(desk, row))
    store(row.connection, [before], read_at=began)

    row.refresh_from_db()
    assert row.starts_at == booking.starts_at


# --- lost answers -----------------------------------------------------------------------------


@every_change
def test_a_lost_answer_after_it_was_done_is_settled_by_reading(
    slug: str, operation: str, desk: Desk
) -> None:
    row = booked(desk, slug)
    booking = asked(desk, row)
    desk.fault(slug, "lose_answer", operation=operation)

    desk.work_booking(booking)
    assert booking.state == State.UNKNOWN
    desk.work_booking(booking)

    assert (booking.state, booking.why, booking.deviations) == (State.CONFIRMED, "found", [])
    assert len(desk.received(slug, operation)) == 1


@every_change
def test_a_lost_answer_before_it_was_done_ends_with_a_person(
    slug: str, operation: str, desk: Desk
) -> None:
    """Nothing is sent again; after the quiet period somebody finds out and says so."""
    row = booked(desk, slug)
    booking, before = asked(desk, row), now_at(desk, row)
    desk.fault(slug, "reset", operation=operation)
    desk.work_booking(booking)
    desk.work_booking(booking)
    assert booking.state == State.UNKNOWN

    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work_booking(booking)
        assert (booking.state, booking.why) == (State.NEEDS_HUMAN, "still_as_before")
        settle_by_hand(booking, by=desk.staff, verdict=BookingVerdict.NOT_DONE, reason="I looked")

    assert (booking.state, booking.settled_by) == (State.SETTLED, desk.staff)
    assert now_at(desk, row) == before
    assert len(desk.received(slug, operation)) == 1


@every_change
def test_an_unknown_change_is_read_after_five_seconds_and_later_ever_more_seldom(
    slug: str, operation: str, desk: Desk
) -> None:
    booking = asked(desk, booked(desk, slug))
    desk.fault(slug, "reset", operation=operation)
    desk.work_booking(booking)
    assert booking.sent_at is not None
    assert booking.due_at is not None
    pauses = [booking.due_at - booking.sent_at]
    for _ in range(4):
        with time_machine.travel(booking.due_at + timedelta(milliseconds=1), tick=False):
            desk.work_booking(booking)
            pauses.append(booking.due_at - booking.sent_at)

    wanted = [timedelta(seconds=5), timedelta(seconds=30)]
    wanted += [timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=15)]
    assert all(
        abs(got - want) < timedelta(seconds=2) for got, want in zip(pauses, wanted, strict=True)
    )


def test_a_booking_that_went_elsewhere_is_for_a_person_at_once(desk: Desk) -> None:
    row = desk.book("meetergo")
    booking = asked(desk, row)
    desk.fault("meetergo", "reset", operation="reschedule")
    desk.work_booking(booking)
    world = desk.world("meetergo").state["appointments"][row.external_id]
    third = booking.starts_at + timedelta(days=9)
    world["start"] = f"{third:%Y-%m-%dT%H:%M:%S.000Z}"

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.NEEDS_HUMAN, "elsewhere")
    row.refresh_from_db()
    assert row.starts_at == third


# --- refused, down, changed -------------------------------------------------------------------


@every_mover
def test_a_slot_that_was_taken_meanwhile_is_refused_and_nothing_moves(
    slug: str, desk: Desk
) -> None:
    row = desk.book(slug)
    booking, before = asked(desk, row), now_at(desk, row)
    body = {
        "message": "Slot is no longer available",
        "error": {"code": "SLOT_FULL", "message": "x"},
    }
    desk.fault(slug, "status", operation="reschedule", status=409, body=body)

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.REFUSED, "slot_taken")
    assert now_at(desk, row) == before


def test_two_who_choose_the_same_slot_get_it_once(desk: Desk) -> None:
    """By the provider's own book, not only by its word."""
    first, second = desk.book("meetergo"), desk.book("meetergo", who=PEOPLE[3:4])
    to = free(desk, first)
    bookings = [asked(desk, row, to=to) for row in (first, second)]

    states = [desk.work_booking(one).state for one in bookings]

    assert states == [State.CONFIRMED, State.REFUSED]
    assert bookings[1].said == "Slot is no longer available"
    second.refresh_from_db()
    assert second.starts_at == desk.soon


def test_it_keeps_to_the_pace_of_the_provider(desk: Desk, settings: Any) -> None:
    """What the provider closed for others is closed for a move, too; nothing is lost by it."""
    settings.PROVIDER_PACING = True
    booking = asked(desk, desk.book("meetergo"))
    closed_until = timezone.now() + timedelta(seconds=50)
    RequestBudget.objects.filter(connection=booking.connection).update(closed_until=closed_until)

    desk.work_booking(booking)

    assert booking.state == State.REQUESTED
    assert booking.due_at is not None
    assert booking.due_at > timezone.now() + timedelta(seconds=40)
    assert desk.received("meetergo", "reschedule") == []


def test_a_key_that_nobody_can_read_leaves_nothing_that_is_looked_at_for_ever(
    desk: Desk, settings: Any
) -> None:
    booking = desk.work_booking(asked(desk, desk.book("meetergo")))
    Booking.objects.filter(pk=booking.pk).update(due_at=timezone.now(), shown=[])
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    for minutes in (1, 17):
        with (
            time_machine.travel(timezone.now() + timedelta(minutes=minutes), tick=True),
            pytest.raises(CannotDecrypt),
        ):
            desk.work_booking(booking)
    booking.refresh_from_db()

    assert booking.due_at is None


def test_a_refusal_is_looked_into_since_it_may_be_so_already(desk: Desk) -> None:
    """A relay repeats our request: the first was carried out, we hear the second's refusal."""
    row = booked(desk, "mijnklantportaal")
    booking = asked(desk, row)
    desk.fault(
        "mijnklantportaal", "replace", operation="confirm", status=409, body={"message": "no"}
    )

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.CONFIRMED, "found")


@every_change
def test_what_changed_at_the_provider_is_not_touched(slug: str, operation: str, desk: Desk) -> None:
    row = booked(desk, slug)
    booking = asked(desk, row)
    world = desk.world(slug).state["appointments"][row.external_id]
    match slug:
        case "meetergo":
            world["isCancelled"] = True
        case "huskyvoice":
            world["status"] = "cancelled"
        case _:
            world["status"] = "canceled"

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.WITHDRAWN, "changed_status")
    assert desk.received(slug, operation) == []


@every_change
def test_a_provider_that_is_down_keeps_it_waiting_and_then_ends_it_unsent(
    slug: str, operation: str, desk: Desk
) -> None:
    booking = asked(desk, booked(desk, slug))
    desk.fault(slug, "reset", operation="read", times=None)

    desk.work_booking(booking)
    assert (booking.state, booking.why) == (State.REQUESTED, "unreadable")
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.NOT_SENT, "unreadable")
    assert desk.received(slug, operation) == []


@every_change
def test_what_cannot_be_read_back_is_compared_with_what_the_answer_shows(
    slug: str, operation: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = asked(desk, booked(desk, slug))
    claim = book._claim

    def then_it_fails(*args: Any, **how: Any) -> datetime:
        desk.fault(slug, "reset", operation="read", times=None)
        return claim(*args, **how)

    monkeypatch.setattr(book, "_claim", then_it_fails)
    desk.work_booking(booking)

    assert booking.state == State.CONFIRMED
    assert booking.shown


def test_whoever_may_not_schedule_any_more_moves_nothing(desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))
    desk.staff.groups.clear()

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.NOT_SENT, "not_permitted")
    assert desk.received("meetergo", "reschedule") == []


# --- a worker that is lost --------------------------------------------------------------------


class Killed(BaseException):
    """As if the process ended here."""


@every_change
@pytest.mark.parametrize("was_done", [True, False])
def test_a_worker_killed_between_claim_and_answer_leaves_a_read_and_no_repeat(
    slug: str, operation: str, was_done: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = asked(desk, booked(desk, slug))
    send = book._send

    def killed(*args: Any, **how: Any) -> Any:
        if was_done:
            send(*args, **how)
        raise Killed

    monkeypatch.setattr(book, "_send", killed)
    with pytest.raises(Killed):
        desk.work_booking(booking)
    monkeypatch.undo()
    booking.refresh_from_db()
    assert booking.state == State.SENDING

    with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=True):
        desk.work_booking(booking)
        assert (booking.state, booking.why) == (State.UNKNOWN, "worker_lost")
        desk.work_booking(booking)

    assert booking.state == (State.CONFIRMED if was_done else State.UNKNOWN)
    assert len(desk.received(slug, operation)) == int(was_done)


def test_an_answer_after_the_lease_ran_out_stays_in_the_history(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = asked(desk, desk.book("meetergo"))
    settle = book._settle

    def late(held: Booking, *args: Any, **how: Any) -> None:
        other = Booking.objects.get(pk=held.pk)
        other.apply(Event.LEASE_EXPIRED, due_at=timezone.now(), why="worker_lost")
        settle(held, *args, **how)

    monkeypatch.setattr(book, "_settle", late)
    desk.work_booking(booking)
    monkeypatch.undo()

    assert booking.state == State.UNKNOWN
    assert Event.ANSWERED_LATE in changes(booking)
    assert desk.work_booking(booking).state == State.CONFIRMED


# --- two people, two clicks -------------------------------------------------------------------


@every_change
def test_the_same_form_twice_is_one_intent(slug: str, operation: str, desk: Desk) -> None:
    row, key = booked(desk, slug), uuid4()
    to = free(desk, row) if operation == "reschedule" else None

    assert ask(desk, row, to=to, form_key=key) == ask(desk, row, to=to, form_key=key)
    assert Booking.objects.count() == 1


@every_change
def test_two_people_at_once_are_one_change(
    slug: str, operation: str, desk: Desk, colleague: User
) -> None:
    row = booked(desk, slug)
    first = asked(desk, row)

    second = ask(desk, row, by=colleague)

    assert second == BookingConflict(kind=BookingConflictKind.CHANGE_OPEN, booking=first)


@every_change
def test_a_page_that_is_out_of_date_changes_nothing(slug: str, operation: str, desk: Desk) -> None:
    row = booked(desk, slug)

    result = ask(desk, row, version="older")

    assert result == BookingConflict(kind=BookingConflictKind.STALE)
    assert not Booking.objects.exists()


@every_change
def test_an_open_cancellation_keeps_a_change_away(slug: str, operation: str, desk: Desk) -> None:
    row = booked(desk, slug)
    cancellation = desk.ask(row)

    result = ask(desk, row)

    assert result == BookingConflict(
        kind=BookingConflictKind.CANCELLATION_OPEN, cancellation=cancellation
    )


@every_change
def test_an_open_change_keeps_a_cancellation_away_until_it_is_known(
    slug: str, operation: str, desk: Desk
) -> None:
    row = booked(desk, slug)
    booking = asked(desk, row)
    desk.fault(slug, "lose_answer", operation=operation)
    desk.work_booking(booking)

    assert desk.try_to_ask(row) == Conflict(kind=ConflictKind.CHANGE_OPEN, booking=booking)
    desk.work_booking(booking)

    row.refresh_from_db()
    assert isinstance(desk.try_to_ask(row), Cancellation)


def test_this_and_later_ones_wait_for_the_move_of_one_of_them(desk: Desk) -> None:
    for number in range(2):
        start = desk.soon + timedelta(days=7 * number)
        desk.add("meetergo", who=PEOPLE[15:16], start=start, series="physio")
    desk.read("meetergo")
    first, second = Appointment.objects.in_order()
    booking = asked(desk, second)

    assert desk.try_to_ask(first, scope=Scope.FOLLOWING) == Conflict(
        kind=ConflictKind.CHANGE_OPEN, booking=booking
    )


def test_what_was_taken_back_is_not_sent(desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))

    take_back(booking, by=desk.staff)
    desk.work_booking(booking)

    assert (booking.state, booking.why) == (State.WITHDRAWN, "taken_back")
    assert desk.received("meetergo", "reschedule") == []


# --- what is not possible ---------------------------------------------------------------------


def test_what_a_provider_cannot_do_is_a_bug_of_ours(desk: Desk) -> None:
    how: dict[str, Any] = {"by": desk.staff, "form_key": uuid4(), "version": ""}
    with pytest.raises(CapabilityMissing):
        ask_to_confirm(desk.book("meetergo"), **how)
    with pytest.raises(CapabilityMissing):
        ask_to_move(desk.book("mijnklantportaal"), to=MoveWish(starts_at=desk.soon), **how)


def test_only_what_is_pending_can_be_confirmed(desk: Desk) -> None:
    row = desk.book("mijnklantportaal")

    result = ask_to_confirm(row, by=desk.staff, form_key=uuid4(), version=row.version)

    assert result == BookingConflict(kind=BookingConflictKind.NOT_PENDING)


@every_mover
def test_what_has_begun_is_not_moved(slug: str, desk: Desk) -> None:
    row = desk.book(slug)
    to = free(desk, row)

    with time_machine.travel(row.starts_at_the_earliest + timedelta(days=1), tick=True):
        assert ask(desk, row, to=to) == BookingConflict(kind=BookingConflictKind.PAST)


@every_change
def test_without_permission_nothing_is_recorded(slug: str, operation: str, desk: Desk) -> None:
    row, visitor = booked(desk, slug), User.objects.create_user("visitor")
    to = free(desk, row) if operation == "reschedule" else None

    with pytest.raises(PermissionDenied):
        ask(desk, row, to=to, by=visitor)
    assert not Booking.objects.exists()


# --- what was read back -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "deviation"),
    [
        ("end", lambda end: end + timedelta(minutes=45), "length"),
        ("start", lambda start: start + timedelta(hours=1), "time"),
    ],
)
def test_a_deviation_is_noted_and_nothing_is_moved_back(
    field: str,
    value: Callable[[datetime], datetime],
    deviation: str,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = desk.book("meetergo")
    booking = asked(desk, row)
    settle = book._settle

    def changed_right_after(*args: Any, **how: Any) -> None:
        settle(*args, **how)
        world = desk.world("meetergo").state["appointments"][row.external_id]
        for name in {field, "end"}:
            was = datetime.fromisoformat(world[name])
            world[name] = f"{value(was):%Y-%m-%dT%H:%M:%S.000Z}"

    monkeypatch.setattr(book, "_settle", changed_right_after)
    desk.work_booking(booking)

    assert booking.state == State.CONFIRMED
    assert deviation in booking.deviations
    assert len(desk.received("meetergo", "reschedule")) == 1


# --- what the database holds ------------------------------------------------------------------


def test_nothing_is_claimed_twice(desk: Desk) -> None:
    booking = desk.work_booking(asked(desk, desk.book("meetergo")))

    with pytest.raises(IntegrityError), transaction.atomic():
        booking.note(Event.CLAIMED)


def test_two_open_changes_of_one_booking_are_refused(desk: Desk) -> None:
    first = asked(desk, desk.book("meetergo"))
    first.pk, first.form_key = None, uuid4()

    with pytest.raises(IntegrityError), transaction.atomic():
        first.save(force_insert=True)


def test_an_open_request_without_a_due_time_is_refused(desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))

    with pytest.raises(IntegrityError), transaction.atomic():
        Booking.objects.filter(pk=booking.pk).update(due_at=None)


def test_a_change_without_its_appointment_is_refused(desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))

    with pytest.raises(IntegrityError), transaction.atomic():
        Booking.objects.filter(pk=booking.pk).update(appointment=None)


@pytest.mark.parametrize("state", sorted(set(BookingState) - OPEN_BOOKINGS))
def test_ends_have_no_way_out(state: BookingState) -> None:
    assert not [event for start, event in BOOKING_TRANSITIONS if start == state]


def test_no_way_leads_back_to_before_the_sending() -> None:
    before_sending = {State.REQUESTED}
    assert not [step for step, to in BOOKING_TRANSITIONS.items() if to in before_sending]


def test_a_row_that_has_moved_on_is_not_moved_again(desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))
    stale = Booking.objects.get(pk=booking.pk)
    booking.apply(Event.TAKEN_BACK, why="taken_back")

    with pytest.raises(IllegalTransition):
        stale.apply(Event.CLAIMED, due_at=timezone.now())
    assert BookingEvent.objects.count() == 2


def test_two_workers_at_once_send_once(transactional_db: None, desk: Desk) -> None:
    booking = asked(desk, desk.book("meetergo"))
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        book.process(booking.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert len(desk.received("meetergo", "reschedule")) == 1


@every_change
def test_of_a_change_and_a_cancellation_at_once_one_is_recorded(
    slug: str, operation: str, transactional_db: None, desk: Desk, colleague: User
) -> None:
    """Both wait for the same row; whoever comes second reads that the other was faster."""
    row = booked(desk, slug)
    to = free(desk, row) if operation == "reschedule" else None
    start = threading.Barrier(2)
    results: list[Any] = []

    def at_once(act: Callable[[], Any]) -> None:
        start.wait()
        try:
            results.append(act())
        finally:
            connection.close()

    acts: list[Callable[[], Any]] = [
        lambda: ask(desk, row, to=to),
        lambda: desk.try_to_ask(row, by=colleague),
    ]
    threads = [threading.Thread(target=at_once, args=(act,)) for act in acts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    recorded = [one for one in results if isinstance(one, Booking | Cancellation)]
    assert len(results) == 2
    assert len(recorded) == 1
    assert Booking.objects.count() + Cancellation.objects.count() == 1
