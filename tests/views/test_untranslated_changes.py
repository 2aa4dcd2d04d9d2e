"""What is done with the list, and every way to change a booking, in the language of brackets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from appointments.booking_wording import booking_conflict
from appointments.domain import Refusal, Status
from appointments.models import (
    Appointment,
    Booking,
    BookingEvent,
    Connection,
    ConnectionHealth,
    SavedFilter,
    WorkerPulse,
)
from appointments.models.bookings import BookingEventKind, BookingState
from appointments.models.feeds import MOST_FEEDS
from appointments.models.filters import MOST_FILTERS
from appointments.services.schedule import (
    BookingConflict,
    BookingConflictKind,
    MoveWish,
    ask_to_confirm,
    ask_to_move,
)
from tests.desk import Desk
from tests.views.brackets import outside, speak_in_brackets, untranslated
from tests.views.conftest import Book, ask_for, filled, make_connection
from tests.views.test_changes import ask_slots, hidden, path_of, put, slots_in
from tests.views.test_feeds import ADDRESS, address_of, events
from tests.views.test_untranslated import ask, fill, read

WHYS: Mapping[BookingState, tuple[str, ...]] = {
    BookingState.REQUESTED: ("unreadable",),
    BookingState.REFUSED: tuple(Refusal),
    BookingState.NOT_SENT: ("unreadable", "lifetime_over"),
    BookingState.WITHDRAWN: (
        "already_so",
        "changed_attendees",
        "changed_status",
        "changed_time",
        "gone",
        "not_permitted",
        "taken_back",
    ),
    BookingState.UNKNOWN: ("worker_lost",),
    BookingState.NEEDS_HUMAN: (
        "elsewhere",
        "ended",
        "gone",
        "not_listed",
        "still_as_before",
        "unreadable",
    ),
    BookingState.SETTLED: ("judged_done", "judged_not_done", "done_after_all"),
}


@pytest.fixture(autouse=True)
def _in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    speak_in_brackets(monkeypatch)


# --- under names of one's own, on paper, in files and in calendars


def header(answer: Any) -> str:
    """The first line of a CSV file."""
    text: str = answer.getvalue().decode("utf-8-sig")
    return text.splitlines()[0]


def test_saved_views(web: Client, meetergo: Connection, staff: User) -> None:
    read(web.get("/views/"))
    every = {"q": "Ana", "with": "Behrens", "status": "booked", "provider": "meetergo"}
    ranges = ({"range": "week"}, {"from": "2031-01-02"}, {"to": "2031-01-09"})
    for number, days in enumerate(ranges):
        view = SavedFilter.objects.create(user=staff, name=f"V{number}", query=every | days)
        read(web.get("/?range=upcoming", view.query))
    gone = {"connection": "0", "status": "nonsense"}
    SavedFilter.objects.create(user=staff, name="Start", query=gone, is_start=True)
    read(web.get("/?range=upcoming"))
    read(web.get("/views/"))
    for name in ("", "v0", "1" * 61):
        read(web.post("/views/", {"name": name, "q": "Ana"}), 422)
    read(web.post(f"/views/{view.pk}/rename/", {"name": "V0"}), 422)
    SavedFilter.objects.bulk_create(
        SavedFilter(user=staff, name=f"W{number}") for number in range(MOST_FILTERS)
    )
    read(web.post("/views/", {"name": "One more"}), 422)


def test_the_day_on_paper_and_lists_as_files(web: Client, meetergo: Connection) -> None:
    read(web.get("/print/"))
    fill(meetergo)
    for query in ("", "?range=week&status=booked&q=Ana&with=Behrens", "?from=2031-01-02"):
        read(web.get(f"/print/{query}"))
    ConnectionHealth.objects.create(
        connection=meetergo, failure="deadline", failing_since=timezone.now()
    )
    read(web.get("/print/"))
    assert outside(header(web.get("/appointments.csv"))) == []
    assert outside(header(web.get("/activity.csv"))) == []


def test_calendar_feeds(web: Client, meetergo: Connection, staff: User) -> None:
    read(web.get("/feeds/"))
    view = SavedFilter.objects.create(user=staff, name="Mine", query={"status": "booked"})
    read(web.post("/feeds/", {"source": view.pk, "with_phones": "on"}), 201)
    made = ADDRESS.search(read(web.post("/feeds/", {}), 201))
    assert made is not None
    read(web.post("/feeds/", {"source": "0"}), 422)
    fill(meetergo)
    for address in (made[1], address_of(staff, with_phones=True)):
        for event in events(web.get(address)):
            assert untranslated(escape(f"{event['SUMMARY']}\n{event['DESCRIPTION']}")) == []
    read(web.get("/feeds/"))
    for _ in range(MOST_FEEDS):
        address_of(staff)
    read(web.post("/feeds/", {}), 422)
    assert outside(web.get(f"/feeds/{'x' * 43}.ics").content.decode()) == []


@pytest.mark.parametrize("read_ago", [None, timedelta(minutes=3), timedelta(days=2)])
def test_a_failing_connection_can_be_read_at_once(
    read_ago: timedelta | None, web: Client, meetergo: Connection
) -> None:
    now = timezone.now()
    ConnectionHealth.objects.create(
        connection=meetergo,
        failure="deadline",
        failing_since=now - timedelta(minutes=9),
        next_sync_at=now + timedelta(minutes=9),
        read_at=now - read_ago if read_ago else None,
    )
    assert f"/connections/{meetergo.pk}/read/" in read(web.get("/?range=upcoming"))
    read(web.post(f"/connections/{meetergo.pk}/read/", follow=True))


# --- moving, confirming, free slots


def test_moving_from_the_choice_to_the_outcome(web: Client, desk: Desk) -> None:
    for people in (1, 3):
        row = desk.book("meetergo", people=people)
        page = path_of(row, "move")
        read(web.get(page))
        free = ask_slots(web, page, first=desk.soon.date())
        read(free)
        fields = {name: hidden(free, name) for name in ("form_key", "version")}
        review = web.post(page, fields | {"pick": slots_in(free)[-1]})
        read(review)
        fields |= {name: hidden(review, name) for name in ("starts_at", "session", "batch")}
        read(web.post(page, fields | {"do": "move", "version": "old"}), 409)
        read(web.post(page, fields | {"do": "move"}, follow=True))
        for path in (page, row.get_absolute_url(), path_of(row, "cancel"), "/?range=upcoming"):
            read(web.get(path))
        booking = desk.work_booking(Booking.objects.latest("pk"))
        read(web.get(booking.get_absolute_url()))


@pytest.mark.parametrize("typed", ["", "soon", "2020-01-01T09:00", "2027-03-28T02:30", "same"])
def test_mistakes_in_the_new_time(typed: str, web: Client, book: Book) -> None:
    start = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    (row,) = book(starts_at=start)
    if typed == "same":
        typed = f"{start.astimezone(row.connection.zone):%Y-%m-%dT%H:%M}"
    fields = {"version": row.version, "starts_at": typed, "do": "typed"}

    read(web.post(path_of(row, "move"), fields | {"form_key": str(uuid4())}), 422)
    read(web.post(path_of(row, "move"), fields | {"form_key": "no"}), 422)
    read(web.post(path_of(row, "move"), fields | {"pick": "none of ours"}), 422)


@pytest.mark.parametrize(("slug", "count"), [("meetergo", "7"), ("huskyvoice", "3")])
def test_free_slots(slug: str, count: str, web: Client, desk: Desk) -> None:
    def look(answer: Any) -> list[str]:
        """What is offered; how a window is called is the provider's word."""
        found = slots_in(answer)
        lanes = {json.loads(one)[name] for one in found for name in ("session", "batch")} - {""}
        read(answer, data=lanes)
        return found

    row = desk.book(slug)
    typed = {"connection": row.connection.pk, "form_key": str(uuid4())}
    days = {"slots_days": count, "first": desk.soon.date()}
    read(web.get(f"/schedule/?connection={row.connection.pk}"))
    for pick in look(ask_slots(web, "/schedule/", **typed, **days))[-1:]:
        read(web.post("/schedule/", typed | {"pick": pick}))
    assert look(ask_slots(web, path_of(row, "move"), **days))
    far = timezone.localdate() + timedelta(days=3000)
    look(ask_slots(web, path_of(row, "move"), **(days | {"first": far})))
    read(ask_slots(web, path_of(row, "move"), first="never", slots_days="x"))


