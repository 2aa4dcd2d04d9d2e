"""What is to be booked is shown before anything is sent, and just that is asked for."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from appointments.booking_forms import ScheduleForm, SlotField
from appointments.domain import BookedAppointment, BookedAttendee, Service, Status
from appointments.models import Appointment, Booking, Connection
from appointments.services.book import _deviations
from appointments.services.records import store
from appointments.services.schedule import Offers, offers
from tests.desk import Desk
from tests.services.test_schedule import ask
from tests.views.conftest import Book, ask_for, filled, make_connection, record, review_of
from tests.views.test_changes import HOSTILE, ask_slots, hidden, path_of, shown, slots_in


def consequence(answer: Any) -> str:
    """The sentence that has the focus, without its markup."""
    found = re.search(r'<p class="note note-info"[^>]*>(.*?)</p>', answer.content.decode(), re.S)
    assert found is not None
    return html.unescape(re.sub(r"<[^>]*>", "", found[1])).strip()


# --- what it says -----------------------------------------------------------------------------


def test_the_review_says_what_will_be_asked_and_sends_nothing(
    web: Client, linde: Connection
) -> None:
    review = web.post("/schedule/", filled(linde))

    said = consequence(review)
    assert said.startswith("Asks MijnKlantportaal (De Linde) to book for Emma Visser: Intake, ")
    assert "10:00–10:30 (Europe/Amsterdam)." in said  # noqa: RUF001
    assert "Whether MijnKlantportaal tells anybody is not documented: ring them." in said
    assert "emma@example.org" in shown(review)
    assert "Nothing has been sent yet." in shown(review)
    assert not Booking.objects.exists()


def test_what_was_reviewed_is_booked_once(web: Client, linde: Connection) -> None:
    fields = filled(linde)
    review = web.post("/schedule/", fields)

    sent = fields | review_of(review) | {"do": "book"}
    answers = [web.post("/schedule/", sent) for _ in range(2)]

    booking = Booking.objects.get()
    assert [one["Location"] for one in answers] == [booking.get_absolute_url()] * 2
    assert booking.wish["title"] == "Intake"
    # The review once more, as a reload of it asks for.
    assert web.post("/schedule/", fields)["Location"] == booking.get_absolute_url()


def test_the_way_back_keeps_everything_typed(web: Client, linde: Connection) -> None:
    fields = filled(linde, title=HOSTILE[:200])

    review = web.post("/schedule/", fields)
    back = web.post("/schedule/", fields | review_of(review) | {"do": "change"})

    for name in ("title", "name", "email", "starts_at", "ends_at", "form_key"):
        value = re.search(rf'name="{name}" value="([^"]*)"', back.content.decode())
        assert value is not None, name
        assert html.unescape(value[1]) == fields[name]
    assert "<script>alert" not in review.content.decode() + back.content.decode()


def test_other_clocks_are_named(web: Client, linde: Connection) -> None:
    """The practice's clock and the person's, where they show another time than the desk's."""
    next_year = timezone.localdate().year + 1
    away = make_connection("carevalidate", name="Hudson")
    Connection.objects.filter(pk=away.pk).update(time_zone="America/New_York")
    fields = {
        "connection": away.pk,
        "form_key": str(uuid4()),
        "service": "0c7",
        "name": "Emma Visser",
        "email": "emma@example.org",
        "starts_at": f"{next_year}-01-12T10:00",
        "time_zone": "Asia/Kolkata",
        "location": "zoom_conference",
    }

    said = consequence(web.post("/schedule/", fields))

    assert f" 12 January {next_year}, 16:00 (Europe/Amsterdam), 10:00 in America/New_York." in said
    assert "On their own clock that is 20:30 in Asia/Kolkata." in said
    assert "Zoom conference" in said


def test_the_old_one_of_a_rebooking_is_kept_until_the_new_one_is_read_back(
    web: Client, book: Book, linde: Connection
) -> None:
    (old,) = book()
    fields = filled(linde, replaces=old.pk)

    review = web.post("/schedule/", fields)

    assert "stays booked until the new one was read back" in consequence(review)
    assert "Book the new appointment</button>" in shown(review)
    assert ask_for(web, fields)["Location"] == Booking.objects.get().get_absolute_url()
    again = web.post("/schedule/", filled(linde, replaces=old.pk))
    assert again.status_code == 409
    assert "asked for before. Look there." in shown(again)


