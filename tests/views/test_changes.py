"""Moving, confirming, rebooking and free slots, as pages without scripts."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee, Status
from appointments.models import Appointment, Booking, Connection
from appointments.services.facts import booking_of
from appointments.services.records import store
from appointments.services.schedule import MoveWish, ask_to_confirm, ask_to_move
from tests.desk import Desk
from tests.views.conftest import HTMX, POLL, Book, ask_for, filled, make_connection, review_of

State = Booking.State
HOSTILE = "<script>alert(1)</script> ‮مرحبا " + "x" * 280


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def slots_in(answer: Any) -> list[str]:
    """The values of the buttons that choose a slot."""
    return [
        html.unescape(one)
        for one in re.findall(r'name="pick" value="([^"]+)"', answer.content.decode())
    ]


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    assert found is not None, name
    return html.unescape(found[1])


def path_of(row: Appointment, act: str) -> str:
    return f"{row.get_absolute_url()}{act}/"


def ask_slots(web: Client, path: str, **fields: Any) -> Any:
    first = fields.pop("first", None) or timezone.localdate() + timedelta(days=1)
    return web.post(path, {"do": "slots", "slots_from": str(first), "slots_days": "7"} | fields)


# --- what is offered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "status", "offered", "hidden_ones"),
    [
        ("meetergo", Status.BOOKED, ["Move…", "Rebook elsewhere…"], ["Confirm…", "Decline…"]),
        ("huskyvoice", Status.BOOKED, ["Move…"], ["Confirm…"]),
        ("mijnklantportaal", Status.BOOKED, ["Rebook…", "Cancel…"], ["Move…", "Confirm…"]),
        ("mijnklantportaal", Status.PENDING, ["Confirm…", "Decline…"], ["Move…", "Cancel…"]),
        ("carevalidate", Status.BOOKED, ["Rebook…"], ["Move…", "Confirm…"]),
        ("meetergo", Status.CANCELLED, [], ["Move…", "Rebook"]),
    ],
)
def test_the_detail_offers_what_the_provider_can(
    slug: str, status: Status, offered: list[str], hidden_ones: list[str], web: Client, book: Book
) -> None:
    (row,) = book(connection=make_connection(slug, name="There"), status=status)

    page = shown(web.get(row.get_absolute_url()))

    assert [one for one in offered if one not in page] == []
    assert [one for one in hidden_ones if one in page] == []


def test_what_is_over_cannot_be_moved(web: Client, book: Book) -> None:
    (row,) = book(starts_at=timezone.now() - timedelta(hours=3))

    assert "Move…" not in shown(web.get(row.get_absolute_url()))
    assert "has begun or is over" in shown(web.get(path_of(row, "move")))


def test_pages_of_what_a_provider_cannot_do_do_not_exist(web: Client, book: Book) -> None:
    (row,) = book(connection=make_connection("carevalidate", name="There"))

    assert web.get(path_of(row, "move")).status_code == 404
    assert web.get(path_of(row, "confirm")).status_code == 404


@pytest.mark.parametrize("act", ["move", "confirm"])
def test_without_permission_the_pages_are_closed(act: str, book: Book) -> None:
    (row,) = book()
    visitor = Client()
    visitor.force_login(User.objects.create_user("visitor"))

    assert visitor.get(path_of(row, act)).status_code == 403
    assert visitor.post(path_of(row, act)).status_code == 403


# --- moving -----------------------------------------------------------------------------------


def test_a_slot_is_shown_chosen_and_asked_for(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo")

    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date())
    assert "Times in Europe/Amsterdam" in shown(free)
    fields = {name: hidden(free, name) for name in ("form_key", "version")}
    review = web.post(path_of(row, "move"), fields | {"pick": slots_in(free)[-1]})
    assert "presumably mails everyone concerned" in shown(review)
    assert not Booking.objects.exists()
    fields |= {name: hidden(review, name) for name in ("starts_at", "session", "batch")}
    answer = web.post(path_of(row, "move"), fields | {"do": "move"})
    again = web.post(path_of(row, "move"), fields | {"do": "move"})

    booking = Booking.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, booking.get_absolute_url())
    assert again["Location"] == answer["Location"]
    chosen = json.loads(slots_in(free)[-1])["starts_at"]
    assert booking.starts_at.isoformat() == chosen
    page = shown(web.get(booking.get_absolute_url()))
    assert "From" in page
    assert 'data-state="requested"' in page


def test_the_time_it_has_is_not_offered(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo")

    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date())

    starts = [json.loads(one)["starts_at"] for one in slots_in(free)]
    assert starts
    assert desk.soon.isoformat() not in starts


def test_everybody_of_a_group_is_named_as_moving(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo", people=3)
    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date())

    fields = {name: hidden(free, name) for name in ("form_key", "version")}
    review = web.post(path_of(row, "move"), fields | {"pick": slots_in(free)[0]})

    assert "Moves the whole group, all 3 people" in shown(review)
    assert "Nobody can be moved alone." in shown(review)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "This field is required."),
        ("soon", "This is not a day and time."),
        ("2020-01-01T09:00", "This is in the past."),
        ("same", "It is at this time already."),
    ],
)
def test_a_mistake_in_a_typed_time_is_said_and_nothing_is_recorded(
    typed: str, message: str, web: Client, book: Book
) -> None:
    start = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    (row,) = book(starts_at=start)
    if typed == "same":
        typed = f"{start.astimezone(row.connection.zone):%Y-%m-%dT%H:%M}"
    fields = {"form_key": str(uuid4()), "version": row.version, "starts_at": typed}

    for do in ("typed", "move"):
        answer = web.post(path_of(row, "move"), fields | {"do": do})

        assert answer.status_code == 422
        assert message in shown(answer)
    assert not Booking.objects.exists()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "[]",
        '{"starts_at": "never"}',
        '{"starts_at": 3}',
        '{"starts_at": "9999-12-31T23:30Z"}',
    ],
)
def test_a_slot_that_is_none_of_ours_is_refused(value: str, web: Client, book: Book) -> None:
    (row,) = book()

    answer = web.post(
        path_of(row, "move"), {"form_key": str(uuid4()), "version": row.version, "pick": value}
    )

    assert answer.status_code == 422
    assert not Booking.objects.exists()


def test_a_page_that_is_out_of_date_is_drawn_again_around_the_choice(
    web: Client, book: Book
) -> None:
    (row,) = book()
    when = f"{timezone.localdate() + timedelta(days=3)}T10:00"
    fields = {"form_key": str(uuid4()), "version": "older", "starts_at": when, "do": "move"}

    answer = web.post(path_of(row, "move"), fields)
    assert answer.status_code == 409
    assert "changed since you opened it" in shown(answer)
    fields |= {"version": hidden(answer, "version")}

    assert web.post(path_of(row, "move"), fields).status_code == 303


def test_a_provider_that_is_down_is_said_and_nothing_is_lost(web: Client, book: Book) -> None:
    """Nobody listens at the address of this connection."""
    host = "8d1f6a52-0a3f-4d0a-9a53-6a2c3f1d9e10"
    (row,) = book(locator={"meeting_type_id": host, "host_ids": host})

    answer = ask_slots(web, path_of(row, "move"), form_key=str(uuid4()), version=row.version)

    assert answer.status_code == 200
    assert "cannot be" in shown(answer)
    assert "nothing was sent" in shown(answer)


# --- confirming -------------------------------------------------------------------------------


def test_confirming_is_asked_for_once(web: Client, book: Book) -> None:
    connection = make_connection("mijnklantportaal", name="De Linde")
    (row,) = book(connection=connection, status=Status.PENDING)
    page = web.get(path_of(row, "confirm"))
    assert "is not documented: ring them" in shown(page)
    fields = {name: hidden(page, name) for name in ("form_key", "version")}

    answers = [web.post(path_of(row, "confirm"), fields) for _ in range(2)]

    booking = Booking.objects.get()
    assert [one["Location"] for one in answers] == [booking.get_absolute_url()] * 2
    detail = shown(web.get(row.get_absolute_url()))
    assert "A confirmation of this appointment was asked for by you" in detail
    assert "Decline…" not in detail


def test_an_open_change_closes_the_cancel_dialog_and_shows_in_the_list(
    web: Client, book: Book, staff: User
) -> None:
    (row,) = book()
    to = MoveWish(starts_at=timezone.now() + timedelta(days=4))
    booking = ask_to_move(row, by=staff, to=to, form_key=uuid4(), version=row.version)
    assert isinstance(booking, Booking)

    dialog = shown(web.get(path_of(row, "cancel"), headers=HTMX))
    assert "A move of this appointment was asked for by you" in dialog
    assert f'href="{booking.get_absolute_url()}"' in dialog
    assert 'id="cancel-submit"' not in dialog
    listed = shown(web.get("/?range=upcoming"))
    assert f'data-status="requested" href="{booking.get_absolute_url()}">Moving' in listed
    assert path_of(row, "cancel") not in listed


# --- what came of it --------------------------------------------------------------------------


@pytest.fixture
def asked(book: Book, staff: User) -> Booking:
    (row,) = book(connection=make_connection("mijnklantportaal", name="De Linde"), status="pending")
    booking = ask_to_confirm(row, by=staff, form_key=uuid4(), version=row.version)
    assert isinstance(booking, Booking)
    return booking


def put(booking: Booking, state: str, **values: Any) -> Booking:
    if state not in Booking.OPEN:
        values = {"due_at": None, "settled_at": timezone.now()} | values
    Booking.objects.filter(pk=booking.pk).update(state=state, **values)
    booking.refresh_from_db()
    return booking


def test_an_outcome_that_is_known_is_not_sent_again(web: Client, asked: Booking) -> None:
    first = web.get(asked.get_absolute_url(), headers=POLL)
    token = re.search(r'"X-Known": "(\w+)"', first.content.decode())
    assert token is not None

    again = web.get(asked.get_absolute_url(), headers=POLL | {"X-Known": token[1]})
    assert again.status_code == 204
    put(asked, State.REFUSED, why="not_pending")
    asked.events.create(at=timezone.now(), event="provider_refused", after=State.REFUSED)
    news = web.get(asked.get_absolute_url(), headers=POLL | {"X-Known": token[1]})
    assert news.status_code == 200
    state, below = news.content.decode().split("</section>", 1)
    assert 'role="status"' in state
    assert 'role="status"' not in below
    history = below.split(f'id="booking-{asked.pk}-history"')[1]
    assert 'hx-swap-oob="outerMorph"' in history
    assert "Refused by" in history


@pytest.mark.parametrize(
    ("state", "why", "sentence"),
    [
        (State.SENDING, "", "It is not confirmed until the provider says so."),
        (State.CONFIRMED, "", "Confirmed"),
        (
            State.REFUSED,
            "not_pending",
            "says that it is not pending any more. It is not confirmed.",
        ),
        (State.NOT_SENT, "unreadable", "Nothing was confirmed. MijnKlantportaal cannot be read"),
        (State.WITHDRAWN, "already_so", "MijnKlantportaal shows it so already"),
        (State.UNKNOWN, "deadline", "It may or may not be confirmed."),
        (State.NEEDS_HUMAN, "still_as_before", "probably nothing happened"),
    ],
)
def test_each_state_has_its_words(
    state: str, why: str, sentence: str, web: Client, asked: Booking
) -> None:
    put(asked, state, why=why)

    page = shown(web.get(asked.get_absolute_url()))

    assert f'data-state="{state}"' in page
    assert sentence in page


@pytest.mark.parametrize(
    ("deviation", "sentence"),
    [
        ("time", "You asked for"),
        ("length", "It is not as long as it should be."),
        ("host", "It is with somebody else now."),
        ("people", "Other people are booked on it now."),
        ("session", "It is in another session than you asked for."),
    ],
)
def test_a_deviation_is_an_alarm(
    deviation: str, sentence: str, web: Client, asked: Booking
) -> None:
    when = [timezone.now().isoformat(), ""]
    put(asked, State.CONFIRMED, deviations=[deviation], shown=when)

    page = shown(web.get(asked.get_absolute_url()))

    assert 'data-tone="alarm"' in page
    assert sentence in page


def test_what_the_provider_said_is_escaped(web: Client, asked: Booking) -> None:
    put(asked, State.REFUSED, said=HOSTILE)

    page = web.get(asked.get_absolute_url()).content.decode()

    assert "<script>alert" not in page
    assert 'blockquote dir="auto">&lt;script&gt;' in page


def test_a_verdict_needs_a_reason_a_choice_and_the_quiet_period(
    web: Client, asked: Booking
) -> None:
    put(asked, State.NEEDS_HUMAN, why="unreadable", sent_at=timezone.now())
    path = f"{asked.get_absolute_url()}settle/"
    assert "you can settle this by hand" in shown(web.get(asked.get_absolute_url()))

    assert web.post(path, {"verdict": "done"}).status_code == 422
    assert web.post(path, {"reason": "I rang"}).status_code == 422
    web.post(path, {"verdict": "done", "reason": "I rang"})
    asked.refresh_from_db()
    assert asked.state == State.NEEDS_HUMAN
    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        web.post(path, {"verdict": "done", "reason": "I rang"})

    asked.refresh_from_db()
    assert (asked.state, asked.why) == (State.SETTLED, "judged_done")
    assert "I rang" in shown(web.get(asked.get_absolute_url()))


def test_taking_back_and_reading_again_are_posts(web: Client, asked: Booking) -> None:
    for act in ("take-back", "read-again", "keep-both"):
        web.get(f"{asked.get_absolute_url()}{act}/")
    asked.refresh_from_db()
    assert asked.state == State.REQUESTED

    web.post(f"{asked.get_absolute_url()}take-back/")

    asked.refresh_from_db()
    assert asked.state == State.WITHDRAWN


# --- another one for somebody who is known -----------------------------------------------------


def test_somebody_known_is_booked_again_without_typing(
    web: Client, book: Book, linde: Connection
) -> None:
    """Also of a group and of what is over; the old appointment stays as it is."""
    people = (
        *(
            BookedAttendee(external_id=name, name=name, email=f"{name}@example.org")
            for name in ("lena", "zoe")
        ),
        BookedAttendee(external_id="nobody-knows-more"),
    )
    (old,) = book(attendees=people, is_group=True, starts_at=timezone.now() - timedelta(days=3))
    lena, zoe, _ = old.attendees.all()
    opened = shown(web.get(old.get_absolute_url()))
    assert opened.count("Book another…") == 2
    assert f'href="/schedule/?person={zoe.pk}"' in opened

    choice = shown(web.get(f"/schedule/?person={lena.pk}"))
    assert f'href="/schedule/?connection={linde.pk}&person={lena.pk}"' in choice
    page = shown(web.get(f"/schedule/?connection={linde.pk}&person={lena.pk}"))

    assert f'Another appointment for <a href="{old.get_absolute_url()}">lena</a>' in page
    for value in ("lena", "lena@example.org"):
        assert f'value="{value}"' in page
    assert "In place of" not in page
    fields = filled(linde, person=lena.pk, name="lena", email="lena@example.org")
    ask_for(web, fields)
    assert Booking.objects.get().replaces is None
    old.refresh_from_db()
    assert old.status == "booked"


def test_who_was_typed_goes_along_to_another_practice(web: Client, linde: Connection) -> None:
    """Not the time, which means another one there, nor a number that nobody has there."""
    other = make_connection("huskyvoice", name="Clinic")
    fields = filled(linde, elsewhere=other.pk, phone="+31612345678", customer_id="cst_7")

    answer = web.post("/schedule/", fields)

    page = shown(answer)
    assert answer.status_code == 200
    assert 'value="Emma Visser"' in page
    assert 'value="+31612345678"' in page
    assert fields["starts_at"] not in page
    assert "cst_7" not in page
    assert f'action="/schedule/?connection={other.pk}"' in page
    first_button = re.search(r'<button[^>]*form="new-appointment"[^>]*>', page)
    assert first_button is not None  # Enter presses it: it must lead nowhere else.
    assert "elsewhere" not in first_button[0]


def test_another_persons_name_does_not_turn_into_a_known_ones_number(
    web: Client, book: Book, linde: Connection
) -> None:
    """Where somebody is known by number, and another name was typed before turning there."""
    sanne = BookedAttendee(external_id="cst_7", name="Sanne", email="sanne@example.org")
    (old,) = book(connection=linde, attendees=(sanne,))
    other = make_connection("huskyvoice", name="Clinic")
    fields = {"connection": other.pk, "elsewhere": linde.pk, "person": old.attendees.get().pk}

    same = shown(web.post("/schedule/", fields | {"name": "Sanne"}))
    another = shown(web.post("/schedule/", fields | {"name": "Emma"}))

    assert 'value="cst_7"' in same
    assert 'value="cst_7"' not in another
    assert 'value="Emma"' in another


@pytest.mark.parametrize("person", ["999999", "x", "²", "-1", "9" * 40])
def test_somebody_who_is_not_known_any_more_is_typed(
    person: str, web: Client, linde: Connection
) -> None:
    answer = web.get(f"/schedule/?connection={linde.pk}&person={person}")

    assert answer.status_code == 200
    assert "Another appointment for" not in answer.content.decode()


def test_who_may_not_schedule_is_not_led_there(book: Book) -> None:
    looker = User.objects.create_user("looker", password="looker-pw")
    looker.user_permissions.add(Permission.objects.get(codename="view_appointment"))
    client = Client()
    client.force_login(looker)
    (row,) = book()

    assert "Book another" not in shown(client.get(row.get_absolute_url()))


# --- rebooking --------------------------------------------------------------------------------


def test_the_person_is_carried_over(web: Client, book: Book, linde: Connection) -> None:
    (old,) = book()

    page = shown(web.get(f"/schedule/?connection={linde.pk}&replaces={old.pk}"))

    assert 'value="Person 0"' in page
    assert 'value="person0@example.org"' in page
    assert "The old one stays booked until the new one stands." in page


def test_hostile_names_are_carried_as_text(web: Client, book: Book, linde: Connection) -> None:
    person = BookedAttendee(external_id="p", name=HOSTILE, email="a@example.org")
    (old,) = book(attendees=(person,), title=HOSTILE)

    page = web.get(f"/schedule/?connection={linde.pk}&replaces={old.pk}").content.decode()

    assert "<script>alert" not in page


def test_of_a_group_the_person_is_chosen_first(web: Client, book: Book, linde: Connection) -> None:
    people = tuple(
        BookedAttendee(external_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.org")
        for n in range(3)
    )
    (old,) = book(is_group=True, attendees=people)
    address = f"/schedule/?connection={linde.pk}&replaces={old.pk}"

    first = shown(web.get(address))
    assert "For whom is the new appointment?" in first
    assert 'name="title"' not in first
    person = old.attendees.get(external_id="p1")
    ask_for(web, filled(linde, replaces=old.pk, person=person.pk))

    booking = put(Booking.objects.get(), State.SETTLED, why="judged_done")
    assert booking.replaces_attendee == "p1"
    assert "Remove from the old one…" in shown(web.get(booking.get_absolute_url()))
    dialog = shown(web.get(f"{path_of(old, 'cancel')}?rebooked={booking.pk}", headers=HTMX))
    assert f'value="{person.pk}" checked' in dialog
    assert "Remove P1" in dialog


@pytest.mark.parametrize("others", [1, 2])
def test_who_left_the_old_one_meanwhile_is_not_taken_for_another(
    others: int, web: Client, book: Book, linde: Connection
) -> None:
    """Else the new appointment of one would end with the cancellation of another one's."""
    people = tuple(
        BookedAttendee(external_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.org")
        for n in range(others + 1)
    )
    (old,) = book(is_group=True, attendees=people)
    gone = old.attendees.get(external_id="p0")
    fields = filled(linde, replaces=old.pk, person=gone.pk, name="P0", title="Typed before")
    review = web.post("/schedule/", fields)
    store(
        old.connection,
        [replace(booking_of(old), attendees=people[1:])],
        read_at=timezone.now() + timedelta(minutes=1),
    )

    opened = shown(web.get(f"/schedule/?connection={linde.pk}&replaces={old.pk}&person={gone.pk}"))
    answer = web.post("/schedule/", {**fields, **review_of(review), "do": "book"})

    assert "not on the old appointment any more" in opened
    assert 'name="title"' not in opened
    assert answer.status_code == 409
    page = shown(answer)
    assert "not on the old appointment any more" in page
    assert 'value="Typed before"' in page
    assert page.count("<option") >= others
    assert not Booking.objects.exists()
    left = old.attendees.get(external_id="p1")
    ask_for(web, fields | {"person": left.pk, "name": "P1"})
    assert Booking.objects.get().replaces_attendee == ("p1" if others > 1 else "")


@pytest.mark.parametrize("replaces", ["0", "999", "x", "-1", "9" * 40])
def test_what_does_not_exist_is_not_replaced(replaces: str, web: Client, linde: Connection) -> None:
    answer = web.get(f"/schedule/?connection={linde.pk}&replaces={replaces}")

    assert answer.status_code in (200, 404)
    assert not Booking.objects.exists()


def test_a_second_rebooking_is_refused_and_leads_to_the_first(
    web: Client, book: Book, linde: Connection
) -> None:
    (old,) = book()
    ask_for(web, filled(linde, replaces=old.pk))
    booking = Booking.objects.get()

    answer = ask_for(web, filled(linde, replaces=old.pk))

    assert answer.status_code == 409
    assert f'href="{booking.get_absolute_url()}"' in shown(answer)
    assert 'value="Emma Visser"' in shown(answer)
    assert "A new appointment is to take its place." in shown(web.get(old.get_absolute_url()))


@pytest.mark.parametrize(
    ("state", "values", "offers", "sentence"),
    [
        (State.REQUESTED, {}, set(), "stays booked until the new one stands"),
        (State.UNKNOWN, {}, set(), "do not cancel it"),
        (State.AWAITS_CONFIRMATION, {}, {"Keep both"}, "waits for the person to confirm"),
        (State.CONFIRMED, {}, {"Keep both"}, "could not be read back yet"),
        (State.CONFIRMED, {"deviations": ["time"]}, {"Keep both"}, "not as asked for"),
        (State.SETTLED, {"why": "judged_done"}, {"Keep both", "Cancel the old one…"}, "Both are"),
        (State.REFUSED, {}, {"Rebook again"}, "There is no new appointment"),
    ],
)
def test_each_half_done_state_says_what_stands_and_offers_what_is_safe(
    state: str,
    values: dict[str, Any],
    offers: set[str],
    sentence: str,
    web: Client,
    book: Book,
    linde: Connection,
) -> None:
    (old,) = book()
    ask_for(web, filled(linde, replaces=old.pk))
    booking = put(Booking.objects.get(), state, **values)

    page = shown(web.get(booking.get_absolute_url()))

    assert sentence in page
    every = {"Keep both", "Cancel the old one…", "Rebook again"}
    assert {one for one in every if one in page} == offers
    is_listed = booking.get_absolute_url() in shown(web.get("/unsettled/"))
    assert is_listed == (state not in (State.REQUESTED, State.REFUSED))


def test_only_what_was_read_back_offers_to_cancel_the_old_one(
    web: Client, book: Book, linde: Connection
) -> None:
    old, new = book(2)
    ask_for(web, filled(linde, replaces=old.pk))
    booking = put(Booking.objects.get(), State.CONFIRMED, appointment=new)

    page = shown(web.get(booking.get_absolute_url()))
    assert "Cancel the old one…" in page
    web.post(f"{booking.get_absolute_url()}keep-both/")

    page = shown(web.get(booking.get_absolute_url()))
    assert "Anna de Boer decided to keep both" in page
    assert "Nothing is unsettled" in shown(web.get("/unsettled/"))


def half_done(web: Client, linde: Connection, old: Appointment, **values: Any) -> Booking:
    ask_for(web, filled(linde, replaces=old.pk) | {"title": f"In place of {old.pk}"})
    booking = Booking.objects.latest("pk")
    return put(booking, State.SETTLED, why="judged_done", **values)


@pytest.mark.parametrize(
    "path", ["/unsettled/", "/activity/?kind=bookings", "/activity.csv?kind=bookings"]
)
def test_no_page_asks_more_for_more_of_them(
    path: str, web: Client, book: Book, linde: Connection, staff: User
) -> None:
    """Half done ones, and moves that a person settled as not done and the provider shows."""

    def queries() -> int:
        with CaptureQueriesContext(database) as asked:
            answer = web.get(path)
            assert answer.status_code == 200
            if answer.streaming:
                assert answer.getvalue()
        return len(asked)

    rows = book(12)
    to = MoveWish(starts_at=timezone.now() + timedelta(days=4))

    def fill(some: list[Appointment]) -> None:
        for row in some:
            half_done(web, linde, row, settled_by=staff)
            ask_to_move(row, by=staff, to=to, form_key=uuid4(), version=row.version)
            moved = Booking.objects.latest("pk")
            put(moved, State.SETTLED, why="done_after_all", settled_by=staff)

    fill(rows[:2])
    few = queries()
    fill(rows[2:])

    assert shown(web.get("/unsettled/")).count("<article") == 24
    assert queries() == few


def test_no_unsettled_one_is_out_of_reach(
    web: Client, book: Book, linde: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appointments.views.activity.LONGEST_LIST", 2)
    made = [half_done(web, linde, row).get_absolute_url() for row in book(5)]

    pages = [shown(web.get(f"/unsettled/?page={number}")) for number in (1, 2, 3)]

    assert [[one in page for page in pages].index(True) for one in made] == [0, 0, 1, 1, 2]
    assert "5 in all, the oldest first: page 2 of 3" in pages[1]
    assert 'href="?page=1"' in pages[1]
    assert 'href="?page=3"' in pages[1]
    assert 'href="?page=4"' not in pages[2]
    for wrong in ("", "0", "x", "-1", "9" * 30):
        assert web.get(f"/unsettled/?page={wrong}").status_code == 200
    assert "page 3 of 3" in shown(web.get("/unsettled/?page=99"))


# --- free slots in the schedule form ----------------------------------------------------------


def test_choosing_a_window_fills_the_form_and_keeps_what_was_typed(web: Client, desk: Desk) -> None:
    row = desk.book("huskyvoice")
    typed = {"connection": row.connection.pk, "form_key": str(uuid4()), "name": "Asha Nair"}

    free = ask_slots(web, "/schedule/", first=desk.soon.date(), slots_days="3", **typed)
    assert "left" in shown(free)
    assert "Kolkata" in shown(free)
    pick = slots_in(free)[-1]
    page = shown(web.post("/schedule/", typed | {"pick": pick}))

    slot = json.loads(pick)
    assert "It is not booked yet." in page
    assert 'value="Asha Nair"' in page
    assert f'<option value="{slot["session"]}" selected>' in page
    assert f'<option value="{slot["branch"]}" selected>' in page
    assert not Booking.objects.exists()


def test_a_provider_without_slots_keeps_the_typed_time(web: Client, linde: Connection) -> None:
    page = shown(web.get(f"/schedule/?connection={linde.pk}"))

    assert "Show what is free" not in page
    assert 'name="starts_at"' in page


def test_too_many_days_are_not_asked_for(web: Client, desk: Desk) -> None:
    row = desk.book("huskyvoice")
    before = desk.received("huskyvoice", "availability")

    answer = ask_slots(web, path_of(row, "move"), slots_days="31")

    assert "Select a valid choice" in shown(answer)
    assert desk.received("huskyvoice", "availability") == before


# --- what else people should know -------------------------------------------------------------


def test_without_a_worker_the_page_says_that_nothing_will_be_sent(
    web: Client, asked: Booking
) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=5), tick=True):
        page = shown(web.get(asked.get_absolute_url()))

    assert "The worker is not running. Nothing was sent, and from" in page


def test_who_is_to_be_rung_stands_beside_the_outcome(web: Client, asked: Booking) -> None:
    assert "tel:" not in shown(web.get(asked.get_absolute_url()))
    put(asked, State.CONFIRMED)

    assert 'href="tel:+31655500000"' in shown(web.get(asked.get_absolute_url()))


def test_what_waits_for_a_person_for_an_hour_is_said_above_the_list(
    web: Client, asked: Booking
) -> None:
    put(asked, State.NEEDS_HUMAN, requested_at=timezone.now() - timedelta(hours=2))

    assert "1 outcome has waited for a person for more than an hour." in shown(
        web.get("/?range=upcoming")
    )


def test_cancelling_the_old_one_while_nobody_knows_of_the_new_one_is_warned_of(
    web: Client, book: Book, linde: Connection
) -> None:
    (old,) = book()
    ask_for(web, filled(linde, replaces=old.pk))
    put(Booking.objects.get(), State.UNKNOWN)

    assert "do not cancel it" in shown(web.get(path_of(old, "cancel"), headers=HTMX))