def test_free_slots_that_cannot_be_read(web: Client, book: Book) -> None:
    host = "8d1f6a52-0a3f-4d0a-9a53-6a2c3f1d9e10"
    (row,) = book(locator={"meeting_type_id": host, "host_ids": host})
    fields = {"form_key": str(uuid4()), "version": row.version}
    read(ask_slots(web, path_of(row, "move"), **fields))


def test_reviews(web: Client, book: Book, linde: Connection) -> None:
    (old,) = book()
    typed = ("Intake", "Emma Visser", "emma@example.org", "cst_7")
    numbered = {"customer_id": "cst_7", "name": "", "email": ""}
    for fields in (filled(linde, replaces=old.pk), filled(linde) | numbered):
        read(web.post("/schedule/", fields), data=typed)
        read(web.post("/schedule/", fields | {"do": "book"}), 409, data=typed)
        read(web.post("/schedule/", fields | {"do": "change"}))
        ask_for(web, fields)
        again = fields | {"replaces": "", "ends_at": fields["starts_at"][:-5] + "11:30"}
        read(web.post("/schedule/", again), data=typed)


def test_another_one_for_somebody_known(web: Client, book: Book, linde: Connection) -> None:
    (old,) = book()
    read(web.get(old.get_absolute_url()))
    read(web.get(f"/schedule/?connection={linde.pk}&person={old.attendees.get().pk}"))