def test_no_sentence_is_drawn_backwards(web: Client) -> None:
    """Ids of branches and names of lanes are the provider's words, in the middle of our warning."""
    husky = make_connection("huskyvoice", name="Clinic")
    tomorrow = timezone.localdate() + timedelta(days=1)
    turned = "\u202eMorning\u2067"
    window = {
        "starts_at": f"{tomorrow}T09:00+01:00",
        "ends_at": f"{tomorrow}T12:00+01:00",
        "session": turned,
        "batch": turned,
    }
    fields = {
        "connection": husky.pk,
        "form_key": str(uuid4()),
        "name": "Asha\u202e Nair",
        "phone": "+919840000077",
        "service": "\u202eGeneral",
        "branch": "\u202ebranch",
        "starts_at": f"{tomorrow}T10:00",
        "session": "Morning",
    }
    lane = {"starts_at": None, "ends_at": None, "day": tomorrow, "session": turned}
    store(husky, [record(0, start=timezone.now(), **lane)], read_at=timezone.now())
    row = Appointment.objects.get()
    move = {"form_key": str(uuid4()), "version": row.version, "pick": json.dumps(window)}

    said = [
        consequence(web.post("/schedule/", fields)),
        consequence(web.post(path_of(row, "move"), move)),
    ]

    for one in said:
        assert "Morning" in one
        assert not {"\u202e", "\u2067"} & set(one)


# --- nothing else is booked -------------------------------------------------------------------


@pytest.mark.parametrize("reviewed", [None, "", "0123456789abcdef"])
def test_nothing_is_booked_unseen(reviewed: str | None, web: Client, linde: Connection) -> None:
    sent = filled(linde, do="book") | ({} if reviewed is None else {"reviewed": reviewed})

    answer = web.post("/schedule/", sent)

    assert answer.status_code == 409
    assert "This is not what you looked at last, so nothing was sent." in shown(answer)
    assert not Booking.objects.exists()
    assert web.post("/schedule/", sent | review_of(answer)).status_code == 303


@pytest.mark.parametrize("field", ["title", "email", "starts_at"])
def test_what_was_changed_after_the_review_is_not_booked(
    field: str, web: Client, linde: Connection
) -> None:
    fields = filled(linde)
    seen = review_of(web.post("/schedule/", fields))
    later = timezone.localdate() + timedelta(days=1)
    other = {"title": "Other", "email": "other@example.org", "starts_at": f"{later}T09:00"}

    answer = web.post("/schedule/", fields | seen | {"do": "book", field: other[field]})

    assert answer.status_code == 409
    assert not Booking.objects.exists()


def test_a_time_that_means_another_moment_by_now_is_reviewed_again(
    web: Client, linde: Connection
) -> None:
    """The same letters on another clock: somebody mended the zone of the connection meanwhile."""
    fields = filled(linde)
    seen = review_of(web.post("/schedule/", fields))
    Connection.objects.update(time_zone="America/New_York")

    answer = web.post("/schedule/", fields | seen | {"do": "book"})

    assert answer.status_code == 409
    assert not Booking.objects.exists()


def test_an_old_appointment_that_moved_meanwhile_is_reviewed_again(
    web: Client, book: Book, linde: Connection
) -> None:
    (old,) = book()
    fields = filled(linde, replaces=old.pk)
    seen = review_of(web.post("/schedule/", fields))
    book(starts_at=timezone.now() + timedelta(hours=9))

    answer = web.post("/schedule/", fields | seen | {"do": "book"})

    assert answer.status_code == 409
    assert not Booking.objects.exists()