def test_confirming(web: Client, book: Book, colleague: User) -> None:
    connection = make_connection("mijnklantportaal", name="De Linde")
    (row,) = book(connection=connection, status=Status.PENDING)
    page = web.get(path_of(row, "confirm"))
    read(page)
    read(web.get(row.get_absolute_url()))
    fields = {name: hidden(page, name) for name in ("form_key", "version")}
    read(web.post(path_of(row, "confirm"), fields | {"version": "old"}), 409)
    read(web.post(path_of(row, "confirm"), fields, follow=True))
    Booking.objects.update(requested_by=colleague)
    for path in (path_of(row, "confirm"), path_of(row, "cancel"), "/?range=upcoming"):
        read(web.get(path))


# --- what came of it


@pytest.fixture(params=["move", "confirm", "book"])
def change(request: pytest.FixtureRequest, web: Client, book: Book, staff: User) -> Booking:
    """One of each kind; the last is in place of another appointment."""
    there = make_connection("mijnklantportaal", name="De Linde")
    if request.param == "book":
        (old,) = book()
        ask_for(web, filled(there, replaces=old.pk))
        return Booking.objects.get()
    (row,) = book(connection=there, status="pending") if request.param == "confirm" else book()
    fields: dict[str, Any] = {"by": staff, "form_key": uuid4(), "version": row.version}
    later = MoveWish(starts_at=timezone.now() + timedelta(days=4))
    made = (
        ask_to_confirm(row, **fields)
        if request.param == "confirm"
        else ask_to_move(row, to=later, **fields)
    )
    assert isinstance(made, Booking)
    return made


@pytest.mark.parametrize("state", list(BookingState))
def test_every_outcome_of_a_change(
    state: BookingState, change: Booking, web: Client, staff: User
) -> None:
    def look(**values: Any) -> None:
        put(change, state, **values)
        read(web.get(change.get_absolute_url()))

    old = change.replaces or change.appointment
    assert old is not None
    for why in ("", *WHYS.get(state, ())):
        look(why=why, settled_by=staff, sent_at=timezone.now())
    look(shown=[timezone.now().isoformat(), ""])
    for page in ("/unsettled/", "/?range=upcoming", old.get_absolute_url()):
        read(web.get(page))
    for one in ("time", "session", "length", "host", "people"):
        if state == BookingState.CONFIRMED:
            look(deviations=[one], said="no")
    if state == BookingState.NEEDS_HUMAN:
        hours_ago = timezone.now() - timedelta(hours=2)
        look(requested_at=hours_ago, sent_at=hours_ago)
        for sent in ({}, {"reason": "rang"}):
            read(web.post(f"{change.get_absolute_url()}settle/", sent), 422)
        read(web.get("/?range=upcoming"))
    WorkerPulse.objects.all().delete()
    read(web.get(change.get_absolute_url()))


@pytest.mark.parametrize("what", ["half done", "kept", "being cancelled", "over"])
def test_what_a_rebooking_leaves_to_do(
    what: str, web: Client, book: Book, linde: Connection, staff: User
) -> None:
    old, new = book(2)
    ask_for(web, filled(linde, replaces=old.pk))
    booking = put(Booking.objects.get(), BookingState.CONFIRMED, appointment=new)
    match what:
        case "kept":
            web.post(f"{booking.get_absolute_url()}keep-both/")
        case "being cancelled":
            ask(old, by=staff)
        case "over":
            Appointment.objects.filter(pk=old.pk).update(status=Status.CANCELLED)
        case _:
            pass
    read(web.get(booking.get_absolute_url()))
    read(web.get(old.get_absolute_url()))
    read(web.get("/unsettled/"))
    read(web.get(f"/appointments/{old.pk}/cancel/?rebooked={booking.pk}"))
    read(web.get(f"/schedule/?replaces={old.pk}"))


def test_in_place_of_any_kind_of_appointment(web: Client, meetergo: Connection) -> None:
    there = make_connection("mijnklantportaal", name="De Linde")
    for row in fill(meetergo):
        read(web.get(f"/schedule/?connection={there.pk}&replaces={row.pk}"))
    read(web.get(f"/schedule/?replaces={row.pk}"))
    read(web.get("/schedule/?replaces=0"), 404)


def test_every_step_of_a_change(change: Booking, web: Client, staff: User) -> None:
    for event in BookingEventKind:
        step = {"event": event, "after": change.state, "by": staff}
        BookingEvent.objects.create(booking=change, at=timezone.now(), **step)
    deviating = {"event": BookingEventKind.READ_BACK, "after": change.state, "why": "time"}
    BookingEvent.objects.create(booking=change, at=timezone.now(), **deviating)
    read(web.get(change.get_absolute_url()))
    if change.appointment is not None:
        read(web.get(change.appointment.get_absolute_url()))


@pytest.mark.parametrize("kind", list(BookingConflictKind))
def test_every_reason_that_stands_against_a_change(
    kind: BookingConflictKind,
    book: Book,
    staff: User,
) -> None:
    (row,) = book(connection=make_connection("mijnklantportaal", name="De Linde"), status="pending")
    change = ask_to_confirm(row, by=staff, form_key=uuid4(), version=row.version)
    assert isinstance(change, Booking)
    asked = ask(*book(), by=staff)
    for state in (BookingState.REQUESTED, BookingState.UNKNOWN):
        put(change, state)
        for found in (
            BookingConflict(kind=kind),
            BookingConflict(kind=kind, booking=change),
            BookingConflict(kind=kind, cancellation=asked),
        ):
            for viewer in (None, staff):
                assert outside(booking_conflict(found, viewer=viewer)) == []