def test_a_form_that_was_used_asks_for_another_one_only_as_such(
    web: Client, linde: Connection
) -> None:
    """Back in the browser, another title, and the button: never taken for the first request."""
    fields = filled(linde)
    seen = review_of(web.post("/schedule/", fields))
    other = fields | {"title": "Other"}
    seen_of_other = review_of(web.post("/schedule/", other))
    web.post("/schedule/", fields | seen | {"do": "book"})
    first = Booking.objects.get()

    # A second tab that was reviewed before the first one was sent.
    late = web.post("/schedule/", other | seen_of_other | {"do": "book"})
    review = web.post("/schedule/", other)

    assert (late.status_code, review.status_code) == (409, 200)
    for page in (late, review):
        assert "An appointment was asked for from this form before" in shown(page)
        assert f'href="{first.get_absolute_url()}"' in shown(page)
        assert hidden(page, "form_key") != fields["form_key"]
    assert Booking.objects.get() == first
    web.post("/schedule/", other | review_of(review) | {"do": "book"})
    assert Booking.objects.exclude(pk=first.pk).get().wish["title"] == "Other"


def test_after_the_session_ended_the_login_leads_back_to_this_form(
    web: Client, book: Book, linde: Connection, staff: User
) -> None:
    (old,) = book()
    fields = filled(linde, replaces=old.pk)
    review = web.post("/schedule/", fields)
    action = html.unescape(re.findall(r'action="(/schedule/[^"]*)"', review.content.decode())[0])
    web.logout()

    answer = web.post(action, fields | review_of(review) | {"do": "book"})
    assert answer.status_code == 302
    assert not Booking.objects.exists()
    web.force_login(staff)
    back = shown(web.get(action))

    assert 'value="Person 0"' in back
    assert f'name="connection" value="{linde.pk}"' in back
    assert f'name="replaces" value="{old.pk}"' in back


AT_TEN = {"starts_at": "2026-12-01T10:00+01:00", "ends_at": "2026-12-01T12:00+01:00"}


@pytest.mark.parametrize(
    "slot",
    [
        "1" * 5000,
        "[" * 100_000,
        json.dumps(AT_TEN | {"session": "\ud800"}),
        json.dumps(AT_TEN | {"session": "Morning", "batch": "\0"}),
    ],
    ids=["number", "depth", "surrogate", "null"],
)
def test_a_slot_that_breaks_other_programs_is_none(
    slot: str, web: Client, book: Book, linde: Connection
) -> None:
    (row,) = book()
    move = {"form_key": str(uuid4()), "version": row.version, "do": "move"}

    for path, fields in (("/schedule/", filled(linde)), (path_of(row, "move"), move)):
        for name in ("pick", "slot"):
            assert web.post(path, fields | {name: slot}).status_code in (200, 422)
    with pytest.raises(ValidationError):
        SlotField().clean(slot)
    assert not Booking.objects.exists()


# --- names ------------------------------------------------------------------------------------


def test_names_stand_where_ids_were_chosen(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo")
    service, host = row.locator["meeting_type_id"], row.locator["host_ids"]
    fields = {
        "connection": row.connection.pk,
        "form_key": str(uuid4()),
        "service": service,
        "host": host,
        "name": "Emma Visser",
        "email": "emma@example.org",
        "starts_at": f"{desk.soon.date() + timedelta(days=1)}T10:00",
        "time_zone": "Europe/Berlin",
    }

    said = consequence(web.post("/schedule/", fields))
    ask_for(web, fields)

    assert f"{row.title}, with {row.host}, " in said
    page = shown(web.get(Booking.objects.get().get_absolute_url()))
    assert f'<dd dir="auto">{row.title}</dd>' in page
    assert f'<dd dir="auto">{row.host}</dd>' in page
    assert service not in page
    assert host not in page


def test_a_host_of_several_services_is_offered_once(linde: Connection) -> None:
    services = (
        Service(external_id="a", name="Intake", hosts=("h1", "h2")),
        Service(external_id="b", name="Control", hosts=("h2", "h1", "h3")),
    )
    form = ScheduleForm(
        capabilities=make_connection("meetergo", name="There").capabilities,
        zone=ZoneInfo("Europe/Amsterdam"),
        offers=Offers(services=services, host_names={"h1": "Zoë", "h2": "Anna"}, branches=()),
    )

    choices = form.fields["host"].choices  # type: ignore[attr-defined]

    assert list(choices) == [("", "—"), ("h2", "Anna"), ("h3", "h3"), ("h1", "Zoë")]


# --- windows ----------------------------------------------------------------------------------


def window_of(pick: str, zone: tzinfo) -> str:
    slot = json.loads(pick)
    ends = [datetime.fromisoformat(slot[name]) for name in ("starts_at", "ends_at")]
    return "–".join(f"{one.astimezone(zone):%H:%M}" for one in ends)  # noqa: RUF001


def assert_window_is_shown(web: Client, booking: Booking, pick: str) -> None:
    """On the page of the request, of the appointment, in the list and in its file."""
    zone, desk_zone = booking.connection.zone, timezone.get_default_timezone()
    there, here = window_of(pick, zone), window_of(pick, desk_zone)
    row = booking.appointment
    assert row is not None
    slot = json.loads(pick)
    assert row.sorts_at == datetime.fromisoformat(slot["starts_at"])
    assert f"{there} Kolkata" in shown(web.get(booking.get_absolute_url()))
    for page in (web.get(row.get_absolute_url()), web.get("/?range=upcoming")):
        assert here in shown(page)
        assert f"{there} Kolkata" in shown(page)
    file = web.get("/appointments.csv?range=upcoming")
    lines = b"".join(file.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    line = next(one for one in lines if row.external_id in one)
    assert line.split(",")[1:3] == here.split("–")  # noqa: RUF001


def test_a_window_keeps_its_hours_after_the_booking(web: Client, desk: Desk) -> None:
    row = desk.book("huskyvoice")
    typed = {
        "connection": row.connection.pk,
        "form_key": str(uuid4()),
        "name": "Asha Nair",
        "phone": "+919840000077",
        "service": row.locator["service_id"],
    }
    free = ask_slots(web, "/schedule/", first=desk.soon.date(), slots_days="3", **typed)
    pick = slots_in(free)[-1]
    chosen = web.post("/schedule/", typed | {"pick": pick}).content.decode()
    slot = json.loads(pick)
    fields = typed | {
        "starts_at": re.findall(r'name="starts_at" value="([^"]+)"', chosen)[0],
        "session": slot["session"],
        "branch": slot["branch"],
        "slot": html.unescape(re.findall(r'name="slot" value="([^"]+)"', chosen)[0]),
    }

    said = consequence(web.post("/schedule/", fields))
    desk_zone = timezone.get_default_timezone()
    here, there = (window_of(pick, one) for one in (desk_zone, row.connection.zone))
    assert f"{here} (Europe/Amsterdam), {there} in Asia/Kolkata." in said
    assert f"Branch {slot['branch'][:8]}" in said
    ask_for(web, fields)
    booking = desk.work_booking(Booking.objects.get())

    assert booking.state == "confirmed"
    assert_window_is_shown(web, booking, pick)


def test_a_window_that_was_left_again_lends_no_hours(web: Client, desk: Desk) -> None:
    """Chosen, and then another day typed: those hours are of another day."""
    row = desk.book("huskyvoice")
    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date(), slots_days="3")
    pick = slots_in(free)[-1]
    later = desk.soon.date() + timedelta(days=9)
    fields = {
        "connection": row.connection.pk,
        "form_key": str(uuid4()),
        "name": "Asha Nair",
        "phone": "+919840000077",
        "service": row.locator["service_id"],
        "starts_at": f"{later}T09:30",
        "session": json.loads(pick)["session"],
        "slot": pick,
    }

    ask_for(web, fields)

    assert "offered" not in Booking.objects.get().wish or (
        "window" not in Booking.objects.get().wish["offered"]
    )


def test_both_sides_of_a_move_stand_on_the_clock_of_the_desk(web: Client, desk: Desk) -> None:
    """Day, session and hours, and behind them in brackets the practice's, before as after."""
    row = desk.book("huskyvoice")
    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date(), slots_days="3")
    fields = {name: hidden(free, name) for name in ("form_key", "version")}
    review = web.post(path_of(row, "move"), fields | {"pick": slots_in(free)[-1]})

    said = consequence(review)
    span = r"\d\d:\d\d–\d\d:\d\d"  # noqa: RUF001
    clocks = rf"(?:Morning|Afternoon|Evening)[^()]*, {span} \({span} Kolkata\)"
    assert re.search(rf" from \w[^()]*{clocks} to \w[^()]*{clocks}\.", said), said


def test_the_outcome_says_who_is_told_in_the_words_of_the_review(web: Client, desk: Desk) -> None:
    fields = filled(desk.connection("mijnklantportaal"))
    said = "Whether MijnKlantportaal tells anybody is not documented: ring them."

    assert said in consequence(web.post("/schedule/", fields))
    ask_for(web, fields)
    booking = desk.work_booking(Booking.objects.get())

    assert booking.state == "confirmed"
    assert said in shown(web.get(booking.get_absolute_url()))


def test_a_window_keeps_its_hours_after_the_move(web: Client, desk: Desk) -> None:
    row = desk.book("huskyvoice")
    free = ask_slots(web, path_of(row, "move"), first=desk.soon.date(), slots_days="3")
    pick = slots_in(free)[-1]
    fields = {name: hidden(free, name) for name in ("form_key", "version")}
    review = web.post(path_of(row, "move"), fields | {"pick": pick})
    fields |= {name: hidden(review, name) for name in ("starts_at", "session", "batch", "slot")}

    web.post(path_of(row, "move"), fields | {"do": "move"})
    booking = desk.work_booking(Booking.objects.get())

    assert booking.state == "confirmed"
    assert_window_is_shown(web, booking, pick)


# --- more than fits ---------------------------------------------------------------------------


def test_of_a_flood_of_free_times_the_first_are_shown_and_the_rest_is_said(
    web: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = desk.book("meetergo")
    all_of_them = slots_in(ask_slots(web, path_of(row, "move"), first=desk.soon.date()))
    monkeypatch.setattr("appointments.services.slots.MOST_SLOTS", 3)

    answer = ask_slots(web, path_of(row, "move"), first=desk.soon.date())

    assert len(all_of_them) > 3
    assert slots_in(answer) == all_of_them[:3]
    assert "has more free than is shown here: these are the first 3." in shown(answer)


def test_free_times_of_somebody_who_cannot_be_booked_for_it_are_not_asked_for(
    web: Client, desk: Desk
) -> None:
    """They would look bookable until the review says no."""
    connection = desk.book("meetergo").connection
    (service, *_), host = offers(connection).services, str(uuid4())
    path = f"/schedule/?connection={connection.pk}"
    asked = desk.received("meetergo")

    answer = ask_slots(web, path, connection=connection.pk, service=service.external_id, host=host)

    assert "Whom you chose cannot be booked for this at meetergo" in shown(answer)
    assert slots_in(answer) == []
    assert desk.received("meetergo") == asked


def test_a_customer_number_is_not_sent_beside_the_name_of_somebody_else(
    web: Client, desk: Desk
) -> None:
    """Only the number would be sent: the page must not name one person and book another."""
    row = desk.book("mijnklantportaal")
    sanne = row.attendees.get()
    address = f"/schedule/?connection={row.connection_id}&person={sanne.pk}"

    opened = shown(web.get(address))
    assert f'value="{sanne.external_id}"' in opened
    assert f'value="{sanne.name}"' not in opened
    fields = filled(row.connection, customer_id=sanne.external_id, person=sanne.pk)
    both = web.post("/schedule/", fields)
    assert both.status_code == 422
    assert "Empty this, or name and e-mail" in shown(both)
    by_number = fields | {"name": "", "email": ""}
    review = shown(web.post("/schedule/", by_number))
    assert f"to book for {sanne.name} (customer number {sanne.external_id})" in review


def test_somebody_else_on_what_was_booked_is_an_alarm(desk: Desk) -> None:
    """Beyond doubt: who shows no address, or is called otherwise, is no stranger yet."""
    booking = ask("meetergo", desk)
    was = BookedAppointment(
        external_id="x", status=Status.BOOKED, starts_at=booking.starts_at, ends_at=None
    )

    def deviations(name: str, email: str = "") -> list[str]:
        person = BookedAttendee(name=name, email=email)
        return _deviations(booking, replace(was, attendees=(person,)))

    assert deviations("Somebody Else", "else@example.org") == ["people"]
    assert deviations("Called Otherwise", booking.wish["email"].upper()) == []
    assert deviations("Without An Address") == []
    assert _deviations(booking, was) == []
